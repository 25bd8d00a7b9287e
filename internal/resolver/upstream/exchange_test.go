package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
	"sekimori/internal/testkit/nameserver"
)

func scripted(t *testing.T, cfg ClientConfig, s nameserver.Script) (*Client, func() []string) {
	t.Helper()
	dial, dialed := s.Dialer()
	cfg.Dial = dial
	if cfg.Servers == nil {
		cfg.Servers = []string{"192.0.2.53"}
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, dialed
}

const goodA = "x.example A 192.0.2.1"

// TestExchangeSkipsWhatIsNotTheAnswer: packets that do not answer the question are ignored, and the
// answer after them is found.
func TestExchangeSkipsWhatIsNotTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		c, dialed := scripted(t, ClientConfig{Metrics: m.Metrics}, func(_, _ string, query []byte, conn net.Conn) {
			good := nameserver.Respond(t, query, 0, goodA)
			forged := nameserver.Respond(t, query, 0, "x.example A 203.0.113.66")
			wrongID := slices.Clone(forged)
			wrongID[0] ^= 1
			isQuery := slices.Clone(forged)
			isQuery[2] &^= nameserver.BitResponse
			wrongName := slices.Clone(forged)
			wrongName[dnswire.HeaderLen+1] = 'y'
			for _, packet := range [][]byte{{}, []byte("nonsense"), forged[:dnswire.HeaderLen], wrongID, isQuery, wrongName, good} {
				_, _ = conn.Write(packet)
			}
		})
		a, err := c.Lookup(t.Context(), "x.example", dns.TypeA)
		if got := nameserver.Show(a, err); got != "NOERROR x.example 5m0s 192.0.2.1" {
			t.Errorf("got %s", got)
		}
		if n := len(dialed()); n != 1 {
			t.Errorf("%d sockets for one query", n)
		}
		m.Expect(t, map[string]float64{"queries A malformed": 6, "queries A noerror": 1})
	})
}

func TestExchangeGivesUpAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		c, dialed := scripted(t, ClientConfig{Metrics: m.Metrics}, func(_, _ string, query []byte, conn net.Conn) {
			if nameserver.AsksRoot(t, query, conn) {
				return
			}
			for range 3 { // garbage must not extend the time
				time.Sleep(600 * time.Millisecond)
				if _, err := conn.Write([]byte("garbage")); err != nil {
					return
				}
			}
		})
		begin := time.Now()
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "timeout" {
			t.Errorf("got %s", got)
		}
		if d := time.Since(begin); d != 2*DefaultTimeout {
			t.Errorf("two tries took %s", d)
		}
		synctest.Wait()
		if n := len(dialed()); n != 4 {
			t.Errorf("%d sockets, want one for each try and for the probe after it", n)
		}
		m.Expect(t, map[string]float64{"queries A timeout": 2, "queries A malformed": 6, "probes answered": 2})
	})
}

// TestExchangeObeysContext: a context that ends during a read ends the lookup. The error
// distinguishes a deadline from a cancellation.
func TestExchangeObeysContext(t *testing.T) {
	silence := func(string, string, []byte, net.Conn) {}
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		c, _ := scripted(t, ClientConfig{Metrics: m.Metrics}, silence)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if got := nameserver.Show(c.Lookup(ctx, "x.example", dns.TypeA)); got != "timeout" || time.Since(begin) != 300*time.Millisecond {
			t.Errorf("deadline: %s after %s", got, time.Since(begin))
		}
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, leave)
		begin = time.Now()
		if got := nameserver.Show(c.Lookup(ctx, "x.example", dns.TypeA)); got != "canceled" || time.Since(begin) != 50*time.Millisecond {
			t.Errorf("cancel: %s after %s", got, time.Since(begin))
		}
		if got := nameserver.Show(c.Lookup(ctx, "x.example", dns.TypeA)); got != "canceled" {
			t.Errorf("canceled before: %s", got)
		}
		if h := &c.list()[0].health; h.suspect || h.failures != 0 {
			t.Error("the end of the caller's time counts against the server")
		}
		m.Expect(t, map[string]float64{"queries A timeout": 0})
	})
}

func TestExchangeOverTCP(t *testing.T) {
	long := "x.example TXT " + strings.Repeat(strings.Repeat("k", 200)+" ", 50) // longer than readSize
	cases := []struct {
		reason string
		tcp    func(t *testing.T, query []byte, conn net.Conn)
		want   string
	}{
		{"the whole answer", func(t *testing.T, query []byte, conn net.Conn) {
			_, _ = conn.Write(nameserver.Framed(nameserver.Respond(t, query, 0, long)))
		}, `NOERROR x.example 5m0s "` + strings.Repeat("k", 50*200) + `"`},
		{"in pieces", func(t *testing.T, query []byte, conn net.Conn) {
			b := nameserver.Framed(nameserver.Respond(t, query, 0, "x.example TXT a"))
			for i := range b {
				_, _ = conn.Write(b[i : i+1])
			}
		}, `NOERROR x.example 5m0s "a"`},
		{"truncated again", func(t *testing.T, query []byte, conn net.Conn) {
			b := nameserver.Respond(t, query, 0, "")
			b[2] |= nameserver.BitTruncated
			_, _ = conn.Write(nameserver.Framed(b))
		}, "malformed"},
		{"closed in the middle", func(t *testing.T, query []byte, conn net.Conn) {
			b := nameserver.Framed(nameserver.Respond(t, query, 0, long))
			_, _ = conn.Write(b[:len(b)/2])
			_ = conn.Close()
		}, "network"},
		{"messages with another ID or no content come first", func(t *testing.T, query []byte, conn net.Conn) {
			b := nameserver.Respond(t, query, 0, "x.example TXT forged")
			b[0] ^= 1
			_, _ = conn.Write(nameserver.Framed(b))
			_, _ = conn.Write(nameserver.Framed(nil))
			_, _ = conn.Write(nameserver.Framed(nameserver.Respond(t, query, 0, "x.example TXT a")))
		}, `NOERROR x.example 5m0s "a"`},
		{"silence", func(*testing.T, []byte, net.Conn) {}, "timeout"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := testMetrics(t)
				client, dialed := scripted(t, ClientConfig{rounds: 1, Metrics: m.Metrics}, func(network, _ string, query []byte, conn net.Conn) {
					if network == "tcp" {
						c.tcp(t, query, conn)
						return
					}
					b := nameserver.Respond(t, query, 0, "x.example TXT part")
					b[2] |= nameserver.BitTruncated
					_, _ = conn.Write(b[:len(b)-2]) // cut inside a record, as some servers do
				})
				if got := nameserver.Show(client.Lookup(t.Context(), "x.example", dns.TypeTXT)); got != c.want {
					t.Errorf("got %.100s, want %.100s", got, c.want)
				}
				if strings.Contains(c.reason, "come first") {
					m.Expect(t, map[string]float64{"queries TXT malformed": 2, "queries TXT noerror": 1, "tcp_fallbacks truncated": 1})
				}
				// If the server did not answer over TCP, a probe may follow.
				if got := dialed(); len(got) < 2 || !slices.Equal(got[:2], []string{"udp 192.0.2.53:53", "tcp 192.0.2.53:53"}) {
					t.Errorf("sockets %q", got)
				}
			})
		})
	}
}

// TestExchangeMalformedAnswer: if the answer cannot be parsed, the next server is asked at once,
// without waiting for the timeout.
func TestExchangeMalformedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dialed := scripted(t, ClientConfig{Servers: []string{"192.0.2.1", "192.0.2.2"}}, func(_, addr string, query []byte, conn net.Conn) {
			b := nameserver.Respond(t, query, 0, goodA)
			if addr == "192.0.2.1:53" {
				b = b[:len(b)-3]
			}
			_, _ = conn.Write(b)
		})
		begin := time.Now()
		a, err := c.Lookup(t.Context(), "x.example", dns.TypeA)
		if got := nameserver.Show(a, err); got != "NOERROR x.example 5m0s 192.0.2.1" || a.Server != "192.0.2.2:53" {
			t.Errorf("got %s from %s", got, a.Server)
		}
		if time.Since(begin) != 0 || len(dialed()) != 2 {
			t.Errorf("took %s and %q", time.Since(begin), dialed())
		}
	})
}

func TestExchangeNetworkErrors(t *testing.T) {
	cases := []struct {
		err  error
		want string
	}{
		{syscall.ECONNREFUSED, "network"},
		{context.DeadlineExceeded, "timeout"},
		{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, "timeout"},
		{io.ErrUnexpectedEOF, "network"},
	}
	for _, c := range cases {
		client, err := NewClient(ClientConfig{Servers: []string{"192.0.2.1"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, c.err
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		_, err = client.Lookup(t.Context(), "x.example", dns.TypeA)
		if got := nameserver.Show(dns.Answer{}, err); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: got %s (%v), want %s", c.err, got, err, c.want)
		}
	}
}

// TestInflightIsBounded: the number of sockets is bounded. A lookup that waits for a socket ends
// with its context.
func TestInflightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 3
		var open, most atomic.Int64
		c, _ := scripted(t, ClientConfig{inflight: bound}, func(_, _ string, query []byte, conn net.Conn) {
			most.Store(max(most.Load(), open.Add(1)))
			time.Sleep(time.Second)
			open.Add(-1)
			_, _ = conn.Write(nameserver.Respond(t, query, 0, goodA))
		})
		var wg sync.WaitGroup
		for range 4 * bound {
			wg.Go(func() {
				if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
					t.Errorf("got %s", got)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if got := nameserver.Show(c.Lookup(ctx, "x.example", dns.TypeA)); got != "timeout" {
			t.Errorf("waited for a socket past the deadline: %s", got)
		}
		wg.Wait()
		if most.Load() != bound {
			t.Errorf("%d at once", most.Load())
		}
	})
}
