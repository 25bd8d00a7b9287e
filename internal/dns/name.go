package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"sekimori/internal/printable"
)

// Name is a domain name in canonical form: ASCII letters in lower case, U-labels converted to
// A-labels, no trailing dot; the root is "". Labels may hold any octet except the dot, because SPF
// macros can produce any octet (RFC 7208 §7). A name from ParseName fits the wire format (RFC 1035
// §3.1).
type Name string

// Limits of the wire format (RFC 1035 §3.1, §2.3.4), in octets.
const (
	MaxLabelLen = 63
	MaxNameLen  = 253 // text form without the trailing dot
)

// The reasons why ParseName refuses a name.
var (
	ErrEmptyLabel  = errors.New("dns: name has an empty label")
	ErrLongLabel   = errors.New("dns: name has a label over 63 octets")
	ErrLongName    = errors.New("dns: name over 253 octets")
	ErrInvalidIDNA = errors.New("dns: name is not a valid internationalized domain name")
)

// lookupProfile maps names for look-up as RFC 5895 and UTS #46 say, but without
// the STD3 rules: DKIM and DMARC names contain underscores.
var lookupProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.BidiRule())

// hasLongLabel reports whether a label has more characters than an A-label may have octets. Such a
// label cannot be valid, because each character takes at least one octet of the A-label. (Mapping
// drops or joins some characters, but no real name has that many of them.) ParseName checks this
// before it encodes a label, because encoding takes quadratic time and a message may hold a
// thousand long labels.
func hasLongLabel(s string) bool {
	n := 0
	for _, r := range s {
		switch r {
		case '.', '\u3002', '\uff0e', '\uff61': // UTS #46 §2.3
			n = 0
		default:
			if n++; n > MaxLabelLen {
				return true
			}
		}
	}
	return false
}

// ParseName validates s and brings it into canonical form. One trailing dot is
// accepted.
func ParseName(s string) (Name, error) {
	if len(s) > 4*MaxNameLen { // conversion of U-labels changes the length, but not by this much
		return "", ErrLongName
	}
	if !printable.IsASCII(s) {
		if !utf8.ValidString(s) { // idna would map all names with invalid octets to one name
			return "", fmt.Errorf("%w: %q", ErrInvalidIDNA, s)
		}
		if hasLongLabel(s) {
			return "", ErrLongLabel
		}
		a, err := lookupProfile.ToASCII(s)
		if err != nil {
			return "", fmt.Errorf("%w: %q", ErrInvalidIDNA, s)
		}
		s = a
	}
	s = strings.TrimSuffix(s, ".")
	if len(s) > MaxNameLen {
		return "", ErrLongName
	}
	label := 0
	upper := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if label == 0 {
				return "", ErrEmptyLabel
			}
			label = 0
			continue
		case 'A' <= c && c <= 'Z':
			upper = true
		}
		if label++; label > MaxLabelLen {
			return "", ErrLongLabel
		}
	}
	if label == 0 && s != "" {
		return "", ErrEmptyLabel
	}
	if upper {
		s = asciiLower(s)
	}
	return Name(s), nil
}

// ParseHostname is ParseName for a domain from an untrusted source. The name must have at least two
// labels and may only consist of letters, digits, hyphens and underscores, so it is safe to show
// and to compare. Labels are not checked otherwise.
func ParseHostname(s string) (Name, error) {
	n, err := ParseName(s)
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(n), ".") {
		return "", fmt.Errorf("dns: %q has fewer than two labels", s)
	}
	for i := 0; i < len(n); i++ {
		c := n[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return "", fmt.Errorf("dns: %q holds an octet that no host name may have", s)
		}
	}
	return n, nil
}

// Labels returns the number of labels; the root has none.
func (n Name) Labels() int {
	if n == "" {
		return 0
	}
	return strings.Count(string(n), ".") + 1
}

// Parent drops the leftmost label; the parent of a single label is the root.
func (n Name) Parent() Name {
	_, p, _ := strings.Cut(string(n), ".")
	return Name(p)
}

// Keep returns the last labels of n, as many as "count" says, or n if it has no more labels.
func (n Name) Keep(count int) Name {
	for extra := n.Labels() - count; extra > 0; extra-- {
		n = n.Parent()
	}
	return n
}

// Under reports whether n equals the name "ancestor" or lies below it. Every name lies below the
// root.
func (n Name) Under(ancestor Name) bool {
	if ancestor == "" || n == ancestor {
		return true
	}
	return len(n) > len(ancestor) && strings.HasSuffix(string(n), string(ancestor)) && n[len(n)-len(ancestor)-1] == '.'
}

// Prepend puts labels, such as "_dmarc" or "s1._domainkey", before n.
func (n Name) Prepend(labels string) (Name, error) {
	if n == "" {
		return ParseName(labels)
	}
	return ParseName(labels + "." + string(n))
}

// ReverseName returns the name under in-addr.arpa or ip6.arpa that has the PTR records of addr (RFC
// 1035 §3.5, RFC 3596 §2.5). IPv4-mapped addresses count as IPv4.
func ReverseName(addr netip.Addr) Name {
	addr = addr.Unmap()
	if addr.Is4() {
		b := addr.As4()
		return Name(fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0]))
	}
	const hex = "0123456789abcdef"
	b := addr.As16()
	out := make([]byte, 0, 64+len("ip6.arpa"))
	for i := len(b) - 1; i >= 0; i-- {
		out = append(out, hex[b[i]&15], '.', hex[b[i]>>4], '.')
	}
	return Name(append(out, "ip6.arpa"...))
}

// asciiLower folds only A-Z (RFC 4343). strings.ToLower would change octets that are
// not valid UTF-8.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
