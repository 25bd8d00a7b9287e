package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/testkit/loopback"
)

// TestMistakes makes mistakes that users make. Each answer must say what is wrong and what to do, and
// have the right exit code. No answer names a package of this program.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PATH", dir) // no MTA, as far as it is not in /usr/sbin
	free := loopback.Address(t)
	good := "listen: [\"inet:" + free + "\"]\nadmin: {listen: \"" + loopback.Address(t) + "\"}\ndns: {servers: [\"127.0.0.1:9\"]}\nmode: monitor\n"
	files := map[string]string{
		"good.yaml": good, "tabs.yaml": "policy:\n\treject: always\nmode: monitor\n", "twice.yaml": "mode: monitor\nmode: enforce\n",
		"typo.yaml": "lissten: []\nmode: monitor\n", "old.yaml": "report: {store: x}\nmode: monitor\n", "port.yaml": "listen: [\"127.0.0.1:8891\"]\nmode: monitor\n",
		"nomode.yaml": "listen: [\"inet:127.0.0.1:8891\"]\n", "group.yaml": "listen: [{address: \"unix:/run/x\", group: postfx}]\nmode: monitor\n",
		"dir.yaml": "listen: [\"unix:/nowhere/x.sock\"]\nmode: monitor\n", "systemd.yaml": "listen: [\"systemd:milter\"]\nmode: monitor\n",
		"check.yaml":  "report: {domain: dmarc.isp.example}\nmode: monitor\n",
		"signed.yaml": "report: {domain: dmarc.isp.example, mail: {dkim: {selector: s1, key_file: /none/key}}}\nmode: monitor\n", "good-none.txt": "# nothing\n", "m.eml": "From: a@b.example\n\nx\n", "cut.yaml": "mode: monit", "empty.yaml": "", "word.yaml": "policy: {reject: corrobrated}\nmode: monitor\n",
		"server.yaml": "dns: {servers: [unbound.local]}\nmode: monitor\n", "time.yaml": "dns: {timeout: 5}\nmode: monitor\n",
		"net.yaml": "trusted: {networks: [10.0.0.1/8]}\nmode: monitor\n", "send.yaml": "report: {aggregate: {send: true}}\nmode: monitor\n",
		"list.yaml": "listen: \"inet:127.0.0.1:8891\"\nmode: monitor\n", "store.yaml": "store: {url: \"mysql://x\"}\nmode: monitor\n",
	}
	files["psl.yaml"] = good + "dmarc: {organizational_domain: psl, psl_file: /none/list}\n"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = "no program listens there; does the daemon run"
	for _, tt := range []struct {
		line string
		code int
		want string
	}{
		// The configuration.
		{"config check typo.yaml", 2, `1:1: unknown key "lissten"; perhaps listen`},
		{"config check old.yaml", 2, "write store.url instead"},
		{"config check tabs.yaml", 2, "indent with spaces"},
		{"config check twice.yaml", 2, "remove one of the two"},
		{"config check nomode.yaml", 2, `add the line "mode: monitor"`},
		{"config check cut.yaml", 2, "write enforce or monitor"},
		{"config check empty.yaml", 2, `add the line "mode: monitor"`},
		{"config check word.yaml", 2, "write always, corroborated or quarantine"},
		{"config check port.yaml", 2, "write inet:127.0.0.1:8891"},
		{"config check list.yaml", 2, "such as [a, b]"},
		{"config check group.yaml", 2, "this host has no group postfx"},
		{"config check dir.yaml", 2, "make it, writable for the daemon's user"},
		{"config check server.yaml", 2, "write an address, such as 127.0.0.1"},
		{"config check time.yaml", 2, "write a number and a unit"},
		{"config check net.yaml", 2, "did you mean 10.0.0.0/8"},
		{"config check send.yaml", 2, "needs store.url"},
		{"config check store.yaml", 2, "write sqlite:/var/lib/sekimori/sekimori.db"},
		{"config check none.yaml", 2, "open none.yaml: no such file or directory"},
		{"config set-mode monitor .", 2, "it is not a regular file"},
		{"config set-mode enforcing good.yaml", 2, "write monitor or enforce"},
		{"serve --config none.yaml", 2, "sekimori config example >none.yaml"},
		{"serve --config .", 2, "it is not a regular file"},
		{"serve --config systemd.yaml", 1, "is the .socket unit enabled"},
		// Commands and flags.
		{"confg", 2, "did you mean sekimori config?"},
		{"verify", 2, `there is no command "sekimori verify"`},
		{"config chek good.yaml", 2, "did you mean sekimori config check?"},
		{"setup postfx", 2, "did you mean sekimori setup postfix?"},
		{"report lst", 2, "did you mean sekimori report list?"},
		{"report suppress ad x", 2, "did you mean sekimori report suppress add?"},
		{"serve --confg x", 2, "did you mean --config?"},
		{"status --vers", 2, "Run 'sekimori status --help' for usage."},
		{"setup postfix --aply", 2, "did you mean --apply?"},
		{"setup postfix --apply --undo", 2, "--apply and --undo cannot be given together"},
		{"replay m.eml", 2, "one of --trusted-host, --received, --ip must be given"},
		{"status now", 2, `status takes no arguments, only flags; "now" is one too many`},
		{"status --admin here", 2, "write HOST:PORT, such as 127.0.0.1:8892, or a URL"},
		{"probe --smtp 127.0.0.1", 2, "--smtp needs --rcpt ADDR: a mailbox"},
		{"probe --domain nonsense --config good.yaml", 2, "write a domain such as example.jp"},
		{"probe --socket 127.0.0.1:1", 2, "write inet:HOST:PORT or unix:/PATH"},
		{"readiness --format xml --config good.yaml", 2, `--format: "xml" is not a format`},
		{"readiness --json --format html --config good.yaml", 2, "--json and --format contradict each other"},
		{"readiness --lang fr --config good.yaml", 2, `--lang: "fr" is not a language`},
		{"readiness --lang ja --config good.yaml", 2, "--lang is for --format html"},
		{"report send --again --domain a.example --config good.yaml", 2, "--again needs --window"},
		{"report send --again --window today --domain a.example --config good.yaml", 2, "--again needs --window"},
		{"senders --limit 0 --config good.yaml", 2, "--limit must be 1 to 1000"},
		{"senders --limit 1 --config good.yaml", 2, "name a store there first"},
		{"senders --limit 1000 --config good.yaml", 2, "name a store there first"},
		{"senders --limit 1001 --config good.yaml", 2, "--limit must be 1 to 1000"},
		{"senders --days 0 --config good.yaml", 2, "--days must be 1 to 400,"},
		{"senders --days 401 --config good.yaml", 2, "--days must be 1 to"},
		{"senders --days 1 --config good.yaml", 2, "name a store there first"},
		{"senders --days 400 --config good.yaml", 2, "name a store there first"},
		{"readiness --days 0 --config good.yaml", 2, "--days must be 1 to 400,"},
		{"senders --domain a..b --config good.yaml", 2, "--domain: "},
		{"survey m.eml --class .", 2, `--class: "." is not a domain, or is there twice`},
		{"survey m.eml --rate 10000 --config typo.yaml", 2, `unknown key "lissten"`},
		{"bimi check nonsense", 2, `"nonsense" is neither a domain nor a file`},
		{"bimi check a.example --domain b.example", 2, "--domain is the domain of a certificate"},
		{"bimi check a.example --selector a..b", 2, `--selector: "a..b" is not a selector`},
		{"bimi check none.pem", 2, "open none.pem: no such file or directory"},
		{"doctor --postfix-config-dir none --config good.yaml", 2, "none: no such file or directory"},
		{"held --force --config good.yaml", 2, "--force is for --release and --drop"},
		{"held --release ../x --config good.yaml", 2, "../x"},
		{"held --drop 4dQZ7x2wJ1z9sP --drop a/b --config good.yaml", 2, "a/b"},
		{"forwarders --min 0 m.eml", 2, "--min must be at least 1"},
		{"forwarders m.eml --admin 127.0.0.1:1", 2, "a log cannot be combined with --admin"},
		{"forwarders none.log", 1, "open none.log: no such file or directory"},
		{"forwarders m.eml", 1, "there is no record of an evaluated message"},
		{"probe --rcpt <a>b> --config good.yaml", 2, "is not an address"},
		{"probe --client here --config good.yaml", 2, `--client: "here" is not an IP address`},
		{"survey m.eml --format xml", 2, `--format: "xml" is not text, csv, json or html`},
		{"survey m.eml --lang fr", 2, `--lang: "fr" is not en or ja`},
		{"survey m.eml --lang ja", 2, "--lang is for --format html"},
		{"survey m.eml --rate 0", 2, "--rate must be above 0"},
		{"survey m.eml --rate 10001", 2, "--rate must be above 0"},
		{"survey m.eml --rate NaN", 2, "--rate must be above 0"},
		{"survey m.eml --class a.jp,a.jp", 2, `--class: "a.jp" is not a domain, or is there twice`},
		{"survey m.eml --class a..b", 2, `--class: "a..b" is not a domain, or is there twice`},
		{"survey none.txt --config good.yaml", 1, "open none.txt: no such file or directory"},
		{"survey good-none.txt --config good.yaml", 1, "the list has no domain"},
		{"replay m.eml --received 1 --helo x", 2, "--helo is for --ip"},
		{"replay m.eml --received 0", 2, "--received counts from 1"},
		{"replay m.eml --ip here", 2, `--ip: "here" is not an IP address`},
		{"replay m.eml --ip 192.0.2.1 --retry-failures", 2, "--retry-failures is for --dns-snapshot"},
		{"replay m.eml --trusted-host a..b", 2, `--trusted-host: "a..b" is not a host name`},
		{"replay m.eml --ip 192.0.2.1 --config good.yaml --candidate typo.yaml", 2, `unknown key "lissten"`},
		{"replay none --ip 192.0.2.1 --config good.yaml", 1, "none: no such file or directory"},
		// The list of public suffixes is missing.
		{"survey m.eml --config psl.yaml", 1, "/none/list"},
		{"check a.example --config psl.yaml", 1, "/none/list"},
		{"replay m.eml --ip 192.0.2.1 --config psl.yaml", 1, "/none/list"},
		{"replay m.eml --ip 192.0.2.1 --config good.yaml --candidate psl.yaml", 1, "/none/list"},
		{"explain m.eml --ip 192.0.2.1 --config psl.yaml", 1, "/none/list"},
		// Nothing runs.
		{"status --config good.yaml", 1, nobody},
		{"reload --config good.yaml", 1, nobody},
		{"explain --queue-id 4dQZ7x2wJ1z9sP --config good.yaml", 1, nobody},
		{"decisions --config good.yaml", 1, nobody},
		{"config check --against-running --config good.yaml", 1, nobody},
		{"probe --quick --config good.yaml", 2, "no program listens there; does the daemon run"},
		{"probe --smtp " + free + " --rcpt a@b.example --config good.yaml", 2, "does the MTA run"},
		{"doctor --sendmail-cf none --config good.yaml", 2, "none: no such file or directory"},
		{"setup sendmail --config good.yaml --mc none.mc", 1, "name the file from which sendmail.cf is built with --mc"},
		{"report list --config good.yaml", 2, "name a store there first"},
		{"report check --config good.yaml", 2, "report.domain is not set"},
		// Messages.
		{"explain", 2, "give a file, --queue-id or --id"},
		{"decisions --day 2026-11-31", 2, `--day: "2026-11-31" is neither a day`},
		{"decisions --until noon", 2, "--until"},
		{"decisions --verdict refuse", 2, "no such verdict"},
		{"decisions --reason spam", 2, "no such reason"},
		{"decisions --client mx1.example", 2, "is not an IP address"},
		{"decisions --limit 501", 2, "not between 1 and 500"},
		{"decisions bank.example", 2, "decisions takes no arguments, only flags"},
		{"explain m.eml", 2, "the address of the client that sent the message"},
		{"explain m.eml --ip 192.0.2.999", 2, "is not an IP address"},
		{"explain m.eml --trusted-host a..b", 2, `--trusted-host: "a..b" is not a host name`},
		{"explain m.eml --ip 192.0.2.1 --time noon", 2, "noon"},
		{"report check --selector a..b --config check.yaml", 2, `--selector: "a..b" is not a selector`},
		{"report check --selector x --config signed.yaml", 2, "--selector is for a mail server that signs"},
		{"explain . --ip 192.0.2.1", 1, "read message .: read .: is a directory"},
		{"explain none.eml --ip 192.0.2.1", 1, "open none.eml: no such file or directory"},
		{"explain m.eml --trusted-host mx.example.jp", 1, `name the host that it has after "by"`},
	} {
		t.Run(tt.line, func(t *testing.T) {
			var out, complaints bytes.Buffer
			code := run(context.Background(), strings.Fields(tt.line), &out, &complaints)
			if said := complaints.String(); code != tt.code || !strings.Contains(said, tt.want) {
				t.Errorf("exit code %d, want %d; want %q in\n%s", code, tt.code, tt.want, said)
			}
			if packages.MatchString(complaints.String()) {
				t.Errorf("the name of a package: %s", complaints.String())
			}
		})
	}
}

// packages matches the beginning of an error that names a package of this program.
var packages = regexp.MustCompile(`(?m)(?:^|: )(?:mtaconf|setup|probe|client|admin|milter|reporting|dns): [a-z"]`)
