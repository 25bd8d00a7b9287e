package spf

import (
	"errors"
	"strings"
)

// macroString is a parsed macro-string (RFC 7208 §7.1).
type macroString struct {
	parts []macroPart
	// usesLocal says that one of the parts is %{s} or %{l}. usesPTR says that one
	// of the parts is %{p}.
	usesLocal, usesPTR bool
}

// macroPart is a macro or, if letter is 0, a literal.
type macroPart struct {
	literal string

	letter  byte   // the macro's letter in lower case
	keep    int    // number of parts to keep, counted from the right; 0 means all
	reverse bool   // the "r" transformer
	delims  string // where to split; "" means "."
	escape  bool   // the letter was in upper case: the value must be URL-escaped
}

// macroContext says where a macro-string was found. It decides which letters and
// octets the macro-string may have.
type macroContext uint8

const (
	inDomainSpec macroContext = iota
	inModifier                // the value of an unknown modifier
	inExplanation
)

const (
	domainLetters      = "slodipvh"
	explanationLetters = domainLetters + "crt" // RFC 7208 §7.2
	delimiters         = ".-+,/_="
)

// maxKeep replaces a larger number of parts in a macro. This changes nothing,
// because a value of maxMacroValue octets has fewer parts than maxKeep. RFC 7208
// §7.3 asks for at least 127.
const maxKeep = 1 << 16

// parseMacros parses a macro-string, or an explain-string, which may have
// spaces. reason says what is wrong with s, or is "".
func parseMacros(s string, where macroContext) (m *macroString, reason string) {
	m = &macroString{}
	for i := 0; i < len(s); {
		start := i
		for i < len(s) && s[i] != '%' {
			// macro-literal is VCHAR without "%" (RFC 7208 §7.1).
			if c := s[i]; c > '~' || c < ' ' || (c == ' ' && where != inExplanation) {
				return nil, "holds an octet that is not printable US-ASCII"
			}
			i++
		}
		if i > start {
			m.parts = append(m.parts, macroPart{literal: s[start:i]})
			continue
		}
		part, n, reason := parseMacro(s[i:], where)
		if reason != "" {
			return nil, reason
		}
		m.usesLocal = m.usesLocal || part.letter == 's' || part.letter == 'l'
		m.usesPTR = m.usesPTR || part.letter == 'p'
		m.parts = append(m.parts, part)
		i += n
	}
	return m, ""
}

// parseMacro parses the macro-expand at the beginning of s and returns its
// length n. s begins with "%".
func parseMacro(s string, where macroContext) (part macroPart, n int, reason string) {
	if len(s) < 2 {
		return part, 0, `"%" stands alone`
	}
	switch s[1] {
	case '%':
		return macroPart{literal: "%"}, 2, ""
	case '_':
		return macroPart{literal: " "}, 2, ""
	case '-':
		return macroPart{literal: "%20"}, 2, ""
	case '{':
	default:
		return part, 0, `"%" is not followed by "{", "%", "_" or "-"`
	}
	body, _, closed := strings.Cut(s[2:], "}")
	if !closed || body == "" {
		return part, 0, "unfinished macro"
	}
	part.letter = body[0] | 0x20
	part.escape = 'A' <= body[0] && body[0] <= 'Z'
	switch {
	case !isAlpha(body[0]) || strings.IndexByte(explanationLetters, part.letter) < 0:
		return part, 0, "unknown macro letter"
	case where == inDomainSpec && strings.IndexByte(domainLetters, part.letter) < 0:
		return part, 0, "macro letter allowed only in explanations"
	}
	if reason := part.parseTransformers(body[1:]); reason != "" {
		return part, 0, reason
	}
	return part, len("%{}") + len(body), ""
}

// parseTransformers parses *DIGIT [ "r" ] *delimiter.
func (p *macroPart) parseTransformers(s string) (reason string) {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		p.keep = min(p.keep*10+int(s[i]-'0'), maxKeep)
		i++
	}
	if i > 0 && p.keep == 0 {
		return "number of parts is zero" // RFC 7208 §7.3
	}
	if i < len(s) && s[i]|0x20 == 'r' {
		p.reverse = true
		i++
	}
	p.delims = s[i:]
	for _, c := range []byte(p.delims) {
		if strings.IndexByte(delimiters, c) < 0 {
			return "malformed macro transformer or delimiter"
		}
	}
	return ""
}

// parseDomainSpec parses a domain-spec: a macro-string that ends in a macro or
// in "." toplabel [ "." ] (RFC 7208 §7.1).
func parseDomainSpec(s string) (m *macroString, reason string) {
	if s == "" {
		return nil, "domain is empty"
	}
	if m, reason = parseMacros(s, inDomainSpec); reason != "" {
		return nil, reason
	}
	last := m.parts[len(m.parts)-1]
	// The parser has turned "%%", "%_" and "%-" into the literals "%", " " and
	// "%20". A domain-spec may end in one of these three. No other literal has a
	// "%" or a space.
	if last.letter != 0 || strings.ContainsAny(last.literal, "% ") {
		return m, ""
	}
	name := strings.TrimSuffix(last.literal, ".")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return nil, "domain ends in neither a macro nor a dot and a top label"
	}
	return m, checkTopLabel(name[dot+1:])
}

// checkTopLabel checks toplabel (RFC 7208 §7.1): letters, digits and inner
// hyphens, but not digits only.
func checkTopLabel(s string) (reason string) {
	const malformed = "malformed top label"
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return malformed
	}
	digits := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isDigit(c):
			digits++
		case !isAlpha(c) && c != '-':
			return malformed
		}
	}
	if digits == len(s) {
		return "top label is a number; ip4: is for addresses"
	}
	return ""
}

// The bounds of a macro expansion. A mechanism whose expansion exceeds one of
// them does not match. For include and redirect the result is permerror.
const (
	// maxMacroValue is the maximum length of a value before its transformation, in
	// octets. A bound is needed because the client chooses HELO and the local part.
	// RFC 5321 §4.5.3.1 allows paths of 256 octets.
	maxMacroValue = 1024
	// maxMacros is the maximum number of macros that are expanded for one term. A
	// record can have 2,000 macros, each of which may split a long value. A domain
	// name has at most 127 labels, so 128 macros are enough for one.
	maxMacros = 128
	// maxExpansion is the maximum length of the expansion of a whole term, in
	// octets. A domain name has at most 253.
	maxExpansion = 16384
)

var errExpansion = errors.New("macro expansion is too long")

// expand replaces macros by their values. It calls value with the letter in lower
// case. The result "owned" is the length of the text up to the last octet that the
// owner of the record chose: an octet of a literal, of the record's domain (%{d})
// or of the sender's domain (%{o}), but not a dot. The owner of the record did not
// choose the text after owned.
func (m *macroString) expand(value func(letter byte) string) (text string, owned int, err error) {
	// Most names have no macro. A literal cannot exceed maxExpansion, because a
	// record has at most MaxRecordLen octets.
	if len(m.parts) == 1 && m.parts[0].letter == 0 {
		return m.parts[0].literal, len(m.parts[0].literal), nil
	}
	var out strings.Builder
	macros := 0
	for i := range m.parts {
		part := &m.parts[i]
		text := part.literal
		if part.letter != 0 {
			v := value(part.letter)
			if macros++; macros > maxMacros || len(v) > maxMacroValue {
				return "", 0, errExpansion
			}
			text = part.transform(v)
		}
		if out.Len()+len(text) > maxExpansion {
			return "", 0, errExpansion
		}
		if part.ofOwner() {
			if n := len(strings.TrimRight(text, ".")); n > 0 {
				owned = out.Len() + n
			}
		}
		out.WriteString(text)
	}
	return out.String(), owned, nil
}

func (p *macroPart) ofOwner() bool { return p.letter == 0 || p.letter == 'd' || p.letter == 'o' }

// transform splits, reverses, cuts, joins and escapes a value (RFC 7208 §7.3).
func (p *macroPart) transform(v string) string {
	if p.reverse || p.keep > 0 || p.delims != "" {
		parts := splitAny(v, p.delims)
		if p.reverse {
			for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
		if p.keep > 0 && p.keep < len(parts) {
			parts = parts[len(parts)-p.keep:]
		}
		v = strings.Join(parts, ".") // with dots, whatever the delimiters were (RFC 7208 §7.3)
	}
	if p.escape {
		v = urlEscape(v)
	}
	return v
}

// splitAny splits at each delimiter. Leading, trailing and consecutive delimiters
// leave empty parts (RFC 7208 §7.3).
func splitAny(s, delims string) []string {
	if delims == "" {
		delims = "."
	}
	var parts []string
	for {
		i := strings.IndexAny(s, delims)
		if i < 0 {
			return append(parts, s)
		}
		parts = append(parts, s[:i])
		s = s[i+1:]
	}
}

// urlEscape escapes all octets except the unreserved characters of RFC 3986
// §2.3.
func urlEscape(s string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for _, c := range []byte(s) {
		if isAlpha(c) || isDigit(c) || c == '-' || c == '.' || c == '_' || c == '~' {
			out.WriteByte(c)
			continue
		}
		out.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return out.String()
}
