package authres

import (
	"slices"
	"strings"
)

// lineLen is the preferred length of a line (RFC 5322 §2.1.1). A single value
// may make one longer; the bounds in clean.go keep every line under 998.
const lineLen = 78

// Format returns the field's value as it goes on the wire: it begins with a
// space, each result begins a line of its own, folds are CRLF SP, and there is
// no CRLF at the end.
//
// Many readers do not parse: they cut at every ';', or search for "dmarc=pass".
// So, whatever the values hold:
//   - a property stands in the field only if its value has no octet that could
//     begin or end anything: none of ;="\(),<> nor a space, nothing that is not
//     printable, no non-ASCII unless UTF8 is set, and at most 255 octets
//   - a value that is an RFC 2045 token, a domain name, or a plain
//     local-part@domain or @domain stands as it is, any other in quotes; so does
//     one with an apostrophe, which mailauth takes for a quote
//   - comments and reasons, which are ours, have '_' for ;"\ (comments for
//     parentheses, too) and '?' for what is not printable; over 255 octets they
//     are cut and end in "..."
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
		l.b = appendQuoted(append(l.b, "reason="...), cleanProse(r.Reason, &reasonChars, utf8OK))
		l.end()
	}
	for i := range r.Properties[:min(len(r.Properties), maxProperties)] {
		p := &r.Properties[i]
		if !isWritable(p.Value, utf8OK) {
			continue
		}
		l.begin()
		l.b = append(l.b, cleanKeyword(string(p.Type))...)
		l.b = append(l.b, '.')
		l.b = append(l.b, cleanKeyword(p.Name)...)
		l.b = append(l.b, '=')
		l.b = appendPValue(l.b, p.Value)
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
	l.b = appendComment(l.b, cleanProse(text, &commentChars, utf8OK))
	l.end()
}

// appendValue writes RFC 8601's value: token / quoted-string.
func appendValue(dst []byte, s string) []byte {
	if isToken(s) {
		return append(dst, s...)
	}
	return appendQuoted(dst, s)
}

// appendPValue writes RFC 8601's pvalue, which may also be an address or, with
// U-labels in it, a domain name (RFC 8616 §3).
func appendPValue(dst []byte, s string) []byte {
	if isToken(s) && strings.IndexByte(s, '\'') < 0 || isPlainAddress(s) || isDomainName(s) {
		return append(dst, s...)
	}
	return appendQuoted(dst, s)
}

// appendQuoted writes a quoted-string (RFC 5322 §3.2.4) of clean text. Only an
// authserv-id, which is the operator's, ever needs the escapes.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '\\' || c == '"' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// appendComment writes a comment (RFC 5322 §3.2.2) of clean prose.
func appendComment(dst []byte, s string) []byte {
	dst = append(dst, '(')
	dst = append(dst, s...)
	return append(dst, ')')
}

// quote writes a quoted-string.
func quote(s string) string { return string(appendQuoted(nil, s)) }
