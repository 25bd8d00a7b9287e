package dialogue

import (
	"testing"

	"sekimori/internal/milter/wire"
)

// TestSequences checks that all commands of a test case are accepted, or, if "refused" is set,
// exactly the commands before the one in "refused".
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

// TestSilent checks that the MTA expects no reply to a command if the milter does not want to reply
// to it and the MTA offered to go on without a reply.
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
