package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/label"
	"sekimori/internal/milter/wire"
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
		{"a host without a domain", nil, func(c *config.Config) { c.AuthservID = "mx.internal" }, "forged=delivered spoof=delivered", "--domain names another."},
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

// TestTargets checks which sockets an entry of the key listen means.
func TestTargets(t *testing.T) {
	old := passedSockets
	defer func() { passedSockets = old }()
	there := filepath.Join(t.TempDir(), "milter.sock")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	passedSockets = []string{"/absent/milter.sock", there}
	const noAddress, noSocket = "probe: %q is not an address; write inet:HOST:PORT or unix:/PATH", "probe: %q is not a socket; write inet:HOST:PORT or unix:/PATH"
	for _, tt := range []struct{ listen, want, err string }{
		{"unix:/run/x", "unix:/run/x", ""}, {"local:/run/x", "unix:/run/x", ""}, {"inet:mx.example.jp:1", "inet:mx.example.jp:1", ""},
		{"inet:192.0.2.1:1", "inet:192.0.2.1:1", ""}, {"inet::1", "inet:127.0.0.1:1", ""}, {"inet:0.0.0.0:1", "inet:127.0.0.1:1", ""}, {"inet6:[::]:1", "inet:[::1]:1", ""},
		{"inet6:[2001:db8::1]:1", "inet:[2001:db8::1]:1", ""}, {"inet:1@mx.example.jp", "inet:mx.example.jp:1", ""}, {"inet6:1@[::]", "inet:[::1]:1", ""},
		{"inet:1@0.0.0.0", "inet:127.0.0.1:1", ""}, {"inet:mx.example.jp", "", noAddress}, {"inet:", "", noAddress}, {"http://x", "", noSocket}, {"/run/x", "", noSocket},
		{"systemd:milter", "unix:" + there, ""},
	} {
		got, err := targets(tt.listen)
		if tt.err != "" {
			if len(got) > 0 || err == nil || err.Error() != fmt.Sprintf(tt.err, tt.listen) {
				t.Errorf("%s: %v, %v", tt.listen, got, err)
			}
			continue
		}
		if err != nil || len(got) != 1 || got[0].String() != tt.want || (got[0].Network == "unix") != strings.HasPrefix(tt.want, "unix:") {
			t.Errorf("%s: %+v, %v", tt.listen, got, err)
		}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: fs.ErrPermission}, "inet:x:1: this user may not open it; run the command as root, or as a member of the socket's group"},
		{&net.OpError{Op: "dial", Err: syscall.ENOENT}, "inet:x:1: there is no such file; does the daemon run? (systemctl status sekimori)"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "inet:x:1: no program listens there; does the daemon run? (systemctl status sekimori)"},
		{&net.OpError{Op: "dial", Err: errors.New("odd")}, "inet:x:1: odd"}, {errors.New("other"), "inet:x:1: other"},
	} {
		if got := unreachable(Target{"tcp", "x:1"}, tt.err); got != tt.want {
			t.Errorf("%v: %q", tt.err, got)
		}
	}
	cfg := config.Default()
	cfg.Listen = []config.Listener{{Address: "systemd:milter"}, {Address: "inet:127.0.0.1:1"}}
	passedSockets = []string{"/absent/a", "/absent/b"}
	if _, err := Run(t.Context(), Options{Config: cfg}); err == nil || err.Error() != "probe: the daemon cannot be reached: systemd:milter is a socket of systemd, and none is at /absent/a or /absent/b; "+
		"name it by --socket; inet:127.0.0.1:1: no program listens there; does the daemon run? (systemctl status sekimori)" {
		t.Errorf("%v", err)
	}
}

// unusable returns a configuration for which there is no judge.
func unusable() *config.Config {
	cfg := config.Default()
	cfg.DMARC.OrganizationalDomain, cfg.DMARC.PSLFile = dmarc.PSL, "/absent/list"
	return cfg
}

// TestRunFails checks that a probe that can send nothing is an error.
func TestRunFails(t *testing.T) {
	socket := scripted(t, nil)
	zone := nameserver.Zone(t, zoneText)
	for _, tt := range []struct {
		name string
		run  func(context.Context, Options) (*Report, error)
		o    Options
		want string
	}{
		{"a trusted client", Run, Options{Config: config.Default(), Client: netip.MustParseAddr("127.0.0.1")}, "probe: 127.0.0.1 is in trusted.networks, so its mail is not evaluated; name another address"},
		{"no judge", Run, Options{Config: unusable()}, "probe: app: dmarc.psl_file: open /absent/list: no such file or directory"},
		{"no judge", Quick, Options{Config: unusable()}, "probe: app: dmarc.psl_file: open /absent/list: no such file or directory"},
	} {
		tt.o.Socket, tt.o.Resolver = "inet:"+socket, zone
		if r, err := tt.run(t.Context(), tt.o); r != nil || err == nil || err.Error() != tt.want {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
	}
	cfg := config.Default()
	cfg.DNS.Servers, cfg.AuthservID = nil, "mx.example.jp"
	if r, err := Self(t.Context(), Options{Config: unusable()}); r != nil || err == nil {
		t.Errorf("self: %+v, %v", r, err)
	}
}

// scripted plays a daemon that answers each command of a milter session by the script. "" ends the connection,
// and what is not in the script goes on. It returns its address.
func scripted(t *testing.T, script map[byte]string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	answer := func(nc net.Conn) {
		defer nc.Close()
		for {
			head := make([]byte, 5)
			if _, err := io.ReadFull(nc, head); err != nil {
				return
			}
			if _, err := io.ReadFull(nc, make([]byte, binary.BigEndian.Uint32(head)-1)); err != nil {
				return
			}
			reply, known := script[head[4]]
			switch {
			case known && reply == "":
				return
			case known:
			case head[4] == 'O':
				reply = "O\x00\x00\x00\x06" + strings.Repeat("\x00", 8) + "\x00\x00\x00\x00" + wire.Sign + "\x00"
			case head[4] == 'D', head[4] == 'Q':
				continue
			default:
				reply = "c"
			}
			if _, err := nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...)); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go answer(nc)
		}
	}()
	return ln.Addr().String()
}

// TestConverse checks what comes of a daemon that answers early, or stops to answer, at each step.
func TestConverse(t *testing.T) {
	m := written(Mail{Name: "n", Client: netip.MustParseAddr("192.0.2.1"), HELO: "h.example", MailFrom: "a@b.example", Recipient: "c@d.example", From: "a@b.example"}, "")
	const gone = "probe: %s does not answer as a milter: "
	for _, tt := range []struct {
		name   string
		script map[byte]string
		want   Outcome
		err    string // its beginning
	}{
		{"delivered", nil, Outcome{Fate: Delivered}, ""},
		{"no negotiation", map[byte]string{'O': ""}, Outcome{}, gone}, {"another answer to the negotiation", map[byte]string{'O': "c"}, Outcome{}, gone},
		{"hangs up at CONNECT", map[byte]string{'C': ""}, Outcome{}, gone}, {"hangs up at HELO", map[byte]string{'H': ""}, Outcome{}, gone},
		{"hangs up at MAIL", map[byte]string{'M': ""}, Outcome{}, gone}, {"hangs up at RCPT", map[byte]string{'R': ""}, Outcome{}, gone}, {"hangs up at the end", map[byte]string{'E': ""}, Outcome{}, gone},
		{"refuses CONNECT", map[byte]string{'C': "r"}, Outcome{Fate: Rejected, Reply: "reject"}, ""}, {"busy at CONNECT", map[byte]string{'C': "t"}, Outcome{Fate: Deferred, Reply: "tempfail"}, ""},
		{"busy at HELO", map[byte]string{'H': "y421 4.3.2 busy\x00"}, Outcome{Fate: Deferred, Reply: "421 4.3.2 busy"}, ""},
		{"refuses RCPT", map[byte]string{'R': "y550 5.7.1 no\x00"}, Outcome{Fate: Rejected, Reply: "550 5.7.1 no"}, ""},
		{"refuses at the end", map[byte]string{'E': "r"}, Outcome{Fate: Rejected, Reply: "reject"}, ""}, {"discards at the end", map[byte]string{'E': "d"}, Outcome{Fate: Rejected, Reply: "discard"}, ""},
	} {
		target := Target{"tcp", scripted(t, tt.script)}
		names := label.Names{AuthServID: "mx.jp"}
		got, err := target.send(t.Context(), nil, names.Identity("mx.jp"), m)
		if !reflect.DeepEqual(got, tt.want) || (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), fmt.Sprintf(tt.err, target)) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	names := label.Names{}
	if got, err := (Target{"tcp", "127.0.0.1:1"}).send(t.Context(), nil, names.Identity("mx.jp"), m); !reflect.DeepEqual(got, Outcome{}) || err == nil || !strings.HasPrefix(err.Error(), "probe: inet:127.0.0.1:1: no program listens there") {
		t.Errorf("nobody there: %+v, %v", got, err)
	}
}

// TestLostInTheMiddle checks that a probe ends with an error if the daemon is gone at one of its messages.
func TestLostInTheMiddle(t *testing.T) {
	cfg := configured(t, nil)
	o := Options{Config: cfg, Socket: "inet:" + scripted(t, map[byte]string{'M': ""}), Resolver: nameserver.Zone(t, zoneText)}
	for name, run := range map[string]func(context.Context, Options) (*Report, error){"run": Run, "quick": Quick} {
		if r, err := run(t.Context(), o); r != nil || err == nil || !strings.Contains(err.Error(), "does not answer as a milter") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestMails checks what is sent.
func TestMails(t *testing.T) {
	cfg := config.Default()
	cfg.AuthservID, cfg.AuthservIDAlso = "mx.example.jp", []string{"old.example.jp"}
	const forged = "Authentication-Results: mx.example.jp; dmarc=pass header.from=probe.invalid\r\nAuthentication-Results: old.example.jp; dmarc=pass header.from=probe.invalid\r\n" +
		"Authentication-Results: other.probe.invalid; dmarc=fail\r\n"
	stranger := netip.MustParseAddr("203.0.113.66")
	for _, tt := range []struct {
		domain dns.Name
		to     string
		want   string
		note   string
	}{
		{"example.jp", "", "pass 192.0.2.25 example.jp postmaster@example.jp postmaster@example.jp postmaster@example.jp false\n" +
			"forged 192.0.2.25 example.jp postmaster@example.jp postmaster@example.jp postmaster@example.jp true\n" +
			"spoof 203.0.113.66 probe.invalid postmaster@example.jp postmaster@example.jp postmaster@example.jp false\n", ""},
		{"none.jp", "ann@here.jp", "forged 203.0.113.66 probe.invalid postmaster@probe.invalid ann@here.jp postmaster@probe.invalid true\n" +
			"spoof 203.0.113.66 probe.invalid postmaster@none.jp ann@here.jp postmaster@none.jp false\n",
			"No message of none.jp that passes is sent, because no address outside trusted.networks was found that its SPF record allows."},
	} {
		p := &prober{o: Options{Config: cfg, Resolver: nameserver.Zone(t, zoneText), Recipient: tt.to}}
		got := ""
		for _, m := range p.about(t.Context(), tt.domain, stranger) {
			raw := string(m.Raw)
			got += fmt.Sprintln(m.Name, m.Client, m.HELO, m.MailFrom, m.Recipient, m.From, strings.HasPrefix(raw, forged))
			if raw = strings.TrimPrefix(raw, forged); !strings.HasPrefix(raw, "From: sekimori probe <"+m.From+">\r\nTo: "+m.Recipient+"\r\nSubject: sekimori probe: "+m.Name+"\r\nDate: ") ||
				!strings.HasSuffix(raw, "@probe.invalid>\r\n\r\nThis is a message of the command \"sekimori probe\".\r\n") || m.Title == "" {
				t.Errorf("%s: %s", m.Name, m.Raw)
			}
		}
		if got != tt.want || strings.Join(p.report.Notes, "") != tt.note {
			t.Errorf("%s: %s\n%q", tt.domain, got, p.report.Notes)
		}
		nobody := p.nobody()
		if !strings.HasPrefix(string(nobody.Raw), "From: two@probe.invalid\r\n"+forged+"From: sekimori probe <one@probe.invalid>\r\n") || nobody.Client.IsValid() || nobody.HELO != "[192.0.2.66]" {
			t.Errorf("%+v\n%s", nobody, nobody.Raw)
		}
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
bad.jp       TXT "v=spf1 redirect=a..b"
macro.jp     TXT "v=spf1 exists:%{i}.jp include:%{d}.x.jp ip4:192.0.2.8 -all"
private.jp   TXT "v=spf1 ip4:10.0.0.1 ip4:192.0.2.7 -all"
trusted.jp   TXT "v=spf1 ip4:198.51.100.7 -all"
nomail.jp    TXT "v=spf1 -all"
broken.jp    TXT "v=spf1 ip4:nowhere"
second.jp    TXT "v=spf1 ip4:nowhere"
second.jp    TXT "v=spf1 ip4:192.0.2.4 -all"
six.jp       TXT "v=spf1 a -all"
! six.jp     A servfail
six.jp       AAAA 2001:db8::2
mxfail.jp    TXT "v=spf1 mx ip4:192.0.2.5 -all"
! mxfail.jp  MX servfail
mxthen.jp    TXT "v=spf1 mx ip4:192.0.2.5 -all"
redmacro.jp  TXT "v=spf1 redirect=%{d}.jp"
redfail.jp   TXT "v=spf1 redirect=fails.jp"
soft.jp      TXT "v=spf1 ~ip4:192.0.2.1 ?ip4:192.0.2.2 ip4:192.0.2.6 -all"
! fails.jp   TXT servfail
`
	cfg := config.Default()
	trust(cfg, "198.51.100.0/24")
	z := nameserver.Zone(t, zone)
	p := &prober{o: Options{Config: cfg, Resolver: z}}
	for d, want := range map[dns.Name]string{
		"ip4.jp": "192.0.2.1", "net.jp": "192.0.2.0", "ip6.jp": "2001:db8::1", "a.jp": "192.0.2.3", "mx.jp": "192.0.2.3",
		"inc.jp": "192.0.2.1", "red.jp": "192.0.2.1", "loop.jp": "", "minus.jp": "192.0.2.2", "macro.jp": "",
		"private.jp": "192.0.2.7", "trusted.jp": "", "nomail.jp": "", "broken.jp": "", "fails.jp": "", "absent.jp": "",
		"second.jp": "", "six.jp": "2001:db8::2", "mxfail.jp": "", "mxthen.jp": "192.0.2.5", "redmacro.jp": "", "redfail.jp": "", "soft.jp": "192.0.2.6",
	} {
		got := p.origin(t.Context(), d)
		if got.IsValid() != (want != "") || want != "" && got.String() != want {
			t.Errorf("%s: %v, want %q", d, got, want)
		}
	}
	p.senders(t.Context(), "bad.jp", 0)
	for _, q := range z.Queries() { // CheckMailFrom asks for what a macro becomes
		if strings.Contains(q, "%") || strings.HasPrefix(q, " ") || strings.HasPrefix(q, ". ") {
			t.Errorf("asked for %q", q)
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
	zone.WriteString("many.jp TXT \"v=spf1 mx a:last.jp -all\"\n")
	for i := range 2 * maxTried {
		fmt.Fprintf(&zone, "many.jp MX %d m%d.jp.\nm%d.jp A 10.0.0.1\n", i, i, i)
	}
	z := nameserver.Zone(t, zone.String())
	p := &prober{o: Options{Config: config.Default(), Resolver: z}}
	if got := p.senders(t.Context(), "many.jp", 0); len(got) != maxTried || len(z.Queries()) != 2+2*maxTried {
		t.Errorf("%d addresses after %d questions", len(got), len(z.Queries()))
	}
	for d, found := range map[string]bool{
		"d2.jp": true, "d1.jp": false, fmt.Sprintf("n%d.jp", maxTried/2-1): true, fmt.Sprintf("n%d.jp", maxTried/2): false,
	} {
		if got := p.origin(t.Context(), dns.Name(d)); got.IsValid() != found {
			t.Errorf("%s: %v, found should be %v", d, got, found)
		}
	}
}

// TestEnd: the end of a probe frees what it has, also a connection that no message used.
func TestEnd(t *testing.T) {
	near, far := net.Pipe()
	freed := 0
	for _, p := range []*prober{{first: near}, {}} {
		p.free = func() { freed++ }
		p.end()
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || freed != 2 {
		t.Errorf("%v, freed %d times", err, freed)
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
	if _, err := Quick(context.Background(), o); err == nil || err.Error() != "probe: "+o.Socket+": "+errAnother.Error() {
		t.Errorf("error %v", err)
	}
}
