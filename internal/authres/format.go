package authres

import "slices"

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
	const usual = 512 // octets of most fields
	return string(f.AppendFormat(make([]byte, 0, usual)))
}

// AppendFormat appends what Format returns to dst.
func (f Field) AppendFormat(dst []byte) []byte {
	l := lines{b: append(dst, ' ')}
	l.b = appendValue(l.b, cleanText(f.AuthServID, f.UTF8))
	if len(f.Results) == 0 {
		return append(l.b, "; none"...)
	}
	f.Results = f.Results[:min(len(f.Results), maxResults)]
	head := len(l.b)
	total := head - len(dst) + len(";")
	var sizes [maxResults]int
	for i := range f.Results {
		sizes[i] = l.result(&f.Results[i], f.UTF8)
		total += sizes[i]
	}
	if total > maxFieldLen {
		l.b = l.b[:head]
		l.shrunk(f, sizes[:len(f.Results)], total)
	}
	return l.b
}

// shrunk writes the results once more, now with the details taken from the
// longest until the field fits. What a sender can blow up are the signatures:
// the results themselves, and the short DMARC result with its domain, survive.
func (l *lines) shrunk(f Field, sizes []int, total int) {
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return sizes[b] - sizes[a] })
	head := len(l.b)
	results := slices.Clone(f.Results)
	for _, i := range order {
		if total <= maxFieldLen {
			break
		}
		r := &results[i]
		*r = Result{Method: r.Method, Value: r.Value, Comment: omitted}
		total -= sizes[i] - l.result(r, f.UTF8)
		l.b = l.b[:head]
	}
	for i := range results {
		l.result(&results[i], f.UTF8)
	}
}

// lines writes items, each after a space, and folds before one that would not
// fit into the line.
type lines struct {
	b     []byte
	col   int // octets of the line
	start int // of the item being written
	size  int // octets written, as if there were a fold before each item
}

func (l *lines) begin() {
	l.start = len(l.b)
	l.b = append(l.b, ' ')
}

func (l *lines) end() {
	item := len(l.b) - l.start
	if l.col+item+len(";") > lineLen {
		l.b = slices.Insert(l.b, l.start, '\r', '\n')
		l.col = 0
	}
	l.col += item
	l.size += len("\r\n") + item
}

// result writes one result and returns how many octets it may add to the field.
func (l *lines) result(r *Result, utf8OK bool) int {
	before := l.size
	l.b = append(l.b, ';')
	l.size += len(";")
	l.col = lineLen // no room: a new line
	l.begin()
	l.b = append(l.b, cleanKeyword(r.Method)...)
	l.b = append(l.b, '=')
	l.b = append(l.b, cleanKeyword(r.Value)...)
	l.end()
	l.comment(r.Comment, utf8OK)
	if r.Reason != "" {
		l.begin()
		// A reason is prose: always quoted, as in the RFC's examples.
		l.b = appendQuoted(append(l.b, "reason="...), cleanText(r.Reason, utf8OK))
		l.end()
	}
	for _, p := range r.Properties[:min(len(r.Properties), maxProperties)] {
		l.begin()
		l.b = append(l.b, cleanKeyword(string(p.Type))...)
		l.b = append(l.b, '.')
		l.b = append(l.b, cleanKeyword(p.Name)...)
		l.b = append(l.b, '=')
		l.b = appendPValue(l.b, cleanText(p.Value, utf8OK))
		l.end()
	}
	l.comment(r.EndComment, utf8OK)
	return l.size - before
}

func (l *lines) comment(text string, utf8OK bool) {
	if text == "" {
		return
	}
	l.begin()
	l.b = appendComment(l.b, cleanText(text, utf8OK))
	l.end()
}

// appendValue writes RFC 8601's value: token / quoted-string.
func appendValue(dst []byte, s string) []byte {
	if isToken(s) {
		return append(dst, s...)
	}
	return appendQuoted(dst, s)
}

// appendPValue writes RFC 8601's pvalue, which may also be an address.
func appendPValue(dst []byte, s string) []byte {
	if isPlainAddress(s) {
		return append(dst, s...)
	}
	return appendValue(dst, s)
}

// appendQuoted writes a quoted-string (RFC 5322 §3.2.4) of clean text.
func appendQuoted(dst []byte, s string) []byte { return appendEscaped(dst, s, '"', '"') }

// appendComment writes a comment (RFC 5322 §3.2.2) of clean text.
func appendComment(dst []byte, s string) []byte { return appendEscaped(dst, s, '(', ')') }

func appendEscaped(dst []byte, s string, begin, end byte) []byte {
	dst = append(dst, begin)
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '\\' || c == begin || c == end {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, end)
}

// quote writes a quoted-string.
func quote(s string) string { return string(appendQuoted(nil, s)) }
