package authres

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds on what is written. A sender chooses domains, selectors, local parts
// and how many signatures there are; the field must stay small enough for
// every MTA and filter on the way (Sendmail refuses 32 KiB of header, RFC 5322
// §2.1.1 lines over 998).
const (
	maxValueLen   = 255 // octets of a value, comment or reason before quoting
	maxKeywordLen = 40  // octets of a method, result, ptype or property; the longest registered has 16
	maxResults    = 100 // results of a field
	maxProperties = 32  // properties of a result
	maxFieldLen   = 16 << 10
)

// cutMark ends a value that was too long, so that nobody takes what is left
// for the whole.
const cutMark = "..."

// omitted is the comment of a result that had to lose its details to keep the
// field within maxFieldLen.
const omitted = "details omitted: too long"

// clean returns the field as Format writes it and Parse reads it back.
func (f Field) clean() Field {
	out := Field{AuthServID: cleanText(f.AuthServID, f.UTF8), UTF8: f.UTF8}
	for _, r := range f.Results[:min(len(f.Results), maxResults)] {
		c := Result{
			Method:  cleanKeyword(r.Method),
			Value:   cleanKeyword(r.Value),
			Comment: cleanText(r.Comment, f.UTF8),
			Reason:  cleanText(r.Reason, f.UTF8),
		}
		for _, p := range r.Properties[:min(len(r.Properties), maxProperties)] {
			c.Properties = append(c.Properties, Property{
				Type:  PType(cleanKeyword(string(p.Type))),
				Name:  cleanKeyword(p.Name),
				Value: cleanText(p.Value, f.UTF8),
			})
		}
		out.Results = append(out.Results, c)
	}
	out.shrink()
	return out
}

// shrink takes the details from the longest results until the field fits. What
// a sender can blow up are the signatures: the results themselves, and the
// short DMARC result with its domain, survive.
func (f *Field) shrink() {
	total := len(formatValue(f.AuthServID)) + len(" ;")
	sizes := make([]int, len(f.Results))
	order := make([]int, len(f.Results))
	for i, r := range f.Results {
		sizes[i] = resultLen(r)
		order[i] = i
		total += sizes[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return sizes[b] - sizes[a] })
	for _, i := range order {
		if total <= maxFieldLen {
			return
		}
		r := &f.Results[i]
		*r = Result{Method: r.Method, Value: r.Value, Comment: omitted}
		total -= sizes[i] - resultLen(*r)
	}
}

// cleanText makes s printable and short: control characters, and non-ASCII
// unless utf8OK, become '?', one for each character or octet that is none.
// With utf8OK the invisible ones (format characters, line separators, those
// that turn the direction of text) still do.
func cleanText(s string, utf8OK bool) string {
	var b strings.Builder
	cut := 0 // the last character boundary that leaves room for the mark
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		printable := c >= ' ' && c <= '~'
		if c >= utf8.RuneSelf && utf8OK && (c != utf8.RuneError || size > 1) {
			printable = unicode.IsPrint(c)
		}
		if !printable {
			c = '?'
		}
		if b.Len()+utf8.RuneLen(c) > maxValueLen {
			return b.String()[:cut] + cutMark
		}
		b.WriteRune(c)
		if b.Len() <= maxValueLen-len(cutMark) {
			cut = b.Len()
		}
		i += size
	}
	return b.String()
}

// cleanKeyword forces s into a Keyword (RFC 5321 Ldh-str): keywords are the
// program's own, this only keeps a mistake from damaging the field.
func cleanKeyword(s string) string {
	b := []byte(s[:min(len(s), maxKeywordLen)])
	for i, c := range b {
		if !isAlnum(c) {
			b[i] = '-'
		}
	}
	if s = strings.Trim(string(b), "-"); s == "" {
		return "unknown"
	}
	return s
}
