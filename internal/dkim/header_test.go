package dkim

import (
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/message"
	"sekimori/internal/testkit/octets"
)

func TestRelaxedField(t *testing.T) {
	for _, tc := range []struct{ why, name, value, want string }{
		{"RFC 6376 §3.4.5", "A", " X", "a:X"},
		{"RFC 6376 §3.4.5, folded", "B ", " Y\t\r\n\tZ  ", "b:Y Z"},
		{"nothing", "Subject", "", "subject:"},
		{"white space only", "Subject", " \r\n\t ", "subject:"},
		{"no space after the colon", "Subject", "x", "subject:x"},
		{"a fold right after the colon", "Subject", "\r\n x", "subject:x"},
		{"8-bit octets stay", "X-E", " \xffÉ ", "x-e:\xffÉ"},
		{"a bare CR is content", "A", "x\r y", "a:x\r y"},
		{"a bare LF is content", "A", "x\n y", "a:x\n y"},
		{"a line end that is not a fold is content", "A", "x\r\ny", "a:x\r\ny"},
		{"a line end at the end too", "A", "x \r\n", "a:x \r\n"},
		{"only SP and HTAB are white space", "A", "x\v\f\u00a0y", "a:x\v\f\u00a0y"},
	} {
		if got := string(appendRelaxed(nil, tc.name, tc.value)); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.why, got, tc.want)
		}
		if got := refHeader(syntax.Relaxed, tc.name, tc.value); got != tc.want {
			t.Errorf("%s: the reference says %q, want %q", tc.why, got, tc.want)
		}
	}
}

func TestRelaxedFieldAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		value := randomBody(r, r.IntN(20))
		if got, want := string(appendRelaxed(nil, "N", value)), refHeader(syntax.Relaxed, "N", value); got != want {
			t.Fatalf("%q: %q, want %q", value, got, want)
		}
	}
}

// TestShortValues compares with the reference: every short sequence of the octets that matter. Each value is
// also cut at each place, as b= is cut out of a signature.
func TestShortValues(t *testing.T) {
	for value := range octets.Words(5, " ", "\t", "\r", "\n", "\r\n", "a") {
		if got, want := string(appendRelaxed(nil, "N", value)), refHeader(syntax.Relaxed, "N", value); got != want {
			t.Fatalf("%q: %q, want %q", value, got, want)
		}
	}
	for value := range octets.Words(3, " ", "\t", "\r\n ", "a") {
		for n := range len(value) + 1 {
			tag := value[:n] + "b=xyz" + ";" + value[n:]
			cut := syntax.Span{Start: n + len("b="), End: n + len("b=xyz")}
			if got, want := string(appendRelaxedCut(nil, "N", tag, cut)), refHeader(syntax.Relaxed, "N", value[:n]+"b=;"+value[n:]); got != want {
				t.Fatalf("%q: %q, want %q", tag, got, want)
			}
		}
	}
}

// TestHeaderSelection checks which fields a signature covers (RFC 6376 §5.4.2).
func TestHeaderSelection(t *testing.T) {
	h := message.Header{
		{Name: "DKIM-Signature", Value: " self; b=xx"},
		{Name: "DKIM-Signature", Value: " other"},
		{Name: "Received", Value: " 3"}, {Name: "received", Value: " 2"}, {Name: "RECEIVED", Value: " 1"},
		{Name: "From", Value: " f"},
	}
	const self = "DKIM-Signature: self; b="
	for _, tc := range []struct {
		why   string
		names string
		want  string
	}{
		{"the lowest comes first", "received", "RECEIVED: 1\r\n"},
		{"each is used once, upwards", "Received:from:Received", "RECEIVED: 1\r\nFrom: f\r\nreceived: 2\r\n"},
		{"names without a field left add nothing", "Received:Received:Received:Received:Nope", "RECEIVED: 1\r\nreceived: 2\r\nReceived: 3\r\n"},
		{"the signature itself was not there when it was made", "dkim-signature:dkim-signature", "DKIM-Signature: other\r\n"},
	} {
		got,
			_ := (*Cache)(nil).index(h).headerHash(&Pending{Params: syntax.Params{HeaderCanon: syntax.Simple, Headers: strings.Split(tc.names, ":"),
			BSpan: syntax.Span{Start: 9, End: 11}}, Field: 0}, form{})
		if got != sha256.Sum256([]byte(tc.want+self)) {
			t.Errorf("%s: not the hash of %q", tc.why, tc.want+self)
		}
	}
	// Here the signature that is verified is below the other signature field.
	h[0], h[1] = h[1], h[0]
	got,
		_ := (*Cache)(nil).index(h).headerHash(&Pending{Params: syntax.Params{HeaderCanon: syntax.Simple, Headers: []string{"dkim-signature"},
		BSpan: syntax.Span{Start: 9, End: 11}}, Field: 1}, form{})
	if got != sha256.Sum256([]byte("DKIM-Signature: other\r\n"+self)) {
		t.Error("a field above the signature is not found")
	}
}

// chooseSlowly returns the fields that a signature covers: for each name the lowest field that was not taken yet and
// that is not the signature itself. -2 stands for a Return-Path that the message does not have, once at most.
func chooseSlowly(h message.Header, self int, names []string) (out []int32) {
	taken := map[int]bool{self: true}
	path := false
	for _, name := range names {
		has := false
		for i := len(h) - 1; i >= 0; i-- {
			same := strings.EqualFold(strings.TrimRight(h[i].Name, " \t"), name)
			has = has || same
			if same && !taken[i] {
				taken[i] = true
				out = append(out, int32(i))
				break
			}
		}
		if !has && !path && strings.EqualFold(name, "return-path") {
			path = true
			out = append(out, absentPath)
		}
	}
	return out
}

// FuzzChoose compares which fields are covered with a second implementation. The first half of program are the
// fields of the header, one of which is the signature, and the second half is h=.
func FuzzChoose(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 1, 2, 2, 0, 0, 1}, uint8(3))
	f.Add([]byte{4, 4, 4, 4, 4, 4}, uint8(1))
	f.Add([]byte{0, 0, 5, 5, 5, 0}, uint8(0))
	f.Fuzz(checkChoice)
}

func checkChoice(t *testing.T, program []byte, at uint8) {
	t.Helper()
	names := []string{"From", "from", "To", "to \t", "DKIM-Signature", "dkim-signature", "Return-Path", "return-path", "X"}
	var h message.Header
	var signed []string
	for i, c := range program[:min(len(program), 40)] {
		if name := names[int(c)%len(names)]; i < len(program)/2 {
			h = append(h, message.Field{Name: name, Value: " x"})
		} else {
			signed = append(signed, strings.TrimSpace(name))
		}
	}
	if len(h) == 0 {
		return
	}
	self := int(at) % len(h)
	got := (*Cache)(nil).index(h).choose(&Pending{Params: syntax.Params{Headers: signed}, Field: self})
	if want := chooseSlowly(h, self, signed); !slices.Equal(got, want) {
		t.Errorf("field %d of %v signs %q: %v, want %v", self, h, signed, got, want)
	}
}

// TestChoices has every short header and h= of two names.
func TestChoices(t *testing.T) {
	for header := range octets.Words(3, "\x01", "\x04", "\x05", "\x06") {
		for signed := range octets.Words(3, "\x00", "\x04", "\x07") {
			if len(header) == len(signed) || len(header) == len(signed)-1 {
				checkChoice(t, []byte(header+signed), 0)
				checkChoice(t, []byte(header+signed), 1)
			}
		}
	}
}

func TestAlteredByMTA(t *testing.T) {
	for _, tc := range []struct {
		why, value string
		want       bool
	}{
		{"an ordinary field", " some text", false},
		{"a folded one", " some\r\n text\r\n\tand more", false},
		{"Postfix cuts at about 60,000 octets", strings.Repeat("x", truncatedLen), true},
		{"a long one below that", strings.Repeat("x", truncatedLen-100), false},
		{"NUL", " a\x00b", true},
		{"bare CR", " a\rb", true},
		{"bare LF", " a\nb", true},
		{"CRLF that is not a fold", " a\r\nb", true},
		{"CRLF at the end", " a\r\n", true},
		{"a bare CR after a fold", " a\r\n b\r", true},
	} {
		if got := alteredByMTA(message.Field{Name: "Subject", Value: tc.value}); got != tc.want {
			t.Errorf("%s: %v", tc.why, got)
		}
	}
}

func TestNamed(t *testing.T) {
	m := NewVerifier(message.Header{{Name: "A"}, {Name: "B"}, {Name: "a \t"}}, Options{}).Message()
	if got := m.Named("a"); len(got) != 2 || got[0] != 0 || got[1] != 2 {
		t.Errorf("Named(a) = %v, want [0 2]", got)
	}
	if got := m.Named("c"); len(got) != 0 {
		t.Errorf("Named(c) = %v", got)
	}
}

// TestIsLowerOf compares with each kind of difference.
func TestIsLowerOf(t *testing.T) {
	for _, tt := range []struct {
		lower, s string
		want     bool
	}{
		{"", "", true}, {"from", "from", true}, {"from", "FROM", true}, {"from", "From", true}, {"From", "From", false},
		{"from", "form", false}, {"from", "fro", false}, {"from", "fromm", false}, {"@[", "@[", true}, {"@", "`", false}, {"{", "[", false},
	} {
		if got := isLowerOf([]byte(tt.lower), tt.s); got != tt.want {
			t.Errorf("%q of %q: %t", tt.lower, tt.s, got)
		}
	}
}
