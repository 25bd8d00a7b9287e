package attack

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// TestMilterBody sends bodies as they look after SMTP smuggling, cut into parts at many places. The
// DKIM result shows whether the daemon saw exactly the octets that were signed.
func TestMilterBody(t *testing.T) {
	r := newRig(t, "", nil)
	header, body := "From: Ann <ann@bank.example>\r\nSubject: hello\r\n\r\n", ""
	signed := func(b string) string { return signer.DKIM(t, bankKey(), tags(""), header+b) }
	const smuggled = "Hi.\r\n.\r\nMAIL FROM:<ceo@bank.example>\r\nRCPT TO:<r@here.example>\r\nDATA\r\nFrom: ceo@bank.example\r\n\r\nPay.\r\n"
	for _, tc := range []struct {
		why, signed string
		chunks      []string
		want        string
	}{
		{"whole", "Hi.\r\nYou.\r\n", []string{"Hi.\r\nYou.\r\n"}, "pass"},
		{"octet by octet", "Hi. \r\n\tYou.\r\n\r\n", strings.Split("Hi. \r\n\tYou.\r\n\r\n", ""), "pass"},
		{"empty parts between", "Hi.\r\n", []string{"", "Hi.", "", "\r", "", "\n", ""}, "pass"},
		{"no body", "", nil, "pass"},
		{"only line ends, one by one", "", []string{"\r\n", "\r", "\n", "\r\n"}, "pass"},
		{"a bare CR", "Hi.\rYou.\r\n", []string{"Hi.\r", "You.\r\n"}, "pass"},
		{"a bare LF", "Hi.\nYou.\r\n", []string{"Hi.", "\nYou.\r\n"}, "pass"},
		{"CR CR LF", "Hi.\r\r\nYou.\r\n", []string{"Hi.\r", "\r", "\nYou.\r\n"}, "pass"},
		{"LF CR", "Hi.\n\rYou.\r\n", []string{"Hi.\n", "\rYou.\r\n"}, "pass"},
		{"ends in CR", "Hi.\r\nYou.\r", []string{"Hi.\r\nYou.", "\r"}, "pass"},
		{"CRLF became LF on the way", "Hi.\r\nYou.\r\n", []string{"Hi.\nYou.\r\n"}, "fail/body_hash_mismatch"},
		{"CRLF became CR on the way", "Hi.\r\nYou.\r\n", []string{"Hi.\rYou.\r\n"}, "fail/body_hash_mismatch"},
		{"a bare LF became CRLF", "Hi.\nYou.\r\n", []string{"Hi.\r\nYou.\r\n"}, "fail/body_hash_mismatch"},
		{"a NUL", "Hi.\x00\r\n", []string{"Hi.\x00\r\n"}, "pass"},
		{"a NUL added", "Hi.\r\n", []string{"Hi.\x00\r\n"}, "fail/body_hash_mismatch"},
		{"a lone dot is content", "Hi.\r\n.\r\nYou.\r\n", []string{"Hi.\r", "\n.", "\r\nYou.\r\n"}, "pass"},
		{"a lone dot ends nothing", "Hi.\r\n", []string{"Hi.\r\n.\r\n", "You.\r\n"}, "fail/body_hash_mismatch"},
		{"LF dot LF", "Hi.\r\n", []string{"Hi.\n.\nYou.\r\n"}, "fail/body_hash_mismatch"},
		{"two dots are not one", "Hi.\r\n.\r\n", []string{"Hi.\r\n..\r\n"}, "fail/body_hash_mismatch"},
		{"another message inside, signed", smuggled, []string{smuggled[:9], smuggled[9:]}, "pass"},
		{"another message inside", "Hi.\r\n", []string{smuggled[:6], smuggled[6:]}, "fail/body_hash_mismatch"},
		{"another message inside by LF", "Hi.\r\n", []string{strings.ReplaceAll(smuggled, "\r\n.\r\n", "\n.\n")}, "fail/body_hash_mismatch"},
		{"another message inside by CR", "Hi.\r\n", []string{strings.ReplaceAll(smuggled, "\r\n.\r\n", "\r.\r")}, "fail/body_hash_mismatch"},
		{"parts of 1 MiB", strings.Repeat("0123456789abcde\r\n", 250_000), parts(strings.Repeat("0123456789abcde\r\n", 250_000), 1<<20-1), "pass"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if tc.chunks == nil {
				tc.chunks = []string{}
			}
			raw := signed(tc.signed)
			head, _, _ := strings.Cut(raw, "\r\n\r\n")
			expectDKIM(t, r.send(t, shot{zone: bankKeyZone(), raw: head + "\r\n\r\n" + body, chunks: tc.chunks}), tc.want)
		})
	}
	const text = " Hi  you,\t \r\n\r\nsee\r you\n at \r\n.\r\n..\r\n\r\n \r\n"
	raw := signed(text)
	for i := range len(text) {
		for _, j := range []int{i, i + 1, i + 2, len(text)} {
			if j = min(j, len(text)); i <= j {
				expectDKIM(t, r.send(t, shot{zone: bankKeyZone(), raw: raw, chunks: []string{text[:i], text[i:j], text[j:]}}), "pass")
			}
		}
	}
}

func parts(s string, n int) (out []string) {
	for len(s) > n {
		out = append(out, s[:n])
		s = s[n:]
	}
	return append(out, s)
}

// frame is a milter frame that the MTA sends after CONNECT and HELO. Each "|" in data is replaced
// by NUL.
type frame struct{ cmd, data string }

// TestMilterPeerLies plays an MTA that breaks the milter protocol. The daemon must either answer or
// end the session, as the case says. It must then serve the next session.
func TestMilterPeerLies(t *testing.T) {
	r := newRig(t, "", nil)
	r.raw = true
	good := signer.DKIM(t, bankKey(), tags(""), bankMail)
	mail := []frame{{"M", "<a@evil.example>|"}, {"R", "<r@here.example>|"}, {"T", ""}}
	from := frame{"L", "From| Ann <ann@bank.example>|"}
	eoh, eom := frame{"N", ""}, frame{"E", ""}
	with := func(more ...frame) []frame { return append(append([]frame{}, mail...), more...) }
	big := strings.Repeat("x", 1<<20)
	for _, tc := range []struct {
		why    string
		frames []frame
		ends   bool // the daemon closes the session without an answer to the end of message
	}{
		{"a message", with(from, eoh, frame{"B", "Hi."}, eom), false},
		{"a header field after the end of header", with(from, eoh, from, eom), true},
		{"a header field after a part of the body", with(from, eoh, frame{"B", "Hi."}, frame{"L", "From| eve@evil.example|"}, eom), true},
		{"the end of header twice", with(from, eoh, eoh, eom), true},
		{"the end of header after the body", with(from, eoh, frame{"B", "Hi."}, eoh, eom), true},
		{"a body before the end of header", with(from, frame{"B", "Hi."}, eoh, eom), true},
		{"the end of message before that of the header", with(from, eom), true},
		{"no header at all", with(eoh, eom), false},
		{"no recipient", []frame{mail[0], from, eoh, eom}, true},
		{"a recipient before MAIL", []frame{mail[1]}, true},
		{"the end of a message that never began", []frame{eom}, true},
		{"a recipient after DATA", with(mail[1], eoh, eom), true},
		{"MAIL again inside the header: a message given up", with(append([]frame{from}, with(from, eoh, eom)...)...), false},
		{"an unknown command", with(from, frame{"Z", ""}, eoh, eom), true},
		{"an empty frame", with(frame{"", ""}, eoh, eom), true},
		{"a header field without a value", with(frame{"L", "From|"}, eoh, eom), true},
		{"a header field without NULs", with(frame{"L", "From: x"}, eoh, eom), true},
		{"a header field with a NUL inside", with(frame{"L", "From| ann@bank.example|.evil.example|"}, eoh, eom), true},
		{"a header field without a name", with(frame{"L", "| x|"}, eoh, eom), true},
		{"a field name with CRLF", with(frame{"L", "X\r\nFrom| x|"}, eoh, eom), false},
		{"macros with a NUL", with(frame{"D", "Li|a|b|"}, from, eoh, eom), true},
		{"macros for no command", with(frame{"D", ""}, from, eoh, eom), true},
		{"macros that say nothing", with(frame{"D", "L"}, from, eoh, eom), false},
		{"60,000 octets of macros", with(frame{"D", "Li|" + big[:60_000] + "|"}, from, eoh, eom), false},
		{"more macros than are kept", with(frame{"D", "Li|" + big[:70_000] + "|"}, from, eoh, eom), true},
		{"a part of the body of 1 MiB", with(from, eoh, frame{"B", big[:1<<20-1]}, eom), false},
		{"a frame over 1 MiB", with(from, eoh, frame{"B", big}, eom), true},
		{"a negotiation again", with(from, frame{"O", "|||\x06||\x01\xff|\x1f\xff\xff"}), true},
		{"ABORT, then the end of the message", with(from, eoh, frame{"A", ""}, eom), true},
	} {
		t.Run(tc.why, func(t *testing.T) {
			r.SetZone(r.dns, nameserver.Zone(t, bankZone))
			c, nc := r.dial(t)
			c.Timeout = 0
			for _, f := range tc.frames {
				data := strings.ReplaceAll(f.data, "|", "\x00")
				if f.cmd == "" {
					if _, err := nc.Write(make([]byte, 4)); err != nil && !gone(err) {
						t.Fatal(err)
					}
					continue
				}
				if f.cmd == "E" { // c.EndOfMessage sends this frame below and waits for the answer
					break
				}
				lieFrame(t, nc, f.cmd[0], data)
			}
			c.Timeout = 10e9
			var ended bool
			if last := tc.frames[len(tc.frames)-1].cmd; last == "E" {
				_, mods, err := c.EndOfMessage()
				if ended = err != nil; ended && !gone(err) {
					t.Errorf("the session ended with %v", err)
				}
				if !ended && len(mods) != 1 {
					t.Errorf("%d edits", len(mods))
				}
			} else {
				_, err := io.ReadAll(nc)
				ended = err == nil || gone(err)
			}
			if ended != tc.ends {
				t.Errorf("session ended: %v, want %v", ended, tc.ends)
			}
			expectDKIM(t, r.send(t, shot{zone: bankKeyZone(), raw: good}), "pass")
		})
	}
}

// gone reports whether err means that the daemon has closed the connection.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// lieFrame writes a frame. It is not an error if the daemon has already closed the connection.
func lieFrame(t *testing.T, nc net.Conn, cmd byte, data string) {
	t.Helper()
	n := len(data) + 1
	out := append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), cmd}, data...)
	if _, err := nc.Write(out); err != nil && !gone(err) {
		t.Fatal(err)
	}
}
