package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"sekimori/internal/config"
	"sekimori/internal/dns"
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

// full is a disk that has room for some writes.
type full struct{ room, writes int }

func (f *full) Write(b []byte) (int, error) {
	if f.writes++; f.writes > f.room {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

// fillDisk calls a command whose output is lost from the first write on, from the second on, and so on up to rooms.
func fillDisk(t *testing.T, rooms int, args []string) {
	t.Helper()
	for room := range rooms {
		var complaints bytes.Buffer
		disk := full{room: room}
		code := run(t.Context(), args, &disk, &complaints)
		if disk.writes <= room {
			return
		}
		if code != exitFailed || !strings.Contains(complaints.String(), "no space left on device") {
			t.Errorf("%q with room for %d writes: exit code %d: %s", args, room, code, complaints.String())
		}
	}
}

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
		fillDisk(t, 2, args)
	}
}

// TestInterrupted ends a replay early. What is in the snapshot need not be asked again.
func TestInterrupted(t *testing.T) {
	mail := file(t, "m.eml", "From: A <a@bank.example>\n\nx\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	const goesOn = "the same command goes on from the snapshot"
	for _, snapshot := range []bool{false, true} {
		args := []string{"replay", mail, "--ip", "192.0.2.1"}
		if snapshot {
			args = append(args, "--dns-snapshot", filepath.Join(t.TempDir(), "dns.jsonl"))
		}
		var out, complaints bytes.Buffer
		if code := run(ctx, args, &out, &complaints); code != exitFailed || strings.Contains(complaints.String(), goesOn) != snapshot {
			t.Errorf("snapshot %v: exit code %d: %s", snapshot, code, complaints.String())
		}
	}
}

// TestCheckOptions looks at what "report check" takes from the configuration and the flags.
func TestCheckOptions(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	cfg := config.Default()
	cfg.Report.Domain, cfg.Report.Mail.Server, cfg.Report.Mail.TLS, cfg.Report.Mail.Bounce = "dmarc.isp.example", "mx:25", "required", "b@isp.example"
	o, err := checkOptions(cfg, "s9", []string{"192.0.2.1", "::ffff:192.0.2.2"})
	if err != nil || o.Server != "mx:25" || o.TLS != "required" || o.Login || o.Identity.Domain != "dmarc.isp.example" || o.Identity.Bounce != "b@isp.example" ||
		fmt.Sprint(o.Identity.Addresses) != "[192.0.2.1 192.0.2.2]" || o.Identity.Selector != "s9" || o.Identity.Signs || o.Identity.Public != nil {
		t.Errorf("%+v, %v", o, err)
	}
	for selector, want := range map[string]dns.Name{"S1.mail": "s1.mail", "a_b-1": "a_b-1", "a b": "", "a..b": "", ".": "", "é": "xn--9ca", "a.": ""} {
		if o, err := checkOptions(cfg, selector, nil); o.Identity.Selector != want || (err == nil) != (want != "") {
			t.Errorf("--selector %q: %q, %v", selector, o.Identity.Selector, err)
		}
	}
	if _, err := checkOptions(cfg, "", []string{"here"}); err == nil || err.Error() != `--ip: "here" is not an IP address` {
		t.Errorf("--ip here: %v", err)
	}
	if o, err = checkOptions(cfg, "", nil); err != nil || o.Identity.Selector != "" || o.Identity.Addresses != nil {
		t.Errorf("%+v, %v", o, err)
	}
	cfg.Report.Mail.User, cfg.Report.Mail.DKIM.Selector, cfg.Report.Mail.DKIM.KeyFile = "me", "s1", "/none/key"
	if o, err = checkOptions(cfg, "", nil); err != nil || !o.Login || o.Identity.Selector != "s1" || !o.Identity.Signs || o.Identity.Public != nil {
		t.Errorf("without the key: %+v, %v", o, err)
	}
	cfg.Report.Mail.DKIM.KeyFile = keyFile
	if o, err = checkOptions(cfg, "", nil); err != nil || !key.PublicKey.Equal(o.Identity.Public) {
		t.Errorf("with the key: %+v, %v", o, err)
	}
	cfg.DMARC.OrganizationalDomain, cfg.DMARC.PSLFile = "psl", "/none/list"
	if _, err := checkOptions(cfg, "", nil); err == nil || !strings.Contains(err.Error(), "/none/list") {
		t.Errorf("without the list: %v", err)
	}
}

// TestCheckWithoutStore checks a domain although the store, which only knows more of its keys, cannot be read.
func TestCheckWithoutStore(t *testing.T) {
	conf, _, _ := reportWorld(t)
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	_, with, _ := command(t, "check", "shop.example", "--config", conf)
	conf = file(t, "c.yaml", strings.ReplaceAll(string(text), "sekimori.db", "none.db"))
	_, without, stderr := command(t, "check", "shop.example", "--config", conf)
	if with == "" || without != with || !strings.Contains(stderr, "The store cannot be read, so only the selectors given are looked at: ") || !strings.Contains(stderr, "there is no file") {
		t.Errorf("%s\nwith the store:\n%s\nwithout:\n%s", stderr, with, without)
	}
}

// TestReachable: a command connects to the loopback address if the daemon listens at every address.
func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		":8892": "127.0.0.1:8892", "0.0.0.0:8892": "127.0.0.1:8892", "[::]:8892": "[::1]:8892",
		"192.0.2.1:8892": "192.0.2.1:8892", "[2001:db8::1]:8892": "[2001:db8::1]:8892", "mx.example:8892": "mx.example:8892", "8892": "8892",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("%q: %q, want %q", listen, got, want)
		}
	}
}

// TestSenderFails: a list of public suffixes that cannot be read is an error of every command that could send.
func TestSenderFails(t *testing.T) {
	conf, _, _ := reportWorld(t)
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	conf = file(t, "c.yaml", string(text)+"dmarc: {organizational_domain: psl, psl_file: /none/list}\n")
	for _, line := range []string{"report list", "report show shop.example", "report send --domain shop.example", "report suppress list", "report suppress add a@b.example"} {
		code, stdout, stderr := command(t, append(strings.Fields(line), "--config", conf)...)
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, "/none/list") {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
}

// TestArguments: how many arguments each command takes, up to three.
func TestArguments(t *testing.T) {
	var got []string
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() {
			return
		}
		line := c.CommandPath() + ":"
		for n := range 4 {
			if c.ValidateArgs([]string{"a", "b", "c"}[:n]) == nil {
				line += " " + strconv.Itoa(n)
			}
		}
		got = append(got, line)
	}
	walk(newRoot())
	want := []string{
		"sekimori bimi check: 1",
		"sekimori check: 1",
		"sekimori config check: 0 1",
		"sekimori config example: 0",
		"sekimori config print: 0 1",
		"sekimori config schema: 0",
		"sekimori config set-mode: 1 2",
		"sekimori decisions: 0",
		"sekimori demo: 0",
		"sekimori doctor: 0",
		"sekimori explain: 0 1",
		"sekimori forwarders: 0 1 2 3",
		"sekimori held: 0",
		"sekimori probe: 0",
		"sekimori readiness: 0",
		"sekimori reload: 0",
		"sekimori replay: 1",
		"sekimori report check: 0",
		"sekimori report list: 0",
		"sekimori report send: 0",
		"sekimori report show: 1",
		"sekimori report suppress add: 1",
		"sekimori report suppress list: 0",
		"sekimori report suppress remove: 1",
		"sekimori senders: 0",
		"sekimori serve: 0",
		"sekimori setup postfix: 0",
		"sekimori setup sendmail: 0",
		"sekimori stats: 0",
		"sekimori status: 0",
		"sekimori survey: 0 1",
		"sekimori version: 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// TestCanSend: what the configuration must have to send a copy, and to send to others.
func TestCanSend(t *testing.T) {
	const own, key = "report.aggregate.send is false", "/none/key"
	for _, tt := range []struct {
		lacks        string
		copied, sent string // the errors
	}{
		{"", "", ""}, {"send", "", own}, {"domain", "a mail needs", "a mail needs"}, {"organization", "a mail needs", "a mail needs"}, {"contact", "a mail needs", "a mail needs"},
		{"key", "", key}, {"send key", "", own},
	} {
		cfg := config.Default()
		r := &cfg.Report
		r.Aggregate.Send, r.Domain, r.Organization, r.Contact = !strings.Contains(tt.lacks, "send"), "dmarc.isp.example", "Example ISP", "p@isp.example"
		switch tt.lacks {
		case "domain":
			r.Domain = ""
		case "organization":
			r.Organization = ""
		case "contact":
			r.Contact = ""
		case "key", "send key":
			r.Mail.DKIM.Selector, r.Mail.DKIM.KeyFile = "s1", key
		}
		for others, want := range map[bool]string{false: tt.copied, true: tt.sent} {
			if err := (&storeFlags{}).canSend(cfg, others); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("without %q, to others %v: %v, want %q", tt.lacks, others, err, want)
			}
		}
	}
}
