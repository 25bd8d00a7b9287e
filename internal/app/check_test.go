package app

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sekimori/internal/config"
)

// TestCheckPlaces checks that Check finds everything that is missing around a configuration at once,
// each with its line.
func TestCheckPlaces(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sekimori.yaml")
	rules := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(rules, []byte("- {id: a, when: {author: [x.example]}, then: accept}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := `mode: monitor
listen:
  - {address: "unix:` + dir + `/gone/milter.sock"}
  - {address: "unix:/run/made-later/milter.sock"}
  - {address: "unix:` + dir + `/milter.sock", group: "no-such-group"}
  - {address: "unix:` + rules + `/milter.sock", group: "4242"}
dns: {servers: ["192.0.2.53:53"]}
dmarc: {organizational_domain: psl, psl_file: ` + dir + `/none.dat}
geo: {country: ` + dir + `/none.mmdb}
policy:
  recipients: {file: ` + dir + `/none.consent}
  overrides: [{file: ` + rules + `}]
shadow: ` + dir + `/none.yaml
admin: {web_config: ` + dir + `/none.web}
store: {url: "postgres://db.example/sekimori", password_file: ` + dir + `/none.db}
report:
  organization: Example
  domain: dmarc.isp.example
  contact: a@isp.example
  aggregate: {send: true}
  mail: {server: "127.0.0.1:25", tls: required, user: u, password_file: ` + dir + `/none.mail, bounces: "unix:` + dir + `/gone/b.sock", dkim: {selector: s, key_file: ` + dir + `/none.key}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	got := config.Place(file, Check(cfg)).Error()
	for _, want := range []string{
		file + ":3:5: listen[0]: the directory " + dir + "/gone of the socket does not exist",
		file + ":5:5: listen[2]: this host has no group no-such-group",
		file + ":6:5: listen[3]: " + rules + " is not a directory",
		file + ":8:47: dmarc.psl_file: open " + dir + "/none.dat: no such file",
		file + ":11:22: policy.recipients.file: open " + dir + "/none.consent: no such file",
		file + ":13:9: shadow: open " + dir + "/none.yaml: no such file",
		file + ":14:21: admin.web_config: " + dir + "/none.web: ",
		rules + ":1:46:",
		file + ":9:16: geo.country: open " + dir + "/none.mmdb: no such file",
		"store.password_file: open " + dir + "/none.db: no such file",
		"report.mail.password_file: open " + dir + "/none.mail: no such file",
		"report.mail.dkim.key_file: open " + dir + "/none.key: no such file",
		"report.mail.bounces: the directory " + dir + "/gone of the socket does not exist",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "listen[1]") || strings.Contains(got, "app: ") {
		t.Errorf("says too much:\n%s", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if again := config.Place(file, Check(cfg)); again == nil || !strings.Contains(again.Error(), "listen[0]: the directory") {
		t.Errorf("without the file: %v", again)
	}
}

// TestSenderOfPipe checks that nothing waits for a writer of a named pipe in the place of a file.
func TestSenderOfPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Report.Mail.User, cfg.Report.Mail.PasswordFile = "u", pipe
	_, err := NewSender(cfg, SenderOptions{Preview: true})
	if err == nil || !strings.Contains(err.Error(), "report.mail.password_file: read "+pipe) {
		t.Errorf("got %v", err)
	}
}
