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

func TestConnectAddress(t *testing.T) {
	for _, tc := range []struct{ why, data, want string }{
		{"IPv4", "h\x004\x09\xdd192.0.2.1\x00", "h 4 192.0.2.1:2525"},
		{"IPv6", "h\x006\x00\x192001:db8::25\x00", "h 6 [2001:db8::25]:25"},
		{"the prefix of an address literal", "h\x006\x00\x19IPv6:2001:db8::25\x00", "h 6 [2001:db8::25]:25"},
		{"in any case", "h\x006\x00\x19ipv6:2001:db8::25\x00", "h 6 [2001:db8::25]:25"},
		{"an IPv4-mapped address is IPv4", "h\x006\x00\x19::ffff:192.0.2.1\x00", "h 6 192.0.2.1:25"},
		{"a zone is of this host only", "h\x006\x00\x19fe80::1%eth0\x00", "h 6 [fe80::1]:25"},
		{"no address is not an error", "h\x004\x00\x00unknown\x00", "h 4 invalid AddrPort"},
		{"unknown client", "unknown\x00U", "unknown U invalid AddrPort"},
		{"local socket", "localhost\x00L\x00\x00/run/s\x00", "localhost L invalid AddrPort"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			w := newWorld(t, milter.Options{})
			nc, err := net.Dial("tcp", w.listen())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(nc, optneg()+frame('C', tc.data)+frame('Q', ""))
			drained(t, nc)
			w.end()
			expect(t, w.log()[1:2], "connect "+tc.want)
		})
	}
}

func TestHeaderIsAsOnTheWire(t *testing.T) {
	for _, tc := range []struct {
		why      string
		protocol uint32
		sent     string
		want     string
	}{
		{"leading space kept", 0x1fffff, "Subject\x00  two\x00", `"Subject:  two"`},
		{"no space is kept too", 0x1fffff, "Subject\x00none\x00", `"Subject:none"`},
		{"a fold is CRLF", 0x1fffff, "Subject\x00 a\n\tb\n c\x00", `"Subject: a\r\n\tb\r\n c"`},
		{"CRLF stays", 0x1fffff, "Subject\x00 a\r\n b\x00", `"Subject: a\r\n b"`},
		{"without LEADSPC one space was eaten", 0xfffff, "Subject\x00 two\x00", `"Subject:  two"`},
		{"but never a tab", 0xfffff, "Subject\x00\ttab\x00", `"Subject:\ttab"`},
		{"an empty value had its space", 0xfffff, "Subject\x00\x00", `"Subject: "`},
		{"8-bit and trailing space stay", 0x1fffff, "SUBJECT\x00 \xe9\xff \x00", `"SUBJECT: \xe9\xff "`},
		{"white space before the colon is lost", 0x1fffff, "Subject \t \x00 a\x00", `"Subject: a"`},
		{"an empty value", 0x1fffff, "Subject\x00\x00", `"Subject:"`},
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
