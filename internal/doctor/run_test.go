package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/milter/wire"
	"sekimori/internal/status"
	"sekimori/internal/testkit/loopback"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

// postconf puts a program postconf into PATH that answers from texts, by the last argument.
func (p *place) postconf(t *testing.T, params, master, options string) {
	t.Helper()
	for flag, text := range map[string]string{"-x": params, "-n": "", "-M": master, "-Px": options} {
		p.file(t, "answer"+flag, text)
	}
	script := "#!/bin/sh\nfor last; do :; done\ncat " + p.dir + "/answer$last\n"
	if err := os.WriteFile(filepath.Join(p.dir, "postconf"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", p.dir+":"+os.Getenv("PATH"))
}

// plain replaces what differs from run to run.
func (p *place) plain(lines []string) string {
	return strings.NewReplacer(p.dir, "DIR", p.o.Config.DNS.Servers[0].String(), "SERVER").Replace(strings.Join(lines, "|"))
}

// TestRunReads: what Run looks at, and what it says that it cannot look at.
func TestRunReads(t *testing.T) {
	const server = "the DNS server SERVER"
	const daemon = "the running daemon (test, mode enforce, up 2s)"
	for _, tt := range []struct {
		name              string
		edit              func(t *testing.T, p *place)
		found             string
		looked, notLooked string
	}{
		{"Postfix", func(t *testing.T, p *place) {
			p.postconf(t, "smtpd_milters = unix:"+p.socket+"\nsmtpd_milter_maps = x\nmail_version = 3.7\nconfig_directory = /etc/postfix\nmail_owner = nobody\n", "smtp inet n - n - - smtpd\n", "")
		}, "", daemon + "|" + server + "|Postfix 3.7 in /etc/postfix", "for which clients smtpd_milter_maps (x) turns the milters off"},
		{"Postfix with an owner that is unknown, and a problem of the daemon", func(t *testing.T, p *place) {
			p.postconf(t, "smtpd_milters = unix:"+p.socket+"\nmail_version = 3.7\nconfig_directory = /etc/postfix\nmail_owner = nobody-has-this-name\nsoft_bounce = yes\n", "smtp inet n - n - - smtpd\n", "")
			p.answer(func(s *status.Status) { s.NotReady = "x" })
		}, "soft_bounce not_ready", daemon + "|" + server + "|Postfix 3.7 in /etc/postfix",
			"the socket file DIR/milter.sock: whether the MTA's user may connect is not known\nuser: unknown user nobody-has-this-name"},
		{"a postconf that fails", func(t *testing.T, p *place) {
			p.postconf(t, "", "", "")
			p.file(t, "postconf", "#!/bin/sh\nexit 1\n")
			_ = os.Chmod(filepath.Join(p.dir, "postconf"), 0o755)
			p.o.PostfixDir = "/nowhere"
		}, "", daemon + "|" + server, "the configuration of Postfix: DIR/postconf -c /nowhere -x: exit status 1: "},
		{"a postconf of this host that fails", func(t *testing.T, p *place) {
			p.postconf(t, "", "", "")
			p.file(t, "postconf", "#!/bin/sh\necho no >&2\nexit 1\n")
			_ = os.Chmod(filepath.Join(p.dir, "postconf"), 0o755)
		}, "", daemon + "|" + server, "the configuration of Postfix: DIR/postconf -x: exit status 1: no"},
		{"Sendmail, and no daemon", func(t *testing.T, p *place) {
			p.o.SendmailCF = p.file(t, "sendmail.cf", "Xa, S=unix:/a, F=T\nO Timeout.command=5m\nO InputMailFilters=a\n")
			p.o.Config.Listen = []config.Listener{{Address: "systemd:milter"}}
			p.o.Status = func(context.Context) (*status.Status, error) { return nil, errors.New("admin: none") }
		}, "", server + "|Sendmail's DIR/sendmail.cf", "what the daemon has seen: none|" +
			"whether Sendmail asks sekimori: systemd opens its sockets, and only the running daemon knows them"},
		{"Sendmail that runs as a user", func(t *testing.T, p *place) {
			p.o.SendmailCF = p.file(t, "sendmail.cf", "Xsekimori, S=unix:"+p.socket+", F=T\nO Timeout.command=5m\nO InputMailFilters=sekimori\nO RunAsUser=nobody-has-this-name:mail\n")
		}, "", daemon + "|" + server + "|Sendmail's DIR/sendmail.cf",
			"the socket file DIR/milter.sock: whether the MTA's user may connect is not known\nuser: unknown user nobody-has-this-name"},
		{"no sendmail.cf", func(_ *testing.T, p *place) { p.o.SendmailCF = filepath.Join(p.dir, "none") }, "", daemon + "|" + server,
			"the configuration of Sendmail: stat DIR/none: no such file or directory"},
		{"a name server that knows nothing", func(t *testing.T, p *place) {
			p.o.SendmailCF = p.file(t, "sendmail.cf", "Xsekimori, S=unix:"+p.socket+", F=T\nO Timeout.command=5m\nO InputMailFilters=sekimori\n")
			p.o.ConfigFile = filepath.Join(p.dir, "none")
			p.nothing(t)
		}, "", daemon + "|" + server + "|Sendmail's DIR/sendmail.cf",
			"whether the DNS server SERVER passes TXT records on: it knows none of the names that were tried"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			p.answer(func(s *status.Status) { s.Uptime = 1700 * time.Millisecond })
			tt.edit(t, p)
			r := Run(t.Context(), p.o)
			var found []string
			for _, f := range r.Findings {
				found = append(found, f.Kind)
			}
			if strings.Join(found, " ") != tt.found || p.plain(r.Looked) != tt.looked || p.plain(r.NotLooked) != tt.notLooked {
				t.Errorf("found %q\nlooked at     %s\nnot looked at %s", found, p.plain(r.Looked), p.plain(r.NotLooked))
			}
		})
	}
}

// nothing gives Run a name server without names.
func (p *place) nothing(t *testing.T) {
	t.Helper()
	p.o.Config.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(nameserver.Serve(t, "x.example A 192.0.2.1\n", nameserver.Options{}).Addr())}}
}

// TestOursFrom: the running daemon knows best where it listens.
func TestOursFrom(t *testing.T) {
	cfg := config.Default()
	cfg.AuthservID = "mx.example"
	cfg.Trusted.Networks = []config.Network{{Prefix: netip.MustParsePrefix("10.1.0.0/16")}, {Prefix: netip.MustParsePrefix("192.0.2.7/32")}}
	cfg.Listen = []config.Listener{{Address: "inet:127.0.0.1:1"}, {Address: "systemd:milter"}, {Address: "unix:/a"}}
	for _, tt := range []struct {
		running *status.Status
		want    string
		unknown bool
	}{
		{nil, "inet:127.0.0.1:1 unix:/a", true},
		{&status.Status{}, "inet:127.0.0.1:1 unix:/a", true},
		{&status.Status{Listen: []string{"unix:/b"}}, "unix:/b", false},
	} {
		for _, mode := range []string{"enforce", "monitor"} {
			cfg.Mode = "monitor"
			if mode == "enforce" {
				cfg.Mode = "enforce"
			}
			o := ours(t.Context(), Options{Config: cfg}, tt.running)
			var got []string
			for _, a := range o.Listen {
				got = append(got, a.String())
			}
			if strings.Join(got, " ") != tt.want || o.Unknown != tt.unknown || o.Enforce != (mode == "enforce") || o.AuthservID != "mx.example" ||
				o.Budget != time.Duration(cfg.DNS.MessageBudget) || o.Idle != time.Duration(cfg.Limits.IdleTimeout) ||
				o.Own == nil || o.Same == nil || o.ReadFile == nil || o.Ask == nil {
				t.Errorf("%s, %+v: %+v", mode, tt.running, o)
			}
		}
	}
	trusts := ours(t.Context(), Options{Config: cfg}, nil).Trusts
	for n, want := range map[string]bool{"10.1.0.0/16": true, "10.1.2.0/24": true, "10.0.0.0/15": false, "10.2.0.0/16": false, "192.0.2.7/32": true, "10.1.0.0/15": false} {
		if trusts(netip.MustParsePrefix(n)) != want {
			t.Errorf("%s is trusted: %v", n, !want)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{"admin: a": "a", "mtaconf: b": "b", "resolver: c": "c", "d: e": "d: e", "a resolver: f": "a resolver: f"} {
		if got := plain(errors.New(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// answer changes what the daemon says.
func (p *place) answer(edit func(*status.Status)) {
	before := p.o.Status
	p.o.Status = func(ctx context.Context) (*status.Status, error) {
		s, err := before(ctx)
		edit(s)
		return s, err
	}
}

// TestAsks: each address is asked once.
func TestAsks(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go mta.Answer(ln, wire.Sign)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go mta.Answer(other, "j")
	ask := asks(t.Context())
	for range 2 { // the second time, nobody listens there any more
		if err := ask("inet", ln.Addr().String()); err != nil {
			t.Error(err)
		}
		if err := ask("inet", other.Addr().String()); !errors.Is(err, client.ErrAnother) {
			t.Error(err)
		}
		_ = ln.Close()
		_ = other.Close()
	}
	if err := ask("inet", loopback.Address(t)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	if err := ask("unix", ln.Addr().String()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a socket of the same name: %v", err)
	}
}

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(path(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path("a"), path("link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"a", "a", true}, {"a", "link", true}, {"link", "a", true}, {"a", "b", false}, {"a", "none", false}, {"none", "a", false}, {"none", "none", false}} {
		if got := sameFile(path(tt.a), path(tt.b)); got != tt.want {
			t.Errorf("%s and %s: %v", tt.a, tt.b, got)
		}
	}
}

// TestSocketFile: who may connect to a socket, by its owner, group and mode.
func TestSocketFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	group := me.Gid
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		group = strconv.FormatUint(uint64(st.Gid), 10)
	}
	name := group
	if g, err := user.LookupGroupId(group); err == nil {
		name = g.Name
	}
	for _, tt := range []struct {
		path, user string
		mode       os.FileMode
		want       SocketFile
	}{
		{filepath.Join(dir, "none"), "", 0, SocketFile{Missing: true}},
		{filepath.Join(dir, "none"), "nobody", 0, SocketFile{Missing: true}},
		{file, "", 0o000, SocketFile{}},
		{file, me.Username, 0o600, SocketFile{}},
		{file, me.Username, 0o200, SocketFile{}},
		{file, me.Username, 0o400, SocketFile{Denied: true, Mode: "400", Group: name}},
		{file, me.Username, 0o020, SocketFile{}},
		{file, me.Username, 0o002, SocketFile{}},
		{file, "nobody", 0o775, SocketFile{Denied: true, Mode: "775", Group: name}},
		{file, "nobody", 0o002, SocketFile{}},
	} {
		if err := os.Chmod(file, tt.mode); err != nil {
			t.Fatal(err)
		}
		if got := socketFile(tt.path, tt.user); got != tt.want {
			t.Errorf("%s, mode %o: %+v, want %+v", tt.user, tt.mode, got, tt.want)
		}
	}
	for _, path := range []string{filepath.Join(file, "below"), file} {
		if got := socketFile(path, "nobody-has-this-name"); got.Err == nil || got.Missing || got.Denied {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if os.Getuid() != 0 {
		return
	}
	// Another owner, a group without a name, and the further groups of a user.
	for _, tt := range []struct {
		uid, gid int
		mode     os.FileMode
		user     string
		want     SocketFile
	}{
		{54321, 54321, 0o660, me.Username, SocketFile{Denied: true, Mode: "660", Group: "54321"}},
		{54321, 0, 0o660, me.Username, SocketFile{}},
		{0, 54321, 0o660, me.Username, SocketFile{}},
		{0, 54321, 0o060, me.Username, SocketFile{Denied: true, Mode: "60", Group: "54321"}},
	} {
		if err := errors.Join(os.Chown(file, tt.uid, tt.gid), os.Chmod(file, tt.mode)); err != nil {
			t.Fatal(err)
		}
		if got := socketFile(file, tt.user); got != tt.want {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}
