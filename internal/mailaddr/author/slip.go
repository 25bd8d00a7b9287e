package author

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/encodedword"
)

// A slip is a field that is not a mailbox-list (RFC 5322 §3.4), or that mail programs split in
// different ways. It is accepted if all programs see the same domain:
//
//	"Tanaka, Taro,<taro@a.example>     Foo foo@a.example     Foo <foo@a.example>;
//	foo@a.example (foo@a.example)      <<foo@a.example>>     <"foo bar"@a.example>
//
// Programs that read such a field show different names, and some find no author. But they cannot
// show another domain if the field does not hold one. Therefore Parse checks the field in the
// different ways in which programs read such a field (domains.go). In each of these readings, the
// one domain must follow every "@", and no program may see a longer domain.

// readSlip returns a parser with the authors of a slip. It returns nil if s is not a slip that can
// be accepted.
func readSlip(s string) *parser {
	text, ok := slipText(s)
	if !ok || checkOctets(text) != nil {
		return nil
	}
	flat := unfold(text)
	outside, comments := splitComments(flat)
	if comments != "" && strings.IndexByte(flat, '\\') >= 0 {
		return nil // A program that does not know quoted pairs may end the comment at another octet.
	}
	p := newParser(text)
	name, ok := p.slipAddresses(outside)
	if !ok {
		return nil
	}
	domain := string(p.boxes[0].Domain)
	if !oneDomain(flat, domain) {
		return nil
	}
	if name == "" {
		name = comments
	}
	display, _, _ := decodeWords(name, domain)
	p.boxes[0].DisplayName = strings.ToValidUTF8(display, unreadable)
	p.slip = true
	return p
}

// slipText returns a field with its unencoded double-byte text masked. It reports false if that
// text could hold an address or an encoded word.
func slipText(s string) (string, bool) {
	if strings.IndexByte(s, escape) >= 0 {
		t, err := maskISO2022(s)
		if err != nil || t.check() != nil {
			return "", false
		}
		s = t.masked
	}
	if utf8.ValidString(s) {
		return s, true
	}
	return strings.ToValidUTF8(s, unreadable), strings.Count(s, "@") == 1 && !strings.Contains(s, "=?")
}

// unreadable replaces octets that are not UTF-8.
const unreadable = "\ufffd"

// slipAddresses adds the addresses in a text without comments to p.boxes. It returns the name
// before the first address. It reports false if the text has no address, or if it has an "@" that
// is part of neither an address nor a name.
func (p *parser) slipAddresses(text string) (name string, ok bool) {
	end := 0 // the offset after the previous "@"
	for i := 0; i < len(text); i++ {
		if text[i] != '@' {
			continue
		}
		local, start := localBefore(text[end:i])
		start += end
		if local == "" { // perhaps "<foo @ a.example>", which RFC 5322 §4.4 allows
			if spaced, at := localBefore(strings.TrimRight(text[end:i], " \t")); strings.HasSuffix(strings.TrimRight(text[:end+at], " \t"), "<") {
				local, start = spaced, end+at
			}
		}
		end = i + 1
		quoted := strings.HasSuffix(text[:i], `"`)
		if local == "" && !startsDomain(text[end:]) && (atomEnd(text[end:]) == 0 || !quoted) { // as in "Sarah @ Acme" and "@handle"
			continue
		}
		domain, ok := slipDomain(text[end:])
		if !ok || local == "" || hasHidden(local) || strings.Contains(local, "=?") || strings.Contains(local, unreadable) {
			return "", false
		}
		m := Mailbox{Local: local, Domain: domain}
		switch {
		case len(p.boxes) == 0:
			name = strings.Trim(text[:start], " \t\"'<>,;:[()")
		case len(p.boxes) == MaxMailboxes:
			return "", false
		}
		if !slices.Contains(p.boxes, m) {
			p.boxes = append(p.boxes, m)
			p.offsets = append(p.offsets, start)
		}
	}
	return name, len(p.boxes) > 0
}

// localBefore returns the local part at the end of text, and the offset of its beginning. Quotes
// are removed, and quoted pairs are replaced by their characters.
func localBefore(text string) (local string, start int) {
	start = len(text)
	if inner, ok := strings.CutSuffix(text, `"`); ok {
		for start = len(inner) - 1; start >= 0; start-- {
			if inner[start] == '"' && (start == 0 || inner[start-1] != '\\') {
				return unquotePairs(inner[start+1:]), start
			}
		}
		return "", len(text)
	}
	for start > 0 && mailaddr.IsAtom(text[start-1]) {
		start--
	}
	return strings.TrimLeft(text[start:], "'"), start
}

// unquotePairs replaces quoted pairs by their characters (RFC 5322 §3.2.1).
func unquotePairs(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// unfold removes the line breaks of folds.
func unfold(s string) string {
	return strings.ReplaceAll(s, "\r\n", "")
}

// splitComments returns text with a space in place of each comment that is closed, and the text
// within these comments.
func splitComments(text string) (outside, comments string) {
	if strings.IndexByte(text, '(') < 0 {
		return text, ""
	}
	var out, in strings.Builder
	kept, depth, open := 0, 0, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '(':
			if depth == 0 {
				open = i
			}
			depth++
		case text[i] == ')' && depth > 0:
			if depth--; depth == 0 {
				out.WriteString(text[kept:open])
				out.WriteByte(' ')
				if in.Len() > 0 {
					in.WriteByte(' ')
				}
				in.WriteString(text[open+1 : i])
				kept = i + 1
			}
		}
	}
	out.WriteString(text[kept:])
	return out.String(), in.String()
}

// cause returns the error for a field in which no author was found. Usually it returns refused, the
// error of parseList. In three cases it returns a different error. If no mail program finds a
// domain in the field, as in "MAILER-DAEMON" and "<>", the error says that there is none. If the
// only address is in a comment or a name, the error says that. If the field shows several domains,
// the error names them. This is checked first, so that no such field is accepted as a slip.
func cause(s string, refused *Error) *Error {
	octets := s
	if strings.IndexByte(s, escape) >= 0 {
		if t, err := maskISO2022(s); err == nil {
			octets = t.masked
		}
	}
	if checkOctets(octets) != nil {
		return refused
	}
	flat := unfold(s)
	other, below := shows(flat, domainShown(flat[strings.LastIndexByte(flat, '@')+1:]))
	switch {
	case namesNobody(flat) && encodedword.Decodings(flat, true, func(scan encodedword.Decoded) string {
		if namesNobody(scan.Judged) {
			return ""
		}
		return hiddenAddress
	}) == "":
		if refused.Kind == KindNoAddress {
			return refused
		}
		return &Error{KindNoAddress, refused.Offset, "the field names no domain"}
	case refused.Kind == KindNoAddress:
		return &Error{KindAmbiguous, refused.Offset, "the only address is in a comment or a name"}
	case (other || below) && !strings.Contains(refused.Detail, "another domain"):
		return &Error{refused.Kind, refused.Offset, "the field shows several domains, and " + refused.Detail}
	}
	return refused
}

// namesNobody reports whether text names no domain: it has no "@", or only an address literal or
// nothing follows the "@".
func namesNobody(text string) bool {
	_, after, _ := strings.Cut(text, "@")
	if literal, found := strings.CutPrefix(after, "["); found {
		if inner, end, _ := strings.Cut(literal, "]"); isAddress(inner) {
			after = end
		}
	}
	return strings.Trim(after, " \t>\"") == "" && !looksLikeAddress(text)
}

// isAddress reports whether text is an IP address in the form of an address literal (RFC 5321
// §4.1.3).
func isAddress(text string) bool {
	_, err := netip.ParseAddr(strings.TrimPrefix(strings.ToUpper(text), "IPV6:"))
	return err == nil
}
