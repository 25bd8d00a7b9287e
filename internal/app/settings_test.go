package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/bimi"
	"sekimori/internal/collect"
	"sekimori/internal/config"
	"sekimori/internal/consent"
	"sekimori/internal/dispatch"
	"sekimori/internal/dns"
	"sekimori/internal/farm"
	"sekimori/internal/history/archive"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/report/identity"
	"sekimori/internal/resolver"
	"sekimori/internal/resolver/upstream"
	"sekimori/internal/telemetry"
	"sekimori/internal/testkit/logs"
)

// settings has another value for every key than the default, and than the keys beside it.
const settings = `
mode: enforce
authserv_id: mx.here.example
authserv_id_also: [old.here.example]
dns: {servers: ["192.0.2.53", "192.0.2.54"], timeout: 1100ms, hedge: 120ms, trust_ad: true, message_budget: 13s,
  cache: {size: 17MiB, max_ttl: 18h, min_ttl: 19s, negative_ttl: 21m, failure_ttl: 22s, stale: 23h}}
limits: {max_sessions: 31, idle_timeout: 7m, header_fields: 332, header_bytes: 340KiB, recipients: 35, memory: 360MiB, shown_wait: 3s}
headers: {mailfrom: domain, received_spf: true, verdict: true, subject: "[X]"}
trusted: {networks: [10.0.0.0/8], authenticated: true, relays: [{network: 192.0.2.0/24, by: [relay.here.example]}, 198.51.100.1]}
history: {what: all, recipients: true, keep: 984h, size: 420MiB}
ledger: {group: g, max_domains: 4300}
`

func parsed(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestSettingsArriveInTheParts: every key becomes the setting of the same meaning.
func TestSettingsArriveInTheParts(t *testing.T) {
	cfg := parsed(t, settings)
	cfg.Report.Organization, cfg.Report.Domain, cfg.Report.Contact, cfg.Report.ContactInfo = "org", "r.example", "c@r.example", "info"
	cfg.Report.Mail.From, cfg.Report.Mail.Bounce = "from", "bounce"
	a := &cfg.Report.Aggregate
	a.Interval, a.Spread, a.MaxRows, a.EnvelopeTo, a.Correspondents = config.Duration(6*time.Hour), config.Duration(51*time.Minute), 52, true, true
	cfg.BIMI.Enabled, cfg.BIMI.RequireCertificate, cfg.BIMI.RequireDKIM = true, true, false
	var marks msgauth.Options
	markOptions(&marks, cfg, nil)
	r := config.Recipients{Default: "c", File: "f", Socketmap: "unix:/s", Timeout: config.Duration(61 * time.Second), CacheTTL: config.Duration(62 * time.Second), Mixed: config.MixedSplit}
	for _, tt := range []struct{ got, want any }{
		{resolverConfig(cfg, nil), resolver.Config{
			Client: resolver.ClientConfig{Servers: []string{"192.0.2.53:53", "192.0.2.54:53"}, Timeout: 1100 * time.Millisecond, Hedge: 120 * time.Millisecond, TrustAD: true},
			Cache:  resolver.CacheConfig{Size: 17 << 20, MaxTTL: 18 * time.Hour, MinTTL: 19 * time.Second, NegativeTTL: 21 * time.Minute, FailureTTL: 22 * time.Second, Stale: 23 * time.Hour},
		}},
		{limits(cfg), milter.Limits{MaxSessions: 31, IdleTimeout: 7 * time.Minute, MaxHeaderFields: 332, MaxHeaderBytes: 340 << 10, MaxRecipients: 35, Memory: 360 << 20}},
		{labels(cfg), label.Settings{Names: label.Names{AuthServID: "mx.here.example", HostName: config.HostName(), Aliases: []string{"old.here.example"}}, Style: cfg.Headers.Style,
			MailFrom: "domain", ReceivedSPF: true, Verdict: true, Subject: "[X]", Mark: cfg.BIMI.Header}},
		{relays(cfg.Trusted.Relays), []judge.Relay{{Network: netip.MustParsePrefix("192.0.2.0/24"), By: []policy.Pattern{"relay.here.example"}}, {Network: netip.MustParsePrefix("198.51.100.1/32")}}},
		{historySettings(cfg), archive.Settings{What: "all", Recipients: true, Keep: 41 * 24 * time.Hour, Size: 420 << 20}},
		{collectSettings(cfg), collect.Settings{Interval: 6 * time.Hour, Spread: 51 * time.Minute, Organization: "org", MaxRows: 52, EnvelopeTo: true, Correspondents: true, Domain: "r.example", Group: "g", MaxDomains: 4300}},
		{identityOf(&cfg.Report, "v"), dispatch.Identity{Organization: "org", Domain: "r.example", From: "from", Bounce: "bounce", Contact: "c@r.example", ContactInfo: "info", Generator: "sekimori v"}},
		{identityOf(&config.Report{}, "v"), dispatch.Identity{Organization: unset, Domain: unset, Contact: "postmaster@" + unset, Generator: "sekimori v"}},
		{marks, msgauth.Options{Indicators: bimi.Unfetched{}, BIMI: bimi.Options{RequireCertificate: true}}},
		{consentOptions(r), consent.Options{Default: r.Default, File: "f", Socketmap: "unix:/s", Timeout: 61 * time.Second, CacheTTL: 62 * time.Second}},
		{allotted(cfg), int64(360<<20 + 17<<20 + ownMemory)},
		{allotted(&config.Config{}), int64(0)},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("got  %+v\nwant %+v", tt.got, tt.want)
		}
	}
	j := newJudge(cfg, nil, policy.Config{Mode: "enforce"}, &policy.Config{Mode: "monitor"})
	if j.Policy.Mode != "enforce" || j.Shadow == nil || j.Shadow.Mode != "monitor" || !j.TrustAuthenticated || len(j.Relays) != 2 || j.MaxFields != 332 || j.MaxHeaderBytes != 340<<10 ||
		!j.Trusted(netip.MustParseAddr("10.1.1.1")) || j.Trusted(netip.MustParseAddr("192.0.2.1")) || j.Label.Subject != "[X]" || j.Whole || j.Marks != nil {
		t.Errorf("%+v", j)
	}
	for mixed, split := range map[string]bool{string(config.MixedSplit): true, "": false} {
		r.Mixed = config.Recipients{}.Mixed
		if mixed != "" {
			r.Mixed = config.MixedSplit
		}
		askRecipients(j, nil, r)
		if j.ConsentWait != 61*time.Second || j.Split != split {
			t.Errorf("%q: %v %v", mixed, j.ConsentWait, j.Split)
		}
	}
	cfg.Log.Privacy = config.PrivacyLocalParts
	if historySettings(cfg).Mask == nil {
		t.Error("local parts are kept, although the log must not have them")
	}
	cfg.BIMI.Enabled = false
	marks = msgauth.Options{}
	if markOptions(&marks, cfg, bimi.Unfetched{}); !reflect.DeepEqual(marks, msgauth.Options{}) {
		t.Errorf("BIMI is off: %+v", marks)
	}
	if skew(0) != -1 || skew(config.Duration(time.Minute)) != time.Minute {
		t.Errorf("%v %v", skew(0), skew(config.Duration(time.Minute)))
	}
	if got := servID(cfg); got != "mx.here.example" {
		t.Error(got)
	}
	cfg.AuthservID = ""
	if got := servID(cfg); got != "the MTA's name (macro j), else "+cfg.ServID() {
		t.Error(got)
	}
}

// TestShownWaits: rules that can look at any result make every message wait for all of them.
func TestShownWaits(t *testing.T) {
	cfg := config.Default()
	cfg.DNS.MessageBudget, cfg.Limits.ShownWait = config.Duration(20*time.Second), config.Duration(3*time.Second)
	all := parsed(t, "mode: monitor\npolicy: {overrides: [{id: a, owner: x, reason: r, when: {spf: [pass.example]}, then: accept}]}\n")
	rules, err := Policy(all)
	if err != nil {
		t.Fatal(err)
	}
	if !rules.WantsAll() {
		t.Fatal("no rule here looks at any result")
	}
	for _, tt := range []struct {
		rules  policy.Config
		shadow *policy.Config
		shown  time.Duration
		want   time.Duration
	}{
		{policy.Config{}, nil, 3 * time.Second, 3 * time.Second}, {policy.Config{}, nil, 0, -1}, {rules, nil, 0, 20 * time.Second},
		{policy.Config{}, &rules, 0, 20 * time.Second}, {policy.Config{}, &policy.Config{}, 0, -1},
	} {
		cfg.Limits.ShownWait = config.Duration(tt.shown)
		if got := shownWait(cfg, tt.rules, tt.shadow); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// TestWhatNeedsARestart lists each difference that a reload cannot bring into effect, and the twin that it can.
func TestWhatNeedsARestart(t *testing.T) {
	for _, tt := range []struct{ running, next, want string }{
		{"", "", ""},
		{"listen: [\"inet:127.0.0.1:1\"]\n", "listen: [\"inet:127.0.0.1:2\"]\n", ""},
		{"listen: [\"inet:127.0.0.1:1\"]\n", "listen: [\"systemd:a\"]\n", "listen systemd:a: systemd passes its sockets at the start only"},
		{"listen: [\"systemd:a\"]\n", "listen: [\"systemd:a\"]\n", ""},
		{"listen: [{address: \"unix:/s\", mode: \"0660\"}]\n", "listen: [{address: \"unix:/s\", mode: \"0600\"}]\n", "listen unix:/s: mode and group are set when the socket is made"},
		{"listen: [{address: \"unix:/s\", mode: \"0660\"}]\n", "listen: [{address: \"unix:/t\", mode: \"0600\"}]\n", ""},
		{"admin: {listen: \"127.0.0.1:1\"}\n", "admin: {listen: \"127.0.0.1:1\", web_config: /w}\n", "admin.web_config: the address is in use; what is in the file may change at any time"},
		{"admin: {listen: \"127.0.0.1:1\"}\n", "admin: {listen: \"127.0.0.1:2\", web_config: /w}\n", ""},
		{"admin: {listen: \"\"}\n", "admin: {listen: \"\", web_config: /w}\n", ""},
	} {
		got := NeedsRestart(parsed(t, tt.running+"mode: monitor\n"), parsed(t, tt.next+"mode: monitor\n"))
		if strings.Join(got, "|") != tt.want {
			t.Errorf("%q to %q: %q", tt.running, tt.next, got)
		}
	}
	sending := func(address, bounce string) *config.Config {
		c := config.Default()
		c.Report.Aggregate.Send = true
		c.Report.Mail.Bounces.Address, c.Report.Mail.Bounce = address, bounce
		return c
	}
	off := config.Default()
	for _, tt := range []struct {
		name          string
		running, next *config.Config
		want          bool
	}{
		{"the same", sending("systemd:b", "x"), sending("systemd:b", "x"), false}, {"another socket", sending("systemd:a", "x"), sending("systemd:b", "x"), true},
		{"another local part", sending("systemd:b", "x"), sending("systemd:b", "y"), true}, {"no socket of systemd", sending("systemd:b", "x"), sending("inet:127.0.0.1:1", "y"), false},
		{"it did not send", off, sending("systemd:b", "x"), false},
	} {
		if !tt.next.Report.Sends() {
			t.Fatal("the configuration does not send")
		}
		got := NeedsRestart(tt.running, tt.next)
		if (len(got) == 1 && strings.HasPrefix(got[0], "report.mail.bounces systemd:b: ")) != tt.want || len(got) > 1 {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	if got := NeedsRestart(sending("systemd:a", "x"), off); len(got) > 0 {
		t.Errorf("it sends no more: %q", got)
	}
}

// TestAdminWarning: others must not read the admin address without a password.
func TestAdminWarning(t *testing.T) {
	for listen, warned := range map[string]bool{"": false, "127.0.0.1:1": false, "[::1]:1": false, "localhost:1": false, "0.0.0.0:1": true, ":1": true, "mx.example:1": true, "192.0.2.1:1": true, "192.0.2.1": false} {
		got := adminAdvice(config.Admin{Listen: listen})
		if (got != "") != warned || warned && !strings.HasPrefix(got, "admin.listen: whoever reaches "+listen+" can read ") {
			t.Errorf("%s: %q", listen, got)
		}
		if got := adminAdvice(config.Admin{Listen: listen, WebConfig: "w"}); got != "" {
			t.Errorf("%s with a password: %q", listen, got)
		}
	}
}

// TestWide: which networks are wider than those of one organization.
func TestWide(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.0/8": "8 false", "10.0.0.0/7": "8 true", "2001:db8::/19": "19 false", "2001:c00::/18": "19 true", "fc00::/7": "19 false", "fd00::/8": "19 false", "fe80::/10": "19 false", "fc00::/6": "19 true", "fe80::/9": "19 true"} {
		widest, wide := tooWide(config.Network{Prefix: netip.MustParsePrefix(text)})
		if got := fmt.Sprint(widest, wide); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// TestTwins counts the other daemons with the name of this host.
func TestTwins(t *testing.T) {
	host := func(name string, self, twin bool) farm.Shown {
		return farm.Shown{Host: farm.Host{Beat: farm.Beat{Name: name}}, Self: self, Twin: twin}
	}
	for want, hosts := range [][]farm.Shown{
		{host("a", true, false), host("b", false, true), host("b", false, true), host("a", false, true)},
		{host("a", true, true), host("a", false, true), host("b", false, true), host("a", false, false)},
		{host("a", false, true), host("a", true, true), host("a", false, true)},
	} {
		if got := twins(farm.View{Hosts: hosts}); got != want {
			t.Errorf("%+v: %d", hosts, got)
		}
	}
	var b farm.Beat
	m := minute{[]reading{
		{messages: map[string]int64{"accept": 5, "tag": 2}, dns: resolver.Counts{Counts: upstream.Counts{Queries: map[upstream.Result]int64{upstream.ResultNoError: 1}}}},
		{messages: map[string]int64{"accept": 6, "tag": 2, "reject": 1}, dns: resolver.Counts{Counts: upstream.Counts{Queries: map[upstream.Result]int64{
			upstream.ResultNoError: 3, upstream.ResultNoData: 4, upstream.ResultNXDomain: 5, upstream.ResultServFail: 6, upstream.ResultTimeout: 7}, Servers: []upstream.Standing{{Up: true}, {}, {Up: true}}}}},
	}}
	m.fill(&b)
	if got := fmt.Sprint(b.Messages, b.DNS); got != "map[accept:1 reject:1] "+fmt.Sprint(farm.DNS{Servers: 3, Up: 2, Queries: 24, Failed: 13}) {
		t.Error(got)
	}
}

// TestNotAligned: report mail certainly fails DMARC if its record is at fault, or SPF and DKIM both.
func TestNotAligned(t *testing.T) {
	finding := func(s identity.Subject, g identity.Grade) identity.Finding {
		return identity.Finding{Subject: s, Grade: g}
	}
	for _, tt := range []struct {
		name string
		r    identity.Result
		want bool
	}{
		{"nothing", identity.Result{}, false},
		{"DMARC", identity.Result{Findings: []identity.Finding{finding(identity.DMARC, identity.Fault)}}, true},
		{"aligned", identity.Result{Aligned: true, Findings: []identity.Finding{finding(identity.DMARC, identity.Fault)}}, false},
		{"unknown", identity.Result{Unknown: true, Findings: []identity.Finding{finding(identity.DMARC, identity.Fault)}}, false},
		{"SPF", identity.Result{Findings: []identity.Finding{finding(identity.SPF, identity.Fault)}}, false},
		{"DKIM", identity.Result{Findings: []identity.Finding{finding(identity.DKIM, identity.Fault)}}, false},
		{"both", identity.Result{Findings: []identity.Finding{finding(identity.SPF, identity.Good), finding(identity.SPF, identity.Fault), finding(identity.SPF, identity.Good), finding(identity.DKIM, identity.Fault)}}, true},
		{"good ones", identity.Result{Findings: []identity.Finding{finding(identity.SPF, identity.Good), finding(identity.DKIM, identity.Good), finding(identity.DMARC, identity.Good)}}, false},
	} {
		if got := notAligned(tt.r); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestWatchIdentity: the log says what is wrong with report mail when that changes, and the next look comes after
// hours, or sooner after a DNS failure.
func TestWatchIdentity(t *testing.T) {
	finding := func(s identity.Subject, g identity.Grade) identity.Finding {
		return identity.Finding{Subject: s, Grade: g, Text: fmt.Sprint(s, " ", g), Do: "act"}
	}
	text := func(all ...identity.Finding) (out string) {
		for _, f := range all {
			out += f.Text + "; act. "
		}
		return out
	}
	bad, worse, good := finding(identity.SPF, identity.Fault), finding(identity.DMARC, identity.Fault), finding(identity.DKIM, identity.Good)
	warning := finding(identity.DKIM, identity.Warning)
	wrong, right := identity.Result{Findings: []identity.Finding{worse, warning, good}}, identity.Result{Aligned: true, Findings: []identity.Finding{good}}
	steps := []struct {
		result  identity.Result
		err     error
		says    string // in the log, "" for nothing
		aligned float64
		wait    time.Duration
	}{
		{identity.Result{Unknown: true, Findings: []identity.Finding{worse}}, nil, "", 1, identityAgain},
		{right, nil, "", 1, identityEvery},
		{wrong, nil, text(worse, warning), 0, identityEvery},
		{wrong, nil, "", 0, identityEvery},
		{identity.Result{Unknown: true}, nil, "", 0, identityAgain},
		{wrong, nil, "", 0, identityEvery},
		{right, nil, "", 1, identityEvery},
		{wrong, nil, text(worse, warning), 0, identityEvery},
		{identity.Result{Aligned: true, Findings: []identity.Finding{bad, warning}}, nil, text(bad), 1, identityEvery},
		{identity.Result{}, errors.New("no key"), "no key", 1, 0},
	}
	synctest.Test(t, func(t *testing.T) {
		log := &logs.Buffer{}
		a := newApp(options(log))
		a.log, a.reports = slog.New(slog.NewJSONHandler(log, nil)), telemetry.NewReports(a.o.Registry)
		n, due, want := 0, time.Now(), []string{}
		seen := func() {
			t.Helper()
			if n == 0 {
				return
			}
			step := steps[n-1]
			if got := gauge(t, a.o.Registry, "sekimori_report_identity_aligned"); got != step.aligned {
				t.Errorf("step %d: the metric is %v", n, got)
			}
			if due = due.Add(step.wait); !time.Now().Equal(due) {
				t.Errorf("step %d: the next look comes %v off", n, time.Since(due))
			}
			if step.says != "" {
				want = append(want, step.says)
			}
			got := []string{}
			for _, r := range log.Records(t, "") {
				said := fmt.Sprint(r["findings"])
				if r["error"] != nil {
					said = fmt.Sprint(r["error"])
				} else if r["aligned"] != (step.aligned == 1) && len(got) == len(want)-1 && step.says != "" {
					t.Errorf("step %d: %v", n, r)
				}
				got = append(got, said)
			}
			if !slices.Equal(got, want) {
				t.Errorf("step %d: the log says %q, want %q", n, got, want)
			}
		}
		a.watchIdentity(t.Context(), func(context.Context) (identity.Result, error) {
			seen()
			n++
			return steps[n-1].result, steps[n-1].err
		})
		if seen(); n != len(steps) {
			t.Errorf("%d looks", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		a.watchIdentity(ctx, func(context.Context) (identity.Result, error) { cancel(); return wrong, nil })
		if got := gauge(t, a.o.Registry, "sekimori_report_identity_aligned"); got != 1 || len(log.Records(t, "")) != len(want) {
			t.Errorf("a look that was cut off counts: %v\n%s", got, log)
		}
	})
}

// gauge returns a gauge without labels.
func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Errorf("no %s", name)
	return 0
}

// TestIdentityFails: files that cannot be read are errors, and nothing is looked up.
func TestIdentityFails(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for name, change := range map[string]func(*config.Config){
		"dmarc.psl_file": func(c *config.Config) { c.DMARC.OrganizationalDomain, c.DMARC.PSLFile = "psl", none },
		reportKey:        func(c *config.Config) { c.Report.Mail.DKIM.KeyFile = none },
	} {
		cfg := config.Default()
		change(cfg)
		r, err := newApp(options(io.Discard)).checkIdentity(t.Context(), &generation{cfg: cfg})
		if err == nil || !strings.HasPrefix(err.Error(), "app: "+name) || r.Aligned || r.Unknown || r.Findings != nil {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestLeavesFrom: mail leaves from the server that is named, or from the public addresses of this host.
func TestLeavesFrom(t *testing.T) {
	address := func(text string) net.Addr {
		p := netip.MustParsePrefix(text)
		return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	}
	interfaces := func() ([]net.Addr, error) {
		return []net.Addr{address("127.0.0.1/8"), address("10.0.0.1/8"), address("192.0.2.1/24"), &net.TCPAddr{}, address("::ffff:192.0.2.1/120"), address("2001:db8::1/64"), address("fe80::1/64")}, nil
	}
	broken := func() ([]net.Addr, error) { return nil, errors.New("no interfaces") }
	for _, tt := range []struct {
		server     string
		interfaces func() ([]net.Addr, error)
		want       string
	}{
		{"198.51.100.1:25", interfaces, "[198.51.100.1]"}, {"mx.example:25", interfaces, "[]"}, {"localhost:25", interfaces, "[192.0.2.1 2001:db8::1]"},
		{"127.0.0.1:25", interfaces, "[192.0.2.1 2001:db8::1]"}, {"[::1]:25", interfaces, "[192.0.2.1 2001:db8::1]"}, {"127.0.0.1:25", nil, "[]"}, {"127.0.0.1:25", broken, "[]"},
	} {
		a := &App{o: Options{Interfaces: tt.interfaces}}
		if got := fmt.Sprint(a.leavesFrom(tt.server)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.server, got, tt.want)
		}
	}
}

// TestCheckListener: the group and the directory of a socket must exist.
func TestCheckListener(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ address, group, want string }{
		{"unix:" + dir + "/s", "", ""}, {"unix:" + dir + "/s", "nobody-has-this-group", "this host has no group nobody-has-this-group"}, {"unix:" + dir + "/s", "4711", ""},
		{"unix:" + dir + "/none/s", "", "the directory " + dir + "/none of the socket does not exist; make it, writable for the daemon's user"},
		{"unix:" + file + "/s", "", file + " is not a directory, so there can be no socket in it"},
		{"unix:/run/none-of-that/s", "", ""}, {"inet:127.0.0.1:1", "", ""}, {"inet:/no/such/dir:1", "", ""},
	} {
		err := checkListener(config.Listener{Address: tt.address, Group: config.Listener{}.Group})
		if tt.group != "" {
			l := config.Listener{Address: tt.address}
			reflect.ValueOf(&l.Group).Elem().SetString(tt.group)
			err = checkListener(l)
		}
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%s %s: %s, want %s", tt.address, tt.group, got, tt.want)
		}
	}
	for in, want := range map[string]string{"app: a: x": "x", "app: config: a: x": "x", "b: x": "b: x", "web configuration x": "x", "policy.recipients: consent: x": "x", "admin: x": "x"} {
		if got := withoutKey(errors.New(in), "a"); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestRing: the memory of decisions lives on unless its size changes.
func TestRing(t *testing.T) {
	cfg := func(entries int, listen string) *config.Config {
		c := config.Default()
		c.Admin.Recent, c.Admin.Listen = entries, listen
		return c
	}
	ring := recent.New(recent.Options{Entries: 5})
	old := func(entries int, r *recent.Ring) *generation {
		return &generation{cfg: cfg(entries, "127.0.0.1:1"), recent: r}
	}
	for _, tt := range []struct {
		name string
		cfg  *config.Config
		old  *generation
		want string
	}{
		{"off", cfg(0, "127.0.0.1:1"), old(0, ring), "none"}, {"nobody can ask", cfg(5, ""), old(5, ring), "none"}, {"the first", cfg(5, "127.0.0.1:1"), nil, "new"},
		{"as before", cfg(5, "127.0.0.1:2"), old(5, ring), "old"}, {"another size", cfg(6, "127.0.0.1:1"), old(5, ring), "new"}, {"it was off", cfg(5, "127.0.0.1:1"), old(5, nil), "new"},
	} {
		got := "new"
		switch newRecent(tt.cfg, tt.old) {
		case nil:
			got = "none"
		case ring:
			got = "old"
		}
		if got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	if always := alwaysFetched([]config.Pattern{"a.example", ".b.example"}); !always("a.example") || always("c.example") || !always("x.b.example") || always("") {
		t.Error("the list of domains whose marks are always fetched")
	}
	g := &generation{cfg: config.Default()}
	log, m := slog.New(slog.NewTextHandler(io.Discard, nil)), &telemetry.Metrics{}
	if got := g.observers(m, log); len(got) != 2 || got[0] != any(m) || got[1].(telemetry.Records).MaskLocalParts {
		t.Errorf("%+v", got)
	}
	g.recent = ring
	if got := g.observers(m, log); len(got) != 3 || got[2] != any(ring) {
		t.Errorf("%+v", got)
	}
	g.cfg.Log.Privacy = config.PrivacyLocalParts
	if got := g.observers(m, log); len(got) != 3 || got[2].(telemetry.Masker).To != any(ring) || !got[1].(telemetry.Records).MaskLocalParts {
		t.Errorf("%+v", got)
	}
	if got := g.probeObservers(m, log); len(got) != 2 || got[0].(telemetry.Probes).Metrics != m || !got[1].(telemetry.Records).Probe || !got[1].(telemetry.Records).MaskLocalParts {
		t.Errorf("%+v", got)
	}
	if (&generation{}).indicators() != nil || dnsName("a.example") != dns.Name("a.example") {
		t.Error("marks that are off")
	}
}
