package authres

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file has a second implementation of Format that is simpler and slower. It makes a clean copy
// of the field, shortens the copy and writes its items as strings. Format must write the same
// octets.

// reference returns the value that Format must return.
func (f Field) reference() string {
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
		writeFrom(&b, r.items(), lineLen) // pretend that the line is full, so that the result begins a new one
	}
	return b.String()
}

// items returns the parts of a result. A line may be folded between two of them.
func (r Result) items() []string {
	items := make([]string, 0, 3+len(r.Properties))
	items = append(items, r.Method+"="+r.Value)
	if r.Comment != "" {
		items = append(items, comment(r.Comment))
	}
	if r.Reason != "" {
		// A reason is always quoted, as in the examples of RFC 8601.
		items = append(items, "reason="+quote(r.Reason))
	}
	for _, p := range r.Properties {
		items = append(items, string(p.Type)+"."+p.Name+"="+formatPValue(p.Value))
	}
	return items
}

// writeFrom writes the items, each after a space. The current line already has col octets. If an
// item would make the line too long, writeFrom begins a new line before it.
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

// clean returns the field that Parse must return for the output of Format.
func (f Field) clean() Field {
	out := Field{AuthServID: cleanText(f.AuthServID, f.UTF8), UTF8: f.UTF8}
	for _, r := range f.Results[:min(len(f.Results), maxResults)] {
		c := Result{
			Method:  cleanKeyword(r.Method),
			Value:   cleanKeyword(r.Value),
			Comment: replaced(cleanText(r.Comment, f.UTF8), `;"\()`),
			Reason:  replaced(cleanText(r.Reason, f.UTF8), `;"\`),
		}
		for _, p := range r.Properties[:min(len(r.Properties), maxProperties)] {
			if !harmless(p.Value, f.UTF8) {
				continue
			}
			c.Properties = append(c.Properties, Property{
				Type:  PType(cleanKeyword(string(p.Type))),
				Name:  cleanKeyword(p.Name),
				Value: p.Value,
			})
		}
		out.Results = append(out.Results, c)
	}
	out.shrink()
	return out
}

// shrink removes the details of the longest results until the field fits. The only results that a
// sender can make long are those of signatures. The DMARC result is short and keeps its domain.
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

func formatValue(s string) string { return string(appendValue(nil, s)) }

func formatPValue(s string) string { return string(appendPValue(nil, s)) }

func comment(s string) string { return "(" + s + ")" }

// replaced returns s with '_' in place of each character that occurs in the string what.
func replaced(s, what string) string {
	for _, c := range what {
		s = strings.ReplaceAll(s, string(c), "_")
	}
	return s
}

// harmless does the same as isWritable, in a simpler way.
func harmless(s string, utf8OK bool) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return s != "" && s == cleanText(s, utf8OK) && !strings.ContainsAny(s, ` ;="\(),<>`) && !unicode.IsMark(first)
}
