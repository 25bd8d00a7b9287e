package label

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/msgauth"
	"sekimori/internal/printable"
)

// ShowMailFrom says how much of the envelope sender our fields show.
type ShowMailFrom string

// The values of ShowMailFrom. With MailFromAddress, our fields show only the domain if the
// local part is not plain (see isPlainLocal).
const (
	MailFromDomain  ShowMailFrom = "domain"
	MailFromAddress ShowMailFrom = "address"
)

// MailFroms lists every value of ShowMailFrom, the default first.
var MailFroms = []ShowMailFrom{MailFromDomain, MailFromAddress}

// Some programs split our fields at semicolons or search them for "dmarc=pass". They must
// find our results and nothing else. Therefore only three kinds of text that come from the
// sender are written into our fields: domain names, address literals and plain local parts.
// Any other text of the sender is left out. A name that is not allowed is left out too and
// not altered, because an altered name could be the name of another domain.

// internationalized reports whether our fields in the message may hold UTF-8 (RFC 6531, RFC
// 6532). They may if the client declared SMTPUTF8, or if MAIL FROM, a recipient or a local
// part in From holds UTF-8. MAIL FROM and recipients are tested as a whole, so a domain in
// UTF-8 counts too, although such a domain could be written in ASCII.
func internationalized(e *msgauth.Evaluation) bool {
	if e.Envelope.SMTPUTF8 || !printable.IsASCII(e.Envelope.MailFrom) {
		return true
	}
	for _, to := range e.Envelope.Recipients {
		if !printable.IsASCII(to) {
			return true
		}
	}
	for i := range e.From.Mailboxes {
		if !printable.IsASCII(e.From.Mailboxes[i].Local) {
			return true
		}
	}
	return false
}

// domainText returns the domain name n in the form that our fields show. If utf8OK is true,
// internationalized labels are shown as U-labels. The result is "" if n holds characters
// other than a-z, 0-9, ".", "-" and "_".
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

// senderText returns the envelope sender, unless it is null, in the form that our fields show: its domain or
// address literal. With MailFromAddress, the form is the whole address if the local part is
// plain (see isPlainLocal).
func senderText(e *msgauth.Evaluation, show ShowMailFrom, utf8OK bool) string {
	if show != MailFromAddress && e.MailFrom.Domain != "" {
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

// heloText returns the HELO name in the form that our fields show, or "" if helo is neither
// a domain name nor an address literal (RFC 5321 §4.1.3).
func heloText(helo string, utf8OK bool) string {
	if strings.HasPrefix(helo, "[") {
		return literalText(helo)
	}
	n, err := dns.ParseName(helo)
	if err != nil || allDigits(string(n[strings.LastIndexByte(string(n), '.')+1:])) {
		return "" // the last label is a number, as in an IPv4 address without brackets
	}
	return domainText(n, utf8OK)
}

func allDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// literalText returns the address literal s with its address in the usual spelling. It
// returns "" if s is not a valid literal.
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

// identityText returns the AUID of a signature (RFC 6376 §3.5, i=) in the form that our
// fields show: the local part if it is plain, "@", and the domain.
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
		return auid // package dkim has parsed the domain, so it holds A-labels
	}
	return local + "@" + domain.Unicode()
}

// maxLocal is the length limit for a local part, in octets (RFC 5321 §4.5.3.1.1).
const maxLocal = 64

// isPlainLocal reports whether our fields may hold the local part s. The local part must be
// a dot-atom (RFC 5322 §3.2.3) without "=". If utf8OK is true, it may also hold letters,
// marks and digits beyond ASCII.
func isPlainLocal(s string, utf8OK bool) bool {
	if len(s) > maxLocal {
		return false
	}
	last := '.'           // so that the local part may not be empty, nor begin with a dot
	for _, r := range s { // octets that are not UTF-8 become U+FFFD, which is not a letter
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

// isAtomChar reports whether c is one of the characters that RFC 5322 §3.2.3 allows in an
// atom, and is not "=".
func isAtomChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-/?^_`{|}~", c) >= 0
}
