package label

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/msgauth"
)

// ShowMailFrom is how much of the envelope sender stands in the fields.
type ShowMailFrom string

// What of MAIL FROM is shown. With MailFromAddress it is still the domain alone
// where the local part is not a plain one.
const (
	MailFromDomain  ShowMailFrom = "domain"
	MailFromAddress ShowMailFrom = "address"
)

// MailFroms lists both, the default first.
var MailFroms = []ShowMailFrom{MailFromDomain, MailFromAddress}

// Nothing a stranger chose stands in a field of ours but domain names, address
// literals and plain local parts: readers that cut at semicolons, or search for
// "dmarc=pass", must find our results alone. What is neither is left out, never
// altered, because an altered name is somebody else's.

// internationalized reports a message whose fields may hold UTF-8 (RFC 6531,
// RFC 6532): it came so, or an address of it has no other form.
func internationalized(e *msgauth.Evaluation) bool {
	if e.Envelope.SMTPUTF8 || beyondASCII(e.Envelope.MailFrom) {
		return true
	}
	for _, to := range e.Envelope.Recipients {
		if beyondASCII(to) {
			return true
		}
	}
	for i := range e.From.Mailboxes {
		if beyondASCII(e.From.Mailboxes[i].Local) {
			return true
		}
	}
	return false
}

func beyondASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// domainText is a name as it is shown: in U-labels where UTF-8 may stand, ""
// unless it is a domain name.
func domainText(n dns.Name, utf8OK bool) string {
	for i := 0; i < len(n); i++ {
		c := n[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return ""
		}
	}
	if utf8OK {
		return n.Unicode()
	}
	return string(n)
}

// senderText is the envelope sender as it is shown: its domain or address
// literal, or with MailFromAddress the address.
func senderText(e *msgauth.Evaluation, show ShowMailFrom, utf8OK bool) string {
	if show != MailFromAddress && e.MailFrom.Domain != "" && !e.MailFrom.NullSender {
		return domainText(e.MailFrom.Domain, utf8OK)
	}
	path, err := mailaddr.ParsePath(e.Envelope.MailFrom)
	if err != nil {
		return ""
	}
	domain := domainText(path.Domain, utf8OK)
	if path.Domain == "" {
		domain = literalText(path.DomainRaw)
	}
	if show != MailFromAddress || domain == "" || !isPlainLocal(path.Local, utf8OK) {
		return domain
	}
	return path.Local + "@" + domain
}

// heloText is the HELO name as it is shown, "" if it is neither a domain name
// nor an address literal (RFC 5321 §4.1.3).
func heloText(helo string, utf8OK bool) string {
	if strings.HasPrefix(helo, "[") {
		return literalText(helo)
	}
	n, err := dns.ParseName(helo)
	if err != nil || allDigits(string(n[strings.LastIndexByte(string(n), '.')+1:])) {
		return "" // an address without its brackets is none of the two
	}
	return domainText(n, utf8OK)
}

func allDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// literalText returns an address literal in the address's usual spelling, "" if
// it holds no address.
func literalText(s string) string {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return ""
	}
	const v6 = "IPv6:"
	text, prefix := s[1:len(s)-1], ""
	if len(text) > len(v6) && strings.EqualFold(text[:len(v6)], v6) {
		text, prefix = text[len(v6):], v6
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.Is6() != (prefix != "") {
		return ""
	}
	return "[" + prefix + addr.String() + "]"
}

// identityText is the AUID of a signature (RFC 6376 §3.5, i=) as it is shown:
// "@" and the domain, after the local part if that is a plain one.
func identityText(auid string, utf8OK bool) string {
	at := strings.LastIndexByte(auid, '@')
	if at < 0 {
		return ""
	}
	local, domain := auid[:at], dns.Name(auid[at+1:])
	if !isPlainLocal(local, utf8OK) {
		local, auid = "", auid[at:]
	}
	if !utf8OK {
		return auid // package dkim has checked the domain
	}
	return local + "@" + domain.Unicode()
}

// maxLocal is RFC 5321 §4.5.3.1.1's bound on a local part, in octets.
const maxLocal = 64

// isPlainLocal reports a local part that can stand in a field: a dot-atom
// (RFC 5322 §3.2.3) without "=", in UTF-8 with letters, marks and digits.
func isPlainLocal(s string, utf8OK bool) bool {
	if s == "" || len(s) > maxLocal || !utf8.ValidString(s) {
		return false
	}
	last := '.'
	for _, r := range s {
		switch {
		case r == '.' && last == '.':
			return false
		case r >= utf8.RuneSelf:
			if !utf8OK || !unicode.In(r, unicode.L, unicode.M, unicode.Nd) || last == '.' && unicode.IsMark(r) {
				return false
			}
		case r != '.' && !isAtomChar(byte(r)):
			return false
		}
		last = r
	}
	return last != '.'
}

// isAtomChar reports RFC 5322's atext without "=".
func isAtomChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-/?^_`{|}~", c) >= 0
}
