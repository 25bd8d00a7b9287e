package resolver

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
	"sekimori/internal/dns/dnstest"
)

// hostility is what a server does to a query; which one, the name decides.
var hostility = []struct {
	name string
	do   func(t *testing.T, network string, query []byte, conn net.Conn)
}{
	{"truth", func(t *testing.T, network string, query []byte, conn net.Conn) {
		send(network, conn, respond(t, query, 0, questionName(query)+" 20 A 192.0.2.1"))
	}},
	{"silence", func(*testing.T, string, []byte, net.Conn) {}},
	{"delay", func(t *testing.T, network string, query []byte, conn net.Conn) {
		time.Sleep(1900 * time.Millisecond)
		send(network, conn, respond(t, query, 0, questionName(query)+" A 192.0.2.1"))
	}},
	{"too late", func(t *testing.T, network string, query []byte, conn net.Conn) {
		time.Sleep(3 * time.Second)
		send(network, conn, respond(t, query, 0, questionName(query)+" A 192.0.2.1"))
	}},
	{"another name", func(t *testing.T, network string, query []byte, conn net.Conn) {
		b := respond(t, query, 0, questionName(query)+" A 192.0.2.1")
		b[headerLen+1] ^= 1
		send(network, conn, b)
	}},
	{"records of others", func(t *testing.T, network string, query []byte, conn net.Conn) {
		send(network, conn, respond(t, query, 0, strings.Repeat("bank.example A 203.0.113.66\n", 200)))
	}},
	{"truncation for ever", func(t *testing.T, network string, query []byte, conn net.Conn) {
		b := respond(t, query, 0, "")
		b[2] |= bitTruncated
		send(network, conn, b)
	}},
	{"a length and no more", func(t *testing.T, network string, query []byte, conn net.Conn) {
		if network == "udp" {
			b := respond(t, query, 0, "")
			b[2] |= bitTruncated
			send(network, conn, b)
			return
		}
		_, _ = conn.Write([]byte{0xff, 0xff, 0})
	}},
	{"an octet at a time", func(t *testing.T, network string, query []byte, conn net.Conn) {
		b := respond(t, query, 0, "")
		b[2] |= bitTruncated
		if network == "udp" {
			send(network, conn, b)
			return
		}
		for _, c := range framed(respond(t, query, 0, questionName(query)+" A 192.0.2.1")) {
			time.Sleep(500 * time.Millisecond)
			if _, err := conn.Write([]byte{c}); err != nil {
				return
			}
		}
	}},
	{"flood", func(t *testing.T, network string, query []byte, conn net.Conn) {
		b := respond(t, query, 0, questionName(query)+" A 203.0.113.66")
		b[0] ^= 1
		if network == "tcp" {
			b = framed(b)
		}
		for {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}},
	{"close", func(_ *testing.T, _ string, _ []byte, conn net.Conn) { _ = conn.Close() }},
	{"chain without end", func(t *testing.T, network string, query []byte, conn net.Conn) {
		name := questionName(query)
		send(network, conn, respond(t, query, 0, name+" CNAME x"+name[:min(len(name), 40)]+"example."))
	}},
	{"FORMERR for ever", func(t *testing.T, network string, query []byte, conn net.Conn) {
		send(network, conn, respond(t, query, codec.RcodeFormatError, ""))
	}},
	{"as much as is read", func(t *testing.T, network string, query []byte, conn net.Conn) {
		b := respond(t, query, 0, "")
		if network == "udp" {
			b[2] |= bitTruncated
			send(network, conn, b)
			return
		}
		send(network, conn, respond(t, query, 0, strings.Repeat(questionName(query)+" TXT "+strings.Repeat("k", 250)+"\n", 240)))
	}},
}

func send(network string, conn net.Conn, b []byte) {
	if network == "tcp" {
		b = framed(b)
	}
	_, _ = conn.Write(b)
}

// Servers that lie, delay, truncate, flood and close, for many names over an
// hour: every lookup ends in time, and nothing is left of it. That no goroutine
// is left is what the end of the bubble says.
func TestHostileServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // servers may still be at it
		m := testMetrics(t)
		cfg := DefaultConfig()
		cfg.Cache.Size = 128 << 10
		r, err := NewWithMetrics(cfg.with(t, func(network, _ string, query []byte, conn net.Conn) {
			if asksRoot(t, query, conn) {
				return
			}
			h := fnv.New32a()
			_, _ = h.Write([]byte(questionName(query)))
			hostility[h.Sum32()%uint32(len(hostility))].do(t, network, query, conn)
		}), m.Metrics)
		if err != nil {
			t.Fatal(err)
		}
		const askers, rounds = 12, 12
		var wg sync.WaitGroup
		for i := range askers {
			wg.Go(func() {
				for n := range rounds {
					for _, typ := range []dns.Type{dns.TypeA, dns.TypeTXT} {
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						begin := time.Now()
						a, err := r.Lookup(ctx, dns.Name(fmt.Sprintf("n%d.example", (i*7+n*13)%150)), typ)
						cancel()
						if took := time.Since(begin); took > 10*time.Second {
							t.Errorf("a lookup took %s", took)
						}
						for _, record := range a.Records {
							if err == nil && record.Addr.String() == "203.0.113.66" {
								t.Error("a lie was believed")
							}
						}
					}
					time.Sleep(time.Duration(i) * time.Second)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if n := len(r.client.slots); n != 0 {
			t.Errorf("%d sockets are still counted", n)
		}
		if len(r.cache.flights) != 0 || r.cache.prefetches != 0 {
			t.Errorf("%d questions, %d prefetches under way", len(r.cache.flights), r.cache.prefetches)
		}
		if b := m.values(t)["cache_bytes"]; b > 128<<10 {
			t.Errorf("%v octets in the cache", b)
		}
		r.Close()
	})
}

// with returns cfg with three servers that s plays, and hedging.
func (cfg Config) with(t *testing.T, s script) Config {
	t.Helper()
	cfg.Client.Servers = []string{"192.0.2.1", "192.0.2.2", "127.0.0.1"}
	cfg.Client.Hedge = 300 * time.Millisecond
	cfg.Client.Dial, _ = s.dialer()
	return cfg
}

// The same with real sockets: descriptors and goroutines are what they were.
func TestNothingLeaks(t *testing.T) {
	s := serve(t, `
*.ok.example A 192.0.2.1
! *.silent.example A timeout
! *.garbage.example A garbage
! *.id.example A wrongid
! *.tc.example A truncate-tcp
*.tc.example A 192.0.2.1
*.slow.example A 192.0.2.1
! *.slow.example A delay=20ms
`, dnstest.ServerOptions{})
	before := runtime.NumGoroutine()
	files := descriptors(t)
	cfg := DefaultConfig()
	cfg.Client = ClientConfig{Servers: []string{s.Addr(), s.Addr()}, Timeout: silenceTimeout, Hedge: silenceTimeout / 3}
	r, err := NewWithMetrics(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 10 {
		for _, zone := range []string{"ok", "silent", "garbage", "id", "tc", "slow"} {
			wg.Go(func() { _, _ = r.Lookup(t.Context(), dns.Name(fmt.Sprintf("n%d.%s.example", i, zone)), dns.TypeA) })
		}
	}
	wg.Wait()
	r.Close()
	// The server's side of a connection ends a moment after the client's, and
	// what it has not read yet may begin after that.
	leaks := func() bool { return runtime.NumGoroutine() > before || descriptors(t) > files }
	for deadline := time.Now().Add(longTimeout); leaks(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines became %d, %d descriptors %d", before, runtime.NumGoroutine(), files, descriptors(t))
		}
	}
}

// descriptors counts the open files of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
