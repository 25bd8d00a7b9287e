// Package authres writes and reads Authentication-Results fields (RFC 8601),
// finds forged ones, and writes Received-SPF (RFC 7208 §9.1).
//
// Nothing a sender wrote can break out of the place it is put in: every value
// is a token, a plain address or a quoted-string, control characters never
// appear, and lengths are bounded. [Field.Format] says how.
package authres

import "fmt"

// FieldName is the name of the header field.
const FieldName = "Authentication-Results"

// PType is a property type (RFC 8601 §2.7).
type PType string

// The property types of RFC 8601 §2.3. Others exist, and the parser accepts every
// keyword.
const (
	PTypeSMTP   PType = "smtp"
	PTypeHeader PType = "header"
	PTypeBody   PType = "body"
	PTypePolicy PType = "policy"
)

// Field is one Authentication-Results field.
type Field struct {
	// AuthServID names the ADMD that evaluated the message, usually by a host
	// name (RFC 8601 §2.5).
	AuthServID string `json:"authserv_id"`
	// Results is empty when nothing was evaluated: the field then says "none".
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
	// Comment is our own text, such as "2048-bit rsa". It must not repeat what a
	// sender wrote: Format makes it safe, but some readers look for results in
	// comments, too.
	Comment    string     `json:"comment,omitempty"`
	Reason     string     `json:"reason,omitempty"` // free text
	Properties []Property `json:"properties,omitempty"`
	// EndComment is a comment after the properties, where some programs put theirs.
	// Parse does not set it.
	EndComment string `json:"end_comment,omitempty"`
}

// Property is one fact about what was evaluated (RFC 8601 §2.2, propspec),
// written type.name=value.
type Property struct {
	Type  PType  `json:"ptype"`
	Name  string `json:"property"`
	Value string `json:"value"`
}

// SyntaxError says where a field departs from RFC 8601.
type SyntaxError struct {
	Offset int    // octets from the beginning of the value
	Msg    string // what is wrong there
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("authres: %s at octet %d", e.Msg, e.Offset)
}
