package upstream

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// silenceTimeout is how long tests over real sockets wait if no answer may come. longTimeout is how
// long they wait if an answer must come, however slow the machine is.
const (
	silenceTimeout = 30 * time.Millisecond
	longTimeout    = 30 * time.Second
)

func clientOf(tb testing.TB, timeout time.Duration, servers ...*nameserver.Server) *Client {
	tb.Helper()
	cfg := ClientConfig{Timeout: timeout}
	for _, s := range servers {
		cfg.Servers = append(cfg.Servers, s.Addr())
	}
	c, err := NewClient(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

func TestClientOverSockets(t *testing.T) {
	fill := strings.Repeat("k", 255)
	s := nameserver.Serve(t, fmt.Sprintf(`
example.com 900 SOA ns hostmaster 1 2 3 4 120
example.com A 192.0.2.1
example.com AAAA 2001:db8::1
example.com MX 10 mail.example.com
example.com TXT "v=spf1 " "-all"
1.2.0.192.in-addr.arpa PTR mail.example.com
www.example.com CNAME web.example.com
web.example.com A 192.0.2.2
gone.example.com CNAME nothing.example.com
odd\200\"\\x.example.com TXT "\000\255"
big.example.com TXT "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s"
mid.example.com TXT "%[1]s" "%[1]s" "%[1]s"
half.example.com TXT whole
! half.example.com TXT truncate
! never.example.com TXT truncate-tcp
! fail.example.com * servfail
! refused.example.com * refused
`, fill), nameserver.Options{Authenticated: true})
	c := clientOf(t, longTimeout, s)
	cases := []struct {
		name   dns.Name
		typ    dns.Type
		want   string
		tcp    bool
		reason string
	}{
		{"example.com", dns.TypeA, "NOERROR example.com 5m0s 192.0.2.1", false, ""},
		{"example.com", dns.TypeAAAA, "NOERROR example.com 5m0s 2001:db8::1", false, ""},
		{"example.com", dns.TypeMX, "NOERROR example.com 5m0s 10:mail.example.com", false, ""},
		{"example.com", dns.TypeTXT, `NOERROR example.com 5m0s "v=spf1 -all"`, false, ""},
		{"1.2.0.192.in-addr.arpa", dns.TypePTR, "NOERROR 1.2.0.192.in-addr.arpa 5m0s mail.example.com", false, ""},
		{"www.example.com", dns.TypeA, "NOERROR web.example.com 5m0s 192.0.2.2", false, "alias"},
		{"gone.example.com", dns.TypeA, "NXDOMAIN nothing.example.com 2m0s", false, "dangling alias"},
		{"nope.example.com", dns.TypeA, "NXDOMAIN nope.example.com 2m0s", false, "the SOA's minimum"},
		{"example.com", dns.TypePTR, "NOERROR example.com 2m0s", false, "NODATA"},
		{"odd\xc8\"\\x.example.com", dns.TypeTXT, `NOERROR odd` + "\xc8" + `"\x.example.com 5m0s "\x00\xff"`, false, "raw octets in name and text"},
		{"mid.example.com", dns.TypeTXT, `NOERROR mid.example.com 5m0s "` + strings.Repeat(fill, 3) + `"`, false, "over 512 octets with EDNS"},
		{"big.example.com", dns.TypeTXT, `NOERROR big.example.com 5m0s "` + strings.Repeat(fill, 6) + `"`, true, "longer than EDNS allows"},
		{"half.example.com", dns.TypeTXT, `NOERROR half.example.com 5m0s "whole"`, true, "truncated although it would fit"},
		{"never.example.com", dns.TypeTXT, "malformed", true, "truncated over TCP too"},
		{"fail.example.com", dns.TypeTXT, "servfail", false, ""},
		{"refused.example.com", dns.TypeTXT, "refused", false, ""},
		{"", dns.TypeA, "NOERROR  1m0s", false, "the root"},
	}
	for _, tc := range cases {
		_, before := s.Count()
		a, err := c.Lookup(t.Context(), tc.name, tc.typ)
		if got := nameserver.Show(a, err); got != tc.want {
			t.Errorf("%q %s: got %s, want %s (%s)", tc.name, tc.typ, got, tc.want, tc.reason)
		}
		if _, after := s.Count(); (after > before) != tc.tcp {
			t.Errorf("%q %s: asked over TCP: %v, want %v", tc.name, tc.typ, after > before, tc.tcp)
		}
		if err == nil && (a.Server != s.Addr() || !a.Authenticated || a.Name != tc.name || a.Type != tc.typ || a.Cached || a.Stale) {
			t.Errorf("%q %s: %+v", tc.name, tc.typ, a)
		}
	}
}

// TestClientAgreesWithZone: a zone gives the same answers over the network as in memory. Tests that
// use a zone in memory therefore also hold for the network.
func TestClientAgreesWithZone(t *testing.T) {
	text := `
example.com 900 SOA ns hostmaster 1 2 3 4 120
a.example.com 60 A 192.0.2.1
b.example.com CNAME a.example.com
c.example.com CNAME d.example.com
*.w.example.com TXT star
! f.example.com * servfail
`
	c := clientOf(t, longTimeout, nameserver.Serve(t, text, nameserver.Options{}))
	z := nameserver.Zone(t, text)
	for _, name := range []dns.Name{
		"a.example.com", "b.example.com", "c.example.com", "x.w.example.com", "w.example.com", "f.example.com", "example.com", "com", "net",
	} {
		for _, typ := range []dns.Type{dns.TypeA, dns.TypeTXT, dns.TypeCNAME} {
			if net, mem := nameserver.Show(c.Lookup(t.Context(), name, typ)), nameserver.Show(z.Lookup(t.Context(), name, typ)); net != mem {
				t.Errorf("%s %s: %s over the network, %s in memory", name, typ, net, mem)
			}
		}
	}
}

func TestClientOverSocketsFaults(t *testing.T) {
	s := nameserver.Serve(t, `
! silent.example A timeout
! garbage.example A garbage
! id.example A wrongid
! question.example A wrongquestion
`, nameserver.Options{})
	m := testMetrics(t)
	c, err := NewClient(ClientConfig{Servers: []string{s.Addr()}, Timeout: silenceTimeout, rounds: 1, Metrics: m.Metrics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, name := range []dns.Name{"silent.example", "garbage.example", "id.example", "question.example"} {
		if got := nameserver.Show(c.Lookup(t.Context(), name, dns.TypeA)); got != "timeout" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if n := m.Values(t)["queries A timeout"]; n != 4 {
		t.Errorf("%v timeouts", n)
	}
}

// TestClientServerDown: the client notices a closed port at once (by ICMP), not at the deadline.
func TestClientServerDown(t *testing.T) {
	down := nameserver.Serve(t, "", nameserver.Options{})
	addr := down.Addr()
	up := nameserver.Serve(t, "x.example A 192.0.2.1", nameserver.Options{})
	_ = down.Close()
	m := testMetrics(t)
	c, err := NewClient(ClientConfig{Servers: []string{addr, up.Addr()}, Timeout: longTimeout, Metrics: m.Metrics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	a, err := c.Lookup(t.Context(), "x.example", dns.TypeA)
	if got := nameserver.Show(a, err); got != "NOERROR x.example 5m0s 192.0.2.1" || a.Server != up.Addr() {
		t.Errorf("got %s from %s", got, a.Server)
	}
	if n := m.Values(t)["tcp_fallbacks flood"]; n != 0 {
		t.Error("asked again over TCP")
	}
}

func TestClientNextServer(t *testing.T) {
	type answers map[string]string // from the server to what it does
	cases := []struct {
		reason string
		does   answers
		want   string
		from   string
		asked  string
	}{
		{"the first answers", answers{"1": "ok", "2": "ok"}, "NOERROR x.example 5m0s 192.0.2.1", "1", "1"},
		{"SERVFAIL", answers{"1": "servfail", "2": "ok"}, "NOERROR x.example 5m0s 192.0.2.1", "2", "1 2"},
		{"REFUSED", answers{"1": "refused", "2": "ok"}, "NOERROR x.example 5m0s 192.0.2.1", "2", "1 2"},
		{"silence", answers{"1": "timeout", "2": "ok"}, "NOERROR x.example 5m0s 192.0.2.1", "2", "1 2"},
		{"garbage", answers{"1": "garbage", "2": "ok"}, "NOERROR x.example 5m0s 192.0.2.1", "2", "1 2"},
		{"NXDOMAIN is an answer", answers{"1": "nxdomain", "2": "ok"}, "NXDOMAIN x.example 0s", "1", "1"},
		{"all are silent, so each is asked twice", answers{"1": "timeout", "2": "timeout"}, "timeout", "2", "1 2 1 2"},
		{"a server that answered is not asked again", answers{"1": "servfail", "2": "timeout"}, "timeout", "2", "1 2 2"},
		{"all answered with a failure, so each is asked once", answers{"1": "servfail", "2": "refused"}, "refused", "2", "1 2"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var asked []string
				client, _ := scripted(t, ClientConfig{Servers: []string{"192.0.2.1", "192.0.2.2"}}, func(_, addr string, query []byte, conn net.Conn) {
					if nameserver.AsksRoot(t, query, conn) {
						return
					}
					server := addr[len("192.0.2."):len("192.0.2.1")]
					mu.Lock()
					asked = append(asked, server)
					mu.Unlock()
					switch c.does[server] {
					case "ok":
						_, _ = conn.Write(nameserver.Respond(t, query, 0, goodA))
					case "nxdomain":
						_, _ = conn.Write(nameserver.Respond(t, query, 3, ""))
					case "servfail":
						_, _ = conn.Write(nameserver.Respond(t, query, 2, ""))
					case "refused":
						_, _ = conn.Write(nameserver.Respond(t, query, 5, ""))
					case "garbage":
						_, _ = conn.Write([]byte("garbage"))
					}
				})
				a, err := client.Lookup(t.Context(), "x.example", dns.TypeA)
				if got := nameserver.Show(a, err); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				from := a.Server
				if e := nameserver.Failure(err); e != nil {
					from = e.Server
				}
				if from != "192.0.2."+c.from+":53" {
					t.Errorf("from %s, want %s", from, c.from)
				}
				mu.Lock()
				defer mu.Unlock()
				if got := strings.Join(asked, " "); got != c.asked {
					t.Errorf("asked %s, want %s", got, c.asked)
				}
			})
		})
	}
}

// TestClientFollowsChains: if an alias chain goes on outside the answer, the client asks further
// questions, but only a bounded number. The TTL of the result is the smallest one.
func TestClientFollowsChains(t *testing.T) {
	answers := map[string]string{
		"x.example.":  "x.example 50 CNAME y.example",
		"y.example.":  "y.example 40 CNAME z.example",
		"z.example.":  "z.example 60 A 192.0.2.1",
		"l1.example.": "l1.example CNAME l2.example",
		"l2.example.": "l2.example CNAME l1.example",
		"m1.example.": "m1.example CNAME m2.example",
		"m2.example.": "m2.example CNAME m3.example",
		"m3.example.": "m3.example CNAME m4.example\nm4.example CNAME m2.example",
		"c1.example.": "c1.example CNAME c2.example",
		"c2.example.": "c2.example CNAME c3.example",
		"c3.example.": "c3.example CNAME c4.example",
		"c4.example.": "c4.example CNAME c5.example",
		"c5.example.": "c5.example A 192.0.2.1",
		"n.example.":  "n.example 30 CNAME gone.example",
		"f.example.":  "f.example CNAME fail.example",
		"d.example.":  "d.example 30 CNAME nodata.example",
	}
	cases := []struct {
		name  dns.Name
		want  string
		asked int
	}{
		{"x.example", "NOERROR z.example 40s 192.0.2.1", 3},
		{"l1.example", "loop", 2},
		{"m1.example", "loop", 3},
		{"c1.example", "too_large", maxRestarts},
		{"n.example", "NXDOMAIN gone.example 0s", 2},
		{"d.example", "NOERROR nodata.example 0s", 2},
		{"f.example", "servfail", 2},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			client, dialed := scripted(t, ClientConfig{}, func(_, _ string, query []byte, conn net.Conn) {
				name := nameserver.QuestionName(query)
				rcode := 0
				switch name {
				case "gone.example.":
					rcode = 3
				case "fail.example.":
					rcode = 2
				}
				_, _ = conn.Write(nameserver.Respond(t, query, rcode, answers[name]))
			})
			a, err := client.Lookup(t.Context(), c.name, dns.TypeA)
			if got := nameserver.Show(a, err); got != c.want || len(dialed()) != c.asked {
				t.Errorf("%s: got %s with %d questions, want %s with %d", c.name, got, len(dialed()), c.want, c.asked)
			}
			if e := nameserver.Failure(err); e != nil && e.Name != c.name {
				t.Errorf("%s: the failure names %s", c.name, e.Name)
			}
			if err == nil && a.Name != c.name {
				t.Errorf("%s: the answer is about %s", c.name, a.Name)
			}
		})
	}
}

func TestClientUnpackableName(t *testing.T) {
	c, err := NewClient(ClientConfig{Servers: []string{"192.0.2.1"}, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("a name that fits no packet was asked for")
		return nil, os.ErrInvalid
	}, OnPanic: func(p any) { t.Error(p) }})
	if err != nil {
		t.Fatal(err)
	}
	if got := nameserver.Show(c.Lookup(t.Context(), dns.Name(strings.Repeat("a", 300)), dns.TypeA)); got != "malformed" {
		t.Errorf("got %s", got)
	}
}

func TestServers(t *testing.T) {
	cases := []struct {
		in     []string
		want   string
		reason string
	}{
		{[]string{"127.0.0.1:53", "192.0.2.1"}, "127.0.0.1:53 192.0.2.1:53", "the default port is 53"},
		{[]string{"::1", "[2001:db8::1]:5353"}, "[::1]:53 [2001:db8::1]:5353", "IPv6"},
		{[]string{"fe80::1%eth0"}, "[fe80::1%eth0]:53", "zone"},
		{[]string{"tls://192.0.2.1", "tls://[2001:db8::1]:8853#dns.example", "tls://::1"}, "192.0.2.1:853 [2001:db8::1]:8853 [::1]:853", "TLS has a port of its own"},
		{[]string{"tls://dns.example"}, "", "names would need a server"},
		{[]string{"192.0.2.1#dns.example"}, "", "a name is only allowed with TLS"},
		{[]string{"https://192.0.2.1"}, "", "another scheme"},
		{[]string{"ns.example.com"}, "", "names would need a server"},
		{[]string{"ns.example.com:53"}, "", ""},
		{[]string{"127.0.0.1:0"}, "", "no such port"},
		{[]string{""}, "", ""},
	}
	for _, c := range cases {
		client, err := NewClient(ClientConfig{Servers: c.in})
		if c.want == "" {
			if err == nil || !strings.HasPrefix(err.Error(), "resolver: ") {
				t.Errorf("%q: error %v (%s)", c.in, err, c.reason)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
		} else if got := strings.Join(client.Servers(), " "); got != c.want {
			t.Errorf("%q: got %s, want %s (%s)", c.in, got, c.want, c.reason)
		}
	}
}

func TestServersFromResolvConf(t *testing.T) {
	cases := []struct{ conf, want, reason string }{
		{"# comment\nnameserver 192.0.2.1\nsearch example\nnameserver ::1\n", "192.0.2.1:53 [::1]:53", ""},
		{"options edns0\n", "127.0.0.1:53", "without servers, the local machine is asked (resolv.conf(5))"},
		{"nameserver bogus\n", "", "not an address"},
		{strings.Repeat("nameserver 192.0.2.1\n", 4), "192.0.2.1:53 192.0.2.1:53 192.0.2.1:53", "more than resolv.conf(5) allows"},
	}
	for _, c := range cases {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(c.conf), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ServersFromResolvConf(path)
		if (err != nil) != (c.want == "") || strings.Trim(fmt.Sprint(got), "[]") != c.want {
			t.Errorf("%q: got %q, %v, want %s (%s)", c.conf, got, err, c.want, c.reason)
		}
	}
	if _, err := ServersFromResolvConf(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
}
