package zone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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
giant.example.com TXT "%[1]s"%[2]s
`

func TestServerAnswers(t *testing.T) {
	fill := strings.Repeat("x", 255)
	z, s := startServer(t, fmt.Sprintf(serverZone, fill, strings.Repeat(`
giant.example.com TXT "`+fill+`"`, 255)))
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
		{"udp", "big.example.com.", codec.TypeTXT, 100, "NOERROR tc", "EDNS with less than 512 octets counts as 512"},
		{"tcp", "giant.example.com.", codec.TypeTXT, 0, "NOERROR tc", "over what TCP can carry"},
		{"udp", "caa.example.com.", codec.TypeCAA, 0, "NOERROR" + soa, "a record that is not kept"},
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
	if _, raw, err := reply("garbage.example."); err == nil || !bytes.Equal(raw, bytes.Repeat([]byte("\xc0\x0c\xff"), 20)) {
		t.Errorf("garbage could be read: %d octets", len(raw))
	}
	if in, _, err := reply("id.example."); err != nil || in.Id != 7^0x5555 || len(in.Answer) != 1 {
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
	notify := new(codec.Msg)
	notify.SetQuestion("a.example.", codec.TypeA)
	notify.Opcode = codec.OpcodeNotify
	news, err := notify.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, packet := range [][]byte{{0}, packed, packed[:14], other, other[:12], other[:14], news} {
		for _, overTCP := range []bool{false, true} { // a connection is kept nevertheless
			if out, keep := z.Respond(t.Context(), packet, overTCP); out != nil || !keep {
				t.Errorf("% x was answered: % x, %v", packet, out, keep)
			}
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

// TestServerKeepsConnection: a connection takes one query after the other.
func TestServerKeepsConnection(t *testing.T) {
	_, s := startServer(t, "a.example A 192.0.2.1")
	c, err := codec.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		m := new(codec.Msg)
		m.SetQuestion("a.example.", codec.TypeA)
		if err := c.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
		if in, err := c.ReadMsg(); err != nil || len(in.Answer) != 1 {
			t.Fatalf("%v, %v", in, err)
		}
	}
	if err := s.Close(); err != nil || s.Close() != nil || cap(s.pending) != maxPending {
		t.Errorf("%v", err)
	}
}

// TestServerWaits: Close waits for the responders, and says what it could not close.
func TestServerWaits(t *testing.T) {
	udp, tcp, err := Listen(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	began, ended := make(chan bool), false
	s := Serve(udp, tcp, func(ctx context.Context, _ []byte, _ bool) ([][]byte, bool) {
		began <- true
		<-ctx.Done()
		for range 1000 {
			runtime.Gosched()
		}
		ended = true
		return nil, false
	})
	c, err := net.Dial("udp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	<-began
	_ = tcp.Close()
	if err := s.Close(); !errors.Is(err, net.ErrClosed) || !ended {
		t.Errorf("%v, ended %v", err, ended)
	}
}

// packets is a socket on which each read gives the next of a list, and then waits until it is closed.
type packets struct {
	net.PacketConn
	mu     sync.Mutex
	reads  []string // "" for an error
	sent   []string
	closed chan struct{}
}

func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	p.mu.Lock()
	var read string
	left := len(p.reads)
	if left > 0 {
		read, p.reads = p.reads[0], p.reads[1:]
	}
	p.mu.Unlock()
	if left == 0 {
		<-p.closed
	}
	if read == "" {
		return 0, nil, net.ErrClosed
	}
	return copy(b, read), &net.UDPAddr{}, nil
}

func (p *packets) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, string(b))
	return len(b), nil
}

func (p *packets) Close() error { close(p.closed); return nil }

// conns is a listener that accepts what is sent to it; nil is an error. When it is closed, it accepts one more.
type conns struct {
	net.Listener
	accept chan net.Conn
	last   net.Conn
	closed chan struct{}
}

func (l *conns) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		if c == nil {
			return nil, errors.New("gone already")
		}
		return c, nil
	case <-l.closed:
	}
	if c := l.last; c != nil {
		l.last = nil
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l *conns) Close() error { close(l.closed); return nil }

// TestServerSockets serves sockets that fail now and then, connections that are idle or cut off, and one that
// arrives when the server ends.
func TestServerSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		udp := &packets{reads: []string{"", "one", "", "two"}, closed: make(chan struct{})}
		last, lastPeer := net.Pipe()
		tcp := &conns{accept: make(chan net.Conn), last: last, closed: make(chan struct{})}
		var mu sync.Mutex
		var asked []string
		s := Serve(udp, tcp, func(_ context.Context, query []byte, overTCP bool) ([][]byte, bool) {
			time.Sleep(tcpIdle - 1)
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, string(query))
			if overTCP {
				return [][]byte{[]byte("a"), []byte("b")}, true
			}
			return [][]byte{append([]byte("re "), query...)}, false
		})
		tcp.accept <- nil
		idle, cut, busy := pipe(tcp), pipe(tcp), pipe(tcp)
		begin := time.Now()
		if _, err := cut.Write([]byte("\x00\x09only a p")); err != nil {
			t.Fatal(err)
		}
		if _, err := busy.Write([]byte("\x00\x03why")); err != nil {
			t.Fatal(err)
		}
		for _, c := range []net.Conn{idle, cut} {
			if got, err := io.ReadAll(c); len(got) != 0 || err != nil || time.Since(begin) != tcpIdle {
				t.Errorf("%q, %v after %v", got, err, time.Since(begin))
			}
		}
		begin = begin.Add(tcpIdle - 1) // then the answer was there; it may take as long again to write it, and for the next query
		time.Sleep(time.Until(begin.Add(tcpIdle - 1)))
		if got, err := io.ReadAll(busy); string(got) != "ab" || err != nil || time.Since(begin) != 2*tcpIdle-1 {
			t.Errorf("%q, %v after %v", got, err, time.Since(begin))
		}
		deaf := pipe(tcp) // it takes no answer
		if _, err := deaf.Write([]byte("\x00\x03you")); err != nil {
			t.Fatal(err)
		}
		begin = time.Now()
		time.Sleep(2 * tcpIdle)
		if _, err := deaf.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(begin) != 2*tcpIdle {
			t.Errorf("an answer that nobody took: %v after %v", err, time.Since(begin))
		}
		begin = time.Now()
		if err := s.Close(); err != nil || time.Since(begin) != 0 || len(s.pending) != 0 {
			t.Errorf("%v after %v, %d queries are left", err, time.Since(begin), len(s.pending))
		}
		if _, err := lastPeer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a connection that came too late: %v", err)
		}
		slices.Sort(asked)
		slices.Sort(udp.sent)
		if fmt.Sprint(asked, udp.sent) != "[one two why you] [re one re two]" {
			t.Errorf("asked %q, sent %q", asked, udp.sent)
		}
	})
}

// pipe returns a connection that the listener accepts.
func pipe(l *conns) net.Conn {
	ours, theirs := net.Pipe()
	l.accept <- theirs
	return ours
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
	udp, err := net.ListenPacket("udp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	if _, err := NewServer(New(), udp.LocalAddr().String()); err == nil || !strings.HasPrefix(err.Error(), "zone: ") {
		t.Errorf("a port that is taken for UDP only: %v", err)
	}
	if _, err := NewServer(New(), "nonsense"); err == nil {
		t.Error("an address without a port was accepted")
	}
}

// TestReplyForms checks the strings of a text, compression, and records of the query that are not about EDNS.
func TestReplyForms(t *testing.T) {
	text := strings.Repeat("x", 600)
	z := New().Add("0.example", dns.TypeTXT, dns.Record{}).Add("255.example", dns.TypeTXT, dns.Record{Text: text[:255]}).
		Add("256.example", dns.TypeTXT, dns.Record{Text: text[:256]}).Add("600.example", dns.TypeTXT, dns.Record{Text: text})
	for name, want := range map[string][]int{"0": {0}, "255": {255}, "256": {255, 1}, "600": {255, 255, 90}} {
		m := new(codec.Msg)
		m.SetQuestion(name+".example.", codec.TypeTXT)
		a := &codec.A{Hdr: codec.RR_Header{Name: "x.", Rrtype: codec.TypeA, Class: codec.ClassINET}, A: net.IPv4(192, 0, 2, 1)}
		m.Extra = []codec.RR{a}
		if name == "600" {
			m.SetEdns0(1232, false)
		}
		query, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		raw := z.reply(t.Context(), query, false)
		in := new(codec.Msg)
		if err := in.Unpack(raw); err != nil || len(in.Answer) != 1 || bytes.Count(raw, []byte("example")) != 1 || (in.IsEdns0() != nil) != (name == "600") {
			t.Errorf("%s: %v, %v", name, in, err)
			continue
		}
		var lengths []int
		for _, s := range in.Answer[0].(*codec.TXT).Txt {
			lengths = append(lengths, len(s))
		}
		if !slices.Equal(lengths, want) {
			t.Errorf("%s: strings of %d", name, lengths)
		}
	}
}

// TestUnpackableRecord checks that the zone gives no answer, and does not panic, if a record cannot
// be packed.
func TestUnpackableRecord(t *testing.T) {
	long := dns.Record{Host: dns.Name(strings.Repeat("a.", 150)), Text: strings.Repeat("x", 70_000)}
	z := New().Add("a.example", dns.TypeA, dns.Record{}).Add("a.example", dns.TypeAAAA, dns.Record{}).Add("a.example", dns.TypeMX, long).
		Add("a.example", dns.TypePTR, long).Add("a.example", dns.TypeNS, long).Add("a.example", dns.TypeTXT, long).Add("a.example", dns.TypeCNAME, long)
	for _, typ := range []uint16{codec.TypeA, codec.TypeAAAA, codec.TypeMX, codec.TypePTR, codec.TypeNS, codec.TypeTXT, codec.TypeCNAME, codec.TypeSOA} {
		m := new(codec.Msg)
		m.SetQuestion("a.example.", typ)
		query, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if z.reply(t.Context(), query, false) != nil {
			t.Errorf("an answer of type %d was packed", typ)
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
