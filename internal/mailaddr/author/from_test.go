package author

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// fromCase is a block of a file in testdata/from.
type fromCase struct {
	file, why, want string
	values          []string
}

func fromCases(tb testing.TB) []fromCase {
	tb.Helper()
	files, err := filepath.Glob("testdata/from/*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no case files: %v", err)
	}
	var cases []fromCase
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			tb.Fatal(err)
		}
		c := fromCase{file: filepath.Base(file)}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			key, value, _ := strings.Cut(sc.Text(), ": ")
			switch key {
			case "why":
				c = fromCase{file: filepath.Base(file), why: value}
			case "value":
				s, err := strconv.Unquote(value)
				if err != nil {
					tb.Fatalf("%s: %s: %v", file, value, err)
				}
				c.values = append(c.values, s)
			case "want":
				c.want = value
				cases = append(cases, c)
			default:
				if key != "" && key[0] != '#' {
					tb.Fatalf("%s: unknown line %q", file, sc.Text())
				}
			}
		}
		if err := errors.Join(sc.Err(), f.Close()); err != nil {
			tb.Fatal(err)
		}
	}
	return cases
}

// outcome returns the result of Parse in the notation of the case files.
func outcome(f From, err error) string {
	var fe *Error
	if errors.As(err, &fe) {
		return "error " + string(fe.Kind) + " " + strconv.Itoa(fe.Offset)
	}
	if err != nil {
		return err.Error()
	}
	s := "ok " + string(f.AuthorDomain)
	for _, m := range f.Mailboxes {
		s += " | "
		if m.DisplayName != "" {
			s += m.DisplayName + " "
		}
		s += "<" + m.Local + "@" + string(m.Domain) + ">"
	}
	for _, note := range f.Notes {
		s += " !" + string(note)
	}
	return s
}

func TestParse(t *testing.T) {
	for _, c := range fromCases(t) {
		t.Run(c.file+"/"+c.why, func(t *testing.T) {
			f, err := Parse(c.values)
			got := outcome(f, err)
			if whole := strings.Contains(c.want, " | "); got != c.want && (whole || !strings.HasPrefix(got, c.want+" ")) {
				t.Errorf("Parse(%q)\n got %s (%v)\nwant %s", c.values, got, err, c.want)
			}
		})
	}
}

// TestParseFields checks a message without From, and one with several.
func TestParseFields(t *testing.T) {
	for want, values := range map[string][]string{
		"error missing 0": nil, "error multiple_fields 0": {" a@b.example", " a@b.example"}, "ok b.example | <a@b.example>": {" a@b.example"},
	} {
		if got := outcome(Parse(values)); got != want {
			t.Errorf("%d fields: %s, want %s", len(values), got, want)
		}
	}
}

func TestParseMultipleDomains(t *testing.T) {
	f, err := Parse([]string{" A <a@one.example>, b@two.example, c@ONE.example"})
	var fe *Error
	if !errors.As(err, &fe) || fe.Kind != KindMultipleDomains {
		t.Fatalf("got %v", err)
	}
	if f.AuthorDomain != "" {
		t.Errorf("author domain %q beside an error", f.AuthorDomain)
	}
	if len(f.Mailboxes) != 3 || len(f.Domains) != 2 || f.Domains[0] != "one.example" || f.Domains[1] != "two.example" {
		t.Errorf("got %+v", f)
	}
}

func TestParseBounds(t *testing.T) {
	fill := func(prefix, unit, suffix string) string {
		return prefix + strings.Repeat(unit, (MaxFromLen-len(prefix)-len(suffix))/len(unit)) + suffix
	}
	cases := []struct{ why, value, want string }{
		{"longest field", fill(" x", "x", " <a@b.example>"), "ok b.example"},
		{"one octet more", strings.Repeat("x", MaxFromLen+1), "error too_large 32768"},
		{"100 mailboxes", strings.Repeat("a@b.example,", 100), "ok b.example"},
		{"101 mailboxes", strings.Repeat("a@b.example,", 101), "error too_large 1200"},
		{"comments side by side", fill(" ", "()", "<a@b.example>"), "ok b.example"},
		{"comments nested", fill("", "(", ""), "error too_large 10"},
		{"quotes side by side", fill(" ", `""`, "<a@b.example>"), "ok b.example"},
		{"backslashes", fill(` "`, `\\`, `" <a@b.example>`), "ok b.example"},
		{"commas", fill("", ",", "a@b.example"), "ok b.example"},
		{"at signs", fill("a", "@", ""), "error ambiguous 2"},
		{"angle brackets", fill("", "<", ""), "error no_address 1"},
		{"beginnings of encoded words", fill(`"`, "=?a?q? ", `?=" <a@b.example>`), "ok b.example"},
		{"half encoded words", fill(`"`, "=?", `" <a@b.example>`), "ok b.example"},
		{"words of no encoding", fill(`"`, "=?a?x? ", `?=" <a@b.example>`), "ok b.example"},
		{"encoded words", fill("", "=?utf-8?b?YQ==?= ", "<a@b.example>"), "ok b.example"},
		{"encoded angle brackets", fill("", "=?utf-8?b?PA==?= ", "<a@b.example>"), "ok b.example"},
		{"square brackets", fill("", "[", ""), "error no_address 0"},
		{"slips", fill("a@b.example;", "@ x ", ""), "ok b.example"},
		{"slips of one domain", fill("a@b.example;", "a@b.example ", ""), "ok b.example"},
		{"slips with look-alikes", fill("a@b.example;", "\uff20", ""), "ok b.example"},
		{"slips with quotes", fill("a@b.example;", `"@ `, ""), "ok b.example"},
		{"slips with quoted pairs", fill("a@b.example;", `\"@`, ""), "ok b.example"},
		{"slips with encoded words", fill("a@b.example;", "=?utf-8?q?x?=(", ""), "ok b.example"},
		{"words after the address", "foo@a.example " + strings.Repeat("word ", 100), "ok a.example"},
		{"long local part", fill("<", "a", "@b.example>"), "ok b.example"},
		{"long domain", fill("<a@", "b.", "example>"), "error malformed 3"},
		{"long label", fill("<a@", "例", ">"), "error malformed 3"},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			f, err := Parse([]string{c.value})
			got := outcome(f, err)
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got %.100s (%v), want %s", got, err, c.want)
			}
		})
	}
}

func TestErrorJSON(t *testing.T) {
	_, err := Parse([]string{" a@b.example <c@d.example>"})
	got, jerr := json.Marshal(err)
	if jerr != nil {
		t.Fatal(jerr)
	}
	want := `{"kind":"ambiguous","offset":1,"detail":"unquoted address of another domain in a display name"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if text := err.Error(); text != "author: From field ambiguous at octet 1: unquoted address of another domain in a display name" {
		t.Errorf("text %q", text)
	}
	var fe *Error
	if !errors.As(err, &fe) || "author: "+fe.Text() != err.Error() {
		t.Errorf("text for a person of %v", err)
	}
}

// TestErrorDetail checks that the detail of an error names what makes the field unacceptable, and
// not a slip in the same field.
func TestErrorDetail(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{` "ceo@bank.example <a@a.example>`, "the field shows several domains, and a quoted string has no end"},
		{` "ceo@mail.a.example <a@a.example>`, "the field shows several domains, and a quoted string has no end"},
		{` "ceo <a@>`, "the field names no domain"},
		{`(b@b.example)`, "address in a comment that stands alone"},
		{` <(b@b.example)a@a.example>`, "the field shows several domains, and comment within angle brackets"},
		{` "ceo" <>`, "the angle brackets are empty"},
		{` "ceo@bank.example" =?utf-8?Q?=00?= <>`, "the only address is in a comment or a name"},
		{` "ceo <a@a.example .example>`, "a quoted string has no end"},
		{` a@a.example (ceo@bank.example)`, "a comment holds an address of another domain"},
		{` ceo@bank.example <a@a.example>`, "unquoted address of another domain in a display name"},
		{` =?utf-7?Q?x?= <a@a.example>`, "an encoded word is in a charset that could hide an address"},
		{` =?utf-8?Q?=00?= <a@a.example>`, "an encoded word holds a line break or a NUL octet"},
		{` x <a@a.example> (=?utf-8?Q?=3Cb=40b.example=3E?=)`, "an encoded word holds an address of another domain in angle brackets"},
	} {
		_, err := Parse([]string{tt.value})
		var fe *Error
		if !errors.As(err, &fe) || fe.Detail != tt.want {
			t.Errorf("%s: %v, want %q", tt.value, err, tt.want)
		}
	}
}

// TestNoteText checks that every note has a text of its own, which the label can show.
func TestNoteText(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range []Note{NoteOtherAddress, NoteOtherName, NoteSlip} {
		if text := n.Text(); text == string(n) || seen[text] {
			t.Errorf("%s: %q", n, text)
		}
		seen[n.Text()] = true
	}
}

func TestFromJSON(t *testing.T) {
	f, err := Parse([]string{` "A" <"x..y"@Example.com>`})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"mailboxes":[{"display_name":"A","local":"x..y","domain":"example.com"}],"author_domain":"example.com","domains":["example.com"]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func BenchmarkParseFrom(b *testing.B) {
	values := []string{" =?utf-8?B?6Zai5a6I?= News (x)\r\n <news@mail.example.com>"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(values); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseHostile shows that the cost is linear: if the size doubles, ns/op doubles and MB/s
// does not change.
func BenchmarkParseHostile(b *testing.B) {
	for _, c := range []struct{ why, prefix, unit, suffix string }{
		{"mailboxes", "", "a@b.example,", ""},
		{"encoded words", `"`, "=?a?q? ", `?=" <a@b.example>`},
		{"texts", "", "a,", " <a@b.example>"},
		{"colons", "", "a:(x)", " <a@b.example>"},
		{"at signs", "x ", "@ x ", "<a@b.example>"},
		{"commas and encoded words", "", "=?utf-8?q?x?=,", "<a@b.example>"},
		{"escapes", "", "\x1b$B@<\x1b(B", " <a@b.example>"},
		{"double-byte text", " \x1b$B", "@<4X", "\x1b(B <a@b.example>"},
		{"8-bit text", " ", "\x83@\x81[", " <a@b.example>"},
		{"slips", "a@b.example;", "@ x ", ""},
		{"slips of one domain", "", "a@b.example ", ""},
		{"slips with look-alikes", "a@b.example;", "\uff20", ""},
		{"slips with quotes", "a@b.example;", `"@ `, ""},
		{"slips with quoted pairs", "a@b.example;", `\"@`, ""},
		{"slips with words of a charset that shifts", "(a@b.example)", `=?hz?q?x"?=(`, ""},
		{"slips with comments", "a@b.example;", "(x)@ ", ""},
		{"slips with encoded words", "a@b.example;", "=?utf-8?q?x?=(", ""},
		{"comments", " ", "()", "<a@b.example>"},
	} {
		for _, size := range []int{8 << 10, 16 << 10, 32 << 10} {
			b.Run(fmt.Sprintf("%s/%d", c.why, size), func(b *testing.B) {
				value := c.prefix + strings.Repeat(c.unit, (size-len(c.prefix)-len(c.suffix))/len(c.unit)) + c.suffix
				b.SetBytes(int64(len(value)))
				b.ReportAllocs()
				for b.Loop() {
					// Parse refuses fields with more than 100 mailboxes and accepts all others.
					if f, err := Parse([]string{value}); err == nil && f.AuthorDomain != "b.example" {
						b.Fatal(f, err)
					}
				}
			})
		}
	}
}
