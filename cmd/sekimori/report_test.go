package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/dns/zone"
	reports "sekimori/internal/report"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/store/storetest"
)

const reportZone = `_dmarc.shop.example TXT "v=DMARC1; p=reject; rua=mailto:rua@shop.example,mailto:rua@far.example"
shop.example MX 10 mx.shop.example.
mx.shop.example A 192.0.2.7
dmarc.isp.example TXT "v=spf1 ip4:192.0.2.25 -all"
_dmarc.dmarc.isp.example TXT "v=DMARC1; p=reject"
dmarc.isp.example MX 10 mx.isp.example.
`

// reportWorld opens a store as a daemon does, with a report about shop.example of yesterday, and
// returns a configuration for it. The store stays open until the test ends.
func reportWorld(t *testing.T) (conf string, store *sqlite.DB, now time.Time) {
	t.Helper()
	z, err := zone.Parse(reportZone)
	if err != nil {
		t.Fatal(err)
	}
	server, err := zone.NewServer(z, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	path := filepath.Join(t.TempDir(), "sekimori.db")
	if store, err = sqlite.Open(t.Context(), path, sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	now = time.Now().UTC()
	yesterday := reports.WindowAt(now.AddDate(0, 0, -1), 24*time.Hour)
	b := storetest.Batch("b1", storetest.Tally(storetest.Policy("shop.example"), yesterday, storetest.Rows(0, 5)))
	b.Current = reports.WindowAt(now, 24*time.Hour)
	for _, ago := range []int{9, 5, 1} {
		b.Seen = append(b.Seen, reports.Sighting{Domain: "shop.example", Day: reports.DayOf(now.AddDate(0, 0, -ago)), Kind: reports.SeenPass})
	}
	if err := store.Add(t.Context(), time.Unix(yesterday.Begin, 0), b); err != nil {
		t.Fatal(err)
	}
	conf = file(t, "sekimori.yaml", fmt.Sprintf("store: {url: 'sqlite:%s'}\ndns: {servers: ['%s'], timeout: 2s}\nreport:\n  domain: dmarc.isp.example\n"+
		"  organization: Example ISP\n  contact: postmaster@isp.example\n  mail: {server: '127.0.0.1:1'}\nmode: monitor\n", path, server.Addr()))
	return conf, store, now
}

// TestReport calls the commands while another process would have the store open.
func TestReport(t *testing.T) {
	conf, _, now := reportWorld(t)
	first := now.AddDate(0, 0, -9).Format(time.DateOnly)
	empty := file(t, "empty.yaml", "mode: monitor\n")
	for _, tt := range []struct {
		args   string
		code   int
		stdout []string
		stderr string
	}{
		{"list", 0, []string{"shop.example  5     5         open"}, ""},
		{"list --window yesterday --json", 0, []string{`"domain": "shop.example"`, `"messages": 5`}, ""},
		{"list --window today", 0, []string{"No report."}, ""},
		{"list --window 28.11", 2, nil, `"28.11" is not a day; write one such as`},
		{"list --state sent", 2, nil, "write open, due, claimed or done"},
		{"show shop.example", 0, []string{"Nothing is sent, because report.aggregate.send is false. If it were true, it would go to rua@shop.example.",
			"STOPS  off ", first, "rua@far.example", "unverified"}, ""},
		{"show shop.example --json", 0, []string{`"word": "unverified"`}, ""},
		{"show shop.example --xml", 0, []string{`<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">`, "<org_name>Example ISP</org_name>", "<source_ip>192.0.0.1</source_ip>"}, ""},
		{"show shop.example --eml", 0, []string{"To: <rua@shop.example>", "Report-ID:", ".xml.gz"}, ""},
		{"show shop.example --eml --xml", 2, nil, "cannot be given together"},
		{"show none.example", 1, nil, "there is no report about none.example"},
		{"show", 2, nil, "report show takes a domain or a Report-ID"},
		{"send --dry-run", 0, []string{"it would go to rua@shop.example"}, ""},
		{"send", 2, nil, "write --domain, --window or both"},
		{"send --domain shop.example", 1, nil, "report.aggregate.send is false, so no report is sent to others"},
		{"send --to me@isp.example", 2, nil, "--to needs --domain"},
		{"send --domain shop.example --to me@isp.example", 1, []string{"did not take the copy"}, ""},
		{"suppress add rua@shop.example --for 24h --reason phone", 0, []string{"rua@shop.example gets no report until"}, ""},
		{"suppress list", 0, []string{"rua@shop.example", "operator  phone"}, ""},
		{"suppress list --json", 0, []string{`"active": true`}, ""},
		{"show shop.example --window yesterday", 0, []string{"it would be withheld (suppressed)"}, ""},
		{"suppress remove rua@shop.example", 0, []string{"gets reports again"}, ""},
		{"suppress remove rua@shop.example", 1, nil, "is not suppressed"},
		{"suppress add shop.example", 2, nil, `neither an address such as`},
		{"suppress add @shop.example --for 0s", 2, nil, "--for 0s is not between"},
		{"check --ip 192.0.2.25", 1, []string{"SPF passes for 192.0.2.25", "FAULT    server   the mail server 127.0.0.1:1 does not answer", "would pass DMARC."}, ""},
		{"check --ip 192.0.2.26 --json", 1, []string{`"aligned": false`}, ""},
		{"check --ip x", 2, nil, `--ip: "x" is not an IP address`},
		{"list --config " + empty, 2, nil, "store.url is empty"},
		{"check --config " + empty, 2, nil, "report.domain is not set"},
		{"list --config /nonexistent", 2, nil, "/nonexistent"},
	} {
		args := strings.Fields("report " + tt.args)
		if !strings.Contains(tt.args, "--config") {
			args = append(args, "--config", conf)
		}
		code, stdout, stderr := command(t, args...)
		if code != tt.code || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
			t.Errorf("%s: exit code %d, want %d: %s", tt.args, code, tt.code, stderr)
		}
		for _, want := range tt.stdout {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s lacks %q:\n%s", tt.args, want, stdout)
			}
		}
		if strings.Contains(stderr, "reporting:") || strings.Contains(stderr, "sqlite:") {
			t.Errorf("%s names a package: %s", tt.args, stderr)
		}
		if strings.HasSuffix(tt.args, "--xml") && code == 0 {
			if err := xml.Unmarshal([]byte(stdout), new(struct{ XMLName xml.Name })); err != nil {
				t.Errorf("%s: %v", tt.args, err)
			}
		}
	}
}

// ownerEnv makes the test program call "report list" on the configuration that it names, as the whole
// program would, because a process can become another user only once.
const ownerEnv = "SEKIMORI_TEST_OWNER"

func TestMain(m *testing.M) {
	if conf := os.Getenv(ownerEnv); conf != "" {
		code := run(context.Background(), []string{"report", "suppress", "add", "a@b.example", "--config", conf}, os.Stdout, os.Stderr)
		fmt.Println("uid", os.Geteuid(), "gid", os.Getegid())
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestReportAsRoot checks that a command that root calls leaves no file of root beside the database.
func TestReportAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes another user")
	}
	const uid = 65534
	conf, store, _ := reportWorld(t)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "sqlite:")
	path, _, _ := strings.Cut(rest, "'")
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the other user must get there
			t.Fatal(err)
		}
	}
	err = filepath.WalkDir(filepath.Dir(path), func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(p, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerEnv+"="+conf)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("uid %d gid %d", uid, uid)) {
		t.Fatalf("%v %s", err, out)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != uid {
			t.Errorf("%s belongs to %d", name, owner)
		}
	}
}
