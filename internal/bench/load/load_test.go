package load

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/bench/traffic"
	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/daemon"
)

// small returns options for a small corpus with many kinds of mail. It has all outcomes, DMARC
// policies and kinds of signatures that package traffic can make, but not all SPF records.
func small() traffic.Options {
	o := traffic.Default()
	o.Messages, o.PerSession, o.Domains = 120, 4, 30
	o.Sizes = mix("2KB=8,20KB=2,200KB=1")
	o.Signatures = mix("rsa=1,ed25519=1,two=1,five=1,none=1")
	o.SPF = mix("0=1,1=1,5=1,10=1")
	o.Policies = mix("reject=1,quarantine=1,none=1,absent=1")
	o.Outcomes = mix("pass=2,fail=1,spoof=1")
	return o
}

// mix parses a mix as in the command-line flags. It panics if the text is invalid.
func mix(text string) (m traffic.Mix) {
	if err := m.Set(text); err != nil {
		panic(err)
	}
	return m
}

// testKeys makes the keys of seed 1, once for all tests because that takes long.
var testKeys = sync.OnceValues(func() (traffic.Keys, error) { return traffic.NewKeys(1) })

func newCorpus(t *testing.T, o traffic.Options) *traffic.Corpus {
	t.Helper()
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	c, err := keys.Corpus(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts sekimori with the default configuration. server is its name server.
func start(t *testing.T, server *traffic.DNSServer) Target {
	t.Helper()
	cfg := daemon.Config(server.Addr())
	cfg.AuthservID, cfg.DNS.Cache = "mx.load.example", config.Default().DNS.Cache
	cfg.Limits.ShownWait = config.Duration(20 * time.Second) // a busy machine of tests must not leave out a result
	target, err := ParseTarget(t.Context(), "inet:"+daemon.Start(t, cfg).Addr, false)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func serve(t *testing.T, z *zone.Zone, o traffic.DNSOptions) *traffic.DNSServer {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	s, err := traffic.Serve(z, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestEveryVerdictIsAsExpected(t *testing.T) {
	corpus := newCorpus(t, small())
	server := serve(t, corpus.Zone, traffic.DNSOptions{})
	target := start(t, server)
	r, err := Run(t.Context(), corpus, Options{
		Milters: []Target{target}, Connections: 8, Warmup: 10, Timeout: 20 * time.Second,
		Check: CheckAll, PIDs: []int{os.Getpid()}, Queries: server.Queries,
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Messages != 120 {
		t.Errorf("not as expected:\n%s", &out)
	}
	seen := map[traffic.Action]bool{}
	results := map[string]bool{}
	for _, v := range r.Verdicts {
		seen[v.Want.Action] = true
		results[v.Want.DKIM+v.Want.SPF+v.Want.DMARC] = true
	}
	if !seen[traffic.Deliver] || !seen[traffic.Quarantine] || !seen[traffic.Reject] || len(results) < 6 {
		t.Errorf("a corpus of everything lacks something:\n%s", &out)
	}
	if r.Server == nil || r.Server.CPUPerMessage <= 0 || r.Server.PeakBytes < 1<<20 || r.DNSQueries == 0 || r.PerSecond <= 0 {
		t.Errorf("%+v %+v", r, r.Server)
	}
	for _, want := range []string{"messages", "end of message", "p99", "CPU/message", "queries", "unexpected"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, &out)
		}
	}
	if raw, err := json.Marshal(r); err != nil || !bytes.Contains(raw, []byte(`"cpu_per_message_ms":`)) {
		t.Errorf("%s %v", raw, err)
	}
}

func TestWrongVerdictsAreFound(t *testing.T) {
	o := small()
	o.Outcomes, o.Signatures, o.Messages = mix("pass"), mix("rsa"), 8
	corpus := newCorpus(t, o)
	for i := range corpus.Sessions {
		for j := range corpus.Sessions[i].Messages {
			m := &corpus.Sessions[i].Messages[j]
			m.Header = slices.Clone(m.Header)
			m.Header[0].Value = strings.Replace(m.Header[0].Value, "bh=", "bh=AAAA", 1)
		}
	}
	target := start(t, serve(t, corpus.Zone, traffic.DNSOptions{}))
	r, err := Run(t.Context(), corpus, Options{Milters: []Target{target}, Connections: 2, Check: CheckResults})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() || r.Mismatches != 8 {
		t.Errorf("%d mismatches: %+v", r.Mismatches, r.Verdicts)
	}
}

// TestDelayAndLoss checks that the results are right with a slow name server. It also checks that a
// message takes at least as long as the round trips of the SMTP client.
func TestDelayAndLoss(t *testing.T) {
	o := small()
	o.Messages, o.Outcomes = 12, mix("pass")
	corpus := newCorpus(t, o)
	server := serve(t, corpus.Zone, traffic.DNSOptions{Delay: 3 * time.Millisecond, Seed: 7})
	r, err := Run(t.Context(), corpus, Options{
		Milters: []Target{start(t, server)}, Connections: 4, Check: CheckAll, RoundTrip: 2 * time.Millisecond, Queries: server.Queries,
	})
	if err != nil || !r.OK() {
		t.Fatalf("%v %+v", err, r)
	}
	if r.Message.P50 < 6 { // one round trip of 2 ms after each of MAIL, RCPT and DATA
		t.Errorf("a message took %v ms with three round trips of 2 ms", r.Message.P50)
	}
}

// TestChain sends mail through two daemons, one after the other. The outcomes must be as expected.
func TestChain(t *testing.T) {
	o := small()
	o.Messages = 40
	corpus := newCorpus(t, o)
	server := serve(t, corpus.Zone, traffic.DNSOptions{})
	first, second := start(t, server), start(t, server)
	r, err := Run(t.Context(), corpus, Options{Milters: []Target{first, second}, Connections: 4, Check: CheckAll})
	if err != nil || !r.OK() {
		t.Errorf("%v %+v", err, r)
	}
}

func TestServerGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target, err := ParseTarget(t.Context(), l.Addr().String(), false)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	corpus := newCorpus(t, small())
	for _, warmup := range []int{0, 5} {
		if r, err := Run(t.Context(), corpus, Options{Milters: []Target{target}, Connections: 2, Warmup: warmup, Check: CheckNone}); err == nil {
			t.Errorf("a run without a milter succeeded: %+v", r)
		}
	}
	if err := Probe(target, time.Second); err == nil {
		t.Error("a probe without a milter succeeded")
	}
}

// fakeMilter is a milter that answers the negotiation and then sends the answer in script for each
// event that it gets.
func fakeMilter(t *testing.T, script map[byte]string) Target {
	t.Helper()
	return heardMilter(t, script, func(byte, []byte) {})
}

// heardMilter is a fakeMilter that tells heard of each frame before it answers.
func heardMilter(t *testing.T, script map[byte]string, heard func(cmd byte, data []byte)) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { play(c, script, heard) })
		}
	})
	target, err := ParseTarget(t.Context(), l.Addr().String(), false)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func play(c net.Conn, script map[byte]string, heard func(cmd byte, data []byte)) {
	defer c.Close()
	for {
		var head [5]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		data := make([]byte, (int(head[1])<<16|int(head[2])<<8|int(head[3]))-1)
		if _, err := io.ReadFull(c, data); err != nil {
			return
		}
		heard(head[4], data)
		answer, ok := script[head[4]]
		switch {
		case head[4] == 'O' && !ok:
			answer = "\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00"
		case head[4] == 'D', head[4] == 'A', head[4] == 'Q':
			continue
		case !ok:
			answer = "\x00\x00\x00\x01c"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func TestAnswersBeforeTheEnd(t *testing.T) {
	const (
		accept   = "\x00\x00\x00\x01a"
		tempfail = "\x00\x00\x00\x01t"
		reject   = "\x00\x00\x00\x01r"
		discard  = "\x00\x00\x00\x01d"
		skip     = "\x00\x00\x00\x01s"
	)
	o := small()
	o.Messages = 4
	corpus := newCorpus(t, o)
	for _, tc := range []struct {
		why    string
		script map[byte]string
		want   traffic.Action
		fails  bool
	}{
		{"accepted at connect: nothing is shown", map[byte]string{'C': accept}, traffic.Deliver, false},
		{"accepted at HELO", map[byte]string{'H': accept}, traffic.Deliver, false},
		{"refused at connect", map[byte]string{'C': reject}, "", true},
		{"deferred at MAIL", map[byte]string{'M': tempfail}, traffic.Tempfail, false},
		{"refused at RCPT", map[byte]string{'R': reject}, traffic.Reject, false},
		{"discarded at DATA", map[byte]string{'T': discard}, traffic.Discard, false},
		{"refused at a header", map[byte]string{'L': reject}, traffic.Reject, false},
		{"accepted at end of header", map[byte]string{'N': accept}, traffic.Deliver, false},
		{"no more body wanted", map[byte]string{'B': skip}, traffic.Deliver, false},
		{"refused in the body", map[byte]string{'B': reject}, traffic.Reject, false},
		{"refused at the end", map[byte]string{'E': reject}, traffic.Reject, false},
		{"nonsense", map[byte]string{'E': "\x00\x00\x00\x01?"}, "", true},
	} {
		r, err := Run(t.Context(), corpus, Options{Milters: []Target{fakeMilter(t, tc.script)}, Connections: 1, Check: CheckNone})
		if tc.fails {
			if err == nil {
				t.Errorf("%s: %+v", tc.why, r)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.why, err)
			continue
		}
		for _, v := range r.Verdicts {
			if v.Got != (traffic.Outcome{Action: tc.want}) {
				t.Errorf("%s: %s", tc.why, v.Got)
			}
		}
		if r.Messages != 4 || r.Errors != 0 {
			t.Errorf("%s: %d messages, %d errors: %s", tc.why, r.Messages, r.Errors, r.LastError)
		}
	}
}
