package nameserver

import (
	"context"
	"errors"
	"fmt"
	"io"
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
		if _, err := conn.Write([]byte("more")); err != nil {
			t.Errorf("%s %s: the server did not wait for the client: %v", tt.network, tt.name, err)
		}
		conn.Close()
		var m codec.Msg
		if err != nil || m.Unpack(wire) != nil || m.Rcode != 0 || len(m.Answer) != 1 || m.Answer[0].Header().Name != tt.want {
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

// TestScriptOfNobody checks that the script is not called for a client that goes before its query is complete.
func TestScriptOfNobody(t *testing.T) {
	for _, tt := range []struct{ network, sent string }{{"udp", ""}, {"tcp", ""}, {"tcp", "\x00"}, {"tcp", "\x00\x03ab"}} {
		synctest.Test(t, func(t *testing.T) {
			dial, _ := Script(func(string, string, []byte, net.Conn) { t.Errorf("%s, %q: no query came", tt.network, tt.sent) }).Dialer()
			conn, err := dial(t.Context(), tt.network, "192.0.2.53:53")
			if err != nil {
				t.Fatal(err)
			}
			if tt.sent != "" {
				_, _ = conn.Write([]byte(tt.sent))
			}
			conn.Close()
		})
	}
}

// TestLongQuery checks how much of a query reaches the script.
func TestLongQuery(t *testing.T) {
	for _, tt := range []struct {
		network    string
		sent, want int
	}{{"udp", 4096, 4096}, {"udp", 4097, 4096}, {"tcp", 1<<16 - 1, 1<<16 - 1}} {
		got := make(chan int, 1)
		dial, _ := Script(func(_, _ string, query []byte, _ net.Conn) { got <- len(query) }).Dialer()
		conn, err := dial(t.Context(), tt.network, "192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		send(tt.network, conn, make([]byte, tt.sent))
		if n := <-got; n != tt.want {
			t.Errorf("%s: %d octets of %d, want %d", tt.network, n, tt.sent, tt.want)
		}
		conn.Close()
	}
}

func TestReadFramed(t *testing.T) {
	for _, tt := range []struct {
		sent, want string
		err        error
	}{
		{"", "", io.EOF}, {"\x00", "", io.ErrUnexpectedEOF}, {"\x00\x03", "", io.EOF}, {"\x00\x03ab", "", io.ErrUnexpectedEOF},
		{"\x00\x00", "", nil}, {"\x00\x03abc", "abc", nil}, {"\x00\x03abcd", "abc", nil},
		{"\x01\x00" + strings.Repeat("a", 256), strings.Repeat("a", 256), nil},
	} {
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write([]byte(tt.sent))
			far.Close()
		}()
		got, err := ReadFramed(near)
		near.Close()
		if !errors.Is(err, tt.err) || err == nil && string(got) != tt.want {
			t.Errorf("%q: %q, %v", tt.sent, got, err)
		}
	}
}

// TestMessage compares a message with what RFC 1035 wants, octet by octet.
func TestMessage(t *testing.T) {
	const (
		header    = "\x12\x34" + "\x80\x23" + "\x00\x01\x00\x02\x00\x01\x00\x00" // QR; AD and NXDOMAIN
		question  = "\x01x\x07example\x00" + "\x00\x01\x00\x01"
		answer    = "\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01" + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x02"
		authority = "\xc0\x0e\x00\x02\x00\x01\x00\x00\x01\x2c\x00\x05\x02ns\xc0\x0e"
	)
	sections := "x.example A 192.0.2.1\nx.example 60 A 192.0.2.2\n\nexample NS ns.example"
	if got := string(Message(t, 0x1234, "x.example.", dns.TypeA, codec.RcodeNameError, sections)); got != header+question+answer+authority {
		t.Errorf("%q", got)
	}
	if got := string(Respond(t, []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"+question), codec.RcodeNameError, sections)); got != header+question+answer+authority {
		t.Errorf("in response: %q", got)
	}
}

// TestFunc checks that a Func knows nothing beforehand.
func TestFunc(t *testing.T) {
	f := Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		return dns.Answer{Canonical: name, Type: typ}, errors.ErrUnsupported
	})
	if a, err := f.Lookup(t.Context(), "a.example", dns.TypeMX); a.Canonical != "a.example" || a.Type != dns.TypeMX || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%+v, %v", a, err)
	}
	if _, ok := f.Peek("a.example", dns.TypeMX); ok || f.Expect(t.Context(), "a.example", dns.TypeMX) || f.Queued() {
		t.Error("a Func knew an answer")
	}
}

// TestBadInput checks that the helpers make the test fail if their input is wrong.
func TestBadInput(t *testing.T) {
	const question = "\x01x\x00\x00\x01\x00\x01"
	respondNothing := func(query string) func(testing.TB) {
		return func(tb testing.TB) {
			if b := Respond(tb, []byte(query), 0, ""); b != nil {
				tb.Errorf("and yet a response: %x", b)
			}
		}
	}
	for _, tt := range []struct {
		reason string
		do     func(testing.TB)
		want   string
	}{
		{"no zone line", func(tb testing.TB) { Message(tb, 1, "x.example.", dns.TypeA, 0, "x.example A nothing") }, "fatal: "},
		{"no name", func(tb testing.TB) { Message(tb, 1, "x..example.", dns.TypeA, 0, "") }, "fatal: "},
		{"no zone", func(tb testing.TB) { Zone(tb, "nonsense") }, "fatal: zone: "},
		{"no query", respondNothing("\x01\x02"), "error: query 0102"},
		{"no question", respondNothing("\x01\x02\x01\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00"), "error: query 010201"},
		{"two questions", respondNothing("\x01\x02\x01\x00\x00\x02" + "\x00\x00\x00\x00\x00\x00" + question + question), "error: query 010201"},
		{"a question and rubbish", respondNothing("\x01\x02\x01\x00\x00\x01" + "\x00\x00\x00\x01\x00\x00" + question + "\xc0"), "error: query 010201"},
		{"no address of ours", func(tb testing.TB) { Serve(tb, "", Options{Addr: "192.0.2.1:0"}) }, "fatal: zone: listen "},
	} {
		if said := recorder.Run(t, tt.do); !strings.HasPrefix(said, tt.want) || strings.Contains(said, "\n") {
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

// TestSeries checks which series must have been named: every counter that has risen, and of the gauges those that do not
// depend on the time or on the cache.
func TestSeries(t *testing.T) {
	s := NewSeries()
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sekimori_dns_queries_total"}, []string{"result", "type"})
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sekimori_dns_query_duration_seconds"})
	s.MustRegister(vec, duration)
	vec.WithLabelValues("noerror", "A").Add(2)
	vec.WithLabelValues("refused", "A").Add(0)
	for range 3 {
		duration.Observe(0.5)
	}
	for i, name := range []string{"cache_entries", "cache_bytes", "upstream_up"} {
		gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sekimori_dns_" + name}, []string{"kind"})
		s.MustRegister(gauge)
		gauge.WithLabelValues("x").Set(float64(4 + i))
	}
	for _, tt := range []struct {
		reason string
		want   map[string]float64
		said   string
	}{
		{"as it is", map[string]float64{"queries A noerror": 2}, ""},
		{"all as it is", map[string]float64{"queries A noerror": 2, "queries A refused": 0, "query_duration_seconds": 3,
			"cache_entries x": 4, "cache_bytes x": 5, "upstream_up x": 6}, ""},
		{"another number", map[string]float64{"queries A noerror": 1}, "error: queries A noerror is 2, want 1"},
		{"one not named has risen", nil, "error: queries A noerror is 2, want 0"},
		{"no such series", map[string]float64{"queries A noerror": 2, "hits": 0}, "error: there is no series hits"},
		{"one that was named has not risen", map[string]float64{"queries A noerror": 2, "queries A refused": 1}, "error: queries A refused is 0, want 1"},
		{"other numbers of what need not be named", map[string]float64{"queries A noerror": 2, "query_duration_seconds": 1,
			"cache_entries x": 1, "cache_bytes x": 1, "upstream_up x": 1}, "error: cache_bytes x is 5, want 1\nerror: cache_entries x is 4, want 1\n" +
			"error: query_duration_seconds is 3, want 1\nerror: upstream_up x is 6, want 1"},
	} {
		if said := recorder.Run(t, func(tb testing.TB) { s.Expect(tb, tt.want) }); said != tt.said {
			t.Errorf("%s: %q, want %q", tt.reason, said, tt.said)
		}
	}
	s.MustRegister(broken{})
	said := recorder.Run(t, func(tb testing.TB) { s.Expect(tb, map[string]float64{"queries A noerror": 2}) })
	if !strings.HasPrefix(said, "fatal: ") || !strings.Contains(said, "broken") {
		t.Errorf("with a series that cannot be collected: %q", said)
	}
}

// broken is a collector whose series has no value.
type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.NewInvalidMetric(prometheus.NewDesc("x", "", nil, nil), errors.New("broken"))
}
