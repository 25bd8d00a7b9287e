package destination

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/printable"
)

const (
	// maxLocal and maxAddress are the lengths in octets that every mail server takes (RFC 5321
	// §4.5.3.1). A path has 256 octets with its angle brackets.
	maxLocal   = 64
	maxAddress = 254
)

// Why a URI is unusable.
var (
	errScheme    = errors.New("not a mailto URI")
	errMalformed = errors.New("not an address")
	errSeveral   = errors.New("more than one address")
	errCharacter = errors.New("the address has a character that is not allowed here")
	errRouting   = errors.New("the address has a character that makes some mail servers send the mail elsewhere")
	errLong      = errors.New("the address is too long")
	errDomain    = errors.New("the domain of the address is not a host name")
	errUTF8      = errors.New("the local part is not ASCII")
)

// parseMailto returns the one address in a mailto URI (RFC 6068), as it can stand in a mail header and
// in an SMTP command. Parameters, such as "?bcc=", and fragments are ignored. The local part must be a
// dot-atom: in quotes, it could have any character.
func parseMailto(uri string, utf8Allowed bool) (address string, host dns.Name, err error) {
	scheme, rest, found := strings.Cut(uri, ":")
	if !found || !strings.EqualFold(scheme, "mailto") {
		return "", "", errScheme
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	text, _ := url.PathUnescape(rest) // "" if an escape is malformed; then the local part is missing
	if !utf8.ValidString(text) {
		return "", "", errMalformed
	}
	if strings.ContainsAny(text, ",;") || strings.Count(text, "@") > 1 {
		return "", "", errSeveral
	}
	local, domain, _ := strings.Cut(text, "@")
	if local == "" || domain == "" {
		return "", "", errMalformed
	}
	if err := checkLocal(local); err != nil {
		return "", "", err
	}
	if !utf8Allowed && !printable.IsASCII(local) {
		return "", "", errUTF8
	}
	if host, err = dns.ParseHostname(domain); err != nil || !isHost(host) {
		return "", "", errDomain
	}
	address = local + "@" + string(host)
	if len(local) > maxLocal || len(address) > maxAddress {
		return "", "", errLong
	}
	return address, host, nil
}

// checkLocal returns an error unless the local part is a dot-atom that has one meaning everywhere. Some
// mail servers take "%" and "!" for the address of another host, and "|" for a program; a "-" at the
// beginning looks like an option.
func checkLocal(local string) error {
	for _, r := range local {
		switch {
		case !printable.IsShown(r), r < utf8.RuneSelf && !mailaddr.IsAtom(byte(r)):
			return errCharacter
		case strings.ContainsRune("%!|", r):
			return errRouting
		}
	}
	switch {
	case local[0] == '-':
		return errRouting
	case local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, ".."):
		return errMalformed
	}
	return nil
}

// isHost reports whether a name from dns.ParseHostname can be the domain of an address: letters, digits
// and hyphens, and not an IP address.
func isHost(n dns.Name) bool {
	top := n[strings.LastIndexByte(string(n), '.')+1:]
	if strings.Trim(string(top), "0123456789") == "" || strings.Contains(string(n), "_") {
		return false
	}
	for label := range strings.SplitSeq(string(n), ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}
