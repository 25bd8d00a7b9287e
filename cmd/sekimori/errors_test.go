package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestNoConfiguration calls every command with a configuration that does not exist. The command must name the file.
func TestNoConfiguration(t *testing.T) {
	t.Setenv(adminEnv, "")
	mail := file(t, "m.eml", "From: A <a@bank.example>\n\nx\n")
	const missing = "/nonexistent/c.yaml"
	args := map[string][]string{ // what the commands need besides
		"sekimori config set-mode": {"monitor"}, "sekimori explain": {mail, "--ip", "192.0.2.1"}, "sekimori replay": {mail, "--ip", "192.0.2.1"},
		"sekimori report show": {"shop.example"}, "sekimori report suppress add": {"a@b.example"}, "sekimori report suppress remove": {"a@b.example"},
		"sekimori report send": {"--window", "today"}, "sekimori check": {"shop.example"}, "sekimori bimi check": {"shop.example"},
		"sekimori forwarders": {mail}, "sekimori survey": {mail}, "sekimori probe": {"--quick"},
	}
	tried := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() || c.Flags().Lookup("config") == nil {
			return
		}
		tried++
		name := c.CommandPath()
		code, stdout, stderr := command(t, append(append(strings.Fields(name)[1:], args[name]...), "--config", missing)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, missing) {
			t.Errorf("%s: exit code %d, want 2: %s%s", name, code, stdout, stderr)
		}
	}
	walk(newRoot())
	if tried < 20 {
		t.Errorf("only %d commands have a configuration", tried)
	}
}

// full is a disk that is full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestFullDisk: a command whose output is lost, such as a list or a report in a file, must not succeed.
func TestFullDisk(t *testing.T) {
	conf, _, _ := reportWorld(t)
	mail := file(t, "m.eml", "From: A <a@bank.example>\n\nx\n")
	zone := file(t, "z.zone", zoneText)
	for _, line := range []string{
		"version", "config example", "config example --full", "config schema", "config check CONF", "config print CONF", "config set-mode monitor CONF",
		"explain MAIL --ip 192.0.2.1 --zone ZONE", "explain MAIL --ip 192.0.2.1 --zone ZONE --json", "replay MAIL --ip 127.0.0.1 --config CONF", "replay MAIL --ip 127.0.0.1 --json --config CONF",
		"report list --config CONF", "report list --json --config CONF", "report show shop.example --config CONF", "report show shop.example --xml --config CONF",
		"report show shop.example --eml --config CONF", "report send --dry-run --config CONF", "report suppress add a@b.example --config CONF", "report suppress list --config CONF",
		"report suppress remove a@b.example --config CONF", "report check --ip 192.0.2.25 --config CONF", "stats --config CONF", "stats --format csv --config CONF",
		"stats --format json --config CONF", "stats --format html --config CONF", "readiness --config CONF", "readiness --json --config CONF", "readiness --format html --config CONF",
		"senders --config CONF", "senders --json --config CONF", "check shop.example --config CONF", "check shop.example --json --config CONF",
	} {
		args := strings.Fields(strings.NewReplacer("CONF", conf, "MAIL", mail, "ZONE", zone).Replace(line))
		var complaints bytes.Buffer
		if code := run(t.Context(), args, full{}, &complaints); code != exitFailed || !strings.Contains(complaints.String(), "no space left on device") {
			t.Errorf("%s: exit code %d: %s", line, code, complaints.String())
		}
	}
}
