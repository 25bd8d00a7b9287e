package naive

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestFooled checks fields in the form that older versions of sekimori wrote. They are valid by RFC
// 8601, but in those marked as fooled, some naive reader sees a result that sekimori did not mean.
// The other fields have the present form, in which no reader sees such a result.
func TestFooled(t *testing.T) {
	fail := Field{Results: []Result{{"spf", "fail"}, {"dkim", "none"}, {"dmarc", "fail"}}, From: "bank.example"}
	const rest = ";\r\n dkim=none;\r\n dmarc=fail header.from=bank.example policy.dmarc=reject"
	for _, tt := range []struct {
		why, spf string
		fooled   bool
	}{
		{"a domain", "smtp.mailfrom=x.example", false},
		{"an address", "smtp.mailfrom=a.b@x.example", false},
		{"our quotes", `(2048-bit rsa) reason="key_missing" smtp.mailfrom="[IPv6:2001:db8::1]"`, false},
		{"a line broken", "(all went well)\r\n smtp.mailfrom=x.example", false},
		{"a quoted local part", `smtp.mailfrom="; dmarc=pass@x.example"`, true},
		{"without a space", `smtp.mailfrom=";spf=pass@x.example"`, true},
		{"without a semicolon", `smtp.mailfrom="x dkim=pass@x.example"`, true},
		{"a line of its own", "smtp.mailfrom=\"x\r\n dkim=pass@x.example\"", true},
		{"another author", `smtp.mailfrom="x header.from=x.example"`, true},
		{"an escaped quote", `smtp.mailfrom="\"x@x.example"`, true},
		{"an open quote", `smtp.mailfrom=x"y@x.example`, true},
		{"an open comment", `smtp.mailfrom="x(y@x.example"`, true},
		{"a comment in a comment", `(a(b)) smtp.mailfrom=x.example`, true},
		{"a closed one", `a) smtp.mailfrom=x.example`, true},
		{"a semicolon in a comment", `(a; b) smtp.mailfrom=x.example`, true},
		{"an equals sign", `smtp.mailfrom="prvs=1@x.example"`, true},
		{"bare", `smtp.mailfrom=prvs=1@x.example`, true},
	} {
		got := Check(" mx.example.jp;\r\n spf=fail "+tt.spf+rest, fail)
		if (len(got) > 0) != tt.fooled {
			t.Errorf("%s: %q", tt.why, got)
		}
	}
	if got := Check(" mx.example.jp; none", Field{}); len(got) > 0 {
		t.Errorf("none: %q", got)
	}
	if got := Check(" mx.example.jp;\r\n spf=fail"+rest, Field{Results: fail.Results, From: "other.example"}); len(got) == 0 {
		t.Error("another author is not seen")
	}
}

// TestReaders checks what each reader sees, in the order of the list readers.
func TestReaders(t *testing.T) {
	for value, want := range map[string][]string{
		"SPF = Pass x; dkim=none;": {"spf=pass dkim=none", "spf=pass dkim=none", "spf=pass dkim=none", "spf=pass dkim=none", "spf=pass dkim=none",
			"dkim=none", "spf=pass dkim=none"},
		"spf=a (x; dkim=b)": {"spf=a dkim=b", "spf=a", "spf=a dkim=b", "spf=a dkim=b", "spf=a dkim=b", "spf=a dkim=b", "spf=a dkim=b"},
		`spf=a "x; dkim=b"`: {"spf=a dkim=b", "spf=a dkim=b", "spf=a", "spf=a dkim=b", "spf=a dkim=b", "spf=a dkim=b", "spf=a dkim=b"},
		"spf=a x\rdkim=b":   {"spf=a", "spf=a", "spf=a", "spf=a dkim=b", "spf=a", "spf=a dkim=b", "spf=a dkim=b"},
		"spf=a x\ndkim=b":   {"spf=a", "spf=a", "spf=a", "spf=a dkim=b", "spf=a", "spf=a dkim=b", "spf=a dkim=b"},
		"spf=a x\tdkim=b":   {"spf=a", "spf=a", "spf=a", "spf=a", "spf=a", "spf=a dkim=b", "spf=a dkim=b"},
		"spf=a, dkim=b":     {"spf=a", "spf=a", "spf=a", "spf=a", "spf=a dkim=b", "spf=a dkim=b", "spf=a dkim=b"},
		"auth=a y.spf=b":    {"", "", "", "", "", "", "auth=a"},
	} {
		var got []string
		for _, r := range readers {
			var seen []string
			for _, x := range r.read(value) {
				seen = append(seen, x.Method+"="+x.Value)
			}
			got = append(got, strings.Join(seen, " "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %q\nwant %q", value, got, want)
		}
	}
}

// TestComplaints checks each complaint, without those of the readers about the results.
func TestComplaints(t *testing.T) {
	const from = `a reader that searches for from= sees "x.example", want "y.example"`
	for value, want := range map[string][]string{
		"spf=a (b=c)":                         {`"b" before an equals sign`},
		`spf=a \`:                             {"a backslash"},
		`spf=a reason="b;"`:                   {`in quotes: "b;"`},
		`spf=a reason="b=c"`:                  {`in quotes: "b=c"`},
		`spf=a reason="b("`:                   {`in quotes: "b("`},
		`spf=a reason="b)"`:                   {`in quotes: "b)"`},
		`spf=a reason="(b)"`:                  nil,
		`spf=a "`:                             {"a quote that does not end"},
		"spf=a (b(c)":                         {"in a comment: (b(c)", "a parenthesis that has no other"},
		"spf=a (;b)":                          {"in a comment: (;b)"},
		"spf=a (p=b=)":                        {`"b" before an equals sign`},
		"spf=a (b;c)":                         {"in a comment: (b;c)"},
		"spf=a (":                             {"a parenthesis that has no other"},
		"spf=a )":                             {"a parenthesis that has no other"},
		"spf=a smtp.mailfrom=x.example":       nil,
		"spf=a header.from=x.example":         {from, from, from},
		"spf=a header.from=y.example; p=b":    nil,
		"spf=a (p=b) smtp.x=x z=z":            {`"smtp.x" before an equals sign`, `"z" before an equals sign`},
		"spf=a\r\n header.from=y.example\r\n": nil,
	} {
		if got := Check("id;"+value, Field{Results: []Result{{"spf", "a"}}, From: "y.example"}); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", value, got, want)
		}
	}
	var want []string
	for _, r := range readers {
		want = append(want, fmt.Sprintf("a reader that %s sees [{spf a}], want [{spf b}]", r.name))
	}
	if got := Check("id;spf=a", Field{Results: []Result{{"spf", "b"}}}); !slices.Equal(got, slices.Concat(want, want, want)) {
		t.Errorf("%q", got)
	}
}
