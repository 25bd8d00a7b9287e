package upstream

import (
	"bytes"
	"context"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
	"sekimori/internal/testkit/nameserver"
)

// TestStreamNotOpened: if no connection can be opened for TCP or TLS, the lookup fails like any other whose server
// cannot be reached.
func TestStreamNotOpened(t *testing.T) {
	for _, tt := range []struct {
		server string
		err    error
		want   string
	}{
		{"192.0.2.1", syscall.ECONNREFUSED, "network"}, {"192.0.2.1", context.DeadlineExceeded, "timeout"},
		{"tls://192.0.2.1", syscall.ECONNREFUSED, "network"}, {"tls://192.0.2.1", context.DeadlineExceeded, "timeout"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := testMetrics(t)
			truncated, _ := nameserver.Script(func(_, _ string, query []byte, conn net.Conn) {
				b := nameserver.Respond(t, query, 0, "")
				b[2] |= nameserver.BitTruncated
				_, _ = conn.Write(b)
			}).Dialer()
			c, err := NewClient(ClientConfig{Servers: []string{tt.server}, rounds: 1, Metrics: m.Metrics, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network == "tcp" {
					return nil, tt.err
				}
				return truncated(ctx, network, addr)
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != tt.want {
				t.Errorf("%s, %v: got %s, want %s", tt.server, tt.err, got, tt.want)
			}
		})
	}
}

// TestStreamTakesNoQuery: if a connection takes no query, nobody waits for an answer on it.
func TestStreamTakesNoQuery(t *testing.T) {
	for _, server := range []string{"192.0.2.1", "tls://192.0.2.1"} {
		synctest.Test(t, func(t *testing.T) {
			truncated, _ := nameserver.Script(func(_, _ string, query []byte, conn net.Conn) {
				b := nameserver.Respond(t, query, 0, "")
				b[2] |= nameserver.BitTruncated
				_, _ = conn.Write(b)
			}).Dialer()
			c, err := NewClient(ClientConfig{Servers: []string{server}, rounds: 1, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network != "tcp" {
					return truncated(ctx, network, addr)
				}
				near, far := net.Pipe()
				t.Cleanup(func() { _ = far.Close() })
				return deaf{near}, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			begin := time.Now()
			if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "network" || time.Since(begin) != 0 {
				t.Errorf("%s: got %s after %s", server, got, time.Since(begin))
			}
		})
	}
}

// deaf is a connection that takes nothing and on which nothing comes.
type deaf struct{ net.Conn }

func (deaf) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// TestSampledServers: the server that is asked first is not measured by a second question, and no server is measured
// if no socket is free for it.
func TestSampledServers(t *testing.T) {
	for inflight, want := range map[int]int{0: 1, 1: 0, 2: 1} {
		synctest.Test(t, func(t *testing.T) {
			f, c := newFleet(t, ClientConfig{inflight: inflight}, 2)
			time.Sleep(time.Hour) // nobody was heard for a long time
			if s, _ := f.ask(c); s != "1" {
				t.Fatalf("answered by %s", s)
			}
			if first, second := f.count("1"), f.count("2"); first != 1 || second != want {
				t.Errorf("at most %d sockets: %d and %d questions, want 1 and %d", inflight, first, second, want)
			}
			if len(c.slots) != 0 {
				t.Errorf("%d sockets are held", len(c.slots))
			}
		})
	}
}

// TestProbeQuestion: a probe asks for the name servers of the root, with EDNS. Any answer will do.
func TestProbeQuestion(t *testing.T) {
	for _, rcode := range []int{0, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			asked := make(chan []byte, 1)
			c, _ := scripted(t, ClientConfig{}, func(_, _ string, query []byte, conn net.Conn) {
				asked <- query
				_, _ = conn.Write(nameserver.Respond(t, query, rcode, ""))
			})
			c.probe(c.list()[0])
			query := <-asked
			if want := []byte{0, 0, byte(dns.TypeNS), 0, 1}; !bytes.HasPrefix(query[dnswire.HeaderLen:], want) || query[11] != 1 {
				t.Errorf("asked %x", query)
			}
			synctest.Wait()
			time.Sleep(time.Minute)
			if len(asked) != 0 {
				t.Errorf("probed again although it answered, rcode %d", rcode)
			}
		})
	}
}

// TestProbePauses: the pause between the probes of a server that does not answer doubles, up to maxProbePause.
func TestProbePauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, at := time.Now(), make(chan time.Duration, 20)
		c, _ := scripted(t, ClientConfig{Timeout: time.Second}, func(string, string, []byte, net.Conn) { at <- time.Since(begin) })
		c.probe(c.list()[0])
		for end, pause := time.Duration(0), probePause; pause < 4*maxProbePause; pause *= 2 {
			if got := <-at; got != end {
				t.Errorf("a probe after %s, want %s", got, end)
			}
			end += time.Second + min(pause, maxProbePause)
		}
	})
}

// TestMemo: what is remembered of a server lasts for a time from when it was learnt.
func TestMemo(t *testing.T) {
	var m memo
	if m.lasts(1) {
		t.Error("it lasts before it has begun")
	}
	m.begin(time.Hour)
	for now, want := range map[time.Duration]bool{time.Hour: true, time.Hour + memory - 1: true, time.Hour + memory: false} {
		if got := m.lasts(now); got != want {
			t.Errorf("after %s: %t", now-time.Hour, got)
		}
	}
}

// TestTransportKinds: which failure a network error is, and that the end of the caller's time goes before it.
func TestTransportKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		expired, done := context.WithTimeout(t.Context(), time.Second)
		defer done()
		time.Sleep(time.Second)
		slow := &net.OpError{Op: "read", Err: context.DeadlineExceeded}
		for _, tt := range []struct {
			why  string
			ctx  context.Context
			err  error
			want dns.ErrorKind
		}{
			{"refused", t.Context(), syscall.ECONNREFUSED, dns.KindNetwork},
			{"a timeout of the network", t.Context(), slow, dns.KindTimeout},
			{"the time of the exchange", t.Context(), context.DeadlineExceeded, dns.KindTimeout},
			{"canceled", canceled, syscall.ECONNREFUSED, dns.KindCanceled},
			{"the caller's time", expired, syscall.ECONNREFUSED, dns.KindTimeout},
		} {
			if got := transportKind(tt.ctx, tt.err); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
			}
		}
	})
}
