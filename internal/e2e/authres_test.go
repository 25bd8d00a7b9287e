package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// authServID is the daemon's authserv_id in every test.
const authServID = "mx.sekimori.example"

// result is one method's entry in an Authentication-Results field.
type result struct {
	method, value string
	comments      []string
	props         map[string]string // "header.d" → value, and "reason"
}

// parseResults splits an Authentication-Results value into the authserv-id and the results. It is
// written separately from the daemon's parser, because a mistake in a shared parser could hide a
// mistake in the field.
func parseResults(value string) (id string, results []result) {
	parts := [][]token{nil}
	for _, tok := range tokens(value) {
		if tok.kind == ';' {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], tok)
	}
	for i, part := range parts {
		r := result{props: map[string]string{}}
		for j := 0; j < len(part); j++ {
			switch tok := part[j]; {
			case tok.kind == '(':
				r.comments = append(r.comments, tok.text)
			case i == 0:
				if id == "" {
					id = tok.text
				}
			case j+2 < len(part) && part[j+1].kind == '=':
				if r.method == "" {
					r.method, r.value = tok.text, part[j+2].text
				} else {
					r.props[tok.text] = part[j+2].text
				}
				j += 2
			}
		}
		if i > 0 && r.method != "" {
			results = append(results, r)
		}
	}
	return id, results
}

// token is one token of an Authentication-Results value. kind is 'w' for a word or a quoted string,
// '(' for a comment, or the character itself for ';' and '='.
type token struct {
	kind byte
	text string
}

func tokens(s string) (out []token) {
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case ' ', '\t':
			i++
		case ';', '=':
			out = append(out, token{c, string(c)})
			i++
		case '(', '"':
			text, n := bracketed(s[i:])
			kind := byte('w')
			if c == '(' {
				kind = '('
			}
			out = append(out, token{kind, text})
			i += n
		default:
			n := strings.IndexAny(s[i:], " \t;=(\"")
			if n < 0 {
				n = len(s) - i
			}
			out = append(out, token{'w', s[i : i+n]})
			i += n
		}
	}
	return out
}

// bracketed reads the quoted string or the comment (which may contain comments) at the start of s.
// It returns the content and the number of octets read.
func bracketed(s string) (text string, n int) {
	depth, open := 0, s[0]
	var b strings.Builder
	for n = 0; n < len(s); n++ {
		c := s[n]
		switch {
		case c == '\\' && n+1 < len(s):
			n++
			c = s[n]
		case c == '(' && open == '(':
			if depth++; depth == 1 {
				continue
			}
		case c == ')' && open == '(':
			if depth--; depth == 0 {
				return b.String(), n + 1
			}
		case c == '"' && open == '"':
			if depth++; depth == 2 {
				return b.String(), n + 1
			}
			continue
		}
		b.WriteByte(c)
	}
	return b.String(), n
}

// label holds the results in our own Authentication-Results field of a delivered message.
type label []result

// label returns the results in our field. It first checks that the message has exactly one field of
// ours and that this field is the first of the header (apart from those that the MTA adds at
// delivery).
func (d delivery) label(t *testing.T) label {
	t.Helper()
	ours := d.ours()
	if len(ours) != 1 {
		t.Fatalf("%d Authentication-Results fields of ours, want one:\n%s", len(ours), d.header())
	}
	if top := d.first(); !strings.EqualFold(top.name, "Authentication-Results") || top.value != ours[0] {
		t.Fatalf("our Authentication-Results is not on top:\n%s", d.header())
	}
	_, results := parseResults(ours[0])
	return results
}

// ours returns the Authentication-Results fields whose authserv-id is ours, forged fields included.
func (d delivery) ours() (fields []string) {
	for _, value := range d.all("Authentication-Results") {
		if id, _ := parseResults(value); strings.EqualFold(id, authServID) {
			fields = append(fields, value)
		}
	}
	return fields
}

func (d delivery) header() string {
	var b strings.Builder
	for _, f := range d.fields {
		fmt.Fprintf(&b, "  %s: %s\n", f.name, f.value)
	}
	return b.String()
}

// of returns the results of one method.
func (l label) of(method string) (out []result) {
	for _, r := range l {
		if r.method == method {
			out = append(out, r)
		}
	}
	return out
}

// want checks the label against lines such as "dmarc=pass header.from=news.example". The label must
// have exactly as many results of a method as there are lines for that method. For each line there
// must be a result with the same value and with all properties in the line.
func (l label) want(t *testing.T, lines ...string) {
	t.Helper()
	perMethod := map[string]int{}
	for _, line := range lines {
		words := strings.Fields(line)
		method, value, _ := strings.Cut(words[0], "=")
		perMethod[method]++
		matches := slices.ContainsFunc(l.of(method), func(r result) bool {
			return r.value == value && !slices.ContainsFunc(words[1:], func(w string) bool {
				name, value, _ := strings.Cut(w, "=")
				return r.props[name] != value
			})
		})
		if !matches {
			t.Errorf("label has no %q, but %+v", line, l.of(method))
		}
	}
	for method, n := range perMethod {
		if got := len(l.of(method)); got != n {
			t.Errorf("label has %d results of %s, want %d: %+v", got, method, n, l.of(method))
		}
	}
}

func TestParseResults(t *testing.T) {
	const value = `mx.example (ours) 1; spf=pass smtp.mailfrom="a;b\"c@x.example"; ` +
		`dkim=fail (bad (2048-bit) key; dkim=pass) reason="body ; changed" header.d=x.example; dmarc=none`
	id, got := parseResults(value)
	want := []result{
		{method: "spf", value: "pass", props: map[string]string{"smtp.mailfrom": `a;b"c@x.example`}},
		{method: "dkim", value: "fail", comments: []string{"bad (2048-bit) key; dkim=pass"},
			props: map[string]string{"reason": "body ; changed", "header.d": "x.example"}},
		{method: "dmarc", value: "none", props: map[string]string{}},
	}
	if id != "mx.example" || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q %v\nwant %v", id, got, want)
	}
}
