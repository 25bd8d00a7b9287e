package zone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
)

const anyPort = "127.0.0.1:0"

func startServer(t *testing.T, zoneText string) (*Zone, *Server) {
	t.Helper()
	z := mustParse(t, zoneText)
	s, err := NewServer(z, anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return z, s
}

func ask(t *testing.T, s *Server, network, name string, typ uint16, edns uint16) *codec.Msg {
	t.Helper()
	m := new(codec.Msg)
	m.SetQuestion(name, typ)
	if edns > 0 {
		m.SetEdns0(edns, false)
	}
	c := codec.Client{Net: network, Timeout: 5 * time.Second}
	in, _, err := c.Exchange(m, s.Addr())
	if err != nil {
		t.Fatalf("%s %s: %v", network, name, err)
	}
	return in
}

// showMsg returns the relevant parts of an answer on one line.
func showMsg(m *codec.Msg) string {
	var b strings.Builder
	b.WriteString(codec.RcodeToString[m.Rcode])
	if m.Truncated {
		b.WriteString(" tc")
	}
	if m.AuthenticatedData {
		b.WriteString(" ad")
	}
	for _, set := range [][]codec.RR{m.Answer, m.Ns} {
		for _, rr := range set {
			b.WriteString(" | " + strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	return b.String()
}

const serverZone = sample + `
big.example.com TXT "%[1]s" "%[1]s" "%[1]s"
huge.example.com TXT "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s"
spf.example.com SPF "v=spf1"
ns.example.com NS ns1.example.com
! halftc.example.com TXT truncate
halftc.example.com TXT whole
! tcpfail.example.com TXT truncate-tcp
`

func TestServerAnswers(t *testing.T) {
	fill := strings.Repeat("x", 255)
	z, s := startServer(t, fmt.Sprintf(serverZone, fill))
	soa := " | example.com. 3600 IN SOA ns.invalid. hostmaster.invalid. 0 0 0 0 120"
	rootSOA := " | . 60 IN SOA ns.invalid. hostmaster.invalid. 0 0 0 0 60"
	cases := []struct {
		network, name string
		typ, edns     uint16
		want, reason  string
	}{
		{"udp", "example.com.", codec.TypeA, 0, "NOERROR | example.com. 300 IN A 192.0.2.1 | example.com. 60 IN A 192.0.2.2", ""},
		{"tcp", "EXAMPLE.com.", codec.TypeAAAA, 0, "NOERROR | EXAMPLE.com. 300 IN AAAA 2001:db8::1", "letters as the client wrote them"},
		{"udp", "example.com.", codec.TypeMX, 1232, "NOERROR | example.com. 300 IN MX 10 mail.example.com. | example.com. 300 IN MX 0 .", ""},
		{"udp", "example.com.", codec.TypeTXT, 0, `NOERROR | example.com. 300 IN TXT "v=spf1 " "-all" ";" "q\"\\\200"`, "strings stay split"},
		{"udp", "1.2.0.192.in-addr.arpa.", codec.TypePTR, 0, "NOERROR | 1.2.0.192.in-addr.arpa. 300 IN PTR example.com.", ""},
		{"udp", "ns.example.com.", codec.TypeNS, 0, "NOERROR | ns.example.com. 300 IN NS ns1.example.com.", ""},
		{"udp", "spf.example.com.", codec.TypeSPF, 0, `NOERROR | spf.example.com. 300 IN SPF "v=spf1"`, ""},
		{"udp", "example.com.", codec.TypeSOA, 0, "NOERROR" + soa, ""},
		{"udp", "www.example.com.", codec.TypeA, 0, "NOERROR | www.example.com. 300 IN CNAME a.b.example.com. | a.b.example.com. 300 IN A 192.0.2.3", "chain"},
		{"udp", "gone.example.com.", codec.TypeA, 0, "NXDOMAIN | gone.example.com. 300 IN CNAME nothing.example.net." + rootSOA, "dangling alias"},
		{"udp", "example.com.", codec.TypePTR, 0, "NOERROR" + soa, "NODATA"},
		{"udp", "nope.example.com.", codec.TypeA, 0, "NXDOMAIN" + soa, ""},
		{"tcp", "l1.example.com.", codec.TypeA, 0, "NOERROR" + strings.Repeat(" | l1.example.com. 300 IN CNAME l2.example.com. | l2.example.com. 300 IN CNAME "+
			"l1.example.com.", 4) + " | l1.example.com. 300 IN CNAME l2.example.com.", "loop: the answer contains more CNAMEs than a resolver follows"},
		{"udp", "fail.example.com.", codec.TypeA, 0, "SERVFAIL", ""},
		{"udp", "ref.example.com.", codec.TypeA, 0, "REFUSED", ""},
		{"udp", "big.example.com.", codec.TypeTXT, 0, "NOERROR tc", "over 512 octets"},
		{"udp", "big.example.com.", codec.TypeTXT, 1232, "NOERROR | big.example.com. 300 IN TXT" + strings.Repeat(` "`+fill+`"`, 3), "fits EDNS"},
		{"udp", "huge.example.com.", codec.TypeTXT, 1232, "NOERROR tc", "over EDNS"},
		{"tcp", "huge.example.com.", codec.TypeTXT, 1232, "NOERROR | huge.example.com. 300 IN TXT" + strings.Repeat(` "`+fill+`"`, 8), "whole over TCP"},
		{"udp", "halftc.example.com.", codec.TypeTXT, 1232, "NOERROR tc", ""},
		{"tcp", "halftc.example.com.", codec.TypeTXT, 1232, `NOERROR | halftc.example.com. 300 IN TXT "whole"`, ""},
		{"tcp", "tcpfail.example.com.", codec.TypeTXT, 0, "NOERROR tc", ""},
		{"udp", `odd\200\"x.example.com.`, codec.TypeTXT, 0, `NOERROR | odd\200\"x.example.com. 300 IN TXT "odd"`, "octets in names"},
		{"udp", ".", codec.TypeA, 0, "NOERROR" + rootSOA, "the root"},
	}
	for _, c := range cases {
		m := ask(t, s, c.network, c.name, c.typ, c.edns)
		if opt := m.IsEdns0(); (opt != nil) != (c.edns > 0) || opt != nil && opt.UDPSize() != maxQuery {
			t.Errorf("%s %s: EDNS %v", c.network, c.name, opt)
		}
		got := showMsg(m)
		if got != c.want {
			t.Errorf("%s %s %s: got %s, want %s (%s)", c.network, c.name, codec.TypeToString[c.typ], got, c.want, c.reason)
		}
	}
	if q := z.Queries(); len(q) != len(cases) || q[1] != "example.com AAAA" {
		t.Errorf("zone saw %d queries, second %q", len(q), q[1])
	}
}

// TestReplyLies decodes, with another codec, the replies with the faults garbage, wrongid and
// wrongquestion, which a resolver must ignore. The fault timeout gives no reply.
func TestReplyLies(t *testing.T) {
	z := mustParse(t, `
! garbage.example A garbage
! id.example A wrongid
! question.example A wrongquestion
! silent.example A timeout
id.example A 192.0.2.1
`)
	reply := func(name string) (*codec.Msg, []byte, error) {
		m := new(codec.Msg)
		m.SetQuestion(name, codec.TypeA)
		m.Id = 7
		query, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		raw := z.reply(t.Context(), query, false)
		in := new(codec.Msg)
		return in, raw, in.Unpack(raw)
	}
	if _, raw, err := reply("garbage.example."); err == nil || len(raw) == 0 {
		t.Errorf("garbage could be read: %d octets", len(raw))
	}
	if in, _, err := reply("id.example."); err != nil || in.Id == 7 || len(in.Answer) != 1 {
		t.Errorf("wrongid: %v %v", in, err)
	}
	if in, _, err := reply("question.example."); err != nil || in.Id != 7 || in.Question[0].Name != "wrong.invalid." {
		t.Errorf("wrongquestion: %v %v", in, err)
	}
	if _, raw, _ := reply("silent.example."); raw != nil {
		t.Errorf("silence was %d octets", len(raw))
	}
}

// TestServerIgnoresNonsense sends packets that are not queries. They get no answer, and the server
// answers the next query.
func TestServerIgnoresNonsense(t *testing.T) {
	z, s := startServer(t, "a.example A 192.0.2.1")
	c, err := net.Dial("udp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	response := new(codec.Msg)
	response.SetQuestion("a.example.", codec.TypeA)
	response.Response = true
	packed, err := response.Pack()
	if err != nil {
		t.Fatal(err)
	}
	chaos := new(codec.Msg)
	chaos.SetQuestion("a.example.", codec.TypeA)
	chaos.Question[0].Qclass = codec.ClassCHAOS
	other, err := chaos.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, packet := range [][]byte{{0}, packed, packed[:14], other, other[:12], other[:14]} {
		if z.reply(t.Context(), packet, false) != nil {
			t.Errorf("% x was answered", packet)
		}
		if _, err := c.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, s, "udp", "a.example.", codec.TypeA, 0)
	if q := z.Queries(); len(q) != 1 {
		t.Errorf("taken for queries: %q", q)
	}
}

// TestServerEndsConnection: a connection is closed, and forgotten, if the Responder does not keep it.
func TestServerEndsConnection(t *testing.T) {
	udp, tcp, err := Listen(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(udp, tcp, func(context.Context, []byte, bool) ([][]byte, bool) { return [][]byte{{'x'}}, false })
	t.Cleanup(func() { _ = s.Close() })
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(c.SetDeadline(time.Now().Add(tcpIdle)), func() error { _, err := c.Write([]byte("\x00\x01q")); return err }()); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	if len(s.conns) != 0 {
		t.Errorf("%d connections", len(s.conns))
	}
}

// TestServerCloseEndsDelays checks that Close does not wait for a delayed answer and closes the
// connections.
func TestServerCloseEndsDelays(t *testing.T) {
	s, err := NewServer(mustParse(t, "! slow.example A delay=24h"), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	m := new(codec.Msg)
	m.SetQuestion("slow.example.", codec.TypeA)
	c, err := codec.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMsg(m); err != nil {
		t.Fatal(err)
	}
	u, err := codec.Dial("udp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.WriteMsg(m); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.ReadMsg(); err == nil {
		t.Error("the connection outlived its server")
	}
}

func TestServerAddressInUse(t *testing.T) {
	_, s := startServer(t, "")
	if _, err := NewServer(New(), s.Addr()); err == nil {
		t.Error("two servers on one address")
	}
	if _, err := NewServer(New(), "nonsense"); err == nil {
		t.Error("an address without a port was accepted")
	}
}

// TestUnpackableRecord checks that the zone gives no answer, and does not panic, if a record cannot
// be packed.
func TestUnpackableRecord(t *testing.T) {
	z := New().Add("a.example", dns.TypeA, dns.Record{}).Add("a.example", dns.TypeAAAA, dns.Record{})
	for _, typ := range []uint16{codec.TypeA, codec.TypeAAAA} {
		m := new(codec.Msg)
		m.SetQuestion("a.example.", typ)
		query, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if z.reply(t.Context(), query, false) != nil {
			t.Error("an answer without an address was packed")
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, name := range []string{"www.example.com.", "fail.example.com.", `odd\200.example.com.`} {
		m := new(codec.Msg)
		m.SetQuestion(name, codec.TypeA)
		m.SetEdns0(1232, true)
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, true)
	}
	z, err := Parse("www.example.com CNAME a.b.example.com\n*.example.com A 192.0.2.1\n! fail.example.com * servfail")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query []byte, overTCP bool) {
		if reply := z.reply(t.Context(), query, overTCP); len(reply) > maxMessage {
			t.Errorf("%d octets", len(reply))
		}
	})
}
