package message

import (
	"bytes"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		want      Header
		body      string
	}{
		{"plain", "From: a@b\r\nTo:c\r\n\r\nbody\r\n", Header{{"From", " a@b"}, {"To", "c"}}, "body\r\n"},
		{"folds stay", "Subject: a\r\n  b\r\n\tc \r\n\r\nx", Header{{"Subject", " a\r\n  b\r\n\tc "}}, "x"},
		{"Unix line ends become CRLF", "From: a\nB: c\n d\n\nx\ny\n", Header{{"From", " a"}, {"B", " c\r\n d"}}, "x\r\ny\r\n"},
		{"a bare LF beside CRLF ends a line too", "A: b\nC: d\r\n\r\nx\ny\r\n", Header{{"A", " b"}, {"C", " d"}}, "x\r\ny\r\n"},
		{"a header in LF over a body in CRLF", "A: b\n c\nD: e\n\nx\r\n", Header{{"A", " b\r\n c"}, {"D", " e"}}, "x\r\n"},
		{"a lone CR is content", "A: b\rC: d\r\n\r\nx\r", Header{{"A", " b\rC: d"}}, "x\r"},
		{"CR before CRLF", "A: b\r\r\n\n\n\r\n", Header{{"A", " b\r"}}, "\r\n\r\n"},
		{"byte order mark", "\xef\xbb\xbfA: b\r\n\r\nx", Header{{"A", " b"}}, "x"},
		{"byte order mark and separator", "\xef\xbb\xbfFrom a@b Sun Nov 22\nA: b\n\nx", Header{{"A", " b"}}, "x"},
		{"a quoted separator", ">From a@b Sun Nov 22\nA: b\n\nx", Header{{"A", " b"}}, "x"},
		{"space before the colon is lost, as in Postfix", "Subject : x\r\n\r\n", Header{{"Subject", " x"}}, ""},
		{"a line that is not a field begins the body", "A: b\r\nnot a field\r\nC: d\r\n", Header{{"A", " b"}}, "not a field\r\nC: d\r\n"},
		{"no body", "A: b\r\n", Header{{"A", " b"}}, ""},
		{"no line end", "A: b", Header{{"A", " b"}}, ""},
		{"fold at the end", "A: b\r\n c", Header{{"A", " b\r\n c"}}, ""},
		{"empty value", "A:\r\n\r\n", Header{{"A", ""}}, ""},
		{"no header", "\r\nbody", nil, "body"},
		{"empty", "", nil, ""},
		{"a line with white space before it is not a field", " x: y\r\n\r\n", nil, " x: y\r\n\r\n"},
		{"empty name", ": y\r\n\r\n", nil, ": y\r\n\r\n"},
		{"8-bit name", "\xff: y\r\n\r\n", nil, "\xff: y\r\n\r\n"},
		{"mbox separator", "From a@b Sun Nov 22\nA: b\n\nx", Header{{"A", " b"}}, "x"},
	} {
		h, body := Parse([]byte(tt.raw))
		if len(h) != len(tt.want) || string(body) != tt.body {
			t.Errorf("%s: got %q, body %q", tt.name, h, body)
			continue
		}
		for i := range h {
			if h[i] != tt.want[i] {
				t.Errorf("%s: field %d is %q, want %q", tt.name, i, h[i], tt.want[i])
			}
		}
	}
}

func TestHeader(t *testing.T) {
	h := Header{{"From", " a"}, {"to", " b"}, {"FROM", " c"}}
	if got := h.Values("from"); len(got) != 2 || got[0] != " a" || got[1] != " c" {
		t.Errorf("values: %q", got)
	}
	if !h.Has("To") || h.Has("Cc") {
		t.Error("Has does not ignore the case of letters")
	}
	if got := h[0].String(); got != "From: a" {
		t.Errorf("String: %q", got)
	}
}

func TestUnfold(t *testing.T) {
	for in, want := range map[string]string{
		"a":              "a",
		"a\r\n b":        "a b",
		"a\r\n\tb\r\n c": "a\tb c",
		"a\r\nb":         "a\r\nb",
		"a\nb":           "a\nb",
		"a\r\n":          "a",
		"":               "",
	} {
		if got := Unfold(in); got != want {
			t.Errorf("Unfold(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzParse parses a message, writes it and parses it again. It checks that the second result is
// the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte("From: a@b\r\nSubject: x\r\n y\r\n\r\nbody\r\n"))
	f.Add([]byte("From a\nA : b\n\n"))
	f.Add([]byte("A: b\r\nno field\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, body := Parse(raw)
		again := written(h, body)
		if IsSeparator(again) || bytes.HasPrefix(again, []byte(ByteOrderMark)) {
			return // Parse would drop the beginning of this text, because it is a byte order mark or a separator
		}
		if !bytes.Contains(again, []byte("\r\n")) {
			t.Fatal("no line end was written")
		}
		h2, body2 := Parse(again)
		if len(h2) != len(h) || !bytes.Equal(body2, body) {
			t.Fatalf("%q: parsed %q %q, again %q %q", raw, h, body, h2, body2)
		}
		for i := range h {
			if h[i] != h2[i] {
				t.Fatalf("field %d: %q, again %q", i, h[i], h2[i])
			}
		}
	})
}

// written returns the message as octets.
func written(h Header, body []byte) []byte {
	var out []byte
	for _, f := range h {
		out = append(out, f.String()+"\r\n"...)
	}
	return append(append(out, "\r\n"...), body...)
}
