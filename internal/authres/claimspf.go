package authres

import "strings"

// maxTraceLen limits a Received-SPF value, in octets. A genuine value is much shorter. A longer
// value is therefore treated as forged.
const maxTraceLen = 4 << 10

// ClaimedSPF reports whether some program that reads this value of a Received-SPF field could think
// that a host with one of the ids wrote it. It reports true if the receiver= parameter or a comment
// names an id, or if the value is too long or has an encoded word. It also reports true if the
// value has neither a receiver= parameter nor a comment (RFC 7208 §9.1 asks for both), because then
// any host might have written it. In all other cases, another host wrote the field.
func (n IDs) ClaimedSPF(value string) bool {
	named, signed := n.readSPF(value)
	return named || !signed
}

// NamedInSPF reports whether the receiver= parameter or a comment in the value of a Received-SPF
// field names one of the ids. It also reports true if the value is too long or has an encoded word.
func (n IDs) NamedInSPF(value string) bool {
	named, _ := n.readSPF(value)
	return named
}

// readSPF reports whether a Received-SPF value names one of the ids (named), and whether it has a
// comment or a receiver= (signed).
func (n IDs) readSPF(value string) (named, signed bool) {
	if len(value) > maxTraceLen || encoded(value) {
		return true, true // the length or an encoded word is meant to hide an id
	}
	for _, quotes := range []bool{true, false} {
		comments, rest := splitComments(value, quotes)
		receivers := parameters(rest, "receiver")
		if strings.TrimSpace(comments+receivers) == "" {
			continue
		}
		signed = true
		if n.named(comments) || n.named(receivers) {
			return true, true
		}
	}
	return false, signed
}

// splitComments returns the text within parentheses, and the text outside of them. Parentheses may
// be nested. If a parenthesis is not closed, the comment goes on to the end of the value. If quotes
// is set, a parenthesis within quotes is ordinary text.
func splitComments(value string, quotes bool) (comments, rest string) {
	var in, out strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		c := value[i]
		b := &out
		if depth > 0 {
			b = &in
		}
		switch {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(value):
			i++
			b.WriteByte(value[i])
		case quotes && c == '"' && depth == 0:
			quoted = !quoted
			b.WriteByte(c)
		case c == '(' && !quoted:
			depth++
			in.WriteByte(' ')
			out.WriteByte(' ')
		case c == ')' && depth > 0:
			depth--
		default:
			b.WriteByte(c)
		}
	}
	return in.String(), out.String()
}

// parameters returns the values of a key, one after the other. Each value ends at the next
// semicolon. The key is in lower case.
func parameters(text, key string) string {
	var b strings.Builder
	folded := lower(text)
	for end := 0; ; {
		i := strings.Index(folded[end:], key)
		if i < 0 {
			return b.String()
		}
		begin := end + i
		end = begin + len(key)
		whole := begin == 0 || strings.IndexByte(" \t\r\n;,", folded[begin-1]) >= 0
		value, ok := strings.CutPrefix(strings.TrimLeft(text[end:], " \t\r\n"), "=")
		if !whole || !ok {
			continue
		}
		value, _, _ = strings.Cut(value, ";")
		b.WriteString(value + " ")
	}
}
