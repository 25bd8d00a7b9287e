package faults

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
)

// open opens n connections, several at a time, and sends HELO on each.
func (d *daemon) open(n int) []*client.Client {
	d.t.Helper()
	conns := make([]*client.Client, n)
	d.each(n, func(i int) (err error) {
		conns[i], err = d.hello()
		return err
	})
	d.t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	})
	if d.t.Failed() {
		d.t.FailNow()
	}
	return conns
}

// each runs f for 0 to n-1, a few at a time. The first error fails the test.
func (d *daemon) each(n int, f func(i int) error) {
	d.t.Helper()
	const workers = 16
	next := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = fmt.Errorf("connection %d: %w", i, err)
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if first != nil {
		d.t.Error(first)
	}
}

// TestTenThousandIdle opens as many idle connections as limits.max_sessions allows,
// and measures what each costs. One more connection gets a tempfail. The open ones
// are served, and when some have gone, new ones are served again.
func TestTenThousandIdle(t *testing.T) {
	const n = 10_000
	d := start(t, "")
	before := d.memory()
	began := time.Now()
	conns := d.open(n)
	opened := time.Since(began)
	each := (d.memory() - before) / n
	if got := d.metric("sekimori_sessions_inflight"); got != n {
		t.Errorf("%v sessions", got)
	}
	const charged = 64 << 10 // what limits.memory reserves for a connection
	reserved := d.metric("sekimori_memory_reserved_bytes")
	if reserved != n*charged {
		t.Errorf("%v octets reserved, want %d", reserved, n*charged)
	}
	if each > charged {
		t.Errorf("a connection costs %d octets, and only %d are charged", each, charged)
	}
	if _, err := d.hello(); err == nil || !strings.Contains(err.Error(), "tempfail") {
		t.Errorf("one too many: %v", err)
	}
	for _, i := range []int{0, n / 2, n - 1} {
		if err := good(conns[i], ""); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	for _, c := range conns[:10] {
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	d.eventually("room again", func() bool { return d.metric("sekimori_sessions_inflight") <= n-10 })
	d.serves()
	t.Logf("%d idle connections opened in %v, %.1f KiB resident each", n, opened.Round(time.Millisecond), float64(each)/1024)
}

// TestTwoThousandActive sends over two thousand connections at the same time.
// Every verdict must be right.
func TestTwoThousandActive(t *testing.T) {
	const n, rounds = 2000, 2
	d := start(t, "")
	conns := d.open(n)
	warm(t, conns[0])
	var wg sync.WaitGroup
	errs := make(chan error, n)
	begin := make(chan struct{})
	for i, c := range conns {
		wg.Go(func() {
			<-begin
			for range rounds {
				send := spoof
				if i%2 == 0 {
					send = func(c *client.Client) error { return good(c, "") }
				}
				if err := send(c); err != nil {
					errs <- fmt.Errorf("connection %d: %w", i, err)
					return
				}
			}
		})
	}
	began := time.Now()
	close(begin)
	wg.Wait()
	took := time.Since(began)
	close(errs)
	bad := 0
	for err := range errs {
		if bad++; bad <= 3 {
			t.Error(err)
		}
	}
	accepted, all := d.metric(`sekimori_messages_total{verdict="accept"}`), d.metric("sekimori_message_duration_seconds_count")
	if accepted != n*rounds/2+1 || all != n*rounds+2 {
		t.Errorf("%v messages accepted of %v", accepted, all)
	}
	t.Logf("%d messages over %d connections at a time in %v, %d wrong; %d MiB resident", n*rounds, n, took.Round(time.Millisecond), bad, d.memory()>>20)
}

// TestSlowPeers opens connections that begin a frame and do not go on. They must
// not delay other connections, and the length that a frame announces must not
// cost memory.
func TestSlowPeers(t *testing.T) {
	const n = 500
	d := start(t, "")
	before := d.memory()
	conns := make([]net.Conn, n)
	for i := range conns {
		nc, err := net.Dial("tcp", d.milter)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		c := client.New(nc)
		if err := mta.Greet(c, bank); err != nil {
			t.Fatal(err)
		}
		// The frame announces a header field of 1 MiB, and three octets of it come.
		if _, err := nc.Write([]byte("\x00\x00\x00\x04M<>\x00" + "\x00\x00\x00\x05R<x>\x00" + "\x00\x10\x00\x00LSub")); err != nil {
			t.Fatal(err)
		}
		conns[i] = nc
	}
	d.serves()
	if grown := d.memory() - before; grown > n*(64<<10) {
		t.Errorf("%d slow peers cost %d octets", n, grown)
	}
	if got := d.metric("sekimori_sessions_inflight"); got < n {
		t.Errorf("%v sessions, want the %d slow ones", got, n)
	}
}

// TestIdlePeersAreClosed checks that the daemon closes a connection that is silent
// for limits.idle_timeout.
func TestIdlePeersAreClosed(t *testing.T) {
	const n = 100
	d := start(t, "limits: {idle_timeout: 3s}")
	d.open(n)
	d.eventually("idle connections closed", func() bool { return d.metric(`sekimori_sessions_total{end="timeout"}`) == n })
	d.serves()
}

// TestSessionLimits opens more connections than limits.max_sessions. The daemon
// refuses 256 of them at a time. The others wait in the kernel's queue, and are
// refused or served in their turn.
func TestSessionLimits(t *testing.T) {
	d := start(t, "limits: {max_sessions: 20}")
	d.open(20)
	var mute []net.Conn // connections to be refused, which do not even negotiate
	for range 256 + 50 {
		nc, err := net.Dial("tcp", d.milter)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		mute = append(mute, nc)
	}
	d.eventually("the hard limit reached", func() bool { return d.metric(`sekimori_sessions_rejected_total{reason="hard_limit"}`) > 0 })
	if got := d.metric(`sekimori_sessions_rejected_total{reason="max_sessions"}`); got != 256 {
		t.Errorf("%v connections are being refused, want 256", got)
	}
	if got := d.metric("sekimori_sessions_inflight"); got != 20 {
		t.Errorf("%v sessions", got)
	}
	// When the others have gone, the last one of the queue gets its answer.
	for _, nc := range mute[:len(mute)-1] {
		nc.Close()
	}
	last := client.New(mute[len(mute)-1])
	if _, err := last.Negotiate(client.PostfixOffer()); err != nil {
		t.Fatal(err)
	}
	if a, err := last.Connect("x", netip.MustParseAddrPort("192.0.2.1:25")); err != nil || a.Kind != client.Tempfail {
		t.Errorf("the last of the queue: %v, %v", a, err)
	}
}
