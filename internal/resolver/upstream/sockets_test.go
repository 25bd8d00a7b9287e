package upstream

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
	"sekimori/internal/testkit/nameserver"
)

// portServer is a DNS server that records from which port each query came, and lets a test answer.
type portServer struct {
	*net.UDPConn
	mu    sync.Mutex
	ports []int
}

// servePorts starts a server that calls answer for each query, with a function that sends a packet
// to the client.
func servePorts(t *testing.T, answer func(query []byte, send func([]byte))) *portServer {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &portServer{UDPConn: conn}
	var end sync.WaitGroup
	end.Go(func() {
		buf := make([]byte, readSize)
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // the client has closed a socket
				continue
			}
			s.mu.Lock()
			s.ports = append(s.ports, from.Port)
			s.mu.Unlock()
			answer(slices.Clone(buf[:n]), func(packet []byte) { _, _ = conn.WriteToUDP(packet, from) })
		}
	})
	t.Cleanup(func() {
		conn.Close()
		end.Wait()
	})
	return s
}

func (s *portServer) seen() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ports)
}

func (s *portServer) client(t *testing.T, timeout time.Duration) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{Servers: []string{s.LocalAddr().String()}, Timeout: timeout, rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answerGood(t *testing.T) func(query []byte, send func([]byte)) {
	return func(query []byte, send func([]byte)) { send(nameserver.Respond(t, query, 0, goodA)) }
}

func lookUp(t *testing.T, c *Client) {
	t.Helper()
	if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
		t.Errorf("got %s", got)
	}
}

// TestStrayBeforeAnswer: a packet that answers another question is read past. The question is not asked again.
func TestStrayBeforeAnswer(t *testing.T) {
	s := servePorts(t, func(query []byte, send func([]byte)) {
		answer := nameserver.Respond(t, query, 0, goodA)
		stray := slices.Clone(answer)
		stray[0] ^= 1 // another ID
		send(stray)
		send(stray[:5])
		send(answer)
	})
	lookUp(t, s.client(t, 10*time.Second))
	if ports := s.seen(); len(ports) != 1 {
		t.Errorf("asked from the ports %v", ports)
	}
}

// TestPorts checks the ports of many queries: each is used for a few queries in a row, and the next
// one cannot be guessed from it.
func TestPorts(t *testing.T) {
	const sockets = 200
	s := servePorts(t, answerGood(t))
	c := s.client(t, longTimeout)
	for range sockets * maxUses {
		lookUp(t, c)
	}
	ports := s.seen()
	var used []int
	row, twice := 0, 0
	for i, p := range ports {
		if row++; i == 0 || p != ports[i-1] {
			used, row = append(used, p), 1
		}
		if row%maxUses == 1 && row > 1 {
			twice++ // the next socket may have the same port by chance, in about one run of 140
		}
	}
	different := slices.Compact(slices.Sorted(slices.Values(used)))
	near := 0
	for i := range used[1:] {
		if d := used[i+1] - used[i]; -100 < d && d < 100 {
			near++
		}
	}
	// The kernel chooses from about 28,000 ports. So of 200 random ports, less than one equals an
	// earlier one on average, and about 1.4 are closer than 100 to the one before.
	if twice > 3 || len(used) < sockets-twice || len(different) < len(used)-10 || near > 15 || different[len(different)-1]-different[0] < 10_000 {
		t.Errorf("%d sockets with %d different ports from %d to %d, of which %d are near the one before",
			len(used), len(different), different[0], different[len(different)-1], near)
	}
}

// TestOneQueryOnASocket: queries that wait at the same time have different sockets. Afterwards, no
// more than maxIdle sockets are kept.
func TestOneQueryOnASocket(t *testing.T) {
	const lookups = maxIdle + 20
	var mu sync.Mutex
	var waiting []func()
	s := servePorts(t, func(query []byte, send func([]byte)) {
		mu.Lock()
		defer mu.Unlock()
		waiting = append(waiting, func() { send(nameserver.Respond(t, query, 0, goodA)) })
		if len(waiting) == lookups {
			for _, answer := range waiting {
				answer()
			}
		}
	})
	c := s.client(t, longTimeout)
	var all sync.WaitGroup
	for range lookups {
		all.Go(func() { lookUp(t, c) })
	}
	all.Wait()
	if n := len(slices.Compact(slices.Sorted(slices.Values(s.seen())))); n != lookups {
		t.Errorf("%d sockets for %d queries", n, lookups)
	}
	if n := len(c.idle.idle); n != maxIdle {
		t.Errorf("%d sockets are kept, want %d", n, maxIdle)
	}
}

// TestIdleSocketsCountAsOpen: sockets that are kept and sockets in use are together not more than
// the client may open.
func TestIdleSocketsCountAsOpen(t *testing.T) {
	s := servePorts(t, answerGood(t))
	c := s.client(t, longTimeout)
	for range cap(c.slots) - 1 {
		c.slots <- struct{}{}
	}
	lookUp(t, c)
	if n := len(c.idle.idle); n != 0 {
		t.Errorf("%d sockets are kept while all others are in use", n)
	}
}

// TestSocketIsDropped: after anything but an answer, the next query has another socket. A forger
// who has found out a port therefore cannot make a second attempt on it.
func TestSocketIsDropped(t *testing.T) {
	forge := func(query []byte) []byte {
		b := nameserver.Respond(t, query, 0, "x.example A 203.0.113.66")
		b[0] ^= 1
		return b
	}
	cases := []struct {
		reason string
		answer func(query []byte, send func([]byte))
		kept   bool
	}{
		{"an answer", answerGood(t), true},
		{"an error is an answer", func(query []byte, send func([]byte)) { send(nameserver.Respond(t, query, 2, "")) }, true},
		{"no answer", func([]byte, func([]byte)) {}, false},
		{"a forged packet before the answer", func(query []byte, send func([]byte)) {
			send(forge(query))
			send(nameserver.Respond(t, query, 0, goodA))
		}, false},
		{"a forged packet after the answer, before the next query", func(query []byte, send func([]byte)) {
			send(nameserver.Respond(t, query, 0, goodA))
			send(forge(query))
		}, false},
		{"the answer once more", func(query []byte, send func([]byte)) {
			send(nameserver.Respond(t, query, 0, goodA))
			send(nameserver.Respond(t, query, 0, goodA))
		}, false},
		{"a truncated answer", func(query []byte, send func([]byte)) {
			b := nameserver.Respond(t, query, 0, "")
			b[2] |= nameserver.BitTruncated
			send(b)
		}, false},
	}
	for _, tt := range cases {
		first := true
		sent := make(chan struct{})
		s := servePorts(t, func(query []byte, send func([]byte)) {
			if nameserver.QuestionName(query) != "x.example." {
				return // a probe
			}
			if !first {
				answerGood(t)(query, send)
				return
			}
			first = false
			tt.answer(query, send)
			close(sent)
		})
		timeout := longTimeout
		if tt.reason == "no answer" {
			timeout = silenceTimeout
		}
		c := s.client(t, timeout)
		_, _ = c.Lookup(t.Context(), "x.example", dns.TypeA)
		<-sent
		asked := len(s.seen())
		for { // more than once only if the machine is slower than silenceTimeout
			if _, err := c.Lookup(t.Context(), "x.example", dns.TypeA); err == nil {
				break
			}
		}
		ports := s.seen()
		if kept := ports[asked] == ports[0]; kept != tt.kept {
			t.Errorf("%s: the next query has the same socket: %v", tt.reason, kept)
		}
	}
}

// TestSocketTakesNoQuery: a query that cannot be sent fails. If the socket was used before, another one may send it.
func TestSocketTakesNoQuery(t *testing.T) {
	s := servePorts(t, answerGood(t))
	c := s.client(t, longTimeout)
	tooLong := dnswire.Query{Packet: make([]byte, 1<<16)} // for UDP
	for uses, want := range []error{syscall.EMSGSIZE, errStale} {
		k, err := c.socketTo(t.Context(), c.list()[0])
		if err != nil {
			t.Fatal(err)
		}
		k.uses = uses
		if again, err := k.exchange(t.Context(), tooLong, make([]byte, readSize), time.Now().Add(longTimeout)); again || !errors.Is(err, want) {
			t.Errorf("used %d times: again %t, %v", uses, again, err)
		}
		_ = k.Close()
	}
}

// TestOldSocketsAreClosed: a socket of the age maxAge is not used, and is closed. A moment before, it is kept.
func TestOldSocketsAreClosed(t *testing.T) {
	s := servePorts(t, answerGood(t))
	c := s.client(t, longTimeout)
	lookUp(t, c)
	old, now := c.idle.idle[0], c.now()
	c.idle.sweep.Stop()
	c.idle.now = func() time.Duration { return now }
	old.opened = now - maxAge
	lookUp(t, c)
	if p := s.seen(); p[0] == p[1] {
		t.Error("an old socket was used")
	}
	c.idle.idle[1].opened = now - maxAge + 1
	lookUp(t, c)
	if p := s.seen(); p[1] != p[2] {
		t.Error("a socket that is not so old was not used")
	}
	c.idle.closeOld()
	if len(c.idle.idle) != 1 || !errors.Is(old.SetDeadline(time.Time{}), net.ErrClosed) {
		t.Errorf("%d sockets are kept, and the old one is not closed", len(c.idle.idle))
	}
}

// TestSweep: idle sockets are closed within seconds although no query is made.
func TestSweep(t *testing.T) {
	s := servePorts(t, answerGood(t))
	c := s.client(t, longTimeout)
	lookUp(t, c)
	if c.idle.sweep == nil || !c.idle.sweep.Stop() {
		t.Fatal("no timer runs that closes idle sockets")
	}
	c.idle.closeOld()
	if len(c.idle.idle) != 1 || !c.idle.sweep.Stop() {
		t.Error("the timer does not go on while a socket is idle")
	}
	c.idle.idle[0].opened -= maxAge
	c.idle.closeOld()
	if len(c.idle.idle) != 0 || c.idle.sweep.Stop() {
		t.Error("the timer goes on although no socket is idle")
	}
}

// TestCloseClosesIdleSockets: Close closes idle sockets. A socket of a lookup that ends later is not
// kept.
func TestCloseClosesIdleSockets(t *testing.T) {
	s := servePorts(t, answerGood(t))
	c := s.client(t, longTimeout)
	lookUp(t, c)
	k := c.idle.idle[0]
	c.Close()
	if len(c.idle.idle) != 0 || !errors.Is(k.SetDeadline(time.Time{}), net.ErrClosed) {
		t.Error("an idle socket stays open")
	}
	lookUp(t, c)
	if len(c.idle.idle) != 0 {
		t.Error("a socket is kept after the end")
	}
}

// TestCancelOverSockets: the end of the context ends a read from a socket at once. The socket is not
// used again.
func TestCancelOverSockets(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := servePorts(t, func([]byte, func([]byte)) { cancel() })
	c := s.client(t, longTimeout)
	if got := nameserver.Show(c.Lookup(ctx, "x.example", dns.TypeA)); got != "canceled" {
		t.Errorf("got %s", got)
	}
	if len(c.idle.idle) != 0 {
		t.Error("the socket is kept")
	}
}

// TestSocketsBelongToAServer: a socket is only used for the server to which it is connected.
func TestSocketsBelongToAServer(t *testing.T) {
	useless := servePorts(t, func(query []byte, send func([]byte)) { send(nameserver.Respond(t, query, 2, "")) })
	good := servePorts(t, answerGood(t))
	c, err := NewClient(ClientConfig{Servers: []string{useless.LocalAddr().String(), good.LocalAddr().String()}, Timeout: longTimeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for range 2 {
		lookUp(t, c)
	}
	if a, b := useless.seen(), good.seen(); len(a) != 2 || len(b) != 2 || a[0] != a[1] || b[0] != b[1] {
		t.Errorf("ports of the first server %v, of the second %v", a, b)
	}
}

// TestServerRestarts: an idle socket on which an ICMP error has arrived is replaced, and the query
// is sent on another one.
func TestServerRestarts(t *testing.T) {
	s := servePorts(t, answerGood(t))
	c := s.client(t, longTimeout)
	lookUp(t, c)
	addr := s.LocalAddr().(*net.UDPAddr)
	s.Close()
	if _, err := c.idle.idle[0].Write([]byte("nobody receives this")); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		t.Skip("another program has taken the port:", err)
	}
	defer conn.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, readSize)
		n, from, err := conn.ReadFromUDP(buf)
		if err == nil {
			_, _ = conn.WriteToUDP(nameserver.Respond(t, buf[:n], 0, goodA), from)
		}
	}()
	lookUp(t, c)
	<-done
}

// TestInterruptedSocket checks that a socket is not used again if its query was given up while the
// answer arrived: the interruption may come so late that it would end the next query.
func TestInterruptedSocket(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	begun, late := make(chan struct{}), make(chan struct{})
	defer close(late)
	good := answerGood(t)
	s := servePorts(t, func(query []byte, send func([]byte)) {
		cancel()
		<-begun
		good(query, send)
	})
	c := s.client(t, longTimeout)
	k, err := c.socketTo(ctx, c.list()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	k.interrupt = func() {
		close(begun)
		<-late
	}
	q, _ := dnswire.NewQuestion("x.example", dns.TypeA)
	again, err := k.exchange(ctx, q.Pack(dnswire.Options{}), make([]byte, readSize), time.Now().Add(longTimeout))
	if err != nil || k.Match != dnswire.Whole {
		t.Fatalf("the answer did not arrive: %v, %v", k.Match, err)
	}
	if again {
		t.Error("the socket may be used again")
	}
}
