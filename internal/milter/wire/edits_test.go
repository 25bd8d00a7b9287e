package wire

import "testing"

// TestEdits checks the octets of every kind of frame that we write. A test of package milter
// compares them with those of go-milter.
func TestEdits(t *testing.T) {
	for _, tc := range []struct {
		why  string
		edit func(t *Transport)
		want string
	}{
		{"a reply", func(t *Transport) { t.Reply("c") }, "\x00\x00\x00\x01c"},
		{"one in our words ends with a NUL", func(t *Transport) { t.Reply("y550 5.7.1 no") }, "\x00\x00\x00\x0ey550 5.7.1 no\x00"},
		{"an insertion, the fold an LF", func(t *Transport) { t.InsertHeader(0, "A", " b\r\n\tc") }, "\x00\x00\x00\x0di\x00\x00\x00\x00A\x00 b\n\tc\x00"},
		{"a fold that is an LF already", func(t *Transport) { t.InsertHeader(1, "A", "b\n c") }, "\x00\x00\x00\x0ci\x00\x00\x00\x01A\x00b\n c\x00"},
		{"a change", func(t *Transport) { t.ChangeHeader(0x01020304, "A", "b") }, "\x00\x00\x00\x09m\x01\x02\x03\x04A\x00b\x00"},
		{"a deletion", func(t *Transport) { t.ChangeHeader(2, "A", "") }, "\x00\x00\x00\x08m\x00\x00\x00\x02A\x00\x00"},
		{"a quarantine", func(t *Transport) { t.Quarantine("held") }, "\x00\x00\x00\x06qheld\x00"},
		{"several frames", func(t *Transport) { t.ChangeHeader(2, "A", ""); t.Reply("a") },
			"\x00\x00\x00\x08m\x00\x00\x00\x02A\x00\x00" + "\x00\x00\x00\x01a"},
		{"none", func(*Transport) {}, ""},
	} {
		tr := NewTransport(nil, nil, &Buffers{})
		tc.edit(tr)
		if got := string(tr.Appended()); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.why, got, tc.want)
		}
	}
}
