package failure

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/printable"
	"sekimori/internal/taglist"
)

// redactor makes text of a message fit to be told to others.
type redactor struct {
	key        []byte
	recipients []recipient
	owner      dns.Name // the domain whose owner gets the report
}

// recipient is an address in lower case.
type recipient struct{ local, domain string }

// newRedactor returns a redactor that finds these recipients, which may have angle brackets.
func newRedactor(key []byte, recipients []string, owner dns.Name) *redactor {
	r := &redactor{key: key, owner: owner}
	for _, rcpt := range recipients {
		rcpt = lower(strings.Trim(rcpt, "<>"))
		if at := strings.LastIndexByte(rcpt, '@'); at > 0 {
			r.recipients = append(r.recipients, recipient{strings.Trim(rcpt[:at], `"`), rcpt[at+1:]})
		}
	}
	return r
}

// lower folds only ASCII, so that no offset changes.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// code returns the code for a local part (RFC 6590 §3): hexadecimal digits that depend only on the key
// and the local part.
func (r *redactor) code(local string) string {
	const octets = 10 // enough for the codes of different local parts to differ
	if len(r.key) == 0 {
		return "redacted"
	}
	mac := hmac.New(sha256.New, r.key)
	_, _ = mac.Write([]byte(local)) // a hash takes everything
	return hex.EncodeToString(mac.Sum(nil)[:octets])
}

// maxBetween is how far the domain of a recipient may stand behind the local part. Bounce addresses and
// selectors have "=", "%40" or "-at-" between them.
const maxBetween = 4

// scrub replaces the local part of every recipient in s. Outside of words, it finds a local part only
// if the domain follows. If words is true, it also finds it alone, as a whole word.
func (r *redactor) scrub(s string, words bool) string {
	for _, rcpt := range r.recipients {
		if rcpt.local == "" {
			continue
		}
		low, from := lower(s), 0
		var b strings.Builder
		for {
			i := strings.Index(low[from:], rcpt.local)
			if i < 0 {
				break
			}
			i += from
			end := i + len(rcpt.local)
			after := low[end:]
			if strings.Contains(after[:min(len(after), maxBetween+len(rcpt.domain))], rcpt.domain) || words && isWord(low, i, end) {
				b.WriteString(s[from:i])
				b.WriteString(r.code(rcpt.local))
			} else {
				b.WriteString(s[from:end])
			}
			from = end
		}
		s = b.String() + s[from:]
	}
	return s
}

// isWord reports whether s[start:end] has at least three octets and no letter or digit on either side.
func isWord(s string, start, end int) bool {
	alnum := func(i int) bool {
		return i >= 0 && i < len(s) && ('a' <= s[i] && s[i] <= 'z' || '0' <= s[i] && s[i] <= '9' || s[i] >= 0x80)
	}
	return end-start >= 3 && !alnum(start-1) && !alnum(end)
}

// text returns a value without recipients, as printable ASCII of at most maxValue octets.
func (r *redactor) text(s string) string {
	return printable.Marked(r.scrub(defang(s), false), maxValue)
}

// name is text for a domain name. Names of the owner stay as they are.
func (r *redactor) name(n dns.Name) dns.Name {
	if n.Under(r.owner) && printable.IsPlain(string(n)) {
		return n
	}
	return dns.Name(strings.ReplaceAll(r.text(string(n)), " ", "?"))
}

// identity returns an i= or another address with a code as its local part.
func (r *redactor) identity(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return r.code(s)
	}
	n, err := dns.ParseHostname(s[at+1:])
	switch {
	case err != nil:
		return r.code(s)
	case at == 0:
		return "@" + string(r.name(n))
	}
	return r.code(s[:at]) + "@" + string(r.name(n))
}

var (
	// link finds the beginning of a link.
	link = regexp.MustCompile(`(?i)\bhttp(s?)(:|%3a|&#)`)
	// address finds the local part of an address.
	address = regexp.MustCompile(`[^\s<>"'(),:;@]+@`)
)

// defang changes links so that nobody follows them by accident.
func defang(s string) string { return link.ReplaceAllString(s, "hxxp$1$2") }

// header returns the fields that may be told to the Domain Owner, in the order of the message.
func (r *redactor) header(e *msgauth.Evaluation, h message.Header, subject bool) []message.Field {
	var out []message.Field
	signatures := 0
	seen := map[string]bool{}
	for _, f := range h {
		name := lower(f.Name)
		value, written := "", ""
		switch name {
		case "from":
			written, value = "From", r.from(e)
		case "date":
			if t, err := mail.ParseDate(message.Unfold(f.Value)); err == nil {
				written, value = "Date", t.Format("Mon, 2 Jan 2006 15:04:05 -0700")
			}
		case "message-id":
			if id := strings.TrimSpace(message.Unfold(f.Value)); strings.HasPrefix(id, "<") && strings.HasSuffix(id, ">") {
				written, value = "Message-ID", "<"+r.identity(id[1:len(id)-1])+">"
			}
		case "list-id":
			written, value = "List-Id", r.listID(f.Value)
		case "subject":
			if subject {
				written, value = "Subject", r.subject(f.Value)
			}
		case "dkim-signature":
			if signatures++; signatures <= maxSignatures {
				written, value = "DKIM-Signature", r.signature(f.Value)
			}
		}
		if value == "" || seen[name] && name != "dkim-signature" {
			continue
		}
		seen[name] = true
		out = append(out, message.Field{Name: written, Value: value})
	}
	return out
}

// from returns the authors without their names.
func (r *redactor) from(e *msgauth.Evaluation) string {
	var all []string
	for _, m := range e.From.Mailboxes[:min(len(e.From.Mailboxes), maxAuthors)] {
		all = append(all, "<"+r.code(m.Local)+"@"+string(r.name(m.Domain))+">")
	}
	return strings.Join(all, ", ")
}

// listID returns the identifier of a list without its name.
func (r *redactor) listID(value string) string {
	_, id, _ := strings.Cut(message.Unfold(value), "<")
	id, _, closed := strings.Cut(id, ">")
	if !closed || !printable.IsPlain(id) || strings.Contains(id, " ") || id == "" {
		return ""
	}
	if strings.Contains(id, "@") {
		return "<" + r.identity(id) + ">"
	}
	return "<" + r.text(id) + ">"
}

// subject returns the subject with the local parts of all addresses, and the local parts of
// recipients, as codes. A subject that cannot be decoded could hide an address, so it is left out.
func (r *redactor) subject(value string) string {
	text, err := new(mime.WordDecoder).DecodeHeader(strings.TrimSpace(message.Unfold(value)))
	if err != nil || strings.Contains(text, "=?") {
		return ""
	}
	text = r.scrub(defang(text), true)
	text = address.ReplaceAllStringFunc(text, func(s string) string { return r.code(strings.TrimSuffix(s, "@")) + "@" })
	text = printable.MarkedUTF8(text, maxValue)
	return mime.BEncoding.Encode("utf-8", text) // text in ASCII stays as it is
}

// signature returns a DKIM signature with the tags that say who signed what. The tag z is left out: it
// has copies of other fields.
func (r *redactor) signature(value string) string {
	var b strings.Builder
	for tag, err := range taglist.All(value) {
		if err != nil || !slices.Contains([]string{"v", "a", "b", "bh", "c", "d", "h", "i", "l", "q", "s", "t", "x"}, tag.Name) {
			continue
		}
		v := taglist.StripFWS(tag.Value)
		if tag.Name == "i" {
			v = r.identity(v)
		} else {
			v = r.scrub(v, false) // also in b=, because nobody checks that it is base64
		}
		if !printable.IsPlain(v) || len(v) > maxValue || b.Len()+len(v) > maxField {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(tag.Name + "=" + v)
	}
	return b.String()
}
