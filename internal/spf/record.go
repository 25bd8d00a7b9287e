package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sekimori/internal/printable"
)

// Mechanism is the name of a mechanism (RFC 7208 §5), in lower case.
type Mechanism string

// The mechanisms of RFC 7208 §5.
const (
	MechanismAll     Mechanism = "all"
	MechanismInclude Mechanism = "include"
	MechanismA       Mechanism = "a"
	MechanismMX      Mechanism = "mx"
	MechanismPTR     Mechanism = "ptr"
	MechanismIP4     Mechanism = "ip4"
	MechanismIP6     Mechanism = "ip6"
	MechanismExists  Mechanism = "exists"
)

// Record is an SPF record of valid syntax.
type Record struct {
	Text       string      `json:"text"`
	Directives []Directive `json:"directives,omitempty"`
	Redirect   *Modifier   `json:"redirect,omitempty"`
	Exp        *Modifier   `json:"exp,omitempty"`
	Unknown    []Modifier  `json:"unknown,omitempty"` // modifiers that are not known; they are ignored (RFC 7208 §6)
}

// Directive is a mechanism with its qualifier (RFC 7208 §4.6.1).
type Directive struct {
	Text       string    `json:"text"`      // the directive as written
	Qualifier  Result    `json:"qualifier"` // the result if the mechanism matches
	Mechanism  Mechanism `json:"mechanism"`
	DomainSpec string    `json:"domain_spec,omitempty"` // before macro expansion; "" for the current domain
	// Network is the argument of ip4 and ip6.
	Network netip.Prefix `json:"network,omitzero"`
	// Bits4 and Bits6 are the prefix lengths of a and mx.
	Bits4 int `json:"bits4,omitempty"`
	Bits6 int `json:"bits6,omitempty"`

	target *macroString
}

// Modifier is a name=value term (RFC 7208 §6).
type Modifier struct {
	Text  string `json:"text"` // the modifier as written
	Name  string `json:"name"`
	Value string `json:"value"` // before macro expansion

	target *macroString
}

// The errors of ParseRecord that are not a SyntaxError.
var (
	ErrNotSPF        = errors.New(`spf: record does not begin with "v=spf1" and a space`)
	ErrRecordTooLong = fmt.Errorf("spf: record over %d octets", MaxRecordLen)
)

// SyntaxError says where and why a record's syntax is invalid.
type SyntaxError struct {
	Offset int    // where Term begins in the record, in octets
	Term   string // the term with the error, as written
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("spf: syntax error at octet %d in %s: %s", e.Offset, quoted(e.Term), e.Reason)
}

// quotedLen is the maximum length, in octets, of a text from the network that an
// error message repeats.
const quotedLen = 80

// quoted returns a text from the network in a form that is safe in error messages.
func quoted(s string) string { return printable.Quoted(s, quotedLen) }

const version = "v=spf1"

// isRecord reports whether a TXT record is an SPF record (RFC 7208 §4.5): it
// begins with "v=spf1" in upper or lower case (§12), followed by a space or
// nothing.
func isRecord(txt string) bool {
	return len(txt) >= len(version) && strings.EqualFold(txt[:len(version)], version) &&
		(len(txt) == len(version) || txt[len(version)] == ' ')
}

// ParseRecord parses the text of one TXT record, whose strings the caller has
// joined (RFC 7208 §3.3). It checks the whole record, because an error anywhere
// makes the record invalid (§4.6). The error is ErrNotSPF, ErrRecordTooLong or a
// *SyntaxError.
func ParseRecord(txt string) (*Record, error) {
	if !isRecord(txt) {
		return nil, ErrNotSPF
	}
	if len(txt) > MaxRecordLen {
		return nil, ErrRecordTooLong
	}
	rec := &Record{Text: txt}
	// A capacity of eight directives is enough for most records. The number of spaces
	// is not enough as a bound, because a hostile record may have only spaces.
	rec.Directives = make([]Directive, 0, min(strings.Count(txt, " "), 8))
	for pos := len(version); pos < len(txt); {
		if txt[pos] == ' ' {
			pos++
			continue
		}
		end := pos + 1
		for end < len(txt) && txt[end] != ' ' {
			end++
		}
		if reason := rec.addTerm(txt[pos:end]); reason != "" {
			return nil, &SyntaxError{Offset: pos, Term: txt[pos:end], Reason: reason}
		}
		pos = end
	}
	return rec, nil
}

// addTerm parses a directive or a modifier. reason says what is wrong with the
// term, or is "".
func (rec *Record) addTerm(term string) (reason string) {
	// A modifier has "=" right after its name, before any ":" or "/"
	// (RFC 7208 §4.6.1).
	name := term[:nameLen(term)]
	if len(name) < len(term) && term[len(name)] == '=' {
		return rec.addModifier(Modifier{Text: term, Name: strings.ToLower(name), Value: term[len(name)+1:]})
	}
	d := Directive{Text: term, Qualifier: Pass}
	switch term[0] {
	case '+':
		term = term[1:]
	case '-':
		d.Qualifier, term = Fail, term[1:]
	case '~':
		d.Qualifier, term = SoftFail, term[1:]
	case '?':
		d.Qualifier, term = Neutral, term[1:]
	}
	name = term[:nameLen(term)]
	d.Mechanism = Mechanism(strings.ToLower(name))
	if reason := d.parseArgument(term[len(name):]); reason != "" {
		return reason
	}
	rec.Directives = append(rec.Directives, d)
	return ""
}

// nameLen returns the length of the name at the beginning of s:
// ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ).
func nameLen(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isAlpha(c) || i > 0 && (isDigit(c) || c == '-' || c == '_' || c == '.') {
			continue
		}
		return i
	}
	return len(s)
}

func (rec *Record) addModifier(m Modifier) (reason string) {
	var slot **Modifier
	switch m.Name {
	case "":
		return "a modifier needs a name"
	case "redirect":
		slot = &rec.Redirect
	case "exp":
		slot = &rec.Exp
	default:
		// An unknown modifier is ignored, but its value must be a valid macro-string
		// (RFC 7208 §12).
		if _, reason := parseMacros(m.Value, inModifier); reason != "" {
			return reason
		}
		rec.Unknown = append(rec.Unknown, m)
		return ""
	}
	if *slot != nil {
		return m.Name + " appears more than once" // RFC 7208 §6
	}
	if m.target, reason = parseDomainSpec(m.Value); reason != "" {
		return reason
	}
	*slot = &m
	return ""
}

// parseArgument parses the text after the mechanism's name.
func (d *Directive) parseArgument(arg string) (reason string) {
	switch d.Mechanism {
	case MechanismAll:
		if arg != "" {
			return "all takes no argument"
		}
	case MechanismIP4:
		d.Network, reason = parseNetwork(arg, 32)
	case MechanismIP6:
		d.Network, reason = parseNetwork(arg, 128)
	case MechanismInclude, MechanismExists:
		if arg == "" {
			return string(d.Mechanism) + " needs a domain"
		}
		reason = d.parseTarget(arg)
	case MechanismPTR:
		reason = d.parseTarget(arg)
	case MechanismA, MechanismMX:
		if arg, reason = d.cutPrefixLengths(arg); reason == "" {
			reason = d.parseTarget(arg)
		}
	case "":
		return "neither a mechanism nor a modifier"
	default:
		return "unknown mechanism"
	}
	return reason
}

// parseTarget parses [ ":" domain-spec ].
func (d *Directive) parseTarget(arg string) (reason string) {
	if arg == "" {
		return ""
	}
	if arg[0] != ':' {
		return "only a colon and a domain may follow " + string(d.Mechanism)
	}
	d.DomainSpec = arg[1:]
	d.target, reason = parseDomainSpec(d.DomainSpec)
	return reason
}

// cutPrefixLengths cuts dual-cidr-length off the end of arg (RFC 7208 §5.3). It
// searches from the right, because a domain-spec may have slashes.
func (d *Directive) cutPrefixLengths(arg string) (rest, reason string) {
	d.Bits4, d.Bits6 = 32, 128
	rest, digits := cutTrailingDigits(arg)
	if strings.HasSuffix(rest, "//") {
		if d.Bits6, reason = parseBits(digits, 128); reason != "" {
			return "", reason
		}
		arg = strings.TrimSuffix(rest, "//")
		rest, digits = cutTrailingDigits(arg)
	}
	if strings.HasSuffix(rest, "/") {
		if d.Bits4, reason = parseBits(digits, 32); reason != "" {
			return "", reason
		}
		return strings.TrimSuffix(rest, "/"), ""
	}
	return arg, ""
}

func cutTrailingDigits(s string) (rest, digits string) {
	i := len(s)
	for i > 0 && isDigit(s[i-1]) {
		i--
	}
	return s[:i], s[i:]
}

// parseBits parses a prefix length. It must have no leading zeros (RFC 7208 §12)
// and be at most limit.
func parseBits(digits string, limit int) (bits int, reason string) {
	const most = 3 // no valid prefix length has more digits
	if digits == "" || len(digits) > most || (len(digits) > 1 && digits[0] == '0') {
		return 0, "malformed prefix length"
	}
	for i := 0; i < len(digits); i++ {
		if !isDigit(digits[i]) {
			return 0, "malformed prefix length"
		}
		bits = bits*10 + int(digits[i]-'0')
	}
	if bits > limit {
		return 0, fmt.Sprintf("prefix length over %d", limit)
	}
	return bits, ""
}

// parseNetwork parses the argument of ip4 (width 32) and ip6 (width 128).
func parseNetwork(arg string, width int) (network netip.Prefix, reason string) {
	if arg == "" || arg[0] != ':' {
		return netip.Prefix{}, "a colon and an address must follow"
	}
	text, length, found := strings.Cut(arg[1:], "/")
	bits := width
	if found {
		if bits, reason = parseBits(length, width); reason != "" {
			return netip.Prefix{}, reason
		}
	}
	// ParseAddr also accepts an address with a zone, but a zone has no meaning in a
	// record.
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.BitLen() != width || addr.Zone() != "" {
		return netip.Prefix{}, "malformed address"
	}
	return netip.PrefixFrom(addr, bits).Masked(), ""
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
