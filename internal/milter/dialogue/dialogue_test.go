package dialogue

import (
	"testing"

	"sekimori/internal/milter/wire"
)

// TestSequences checks that each line of commands is accepted: all of its commands, or those
// before the command in refused.
func TestSequences(t *testing.T) {
	for _, tc := range []struct {
		why, commands string
		refused       byte
	}{
		{"one message", "CHMRTLNBBE", 0},
		{"no DATA, no header and no body", "CHMRNE", 0},
		{"a header without DATA", "CHMRLNE", 0},
		{"another message", "CHMRNEAMRNE", 0},
		{"another HELO", "CHMRAH", 0},
		{"a second CONNECT", "CC", 'C'},
		{"no CONNECT", "H", 'H'},
		{"MAIL without CONNECT", "M", 'M'},
		{"no recipient", "CHMTLNE", 'T'},
		{"a recipient after DATA", "CHMRTR", 'R'},
		{"a field after the end of the header", "CHMRNL", 'L'},
		{"the end without the end of the header", "CHMRE", 'E'},
		{"an unknown SMTP command anywhere", "CUHUMURU", 0},
		{"an unknown SMTP command before CONNECT", "U", 'U'},
		{"ABORT anywhere", "ACAHA", 0},
		{"not a command", "CX", 'X'},
	} {
		p, refused := PhaseNew, byte(0)
		for i := range len(tc.commands) {
			next, ok := p.After(tc.commands[i])
			if !ok {
				refused = tc.commands[i]
				break
			}
			p = next
		}
		if refused != tc.refused {
			t.Errorf("%s: refused %q, want %q", tc.why, refused, tc.refused)
		}
	}
}

// TestSilent checks that a command gets no reply if the milter asked for none and the MTA
// offered to do without.
func TestSilent(t *testing.T) {
	toRcpt := func(cmd byte) bool { return cmd == wire.CmdRcpt }
	for _, tc := range []struct {
		why    string
		offer  uint32
		cmd    byte
		silent bool
	}{
		{"we want to reply", 0x1fffff, wire.CmdRcpt, false},
		{"we do not", 0x1fffff, wire.CmdMail, true},
		{"we do not, but the MTA waits", 0, wire.CmdMail, false},
		{"the end of a message always has a reply", 0x1fffff, wire.CmdEndOfBody, false},
	} {
		terms := Negotiate(wire.Offer{Version: 6, Actions: 0x1ff, Protocol: tc.offer}, toRcpt)
		if terms.Silent(tc.cmd) != tc.silent {
			t.Errorf("%s: silent is %t", tc.why, !tc.silent)
		}
	}
}
