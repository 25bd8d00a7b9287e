package authres

import "strings"

// maxTraceLen is the longest Received-SPF value that can still be somebody
// else's trace, in octets. No genuine one comes near it.
const maxTraceLen = 4 << 10

// ClaimedSPF reports whether the value of a Received-SPF field may be taken as
// written by a host that has one of the ids: its receiver= or its comment names
// one, or it has neither, so that every host might have written it (RFC 7208
// §9.1 wants both). Any other is another host's trace.
func (n IDs) ClaimedSPF(value string) bool {
	named, signed := n.readSPF(value)
	return named || !signed
}

// NamedInSPF reports whether receiver= or a comment names one of the ids.
func (n IDs) NamedInSPF(value string) bool {
	named, _ := n.readSPF(value)
	return named
}

// readSPF reports whether a Received-SPF value names one of the ids, and whether
// it has a comment or a receiver= at all.
func (n IDs) readSPF(value string) (named, signed bool) {
	if len(value) > maxTraceLen || encoded(value) {
		return true, true // made to hide something
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

// splitComments returns the text within parentheses, nested ones and one that
// is never closed included, and the text outside of them. Within quotes, if the
// reader heeds them, parentheses are text.
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

// parameters returns the values that are given to a key, each up to the next
// semicolon, in one text. The key is in lower case.
func parameters(text, key string) string {
	var b strings.Builder
	for folded := lower(text); ; {
		i := strings.Index(folded, key)
		if i < 0 {
			return b.String()
		}
		whole := i == 0 || strings.IndexByte(" \t\r\n;,", folded[i-1]) >= 0
		text, folded = text[i+len(key):], folded[i+len(key):]
		value, ok := strings.CutPrefix(strings.TrimLeft(text, " \t\r\n"), "=")
		if !whole || !ok {
			continue
		}
		value, _, _ = strings.Cut(value, ";")
		b.WriteString(value + " ")
	}
}
