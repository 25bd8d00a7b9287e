package upstream

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
	"sekimori/internal/testkit/nameserver"
)

// elsewhere returns a dialer that connects 192.0.2.N to the Nth of servers. Tests that need a
// server on another host use these addresses, because servers on loopback are trusted.
func elsewhere(servers ...*nameserver.Server) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var n int
		if _, err := fmt.Sscanf(addr, "192.0.2.%d:53", &n); err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, servers[n-1].Addr())
	}
}

// TestAuthenticated: the AD bit is requested and returned only if the server is trusted.
func TestAuthenticated(t *testing.T) {
	cases := []struct {
		server string
		trust  bool
		want   bool
	}{
		{"127.0.0.1", false, true},
		{"127.9.9.9", false, true},
		{"::1", false, true},
		{"::ffff:127.0.0.1", false, true},
		{"192.0.2.1", false, false},
		{"10.0.0.1", false, false},
		{"2001:db8::1", false, false},
		{"192.0.2.1", true, true},
	}
	for _, c := range cases {
		for _, set := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				client, _ := scripted(t, ClientConfig{Servers: []string{c.server}, TrustAD: c.trust}, func(_, _ string, query []byte, conn net.Conn) {
					if asked := query[3]&nameserver.BitAuthentic != 0; asked != c.want {
						t.Errorf("%s: asked for AD: %v", c.server, asked)
					}
					b := nameserver.Respond(t, query, 0, goodA)
					b[3] &^= nameserver.BitAuthentic
					if set {
						b[3] |= nameserver.BitAuthentic
					}
					_, _ = conn.Write(b)
				})
				if a, err := client.Lookup(t.Context(), "x.example", dns.TypeA); err != nil || a.Authenticated != (c.want && set) {
					t.Errorf("%s, trust %v, AD set %v: authenticated %v, %v", c.server, c.trust, set, a.Authenticated, err)
				}
			})
		}
	}
}

// TestCaseByServer: queries to other hosts have random letter case; queries to this host do not.
func TestCaseByServer(t *testing.T) {
	const name = "abcdefghijklmnopqrstuvwxyz.example"
	for server, mixed := range map[string]bool{"127.0.0.1": false, "192.0.2.1": true, "2001:db8::1": true} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := scripted(t, ClientConfig{Servers: []string{server}}, func(_, _ string, query []byte, conn net.Conn) {
				asked, _, _ := codec.UnpackDomainName(query, dnswire.HeaderLen)
				if (asked != name+".") != mixed {
					t.Errorf("%s was asked for %s", server, asked)
				}
				_, _ = conn.Write(nameserver.Respond(t, query, 0, name+" A 192.0.2.1"))
			})
			if got := nameserver.Show(c.Lookup(t.Context(), name, dns.TypeA)); got != "NOERROR "+name+" 5m0s 192.0.2.1" {
				t.Errorf("%s: %s", server, got)
			}
		})
	}
}

// TestServerThatChangesCase: if a server changes the case of letters, it is asked again over TCP,
// where answers cannot be forged blindly. For some time after that, it is only asked over TCP.
func TestServerThatChangesCase(t *testing.T) {
	const zoneText = "abcdefghijklmnopqrstuvwxyz.example A 192.0.2.1"
	const name = "abcdefghijklmnopqrstuvwxyz.example"
	s := nameserver.Serve(t, zoneText, nameserver.Options{LowerCase: true})
	m := testMetrics(t)
	c, err := NewClient(ClientConfig{Servers: []string{"192.0.2.1"}, Timeout: longTimeout, Dial: elsewhere(s), Metrics: m.Metrics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for range 3 {
		if got := nameserver.Show(c.Lookup(t.Context(), name, dns.TypeA)); got != "NOERROR "+name+" 5m0s 192.0.2.1" {
			t.Errorf("got %s", got)
		}
	}
	if udp, tcp := s.Count(); udp != 1 || tcp != 3 {
		t.Errorf("asked %d times over UDP and %d over TCP", udp, tcp)
	}
	m.Expect(t, map[string]float64{"queries A noerror": 3, "tcp_fallbacks case": 1})
}

// TestForgerDoesNotKnowTheCase: a forger that guessed everything except the letter case has no
// success, because the question is asked again over TCP.
func TestForgerDoesNotKnowTheCase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dialed := scripted(t, ClientConfig{}, func(network, _ string, query []byte, conn net.Conn) {
			if network == "tcp" {
				_, _ = conn.Write(nameserver.Framed(nameserver.Respond(t, query, 0, "abcdefghijklmnopqrstuvwxyz.example A 192.0.2.1")))
				return
			}
			forged := nameserver.Respond(t, query, 0, "abcdefghijklmnopqrstuvwxyz.example A 203.0.113.66")
			copy(forged[dnswire.HeaderLen:], "\x1aabcdefghijklmnopqrstuvwxyz\x07example\x00")
			_, _ = conn.Write(forged)
		})
		if got := nameserver.Show(c.Lookup(t.Context(), "abcdefghijklmnopqrstuvwxyz.example", dns.TypeA)); !strings.HasSuffix(got, " 192.0.2.1") {
			t.Errorf("got %s", got)
		}
		if got := dialed(); !slices.Equal(got, []string{"udp 192.0.2.53:53", "tcp 192.0.2.53:53"}) {
			t.Errorf("sockets %q", got)
		}
	})
}

// TestFloodOfForgeries: a flood of wrong packets ends the exchange over UDP early. The question is
// then asked over TCP, where guessing does not help.
func TestFloodOfForgeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		c, _ := scripted(t, ClientConfig{Metrics: m.Metrics}, func(network, _ string, query []byte, conn net.Conn) {
			answer := nameserver.Respond(t, query, 0, goodA)
			if network == "tcp" {
				_, _ = conn.Write(nameserver.Framed(answer))
				return
			}
			answer[0] ^= 1
			for {
				if _, err := conn.Write(answer); err != nil {
					return
				}
			}
		})
		begin := time.Now()
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" || time.Since(begin) != 0 {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
		m.Expect(t, map[string]float64{"queries A malformed": maxStrays, "queries A noerror": 1, "tcp_fallbacks flood": 1})
	})
}

// TestFloodOverTCP: a flood of messages with a wrong ID ends the exchange over TCP early, and the
// lookup fails.
func TestFloodOverTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, ClientConfig{rounds: 1}, func(network, _ string, query []byte, conn net.Conn) {
			b := nameserver.Respond(t, query, 0, goodA)
			if network == "udp" {
				b[2] |= nameserver.BitTruncated
				_, _ = conn.Write(b)
				return
			}
			b[0] ^= 1
			for {
				if _, err := conn.Write(nameserver.Framed(b)); err != nil {
					return
				}
			}
		})
		begin := time.Now()
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "network" || time.Since(begin) != 0 {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
	})
}

// TestServerWithoutEDNS: a server that does not know EDNS is asked without it. After some time it
// is asked with EDNS again.
func TestServerWithoutEDNS(t *testing.T) {
	for _, c := range []struct {
		reason string
		refuse func(query []byte) []byte
	}{
		{"FORMERR with the question", func(q []byte) []byte { return nameserver.Respond(t, q, codec.RcodeFormatError, "") }},
		{"NOTIMP", func(q []byte) []byte { return nameserver.Respond(t, q, codec.RcodeNotImplemented, "") }},
		{"FORMERR as a header alone", func(q []byte) []byte {
			return append(append([]byte{}, q[:2]...), nameserver.BitResponse, codec.RcodeFormatError, 0, 0, 0, 0, 0, 0, 0, 0)
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := testMetrics(t)
			client, dialed := scripted(t, ClientConfig{Metrics: m.Metrics}, func(_, _ string, query []byte, conn net.Conn) {
				if query[11] != 0 {
					_, _ = conn.Write(c.refuse(query))
					return
				}
				_, _ = conn.Write(nameserver.Respond(t, query, 0, goodA))
			})
			for i, wait := range []time.Duration{0, memory - time.Second, 2 * time.Second} {
				time.Sleep(wait)
				before := len(dialed())
				if got := nameserver.Show(client.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
					t.Errorf("%s: got %s", c.reason, got)
				}
				if n, want := len(dialed())-before, []int{2, 1, 2}[i]; n != want {
					t.Errorf("%s: %d queries at step %d, want %d", c.reason, n, i, want)
				}
			}
			m.Expect(t, map[string]float64{"queries A noerror": 3, "edns_fallbacks": 2})
		})
	}
}

// TestServerWithoutEDNSOverSockets asks a server without EDNS over real sockets. The server was not
// written for these tests.
func TestServerWithoutEDNSOverSockets(t *testing.T) {
	s := nameserver.Serve(t, "x.example A 192.0.2.1", nameserver.Options{NoEDNS: true})
	c := clientOf(t, longTimeout, s)
	for range 2 {
		if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != "NOERROR x.example 5m0s 192.0.2.1" {
			t.Errorf("got %s", got)
		}
	}
	if udp, _ := s.Count(); udp != 3 {
		t.Errorf("%d queries", udp)
	}
}

// TestRefusalIsNotAboutEDNS: a server that rejects the query also without EDNS, or does not answer then, may know
// EDNS. The client remembers that it lacks EDNS only after another answer.
func TestRefusalIsNotAboutEDNS(t *testing.T) {
	const silence = -1
	for _, tt := range []struct {
		without    int // the answer to a query without EDNS
		want       string
		remembered bool
	}{
		{codec.RcodeSuccess, "NOERROR x.example 0s", true}, {codec.RcodeServerFailure, "servfail", true}, {codec.RcodeRefused, "refused", true},
		{codec.RcodeFormatError, "servfail", false}, {codec.RcodeNotImplemented, "servfail", false}, {silence, "timeout", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int32 // with EDNS
			c, _ := scripted(t, ClientConfig{rounds: 1}, func(_, _ string, query []byte, conn net.Conn) {
				switch edns := query[11] != 0; {
				case nameserver.QuestionName(query) == ".": // a probe
				case edns:
					asked.Add(1)
					_, _ = conn.Write(nameserver.Respond(t, query, codec.RcodeFormatError, ""))
				case tt.without != silence:
					_, _ = conn.Write(nameserver.Respond(t, query, tt.without, ""))
				}
			})
			for range 2 {
				if got := nameserver.Show(c.Lookup(t.Context(), "x.example", dns.TypeA)); got != tt.want {
					t.Errorf("rcode %d: got %s", tt.without, got)
				}
			}
			if n := asked.Load(); (n == 1) != tt.remembered {
				t.Errorf("rcode %d: asked %d times with EDNS", tt.without, n)
			}
		})
	}
}
