package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/milter/wire"
	"sekimori/internal/mtaconf"
	"sekimori/internal/status"
	"sekimori/internal/testkit/loopback"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

// healthyZone has the names that Probe asks for.
const healthyZone = `gmail.com MX 5 mx.gmail.com
gmail.com TXT "v=spf1 -all"
microsoft.com MX 5 mx.microsoft.com
microsoft.com TXT "v=spf1 -all"
microsoft.com TXT "a second one"
apple.com MX 5 mx.apple.com
apple.com TXT "v=spf1 -all"
`

// place is a host for Run: an open milter socket, a TCP port of the daemon, a name server, and the
// answer of the daemon.
type place struct {
	dir    string
	socket string
	port   string
	closed string // a TCP address at which nobody listens
	other  string // a TCP address at which another milter listens
	mute   string // a TCP address at which a program listens that never answers
	o      Options
}

func newPlace(t *testing.T) *place {
	t.Helper()
	// The path of a unix socket must be shorter than 108 octets, and must not have a comma.
	dir, err := os.MkdirTemp("", "doctor")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &place{dir: dir}
	p.socket = filepath.Join(p.dir, "milter.sock")
	ln, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go mta.Answer(ln, wire.Sign)
	if err := os.Chmod(p.socket, 0o666); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	go mta.Answer(tcp, wire.Sign)
	_, p.port, _ = net.SplitHostPort(tcp.Addr().String())
	cfg := config.Default()
	cfg.Mode = "enforce"
	cfg.AuthservID = "mx.here.example"
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(nameserver.Serve(t, healthyZone, nameserver.Options{}).Addr())}}
	p.o = Options{
		Config: cfg, Now: time.Now(),
		Status: func(context.Context) (*status.Status, error) {
			return &status.Status{
				Version: "test", Mode: "enforce", Listen: []string{"unix:" + p.socket, "inet:127.0.0.1:" + p.port},
				Config: status.Config{LastReloadOK: true},
			}, nil
		},
	}
	return p
}

func (p *place) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// kinds returns the kinds of the findings, each once.
func kinds(r *Report) string {
	var out []string
	for _, f := range r.Findings {
		if !slices.Contains(out, f.Kind) {
			out = append(out, f.Kind)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func healthyMain(p *place) map[string]string {
	return map[string]string{
		"compatibility_level": "3.6", "queue_directory": filepath.Join(p.dir, "queue"), "myhostname": "mx.here.example",
		"mynetworks": "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128", "smtpd_milters": "unix:" + p.socket, "mail_owner": "nobody",
		"content_filter": "scan:[127.0.0.1]:10024",
	}
}

const healthyMaster = `smtp inet n - n - - smtpd
submission inet n - n - - smtpd
  -o smtpd_milters=
127.0.0.1:10025 inet n - n - - smtpd
  -o receive_override_options=no_milters
cleanup unix n - n - 0 cleanup
`

// brokenPostfix are set-ups of Postfix, each with one mistake. The value of a parameter may contain
// @DIR@ and @SOCKET@.
var brokenPostfix = []struct {
	name   string
	main   map[string]string
	master string // in place of the first line of healthyMaster
	want   string
}{
	{"healthy", nil, "", ""},
	{"healthy, by TCP", map[string]string{"smtpd_milters": "inet:localhost:@PORT@"}, "", ""},
	{"healthy, in braces", map[string]string{
		"smtpd_milters": "{ unix:@SOCKET@, default_action = tempfail, protocol = 6 }, inet:127.0.0.1:9999",
	}, "", ""},
	{"healthy, behind postscreen", nil, "smtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd", ""},
	{"healthy, with header_checks that refuse", map[string]string{"header_checks": "pcre:@DIR@/kind"}, "", ""},
	{"no milter", map[string]string{"smtpd_milters": ""}, "", "milter_missing"},
	{"another port", map[string]string{"smtpd_milters": "inet:127.0.0.1:8899"}, "", "milter_missing"},
	{"switched off in master.cf", nil, "smtp inet n - n - - smtpd -o smtpd_milters=", "milter_missing"},
	{"postscreen's smtpd without it", nil,
		"smtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd -o smtpd_milters=", "milter_missing"},
	{"a chroot that hides the socket", nil, "smtp inet n - y - - smtpd", "chroot"},
	{"a chroot by an old level", map[string]string{"compatibility_level": "0"}, "smtp inet n - - - - smtpd", "chroot"},
	{"a list that cannot be read", map[string]string{"smtpd_milters": "{ unix:@SOCKET@"}, "", "milter_syntax"},
	{"no_milters", nil, "smtp inet n - n - - smtpd -o receive_override_options=no_milters", "no_milters"},
	{"a proxy filter", nil, "smtp inet n - n - - smtpd -o smtpd_proxy_filter=127.0.0.1:10024", "proxy_filter"},
	{"an old protocol", map[string]string{"milter_protocol": "4"}, "", "milter_protocol"},
	{"an old protocol for this milter", map[string]string{"smtpd_milters": "{ unix:@SOCKET@, protocol = 2 }"}, "", "milter_protocol"},
	{"another milter before", map[string]string{"smtpd_milters": "inet:127.0.0.1:9999, unix:@SOCKET@"}, "", "milter_before"},
	{"non_smtpd_milters", map[string]string{"non_smtpd_milters": "$smtpd_milters"}, "", "non_smtpd"},
	{"header_checks that replace", map[string]string{"header_checks": "regexp:@DIR@/replace"}, "", "rewriting"},
	{"header_checks that delete", map[string]string{"mime_header_checks": "pcre:@DIR@/ignore"}, "", "rewriting"},
	{"addresses of strangers are rewritten", map[string]string{"local_header_rewrite_clients": "static:all"}, "", "rewriting"},
	{"default action accept", map[string]string{"milter_default_action": "accept"}, "", "default_action"},
	{"default action accept for this milter", map[string]string{
		"smtpd_milters": "{ unix:@SOCKET@, default_action = accept }",
	}, "", "default_action"},
	{"default action reject", map[string]string{"milter_default_action": "reject"}, "", "default_action"},
	{"too short for DNS", map[string]string{"milter_content_timeout": "5s"}, "", "timeout"},
	{"too short for a restart", map[string]string{"milter_connect_timeout": "1s"}, "", "timeout"},
	{"mynetworks beyond trusted.networks", map[string]string{"mynetworks": "127.0.0.0/8 10.0.0.0/8"}, "", "networks"},
	{"another name", map[string]string{"myhostname": "mail.elsewhere.example"}, "", "foreign_name"},
	{"a misspelt parameter", map[string]string{"smtpd_milter": "inet:127.0.0.1:8891"}, "", "unused_parameter"},
	{"soft_bounce", map[string]string{"soft_bounce": "yes"}, "", "soft_bounce"},
	{"asked again after the content filter", nil, "smtp inet n - n - - smtpd\n127.0.0.1:10026 inet n - n - - smtpd", "asked_twice"},
	{"no socket file", map[string]string{"smtpd_milters": "unix:@DIR@/gone.sock"}, "", "socket_missing"},
	{"a socket that Postfix may not open", map[string]string{"smtpd_milters": "unix:@DIR@/private.sock"}, "", "socket_permission"},
	{"the socket file of a daemon that is gone", map[string]string{"smtpd_milters": "unix:@DIR@/dead.sock"}, "", "nobody_listens"},
	{"a port of a daemon that is gone", map[string]string{"smtpd_milters": "inet:@CLOSED@"}, "", "nobody_listens"},
	{"another milter at the daemon's port", map[string]string{"smtpd_milters": "inet:@OTHER@"}, "", "another_program"},
	{"another milter with settings of its own", map[string]string{
		"smtpd_milters": "{ inet:@OTHER@, default_action = accept, protocol = 2 }",
	}, "", "another_program"},
	{"a program that does not answer", map[string]string{"smtpd_milters": "inet:@MUTE@"}, "", "no_answer"},
}

// TestBrokenPostfix builds each set-up in a configuration directory of its own, which the postconf
// of this host reads, and checks that Run finds the mistake and nothing else.
func TestBrokenPostfix(t *testing.T) {
	if _, err := mtaconf.Postconf(); err != nil {
		missing(t, err.Error())
	}
	for _, tt := range brokenPostfix {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			more := p.sockets(t)
			p.o.PostfixDir = p.postfix(t, tt.main, tt.master)
			answer := p.o.Status
			p.o.Status = func(ctx context.Context) (*status.Status, error) {
				s, err := answer(ctx)
				s.Listen = append(s.Listen, more...)
				return s, err
			}
			r := Run(t.Context(), p.o)
			if got := kinds(r); got != tt.want {
				t.Errorf("found %q, want %q: %+v", got, tt.want, r.Findings)
			}
			for _, f := range r.Findings {
				if f.What == "" || f.Why == "" || f.Fix == "" || f.Area != AreaMTA || strings.Contains(f.Fix, "%") {
					t.Errorf("not complete: %+v", f)
				}
			}
			if len(r.NotLooked) > 0 {
				t.Errorf("not looked at: %q", r.NotLooked)
			}
		})
	}
}

// sockets makes a socket that only root may open, a socket file at which nobody listens, and the TCP
// addresses of another milter and of a program that does not answer. It returns their addresses, an
// address at which no file exists, and a closed TCP address.
func (p *place) sockets(t *testing.T) []string {
	t.Helper()
	private := filepath.Join(p.dir, "private.sock")
	ln, err := net.Listen("unix", private)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	if err := os.Chmod(private, 0o600); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(p.dir, "dead.sock")
	gone, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	gone.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = gone.Close()
	if err := os.Chmod(dead, 0o666); err != nil {
		t.Fatal(err)
	}
	p.closed = loopback.Address(t)
	p.other = p.listen(t, func(ln net.Listener) { mta.Answer(ln, "j", "{client_addr}") })
	p.mute = p.listen(t, func(net.Listener) {})
	return []string{
		"unix:" + private, "unix:" + dead, "unix:" + filepath.Join(p.dir, "gone.sock"),
		"inet:" + p.closed, "inet:" + p.other, "inet:" + p.mute,
	}
}

// listen opens a TCP port that serve serves, and returns its address.
func (p *place) listen(t *testing.T, serve func(net.Listener)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go serve(ln)
	return ln.Addr().String()
}

// postfix writes a configuration directory and returns its path.
func (p *place) postfix(t *testing.T, changed map[string]string, first string) string {
	t.Helper()
	p.file(t, "kind", "/^Subject: buy/ REJECT no\n# x IGNORE\n")
	p.file(t, "replace", "/^Subject: (.*)/ REPLACE Subject: [list] $1\n")
	p.file(t, "ignore", "/^X-Secret:/ IGNORE\n")
	parameters := healthyMain(p)
	maps.Copy(parameters, changed)
	var text strings.Builder
	for name, value := range parameters {
		fmt.Fprintf(&text, "%s = %s\n", name, strings.NewReplacer("@DIR@", p.dir, "@SOCKET@", p.socket, "@PORT@", p.port, "@CLOSED@", p.closed,
			"@OTHER@", p.other, "@MUTE@", p.mute).Replace(value))
	}
	p.file(t, "main.cf", text.String())
	master := healthyMaster
	if _, rest, ok := strings.Cut(healthyMaster, "\n"); ok && first != "" {
		master = first + "\n" + rest
	}
	p.file(t, "master.cf", master)
	return p.dir
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test must run in CI, but: %s", what)
	}
	t.Skip(what)
}

const sendmailMacros = "/usr/share/sendmail/cf/"

const healthyFilter = "INPUT_MAIL_FILTER(`sekimori', `S=unix:@SOCKET@, F=T, T=C:30s;S:10s;R:10s;E:5m')dnl\n"

// brokenSendmail are set-ups of Sendmail, each with one mistake.
var brokenSendmail = []struct{ name, mc, want string }{
	{"healthy", healthyFilter, ""},
	{"healthy, by TCP", strings.Replace(healthyFilter, "unix:@SOCKET@", "inet:@PORT@@127.0.0.1", 1), ""},
	{"no filter", "", "milter_missing"},
	{"a filter elsewhere", strings.Replace(healthyFilter, "@SOCKET@", "/run/other.sock", 1), "milter_missing"},
	{"a filter that nobody asks", strings.Replace(healthyFilter, "INPUT_MAIL_FILTER", "MAIL_FILTER", 1), "milter_missing"},
	{"another filter before", "INPUT_MAIL_FILTER(`first', `S=inet:9999@127.0.0.1, F=T')dnl\n" + healthyFilter, "milter_before"},
	{"without F=", strings.Replace(healthyFilter, " F=T,", "", 1), "default_action"},
	{"F=R", strings.Replace(healthyFilter, "F=T", "F=R", 1), "default_action"},
	{"too short for an answer", strings.Replace(healthyFilter, "R:10s", "R:2s", 1), "timeout"},
	{"too short for DNS", strings.Replace(healthyFilter, "E:5m", "E:8s", 1), "timeout"},
	{"silent for an hour", healthyFilter + "define(`confTO_COMMAND', `1h')dnl\n", "idle"},
	{"another name", healthyFilter + "define(`confDOMAIN_NAME', `mail.elsewhere.example')dnl\n", "foreign_name"},
}

// TestBrokenSendmail makes each sendmail.cf with the m4 macros of Sendmail, and checks that Run finds
// the mistake and nothing else.
func TestBrokenSendmail(t *testing.T) {
	if _, err := os.Stat(sendmailMacros + "m4/cf.m4"); err != nil {
		missing(t, "sendmail-cf is not installed")
	}
	if _, err := exec.LookPath("m4"); err != nil {
		missing(t, "m4 is not installed")
	}
	for _, tt := range brokenSendmail {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			mc := "divert(-1)\ninclude(`" + sendmailMacros + "m4/cf.m4')\ndivert(0)dnl\nOSTYPE(`linux')dnl\n" +
				"define(`confDOMAIN_NAME', `mx.here.example')dnl\ndefine(`confTO_COMMAND', `5m')dnl\n" +
				strings.NewReplacer("@SOCKET@", p.socket, "@PORT@", p.port).Replace(tt.mc) + "MAILER(`smtp')dnl\n"
			cf, err := exec.Command("m4", "-D_CF_DIR_="+sendmailMacros, p.file(t, "sendmail.mc", mc)).Output()
			if err != nil {
				t.Fatal(err)
			}
			p.o.SendmailCF = p.file(t, "sendmail.cf", string(cf))
			r := Run(t.Context(), p.o)
			if got := kinds(r); got != tt.want || len(r.NotLooked) > 0 {
				t.Errorf("found %q, want %q: %+v; not looked at: %q", got, tt.want, r.Findings, r.NotLooked)
			}
		})
	}
}

// TestNotLooked checks that Run says what it could not look at, and looks at the rest.
func TestNotLooked(t *testing.T) {
	p := newPlace(t)
	p.o.SendmailCF = p.file(t, "sendmail.cf", "Xsekimori, S=unix:"+p.socket+", F=T\nO Timeout.command=5m\nO InputMailFilters=sekimori\n")
	p.o.Config.Listen = []config.Listener{{Address: "systemd:milter"}}
	p.o.Status = func(context.Context) (*status.Status, error) { return nil, errors.New("admin: no daemon answers") }
	r := Run(t.Context(), p.o)
	text := strings.Join(r.NotLooked, "\n")
	if len(r.Findings) > 0 || !strings.Contains(text, "what the daemon has seen: no daemon answers") ||
		!strings.Contains(text, "whether Sendmail asks sekimori") {
		t.Errorf("%+v %q", r.Findings, r.NotLooked)
	}
	// Without any filter, it does not matter where the daemon listens.
	named := p.o.SendmailCF
	p.o.SendmailCF = p.file(t, "bare.cf", "O Timeout.command=5m\n")
	if got := kinds(Run(t.Context(), p.o)); got != "milter_missing" {
		t.Errorf("no filter: %q", got)
	}
	p.o.SendmailCF = named
	p.o.Config.Listen = []config.Listener{{Address: "unix:" + p.socket}}
	if r := Run(t.Context(), p.o); len(r.Findings) > 0 || len(r.NotLooked) != 1 {
		t.Errorf("%+v %q", r.Findings, r.NotLooked)
	}
	// The daemon of these addresses is gone.
	host, port, _ := net.SplitHostPort(loopback.Address(t))
	p.o.SendmailCF = p.file(t, "dead.cf", "Xsekimori, S=inet:"+port+"@"+host+", F=T\nO Timeout.command=5m\nO InputMailFilters=sekimori\n")
	p.o.Config.Listen = []config.Listener{{Address: "inet:" + net.JoinHostPort(host, port)}}
	if got := kinds(Run(t.Context(), p.o)); got != "nobody_listens" {
		t.Errorf("Sendmail asks a dead daemon: %q", got)
	}
	p.o.SendmailCF = p.dir
	if r := Run(t.Context(), p.o); !strings.Contains(strings.Join(r.NotLooked, "\n"), "the configuration of Sendmail") {
		t.Errorf("%q", r.NotLooked)
	}
	p.o.Config.DNS.Servers, p.o.ResolvConf = nil, filepath.Join(p.dir, "none")
	if r := Run(t.Context(), p.o); !strings.Contains(strings.Join(r.NotLooked, "\n"), "the DNS servers") {
		t.Errorf("%q", r.NotLooked)
	}
}
