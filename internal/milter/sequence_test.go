package milter_test

import (
	"io"
	"net"
	"testing"

	"sekimori/internal/milter"
)

func TestSendmailSendsNoAbort(t *testing.T) {
	w := newWorld(t, milter.Options{})
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
	w := newWorld(t, milter.Options{})
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

// TestLeadingSpace: whether it was negotiated decides how a field is read.
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
			w := newWorld(t, milter.Options{})
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
