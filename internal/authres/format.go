package authres

import "strings"

// lineLen is the preferred length of a line (RFC 5322 §2.1.1). A single value
// may make one longer; the bounds in clean.go keep every line under 998.
const lineLen = 78

// Format returns the field's value as it goes on the wire: it begins with a
// space, each result begins a line of its own, folds are CRLF SP, and there is
// no CRLF at the end.
//
// Whatever the values hold:
//   - a value that is an RFC 2045 token, or for properties a plain
//     local-part@domain or @domain, stands as it is; any other is a
//     quoted-string, with '"' and '\' escaped; comments have their parentheses
//     escaped
//   - control characters, and non-ASCII unless UTF8 is set, become '?'
//   - a value over 255 octets is cut and ends in "..."
//   - a field over 16 KiB loses the details of its longest results, which say
//     so in a comment; there are at most 100 results of 32 properties
//   - methods, results and property names are forced into keywords
func (f Field) Format() string {
	f = f.clean()
	var b strings.Builder
	b.WriteByte(' ')
	b.WriteString(formatValue(f.AuthServID))
	if len(f.Results) == 0 {
		b.WriteString("; none")
		return b.String()
	}
	for _, r := range f.Results {
		b.WriteByte(';')
		writeFrom(&b, r.items(), lineLen) // no room: a new line
	}
	return b.String()
}

// items returns the parts of a result between which the line may be folded.
func (r Result) items() []string {
	items := make([]string, 0, 3+len(r.Properties))
	items = append(items, r.Method+"="+r.Value)
	if r.Comment != "" {
		items = append(items, comment(r.Comment))
	}
	if r.Reason != "" {
		// A reason is prose: always quoted, as in the RFC's examples.
		items = append(items, "reason="+quote(r.Reason))
	}
	for _, p := range r.Properties {
		items = append(items, string(p.Type)+"."+p.Name+"="+formatPValue(p.Value))
	}
	return items
}

// writeFrom writes the items, each after a space, from column col on, and folds
// before one that would not fit.
func writeFrom(b *strings.Builder, items []string, col int) {
	for _, item := range items {
		if col+1+len(item)+len(";") > lineLen {
			b.WriteString("\r\n")
			col = 0
		}
		b.WriteByte(' ')
		b.WriteString(item)
		col += 1 + len(item)
	}
}

// resultLen is the number of octets that a result adds to the field.
func resultLen(r Result) int {
	n := len(";")
	for _, item := range r.items() {
		n += len("\r\n ") + len(item)
	}
	return n
}

// formatValue writes RFC 8601's value: token / quoted-string.
func formatValue(s string) string {
	if isToken(s) {
		return s
	}
	return quote(s)
}

// formatPValue writes RFC 8601's pvalue, which may also be an address.
func formatPValue(s string) string {
	if isPlainAddress(s) {
		return s
	}
	return formatValue(s)
}

// quote writes a quoted-string (RFC 5322 §3.2.4) of clean text.
func quote(s string) string { return escape(s, '"', '"') }

// comment writes a comment (RFC 5322 §3.2.2) of clean text.
func comment(s string) string { return escape(s, '(', ')') }

func escape(s string, begin, end byte) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, begin)
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '\\' || c == begin || c == end {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(append(b, end))
}
