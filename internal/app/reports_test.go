package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/web"
)

const reportZone = `
shop.example         TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.shop.example  TXT "v=DMARC1; p=none; rua=mailto:rua@shop.example"
_dmarc.evil.example  TXT "v=DMARC1; p=none; rua=mailto:rua@evil.example"
bank.example         TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example  TXT "v=DMARC1; p=reject; rua=mailto:rua@bank.example"
`

// storeConfig is a configuration with a store in a file, which it names.
func storeConfig(t *testing.T) (cfg *config.Config, path string) {
	t.Helper()
	cfg, path = testConfig(t), filepath.Join(t.TempDir(), "sekimori.db")
	server := nameserver.Serve(t, reportZone, nameserver.Options{})
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
	cfg.Store.URL = "sqlite:" + path
	return cfg, path
}

// kept returns the jobs in the file, and the sum of their messages.
func kept(t *testing.T, path string) (jobs []report.Job, messages int64) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	jobs, err = db.Jobs(t.Context(), report.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		messages += j.Messages
	}
	return jobs, messages
}

// TestCollecting sends messages to a daemon with a store, and reloads between them. After the stop, the
// store has them all.
func TestCollecting(t *testing.T) {
	cfg, path := storeConfig(t)
	a, log, stop := running(t, cfg)
	for range 3 {
		send(t, a, "<a@bank.example>")
	}
	err := a.Reload(with(cfg, func(c *config.Config) {
		c.Report.Aggregate.MaxRows, c.Report.Organization = 5, "Example ISP"
	}))
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		send(t, a, "<x@evil.example>")
	}
	metrics := web.Get(t, "http://"+a.AdminAddr()+"/metrics")
	for _, want := range []string{
		`sekimori_report_observations_total{result="queued"} 7`, `sekimori_report_rows_lost_total{reason="queue"} 0`,
		`sekimori_report_store_up 1`, `sekimori_reports_withheld_total{reason="off"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	jobs, messages := kept(t, path)
	if len(jobs) != 1 || messages != 7 || jobs[0].Rows != 2 || jobs[0].Policy.Domain != "bank.example" || jobs[0].State != report.StateOpen {
		t.Errorf("%d messages in %+v\n%s", messages, jobs, log)
	}
}

// TestStoreNeedsRestart: a reload cannot change the store, and says so.
func TestStoreNeedsRestart(t *testing.T) {
	cfg, path := storeConfig(t)
	a, _, stop := running(t, cfg)
	defer stop()
	for _, change := range []func(*config.Config){
		func(c *config.Config) { c.Store.URL += "2" },
		func(c *config.Config) { c.Store.URL = "" },
		func(c *config.Config) { c.Store.Spool.Size *= 2 },
	} {
		if err := a.Reload(with(cfg, change)); err == nil || !strings.Contains(err.Error(), "need a restart") || !strings.Contains(err.Error(), "store: ") {
			t.Errorf("%v", err)
		}
	}
	// A second daemon on the same file is refused, and told which process has it.
	second := *cfg
	if _, err := New(&second, options(new(bytes.Buffer))); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a second daemon: %v", err)
	}
}

// TestNoTrace: a message none of whose recipients agreed leaves nothing in the files of the store, not
// even the name of its domain. One with a recipient who did not agree and one who did counts.
func TestNoTrace(t *testing.T) {
	cfg, path := storeConfig(t)
	cfg.Policy.Recipients.Default = policy.Out
	a, log, stop := running(t, cfg)
	send(t, a, "<a@shop.example>")
	send(t, a, "<a@bank.example>")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(log.Records(t, "evaluated")); n != 2 {
		t.Fatalf("%d messages were evaluated", n)
	}
	if found := grep(t, path, "bank.example", "shop.example", "evil.example", "192.0.2.1"); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	cfg.Policy.Recipients.Default = policy.In
	a, _, stop = running(t, cfg)
	send(t, a, "<a@bank.example>")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if found := grep(t, path, "bank.example"); len(found) != 1 {
		t.Errorf("the search finds nothing even where there is something: %v", found)
	}
}

// grep returns which of the words are in the files of a database, without regard to case.
func grep(t *testing.T, path string, words ...string) (found []string) {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if bytes.Contains(bytes.ToLower(data), []byte(w)) {
				found = append(found, w+" in "+filepath.Base(file))
			}
		}
	}
	return found
}

// TestDatabaseAway: a database that does not answer delays neither start, messages nor stop. The rows
// are in the spool afterwards.
func TestDatabaseAway(t *testing.T) {
	cfg, _ := storeConfig(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	cfg.Store.URL = "postgres://sekimori@" + address + "/sekimori?sslmode=disable"
	cfg.Store.Spool.Dir = filepath.Join(t.TempDir(), "spool")
	began := time.Now()
	a, log, stop := running(t, cfg)
	send(t, a, "<a@bank.example>")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := os.Stat(filepath.Join(cfg.Store.Spool.Dir, "history")); err != nil || a.kept.history.spool == nil || a.kept.spool == nil {
		t.Errorf("a spool is missing: %+v, %v", a.kept, err)
	}
	files, _ := filepath.Glob(filepath.Join(cfg.Store.Spool.Dir, "*.batch"))
	if len(files) != 1 || len(log.Records(t, "the store takes no rows of reports")) != 1 {
		t.Errorf("spool: %v\n%s", files, log)
	}
	if lost := log.Records(t, "report rows lost"); len(lost) > 0 {
		t.Errorf("%v", lost)
	}
}

// TestNoStore: without a store there is no observer for reports, and no sender.
func TestNoStore(t *testing.T) {
	a, _, stop := running(t, testConfig(t))
	if a.kept.store != nil || a.kept.rows != nil || a.current.sender != nil || a.bounces != nil || len(a.observersForAll()) != 2 { // those of unknown clients and of the watch list
		t.Errorf("%+v", a.kept)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestPasswords reads the files with passwords.
func TestPasswords(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct{ text, want string }{
		"one line": {"s3cret\n", "s3cret"}, "no line end": {"s3cret", "s3cret"}, "CR LF": {"s3cret\r\nmore", "s3cret"}, "spaces": {" s 3\n", " s 3"},
		"empty": {"", ""}, "blank": {"\ns3cret", ""}, "large": {strings.Repeat("x", maxPasswordFile+1), ""},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := password("store.password_file", path)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
	if _, err := password("store.password_file", dir); err == nil {
		t.Error("a directory is read")
	}
	if got, err := password("store.password_file", ""); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestBounces: the daemon hears bounces where the configuration says, from the reload on that turns
// sending on.
func TestBounces(t *testing.T) {
	cfg, _ := storeConfig(t)
	cfg.Report.Mail.Bounces.Address = "inet:127.0.0.1:0"
	a, log, stop := running(t, cfg)
	address := func() string {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.bounces == nil {
			return ""
		}
		return a.bounces.listeners[0].Addr().String()
	}
	if got := address(); got != "" {
		t.Errorf("bounces are heard at %s although nothing is sent", got)
	}
	sends := func(c *config.Config) {
		c.Report.Organization, c.Report.Domain, c.Report.Contact = "Example ISP", "dmarc.isp.example", "a@isp.example"
		c.Report.Aggregate.Send = true
	}
	if err := a.Reload(with(cfg, sends)); err != nil {
		t.Fatal(err)
	}
	first := address()
	greeting(t, first)
	if err := a.Reload(with(cfg, sends, monitor)); err != nil {
		t.Fatal(err)
	}
	if got := address(); got != first {
		t.Errorf("a reload moved the address from %s to %s", first, got)
	}
	greeting(t, first)
	if err := a.Reload(with(cfg, sends, func(c *config.Config) { c.Report.Mail.Bounce = "other" })); err != nil {
		t.Fatal(err)
	}
	greeting(t, address())
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, r := range log.Records(t, "") {
		// The domain of this test publishes nothing, and the daemon warns of that.
		if r["level"] == "ERROR" || r["level"] == "WARN" && r["msg"] != "report mail" {
			t.Errorf("%v", r)
		}
	}
}

// greeting checks that an LMTP server answers.
func greeting(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 3)
	if _, err := c.Read(b); err != nil || string(b) != "220" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestIdentity: the log and the metrics say whether report mail would pass DMARC, once reports are
// sent.
func TestIdentity(t *testing.T) {
	for name, tt := range map[string]struct {
		zone     string
		aligned  string
		spfFails bool
	}{
		"no DMARC record":  {`dmarc.isp.example TXT "v=spf1 ip4:192.0.2.9 -all"`, "0", false},
		"SPF passes":       {"dmarc.isp.example TXT \"v=spf1 ip4:192.0.2.9 -all\"\n_dmarc.dmarc.isp.example TXT \"v=DMARC1; p=reject\"", "1", false},
		"the MTA may sign": {"dmarc.isp.example TXT \"v=spf1 -all\"\n_dmarc.dmarc.isp.example TXT \"v=DMARC1; p=reject\"", "1", true},
	} {
		cfg, _ := storeConfig(t)
		cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(nameserver.Serve(t, tt.zone, nameserver.Options{}).Addr())}}
		cfg.Report.Mail.Bounces.Address = ""
		cfg.Report.Organization, cfg.Report.Domain, cfg.Report.Contact = "Example ISP", "dmarc.isp.example", "a@isp.example"
		cfg.Report.Aggregate.Send = true
		interfaces := func() ([]net.Addr, error) {
			return []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 9)}, &net.IPNet{IP: net.IPv4(10, 0, 0, 1)}, &net.IPNet{IP: net.IPv4(127, 0, 0, 1)}}, nil
		}
		a, log, stop := running(t, cfg, func(o *Options) { o.Interfaces = interfaces })
		metric := "sekimori_report_identity_aligned " + tt.aligned
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			// The gauge begins with 1, so the record in the log says when the check has ended. There always is one, because the domain has no MX.
			said := log.Records(t, "report mail")
			if len(said) > 0 && strings.Contains(web.Get(t, "http://"+a.AdminAddr()+"/metrics"), metric) {
				findings := fmt.Sprint(said[0]["findings"])
				if len(said) != 1 || said[0]["aligned"] != (tt.aligned == "1") || strings.Contains(findings, "SPF does not pass") != tt.spfFails {
					t.Errorf("%s: %v", name, said)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: never %s\n%s", name, metric, log)
				break
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSenderOptions: what the sender of reports gets from the configuration, and which files must be there.
func TestSenderOptions(t *testing.T) {
	dir := t.TempDir()
	none, bad, good := filepath.Join(dir, "none"), filepath.Join(dir, "bad"), filepath.Join(dir, "good")
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(os.WriteFile(bad, []byte("x"), 0o600), os.WriteFile(good, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	key := func(path string) func(*config.Config) {
		return func(c *config.Config) { c.Report.Mail.DKIM.KeyFile, c.Report.Mail.DKIM.Selector = path, "s" }
	}
	r, err := NewResolver(testConfig(t), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, tt := range []struct {
		name         string
		change       func(*config.Config)
		preview      bool
		fails        string // how the error begins
		sends, signs bool
		signing      string // how the error of signing begins
	}{
		{"the MTA signs", func(*config.Config) {}, false, "", false, false, ""},
		{"preview", func(*config.Config) {}, true, "", true, false, ""},
		{"sends", func(c *config.Config) { c.Report.Aggregate.Send = true }, false, "", true, false, ""},
		{"key", key(good), false, "", false, true, ""},
		{"key in a preview", key(good), true, "", true, true, ""},
		{"no key", key(none), false, "app: " + reportKey + ": ", false, false, ""},
		{"no key in a preview", key(none), true, "", true, true, "app: " + reportKey + ": "},
		{"bad key", key(bad), false, "app: " + reportKey + " " + bad + ": ", false, false, ""},
		{"a directory", key(dir), false, "app: " + reportKey + ": ", false, false, ""},
		{"no server", func(c *config.Config) { c.Report.Mail.Server = "" }, false, "app: report.mail: ", false, false, ""},
		{"no suffixes", func(c *config.Config) { c.DMARC.OrganizationalDomain, c.DMARC.PSLFile = "psl", none }, false, "app: dmarc.psl_file: ", false, false, ""},
	} {
		cfg := config.Default()
		a := &cfg.Report.Aggregate
		a.Always, a.Never, a.MaxDestinations, a.Correspondents = []config.Pattern{"a.example"}, []config.ReportFor{"n.example"}, 7, true
		a.DNSBL = []config.Domain{"bl.example"}
		a.Rate, a.RatePerHost, cfg.Report.Keep = 3, 2, config.Duration(72*time.Hour)
		tt.change(cfg)
		so := SenderOptions{Store: &fakeStore{}, Resolver: r, Version: "v", Now: time.Now, Preview: tt.preview}
		o, err := dispatchOptions(cfg, so)
		if (err != nil) != (tt.fails != "") || err != nil && !strings.HasPrefix(err.Error(), tt.fails) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if d, err := NewSender(cfg, so); (err == nil) != (tt.fails == "") || (d == nil) != (err != nil) {
			t.Errorf("%s: the sender: %v", tt.name, err)
		}
		if err != nil {
			continue
		}
		s := o.Settings
		if fmt.Sprint(s.Send, s.Always, s.Never, s.DNSBL, s.MaxDestinations, s.Correspondents) != fmt.Sprint(tt.sends, " [a.example] [n.example] [bl.example] 7 true") || (o.Sign != nil) != tt.signs ||
			o.Rate != 3 || o.RatePerHost != 2 || o.Keep != 72*time.Hour || o.Submit == nil || !strings.HasPrefix(o.Owner, config.HostName()+"/") {
			t.Errorf("%s: %+v", tt.name, o)
		}
		if tt.signing != "" {
			if _, err := o.Sign(nil); err == nil || !strings.HasPrefix(err.Error(), tt.signing) {
				t.Errorf("%s: signing: %v", tt.name, err)
			}
		}
	}
}
