package authres

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/testkit/octets"
	"sekimori/internal/testkit/suites"
)

func TestParse(t *testing.T) {
	one := func(id string, r Result) Field { return Field{AuthServID: id, Results: []Result{r}} }
	for _, c := range []struct {
		reason, value string
		want          Field
	}{
		{"RFC 8601 B.2", " example.org 1; none", Field{AuthServID: "example.org"}},
		{"none with a comment", "example.org; NONE (SPF not checked)", Field{AuthServID: "example.org"}},
		{"quoted id", ` "a b;c" ; none`, Field{AuthServID: "a b;c"}},
		{"RFC 8601 B.7: comments everywhere, folded",
			" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n" +
				" policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462",
			one("foo.example.net", Result{Method: "dkim", Value: "fail", Properties: []Property{{"policy", "expired", "1362471462"}}})},
		{"comment, reason and properties", `a; dkim=pass (ok) (x) reason="good \"one\"" header.d=a.example header.i="x y"@a.example`,
			one("a", Result{Method: "dkim", Value: "pass", Comment: "ok", Reason: `good "one"`,
				Properties: []Property{{"header", "d", "a.example"}, {"header", "i", `"x y"@a.example`}}})},
		{"nested comment with quoted-pairs and a fold", "a; m=r (x (y\\) \r\n z))", one("a", Result{Method: "m", Value: "r", Comment: "x (y)  z)"})},
		{"nothing in a comment is a result", "a; m=r (; dkim=pass)", one("a", Result{Method: "m", Value: "r", Comment: "; dkim=pass"})},
		{"nothing in a quoted-string is a result", `a; m=r p.n="; dkim=pass"`, one("a", Result{Method: "m", Value: "r",
			Properties: []Property{{"p", "n", "; dkim=pass"}}})},
		{"unquoted base64", "a; dkim=pass header.b=Qgi/Fo+0==", one("a", Result{Method: "dkim", Value: "pass",
			Properties: []Property{{"header", "b", "Qgi/Fo+0=="}}})},
		{"BATV address", "a; spf=pass smtp.mailfrom=prvs=1=u@a.example", one("a", Result{Method: "spf", Value: "pass",
			Properties: []Property{{"smtp", "mailfrom", "prvs=1=u@a.example"}}})},
		{"property without a ptype", "a; dmarc=none action=none header.from=a.example", one("a", Result{Method: "dmarc", Value: "none",
			Properties: []Property{{"header", "from", "a.example"}}})},
		{"as long as a field may be", strings.Repeat("a", maxParseLen-len(";none")) + ";none", Field{AuthServID: strings.Repeat("a", maxParseLen-len(";none"))}},
		{"a method called none", "a; none=pass", one("a", Result{Method: "none", Value: "pass"})},
		{"a ptype called reason", "a; m=r reason.x=y", one("a", Result{Method: "m", Value: "r", Properties: []Property{{"reason", "x", "y"}}})},
		{"EAI", "a; spf=pass smtp.mailfrom=用户@例子.example", Field{AuthServID: "a", UTF8: true, Results: []Result{{Method: "spf", Value: "pass",
			Properties: []Property{{"smtp", "mailfrom", "用户@例子.example"}}}}}},
		{"U-label alone", "a; dkim=pass header.d=例子.example", Field{AuthServID: "a", UTF8: true, Results: []Result{{Method: "dkim", Value: "pass",
			Properties: []Property{{"header", "d", "例子.example"}}}}}},
	} {
		got, err := Parse(c.value)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", c.reason, got, err, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		reason, value string
		offset        int
	}{
		{"empty", "", 0},
		{"only a comment", " (a)", 4},
		{"no semicolon", "a spf=pass", 2},
		{"no result", "a;", 2},
		{"empty result", "a; ;", 3},
		{"semicolon at the end", "a; m=r;", 7},
		{"none beside results", "a; none; spf=pass", 7},
		{"results before none", "a; spf=pass; none", 17},
		{"unknown version", "a 2; none", 2},
		{"unknown method version", "a; dkim/2=pass", 8},
		{"comment without an end", "a (b; none", 10},
		{"quoted-string without an end", `"a; none`, 8},
		{"backslash at the end of a quoted-string", `"a\`, 3},
		{"bare LF", "a;\n none", 2},
		{"bare CR", "a;\rx none", 2},
		{"bare CR, with a space two octets later", "a\rb ; none", 1},
		{"CRLF without white space: another field", "a;\r\nX: none", 2},
		{"NUL in quotes", "\"a\x00\"; none", 2},
		{"CRLF in quotes without white space", "\"a\r\nb\"; none", 2},
		{"control in a comment", "a (\x01); none", 3},
		{"keyword ending in a hyphen", "a; m-=r", 3},
		{"no value", "a; m=r p.n=", 11},
		{"IPv6 unquoted", "a; iprev=pass policy.iprev=2001:db8::1", 31},
		{"two at signs", "a; m=r p.n=a@b@c.example", 11},
		{"empty label", "a; m=r p.n=a@b..example", 11},
		{"no domain after a quoted local part", `a; m=r p.n="a"@`, 15},
		{"dot without a name", "a; m=r p.=x", 9},
		{"property without a value", "a; m=r p.n", 10},
		{"not UTF-8", "a\xff; none", 0},
		{"huge", strings.Repeat("a", maxParseLen+1), maxParseLen},
	} {
		got, err := Parse(c.value)
		var syn *SyntaxError
		if !errors.As(err, &syn) {
			t.Errorf("%s: got %+v, %v", c.reason, got, err)
			continue
		}
		if syn.Offset != c.offset {
			t.Errorf("%s: %v, want it at octet %d", c.reason, err, c.offset)
		}
	}
}

// TestParseDoctest parses every field in the doctest of the Python module authres, which has all
// examples of RFC 8601.
func TestParseDoctest(t *testing.T) {
	refused := map[string]string{
		"policy.iprev=2001:": "the doctest expects a syntax error",
		"thehesiod.com":      "the doctest expects a syntax error",
	}
	field := regexp.MustCompile(`(?im)['"]authentication-results: ([^\n]+?)['"]\)?$`)
	matches := field.FindAllStringSubmatch(string(suites.Read(t, "authres/authres-doctest.txt")), -1)
	if len(matches) < 35 {
		t.Errorf("found only %d fields", len(matches))
	}
	for _, m := range matches {
		want := true
		for part := range refused {
			want = want && !strings.Contains(m[1], part)
		}
		f, err := Parse(m[1])
		if (err == nil) != want {
			t.Errorf("Parse(%q): %v", m[1], err)
		}
		if err == nil {
			checkFormat(t, f, f.Format())
		}
	}
}

// FuzzParse reads any octets. What Parse accepts must be in the grammar, and what it refuses must not.
// The claim on the field and the field that Format writes must agree with what was read. The value is also
// read with each of its cuts, because most mistakes are at the end.
func FuzzParse(f *testing.F) {
	for _, s := range append([]string{
		" mx.example.jp; none", `"a\"b" (c(d)) 1; dkim/1=pass (x) reason="y" header.d="z;" header.i="l"@a.example; spf=fail`,
		"a;\r\n m=r\r\n p.n=v", "a; m=r (\\)", "a; m=r p.n=\"\\", "((((", "a 1 ; none (x) ", "a; m=r version=1 p.n=x/y=", "a; m=r p.n=é@é.example",
		// A comment in each place where one may be.
		"a; m=fail (x); m=r", "(a) b (c) 1 (d); (e) m (f) / (g) 1 (h) = (i) fail (j) reason (k) = (l) r (m) p (n) . (o) q (p) = (q) v (r); n=pass(s)",
	}, samples...) {
		f.Add(s)
	}
	f.Fuzz(checkField)
}

// FuzzField does the same with values that are made of the pieces of a field.
func FuzzField(f *testing.F) {
	for _, s := range append([]string{"mx.example.jp;dkim=pass()(c)header.d=a", "mx.example.jp;dkim=pass((c)x)"}, samples...) {
		f.Add(octets.Program(s, pieces...))
	}
	f.Fuzz(func(t *testing.T, program []byte) { checkField(t, octets.Chosen(program, pieces...)) })
}

func checkField(t *testing.T, value string) {
	if len(value) < 256 {
		for _, cut := range octets.Cuts(value) {
			_, _ = Parse(cut)
		}
	}
	checkGrammar(t, value)
	field, err := Parse(value)
	if err != nil {
		return
	}
	checkReading(t, value, field)
	if !NewIDs(field.AuthServID).Claimed(value) {
		t.Errorf("%q is %q's, but Claimed says no", value, field.AuthServID)
	}
	checkFormat(t, field, field.Format())
}
