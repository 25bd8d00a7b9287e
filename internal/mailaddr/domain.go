package mailaddr

import (
	"errors"

	"sekimori/internal/dns"
)

var errNotHostname = errors.New("mailaddr: domain is not a host name")

// ParseDomain parses the domain of an address. It does the same as dns.ParseHostname, but also
// accepts a single label, because a host writes its own mail as root@localhost.
func ParseDomain(s string) (dns.Name, error) {
	n, err := dns.ParseName(s)
	if err != nil {
		return "", err
	}
	if n == "" {
		return "", errNotHostname
	}
	for i := 0; i < len(n); i++ {
		c := n[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return "", errNotHostname
		}
	}
	return n, nil
}

// IsAtom reports whether c is atext (RFC 5322 §3.2.3, RFC 6532 §3.2) or the dot.
func IsAtom(c byte) bool { return c >= 0x80 || atoms[c] }

// atoms are the ASCII octets for which IsAtom reports true.
var atoms = func() (set [0x80]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.") {
		set[c] = true
	}
	return set
}()
