// Package mailaddr parses the addresses of the SMTP envelope, that is, the arguments of MAIL and
// RCPT (RFC 5321 §4.1.2). Package author parses the addresses of the From field.
package mailaddr

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"sekimori/internal/dns"
)

// MaxPathLen limits the length of the argument of MAIL and RCPT. RFC 5321 §4.5.3.1.3 asks for 256
// octets, but MTAs read lines of 2,048 octets.
const MaxPathLen = 2048

// The errors of ParsePath.
var (
	ErrPathTooLong = errors.New("mailaddr: path longer than 2048 octets")
	ErrPathSyntax  = errors.New("mailaddr: path is not an address")
	ErrPathDomain  = errors.New("mailaddr: path has a domain that is not a host name")
)

// Path is a reverse-path or forward-path (RFC 5321 §4.1.2).
type Path struct {
	// Local is the local part without quotes and quoted pairs.
	Local string `json:"local,omitempty"`
	// Domain is "" for a null path, for a local part without a domain, and for an address literal.
	Domain dns.Name `json:"domain,omitempty"`
	// DomainRaw is the text after the "@": a name as the client sent it, or an address literal such
	// as "[192.0.2.1]".
	DomainRaw string `json:"domain_raw,omitempty"`
	Null      bool   `json:"null,omitempty"` // the path is "<>" or empty
}

// ParsePath parses the argument of MAIL or RCPT as the client sent it, without ESMTP parameters.
// Like MTAs, it accepts a path without angle brackets, accepts dots anywhere in the local part, and
// removes source routes (RFC 5321 §4.1.1.3, Appendix C). A special character outside quotes is an
// error.
func ParsePath(s string) (Path, error) {
	if len(s) > MaxPathLen {
		return Path{}, ErrPathTooLong
	}
	s = strings.Trim(s, " \t")
	if strings.HasPrefix(s, "<") {
		if !strings.HasSuffix(s, ">") {
			return Path{}, fmt.Errorf("%w: angle bracket without an end", ErrPathSyntax)
		}
		s = s[1 : len(s)-1]
	}
	if s == "" {
		return Path{Null: true}, nil
	}
	s, err := dropRoute(s)
	if err != nil {
		return Path{}, err
	}
	local, rest, err := pathLocal(s)
	if err != nil {
		return Path{}, err
	}
	if rest == "" { // <postmaster>, or the path of a local program
		return Path{Local: local}, nil
	}
	if rest[0] != '@' {
		return Path{}, fmt.Errorf("%w: special character in the local part", ErrPathSyntax)
	}
	p := Path{Local: local, DomainRaw: rest[1:]}
	if isLiteral(p.DomainRaw) {
		return p, nil
	}
	if !utf8.ValidString(p.DomainRaw) {
		return Path{}, ErrPathDomain
	}
	if p.Domain, err = ParseDomain(p.DomainRaw); err != nil {
		return Path{}, ErrPathDomain
	}
	return p, nil
}

// dropRoute removes a source route such as "@a,@b:" from the beginning of s. A source route does
// not say who sent the message (RFC 5321 §4.1.1.3: "SHOULD be ignored").
func dropRoute(s string) (string, error) {
	if s[0] != '@' {
		return s, nil
	}
	literal := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '[':
			literal = true
		case c == ']':
			literal = false
		case c == ':' && !literal && i+1 < len(s):
			return s[i+1:], nil
		case c != '@' && c != ',' && c != ':' && !IsAtom(c):
			return "", fmt.Errorf("%w: special character in the route", ErrPathSyntax)
		}
	}
	return "", fmt.Errorf("%w: no local part", ErrPathSyntax)
}

// pathLocal returns the local part at the beginning of s, and the text after it.
func pathLocal(s string) (local, rest string, err error) {
	i := 0
	if s[0] != '"' {
		for i < len(s) && IsAtom(s[i]) {
			i++
		}
		local, rest = s[:i], s[i:]
	} else {
		var b strings.Builder
		for i = 1; i < len(s) && s[i] != '"'; i++ {
			if s[i] == '\\' && i+1 < len(s) {
				i++
			}
			b.WriteByte(s[i])
		}
		if i >= len(s) {
			return "", "", fmt.Errorf("%w: quote without an end", ErrPathSyntax)
		}
		local, rest = b.String(), s[i+1:]
	}
	switch {
	case i == 0:
		return "", "", fmt.Errorf("%w: no local part", ErrPathSyntax)
	case strings.ContainsFunc(local, isControl) || !utf8.ValidString(local):
		return "", "", fmt.Errorf("%w: control octet in the local part, or 8-bit octets that are not UTF-8", ErrPathSyntax)
	}
	return local, rest, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// isLiteral reports whether s has the form of an address-literal (RFC 5321 §4.1.3). It does not
// check that the address is valid.
func isLiteral(s string) bool {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	for i := 1; i < len(s)-1; i++ {
		if c := s[i]; c != '.' && c != ':' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// String returns the path in printable ASCII without angle brackets. The local part is
// in quotes if it needs them, characters beyond ASCII are written as \x{HEX} (RFC 6533
// §3), and the domain is in A-labels. A null path is "<>".
func (p Path) String() string {
	if p.Null {
		return "<>"
	}
	s := safeLocal(p.Local)
	switch {
	case p.Domain != "":
		s += "@" + string(p.Domain)
	case isLiteral(p.DomainRaw):
		s += "@" + p.DomainRaw
	}
	return s
}

// safeLocal returns a local part in the form that String writes.
func safeLocal(local string) string {
	quote := local == ""
	var b strings.Builder
	for _, r := range local {
		switch {
		case r == '"' || r == '\\':
			quote = true
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r >= 0x7f:
			quote = true
			fmt.Fprintf(&b, `\x{%X}`, r)
		default:
			quote = quote || !IsAtom(byte(r))
			b.WriteRune(r)
		}
	}
	if quote {
		return `"` + b.String() + `"`
	}
	return b.String()
}
