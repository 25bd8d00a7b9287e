package nameserver

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/recorder"
)

func exchange(t *testing.T, s *Server, network, name string, edns bool) *codec.Msg {
	t.Helper()
	m := new(codec.Msg).SetQuestion(name, codec.TypeA)
	if edns {
		m.SetEdns0(1232, false)
	}
	in, _, err := (&codec.Client{Net: network, Timeout: 5 * time.Second}).Exchange(m, s.Addr())
	if err != nil {
		t.Fatalf("%s %s: %v", network, name, err)
	}
	return in
}

// address returns the address of the only A record in an answer, or "none".
func address(m *codec.Msg) string {
	if len(m.Answer) != 1 {
		return "none"
	}
	a, ok := m.Answer[0].(*codec.A)
	if !ok {
		return "none"
	}
	return a.A.String()
}

func TestServerOptions(t *testing.T) {
	const zoneText = "a.example A 192.0.2.1\n! garbage.example A garbage"
	for _, tt := range []struct {
		reason    string
		opts      Options
		edns      bool
		rcode     int
		name      string
		authentic bool
	}{
		{"as it is", Options{}, true, codec.RcodeSuccess, "A.eXample.", false},
		{"AD", Options{Authenticated: true}, true, codec.RcodeSuccess, "A.eXample.", true},
		{"EDNS is not known", Options{NoEDNS: true}, true, codec.RcodeFormatError, "A.eXample.", false},
		{"EDNS is not used", Options{NoEDNS: true}, false, codec.RcodeSuccess, "A.eXample.", false},
		{"lower case", Options{LowerCase: true}, true, codec.RcodeSuccess, "a.example.", false},
	} {
		s := Serve(t, zoneText, tt.opts)
		for _, network := range []string{"udp", "tcp", "tcp"} {
			in := exchange(t, s, network, "A.eXample.", tt.edns)
			if in.Rcode != tt.rcode || in.Question[0].Name != tt.name || in.AuthenticatedData != tt.authentic {
				t.Errorf("%s over %s: %v", tt.reason, network, in)
			}
			if tt.rcode == codec.RcodeSuccess && address(in) != "192.0.2.1" {
				t.Errorf("%s over %s: %v", tt.reason, network, in)
			}
		}
		if out, _ := s.respond(t.Context(), query(t, "garbage.example.", codec.TypeA), false); len(out) != 1 {
			t.Errorf("%s: garbage is %x", tt.reason, out)
		}
		if udp, tcp := s.Count(); udp != 2 || tcp != 2 {
			t.Errorf("%s: %d questions over UDP and %d over TCP", tt.reason, udp, tcp)
		}
	}
}

func TestSetZone(t *testing.T) {
	s := Serve(t, "a.example A 192.0.2.1", Options{})
	s.SetZone(Zone(t, "a.example A 192.0.2.2"))
	if got := address(exchange(t, s, "udp", "a.example.", false)); got != "192.0.2.2" {
		t.Errorf("got %s", got)
	}
}

// TestLie checks that the answer of Lie replaces the answer from the zone, and that a TCP
// connection is closed after it.
func TestLie(t *testing.T) {
	s := Serve(t, "a.example A 192.0.2.1\nb.example A 192.0.2.1", Options{Lie: func(query []byte, overTCP bool) ([][]byte, bool) {
		if QuestionName(query) != "a.example." {
			return nil, false
		}
		lie := Respond(t, query, 0, "a.example. A "+lie)
		if overTCP {
			lie = Framed(lie)
		}
		return [][]byte{lie}, true
	}})
	for _, network := range []string{"udp", "tcp"} {
		if got := address(exchange(t, s, network, "a.example.", false)); got != lie {
			t.Errorf("%s: %s instead of the lie", network, got)
		}
		if got := address(exchange(t, s, network, "b.example.", false)); got != "192.0.2.1" {
			t.Errorf("%s: %s instead of the truth", network, got)
		}
	}
	conn, err := codec.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	for i, name := range []string{"b.example.", "a.example.", "b.example."} {
		err := conn.WriteMsg(new(codec.Msg).SetQuestion(name, codec.TypeA))
		if err == nil {
			_, err = conn.ReadMsg()
		}
		if (err != nil) != (i == 2) {
			t.Errorf("question %d: %v", i, err)
		}
	}
}

// TestSilence checks that a zone can leave the questions for every name unanswered.
func TestSilence(t *testing.T) {
	z := Zone(t, "! *. * timeout")
	s := ServeZone(t, z, Options{})
	for _, overTCP := range []bool{false, true} {
		if out, keep := s.respond(t.Context(), query(t, "a.b.example.", codec.TypeTXT), overTCP); out != nil || !keep {
			t.Errorf("%x, %v", out, keep)
		}
	}
	if got := z.Queries(); len(got) != 2 || got[0] != "a.b.example TXT" {
		t.Errorf("asked %q", got)
	}
}

// TestKept checks which answers leave a connection open.
func TestKept(t *testing.T) {
	withEDNS, err := new(codec.Msg).SetQuestion("a.example.", codec.TypeA).SetEdns0(1232, false).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason string
		opts   Options
		want   bool
	}{
		{"an answer", Options{}, true},
		{"a refusal", Options{NoEDNS: true}, true},
		{"a lie", Options{Lie: func([]byte, bool) ([][]byte, bool) { return [][]byte{{1}}, true }}, false},
		{"an answer to one who might lie", Options{Lie: func([]byte, bool) ([][]byte, bool) { return nil, false }}, true},
	} {
		s := Serve(t, "a.example A 192.0.2.1", tt.opts)
		if out, keep := s.respond(t.Context(), withEDNS, true); len(out) != 1 || keep != tt.want {
			t.Errorf("%s: %x, %v", tt.reason, out, keep)
		}
	}
}

// TestRefuseEDNS checks that only a whole query with EDNS is refused, and that the refusal answers it.
func TestRefuseEDNS(t *testing.T) {
	const (
		header   = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00"
		question = "\x01x\x00\x00\x01\x00\x01"
		opt      = "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
	)
	for query, want := range map[string]string{
		header + "\x00\x00" + question:                 "",
		header + "\x00\x01" + question + opt:           "\x12\x34\x81\x01\x00\x01\x00\x00\x00\x00\x00\x00" + question,
		header + "\x00\x02" + question + opt + "\x01y": "",
		header: "",
		"":     "",
	} {
		if got := string(refuseEDNS([]byte(query))); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
}

// TestLowerCase checks that only the name changes, even if it is empty and the type behind it looks like letters.
func TestLowerCase(t *testing.T) {
	const header = "AA\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	for answer, want := range map[string]string{"\x01X\x02Yz\x00AA\x00\x01": "\x01x\x02yz\x00AA\x00\x01", "\x00AA\x00\x01": "\x00AA\x00\x01"} {
		got := []byte(header + answer)
		(&Server{opts: Options{LowerCase: true}}).change(got)
		if string(got) != header+want {
			t.Errorf("%q, want %q", got, header+want)
		}
	}
}

// TestAddr checks that a server listens where it is told to, and that a second one of the same address ends its test.
func TestAddr(t *testing.T) {
	s := Serve(t, "a.example A 192.0.2.1", Options{Addr: "127.0.53.1:0"})
	if !strings.HasPrefix(s.Addr(), "127.0.53.1:") || address(exchange(t, s, "udp", "a.example.", false)) != "192.0.2.1" {
		t.Errorf("listens on %s", s.Addr())
	}
	if s := Serve(t, "", Options{}); !strings.HasPrefix(s.Addr(), "127.0.0.1:") {
		t.Errorf("listens on %s", s.Addr())
	}
	said := recorder.Run(t, func(tb testing.TB) { t.Error(Serve(tb, "", Options{Addr: s.Addr()}).Addr()) })
	if !strings.HasPrefix(said, "fatal: zone: ") {
		t.Errorf("said %q", said)
	}
}

// TestTLS checks that with TLS only TCP is encrypted.
func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	s := Serve(t, "a.example A 192.0.2.1", Options{TLS: &tls.Config{Certificates: web.TLS.Certificates}})
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	c := &codec.Client{Net: "tcp-tls", Timeout: 5 * time.Second, TLSConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
	in, _, err := c.Exchange(new(codec.Msg).SetQuestion("a.example.", codec.TypeA), s.Addr())
	if err != nil || address(in) != "192.0.2.1" {
		t.Errorf("%v, %v", in, err)
	}
	if got := address(exchange(t, s, "udp", "a.example.", false)); got != "192.0.2.1" {
		t.Errorf("over UDP: %s", got)
	}
}

// TestClose checks that a server that cannot be closed fails its test.
func TestClose(t *testing.T) {
	said := recorder.Run(t, func(tb testing.TB) {
		s := Serve(tb, "", Options{})
		udp, tcp, err := zone.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		good := s.Server
		t.Cleanup(func() { _ = good.Close() })
		s.Server = zone.Serve(udp, tcp, s.respond)
		tcp.Close()
	})
	if !strings.HasPrefix(said, "error: close tcp ") {
		t.Errorf("said %q", said)
	}
}
