package upstream

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// fleet plays several servers. A test can change at any time how they behave.
type fleet struct {
	t     *testing.T
	mu    sync.Mutex
	does  map[string]string        // from the last octet of the address to what the server does
	takes map[string]time.Duration // how long the server waits before it answers
	asked map[string]int           // number of queries; probes are counted under "probe 1" and so on
}

func newFleet(t *testing.T, cfg ClientConfig, n int) (*fleet, *Client) {
	t.Helper()
	f := &fleet{t: t, does: map[string]string{}, takes: map[string]time.Duration{}, asked: map[string]int{}}
	for i := range n {
		cfg.Servers = append(cfg.Servers, fmt.Sprint("192.0.2.", i+1))
	}
	t.Cleanup(func() { time.Sleep(time.Minute) }) // a server may still be waiting to answer
	c, _ := scripted(t, cfg, f.serve)
	return f, c
}

func (f *fleet) serve(_, addr string, query []byte, conn net.Conn) {
	server := strings.TrimSuffix(strings.TrimPrefix(addr, "192.0.2."), ":53")
	probe := nameserver.QuestionName(query) == "."
	f.mu.Lock()
	does, takes := f.does[server], f.takes[server]
	if probe {
		f.asked["probe "+server]++
	} else {
		f.asked[server]++
	}
	f.mu.Unlock()
	time.Sleep(takes)
	switch {
	case does == "dead", does == "deaf" && !probe: // a deaf server has lost its uplink, so it only answers probes
	case probe:
		_, _ = conn.Write(nameserver.Respond(f.t, query, 0, ". NS a.root.example"))
	case does == "servfail":
		_, _ = conn.Write(nameserver.Respond(f.t, query, 2, ""))
	case does == "loop":
		_, _ = conn.Write(nameserver.Respond(f.t, query, 0, nameserver.QuestionName(query)+" CNAME "+nameserver.QuestionName(query)))
	case does == "refused":
		_, _ = conn.Write(nameserver.Respond(f.t, query, 5, ""))
	default:
		_, _ = conn.Write(nameserver.Respond(f.t, query, 0, nameserver.QuestionName(query)+" A 192.0.2.1"))
	}
}

func (f *fleet) set(server, does string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.does[server] = does
}

func (f *fleet) setTakes(server string, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes[server] = d
}

// count returns how many queries (or, for "probe 1", probes) a server got since the last call.
func (f *fleet) count(server string) int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.asked[server]
	f.asked[server] = 0
	return n
}

// ask looks a name up. It returns the server that answered, or the kind of error, and the time that
// the lookup took.
func (f *fleet) ask(c *Client) (server string, took time.Duration) {
	f.t.Helper()
	begin := time.Now()
	a, err := c.Lookup(f.t.Context(), "x.example", dns.TypeA)
	if err != nil {
		return nameserver.Failure(err).Kind.String(), time.Since(begin)
	}
	return strings.TrimSuffix(strings.TrimPrefix(a.Server, "192.0.2."), ":53"), time.Since(begin)
}

// TestDeadServer: a dead server makes only one query slow. After that it only gets probes, at
// growing intervals. When it is back, it is asked first again.
func TestDeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		f, c := newFleet(t, ClientConfig{Metrics: m.Metrics}, 2)
		if s, _ := f.ask(c); s != "1" {
			t.Fatalf("asked %s first", s)
		}
		f.set("1", "dead")
		if s, took := f.ask(c); s != "2" || took != DefaultTimeout {
			t.Errorf("the first to meet it: from %s after %s", s, took)
		}
		f.count("1")
		slow := 0
		for range 6000 { // lasts ten minutes
			if s, took := f.ask(c); s != "2" || took != 0 {
				slow++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if queries, probes := f.count("1"), f.count("probe 1"); slow != 0 || queries != 0 || probes < 18 || probes > 26 {
			t.Errorf("ten minutes: %d slow queries, %d for the dead server and %d probes", slow, queries, probes)
		}
		if up := m.Values(t)["upstream_up 0"]; up != 0 {
			t.Errorf("the metric says %v", up)
		}
		f.set("1", "")
		time.Sleep(maxProbePause + DefaultTimeout)
		if s, took := f.ask(c); s != "1" || took != 0 {
			t.Errorf("it is back: from %s after %s", s, took)
		}
		got := m.Values(t)
		if got["upstream_up 0"] != 1 || got["upstream_up 1"] != 1 || got["probes answered"] != 1 || got["probes silent"] < 18 {
			t.Errorf("metrics %v", got)
		}
		f.count("probe 1")
		time.Sleep(time.Hour)
		if n := f.count("probe 1"); n != 0 {
			t.Errorf("%d probes of a healthy server", n)
		}
	})
}

// TestOneSilenceIsForgiven: a query may have no answer because a packet was lost or the servers of
// the name are silent. The server then answers the probe and keeps its place.
func TestOneSilenceIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFleet(t, ClientConfig{}, 2)
		f.set("1", "deaf")
		if s, _ := f.ask(c); s != "2" {
			t.Fatalf("answered by %s", s)
		}
		f.set("1", "")
		if n := f.count("probe 1"); n != 1 {
			t.Errorf("%d probes", n)
		}
		if s, took := f.ask(c); s != "1" || took != 0 {
			t.Errorf("from %s after %s", s, took)
		}
	})
}

// TestServerOfNoUse: a server may be alive but give no good answers, for example because it lost
// its uplink. It is then asked after the others, and tried again every few seconds.
func TestServerOfNoUse(t *testing.T) {
	for does, slow := range map[string]time.Duration{"deaf": DefaultTimeout, "servfail": 0, "refused": 0} {
		synctest.Test(t, func(t *testing.T) {
			f, c := newFleet(t, ClientConfig{}, 2)
			f.set("1", does)
			for i := range maxFailures {
				if s, took := f.ask(c); s != "2" || took != slow {
					t.Errorf("%s: query %d was answered by %s after %s", does, i, s, took)
				}
				time.Sleep(10 * time.Millisecond)
			}
			f.count("1")
			for range 600 { // lasts a minute
				if s, took := f.ask(c); s != "2" || took != 0 {
					t.Errorf("%s: from %s after %s", does, s, took)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if n := f.count("1"); n < 8 || n > 12 {
				t.Errorf("%s: tried %d times in a minute", does, n)
			}
			f.set("1", "")
			time.Sleep(retryEvery)
			f.ask(c)
			synctest.Wait()
			if s, _ := f.ask(c); s != "1" {
				t.Errorf("%s no more: asked %s", does, s)
			}
		})
	}
}

// TestUnusableAnswersAreAnswers: after a permanent failure, no other server is asked. Names with
// such failures do not count against the server, even if an attacker publishes many such names.
func TestUnusableAnswersAreAnswers(t *testing.T) {
	for _, hedge := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f, c := newFleet(t, ClientConfig{Hedge: hedge}, 2)
			f.ask(c) // the second server is measured now
			f.set("1", "loop")
			f.count("2")
			for range 2 * maxFailures {
				if got, _ := f.ask(c); got != "loop" {
					t.Errorf("got %s", got)
				}
			}
			f.set("1", "")
			s, _ := f.ask(c)
			synctest.Wait() // a second question would be asked in a goroutine
			if s != "1" || f.count("2") != 0 {
				t.Errorf("asked %s", s)
			}
		})
	}
}

// TestSlowServer: a server that is much slower than another one loses its place until it is fast
// again. Until then it only gets some copies of questions, and no lookup waits for its answers.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		f, c := newFleet(t, ClientConfig{Metrics: m.Metrics}, 2)
		run := func(d time.Duration) (fromFirst, all int, longest time.Duration) {
			for range d / (100 * time.Millisecond) {
				s, took := f.ask(c)
				all++
				if s == "1" {
					fromFirst++
				}
				longest = max(longest, took)
				time.Sleep(100 * time.Millisecond)
			}
			return fromFirst, all, longest
		}
		f.setTakes("1", 20*time.Millisecond) // only a little slower, so it must keep its place
		if first, all, _ := run(2 * time.Minute); first != all {
			t.Errorf("%d of %d from the first", first, all)
		}
		if n := f.count("2"); n < 3 || n > 5 {
			t.Errorf("the second was sampled %d times in two minutes", n)
		}
		f.setTakes("1", 500*time.Millisecond)
		if first, _, _ := run(time.Minute); first > 20 {
			t.Errorf("%d slow answers before it lost its place", first)
		}
		if first, _, longest := run(time.Minute); first != 0 || longest != 0 {
			t.Errorf("then %d still came from it, %s the longest", first, longest)
		}
		if rtt := m.Values(t)["upstream_rtt_seconds 0"]; rtt < .05 || rtt > .5 {
			t.Errorf("the metric says %v", rtt)
		}
		f.setTakes("1", 0)
		run(10 * time.Minute)
		if first, all, _ := run(time.Minute); first != all {
			t.Errorf("fast again: %d of %d from the first", first, all)
		}
	})
}

// TestAllServersDown: if all servers are down, questions are sent to all of them, and the first
// answer makes a server good again.
func TestAllServersDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFleet(t, ClientConfig{rounds: 1}, 2)
		f.set("1", "dead")
		f.set("2", "dead")
		for range 5 {
			if s, _ := f.ask(c); s != "timeout" {
				t.Errorf("answered by %s", s)
			}
		}
		f.count("1")
		f.count("2")
		f.ask(c)
		if a, b := f.count("1"), f.count("2"); a != 1 || b != 1 {
			t.Errorf("asked %d and %d times", a, b)
		}
		f.set("2", "")
		f.ask(c)
		if s, took := f.ask(c); s != "2" || took != 0 {
			t.Errorf("one is back: from %s after %s", s, took)
		}
	})
}

func TestOrder(t *testing.T) {
	const ms = time.Millisecond
	cases := []struct {
		reason  string
		servers []*health
		want    string
	}{
		{"as configured", []*health{{}, {}, {}}, "0 1 2"},
		{"a little slower keeps its place", []*health{{srtt: 60 * ms}, {srtt: 10 * ms}, {}}, "0 1 2"},
		{"as slow as may be", []*health{{srtt: 70 * ms}, {srtt: 10 * ms}, {}}, "0 1 2"},
		{"much slower loses its place", []*health{{srtt: 70*ms + 1}, {srtt: 10 * ms}, {}}, "1 2 0"},
		{"fewer than maxFailures failures do not count", []*health{{failures: maxFailures - 1}, {}}, "0 1"},
		{"a server with maxFailures failures is asked last", []*health{{failures: maxFailures}, {srtt: time.Second}, {}}, "1 2 0"},
		{"a suspect server is asked last", []*health{{suspect: true}, {}, {srtt: ms}}, "1 2 0"},
		{"down is not asked", []*health{{down: true}, {failures: maxFailures}, {down: true, srtt: 1}}, "1"},
		{"down is not asked, however slow", []*health{{down: true, srtt: time.Second}, {srtt: 10 * ms}}, "1"},
		{"a suspect server is asked after a slow one, however slow", []*health{{suspect: true, srtt: time.Second}, {srtt: time.Second}, {srtt: 10 * ms}}, "2 1 0"},
		{"unless all are down", []*health{{down: true, srtt: time.Second}, {down: true, srtt: 1}}, "0 1"},
		{"the time of a suspect server does not count", []*health{{srtt: time.Second}, {suspect: true, srtt: 1}}, "0 1"},
	}
	for _, c := range cases {
		client := &Client{}
		var list []*server
		for i, h := range c.servers {
			s := &server{addr: fmt.Sprint(i)}
			s.health.srtt, s.health.failures, s.health.suspect, s.health.down = h.srtt, h.failures, h.suspect, h.down
			list = append(list, s)
		}
		client.servers.Store(&list)
		var got []string
		for _, s := range client.order() {
			got = append(got, s.addr)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
		}
	}
}

// TestProbesDoNotEndTooEarly: if a query has no answer at the moment when the last probe is
// answered, probing must go on.
func TestProbesDoNotEndTooEarly(t *testing.T) {
	h := &health{}
	h.silent()
	if !h.beginProbe(1) || h.beginProbe(1) {
		t.Fatal("want exactly one series of probes after a silent query")
	}
	h.spoke(2, true)
	h.silent()
	if h.beginProbe(3) || h.endProbe() {
		t.Error("the series ended although another query had no answer")
	}
	h.spoke(4, true)
	if !h.endProbe() {
		t.Error("the series does not end")
	}
	h.unreachable(3)
	if h.down {
		t.Error("down, although it answered after the probe began")
	}
}

// TestClientClose: Close ends the probes, and no probe begins after it.
func TestClientClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFleet(t, ClientConfig{}, 2)
		f.set("1", "dead")
		f.ask(c)
		begin := time.Now()
		c.Close()
		if time.Since(begin) != 0 {
			t.Errorf("Close took %s", time.Since(begin))
		}
		f.count("probe 1")
		f.set("2", "dead")
		f.ask(c)
		synctest.Wait() // a probe would be asked in a goroutine
		if n := f.count("probe 1") + f.count("probe 2"); n != 0 {
			t.Errorf("%d probes after Close", n)
		}
		if c.background(func(context.Context) { t.Error("ran") }) {
			t.Error("background work may begin after Close")
		}
	})
}

// TestTrySurvivesPanic: a panic in a goroutine of the client does not end the process, whether anybody is told of it
// or not.
func TestTrySurvivesPanic(t *testing.T) {
	told := make(chan any, 1)
	for _, onPanic := range []func(any){func(p any) { told <- p }, nil} {
		c, err := NewClient(ClientConfig{
			Servers: []string{"192.0.2.1"}, OnPanic: onPanic,
			Dial: func(context.Context, string, string) (net.Conn, error) { panic("boom") },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "malformed" || onPanic != nil && <-told != "boom" {
			t.Errorf("got %s", got)
		}
	}
}
