package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
	"sekimori/internal/testkit/nameserver"
)

// TestTLSReuse: one connection serves many queries, also at the same time. It is closed after it
// was idle for idleTimeout.
func TestTLSReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		d, c := newDoT(t, ClientConfig{Metrics: m.Metrics}, func(query []byte, write func([]byte)) bool {
			if strings.HasPrefix(nameserver.QuestionName(query), "slow") {
				time.Sleep(time.Second) // the answers to the other queries come earlier
			}
			write(truth(t, query))
			return true
		})
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				name := dns.Name(fmt.Sprintf("%s%d.example", []string{"fast", "slow"}[i%2], i))
				a, err := c.Lookup(t.Context(), name, dns.TypeA)
				if got := nameserver.Show(a, err); got != "NOERROR "+string(name)+" 5m0s 192.0.2.1" || time.Since(begin) != time.Duration(i%2)*time.Second {
					t.Errorf("%s: got %s after %s", name, got, time.Since(begin))
				}
				if !a.Authenticated || a.Server != "192.0.2.1:853" {
					t.Errorf("%s: AD %v from %s", name, a.Authenticated, a.Server)
				}
			})
		}
		wg.Wait()
		if dialed, open, queries := d.counts(); dialed != 1 || open != 1 || queries != 50 {
			t.Errorf("%d connections, %d open, %d queries", dialed, open, queries)
		}
		time.Sleep(idleTimeout - 1)
		if _, open, _ := d.counts(); open != 1 {
			t.Error("closed too early")
		}
		time.Sleep(2 * time.Nanosecond)
		if _, open, _ := d.counts(); open != 0 {
			t.Error("an idle connection stays open")
		}
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
			t.Errorf("after that: %s", got)
		}
		m.Expect(t, map[string]float64{"queries A noerror": 51, "tls_connections opened": 2})
	})
}

// TestTLSIsStrict: certificates are verified, and the client never asks in plain text instead.
func TestTLSIsStrict(t *testing.T) {
	cert, roots := certificate(t, "dns.example", "127.0.0.1")
	_, others := certificate(t, "dns.example")
	s := nameserver.Serve(t, "x.example A 192.0.2.1", nameserver.Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	for _, c := range []struct {
		reason, name string
		roots        *x509.CertPool
		want         string
	}{
		{"the name of the certificate", "#dns.example", roots, ""},
		{"its address", "", roots, ""},
		{"another name", "#dns.example.net", roots, "certificate is valid for dns.example, not dns.example.net"},
		{"signed by another authority", "#dns.example", others, "certificate signed by unknown authority"},
	} {
		m := testMetrics(t)
		client, err := NewClient(ClientConfig{Servers: []string{"tls://" + s.Addr() + c.name}, RootCAs: c.roots, Timeout: longTimeout, rounds: 1, Metrics: m.Metrics})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Lookup(t.Context(), "x.example", dns.TypeA)
		client.Close()
		if c.want == "" {
			if err != nil || m.Values(t)["tls_connections opened"] != 1 {
				t.Errorf("%s: %v", c.reason, err)
			}
			continue
		}
		if err == nil || nameserver.Failure(err).Kind != dns.KindNetwork || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.reason, err, c.want)
		}
		if n := m.Values(t)["tls_connections failed"]; n == 0 {
			t.Errorf("%s: not counted", c.reason)
		}
	}
	if udp, _ := s.Count(); udp != 0 {
		t.Errorf("%d queries in plain text", udp)
	}
}

// TestTLSServerCloses: a server may close its connection at any time. If the connection had worked
// before, the query is sent once more on a new connection.
func TestTLSServerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := newDoT(t, ClientConfig{}, func(query []byte, write func([]byte)) bool {
			write(truth(t, query))
			return false // the connection is closed after every answer
		})
		for range 3 {
			if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
				t.Errorf("got %s", got)
			}
			synctest.Wait() // wait until the server has closed the connection, because until then it answers further queries
		}
		if dialed, open, _ := d.counts(); dialed != 3 || open != 0 {
			t.Errorf("%d connections, %d open", dialed, open)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var answered bool
		d, c := newDoT(t, ClientConfig{rounds: 1}, func(query []byte, write func([]byte)) bool {
			if nameserver.QuestionName(query) == "." {
				write(truth(t, query))
				return true
			}
			if answered {
				return false
			}
			answered = true
			write(truth(t, query))
			return true
		})
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
			t.Errorf("got %s", got)
		}
		synctest.Wait()
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "network" {
			t.Errorf("then %s", got)
		}
		if dialed, _, _ := d.counts(); dialed > 3 { // two for the lookups, one for the probe
			t.Errorf("%d connections", dialed)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d, c := newDoT(t, ClientConfig{rounds: 1}, func(query []byte, write func([]byte)) bool {
			if nameserver.QuestionName(query) == "." {
				write(truth(t, query))
				return true
			}
			return false // nothing ever works
		})
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "network" {
			t.Errorf("got %s", got)
		}
		if _, _, queries := d.counts(); queries != 2 { // one is the probe
			t.Errorf("asked %d times", queries)
		}
	})
}

// blocking is a connection whose Write waits and then fails while blocked is set.
type blocking struct {
	net.Conn
	blocked *atomic.Bool
	until   chan struct{}
}

func (b blocking) Write(p []byte) (int, error) {
	if b.blocked.Load() {
		<-b.until
		return 0, net.ErrClosed
	}
	return b.Conn.Write(p)
}

// TestTLSSendsTwice: a query is not sent a third time, even if the second connection had worked before too.
func TestTLSSendsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		hangUp, until := make(chan struct{}), make(chan struct{})
		_, c := newDoT(t, ClientConfig{rounds: 1}, func(query []byte, write func([]byte)) bool {
			switch nameserver.QuestionName(query) {
			case "a.example.":
				asked.Add(1)
				return false
			case "first.example.":
				write(truth(t, query))
				<-hangUp
				return false
			}
			write(truth(t, query))
			return true
		})
		var blocked atomic.Bool
		dial := c.dial
		c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return blocking{conn, &blocked, until}, err
		}
		look := func(name dns.Name) string {
			a, err := c.Lookup(t.Context(), name, dns.TypeA)
			return nameserver.Show(a, err)
		}
		good := func(name dns.Name) {
			if got := look(name); got != "NOERROR "+string(name)+" 5m0s 192.0.2.1" {
				t.Errorf("got %s", got)
			}
		}
		good("first.example")
		blocked.Store(true)
		result := make(chan string)
		go func() { result <- look("a.example") }()
		synctest.Wait()
		blocked.Store(false)
		close(hangUp)
		synctest.Wait()
		good("second.example") // on a new connection
		close(until)
		if got := <-result; got != "network" || asked.Load() != 1 {
			t.Errorf("got %s, asked %d times", got, asked.Load())
		}
	})
}

// TestTLSSilentConnection: a connection may become silent, for example because a firewall has
// dropped its state. Only one query then times out; the next one uses a new connection.
func TestTLSSilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := false
		var mu sync.Mutex
		d, c := newDoT(t, ClientConfig{rounds: 1}, func(query []byte, write func([]byte)) bool {
			mu.Lock()
			defer mu.Unlock()
			if !silent {
				write(truth(t, query))
			}
			return true
		})
		_, _ = c.Lookup(t.Context(), "x.example", dns.TypeA)
		mu.Lock()
		silent = true
		mu.Unlock()
		begin := time.Now()
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "timeout" || time.Since(begin) != DefaultTimeout {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
		mu.Lock()
		silent = false
		mu.Unlock()
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
			t.Errorf("then %s", got)
		}
		if dialed, open, _ := d.counts(); dialed != 2 || open != 1 {
			t.Errorf("%d connections, %d open", dialed, open)
		}
	})
}

// TestTLSSlowNameKeepsConnection: one name without an answer does not end the connection if other
// queries were answered on it.
func TestTLSSlowNameKeepsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := newDoT(t, ClientConfig{rounds: 1}, func(query []byte, write func([]byte)) bool {
			if nameserver.QuestionName(query) != "never.example." {
				write(truth(t, query))
			}
			return true
		})
		done := make(chan string)
		go func() { done <- nameserver.Show(c.Lookup(t.Context(), "never.example", dns.TypeA)) }()
		time.Sleep(time.Second)
		_, _ = c.Lookup(t.Context(), "x.example", dns.TypeA)
		if got := <-done; got != "timeout" {
			t.Errorf("got %s", got)
		}
		_, _ = c.Lookup(t.Context(), "x.example", dns.TypeA)
		if dialed, _, _ := d.counts(); dialed != 1 {
			t.Errorf("%d connections", dialed)
		}
	})
}

// TestTLSLies: messages that no query waits for are dropped. Too many such messages end the
// connection.
func TestTLSLies(t *testing.T) {
	for reason, lie := range map[string]func(query, good []byte) []byte{
		"wrong ID":       func(_, good []byte) []byte { good[0] ^= 1; return good },
		"wrong question": func(_, good []byte) []byte { good[dnswire.HeaderLen+1] ^= 1; return good },
		"no message":     func(_, _ []byte) []byte { return []byte("x") },
		"nothing":        func(_, _ []byte) []byte { return nil },
		"garbage":        func(query, _ []byte) []byte { return append(query[:2:2], strings.Repeat("\xff", 60000)...) },
	} {
		synctest.Test(t, func(t *testing.T) {
			m := testMetrics(t)
			_, c := newDoT(t, ClientConfig{Metrics: m.Metrics}, func(query []byte, write func([]byte)) bool {
				write(lie(query, truth(t, query)))
				write(truth(t, query))
				return true
			})
			if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
				t.Errorf("%s: got %s", reason, got)
			}
			m.Expect(t, map[string]float64{"queries other malformed": 1, "queries A noerror": 1, "tls_connections opened": 1})
		})
		synctest.Test(t, func(t *testing.T) {
			m := testMetrics(t)
			d, c := newDoT(t, ClientConfig{rounds: 1, Metrics: m.Metrics}, func(query []byte, write func([]byte)) bool {
				if nameserver.QuestionName(query) == "." {
					write(truth(t, query))
					return true
				}
				for range 2 * maxStrays {
					write(lie(query, truth(t, query)))
				}
				return true
			})
			begin := time.Now()
			if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "network" || time.Since(begin) != 0 {
				t.Errorf("%s, many: got %s after %s", reason, got, time.Since(begin))
			}
			if n := m.Values(t)["queries other malformed"]; n != maxStrays {
				t.Errorf("%s: %v were read", reason, n)
			}
			c.Close()
			if _, open, _ := d.counts(); open != 0 {
				t.Errorf("%s: %d connections are left", reason, open)
			}
		})
	}
}

// TestTLSWithoutEDNS: a message that is only a header may be the answer to a query with EDNS.
func TestTLSWithoutEDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := newDoT(t, ClientConfig{rounds: 1}, func(query []byte, write func([]byte)) bool {
			if query[11] != 0 {
				write(append(query[:2:2], nameserver.BitResponse, 1, 0, 0, 0, 0, 0, 0, 0, 0)) // FORMERR
			} else {
				write(truth(t, query))
			}
			return true
		})
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
			t.Errorf("got %s", got)
		}
	})
}

// TestTLSPipelineIsBounded: the number of queries that run on the connection is bounded. Further
// queries wait.
func TestTLSPipelineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := newDoT(t, ClientConfig{Timeout: 5 * time.Second}, func(query []byte, write func([]byte)) bool {
			time.Sleep(time.Second)
			write(truth(t, query))
			return true
		})
		var wg sync.WaitGroup
		for i := range 2 * maxPipelined {
			wg.Go(func() {
				name := dns.Name(fmt.Sprintf("n%d.example", i))
				if _, err := c.Lookup(t.Context(), name, dns.TypeA); err != nil {
					t.Error(err)
				}
			})
		}
		if _, _, queries := d.counts(); queries != maxPipelined {
			t.Errorf("%d at once", queries)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if got := nameserver.Show(c.Lookup(ctx, "x.example", dns.TypeA)); got != "timeout" {
			t.Errorf("a lookup without time got %s", got)
		}
		wg.Wait()
		if dialed, _, queries := d.counts(); dialed != 1 || queries != 2*maxPipelined {
			t.Errorf("%d connections, %d queries", dialed, queries)
		}
	})
}

// TestTLSOpening: a connection that is being opened serves all queries that wait for it, even if
// the query that started it has ended. After Close, no connection is open.
func TestTLSOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := newDoT(t, ClientConfig{}, func(query []byte, write func([]byte)) bool {
			write(truth(t, query))
			return true
		})
		through, dial := make(chan struct{}), c.dial
		c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			<-through
			return dial(ctx, network, addr)
		}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan string)
		go func() { results <- nameserver.Show(c.Lookup(ctx, "x.example", dns.TypeA)) }()
		synctest.Wait()
		go func() { results <- nameserver.Show(c.Lookup(t.Context(), "y.example", dns.TypeA)) }()
		synctest.Wait()
		cancel()
		if got := <-results; got != "canceled" {
			t.Errorf("the canceled lookup got %s", got)
		}
		close(through)
		if got := <-results; got != "NOERROR y.example 5m0s 192.0.2.1" {
			t.Errorf("the waiting lookup got %s", got)
		}
		if dialed, open, _ := d.counts(); dialed != 1 || open != 1 {
			t.Errorf("%d connections, %d open", dialed, open)
		}
		c.Close()
		if _, open, _ := d.counts(); open != 0 {
			t.Errorf("%d connections are open after Close", open)
		}
		if got := nameserver.Show(c.Lookup(t.Context(), "z.example", dns.TypeA)); got != "network" {
			t.Errorf("after Close: %s", got)
		}
	})
}

// TestTLSOverSockets sends a question over TLS and real sockets to the server of package nameserver,
// and gets a long answer.
func TestTLSOverSockets(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	long := strings.Repeat("k", 255)
	s := nameserver.Serve(t, "x.example TXT "+strings.Repeat(long+" ", 20)+"\n! f.example * servfail", nameserver.Options{
		Authenticated: true, TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
	})
	c, err := NewClient(ClientConfig{Servers: []string{"tls://" + s.Addr()}, Timeout: longTimeout, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for range 3 {
		a, err := c.Lookup(t.Context(), "x.example", dns.TypeTXT)
		if err != nil || len(a.Records) != 1 || len(a.Records[0].Text) != 20*255 || !a.Authenticated {
			t.Fatalf("got %s", nameserver.Show(a, err))
		}
		if got := nameserver.Show(c.Lookup(t.Context(), "f.example", dns.TypeTXT)); got != "servfail" {
			t.Errorf("got %s", got)
		}
	}
	if udp, tcp := s.Count(); udp != 0 || tcp != 6 {
		t.Errorf("%d queries over UDP, %d over TLS", udp, tcp)
	}
}
