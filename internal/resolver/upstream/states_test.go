package upstream

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
	"sekimori/internal/testkit/nameserver"
)

// TestStandings has each state of a server, and how it is ranked.
func TestStandings(t *testing.T) {
	for _, tt := range []struct {
		why   string
		state *health
		want  standing
	}{
		{"new", &health{}, standingGood},
		{"a failure too few", &health{failures: maxFailures - 1}, standingGood},
		{"as many failures as make it doubtful", &health{failures: maxFailures}, standingDoubtful},
		{"it was silent", &health{suspect: true}, standingDoubtful},
		{"a probe was silent too", &health{suspect: true, down: true}, standingDown},
		{"down, whatever else", &health{down: true, failures: maxFailures}, standingDown},
	} {
		if got, _ := tt.state.standing(); got != tt.want {
			t.Errorf("%s: %d", tt.why, got)
		}
	}
}

// TestHealthEvents has what each event makes of a server that is suspect, down and has failed.
func TestHealthEvents(t *testing.T) {
	type state struct {
		failures      int
		suspect, down bool
		heard         time.Duration
	}
	for _, tt := range []struct {
		why   string
		event func(h *health)
		want  state
	}{
		{"a good answer", func(h *health) { h.good(time.Millisecond, 9) }, state{0, false, false, 9}},
		{"a useless answer", func(h *health) { h.spoke(9, false) }, state{4, false, false, 9}},
		{"an answer to a probe", func(h *health) { h.spoke(9, true) }, state{3, false, false, 9}},
		{"no answer", func(h *health) { h.silent() }, state{4, true, true, 5}},
		{"no answer to a probe that began after the last one", func(h *health) { h.unreachable(6) }, state{3, true, true, 5}},
		{"no answer to a probe that began when it came", func(h *health) { h.unreachable(5) }, state{3, true, false, 5}},
		{"no answer to a probe that began before", func(h *health) { h.unreachable(4) }, state{3, true, false, 5}},
	} {
		h := health{failures: 3, suspect: true, down: true, heard: 5}
		tt.event(&h)
		if got := (state{h.failures, h.suspect, h.down, h.heard}); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.why, got, tt.want)
		}
	}
	full := health{failures: maxFailures}
	full.silent()
	full.spoke(1, false)
	if full.failures != maxFailures {
		t.Errorf("%d failures", full.failures)
	}
	for _, tt := range []struct{ srtt, took, want time.Duration }{{0, 80, 80}, {0, 0, 1}, {80, 160, 90}, {80, 0, 70}} {
		h := health{srtt: tt.srtt}
		if h.good(tt.took, 1); h.srtt != tt.want {
			t.Errorf("an answer after %d: %d becomes %d", tt.took, tt.srtt, h.srtt)
		}
	}
	for took, want := range map[time.Duration]time.Duration{79: 80, 80: 80, 88: 81} {
		h := health{srtt: 80}
		if h.overdue(took); h.srtt != want {
			t.Errorf("no answer after %d: %d", took, h.srtt)
		}
	}
}

// TestProbesAndSamples has each state in which a probe or a sample begins or ends.
func TestProbesAndSamples(t *testing.T) {
	const now = time.Hour
	for _, tt := range []struct {
		why   string
		state *health
		begin bool
	}{
		{"the first", &health{}, true}, {"one is under way", &health{probing: true}, false},
		{"shortly after another", &health{probed: now - probePause + 1}, false}, {"after the pause", &health{probed: now - probePause}, true},
		{"shortly after another, and it was silent since", &health{probed: now - 1, suspect: true}, true},
	} {
		h := tt.state
		if got := h.beginProbe(now); got != tt.begin || got && (!h.probing || h.probed != now) {
			t.Errorf("probe, %s: %t", tt.why, got)
		}
	}
	for _, tt := range []struct {
		suspect, down, ends bool
	}{{false, false, true}, {true, false, false}, {false, true, false}, {true, true, false}} {
		h := health{probing: true, suspect: tt.suspect, down: tt.down}
		if got := h.endProbe(); got != tt.ends || h.probing == tt.ends {
			t.Errorf("suspect %t, down %t: the probes end %t", tt.suspect, tt.down, got)
		}
	}
	for _, tt := range []struct {
		why   string
		state *health
		begin bool
	}{
		{"heard a moment too lately", &health{heard: now - sampleEvery + 1}, false}, {"not heard for a while", &health{heard: now - sampleEvery}, true},
		{"sampled a moment too lately", &health{sampled: now - sampleEvery + 1}, false}, {"not sampled for a while", &health{sampled: now - sampleEvery}, true},
		{"failed, a moment too lately", &health{failures: 1, heard: now - retryEvery + 1}, false}, {"failed", &health{failures: 1, heard: now - retryEvery}, true},
		{"down", &health{down: true}, false}, {"suspect", &health{suspect: true}, false},
	} {
		h := tt.state
		before := h.sampled
		if got := h.beginSample(now); got != tt.begin || got != (h.sampled == now && before != now) {
			t.Errorf("sample, %s: %t", tt.why, got)
		}
	}
}

// TestDeadline: an exchange ends after the client's timeout, or with its context if that is earlier.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{timeout: time.Second}
		for limit, want := range map[time.Duration]time.Duration{0: time.Second, time.Millisecond: time.Millisecond, time.Minute: time.Second} {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if limit > 0 {
				ctx, cancel = context.WithTimeout(ctx, limit)
			}
			if got := time.Until(c.deadline(ctx)); got != want {
				t.Errorf("within %v: %v", limit, got)
			}
			cancel()
		}
	})
}

// TestClosedClient: a client that is closed samples and probes nobody, and holds no socket.
func TestClosedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		c, dialed := scripted(t, ClientConfig{Servers: []string{"192.0.2.1", "192.0.2.2"}, Metrics: m.Metrics}, func(string, string, []byte, net.Conn) {})
		c.Close()
		servers := c.list()
		time.Sleep(sampleEvery)
		q, err := dnswire.NewQuestion("x.example", dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		c.sample(servers[0], q)
		c.probe(servers[1])
		synctest.Wait()
		if len(c.slots) != 0 || len(dialed()) != 0 {
			t.Errorf("%d sockets are held, dialed %q", len(c.slots), dialed())
		}
	})
}

// TestProbeEndsWithClient: a probe that Close ends says nothing about the server, and is not counted.
func TestProbeEndsWithClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		c, _ := scripted(t, ClientConfig{Servers: []string{"192.0.2.1"}, Metrics: m.Metrics, Timeout: time.Second}, func(_, _ string, _ []byte, conn net.Conn) {
			time.Sleep(time.Minute) // no answer
		})
		c.probe(c.list()[0])
		synctest.Wait()
		c.Close()
		if at, _ := c.list()[0].health.standing(); at != standingGood {
			t.Errorf("standing %d", at)
		}
		for name, value := range m.Values(t) {
			if value != 0 && len(name) >= len("probes") && name[:len("probes")] == "probes" {
				t.Errorf("%s is %v", name, value)
			}
		}
		time.Sleep(2 * time.Minute)
	})
}

// TestCountedServers: the counts name each server as configured, whether it is up, and its time.
func TestCountedServers(t *testing.T) {
	m := testMetrics(t)
	c, _ := scripted(t, ClientConfig{Servers: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, Metrics: m.Metrics}, nameserver.Script(nil))
	c.list()[0].health.good(time.Second, 1)
	c.list()[1].health.suspect = true
	c.list()[2].health.down = true
	got := m.Counts().Servers
	want := []Standing{{"192.0.2.1:53", true, time.Second}, {"192.0.2.2:53", true, 0}, {"192.0.2.3:53", false, 0}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("server %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

// TestProbesEndAtOnce: when a server answers a probe, the series is over, so that the next silence begins another.
func TestProbesEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dialed := scripted(t, ClientConfig{}, func(_, _ string, query []byte, conn net.Conn) { _, _ = conn.Write(truth(t, query)) })
		s := c.list()[0]
		s.health.silent()
		c.probe(s)
		synctest.Wait()
		s.health.mu.Lock()
		defer s.health.mu.Unlock()
		if s.health.probing || s.health.suspect || len(dialed()) != 1 {
			t.Errorf("%+v after %q", &s.health, dialed())
		}
	})
}

// TestShow: the metrics show the servers of the newest client, and those of the one before when it is shown again.
func TestShow(t *testing.T) {
	m := testMetrics(t)
	client := func(addr string) *Client {
		c, _ := scripted(t, ClientConfig{Servers: []string{addr}, Metrics: m.Metrics}, nameserver.Script(nil))
		return c
	}
	shown := func(want string) {
		t.Helper()
		if got := m.Counts().Servers; len(got) != 1 || got[0].Address != want {
			t.Errorf("%+v, want %s", got, want)
		}
	}
	old := client("192.0.2.1")
	shown("192.0.2.1:53")
	client("192.0.2.2")
	shown("192.0.2.2:53")
	old.Show()
	shown("192.0.2.1:53")
}

// TestEndedBefore: a lookup whose time is over before it begins asks nobody, and says why.
func TestEndedBefore(t *testing.T) {
	c, dialed := scripted(t, ClientConfig{}, nameserver.Script(nil))
	why := errors.New("the message was given up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := c.Lookup(ctx, "x.example", dns.TypeA); !errors.Is(err, why) || len(dialed()) != 0 {
		t.Errorf("%v, dialed %q", err, dialed())
	}
}
