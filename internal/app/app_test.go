package app

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/web"
)

const zoneText = `
bank.example        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example TXT "v=DMARC1; p=reject"
`

// testConfig returns a configuration that listens on free ports and asks a DNS server that runs
// until the test ends.
func testConfig(t *testing.T) *config.Config {
	t.Helper()
	server := nameserver.Serve(t, zoneText, nameserver.Options{})
	cfg := config.Default()
	cfg.Listen = []config.Listener{{Address: "inet:127.0.0.1:0"}}
	cfg.AuthservID = "mx.here.example"
	cfg.Admin.Listen = "127.0.0.1:0"
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
	cfg.DrainTimeout = config.Duration(5 * time.Second)
	return cfg
}

// options returns the options that New requires.
func options(log io.Writer) Options {
	return Options{Version: "test", Log: log, Now: time.Now, Registry: prometheus.NewRegistry()}
}

// running starts a daemon. Before that, each function in "changes" may change its options. The
// returned function "stop" ends the daemon and returns the error of Run.
func running(t *testing.T, cfg *config.Config, changes ...func(*Options)) (a *App, log *logs.Buffer, stop func() error) {
	t.Helper()
	log = &logs.Buffer{}
	o := options(log)
	for _, change := range changes {
		change(&o)
	}
	a, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return a, log, func() error {
		cancel()
		return <-ended
	}
}

func send(t *testing.T, a *App, from string) client.Result {
	t.Helper()
	peer := mta.Peer{Name: "mail.bank.example", Addr: netip.MustParseAddrPort("192.0.2.1:25"), HELO: "mail.bank.example"}
	res, err := mta.Send("tcp", a.Addrs()[0].String(), peer, client.Envelope{From: from, To: []string{"<r@here.example>"}, QueueID: "4QUEUE"},
		[]byte("From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestDaemon(t *testing.T) {
	cfg := testConfig(t)
	cfg.Policy.Recipients.File = filepath.Join(t.TempDir(), "opted-out")
	if err := os.WriteFile(cfg.Policy.Recipients.File, []byte("someone@here.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Watch = []config.Watch{{Name: "banks", Domains: []config.Pattern{"bank.example"}, Lookalikes: true}}
	a, log, stop := running(t, cfg)
	if res := send(t, a, "<a@bank.example>"); !res.Action.Delivers() || len(res.Modifications) != 1 {
		t.Errorf("aligned message: %+v", res)
	}
	if res := send(t, a, "<x@evil.example>"); res.Action.Code != 550 {
		t.Errorf("spoofed message: %+v", res)
	}
	base := "http://" + a.AdminAddr()
	if got := web.Get(t, base+"/readyz"); got != "ready\n" {
		t.Errorf("readyz: %q", got)
	}
	metrics := web.Get(t, base+"/metrics")
	for _, want := range []string{
		`sekimori_messages_total{verdict="accept"} 1`, `sekimori_messages_total{verdict="reject"} 1`,
		`sekimori_messages_total{verdict="quarantine"} 0`,
		`sekimori_dmarc_total{disposition="reject",policy="reject",result="fail"} 1`,
		`sekimori_spf_total{identity="mailfrom",result="pass"} 1`, `sekimori_panics_total{component="dkim"} 0`,
		`sekimori_enforcement_mode_info{mode="enforce"} 1`, `sekimori_build_info{`, `sekimori_config_last_reload_successful 1`,
		`sekimori_consent_lookups_total{result="in",source="default"} 2`, `sekimori_consent_lookups_total{result="failed",source="socketmap"} 0`,
		`sekimori_consent_mixed_total 0`, `sekimori_stage_duration_seconds_count{stage="consent"} 2`, `sekimori_map_last_reload_successful{map="recipients"} 1`,
		`sekimori_message_wait_seconds_count 2`, `sekimori_message_duration_seconds_count 2`,
		`sekimori_watch_messages_total{result="pass",watch="banks"} 1`, `sekimori_watch_messages_total{result="fail",watch="banks"} 1`,
		`sekimori_messages_tls_total{version="none"} 2`, `sekimori_dns_queries_total{`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	documented(t, metrics)
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	evaluated := log.Records(t, "evaluated")
	if len(evaluated) != 2 {
		t.Fatalf("%d records of messages:\n%s", len(evaluated), log)
	}
	for key, want := range map[string]any{
		"queue_id": "4QUEUE", "client_ip": "192.0.2.1", "helo": "mail.bank.example", "mail_from": "<a@bank.example>",
		"header_from": "bank.example", "spf": "pass", "dmarc": "pass", "policy": "reject", "verdict": "accept", "applied": "accept", "reason": "dmarc_pass",
	} {
		if evaluated[0][key] != want {
			t.Errorf("record: %s is %v, want %v", key, evaluated[0][key], want)
		}
	}
	for _, key := range []string{"dns_seconds", "dns_lookups", "duration_seconds", "id", "dkim", "iprev", "bytes"} {
		if _, ok := evaluated[0][key]; !ok {
			t.Errorf("record lacks %s", key)
		}
	}
}

// documented checks that deploy/docs/metrics.md names every series in metrics, and that every
// series named there is in metrics or in lateSeries, or is written by the command held.
func documented(t *testing.T, metrics string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.ReadFile(filepath.Join("..", "holdqueue", "metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^# TYPE (sekimori_\w+) `)
	exposed := map[string]bool{}
	for _, m := range names.FindAllStringSubmatch(metrics, -1) {
		exposed[m[1]] = true
		if !strings.Contains(string(page), "`"+m[1]) {
			t.Errorf("deploy/docs/metrics.md does not document %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`(sekimori_\\w+)").FindAllStringSubmatch(string(page), -1) {
		// A metric with labels has no series until it has counted something. lateSeries lists the
		// metrics that have no series in this test.
		if !exposed[m[1]] && !lateSeries[m[1]] && !strings.Contains(string(held), "# TYPE "+m[1]+" ") {
			t.Errorf("deploy/docs/metrics.md documents %s, which is not exposed", m[1])
		}
	}
}

// lateSeries are the series that a daemon shows only after the first event that they count, or only
// with certain settings.
var lateSeries = map[string]bool{
	"sekimori_override_rule_hits_total": true, "sekimori_shadow_total": true, // see TestSteering
	"sekimori_dkim_reason_total": true, "sekimori_sessions_rejected_total": true,
}

func TestNewFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "history")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	spool := func(dir string) func(*config.Config) {
		return func(c *config.Config) {
			c.Store.URL, c.Store.Spool.Dir = "postgres://sekimori@127.0.0.1:1/sekimori?sslmode=disable", dir
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"log format", func(c *config.Config) { c.Log.Format = "xml" }, "xml"},
		{"no directory of the store", func(c *config.Config) { c.Store.URL = "sqlite:/nonexistent/x.db" }, "/nonexistent/x.db"},
		{"no password of the store", func(c *config.Config) { c.Store.URL, c.Store.PasswordFile = "sqlite:"+dir+"/x.db", "/nonexistent/pw" }, "/nonexistent/pw"},
		{"the spool is a file", spool(file), file},
		{"the spool of the history is a file", spool(dir), file},
		{"the spool of the history is a file, and the spool is free again", spool(dir), file},
		{"milter address in use", func(c *config.Config) { c.Listen[0].Address = "inet:" + taken.Addr().String() }, taken.Addr().String()},
		{"admin address in use", func(c *config.Config) { c.Admin.Listen = taken.Addr().String() }, taken.Addr().String()},
		{"no suffix list", func(c *config.Config) {
			c.DMARC = config.DMARC{OrganizationalDomain: dmarc.PSL, PSLFile: "/nonexistent/psl"}
		}, "/nonexistent/psl"},
		{"no web configuration", func(c *config.Config) { c.Admin.WebConfig = "/nonexistent/web.yaml" }, "/nonexistent/web.yaml"},
	} {
		cfg := testConfig(t)
		tt.change(cfg)
		_, err := New(cfg, options(io.Discard))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", tt.name, err, tt.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	spool(dir)(cfg)
	for range 2 {
		a, err := New(cfg, options(io.Discard))
		if err != nil {
			t.Fatalf("a start that failed still holds the spool: %v", err)
		}
		a.Stop(t.Context())
	}
}

// TestFailedNewLeavesNothing checks that New leaves no socket file behind if it fails after
// making one.
func TestFailedNewLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(t)
	cfg.Listen = []config.Listener{{Address: "unix:" + filepath.Join(dir, "m.sock")}}
	cfg.Admin.Listen = "nowhere"
	if _, err := New(cfg, options(io.Discard)); err == nil {
		t.Fatal("New succeeded")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestStopWaitsForSessions checks that after the daemon was told to stop, a session in flight
// may still finish its message, and that nothing listens at the address after the stop.
func TestStopWaitsForSessions(t *testing.T) {
	supervise, next := supervised(t)
	a, log, stop := running(t, testConfig(t), supervise)
	if got := next(); got != StateReady {
		t.Fatalf("first word %q", got)
	}
	addr := a.Addrs()[0].String()
	c, err := mta.Dial("tcp", addr, mta.Peer{Name: "x", Addr: netip.MustParseAddrPort("192.0.2.1:25")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	if got := next(); got != StateStopping {
		t.Fatalf("second word %q", got)
	}
	if _, err := c.Helo("mail.bank.example"); err != nil {
		t.Fatal(err)
	}
	res, err := c.SendMessage(client.Envelope{From: "<a@bank.example>", To: []string{"<r@here.example>"}}, []byte("From: a@bank.example\r\n\r\nx\r\n"))
	if err != nil || len(res.Modifications) != 1 {
		t.Errorf("message during the drain: %+v, %v", res, err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the address still answers")
	}
	if len(log.Records(t, "evaluated")) != 1 {
		t.Error("the message was not logged")
	}
}

// TestWords checks that the default configuration gives the default policy, and that the
// configuration accepts the values that packages policy, dkim and dmarc define for its keys.
func TestWords(t *testing.T) {
	cfg := config.Default()
	p, err := Policy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Config{
		Mode: policy.Enforce, Reject: policy.RejectCorroborated, Quarantine: policy.QuarantineHold, Learned: policy.LearnedObserve, NoPolicy: policy.Tag,
		SPFFail: policy.Tag, TempError: policy.TempFail, TempErrorUnknown: policy.Accept, InvalidFrom: policy.Reject,
		TrustedSealers: []dns.Name{}, Ramp: &policy.Ramp{Percent: 100, Domains: map[dns.Name]int{}},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("defaults: %+v", p)
	}
	for _, tt := range []struct{ key, word string }{
		{"mode", string(policy.Monitor)}, {"policy.reject", string(policy.RejectAlways)}, {"policy.reject", string(policy.RejectQuarantine)},
		{"policy.quarantine", string(policy.QuarantineTag)},
		{"policy.no_policy", string(policy.Quarantine)}, {"policy.no_policy", string(policy.Reject)},
		{"policy.spf_fail", string(policy.Quarantine)}, {"policy.spf_fail", string(policy.Reject)},
		{"policy.temperror", string(policy.Accept)}, {"policy.temperror_unknown", string(policy.TempFail)},
		{"policy.invalid_from", string(policy.Quarantine)}, {"policy.invalid_from", string(policy.Tag)},
		{"dkim.body_length", string(dkim.BodyLengthAccept)}, {"dkim.body_length", string(dkim.BodyLengthFail)},
		{"dmarc.organizational_domain", string(dmarc.TreeWalk)},
	} {
		text := tt.key + ": " + tt.word + "\n"
		if section, key, ok := strings.Cut(tt.key, "."); ok {
			text = section + ": {" + key + ": " + tt.word + "}\n"
		}
		if _, err := config.Parse("test", []byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// supervisor is a stand-in for systemd. It collects the states that the daemon tells it.
type supervisor struct {
	told     chan State
	watchdog time.Duration
}

// supervised returns a supervisor for a daemon: change puts it into the Options, and next
// returns the next state that the daemon tells it.
func supervised(t *testing.T) (change func(*Options), next func() State) {
	t.Helper()
	s := &supervisor{told: make(chan State, 100)}
	next = func() State {
		t.Helper()
		select {
		case state := <-s.told:
			return state
		case <-time.After(30 * time.Second):
			t.Fatal("the daemon tells nothing")
			return ""
		}
	}
	return func(o *Options) { o.Supervisor = s }, next
}

// Tell implements Supervisor.
func (s *supervisor) Tell(state State) error { s.told <- state; return nil }

// Watchdog implements Supervisor.
func (s *supervisor) Watchdog() (time.Duration, error) { return s.watchdog, nil }
