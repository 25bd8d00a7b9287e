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

// open opens n milter connections, several at a time, and sends the events up to HELO on each.
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

// each calls f with 0 to n-1, with up to 16 calls at a time. If a call returns an error, the test
// fails with the first error.
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

// TestTenThousandIdle opens as many idle connections as limits.max_sessions allows, and measures
// the memory of each. One more connection must get a tempfail. Messages on the open connections
// must be evaluated. After some connections have been closed, new connections must be accepted
// again.
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
	const charged = 64 << 10 // octets that limits.memory reserves for each connection
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

// TestTwoThousandActive sends messages on two thousand connections at the same time. Every message
// must get the right verdict.
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
	accepted, all := d.metric(`sekimori_messages_total{verdict="accept"}`), d.metric("sekimori_message_wait_seconds_count")
	if accepted != n*rounds/2+1 || all != n*rounds+2 {
		t.Errorf("%v messages accepted of %v", accepted, all)
	}
	t.Logf("%d messages over %d connections at a time in %v, %d wrong; %d MiB resident", n*rounds, n, took.Round(time.Millisecond), bad, d.memory()>>20)
}

// TestSlowPeers opens connections that begin a frame and then send nothing more. They must not
// delay other connections. A frame that announces a large length must not cost memory before its
// octets arrive.
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
		// The frame announces 1 MiB of header field, but only the first three octets of the name
		// follow.
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

// TestIdlePeersAreClosed checks that the daemon closes a connection on which nothing arrives for
// limits.idle_timeout.
func TestIdlePeersAreClosed(t *testing.T) {
	const n = 100
	d := start(t, "limits: {idle_timeout: 3s}")
	d.open(n)
	d.eventually("idle connections closed", func() bool { return d.metric(`sekimori_sessions_total{end="timeout"}`) == n })
	d.serves()
}

// TestSessionLimits opens more connections than limits.max_sessions allows. The daemon refuses up
// to 256 of them at a time, and does not accept the others from the kernel's queue yet. When the
// refused connections are closed, a connection from the queue must get its answer.
func TestSessionLimits(t *testing.T) {
	d := start(t, "limits: {max_sessions: 20}")
	d.open(20)
	var mute []net.Conn // connections over max_sessions; their client sends nothing
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
	// When the other connections are closed, the last connection in the queue must get its answer.
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
