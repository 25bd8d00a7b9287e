package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dmarc"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/testkit/web"
)

// with returns a function that loads a copy of cfg with changes.
func with(cfg *config.Config, changes ...func(*config.Config)) func() (*config.Config, error) {
	next := *cfg
	for _, change := range changes {
		change(&next)
	}
	return func() (*config.Config, error) { return &next, nil }
}

func monitor(c *config.Config) { c.Mode = policy.Monitor }

// TestReload checks that a session which begins after a reload gets the new configuration, and
// that the supervisor, the log, the metrics and /api/config report the reload.
func TestReload(t *testing.T) {
	supervise, next := supervised(t)
	cfg := testConfig(t)
	a, log, stop := running(t, cfg, supervise)
	if got := next(); got != StateReady {
		t.Fatalf("first word %q", got)
	}
	if res := send(t, a, "<x@evil.example>"); res.Action.Code != 550 {
		t.Errorf("spoofed message: %+v", res)
	}
	for _, want := range []string{"\nsekimori_sessions_limit 10000\n", "\nsekimori_memory_limit_bytes 1.073741824e+09\n"} {
		if !strings.Contains(web.Get(t, "http://"+a.AdminAddr()+"/metrics"), want) {
			t.Errorf("metrics at the start lack %s", want)
		}
	}
	err := a.Reload(with(cfg, monitor, func(c *config.Config) {
		c.AuthservID = "new.here.example"
		c.Limits.MaxSessions, c.Limits.Memory = 77, 0
		c.Headers.ReceivedSPF = true
		c.Log = config.Log{Format: "json", Level: "info", Privacy: config.PrivacyLocalParts}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := next(); got != StateReloading {
		t.Errorf("word at the reload: %q", got)
	}
	if got := next(); got != StateReady {
		t.Errorf("word after the reload: %q", got)
	}
	res := send(t, a, "<x@evil.example>")
	if !res.Action.Delivers() || len(res.Modifications) != 2 || !strings.Contains(fmt.Sprint(res.Modifications), "new.here.example") {
		t.Errorf("spoofed message after the reload: %+v", res)
	}
	metrics := web.Get(t, "http://"+a.AdminAddr()+"/metrics")
	for _, want := range []string{
		"sekimori_config_last_reload_successful 1", `sekimori_enforcement_mode_info{mode="monitor"} 1`,
		fmt.Sprintf("sekimori_config_hash_info{hash=%q} 1", a.Running().Hash),
		"\nsekimori_sessions_limit 77\n", "\nsekimori_memory_limit_bytes 0\n",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	shown := web.Get(t, "http://"+a.AdminAddr()+"/api/config")
	if !strings.Contains(shown, "authserv_id: new.here.example") || !strings.Contains(shown, `"tries":1,"successful":true`) {
		t.Errorf("/api/config: %s", shown)
	}
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	reloaded := log.Records(t, "configuration reloaded")
	if len(reloaded) != 1 || fmt.Sprint(reloaded[0]["changed"]) != "[authserv_id mode headers.received_spf log.privacy limits.max_sessions limits.memory]" {
		t.Errorf("records of the reload: %v", reloaded)
	}
	evaluated := log.Records(t, "evaluated")
	if len(evaluated) != 2 || evaluated[0]["mail_from"] != "<x@evil.example>" || evaluated[1]["mail_from"] != "<***@evil.example>" {
		t.Errorf("log.privacy: %v", evaluated)
	}
}

// TestReloadSaysWhatItAsks checks that a reload which changes nothing says so with an empty list, and
// that a reload after which other DNS servers are asked names them.
func TestReloadSaysWhatItAsks(t *testing.T) {
	cfg := testConfig(t)
	a, log, stop := running(t, cfg)
	if err := a.Reload(with(cfg)); err != nil {
		t.Fatal(err)
	}
	other := with(cfg, func(c *config.Config) {
		c.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort("127.0.0.1:9")}}
	})
	if err := a.Reload(other); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	reloaded := log.Records(t, "configuration reloaded")
	if len(reloaded) != 2 || fmt.Sprintf("%#v", reloaded[0]["changed"]) != "[]interface {}{}" {
		t.Errorf("records of the reloads: %#v", reloaded)
	}
	if asked := log.Records(t, "DNS servers changed"); len(asked) != 1 || fmt.Sprint(asked[0]["servers"]) != "[127.0.0.1:9]" {
		t.Errorf("records of the servers: %v", asked)
	}
}

// TestReloadOfLog checks that a reload changes the log level both for records of messages and
// for records of the daemon itself.
func TestReloadOfLog(t *testing.T) {
	cfg := testConfig(t)
	a, log, stop := running(t, cfg)
	send(t, a, "<a@bank.example>")
	if err := a.Reload(with(cfg, func(c *config.Config) { c.Log.Format, c.Log.Level = "text", "warn" })); err != nil {
		t.Fatal(err)
	}
	send(t, a, "<a@bank.example>")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); strings.Count(got, "evaluated") != 1 || strings.Contains(got, "stopped") {
		t.Errorf("log: %s", got)
	}
}

// TestReloadOfBadFile checks that if the file has mistakes, everything stays as it was, the log
// names file, line and column of each mistake, and the metric is 0. When the file is corrected,
// the next reload succeeds.
func TestReloadOfBadFile(t *testing.T) {
	a, log, stop := running(t, testConfig(t))
	path := filepath.Join(t.TempDir(), "sekimori.yaml")
	load := func() (*config.Config, error) { return config.Load(path) }
	before := a.Running()
	text, err := os.ReadFile("testdata/bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var bad *config.Error
	if err := a.Reload(load); !errors.As(err, &bad) {
		t.Fatalf("reload of a bad file: %v", err)
	}
	want := []string{"3 7 mode", "4 18 limits.memory"}
	failed := waitFor(t, log, "stays", len(want)).Records(t, "configuration not reloaded, the old one stays")
	var got []string
	for _, r := range failed {
		if r["file"] != path {
			t.Errorf("record without the file: %v", r)
		}
		got = append(got, fmt.Sprint(r["line"], " ", r["column"], " ", r["key"]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("places %q, want %q", got, want)
	}
	if metrics := web.Get(t, "http://"+a.AdminAddr()+"/metrics"); !strings.Contains(metrics, "sekimori_config_last_reload_successful 0") {
		t.Error("the metric does not say that the reload failed")
	}
	after := a.Running()
	if after.Hash != before.Hash || after.Config != before.Config || after.Since != before.Since || after.Reload.Successful || after.Reload.Error == "" {
		t.Errorf("the running configuration changed: %+v", after)
	}
	if res := send(t, a, "<x@evil.example>"); res.Action.Code != 550 {
		t.Errorf("spoofed message: %+v", res)
	}
	if err := os.WriteFile(path, []byte(before.Config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(load); err != nil {
		t.Fatal(err)
	}
	if metrics := web.Get(t, "http://"+a.AdminAddr()+"/metrics"); !strings.Contains(metrics, "sekimori_config_last_reload_successful 1") {
		t.Error("the metric does not say that the reload succeeded")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(load); !errors.Is(err, errStopping) {
		t.Errorf("reload of a stopped daemon: %v", err)
	}
}

// waitFor waits until the log contains a text at least as many times as the argument "times" says.
// The log is written in the background.
func waitFor(t *testing.T, log *logs.Buffer, what string, times int) *logs.Buffer {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); strings.Count(log.String(), what) < times; {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q %d times: %s", what, times, log)
		}
		time.Sleep(time.Millisecond)
	}
	return log
}

// TestReloadRefused checks that, whichever step of a reload fails, no part of the new
// configuration is left behind and the old configuration stays in effect.
func TestReloadRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	cfg := testConfig(t)
	cfg.Listen = append(cfg.Listen, config.Listener{Address: "unix:" + filepath.Join(dir, "old.sock"), Mode: 0o600})
	a, _, stop := running(t, cfg)
	before := fmt.Sprint(a.Addrs(), a.AdminAddr(), a.Running().Config)
	add := func(address string) func(*config.Config) {
		return func(c *config.Config) { c.Listen = append(slices.Clone(c.Listen), config.Listener{Address: address}) }
	}
	extra := add("unix:" + filepath.Join(dir, "new.sock"))
	for _, tt := range []struct {
		why    string
		change func(*config.Config)
		want   string
	}{
		{"a milter address in use", add("inet:" + taken.Addr().String()), "in use"},
		{"the admin address in use", func(c *config.Config) { c.Admin.Listen = taken.Addr().String() }, "in use"},
		{"no suffix list", func(c *config.Config) {
			c.DMARC = config.DMARC{OrganizationalDomain: dmarc.PSL, PSLFile: "/nonexistent/psl"}
		}, "/nonexistent/psl"},
		{"a web configuration for a bound address", func(c *config.Config) { c.Admin.WebConfig = "/nonexistent/web" }, "admin.web_config"},
		{"another mode of a bound socket", func(c *config.Config) {
			c.Listen = slices.Clone(c.Listen)
			c.Listen[1].Mode = 0o666
		}, "mode and group"},
		{"a socket that systemd passes", add("systemd:milter"), "at the start only"},
		{"an unknown log format", func(c *config.Config) { c.Log.Format = "xml" }, "xml"},
	} {
		err := a.Reload(with(cfg, monitor, extra, tt.change))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want one with %q", tt.why, err, tt.want)
		}
		if after := fmt.Sprint(a.Addrs(), a.AdminAddr(), a.Running().Config); after != before {
			t.Errorf("%s: now %s, before %s", tt.why, after, before)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%s: left behind: %v %v", tt.why, left, err)
		}
		if res := send(t, a, "<x@evil.example>"); res.Action.Code != 550 {
			t.Errorf("%s: spoofed message: %+v", tt.why, res)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
