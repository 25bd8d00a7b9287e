package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/bimi"
	"sekimori/internal/config"
	"sekimori/internal/dispatch/failures"
	"sekimori/internal/dns"
	"sekimori/internal/farm"
	"sekimori/internal/filter"
	"sekimori/internal/history"
	"sekimori/internal/judge"
	"sekimori/internal/report"
	"sekimori/internal/senders"
	"sekimori/internal/status"
	"sekimori/internal/store"
	"sekimori/internal/telemetry"
	"sekimori/internal/testkit/logs"
)

// opened makes a daemon that does not serve yet, and ends it with the test.
func opened(t *testing.T, cfg *config.Config, changes ...func(*Options)) (*App, *logs.Buffer) {
	t.Helper()
	log := &logs.Buffer{}
	o := options(log)
	for _, change := range changes {
		change(&o)
	}
	a, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Stop(context.Background()) })
	return a, log
}

// fakeFarm is a store of heartbeats that may fail.
type fakeFarm struct {
	farm.Store
	beatFails, hostsFail error
	hosts                []farm.Host
	beats                []farm.Beat
	left                 string
}

func (f *fakeFarm) Beat(_ context.Context, _ time.Time, b farm.Beat) error {
	f.beats = append(f.beats, b)
	return f.beatFails
}
func (f *fakeFarm) Hosts(context.Context, time.Time) ([]farm.Host, error) {
	return f.hosts, f.hostsFail
}
func (f *fakeFarm) Leave(_ context.Context, instance string) error { f.left = instance; return nil }

// TestBeat: the list of hosts is that of the store, and stays with the error if the store fails.
func TestBeat(t *testing.T) {
	a, log := opened(t, testConfig(t))
	hosts := func() (*status.Hosts, int) {
		w := httptest.NewRecorder()
		a.serveHosts(w, httptest.NewRequestWithContext(t.Context(), "GET", HostsPath, nil))
		h := &status.Hosts{}
		if err := json.Unmarshal(w.Body.Bytes(), h); (err != nil) != (w.Code == 404) || err != nil && w.Body.String() != "404 page not found\n" {
			t.Errorf("%d: %v: %q", w.Code, err, w.Body)
		}
		return h, w.Code
	}
	if _, code := hosts(); code != 404 {
		t.Errorf("without a store: %d", code)
	}
	f := &fakeFarm{beatFails: errors.New("no store")}
	a.kept.farm = f
	if _, code := hosts(); code != 404 {
		t.Errorf("before the first heartbeat: %d", code)
	}
	var m minute
	beat := func(ctx context.Context) { t.Helper(); a.beat(ctx, &m) }
	beat(t.Context())
	if h, code := hosts(); code != 200 || h.Error != "no store" || h.Read.IsZero() || len(h.Hosts) != 0 {
		t.Errorf("%+v", h)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	f.beatFails = errors.New("stopping")
	if beat(ended); a.hosts.Load().Error != "no store" {
		t.Error("the end of the daemon is shown as an error of the store")
	}
	name := config.HostName()
	f.beatFails, f.hosts = nil, []farm.Host{{Beat: farm.Beat{Instance: a.instance, Name: name, Mode: "monitor"}}}
	beat(t.Context())
	if h, _ := hosts(); h.Error != "" || len(h.Hosts) != 1 || !h.Hosts[0].Self {
		t.Errorf("%+v", h)
	}
	f.hosts = append(f.hosts, farm.Host{Beat: farm.Beat{Instance: "other", Name: name, Mode: "monitor"}})
	for range 3 { // the warning comes once, and with the first of them
		beat(t.Context())
	}
	if h, _ := hosts(); len(h.Hosts) != 2 {
		t.Errorf("%+v", h)
	}
	read := a.hosts.Load().Read
	f.hostsFail = errors.New("no list")
	beat(t.Context())
	if h := a.hosts.Load(); h.Error != "no list" || len(h.Hosts) != 2 || !h.Read.Equal(read) {
		t.Errorf("%+v", h)
	}
	a.hosts.Store(nil) // the first answer of the store may name twins at once
	f.hostsFail = nil
	beat(t.Context())
	cfg := a.generation().cfg
	if b := f.beats[0]; b.Instance != a.instance || b.Name != name || b.Version != "test" || b.Config != cfg.SharedHash() || b.Mode != string(cfg.Mode) || b.NotReady != "not taking messages" ||
		b.Since.IsZero() || b.Uptime < 0 || b.Uptime > time.Minute || b.Loaded.IsZero() {
		t.Errorf("%+v", b)
	}
	a.ready.Store(true)
	if b := a.heartbeat(a.began.Add(time.Hour), &m); b.NotReady != "" || b.Uptime != time.Hour {
		t.Errorf("%+v", b)
	}
	a.ready.Store(false)
	if a.leave(); f.left != a.instance {
		t.Errorf("left %q", f.left)
	}
	a.kept.farm = nil
	a.Stop(t.Context()) // the log is written in the background until then
	if said := log.Records(t, "another daemon with the name of this host uses the store; give each host a name of its own"); len(said) != 2 || said[0]["daemons"] != 2. || said[1]["daemons"] != 2. {
		t.Errorf("%v\n%s", said, log)
	}
}

// fakeSeen knows what was seen of some domains.
type fakeSeen struct {
	report.Store
	asked []dns.Name
}

func (f *fakeSeen) Seen(_ context.Context, domain dns.Name, today report.Day) (report.Seen, error) {
	f.asked = append(f.asked, domain)
	switch domain {
	case "known.example":
		return report.Seen{PassDays: report.PassDays, FirstPass: today - report.PassSince}, nil
	case "broken.example":
		return report.Seen{PassDays: report.PassDays, FirstPass: today - report.PassSince}, errors.New("no disk")
	}
	return report.Seen{AnyDays: 99}, nil
}

// TestEstablished: the organization or the domain itself must have passed often enough.
func TestEstablished(t *testing.T) {
	for _, tt := range []struct {
		organization, domain dns.Name
		want, fails          bool
		asked                string
	}{
		{"known.example", "a.known.example", true, false, "[known.example]"}, {"other.example", "known.example", true, false, "[other.example known.example]"},
		{"other.example", "other.example", false, false, "[other.example]"}, {"other.example", "a.other.example", false, false, "[other.example a.other.example]"},
		{"broken.example", "known.example", true, false, "[broken.example known.example]"}, {"broken.example", "other.example", false, true, "[broken.example other.example]"},
		{"other.example", "broken.example", false, true, "[other.example broken.example]"},
	} {
		f := &fakeSeen{}
		a := &App{o: Options{Now: time.Now}}
		a.kept.store = f
		got, err := a.established(t.Context(), bimi.Query{Organization: tt.organization, Domain: tt.domain})
		if got != tt.want || (err != nil) != tt.fails || fmt.Sprint(f.asked) != tt.asked {
			t.Errorf("%s %s: %v, %v, asked %v", tt.organization, tt.domain, got, err, f.asked)
		}
	}
}

// TestConsoleAsksTheStore: the questions of the console reach the store with the settings in effect.
func TestConsoleAsksTheStore(t *testing.T) {
	cfg, _ := storeConfig(t)
	cfg.Report.Organization, cfg.Report.Contact = "Org", "c@here.example"
	a, _ := opened(t, cfg)
	m := a.memory()
	if month, err := m.Month(t.Context(), time.Now()); err != nil || month == nil || month.Month == "" {
		t.Errorf("%+v, %v", month, err)
	}
	if list, err := m.Senders(t.Context(), senders.Options{Days: 7, Limit: 5}); err != nil || list == nil || list.From == "" || len(list.Senders) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, what := range []string{"all", "off"} {
		a.generation().cfg.History.What = "all"
		if what == "off" {
			a.generation().cfg.History.What = "off"
		}
		if r, err := m.Readiness(t.Context(), 7); err != nil || r == nil || r.Days != 7 {
			t.Errorf("history %s: %+v, %v", what, r, err)
		}
	}
	without, _ := opened(t, testConfig(t))
	if without.memory() != nil || without.reportsStanding() != nil {
		t.Error("a daemon without a store answers from it")
	}
	if f := a.finder(); f.Ring == nil || f.Reader == nil || f.Host != config.HostName() {
		t.Errorf("%+v", f)
	}
	if f := without.finder(); f.Reader != nil {
		t.Errorf("%+v", f)
	}
	if got := without.knownMarks(5); len(got.Known)+len(got.Roots) > 0 || without.markStanding() != nil || without.mark(bimi.Query{}) != nil {
		t.Errorf("marks are off: %+v", got)
	}
	if root, certificate := without.markEnds(); !root.IsZero() || !certificate.IsZero() {
		t.Errorf("marks are off: %v %v", root, certificate)
	}
	if root, _ := (&App{}).markEnds(); !root.IsZero() {
		t.Errorf("no generation: %v", root)
	}
}

// TestJudgeFails: each file that cannot be read is an error of NewJudge.
func TestJudgeFails(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for name, change := range map[string]func(*config.Config){
		"":                  func(*config.Config) {},
		"dmarc.psl_file":    func(c *config.Config) { c.DMARC.OrganizationalDomain, c.DMARC.PSLFile = "psl", none },
		"policy.recipients": func(c *config.Config) { c.Policy.Recipients.File = none; c.Policy.Recipients.Default = "strict" },
		"rules " + none:     func(c *config.Config) { c.Policy.Overrides = []config.Override{{File: none}} },
		"candidate " + none: func(c *config.Config) { c.Shadow = none },
		"candidate's rules": func(c *config.Config) { c.Shadow = candidate(t, none) },
	} {
		cfg := config.Default()
		change(cfg)
		j, end, err := NewJudge(cfg, nil)
		if (err != nil) != (name != "") || (j == nil) != (err != nil) || (end == nil) != (err != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// candidate writes a candidate configuration with a file of rules that does not exist.
func candidate(t *testing.T, rules string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "candidate.yaml")
	if err := os.WriteFile(path, []byte("policy: {overrides: [{file: "+rules+"}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLostFile: a socket is lost if its file is gone, or if it is another one.
func TestLostFile(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "d", "s"), filepath.Join(dir, "other")
	for _, p := range []string{path, other} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o700), os.WriteFile(p, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{Listener: config.Listener{Address: "unix:" + path}}
	if s.path() != path || s.lost() != nil {
		t.Errorf("a socket without a file: %s, %v", s.path(), s.lost())
	}
	s.file = info
	if err := s.lost(); err != nil {
		t.Error(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if err := s.lost(); err == nil || err.Error() != path+" is no longer the socket that this daemon made; stop what took its place, then reload" {
		t.Error(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("a file of another program was removed: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.lost(); err == nil || err.Error() != "the socket file "+path+" is gone, so that no MTA can connect; reload to make it again" {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(filepath.Dir(path)), os.WriteFile(filepath.Dir(path), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.lost(); err != nil {
		t.Errorf("an error that does not show that the file is gone: %v", err)
	}
}

// TestBuildReads: which files a generation reads, in which order, and that none of them may be missing.
func TestBuildReads(t *testing.T) {
	base, _ := storeConfig(t)
	a, _ := opened(t, base)
	none := filepath.Join(t.TempDir(), "none")
	words := []string{"/etc/resolv.conf", "the files of policy.overrides", "shadow ", "the files of bimi", "geo.country ", "dmarc.psl_file ", "policy.recipients.file ", "the files of report.mail", "admin.web_config "}
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		read   int // how many of the words
	}{
		{"", func(c *config.Config) {
			c.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort("192.0.2.53:53")}}
		}, len(words)},
		{"log format", func(c *config.Config) { c.Log.Format = "xml" }, 0},
		{"a pipe", func(c *config.Config) { c.Store.PasswordFile = os.TempDir() }, 0},
		{"resolv.conf", func(c *config.Config) { c.DNS.Servers = []config.Server{{}} }, 1},
		{"rules", func(c *config.Config) { c.Policy.Overrides = []config.Override{{File: none}} }, 2},
		{"shadow", func(c *config.Config) { c.Shadow = none }, 3},
		{"bimi", func(c *config.Config) { c.BIMI.Enabled, c.BIMI.Roots = true, []string{none} }, 4},
		{"geo", func(c *config.Config) { c.Geo.Country = none }, 5},
		{"psl", func(c *config.Config) { c.DMARC.OrganizationalDomain, c.DMARC.PSLFile = "psl", none }, 6},
		{"recipients", func(c *config.Config) { c.Policy.Recipients.File = none }, 7},
		{"no sender", func(c *config.Config) { c.Report.Mail.From = "" }, 8},
		{"report key", func(c *config.Config) { c.Report.Aggregate.Send, c.Report.Mail.DKIM.KeyFile = true, none }, 8},
		{"web config", func(c *config.Config) { c.Admin.WebConfig = none }, 9},
	} {
		cfg := *base
		tt.change(&cfg)
		var read []string
		g, err := a.build(&cfg, a.current, func(what string) { read = append(read, strings.ReplaceAll(what, none, "")) })
		if (err != nil) != (tt.name != "") || (g == nil) != (err != nil) || fmt.Sprint(read) != fmt.Sprint(words[:tt.read]) {
			t.Errorf("%s: %v, read %q", tt.name, err, read)
		}
		if g != nil {
			a.discard(&change{generation: g})
			if s := a.dnsMetrics.Counts().Servers; len(s) != 1 || s[0].Address != base.DNS.Servers[0].String() {
				t.Errorf("the metrics show %+v, and not the server in use", s)
			}
		}
	}
}

// TestTooManyHungReloads: each reload that was given up holds goroutines, so there are only so many.
func TestTooManyHungReloads(t *testing.T) {
	cfg := testConfig(t)
	a, _ := opened(t, cfg)
	a.hung.Add(maxHung)
	if err := a.Reload(with(cfg)); err == nil || err.Error() != "app: 16 earlier reloads still wait for files that cannot be read; see to their file system" {
		t.Errorf("%v", err)
	}
	a.hung.Add(-1)
	if err := a.Reload(with(cfg)); err != nil {
		t.Errorf("%v", err)
	}
}

// TestBackground: stop waits for what runs in the background, and needs neither a start nor a background.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, began := 0, time.Now()
		b := newBackground(func(ctx context.Context) {
			runs++
			<-ctx.Done()
			time.Sleep(time.Hour)
		})
		b.start()
		b.start()
		b.end()
		if took := time.Since(began); took != 0 {
			t.Errorf("end waits %v", took)
		}
		if b.stop(); runs != 1 || time.Since(began) != time.Hour {
			t.Errorf("%d runs, stop waits %v", runs, time.Since(began))
		}
	})
	newBackground(func(context.Context) { t.Error("it was not started") }).stop()
	var none *background
	none.start()
	none.end()
	none.stop()
}

// TestNewResolver: a resolver registers its metrics if there is a registry.
func TestNewResolver(t *testing.T) {
	for _, reg := range []*prometheus.Registry{nil, prometheus.NewRegistry()} {
		var to prometheus.Registerer
		if reg != nil {
			to = reg
		}
		r, err := NewResolver(testConfig(t), to, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if reg == nil {
			continue
		}
		if families, err := reg.Gather(); err != nil || len(families) == 0 {
			t.Errorf("%v, %v", families, err)
		}
	}
}

// TestBoundBounces: the address for bounces is bound anew only if it, or the local part, is another one and reports are sent.
func TestBoundBounces(t *testing.T) {
	base := testConfig(t)
	m := &base.Report.Mail
	base.Report.Aggregate.Send, m.Bounces.Address, m.Bounce = true, "systemd:Bounces", "bounce"
	a := newApp(options(io.Discard))
	a.kept.store = &fakeStore{}
	a.o.Sockets = map[string][]net.Listener{}
	for _, name := range []string{"Bounces", "Other"} {
		a.o.Sockets[name] = []net.Listener{&countedListener{closed: make(chan struct{})}}
	}
	old := &bounces{at: m.Bounces, local: m.Bounce}
	a.bounces = old
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   string // old, new, none or an error
	}{
		{"no change", func(*config.Config) {}, "old"},
		{"another address", func(c *config.Config) { c.Report.Mail.Bounces.Address = "systemd:Other" }, "new"},
		{"another mode", func(c *config.Config) { c.Report.Mail.Bounces.Mode = 0o600 }, "new"},
		{"another local part", func(c *config.Config) { c.Report.Mail.Bounce = "other" }, "new"},
		{"nothing is sent any more", func(c *config.Config) { c.Report.Aggregate.Send = false; c.Report.Mail.Bounce = "other" }, "old"},
		{"only failures are reported", func(c *config.Config) {
			c.Report.Aggregate.Send, c.Report.Failure.Send, c.Report.Mail.Bounce = false, true, "other"
		}, "new"},
		{"no address", func(c *config.Config) { c.Report.Mail.Bounces.Address = "" }, "none"},
		{"an address that cannot be bound", func(c *config.Config) { c.Report.Mail.Bounces.Address = "systemd:none" }, "error"},
	} {
		cfg, c := *base, &change{}
		tt.change(&cfg)
		err := a.openBounces(c, &cfg)
		got := "new"
		switch {
		case err != nil:
			got = "error"
			if !strings.HasPrefix(err.Error(), "app: report.mail.bounces: ") || c.bounces != nil {
				t.Errorf("%s: %v, %+v", tt.name, err, c)
			}
		case c.bounces == nil:
			got = "none"
		case c.bounces == old:
			got = "old"
		case c.bounces.at != cfg.Report.Mail.Bounces || c.bounces.local != cfg.Report.Mail.Bounce || len(c.bounces.listeners) != 1:
			t.Errorf("%s: %+v", tt.name, c.bounces)
		}
		if got != tt.want || len(c.steps) > 0 != (got == "new") {
			t.Errorf("%s: %s, want %s; %d steps", tt.name, got, tt.want, len(c.steps))
		}
	}
}

// TestNoBounces: no address is bound for bounces if there is no store, if nothing is sent, or if there is none.
func TestNoBounces(t *testing.T) {
	stored, _ := storeConfig(t)
	with, _ := opened(t, stored)
	without, _ := opened(t, testConfig(t))
	for _, tt := range []struct {
		name    string
		a       *App
		send    bool
		address string
		want    bool
	}{
		{"no store", without, true, "inet:127.0.0.1:0", false}, {"nothing is sent", with, false, "inet:127.0.0.1:0", false},
		{"no address", with, true, "", false}, {"all", with, true, "inet:127.0.0.1:0", true},
	} {
		cfg, c := *stored, &change{}
		cfg.Report.Aggregate.Send, cfg.Report.Mail.Bounces.Address = tt.send, tt.address
		if err := tt.a.openBounces(c, &cfg); err != nil || (c.bounces != nil) != tt.want || len(c.steps) > 0 != tt.want {
			t.Errorf("%s: %v, %+v", tt.name, err, c)
		}
		tt.a.unwind(&c.steps)
	}
}

// fakeStore is a store whose lease and secret are as the test says.
type fakeStore struct {
	store.Store
	lease    bool
	fails    error
	leased   string
	keep     time.Duration
	lookedAt int
}

func (f *fakeStore) Secret(context.Context) ([]byte, error) {
	if f.fails != nil {
		return nil, f.fails
	}
	return []byte("secret"), nil
}

func (f *fakeStore) Lease(_ context.Context, _ time.Time, name, owner string, d time.Duration) (bool, error) {
	f.leased = fmt.Sprint(name, " ", owner, " ", d)
	return f.lease, f.fails
}

func (f *fakeStore) ExpireHistory(_ context.Context, _ time.Time, keep time.Duration, _ int64) (history.Size, error) {
	f.keep = keep
	f.lookedAt++
	return history.Size{}, nil
}

// TestHistoryLease: only the daemon that certainly has the lease removes old days.
func TestHistoryLease(t *testing.T) {
	cfg := config.Default()
	cfg.Store.URL = "sqlite:x"
	for _, tt := range []struct {
		lease   bool
		fails   error
		removes bool
	}{{true, nil, true}, {false, nil, false}, {true, errors.New("no store"), false}, {false, errors.New("no store"), false}} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeStore{lease: tt.lease, fails: tt.fails}
			a := newApp(options(io.Discard))
			h, err := a.openHistory(cfg, f, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Hour) // until the clock can be trusted
			h.keeper.Stop(t.Context())
			want := fmt.Sprint("history ", a.instance, " ", expireLease)
			if removes := f.keep == time.Duration(cfg.History.Keep); removes != tt.removes || f.leased != want || f.lookedAt < 10 {
				t.Errorf("%+v: keeps %v, leased %q, %d looks", tt, f.keep, f.leased, f.lookedAt)
			}
			if err := h.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNewFailures: without the secret of the store there are failure reports all the same, and the log says what they lack.
func TestNewFailures(t *testing.T) {
	base := config.Default()
	g := &generation{cfg: base}
	r, err := NewResolver(testConfig(t), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, tt := range []struct {
		name  string
		fails error
		store bool
		key   string
		warns int
	}{{"all is well", nil, true, "secret", 0}, {"no secret", errors.New("locked"), true, "", 1}, {"no store", nil, false, "", 0}} {
		log := &logs.Buffer{}
		a := newApp(options(log))
		a.log, a.reports = slog.New(slog.NewJSONHandler(log, nil)), telemetry.NewReports(a.o.Registry)
		a.kept.store, a.kept.failures = &fakeStore{fails: tt.fails}, failures.NewMemory()
		*g = generation{cfg: base, resolver: r, options: filter.Options{Judge: &judge.Judge{}}}
		o, err := dispatchOptions(base, SenderOptions{Store: a.kept.store, Resolver: r, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if !tt.store {
			o.Store = nil
		}
		s, err := a.newFailures(g, o)
		if (err == nil) != tt.store || (s != nil) != tt.store || (g.options.Judge.Failures != nil) != tt.store || (len(g.options.Observers) == 1) != tt.store {
			t.Errorf("%s: %v, %+v", tt.name, err, g.options)
		}
		if f := g.options.Judge.Failures; f != nil && (string(f.Key) != tt.key || f.AuthServID != base.ServID() || f.Subject != base.Report.Failure.Subject) {
			t.Errorf("%s: %+v", tt.name, f)
		}
		said := log.Records(t, "failure reports do not tell senders apart until the next reload")
		if len(said) != tt.warns || tt.warns > 0 && said[0]["error"] != tt.fails.Error() {
			t.Errorf("%s: %s", tt.name, log)
		}
	}
}

// TestServesAfterStart: connections are accepted from Start on, by one server for each listener.
func TestServesAfterStart(t *testing.T) {
	l := &countedListener{closed: make(chan struct{}), asked: make(chan struct{}, 9)}
	cfg := testConfig(t)
	cfg.Listen = []config.Listener{{Address: "systemd:mail"}}
	a, _ := opened(t, cfg, func(o *Options) { o.Sockets = map[string][]net.Listener{"mail": {l}} })
	a.Start()
	<-l.asked
	a.Stop(t.Context())
	if n := len(l.asked); n > 0 {
		t.Errorf("%d other servers accept connections", n)
	}
}

// countedListener never has a connection, and says when it is asked for one.
type countedListener struct {
	once          sync.Once
	closed, asked chan struct{}
}

func (l *countedListener) Accept() (net.Conn, error) {
	l.asked <- struct{}{}
	<-l.closed
	return nil, net.ErrClosed
}
func (l *countedListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *countedListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
