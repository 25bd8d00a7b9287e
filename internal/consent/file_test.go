package consent

import (
	"os"
	"strings"
	"testing"

	"sekimori/internal/policy"
)

const exceptions = `# opted out
Taro@Example.JP
@quiet.example   # everybody there
user+tag@example.jp
"we ird"@example.jp
a#b@example.jp
@例え.example
`

func TestFile(t *testing.T) {
	d, seen := open(t, Options{File: write(t, "", exceptions)})
	for _, tt := range []struct {
		typed, rewritten string
		want             policy.Class
		why              string
	}{
		{"<taro@example.jp>", "", policy.Out, "listed"},
		{"<TARO@EXAMPLE.jp>", "", policy.Out, "case does not matter, in the local part too"},
		{"taro@example.jp", "", policy.Out, "typed without brackets"},
		{"<@relay.example,@b.example:taro@example.jp>", "", policy.Out, "a route is dropped"},
		{`<"taro"@example.jp>`, "", policy.Out, "quotes that need not be"},
		{`<"ta\ro"@example.jp>`, "", policy.Out, "quoted pairs that need not be"},
		{"<taro@example.jp.>", "", policy.Out, "the root's dot"},
		{"<hanako@example.jp>", "", policy.In, "not listed"},
		{"<anyone@QUIET.example>", "", policy.Out, "a whole domain"},
		{"<anyone@sub.quiet.example>", "", policy.In, "not its subdomains"},
		{"<taro@example.jp@quiet.example.org>", "", policy.Out, "not an address: failed"},
		{"<user+tag@example.jp>", "", policy.Out, "an address with a tag is listed by itself"},
		{"<user@example.jp>", "", policy.In, "the address without the tag is not listed"},
		{`<"we ird"@example.jp>`, "", policy.Out, "a space in quotes"},
		{"<a#b@example.jp>", "", policy.Out, "a # within an address begins no comment"},
		{"<x@xn--r8jz45g.example>", "", policy.Out, "A-labels"},
		{"<x@例え.example>", "", policy.Out, "U-labels"},
		{"<taro>", "taro@example.jp", policy.Out, "the MTA added the domain"},
		{"<taro%example.jp@mx.example>", "taro@example.jp", policy.Out, "the MTA follows the percent sign"},
		{"<taro@example.jp>", "taro", policy.Out, "Sendmail's form for local mail has no domain, so the typed form is used"},
		{`<"we ird"@example.jp>`, "we ird@example.jp", policy.Out, "an internal form that is not an address"},
		{"<postmaster>", "", policy.In, "no domain, not listed"},
		{"<taro@[192.0.2.1]>", "", policy.In, "a literal is another address"},
		{"<>", "", policy.Out, "the null address: failed"},
		{"", "", policy.Out, "nothing: failed"},
		{"<ta\x00ro@example.jp>", "", policy.Out, "NUL: failed"},
		{"<a b@example.jp>", "", policy.Out, "a space without quotes: failed"},
		{"<a\tb@example.jp>", "", policy.Out, "a tab: failed"},
		{"<hanako+\x01@example.jp>", "hanako+\x01@example.jp", policy.In, "a control octet, which Postfix delivers"},
		{"<\"hanako+\x7f\"@example.jp>", "hanako+\x7f@example.jp", policy.In, "DEL in quotes, which Postfix delivers"},
		{"<hanako+\x01@example.jp>", "hanako+\x01", policy.In, "a control octet in Sendmail's form"},
		{"<hanako+\xff@example.jp>", "", policy.In, "8-bit octets that are not UTF-8"},
		{`<""@example.jp>`, "@example.jp", policy.In, "an empty local part, which Postfix may accept"},
		{"<@example.jp>", "", policy.In, "an empty local part without quotes"},
		{"<@quiet.example>", "@quiet.example", policy.Out, "an empty local part at a domain that is listed"},
		{"<@>", "", policy.Out, "neither a local part nor a domain: failed"},
		{"<x\x01@quiet.example>", "", policy.Out, "a control octet at a domain that is listed"},
		{"<" + strings.Repeat("x", 3000) + "@example.jp>", "", policy.Out, "too long: failed"},
	} {
		got, ok := d.Known(tt.typed, tt.rewritten)
		if !ok || got != tt.want {
			t.Errorf("%q %q: %s, %t; want %s: %s", tt.typed, tt.rewritten, got, ok, tt.want, tt.why)
		}
	}
	if seen.counts["address failed"] != 8 || seen.counts["file out"] == 0 || seen.counts["default in"] == 0 {
		t.Errorf("counted %v", seen.counts)
	}
}

// TestDefaultOut checks that the recipients in the file have the class "in" if
// the default is "out".
func TestDefaultOut(t *testing.T) {
	d, _ := open(t, Options{Default: policy.Out, File: write(t, "", "agreed@example.jp\n")})
	for typed, want := range map[string]policy.Class{"<agreed@example.jp>": policy.In, "<other@example.jp>": policy.Out, "<a@b@c>": policy.Out} {
		if got, ok := d.Known(typed, ""); !ok || got != want {
			t.Errorf("%s: %s", typed, got)
		}
	}
	all, _ := open(t, Options{Default: policy.Out})
	if got, ok := all.Known("<a@b.example>", ""); !ok || got != policy.Out {
		t.Errorf("without any list: %s", got)
	}
}

func TestBadFile(t *testing.T) {
	for _, tt := range []struct{ reason, text, want string }{
		{"a word", "taro@example.jp\n\nnobody\n", `:3: "nobody" is neither an address`},
		{"a value beside the address", "taro@example.jp out\n", `:1: "taro@example.jp out" is neither`},
		{"two addresses", "a@b.example,c@d.example\n", ":1: "},
		{"brackets", "<a@b.example>\n", ":1: "},
		{"an at sign alone", "@\n", ":1: "},
		{"no local part, which would be a whole domain", "\"\"@b.example\n", ":1: "},
		{"a control octet", "a\x01b@c.example\n", ":1: "},
		{"a domain that is not a host name", "a@b..example\n", ":1: "},
		{"a wildcard", "*@b.example\n@*.b.example\n", ":2: "},
		{"an address literal", "a@[192.0.2.1]\n", ":1: "},
		{"NUL", "a\x00b@c.example\n", ":1: "},
		{"Latin-1", "a@b.example\nm\xfcller@b.example\n", ":2: the line is not UTF-8"},
		{"a long line", "a@b.example\n" + strings.Repeat("x", maxListLine+3) + "\n", ":2: the line is longer than 1024 octets"},
		{"a comment too close", "a@b.example# mine\n", ":1: "},
	} {
		path := write(t, "", tt.text)
		seen := &tally{}
		_, err := New(seen.options(Options{File: path}))
		if err == nil || !strings.HasPrefix(err.Error(), "consent: "+path+tt.want) {
			t.Errorf("%s: %v", tt.reason, err)
		}
		if len(seen.loads) != 1 || seen.loads[0] == nil {
			t.Errorf("%s: the load was told as %v", tt.reason, seen.loads)
		}
	}
	if _, err := New((&tally{}).options(Options{File: "/no/such/file"})); err == nil {
		t.Error("a missing file was taken for an empty one")
	}
	if _, err := parseList("x", strings.NewReader("\ufeffa@b.example\r\n\r\n  # c\r\n@d.example")); err != nil {
		t.Errorf("byte order mark, CRLF, no end of line: %v", err)
	}
}

// endless is a reader that returns lines of comments without end.
type endless struct{ at int }

var comments = strings.Repeat("#"+strings.Repeat(" ", 998)+"\n", 100)

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, comments[e.at:])
	e.at = (e.at + n) % len(comments)
	return n, nil
}

func TestReload(t *testing.T) {
	path := write(t, "", "a@b.example\n")
	d, seen := open(t, Options{File: path})
	class := func() policy.Class {
		c, _ := d.Known("<a@b.example>", "")
		return c
	}
	if class() != policy.Out {
		t.Fatal("the file is not read")
	}
	write(t, path, "a@b.example\nbroken\n")
	if err := d.Reload(); err == nil || class() != policy.Out {
		t.Errorf("a broken file: %v; the list before must stay", err)
	}
	write(t, path, "")
	if err := d.Reload(); err != nil || class() != policy.In {
		t.Errorf("an empty file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(); err == nil || class() != policy.In {
		t.Errorf("a file that vanished: %v", err)
	}
	if len(seen.loads) != 4 || seen.loads[0] != nil || seen.loads[1] == nil || seen.loads[2] != nil || seen.loads[3] == nil {
		t.Errorf("loads were told as %v", seen.loads)
	}
}
