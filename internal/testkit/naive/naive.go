// Package naive reads Authentication-Results fields in the ways of simple filters, plugins and mail
// clients. These do not fully parse comments, quotes and escapes: for example, they cut the field
// at every semicolon, or search it for "dmarc=pass". In a field that sekimori wrote, they must see
// exactly the results that sekimori meant.
package naive

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Result is one result in a field, such as spf=pass.
type Result struct{ Method, Value string }

// Field has the results that sekimori meant to write, which naive readers must see.
type Field struct {
	Results []Result
	From    string // header.from; "" if the field has none
}

// reader is one simple way to read a field. read returns the results that this way finds, in their
// order.
type reader struct {
	name string
	read func(value string) []Result
}

var (
	methodAtStart  = regexp.MustCompile(`(?i)^\s*(spf|dkim|dmarc|arc|iprev|bimi)\s*=\s*([a-z0-9]+)`)
	methodAnywhere = regexp.MustCompile(`(?i)(?:^|[^a-z0-9._-])(spf|dkim|dmarc|arc|iprev|bimi|auth|dkim-adsp)\s*=\s*([a-z0-9]+)`)
	comments       = regexp.MustCompile(`\([^)]*\)`)
	quotes         = regexp.MustCompile(`"[^"]*"`)
	fromAnywhere   = regexp.MustCompile(`(?i)([a-z.]*)from=([^\s;]*)`)
	lastWord       = regexp.MustCompile(`[A-Za-z0-9.-]*$`)
)

// readers are the ways to read a field. All of them read the whole field.
var readers = []reader{
	{"cuts at every semicolon", cutEverywhere},
	{"cuts after it has dropped comments", func(v string) []Result { return cutEverywhere(comments.ReplaceAllString(v, " ")) }},
	{"cuts after it has dropped quotes", func(v string) []Result { return cutEverywhere(quotes.ReplaceAllString(v, `""`)) }},
	{"cuts at semicolons and line ends", func(v string) []Result {
		return cutAt(v, func(r rune) bool { return r == ';' || r == '\r' || r == '\n' })
	}},
	{"cuts at semicolons and commas", func(v string) []Result { return cutAt(v, func(r rune) bool { return r == ';' || r == ',' }) }},
	{"looks for words", func(v string) []Result {
		return cutAt(v, func(r rune) bool { return strings.ContainsRune("; \t\r\n", r) })
	}},
	{"searches anywhere", func(v string) []Result {
		var out []Result
		for _, m := range methodAnywhere.FindAllStringSubmatch(v, -1) {
			out = append(out, Result{strings.ToLower(m[1]), strings.ToLower(m[2])})
		}
		return out
	}},
}

func cutEverywhere(v string) []Result { return cutAt(v, func(r rune) bool { return r == ';' }) }

func cutAt(v string, at func(rune) bool) []Result {
	var out []Result
	for _, part := range strings.FieldsFunc(v, at) {
		if m := methodAtStart.FindStringSubmatch(part); m != nil {
			out = append(out, Result{strings.ToLower(m[1]), strings.ToLower(m[2])})
		}
	}
	return out
}

// ours lists the names that sekimori writes before "=" in an Authentication-Results field. The
// names in the last line are in comments.
var ours = []string{
	"spf", "dkim", "dmarc", "arc", "iprev", "bimi", "reason",
	"smtp.mailfrom", "smtp.helo", "smtp.remote-ip",
	"header.d", "header.i", "header.s", "header.a", "header.b", "header.from", "header.oldest-pass",
	"policy.dmarc", "policy.iprev",
	"header.selector", "policy.authority", "policy.authority-uri", "policy.indicator-hash",
	"p", "d", "dis", "policy", "t",
}

// Check reads a field in every naive way and returns a complaint for each difference from the field
// "want". The argument "value" is the value of the field as sent over the wire.
func Check(value string, want Field) (wrong []string) {
	_, results, _ := strings.Cut(value, ";") // without the authserv-id
	for _, v := range []string{results, strings.ReplaceAll(results, "\r\n", ""), strings.ReplaceAll(results, "\r\n ", "\n\t")} {
		for _, r := range readers {
			if got := r.read(v); !slices.Equal(got, want.Results) {
				wrong = append(wrong, fmt.Sprintf("a reader that %s sees %v, want %v", r.name, got, want.Results))
			}
		}
		for _, m := range fromAnywhere.FindAllStringSubmatch(v, -1) {
			if m[2] != want.From && m[1] != "smtp.mail" {
				wrong = append(wrong, fmt.Sprintf("a reader that searches for from= sees %q, want %q", m[2], want.From))
			}
		}
	}
	wrong = append(wrong, octets(results)...)
	return wrong
}

// octets returns complaints about characters that could mislead a naive reader: backslashes, quotes
// or parentheses without a partner, separators within quotes or comments, and names before "=" that
// are not in the list "ours".
func octets(results string) (wrong []string) {
	if strings.Contains(results, `\`) {
		wrong = append(wrong, "a backslash")
	}
	bare := quotes.ReplaceAllStringFunc(results, func(q string) string {
		if strings.ContainsAny(q, ";=<>\r\n") || strings.Count(q, "(") != strings.Count(q, ")") {
			wrong = append(wrong, fmt.Sprintf("in quotes: %s", q))
		}
		return " "
	})
	if strings.Contains(bare, `"`) {
		wrong = append(wrong, "a quote that does not end")
	}
	bare = comments.ReplaceAllStringFunc(bare, func(c string) string {
		if strings.ContainsAny(c[1:], "(;") {
			wrong = append(wrong, fmt.Sprintf("in a comment: %s", c))
		}
		return c[1 : len(c)-1]
	})
	if strings.ContainsAny(bare, "()") {
		wrong = append(wrong, "a parenthesis that has no other")
	}
	for before, rest, found := strings.Cut(bare, "="); found; before, rest, found = strings.Cut(rest, "=") {
		if name := lastWord.FindString(before); !slices.Contains(ours, name) {
			wrong = append(wrong, fmt.Sprintf("%q before an equals sign", name))
		}
	}
	return wrong
}
