package dialogue

import (
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/wire"
)

// TestPhases has the commands that each phase allows, and the phase that each of them leads to.
func TestPhases(t *testing.T) {
	const same = Phase(255)
	after := map[byte]Phase{'C': PhaseIdle, 'H': PhaseIdle, 'M': PhaseMail, 'R': PhaseRcpt, 'T': PhaseData, 'L': PhaseHeader, 'N': PhaseEndOfHeader,
		'B': PhaseBody, 'E': PhaseBody, 'U': same, 'A': PhaseIdle}
	for p, commands := range []string{PhaseNew: "CA", PhaseIdle: "HMUA", PhaseMail: "HMRUA", PhaseRcpt: "HMRTLNUA", PhaseData: "HMLNUA",
		PhaseHeader: "HMLNUA", PhaseEndOfHeader: "HMBEUA", PhaseBody: "HMBEUA", PhaseAnswered: "HMUA"} {
		p := Phase(p)
		if got := p.InMessage(); got != (p != PhaseNew && p != PhaseIdle) {
			t.Errorf("phase %d: in a message is %t", p, got)
		}
		for n := range 256 {
			cmd := byte(n)
			next, ok := p.After(cmd)
			if ok != (strings.IndexByte(commands, cmd) >= 0) {
				t.Errorf("phase %d: %q is allowed: %t", p, cmd, ok)
			}
			want := after[cmd]
			if want == same || p == PhaseNew && cmd == 'A' { // nothing ends before CONNECT
				want = p
			}
			if ok && next != want {
				t.Errorf("phase %d: %q leads to %d, want %d", p, cmd, next, want)
			}
		}
	}
	for n := range 256 {
		cmd := byte(n)
		if got := BeginsAnew(cmd); got != (strings.IndexByte("CHMAK", cmd) >= 0) {
			t.Errorf("%q begins anew: %t", cmd, got)
		}
	}
}

// TestNegotiate checks that the terms are what both want, by the flags of libmilter's mfdef.h and mfapi.h.
func TestNegotiate(t *testing.T) {
	const all = ^uint32(0)
	none := func(byte) bool { return false }
	for _, tc := range []struct {
		why     string
		offer   wire.Offer
		replies func(byte) bool
		want    Terms
	}{
		{"all is offered", wire.Offer{Version: 6, Actions: all, Protocol: all}, none, Terms{6, 0x131, 0x1ff180}},
		{"we reply to all", wire.Offer{Version: 6, Actions: all, Protocol: all}, func(byte) bool { return true }, Terms{6, 0x131, 0x100100}},
		{"nothing is offered", wire.Offer{Version: 6}, none, Terms{6, 0, 0}},
		{"an older version", wire.Offer{Version: 2, Actions: 0x1f, Protocol: 0x7f}, none, Terms{2, 0x11, 0}},
		{"a newer version", wire.Offer{Version: 7}, none, Terms{6, 0, 0}},
	} {
		if got := Negotiate(tc.offer, tc.replies); got != tc.want {
			t.Errorf("%s: %d %#x %#x, want %d %#x %#x", tc.why, got.Version, got.Actions, got.Protocol, tc.want.Version, tc.want.Actions, tc.want.Protocol)
		}
	}
	for cmd, flag := range map[byte]gomilter.OptProtocol{'L': 0x80, 'C': 0x1000, 'H': 0x2000, 'M': 0x4000, 'R': 0x8000, 'T': 0x10000, 'U': 0x20000,
		'N': 0x40000, 'B': 0x80000, 'E': 0} {
		if got := Negotiate(wire.Offer{Protocol: all}, func(c byte) bool { return c != cmd }); got.Protocol&^0x100100 != flag || got.Silent(cmd) != (flag != 0) {
			t.Errorf("%q: %#x, want %#x", cmd, got.Protocol, flag)
		}
	}
	for offered, want := range map[uint32]bool{all: true, 0x100000: true, all &^ 0x100000: false} {
		if got := Negotiate(wire.Offer{Protocol: offered}, none).LeadingSpace(); got != want {
			t.Errorf("%#x: the leading space is %t", offered, got)
		}
	}
}
