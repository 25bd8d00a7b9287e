package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// steering has characters with which a stranger could control a terminal, hide text, or reverse
// its direction.
const steering = "\x1b[2J\x07\x08\x7f\u0085\u009b31m\u202egnp\u2066\u2069\u200b\ufeff\U000e0041\x9b\xff\x00"

// TestNothingRaw checks that commands print none of the characters in "steering", neither in text
// nor in JSON. The characters come from a message, a log, another file or an argument.
func TestNothingRaw(t *testing.T) {
	x := steering
	const forged = "\nforged"
	field := strings.Trim(x, "\x00")
	message := "Authentication-Results: mx" + field + "; dmarc=pass" + field + "\n" +
		"ARC-Seal: i=1; a=rsa-sha256; cv=" + field + "; d=x" + field + ".example; s=s" + field + "; b=AAAA\n" +
		"ARC-Message-Signature: i=1; a=rsa-sha256; d=x.example; s=s; h=from" + field + "; bh=AAAA; b=AAAA\n" +
		"ARC-Authentication-Results: i=1; x" + field + "; spf=pass\n" +
		"DKIM-Signature: v=1; a=rsa-sha256" + field + "; d=bank.example; s=s" + field + "; i=a" + field + "@bank.example; h=from:" + field + "; bh=AAAA; b=AAAA\n" +
		"DKIM-Signature: v=1; a=rsa-sha256; d=bank.example; s=s; i=\"a=1B=5B2J=C2=9B\"@bank.example; h=from; bh=AAAA; b=AAAA\n" +
		"Received: from h" + field + " (h [192.0.2.9]) by mx.here.example; Mon, 2 Mar 2026 10:00:00 +0000\n" +
		"List-Id: " + field + " <l" + field + ".example>\nSubject: " + field + "\nMessage-ID: <" + field + ">\nDate: Mon, 2 Mar 2026 10:00:00 +0000\n" +
		"From: =?utf-8?Q?x=1B[2J=C2=9B=7F=E2=80=AE?= <a@bank.example>\n\n" + field + "\n"
	mail := file(t, "m.eml", message)
	broken := file(t, "broken.eml", "From: "+field+"@\n\n")
	mbox := file(t, "box", "From a"+field+"@bank.example Mon Mar  2 10:00:00 2026\n"+message+"\nFrom b Mon Mar  2 10:00:00 2026\n"+message)
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"m" + strings.Trim(x, "\x00") + ".eml": message, "n\n" + strings.Trim(x, "\x00") + ".eml": strings.Repeat("x", 10)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Skip(err) // the file system accepts only names in UTF-8
		}
	}
	zone := file(t, "z.zone", "bank.example TXT \"v=spf1 include:x\\127.example exists:\\155%{l}.x.example exp=e.bank.example -all\"\n"+
		"_dmarc.bank.example TXT \"v=DMARC1; p=reject; rua=mailto:\\027\\127\"\ns._domainkey.bank.example TXT \"v=DKIM1; p=\\027\\127\"\n")
	badZone := file(t, "bad.zone", "bank.example TXT \"open"+x+"\n")
	record, err := json.Marshal(map[string]any{
		"msg": "evaluated", "time": "2026-11-29T08:00:00Z", "client_ip": "192.0.2.9", "iprev": "pass", "iprev_name": "h" + field + ".example",
		"arc": "pass", "arc_sealer": "x" + field + ".example", "dmarc": "fail", "header_from": "bank" + field + ".example",
		"indirect": "broken_author_signature", "verdict": "quarantine", "reason": field,
	})
	if err != nil {
		t.Fatal(err)
	}
	log := file(t, "log", strings.Repeat(string(record)+"\n", 200)+field+"\n{\"msg\":\""+field+"\"}\n")
	list := file(t, "list", "b"+x+"@x.example\n")
	rules := file(t, "rules.yaml", "- {id: \"a\u202e\x7f\", when: {author: [x]}, then: accept}\n")
	config := func(text string) string { return file(t, "c.yaml", "mode: monitor\n"+text) }
	silent := config("dns: {servers: ['127.0.0.1:1'], timeout: 10ms, message_budget: 20ms}\n") // no DNS server answers at this address
	for _, tt := range []struct {
		name string
		args []string
		json bool
	}{
		{"explain", []string{"explain", mail, "--ip", "192.0.2.9", "--helo", "h" + x + forged, "--from", "a" + x + forged + "@bank.example",
			"--rcpt", "r" + x + forged + "@here.example", "--zone", zone}, false},
		{"explain of a bounce", []string{"explain", mail, "--ip", "192.0.2.9", "--helo", "h" + x + ".example", "--from", "", "--zone", zone}, false},
		{"explain of SMTPUTF8", []string{"explain", mail, "--ip", "192.0.2.9", "--from", "用户\u202e@bank.example", "--zone", zone}, false},
		{"explain of no author", []string{"explain", broken, "--ip", "192.0.2.9", "--zone", zone}, false},
		{"explain --json", []string{"explain", mail, "--ip", "192.0.2.9", "--helo", "h" + x, "--from", "a" + x + "@bank.example", "--zone", zone, "--json"}, true},
		{"explain --json of no author", []string{"explain", broken, "--ip", "192.0.2.9", "--zone", zone, "--json"}, true},
		{"replay", []string{"replay", mbox, "--ip", "192.0.2.9", "--config", silent}, false},
		{"replay of a folder", []string{"replay", dir, "--ip", "192.0.2.9", "--json", "--config", silent}, true},
		{"replay by Received", []string{"replay", mbox, "--trusted-host", "mx.here.example", "--config", silent}, false},
		{"forwarders", []string{"forwarders", log, "--min", "1", "--owner", "o" + x}, false},
		{"forwarders --json", []string{"forwarders", log, "--min", "1", "--json"}, true},
		{"no such command", []string{"a" + x}, false},
		{"no such flag", []string{"serve", "--a" + x}, false},
		{"no such file", []string{"explain", "/nonexistent/" + strings.Trim(x, "\x00"), "--ip", "192.0.2.9"}, false},
		{"no address", []string{"explain", mail, "--ip", "1" + x}, false},
		{"no time", []string{"explain", mail, "--ip", "192.0.2.9", "--time", "1" + x}, false},
		{"a zone with a mistake", []string{"explain", mail, "--ip", "192.0.2.9", "--zone", badZone}, false},
		{"an unknown key", []string{"config", "check", config("\"a\u202e\x7f\": 1\n")}, false},
		{"an invalid value", []string{"config", "check", config("policy: {reject: \"a" + "\u202e\x7f\u0085" + "\"}\n")}, false},
		{"not YAML", []string{"config", "check", config("\x1b[2J: [\n")}, false},
		{"a name", []string{"config", "print", "--config", config("authserv_id: \"a\u202eb\"\n")}, false},
		{"a list", []string{"config", "check", config("policy: {recipients: {file: " + list + "}}\n")}, false},
		{"rules", []string{"config", "check", config("policy: {overrides: [{file: " + rules + "}]}\n")}, false},
		{"a daemon that does not run", []string{"status", "--admin", "http://127.0.0.1:1/" + x}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, stdout, stderr := command(t, tt.args...)
			if stdout+stderr == "" {
				t.Error("nothing is written")
			}
			for name, text := range map[string]string{"output": stdout, "error output": stderr} {
				if !utf8.ValidString(text) {
					t.Errorf("the %s is not UTF-8: %q", name, text)
				}
				for i, r := range text {
					if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
						t.Errorf("%U in the %s: %q", r, name, text[max(0, i-80):min(len(text), i+20)])
					}
				}
			}
			if strings.Contains(stdout, forged) {
				t.Errorf("a line was forged: %q", stdout)
			}
			if tt.json && !json.Valid([]byte(stdout)) {
				t.Errorf("not JSON: %s\n%s", stdout, stderr)
			}
		})
	}
}
