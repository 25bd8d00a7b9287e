package bimi

import (
	"errors"
	"fmt"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/taglist"
)

// maxRecordLen is the length of the longest assertion record that is read, in octets. Two URIs of
// maxURILen octets and a long list of local parts fit.
const maxRecordLen = 16 << 10

// The errors of ParseRecord.
var (
	// ErrNotBIMI means that the text is not an assertion record of this version and must be ignored.
	ErrNotBIMI = errors.New("bimi: not an assertion record")
	// ErrRecord means that the text is an assertion record that cannot be used.
	ErrRecord = errors.New("bimi: malformed assertion record")
)

// Preference is the value of the tag avp=: which picture the author prefers if the mail client has
// one of the brand and one of the person.
type Preference string

// The preferences.
const (
	PreferBrand    Preference = "brand"
	PreferPersonal Preference = "personal"
)

// Record is an assertion record.
type Record struct {
	Location   string     // l=, the URI of the picture, or ""
	Evidence   string     // a=, the URI of the mark certificate, or ""
	Preference Preference // avp=; "" if it is absent or unknown
	// Prefixes has the prefixes of local parts in lps=. If ByLocalPart is true, the record has this
	// tag, and a local part that begins with one of the prefixes may have a record of its own. An
	// empty list means that every local part may.
	ByLocalPart bool
	Prefixes    string // the list as written
	// Declines is true if both URIs are empty: the domain takes no part.
	Declines bool
}

// isRecord reports whether txt begins with the version, v=BIMI1. Upper and lower case matter.
func isRecord(txt string) bool {
	first, _, _ := strings.Cut(txt, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && strings.TrimRight(name, " \t") == "v" && strings.Trim(value, " \t") == version
}

const version = "BIMI1"

// ParseRecord parses the text of one TXT record. The error is ErrNotBIMI, or wraps ErrRecord and
// says what the sender has to change.
func ParseRecord(txt string) (Record, error) {
	var r Record
	if !isRecord(txt) {
		return r, ErrNotBIMI
	}
	if len(txt) > maxRecordLen {
		return r, malformed("it is longer than 16384 octets")
	}
	var room [8]taglist.Tag
	tags, err := taglist.Append(room[:0], txt)
	if err != nil {
		return r, malformed(strings.TrimPrefix(err.Error(), "taglist: "))
	}
	location, ok := tags.Get("l")
	if !ok {
		return r, malformed("the tag l= is missing")
	}
	evidence, _ := tags.Get("a")
	if location == "" && evidence == "" {
		r.Declines = true
		return r, nil
	}
	for _, uri := range []struct{ tag, value string }{{"l=", location}, {"a=", evidence}} {
		if problem := checkURI(uri.value); uri.value != "" && problem != "" {
			return r, malformed(uri.tag + " " + problem)
		}
	}
	r.Location, r.Evidence = location, evidence
	switch avp, _ := tags.Get("avp"); Preference(strings.ToLower(avp)) {
	case PreferBrand:
		r.Preference = PreferBrand
	case PreferPersonal:
		r.Preference = PreferPersonal
	}
	r.Prefixes, r.ByLocalPart = tags.Get("lps")
	return r, nil
}

func malformed(why string) error { return fmt.Errorf("%w: %s", ErrRecord, why) }

// maxURILen is the length of the longest URI that is used, in octets.
const maxURILen = 2048

// checkURI returns what is wrong with the URI of a picture or certificate, or "". A URI that passes
// has only characters that need no quotes in a header field.
func checkURI(uri string) string {
	const scheme = "https://"
	switch {
	case len(uri) > maxURILen:
		return "has more than 2048 octets"
	case len(uri) < len(scheme) || !strings.EqualFold(uri[:len(scheme)], scheme):
		return "is not an https URI"
	}
	for i := 0; i < len(uri); i++ {
		if !isURIChar(uri[i]) {
			return "has a character that no URI may have"
		}
	}
	authority := uri[len(scheme):]
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority = authority[:end]
	}
	host, port, hasPort := strings.Cut(authority, ":")
	switch {
	case strings.Contains(authority, "@"):
		return "has a user name"
	case strings.Contains(authority, "["), isNumeric(host):
		return "has an address in place of a host name"
	case hasPort && port != "443":
		return "has another port than 443"
	case strings.Contains(uri, "#"):
		return "has a fragment"
	}
	if name, err := dns.ParseHostname(host); err != nil || string(name) != strings.ToLower(host) {
		return "has no valid host name"
	}
	return ""
}

// isURIChar reports whether a URI may have c (RFC 3986 §2). A comma, a semicolon and quotes are
// refused: they separate values in the record and in header fields.
func isURIChar(c byte) bool {
	return isAlnum(c) || strings.IndexByte("-._~:/?#[]@!$&*+=%", c) >= 0
}

// isNumeric reports whether host would be read as an IPv4 address by some program: its last label
// is a number, also in hexadecimal.
func isNumeric(host string) bool {
	last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]
	last = strings.TrimSuffix(strings.ToLower(last), ".")
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
