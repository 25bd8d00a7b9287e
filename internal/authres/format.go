package authres

import (
	"slices"
	"strings"
)

// lineLen is the preferred length of a line (RFC 5322 §2.1.1). A line with one long value may be
// longer. The limits in clean.go keep every line under 998 octets.
const lineLen = 78

// Format returns the value of the field as it is sent. It begins with a space. Each result begins a
// new line, each fold is CRLF SP, and there is no CRLF at the end.
//
// Many programs that read the field do not parse it. They cut it at every ';', or search it for
// "dmarc=pass". Therefore Format follows these rules:
//   - A property is left out if its value has an octet that could begin or end another part of the
//     field: one of ;="\(),<> or a space, or one that is not printable. It is also left out if its
//     value is empty or over 255 octets, or if it has characters beyond ASCII and UTF8 is not set.
//   - A value is written as it is if it is an RFC 2045 token, a domain name, or a plain
//     local-part@domain or @domain. Any other value is written in quotes, and so is a token with an
//     apostrophe, because mailauth treats an apostrophe as a quote.
//   - Comments and reasons are texts that sekimori itself chooses. They have '_' in place of ;"\
//     (comments also in place of parentheses) and '?' in place of characters that are not
//     printable. If they are over 255 octets, they are cut and end in "...".
//   - A field over 16 KiB loses the details of its longest results. A comment in each of these
//     results says so. At most 100 results with 32 properties each are written.
//   - Methods, results and property names are changed to valid keywords if they are not keywords.
func (f Field) Format() string {
	const usual = 512 // enough octets for most fields
	return string(f.AppendFormat(make([]byte, 0, usual)))
}

// AppendFormat appends the result of Format to dst.
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

// shrunk writes all results again. It leaves out the details of the longest result, then those of
// the next longest, until the field is short enough. The only results that a sender can make long
// are those of signatures. The DMARC result is short and keeps its domain.
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

// lines writes items, each after a space. If a line would be too long with an item, the item begins
// a new line.
type lines struct {
	b     []byte
	col   int // octets in the current line
	start int // offset in b of the current item
	size  int // octets that would have been written if each item had begun a new line
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

// result writes one result. It returns the maximum number of octets that the result adds to the
// field.
func (l *lines) result(r *Result, utf8OK bool) int {
	before := l.size
	l.b = append(l.b, ';')
	l.size += len(";")
	l.col = lineLen // pretend that the line is full, so that the result begins a new one
	l.begin()
	l.b = append(l.b, cleanKeyword(r.Method)...)
	l.b = append(l.b, '=')
	l.b = append(l.b, cleanKeyword(r.Value)...)
	l.end()
	l.comment(r.Comment, utf8OK)
	if r.Reason != "" {
		l.begin()
		// A reason is always quoted, as in the examples of RFC 8601.
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

// appendValue writes s as the "value" of RFC 8601: a token or a quoted-string.
func appendValue(dst []byte, s string) []byte {
	if isToken(s) {
		return append(dst, s...)
	}
	return appendQuoted(dst, s)
}

// appendPValue writes s as the "pvalue" of RFC 8601: a value, an address, or a domain name, which
// may have U-labels (RFC 8616 §3).
func appendPValue(dst []byte, s string) []byte {
	if isToken(s) && strings.IndexByte(s, '\'') < 0 || isPlainAddress(s) || isDomainName(s) {
		return append(dst, s...)
	}
	return appendQuoted(dst, s)
}

// appendQuoted writes s as a quoted-string (RFC 5322 §3.2.4). Only an authserv-id, which the
// operator chooses, can have a character that needs a backslash. All other text was cleaned before.
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

// appendComment writes a comment (RFC 5322 §3.2.2). s must come from cleanProse.
func appendComment(dst []byte, s string) []byte {
	dst = append(dst, '(')
	dst = append(dst, s...)
	return append(dst, ')')
}

// quote returns s as a quoted-string.
func quote(s string) string { return string(appendQuoted(nil, s)) }
