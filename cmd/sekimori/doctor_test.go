package main

import (
	"encoding/json"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/doctor"
	"sekimori/internal/milter/wire"
	"sekimori/internal/status"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

// TestDoctor checks the exit codes and the two forms of the output.
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	milter, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer milter.Close()
	go mta.Answer(milter, wire.Sign)
	listen := milter.Addr().String()
	_, port, _ := net.SplitHostPort(listen)
	const zone = "gmail.com MX 5 a.example\ngmail.com TXT \"v=spf1 -all\"\n"
	dns := nameserver.Serve(t, zone, nameserver.Options{}).Addr()
	cfg := write("sekimori.yaml", "mode: enforce\nlisten: [\"inet:"+listen+"\"]\ndns: {servers: [\""+dns+"\"]}\n")
	healthy := write("sendmail.cf", "Xsekimori, S=inet:"+port+"@127.0.0.1, F=T\nO Timeout.command=5m\nO InputMailFilters=sekimori\n")
	open := write("open.cf", "Xsekimori, S=inet:"+port+"@127.0.0.1\nO Timeout.command=5m\nO InputMailFilters=sekimori\n")
	monitor := write("monitor.yaml", "mode: monitor\nlisten: [\"inet:"+listen+"\"]\ndns: {servers: [\""+dns+"\"]}\n")
	if long := time.Now().AddDate(-1, 0, 0); os.Chtimes(monitor, long, long) != nil {
		t.Fatal("the age of the configuration cannot be set")
	}
	running := httptest.NewServer(status.Handler(func() *status.Status {
		return &status.Status{Mode: "enforce", Listen: []string{"inet:" + listen}, Config: status.Config{LastReloadOK: true}}
	}))
	defer running.Close()

	for _, tt := range []struct {
		name     string
		args     []string
		code     int
		out, err string
	}{
		{"healthy", []string{"--sendmail-cf", healthy}, exitDone, "nothing is wrong\n", ""},
		{"a finding", []string{"--sendmail-cf", open}, exitFailed, "mta default_action: ", ""},
		{"a finding in JSON", []string{"--sendmail-cf", open, "--json"}, exitFailed, `"kind": "default_action"`, ""},
		{"no daemon", []string{"--sendmail-cf", healthy, "--admin", "http://127.0.0.1:1"}, exitDone,
			"not looked at  what the daemon has seen: no daemon answers", ""},
		{"in monitor mode for a year", []string{"--sendmail-cf", healthy, "--config", monitor}, exitFailed, "daemon long_monitor: ", ""},
		{"no such directory", []string{"--postfix-config-dir", filepath.Join(dir, "none")}, exitUsage, "", "no such file"},
		{"no such file", []string{"--sendmail-cf", filepath.Join(dir, "none")}, exitUsage, "", "no such file"},
		{"both MTAs", []string{"--sendmail-cf", healthy, "--postfix-config-dir", dir}, exitUsage, "", "cannot be given together"},
		{"no such configuration", []string{"--config", filepath.Join(dir, "none")}, exitUsage, "", "no such file"},
		{"an argument", []string{"postfix"}, exitUsage, "", "doctor takes no arguments"},
	} {
		args := append([]string{"doctor", "--config", cfg, "--admin", running.URL}, tt.args...)
		code, out, errs := command(t, args...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.err) {
			t.Errorf("%s: exit code %d\n%s%s", tt.name, code, out, errs)
		}
		if strings.Contains(out, `"kind"`) {
			var r doctor.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Findings) != 1 || len(r.Looked) != 3 {
				t.Errorf("%s: %v %+v", tt.name, err, r)
			}
		}
	}
}
