package authres

import (
	"strings"
	"testing"
)

// TestClaimedSPF checks that a field counts as another host's field only if it names that host.
func TestClaimedSPF(t *testing.T) {
	ours := NewIDs("mx1.full.example", "mx1", "mx.public.example")
	for _, tc := range []struct {
		value           string
		named, unsigned bool
	}{
		{"pass (mx1.full.example: domain of a@b.example designates 192.0.2.1 as permitted sender) receiver=mx1.full.example; client-ip=192.0.2.1;", true, false},
		{"pass receiver=mx1.full.example", true, false},
		{"pass client-ip=192.0.2.1; receiver=MX1.Full.Example.; helo=x", true, false},
		{"pass receiver = \"mx1.full.example\";", true, false},
		{"pass receiver=mx1", true, false},
		{"pass RECEIVER=\r\n mx.public.example", true, false},
		{"pass (a (nested mx1.full.example) b)", true, false},
		{"pass (never closed mx1.full.example", true, false},
		{"pass (quoted \\) mx1.full.example)", true, false},
		{"pass \"(\" (mx1.full.example)", true, false},
		{"pass \"(\" receiver=\")\" mx1.full.example", true, false},
		{"pass receiver=(comment) mx1.full.example;", true, false},
		{"pass receiver=other.example; receiver=mx1.full.example", true, false},
		{"pass receiver=mx1.full.example.other.example", false, false},
		{"pass (other.example: x) receiver=other.example; helo=mx1.full.example; envelope-from=\"a@mx1.full.example\"", false, false},
		{"pass (mailfrom) identity=mailfrom; receiver=<UNKNOWN>", false, false},
		{"pass (google.com: domain of a@b.example designates 192.0.2.1 as permitted sender) client-ip=192.0.2.1;", false, false},
		{"pass (other.example) receiverreceiver=mx1.full.example", false, false},
		{"pass x-receiver=mx1.full.example; receiver=other.example", false, false},
		{"pass client-ip=192.0.2.1; envelope-from=a@b.example; helo=c.example", false, true},
		{"pass ()", false, true},
		{"pass receiver=;", false, true},
		{"", false, true},
		{"pass (=?utf-7?q?mx1+AC4-full+AC4-example?=) receiver=other.example", true, false},
		{"pass (other.example) =?utf-16be?b?AHIAZQBjAGUAaQB2AGUAcgA9AG0AeAAx?=", true, false},
		{"pass (other.example: domain of a=?b@b.example) receiver=other.example", false, false},
		{"pass (other.example) " + strings.Repeat("x", maxTraceLen), true, false},
	} {
		if got := ours.NamedInSPF(tc.value); got != tc.named {
			t.Errorf("%.80q names us: %v", tc.value, got)
		}
		if got := ours.ClaimedSPF(tc.value); got != (tc.named || tc.unsigned) {
			t.Errorf("%.80q claims us: %v", tc.value, got)
		}
	}
}

// FuzzClaimedSPF checks that a host recognizes the field that FormatReceivedSPF wrote for it,
// whatever the other values of the field are. It also checks that text after a receiver= parameter
// does not hide the parameter.
func FuzzClaimedSPF(f *testing.F) {
	for _, seed := range []string{"pass", "(", "\"", "receiver=", "\\", "pass (x) receiver=y; \"(\""} {
		f.Add(seed)
	}
	ours := NewIDs("mx1.full.example")
	f.Fuzz(func(t *testing.T, s string) {
		ours.ClaimedSPF(s)
		if own := FormatReceivedSPF(ReceivedSPF{Result: "pass", Problem: s, HELO: s, Receiver: "mx1.full.example"}); !ours.NamedInSPF(own) {
			t.Errorf("our own field does not name us: %q", own)
		}
		if !ours.ClaimedSPF("pass receiver=mx1.full.example; " + strings.ReplaceAll(s, "receiver", "")) {
			t.Errorf("%q after it hides our name", s)
		}
	})
}

// TestSeveralIDs checks that a field is claimed if it names any one of several ids. Without ids, no
// field is claimed.
func TestSeveralIDs(t *testing.T) {
	ours := NewIDs("mx1.full.example", "mx1", "")
	for value, claimed := range map[string]bool{
		"mx1.full.example; none": true, "mx1; none": true, "MX1. 1; none": true, "mx1.other.example; none": false, "full.example; none": false, "\"\"; none": true,
	} {
		if got := ours.Claimed(value); got != claimed {
			t.Errorf("%q: %v", value, got)
		}
	}
	if (IDs{}).Claimed("mx1; none") {
		t.Error("a field is claimed although there are no ids")
	}
}
