// Package authres writes and reads Authentication-Results fields (RFC 8601), finds forged ones, and
// writes Received-SPF (RFC 7208 §9.1).
//
// In a field that this package writes, text of a sender cannot end the value that it is a part of,
// and cannot look like another result. Every value is a token, a plain address or a quoted-string.
// Control characters never appear, and lengths are limited. [Field.Format] has the details.
package authres

import "fmt"

// FieldName is the name of the header field that this package writes and reads.
const FieldName = "Authentication-Results"

// PType is a property type (RFC 8601 §2.7).
type PType string

// The property types of RFC 8601 §2.3. There are others, and Parse accepts every keyword as a
// property type.
const (
	PTypeSMTP   PType = "smtp"
	PTypeHeader PType = "header"
	PTypeBody   PType = "body"
	PTypePolicy PType = "policy"
)

// Field is one Authentication-Results field.
type Field struct {
	// AuthServID names the administrative domain whose host evaluated the message, usually by the
	// name of that host (RFC 8601 §2.5).
	AuthServID string `json:"authserv_id"`
	// Results is empty if nothing was evaluated. The field then says "none".
	Results []Result `json:"results,omitempty"`
	// UTF8 allows characters beyond ASCII in values. Set it only for a message that
	// is itself internationalized (RFC 8601 §5, RFC 6532). Parse sets it if the field
	// has such characters.
	UTF8 bool `json:"utf8,omitempty"`
}

// Result is the outcome of one method (RFC 8601 §2.2, resinfo).
type Result struct {
	Method string `json:"method"` // keyword: spf, dkim, dmarc, arc, iprev
	Value  string `json:"result"` // keyword: pass, fail, temperror, ...
	// Comment is a text that sekimori itself chooses, such as "2048-bit rsa". It must not repeat
	// text of a sender. Format would make the text of a sender safe for a parser, but some programs
	// also search comments for results.
	Comment    string     `json:"comment,omitempty"`
	Reason     string     `json:"reason,omitempty"` // free text
	Properties []Property `json:"properties,omitempty"`
	// EndComment is a comment after the properties, where some programs write their comments. Parse
	// does not set it.
	EndComment string `json:"end_comment,omitempty"`
}

// Property is one fact about the evaluated identity (RFC 8601 §2.2, propspec). It is written as
// type.name=value.
type Property struct {
	Type  PType  `json:"ptype"`
	Name  string `json:"property"`
	Value string `json:"value"`
}

// SyntaxError says where and how a field breaks the grammar of RFC 8601.
type SyntaxError struct {
	Offset int    // octets from the beginning of the value
	Msg    string // what is wrong at Offset
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("authres: %s at octet %d", e.Msg, e.Offset)
}
