package printable

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain\ttext\n": "plain\ttext\n", "関守 é": "関守 é",
		"\x1b[2J": `\u001b[2J`, "a\rb": `a\u000db`, "\x1b a\n\tb": "\\u001b a\n\tb", "\x00": `\u0000`, "\x7f": `\u007f`, "\u009b": `\u009b`,
		"a\u202eb": `a\u202eb`, "\u2066\u2069": `\u2066\u2069`, "\u200b\u200e\ufeff\u2028": `\u200b\u200e\ufeff\u2028`,
		"\U000e0041": `\udb40\udc41`, "\xff": `\xff`, "\xe3\x81": `\xe3\x81`, "a\xe3\x81b": `a\xe3\x81b`, "\x85": `\x85`, "\ufffd": "\ufffd", "\x00\ufffd": `\u0000` + "\ufffd",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// FuzzWriter checks that the output is the same however a text is divided into calls of Write, that
// a person can see every character in the output, and that JSON keeps its meaning.
func FuzzWriter(f *testing.F) {
	for _, s := range []string{"plain\n", "\x1b[31m", "関守", "a\u202eb\u2069", "\xe3\x81", "\x7f\u009b\U000e0041", `\u202e"`} {
		f.Add(s, uint8(1))
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, s string, size uint8) {
		write := func(text string) string {
			var out bytes.Buffer
			w := NewWriter(&out)
			for step := max(1, int(size)); text != ""; text = text[min(step, len(text)):] {
				if n, err := w.Write([]byte(text[:min(step, len(text))])); err != nil || n != min(step, len(text)) {
					t.Fatalf("%d, %v", n, err)
				}
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
		got := write(s)
		if got != Text(s) {
			t.Errorf("%q: in parts %q, at once %q", s, got, Text(s))
		}
		for _, r := range got {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("%q: %U is written in %q", s, r, got)
			}
		}
		if !utf8.ValidString(got) {
			t.Errorf("%q: %q", s, got)
		}
		text, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		var want, read map[string]string
		if err := errors.Join(json.Unmarshal(text, &want), json.Unmarshal([]byte(write(string(text))), &read)); err != nil || !reflect.DeepEqual(want, read) {
			t.Errorf("%q: %v, %q, want %q", s, err, read, want)
		}
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestWriterErrors(t *testing.T) {
	w := NewWriter(broken{})
	if _, err := w.Write([]byte("a")); err == nil {
		t.Error("an error of the output is not returned")
	}
	if err := w.Flush(); err != nil { // nothing is held back, so Flush writes nothing
		t.Error(err)
	}
	if _, err := w.Write([]byte("\xe3")); err == nil || w.Flush() == nil {
		t.Error("an error at the end is not returned")
	}
	var b strings.Builder
	if Unwrap(NewWriter(&b)) != &b || Unwrap(&b) != &b {
		t.Error("another output")
	}
}
