package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	codec "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/recorder"
)

func query(t *testing.T, name string, typ uint16) []byte {
	t.Helper()
	wire, err := new(codec.Msg).SetQuestion(name, typ).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// TestScript checks, over UDP and TCP, that the script gets the query and that the client gets the
// script's answer.
func TestScript(t *testing.T) {
	dial, dialed := Script(func(network, _ string, query []byte, conn net.Conn) {
		if !AsksRoot(t, query, conn) {
			send(network, conn, Respond(t, query, 0, QuestionName(query)+" A 192.0.2.1\n\nexample NS ns.example"))
		}
	}).Dialer()
	for _, tt := range []struct{ network, name, want string }{
		{"udp", "X.example.", "x.example."},
		{"tcp", "y.example.", "y.example."},
		{"udp", ".", "."},
	} {
		conn, err := dial(t.Context(), tt.network, "192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		send(tt.network, conn, query(t, tt.name, codec.TypeA))
		wire, err := read(tt.network, conn)
		conn.Close()
		var m codec.Msg
		if err != nil || m.Unpack(wire) != nil || len(m.Answer) != 1 || m.Answer[0].Header().Name != tt.want {
			t.Errorf("%s %s: %v, %v", tt.network, tt.name, m, err)
		}
		if tt.name != "." && len(m.Ns) != 1 {
			t.Errorf("%s %s: authority %v", tt.network, tt.name, m.Ns)
		}
	}
	if want := []string{"udp 192.0.2.53:53", "tcp 192.0.2.53:53", "udp 192.0.2.53:53"}; !slices.Equal(dialed(), want) {
		t.Errorf("dialed %q", dialed())
	}
}

func TestScriptOfNobody(t *testing.T) {
	dial, _ := Script(func(string, string, []byte, net.Conn) { t.Error("no query came") }).Dialer()
	for _, network := range []string{"udp", "tcp"} {
		conn, err := dial(t.Context(), network, "192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

// TestBadInput checks that the helpers make the test fail if their input is wrong.
func TestBadInput(t *testing.T) {
	for _, tt := range []struct {
		reason string
		do     func(testing.TB)
		want   string
	}{
		{"no zone line", func(tb testing.TB) { Message(tb, 1, "x.example.", dns.TypeA, 0, "x.example A nothing") }, "fatal: "},
		{"no name", func(tb testing.TB) { Message(tb, 1, "x..example.", dns.TypeA, 0, "") }, "fatal: "},
		{"no zone", func(tb testing.TB) { Zone(tb, "nonsense") }, "fatal: zone: "},
		{"no query", func(tb testing.TB) { Respond(tb, []byte{1, 2}, 0, "") }, "error: query 0102"},
	} {
		if said := recorder.Run(t, tt.do); !strings.HasPrefix(said, tt.want) {
			t.Errorf("%s: %q", tt.reason, said)
		}
	}
}

func TestServe(t *testing.T) {
	var s *Server
	said := recorder.Run(t, func(tb testing.TB) {
		s = Serve(tb, "x.example A 192.0.2.1", Options{})
		conn, err := net.Dial("udp", s.Addr())
		if err != nil {
			tb.Fatal(err)
		}
		defer conn.Close()
		send("udp", conn, query(t, "x.example.", codec.TypeA))
		if wire, err := read("udp", conn); err != nil || !strings.HasSuffix(string(wire), "\xc0\x00\x02\x01") {
			tb.Errorf("%x, %v", wire, err)
		}
	})
	if said != "" {
		t.Error(said)
	}
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Error("the server outlives its test")
	}
}

func TestShow(t *testing.T) {
	for _, tt := range []struct {
		answer dns.Answer
		err    error
		want   string
	}{
		{err: &dns.Error{Kind: dns.KindRefused}, want: "refused"},
		{err: fmt.Errorf("x: %w", &dns.Error{Kind: dns.KindTimeout}), want: "timeout"},
		{err: errors.New("x"), want: "not a dns.Error: x"},
		{answer: dns.Answer{Status: dns.NXDomain, Canonical: "a", TTL: time.Minute}, want: "NXDOMAIN a 1m0s"},
		{answer: dns.Answer{Canonical: "a", Type: dns.TypeA, Records: []dns.Record{{Addr: netip.MustParseAddr("::1")}}}, want: "NOERROR a 0s ::1"},
		{answer: dns.Answer{Canonical: "a", Type: dns.TypeMX, Records: []dns.Record{{Preference: 1, Host: "b"}}}, want: "NOERROR a 0s 1:b"},
		{answer: dns.Answer{Canonical: "a", Type: dns.TypeTXT, Records: []dns.Record{{Text: "b c"}, {}}}, want: `NOERROR a 0s "b c" ""`},
		{answer: dns.Answer{Canonical: "a", Type: dns.TypePTR, Records: []dns.Record{{Host: "b"}}}, want: "NOERROR a 0s b"},
	} {
		if got := Show(tt.answer, tt.err); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

func TestSeries(t *testing.T) {
	s := NewSeries()
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sekimori_dns_queries_total"}, []string{"result", "type"})
	s.MustRegister(vec)
	vec.WithLabelValues("noerror", "A").Add(2)
	for _, tt := range []struct {
		reason string
		want   map[string]float64
		said   string
	}{
		{"as it is", map[string]float64{"queries A noerror": 2}, ""},
		{"another number", map[string]float64{"queries A noerror": 1}, "error: queries A noerror is 2, want 1"},
		{"one not named has risen", nil, "error: queries A noerror is 2, want 0"},
		{"no such series", map[string]float64{"queries A noerror": 2, "hits": 0}, "error: there is no series hits"},
	} {
		if said := recorder.Run(t, func(tb testing.TB) { s.Expect(tb, tt.want) }); said != tt.said {
			t.Errorf("%s: %q, want %q", tt.reason, said, tt.said)
		}
	}
}

// TestAskHostile checks that AskHostile fails for a resolver that returns the forged address, and
// for one that takes too long.
func TestAskHostile(t *testing.T) {
	for _, tt := range []struct {
		reason string
		addr   string
		wait   time.Duration
		want   string
	}{
		{"truth in time", "192.0.2.1", time.Second, ""},
		{"a lie", lie, time.Second, "error: a lie was believed"},
		{"too late", "192.0.2.1", 10*time.Second + 1, "error: a lookup took 10.000000001s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) {
				time.Sleep(tt.wait)
				return dns.Answer{Records: []dns.Record{{Addr: netip.MustParseAddr(tt.addr)}}}, nil
			})
			if said := recorder.Run(t, func(tb testing.TB) { ask(tb, r, "a.example", dns.TypeA) }); said != tt.want {
				t.Errorf("%s: %q", tt.reason, said)
			}
			if tt.want == "" {
				AskHostile(t, r)
			}
		})
	}
}

// TestHostile checks that AskHostile's names lead to answers, refusals, truncated answers and
// silence.
func TestHostile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, _ := Hostile(t).Dialer()
		met := map[string]int{}
		for i := range 150 {
			for _, network := range []string{"udp", "tcp"} {
				conn, err := dial(t.Context(), network, "192.0.2.1:53")
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				send(network, conn, query(t, fmt.Sprintf("n%d.example.", i), codec.TypeA))
				wire, err := read(network, conn)
				conn.Close()
				if err != nil {
					met["no answer"]++
					continue
				}
				met[fmt.Sprint("TC ", wire[2]&BitTruncated != 0)]++
				met[fmt.Sprint("rcode ", wire[3]&15)]++
			}
		}
		for _, want := range []string{"no answer", "TC true", "TC false", "rcode 0", "rcode 1"} {
			if met[want] == 0 {
				t.Errorf("never: %s", want)
			}
		}
	})
}
