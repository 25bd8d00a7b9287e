package compose

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestDotAtoms checks which texts are atoms with dots between them.
func TestDotAtoms(t *testing.T) {
	for s, want := range map[string][2]bool{ // atoms, dot-atom
		"a": {true, true}, "a.b": {true, true}, "!#$%&'*+-/=?^_`{|}~": {true, true}, "é": {true, true}, "a.é": {true, true},
		".a": {true, false}, "a.": {true, false}, "a..b": {true, false}, ".": {true, false},
		"": {false, false}, "a b": {false, false}, "a@b": {false, false}, "a\x7f": {false, false}, "a\u2028": {false, false}, "\u0085": {false, false}, "a(": {false, false},
	} {
		if got := [2]bool{isAtoms(s), isDotAtom(s)}; got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

// TestIsMessageID checks each part of a message id, and its length at the edge.
func TestIsMessageID(t *testing.T) {
	for id, want := range map[string]bool{
		"a@b": true, "a.b@c.d": true, "": false, "a": false, "@": false, "a@": false, "@b": false, "a@b@c": false, ".a@b": false, "a@b.": false, "a@b..c": false,
		"a b@c": false, "a@b c": false, "é@b": false, "a@é": false, "<a@b>": false,
		strings.Repeat("x", maxMessageID-len("@b")) + "@b":   true,
		strings.Repeat("x", maxMessageID-len("@b")+1) + "@b": false,
	} {
		if got := IsMessageID(id); got != want {
			t.Errorf("%q (%d octets): %t", id, len(id), got)
		}
	}
}

// TestHeaderWithoutName checks a header whose author has no name, and one whose addresses cannot stand in it.
func TestHeaderWithoutName(t *testing.T) {
	h := Header{From: "a@shop.example", To: "b@shop.example", Date: time.Unix(0, 0), MessageID: "1@shop.example"}
	if got, err := h.Append(nil); err != nil || !strings.HasPrefix(string(got), "From: <a@shop.example>\r\n") {
		t.Errorf("%q, %v", got, err)
	}
	for why, change := range map[string]func(*Header){
		"From": func(h *Header) { h.From = "a" }, "To": func(h *Header) { h.To = "b" }, "Message-ID": func(h *Header) { h.MessageID = "1" },
	} {
		bad := h
		change(&bad)
		if got, err := bad.Append(nil); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %q, %v", why, got, err)
		}
	}
	long := strings.Repeat("x", 10*maxAddress)
	if _, err := Address(long); err == nil || len(err.Error()) > maxAddress+len("...")+len(ErrAddress.Error())+10 {
		t.Errorf("an error of %d octets", len(err.Error()))
	}
	h.MessageID = long
	if _, err := h.Append(nil); err == nil || len(err.Error()) > maxMessageID+len("...")+len(ErrAddress.Error())+20 {
		t.Errorf("an error of %d octets", len(err.Error()))
	}
}

// TestFolds checks where a field is folded: before a word that would make the line longer than foldAt, and
// never so that a line is blank.
func TestFolds(t *testing.T) {
	word := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct{ why, value, want string }{
		{"as long as a line", word(70) + " " + word(foldAt-len("Name: ")-70-1), "Name: " + word(70) + " " + word(foldAt-len("Name: ")-70-1) + "\r\n"},
		{"one more", word(70) + " " + word(foldAt-len("Name: ")-70), "Name: " + word(70) + "\r\n " + word(foldAt-len("Name: ")-70) + "\r\n"},
		{"a long first word", word(200), "Name: " + word(200) + "\r\n"},
		{"a second line as long as a line", word(70) + " " + word(foldAt-1) + " x", "Name: " + word(70) + "\r\n " + word(foldAt-1) + "\r\n x\r\n"},
		{"a second line with room", word(70) + " " + word(foldAt-3) + " x", "Name: " + word(70) + "\r\n " + word(foldAt-3) + " x\r\n"},
		{"spaces at the end", word(foldAt) + "  ", "Name: " + word(foldAt) + "  \r\n"},
	} {
		if got := string(AppendField(nil, "Name", tt.value)); got != tt.want {
			t.Errorf("%s:\n%q, want\n%q", tt.why, got, tt.want)
		}
	}
}

// TestPlainLines checks which texts are sent as they are.
func TestPlainLines(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "a\nb\n": true, "-": true, "a--": true, "--": false, "a\n--b": false, "é": false, "a\x01": false,
		strings.Repeat("x", foldAt): true, strings.Repeat("x", foldAt+1): false,
	} {
		if got := plainLines(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
