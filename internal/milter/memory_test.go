package milter

import (
	"strings"
	"testing"

	"sekimori/internal/smtp"
)

// TestMemory checks when memory is given out, at the edges of the limit.
func TestMemory(t *testing.T) {
	const limit = 400 << 10 // a quarter is left for messages
	for _, tt := range []struct {
		reserved int64
		limit    int64
		admits   bool // a connection
		reserves bool // one octet
	}{
		{0, limit, true, true},
		{limit*3/4 - sessionCost, limit, true, true},
		{limit*3/4 - sessionCost + 1, limit, false, true},
		{limit - 1, limit, false, true},
		{limit, limit, false, false},
		{limit * 10, 0, true, true}, // no limit
		{0, 1, false, true},         // the smallest limit
		{1, 1, false, false},
	} {
		var m memory
		m.reserved.Store(tt.reserved)
		if m.short(tt.limit) == tt.admits {
			t.Errorf("%d of %d: short %t", tt.reserved, tt.limit, !tt.admits)
		}
		after := tt.reserved
		if got := m.admit(tt.limit); got != tt.admits {
			t.Errorf("%d of %d: admits %t", tt.reserved, tt.limit, got)
		} else if got {
			after += sessionCost
			m.release(sessionCost)
			after -= sessionCost
		}
		if got := m.reserve(1, tt.limit); got != tt.reserves {
			t.Errorf("%d of %d: reserves %t", tt.reserved, tt.limit, got)
		} else if got {
			after++
		}
		if got := m.reserved.Load(); got != after {
			t.Errorf("%d of %d: %d are reserved, want %d", tt.reserved, tt.limit, got, after)
		}
	}
}

// TestReplies checks which text is a reply, its code, and what is sent in place of a text that is none.
func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		r        Reply
		sent     Reply
		code     int
		bad      bool
		delivers bool
	}{
		{"", Continue, 0, false, true},
		{Continue, Continue, 0, false, true},
		{Accept, Accept, 0, false, true},
		{Discard, Discard, 0, false, false},
		{Reject, Reject, 0, false, false},
		{Tempfail, Tempfail, 0, false, false},
		{Custom(smtp.New(550, "5.7.1", "no")), "y550 5.7.1 no", 550, false, false},
		{Custom(smtp.New(554, "4.0.0", "no")), Reject, 0, true, false},
		{Custom(smtp.New(250, "2.0.0", "yes")), Tempfail, 0, true, false},
		{Outline, Tempfail, 0, true, false},
		{"x550 no", Tempfail, 0, true, false},
		{"y", Tempfail, 0, true, false},
		{"y55", Tempfail, 0, true, false},
		{"yabc no", Tempfail, 0, true, false},
	} {
		sent, err := tt.r.check()
		if sent != tt.sent || (err != nil) != tt.bad || sent.delivers() != tt.delivers || tt.r.Code() != tt.code {
			t.Errorf("%q: %q, %v, code %d, delivers %t", string(tt.r), string(sent), err, tt.r.Code(), sent.delivers())
		}
	}
}

// TestCheckValue checks which values could end a field, at the edges of what is allowed.
func TestCheckValue(t *testing.T) {
	for value, want := range map[string]bool{
		"": true, "x": true, " x": true, "x\n y": true, "x\r\n y": true, "x\n\ty": true, "\n x": true,
		"\x00": false, "\x00x": false, "x\x00": false, "x\n \x00": false, "\r": false, "\rx": false, "x\r": false, "x\r\r\n y": false,
		"x\n": false, "x\ny": false, "x\n\n y": false, "x\n \n y": false, "x\n \t": false, "x\n y\n": false,
		strings.Repeat("x", maxEditBytes): true, strings.Repeat("x", maxEditBytes+1): false,
	} {
		if err := checkValue(value); (err == nil) != want {
			t.Errorf("%.20q (%d octets): %v", value, len(value), err)
		}
	}
	for name, want := range map[string]bool{"!": true, "~": true, "X-Y": true, "": false, " ": false, "\x7f": false, ":": false, "a:": false, "é": false} {
		if got := validName(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

// TestNewWithoutSessions checks that a server that could serve nobody is not made.
func TestNewWithoutSessions(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(Options{})
}
