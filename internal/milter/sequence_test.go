package milter_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"sekimori/internal/milter"
)

func TestSendmailSendsNoAbort(t *testing.T) {
	w := newWorld(t, given{})
	nc, err := net.Dial("tcp", w.listen())
	if err != nil {
		t.Fatal(err)
	}
	message := frame('D', "Mi\x00id\x00") + frame('M', "<a@b>\x00") + frame('R', "<x>\x00") + frame('T', "") +
		frame('L', "A\x00 b\x00") + frame('N', "") + frame('E', "last part\r\n")
	abandoned := frame('M', "<c@d>\x00") + frame('R', "<x>\x00")
	_, err = io.WriteString(nc, optneg()+frame('C', "h\x00L\x00\x00/run/x\x00")+frame('H', "me\x00")+
		message+message+abandoned+frame('H', "again\x00")+message+frame('Q', ""))
	if err != nil {
		t.Fatal(err)
	}
	drained(t, nc)
	w.end()
	one := []string{"mail <a@b> []", "rcpt <x> []", "data", `header "A: b"`, "eoh", "body 11", "eom", "end", "abort"}
	want := append([]string{"+started", "connect h L invalid AddrPort", "helo me"}, one...)
	want = append(append(want, one...), "mail <c@d> []", "rcpt <x> []", "abort", "helo again")
	want = append(append(want, one...), "close quit")
	expect(t, w.log()[:len(want)], want...)
}

func TestQuitNCKeepsTheConnection(t *testing.T) {
	w := newWorld(t, given{})
	nc, err := net.Dial("tcp", w.listen())
	if err != nil {
		t.Fatal(err)
	}
	w.on["connect"] = func(s *session) milter.Reply {
		w.note("j=%s", s.conn.Macro("j"))
		return milter.Continue
	}
	_, err = io.WriteString(nc, optneg()+frame('D', "Cj\x00one\x00")+frame('C', "h1\x00U")+frame('M', "<a>\x00")+
		frame('K', "")+frame('C', "h2\x00U")+frame('Q', ""))
	if err != nil {
		t.Fatal(err)
	}
	drained(t, nc)
	w.end()
	w.end()
	expect(t, w.log(), "+started", "connect h1 U invalid AddrPort", "j=one", "mail <a> []", "abort", "close quit", "+ended quit",
		"+started", "connect h2 U invalid AddrPort", "j=", "close quit", "+ended quit")
}

// TestMacrosAnywhere checks that macros are accepted in every phase and do not change it. Macros
// directly before a MAIL belong to that MAIL, even if the message before it was abandoned
// without ABORT.
func TestMacrosAnywhere(t *testing.T) {
	const auth = "M{auth_authen}\x00"
	open := frame('M', "<a>\x00") + frame('R', "<x>\x00")
	rest := frame('L', "A\x00 b\x00") + frame('N', "") + frame('E', "")
	for _, tc := range []struct {
		why, sent string
		want      []string // the calls of Mail, EndOfMessage and Abort, with the macros that the Session sees
	}{
		{"macros of MAIL inside its message", open + frame('D', "Mi\x00id\x00") + rest,
			[]string{"mail <a>, i=, auth=", "eom, i=id, auth=", "abort"}},
		{"macros of MAIL before every command", frame('D', "Mi\x00id\x00") + frame('M', "<a>\x00") + frame('D', "Mi\x00id\x00") + frame('R', "<x>\x00") +
			frame('D', "Mi\x00id\x00") + frame('L', "A\x00 b\x00") + frame('D', "Mi\x00id\x00") + frame('N', "") +
			frame('D', "Mi\x00id\x00") + frame('B', "x") + frame('D', "Mi\x00id\x00") + frame('E', ""),
			[]string{"mail <a>, i=id, auth=", "eom, i=id, auth=", "abort"}},
		{"macros of CONNECT and HELO inside a message", open + frame('D', "Cj\x00mx\x00") + frame('D', "H{tls_version}\x00TLSv1.3\x00") + rest,
			[]string{"mail <a>, i=, auth=", "eom, i=, auth=", "abort"}},
		{"macros of the end of the message before the body", open + frame('D', "Ei\x00id\x00") + rest,
			[]string{"mail <a>, i=, auth=", "eom, i=id, auth=", "abort"}},
		{"macros of unknown commands, ABORT and QUIT", open + frame('D', "?i\x00id\x00") + frame('D', "Ai\x00id\x00") + frame('D', "Qi\x00id\x00") + rest,
			[]string{"mail <a>, i=, auth=", "eom, i=, auth=", "abort"}},
		{"after ABORT", open + frame('A', "") + frame('D', auth+"me\x00") + open,
			[]string{"mail <a>, i=, auth=", "abort", "mail <a>, i=, auth=me", "abort"}},
		{"all macros of a message before its MAIL", frame('D', "Mi\x00id\x00") + frame('D', "Ri\x00id\x00") + frame('D', "Ei\x00id\x00") + open + rest,
			[]string{"mail <a>, i=id, auth=", "eom, i=id, auth=", "abort"}},
		{"a message abandoned without ABORT", open + frame('D', auth+"me\x00") + frame('M', "<b>\x00") + frame('R', "<x>\x00") + rest,
			[]string{"mail <a>, i=, auth=", "abort", "mail <b>, i=, auth=me", "eom, i=, auth=me", "abort"}},
		{"macros that a message repeated do not belong to the next message",
			frame('D', auth+"me\x00") + open + frame('D', auth+"me\x00") + frame('R', "<y>\x00") + frame('M', "<b>\x00"),
			[]string{"mail <a>, i=, auth=me", "abort", "mail <b>, i=, auth=", "abort"}},
		{"the same after the end of the message", frame('D', auth+"me\x00") + open + frame('D', auth+"me\x00") + rest + frame('M', "<b>\x00"),
			[]string{"mail <a>, i=, auth=me", "eom, i=, auth=me", "abort", "mail <b>, i=, auth=", "abort"}},
		{"macros of another command directly before MAIL do not belong to it", open + frame('D', "R{auth_authen}\x00me\x00") + frame('M', "<b>\x00"),
			[]string{"mail <a>, i=, auth=", "abort", "mail <b>, i=, auth=", "abort"}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			w := newWorld(t, given{})
			var got []string
			note := func(s *session, what string) milter.Reply {
				got = append(got, fmt.Sprintf("%s, i=%s, auth=%s", what, s.conn.Macro("i"), s.conn.Macro("{auth_authen}")))
				return milter.Continue
			}
			w.on["mail"] = func(s *session) milter.Reply { return note(s, "mail "+strings.TrimSuffix(s.arg, " []")) }
			w.eom = func(_ context.Context, s *session, _ *milter.Modifier) milter.Reply { return note(s, "eom") }
			w.on["abort"] = func(*session) milter.Reply { got = append(got, "abort"); return milter.Continue }
			w.converse(tc.sent)
			expect(t, got, tc.want...)
		})
	}
}

// TestLeadingSpace checks that the value of a field has all of its leading white space, whether
// or not the MTA agreed to keep it.
func TestLeadingSpace(t *testing.T) {
	for _, tc := range []struct {
		why      string
		protocol uint32
		sent     string
		want     string
	}{
		{"leading space kept", 0x1fffff, "Subject\x00  two\x00", `"Subject:  two"`},
		{"without LEADSPC one space was eaten", 0xfffff, "Subject\x00 two\x00", `"Subject:  two"`},
	} {
		t.Run(tc.why, func(t *testing.T) {
			w := newWorld(t, given{})
			nc, err := net.Dial("tcp", w.listen())
			if err != nil {
				t.Fatal(err)
			}
			offer := []byte(optneg())
			offer[14] = byte(tc.protocol >> 16)
			_, _ = io.WriteString(nc, string(offer)+frame('C', "h\x00U")+frame('M', "<>\x00")+frame('R', "<x>\x00")+
				frame('L', tc.sent)+frame('Q', ""))
			drained(t, nc)
			w.end()
			expect(t, w.log()[4:5], "header "+tc.want)
		})
	}
}
