package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

const zoneText = `
example.jp         TXT "v=spf1 ip4:192.0.2.25 -all"
_dmarc.example.jp  TXT "v=DMARC1; p=reject"
soft.jp            TXT "v=spf1 mx -all"
soft.jp            MX  10 mx.soft.jp.
mx.soft.jp         A   192.0.2.26
_dmarc.soft.jp     TXT "v=DMARC1; p=quarantine"
none.jp            A   192.0.2.27
silent.jp          TXT "v=spf1 -all"
! _dmarc.silent.jp TXT servfail
`

// configured returns a configuration for the tests, after a change.
func configured(t *testing.T, change func(*config.Config)) *config.Config {
	t.Helper()
	cfg := daemon.Config(nameserver.Serve(t, zoneText, nameserver.Options{}).Addr())
	cfg.AuthservID, cfg.AuthservIDAlso = "mx.example.jp", []string{"old.example.jp"}
	if change != nil {
		change(cfg)
	}
	return cfg
}

// started runs a daemon and returns the options for a probe of it, which expects the same
// configuration.
func started(t *testing.T, cfg *config.Config) Options {
	t.Helper()
	d := daemon.Start(t, cfg)
	return Options{Config: cfg, Socket: "inet:" + d.Addr, Resolver: nameserver.Zone(t, zoneText)}
}

// fates returns the messages of a report with what came back, such as "spoof=rejected".
func fates(r *Report) string {
	var out []string
	for _, p := range r.Plays {
		out = append(out, p.Name+"="+string(p.Came.Fate))
	}
	return strings.Join(out, " ")
}

// problems returns the text of all problems and notes.
func problems(r *Report) string {
	out := append([]string{}, r.Notes...)
	for _, p := range r.Plays {
		out = append(out, p.Notes...)
		for _, x := range p.Problems {
			out = append(out, x.What+" "+x.ToDo)
		}
	}
	return strings.Join(out, "\n")
}

// TestRun probes daemons that do what their configuration means.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name    string
		domains []dns.Name
		change  func(*config.Config)
		want    string
		says    string
	}{
		{"its own domain", nil, nil, "pass=delivered forged=delivered spoof=rejected", ""},
		{"monitor", nil, func(c *config.Config) { c.Mode = policy.Monitor }, "pass=delivered forged=delivered spoof=delivered", ""},
		{"quarantine", []dns.Name{"soft.jp"}, nil, "pass=delivered forged=delivered spoof=held", ""},
		{"quarantine by label", []dns.Name{"soft.jp"}, func(c *config.Config) { c.Policy.Quarantine = policy.QuarantineTag },
			"pass=delivered forged=delivered spoof=delivered", ""},
		{"threshold", nil, func(c *config.Config) { c.Policy.Reject = policy.RejectQuarantine }, "pass=delivered forged=delivered spoof=held", ""},
		{"no policy", []dns.Name{"none.jp"}, nil, "forged=delivered spoof=delivered", "No message of none.jp that passes is sent"},
		{"no policy is refused", []dns.Name{"none.jp"}, func(c *config.Config) { c.Policy.NoPolicy = policy.Reject },
			"forged=rejected spoof=rejected", ""},
		{"DNS fails", []dns.Name{"silent.jp"}, nil, "forged=delivered spoof=delivered", "DNS gave no answer to a question that decides"},
		{"two domains", []dns.Name{"example.jp", "soft.jp"}, nil,
			"pass=delivered forged=delivered spoof=rejected pass=delivered forged=delivered spoof=held", ""},
		{"the stranger is trusted", nil, func(c *config.Config) { trust(c, "203.0.113.0/24") }, "pass=delivered forged=delivered spoof=rejected", ""},
		{"the sender is trusted", nil, func(c *config.Config) { trust(c, "192.0.2.0/24") }, "forged=delivered spoof=rejected", "outside trusted.networks"},
		{"a recipient opted out", nil, func(c *config.Config) { c.Policy.Recipients.Default = policy.Out }, "pass=delivered forged=delivered spoof=delivered", ""},
		{"a short label", nil, func(c *config.Config) { c.Headers.Verdict, c.Headers.ReceivedSPF = true, true },
			"pass=delivered forged=delivered spoof=rejected", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := started(t, configured(t, tt.change))
			o.Domains = tt.domains
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK || fates(r) != tt.want || !strings.Contains(problems(r), tt.says) {
				t.Errorf("ok %v: %s\n%s", r.OK, fates(r), problems(r))
			}
			for _, p := range r.Plays {
				if p.Came.Fate == Delivered && len(p.Came.Results) != 1 {
					t.Errorf("%s: %d results in our name", p.Name, len(p.Came.Results))
				}
				if p.Name == "forged" && p.Came.Fate == Delivered && p.Came.Foreign != 1 {
					t.Errorf("%d results of others are left", p.Came.Foreign)
				}
			}
		})
	}
}

func trust(c *config.Config, networks ...string) {
	for _, n := range networks {
		c.Trusted.Networks = append(c.Trusted.Networks, config.Network{Prefix: netip.MustParsePrefix(n)})
	}
}

// TestOtherwise probes a daemon whose configuration is not the one that the probe reads.
func TestOtherwise(t *testing.T) {
	for _, tt := range []struct {
		name    string
		running func(*config.Config)
		says    string
	}{
		{"monitor", func(c *config.Config) { c.Mode = policy.Monitor }, "The message was delivered, but rejected was meant. The running daemon may have"},
		{"another threshold", func(c *config.Config) { c.Policy.Reject = policy.RejectQuarantine }, "The message was held, but rejected was meant."},
		{"another name", func(c *config.Config) { c.AuthservID = "mx2.example.jp" }, "Authentication-Results fields in our name, but 1 were meant."},
		{"all is trusted", func(c *config.Config) { trust(c, "0.0.0.0/1", "128.0.0.0/1") }, "The message was delivered, but rejected was meant."},
		{"no DNS", func(c *config.Config) {
			c.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort("127.0.0.1:1")}}
		},
			"The message was delivered, but rejected was meant. The daemon got no answer from DNS."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := started(t, configured(t, tt.running))
			o.Config = configured(t, nil)
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.OK || !strings.Contains(problems(r), tt.says) {
				t.Errorf("ok %v: %s\n%s", r.OK, fates(r), problems(r))
			}
			var text strings.Builder
			if err := r.Text(&text); err != nil || !strings.Contains(text.String(), "=> NOT as the configuration means") {
				t.Errorf("%v: %s", err, text.String())
			}
		})
	}
}

// TestQuick checks that a quick probe asks DNS nothing, and ends in time if the daemon does not
// answer.
func TestQuick(t *testing.T) {
	server := nameserver.Serve(t, zoneText, nameserver.Options{})
	cfg := daemon.Config(server.Addr())
	for mode, want := range map[policy.Mode]string{policy.Enforce: "quick=rejected", policy.Monitor: "quick=delivered"} {
		cfg := *cfg
		cfg.Mode = mode
		o := started(t, &cfg)
		r, err := Quick(t.Context(), o)
		if err != nil || !r.OK || fates(r) != want {
			t.Errorf("%s: %v, %+v", mode, err, r)
		}
	}
	if udp, tcp := server.Count(); udp+tcp != 0 {
		t.Errorf("DNS was asked %d times", udp+tcp)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := Quick(ctx, Options{Config: cfg, Socket: "inet:" + silent.Addr().String()})
	if err != nil || r.OK || fates(r) != "quick=no_answer" || !strings.Contains(problems(r), "did not answer in time") {
		t.Errorf("a daemon that does not answer: %v, %+v", err, r)
	}
}

// TestUnreachable checks that the error says what is wrong with the socket, and what to do.
func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ socket, says string }{
		{"unix:" + dir + "/none.sock", "there is no such file; does the daemon run?"},
		{"unix:" + dead, "no program listens there"},
		{"inet:127.0.0.1:1", "no program listens there"},
		{"inet:1@127.0.0.1", "inet:127.0.0.1:1: no program"},
		{"inet:127.0.0.1", "is not an address"},
		{"http://x", "is not a socket"},
		{"systemd:other", "name it by --socket"},
	} {
		_, err := Run(t.Context(), Options{Config: configured(t, nil), Socket: tt.socket})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.socket, err)
		}
	}
	if os.Geteuid() != 0 { // root may open everything
		_, err := Run(t.Context(), Options{Config: configured(t, nil), Socket: "unix:" + closed + "/x"})
		if err == nil || !strings.Contains(err.Error(), "run the command as root") {
			t.Errorf("no rights: %v", err)
		}
	}
	// Of several sockets of the configuration, the first that takes a connection is used.
	cfg := configured(t, nil)
	d := daemon.Start(t, cfg)
	both := *cfg
	both.Listen = []config.Listener{{Address: "unix:" + dead}, {Address: "inet:" + d.Addr}}
	r, err := Quick(t.Context(), Options{Config: &both})
	if err != nil || r.Target != "inet:"+d.Addr {
		t.Errorf("%v, %+v", err, r)
	}
	// A program that is not a milter.
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		if c, err := other.Accept(); err == nil {
			_, _ = c.Write([]byte("220 hello\r\n"))
			c.Close()
		}
	}()
	if _, err := Quick(t.Context(), Options{Config: cfg, Socket: "inet:" + other.Addr().String()}); err == nil || !strings.Contains(err.Error(), "does not answer as a milter") {
		t.Errorf("not a milter: %v", err)
	}
}

func TestStranger(t *testing.T) {
	for _, tt := range []struct {
		client   string
		networks []string
		want     string // an address, or part of an error
	}{
		{"", nil, "203.0.113.66"},
		{"", []string{"203.0.113.0/24"}, "198.51.100.66"},
		{"", []string{"203.0.113.0/24", "198.51.100.0/24"}, "192.0.2.66"},
		{"", []string{"0.0.0.0/1", "128.0.0.0/1"}, "may contain the whole Internet"},
		{"192.0.2.9", nil, "192.0.2.9"},
		{"127.0.0.1", nil, "is in trusted.networks"},
	} {
		cfg := config.Default()
		trust(cfg, tt.networks...)
		o := Options{Config: cfg}
		if tt.client != "" {
			o.Client = netip.MustParseAddr(tt.client)
		}
		got, err := o.stranger()
		if err == nil && got.String() != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %v: %v, %v; want %s", tt.client, tt.networks, got, err, tt.want)
		}
	}
}

func TestDomains(t *testing.T) {
	for host, want := range map[string]dns.Name{
		"mx.example.jp": "example.jp", "a.b.example.co.jp": "example.co.jp", "laptop": "example.com", "laptop.lan": "example.com",
		"host.local": "example.com", "co.jp": "example.com", "not a name": "example.com",
	} {
		cfg := config.Default()
		cfg.AuthservID = host
		got, note := Options{Config: cfg}.domains()
		if len(got) != 1 || got[0] != want || (note != "") != (want == "example.com") {
			t.Errorf("%s: %v %q", host, got, note)
		}
	}
}

// TestOrigin checks which address is found for a domain's own mail.
func TestOrigin(t *testing.T) {
	const zone = `
ip4.jp       TXT "v=spf1 ip4:192.0.2.1 -all"
net.jp       TXT "v=spf1 ip4:192.0.2.0/24 -all"
ip6.jp       TXT "v=spf1 ip6:2001:db8::1 -all"
a.jp         TXT "v=spf1 a:host.a.jp -all"
host.a.jp    A   192.0.2.3
mx.jp        TXT "v=spf1 mx -all"
mx.jp        MX  10 host.a.jp.
inc.jp       TXT "v=spf1 include:ip4.jp -all"
red.jp       TXT "v=spf1 redirect=ip4.jp"
loop.jp      TXT "v=spf1 include:loop.jp ip4:192.0.2.9 -all"
minus.jp     TXT "v=spf1 -ip4:192.0.2.1 ip4:192.0.2.1 ip4:192.0.2.2 -all"
macro.jp     TXT "v=spf1 exists:%{i}.jp include:%{d}.x.jp ip4:192.0.2.8 -all"
private.jp   TXT "v=spf1 ip4:10.0.0.1 ip4:192.0.2.7 -all"
trusted.jp   TXT "v=spf1 ip4:198.51.100.7 -all"
nomail.jp    TXT "v=spf1 -all"
broken.jp    TXT "v=spf1 ip4:nowhere"
! fails.jp   TXT servfail
`
	cfg := config.Default()
	trust(cfg, "198.51.100.0/24")
	p := &prober{o: Options{Config: cfg, Resolver: nameserver.Zone(t, zone)}}
	for d, want := range map[dns.Name]string{
		"ip4.jp": "192.0.2.1", "net.jp": "192.0.2.0", "ip6.jp": "2001:db8::1", "a.jp": "192.0.2.3", "mx.jp": "192.0.2.3",
		"inc.jp": "192.0.2.1", "red.jp": "192.0.2.1", "loop.jp": "", "minus.jp": "192.0.2.2", "macro.jp": "",
		"private.jp": "192.0.2.7", "trusted.jp": "", "nomail.jp": "", "broken.jp": "", "fails.jp": "", "absent.jp": "",
	} {
		got := p.origin(t.Context(), d)
		if got.IsValid() != (want != "") || want != "" && got.String() != want {
			t.Errorf("%s: %v, want %q", d, got, want)
		}
	}
}

// TestOriginIsBounded checks that the search ends after maxIncludes records below each other and
// after maxTried addresses.
func TestOriginIsBounded(t *testing.T) {
	var zone strings.Builder
	for i := range maxIncludes + 2 {
		fmt.Fprintf(&zone, "d%d.jp TXT \"v=spf1 include:d%d.jp -all\"\n", i, i+1)
	}
	fmt.Fprintf(&zone, "d%d.jp TXT \"v=spf1 ip4:192.0.2.1 -all\"\n", maxIncludes+2)
	for _, n := range []int{maxTried/2 - 1, maxTried / 2} { // each term names two addresses to try
		fmt.Fprintf(&zone, "n%d.jp TXT \"v=spf1%s ip4:192.0.2.1 -all\"\n", n, strings.Repeat(" ip4:10.0.0.1", n))
	}
	p := &prober{o: Options{Config: config.Default(), Resolver: nameserver.Zone(t, zone.String())}}
	for d, found := range map[string]bool{
		"d2.jp": true, "d1.jp": false, fmt.Sprintf("n%d.jp", maxTried/2-1): true, fmt.Sprintf("n%d.jp", maxTried/2): false,
	} {
		if got := p.origin(t.Context(), dns.Name(d)); got.IsValid() != found {
			t.Errorf("%s: %v, found should be %v", d, got, found)
		}
	}
}

// TestAnotherMilter: what another milter says is not judged as if the daemon had said it.
func TestAnotherMilter(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go mta.Answer(ln, "j")
	o := Options{Config: configured(t, nil), Socket: "inet:" + ln.Addr().String()}
	if _, err := Quick(context.Background(), o); err == nil || !strings.Contains(err.Error(), "another milter than sekimori") {
		t.Errorf("error %v", err)
	}
}
