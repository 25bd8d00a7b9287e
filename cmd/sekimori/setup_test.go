package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/testkit/loopback"
)

// TestSetupPlans prints what would change for a Postfix and a Sendmail in a directory of the test, and changes nothing.
func TestSetupPlans(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PATH", dir)
	address := loopback.Address(t)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	conf := "listen: [\"inet:" + address + "\"]\nmode: monitor\n"
	files := map[string]string{
		"c.yaml": conf, "s.mc": "MAILER(smtp)dnl\n",
		"done.mc": "INPUT_MAIL_FILTER(`sekimori', `S=inet:" + port + "@" + host + ", F=T, T=C:30s;S:10s;R:10s;E:5m')dnl\nMAILER(smtp)dnl\n",
		"main.cf": "myhostname = mx.pf.example\nmynetworks = 10.0.0.0/8\n", "bad.yaml": "mode: monit\n",
		"postconf": "#!/bin/sh\ncase \"$*\" in\n" +
			"*-M*) echo 'smtp inet n - n - - smtpd' ;;\n*-P*) ;;\n" +
			"*) echo 'config_directory = " + dir + "\nqueue_directory = " + dir + "/none\nmail_owner = root\nmail_version = 3.7.0\nmyhostname = mx.pf.example\nmynetworks = '${NETWORKS}'' ;;\nesac\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil { //nolint:gosec // postconf is a program
			t.Fatal(err)
		}
	}
	const networks, name, problems = "networks: [", "+ authserv_id: mx.pf.example", "nothing was changed, because of the problems above"
	for _, tt := range []struct {
		line, networks string
		code           int
		want, not      []string
	}{
		{"postfix --config-dir .", "10.0.0.0/8", 0, []string{networks, "10.0.0.0/8]", name, "+ smtpd_milters = ", "With --apply this command writes it."}, []string{"Problem"}},
		{"postfix --config-dir . --keep-trusted", "10.0.0.0/8", 0, []string{name, "+ smtpd_milters = ", "With --apply this command writes it."}, []string{networks, "Problem"}},
		{"postfix --config-dir .", "hash:/x", 1, []string{"Problem: mynetworks has hash:/x", problems}, []string{"With --apply"}},
		{"postfix --config-dir . --keep-trusted", "hash:/x", 0, []string{name}, []string{networks, "Problem"}},
		{"postfix --config-dir . --config bad.yaml", "10.0.0.0/8", 2, []string{"bad.yaml:1:"}, []string{"With --apply"}},
		{"sendmail --mc s.mc", "", 0, []string{"+ INPUT_MAIL_FILTER(`sekimori'", "With --apply this command writes it."}, []string{"Problem"}},
		{"sendmail --mc done.mc", "", 0, []string{"Nothing has to change."}, []string{"--apply", "Problem"}},
	} {
		t.Setenv("NETWORKS", tt.networks)
		args := strings.Fields("setup " + tt.line + " --no-run")
		if !strings.Contains(tt.line, "--config ") {
			args = append(args, "--config", "c.yaml")
		}
		code, stdout, stderr := command(t, args...)
		if code != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.line, code, tt.code)
		}
		for _, want := range tt.want {
			if !strings.Contains(stdout+stderr, want) {
				t.Errorf("%s lacks %q:\n%s%s", tt.line, want, stdout, stderr)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(stdout+stderr, not) {
				t.Errorf("%s has %q:\n%s%s", tt.line, not, stdout, stderr)
			}
		}
		if code == 0 {
			fillDisk(t, 4, args)
		}
	}
	for name, text := range files {
		if now, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(now) != text {
			t.Errorf("%s was changed: %v\n%s", name, err, now)
		}
	}
}
