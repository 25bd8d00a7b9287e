package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/collect"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/geo"
	"sekimori/internal/judge"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/spf"
	"sekimori/internal/stats"
	storage "sekimori/internal/store"
	"sekimori/internal/testkit/cluster"
	"sekimori/internal/testkit/countries"
)

// mailKind is a kind of message of the test's month, and what the tables must say of it.
type mailKind struct {
	spf     spf.Result
	dkim    dkim.Result // "" for no signature
	policy  dmarc.Policy
	dmarc   dmarc.Result
	applied policy.Action
	reason  policy.Reason
	over    policy.OverrideType
	stand   string // how it authenticates, in the words of the handbook
}

var mailKinds = []mailKind{
	{spf.Pass, dkim.Pass, dmarc.PolicyReject, dmarc.ResultPass, policy.Accept, policy.ReasonAligned, "", "pass"},
	{spf.Pass, "", dmarc.PolicyQuarantine, dmarc.ResultPass, policy.Accept, policy.ReasonAligned, "", "pass"},
	{spf.None, dkim.Pass, dmarc.PolicyNone, dmarc.ResultPass, policy.Accept, policy.ReasonAligned, "", "pass"},
	{spf.None, "", "", dmarc.ResultNone, policy.Tag, policy.ReasonNoPolicy, "", "nothing"},
	{spf.None, "", dmarc.PolicyReject, dmarc.ResultFail, policy.Reject, policy.ReasonReject, "", "nothing"},
	{spf.Fail, dkim.Fail, dmarc.PolicyReject, dmarc.ResultFail, policy.Reject, policy.ReasonReject, "", "fail"},
	{spf.SoftFail, "", dmarc.PolicyReject, dmarc.ResultFail, policy.Quarantine, policy.ReasonIndirect, policy.OverrideMailingList, "fail"},
	{spf.Neutral, "", dmarc.PolicyQuarantine, dmarc.ResultFail, policy.Quarantine, policy.ReasonQuarantine, "", "fail"},
	{spf.PermError, dkim.PermError, dmarc.PolicyNone, dmarc.ResultFail, policy.Tag, policy.ReasonNone, "", "fail"},
	{spf.TempError, dkim.TempError, dmarc.PolicyReject, dmarc.ResultTempError, policy.Tag, policy.ReasonTempError, policy.OverrideOther, "other"},
	{spf.Pass, "", "", dmarc.ResultNone, policy.Accept, policy.ReasonPassNoPolicy, "", "other"},
}

// truth is what a month must give, counted when its messages are made.
type truth struct {
	mu                                                         sync.Mutex
	messages, unauthenticated, nothingPassed                   int64
	spf, dkim, dmarc, policies, applied, reasons, over, places map[string]int64
	days                                                       map[string]int64
	last                                                       map[string]string    // the policy that a domain published last
	seen                                                       map[string]time.Time // when that was
}

func newTruth() *truth {
	tr := &truth{last: map[string]string{}, seen: map[string]time.Time{}}
	for _, m := range []*map[string]int64{&tr.spf, &tr.dkim, &tr.dmarc, &tr.policies, &tr.applied, &tr.reasons, &tr.over, &tr.places, &tr.days} {
		*m = map[string]int64{}
	}
	return tr
}

func (tr *truth) count(k *mailKind, domain, country string, at time.Time) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	or := func(s, none string) string {
		if s == "" {
			return none
		}
		return s
	}
	tr.messages++
	if k.stand == "nothing" {
		tr.unauthenticated++
	}
	if k.spf != spf.Pass && k.dkim != dkim.Pass {
		tr.nothingPassed++
	}
	tr.spf[string(k.spf)]++
	tr.dkim[or(string(k.dkim), "none")]++
	tr.dmarc[string(k.dmarc)]++
	tr.policies[or(string(k.policy), "absent")]++
	tr.applied[string(k.applied)]++
	tr.reasons[string(k.applied)+" "+string(k.reason)]++
	if k.over != "" {
		tr.over[string(k.over)]++
	}
	tr.places[country+" "+k.stand]++
	tr.days[at.Format(time.DateOnly)]++
	// Without any record the domain is not counted, and neither is a policy that is not known.
	published := k.policy != "" || k.spf != spf.None || k.dkim != ""
	if published && at.After(tr.seen[domain]) {
		tr.seen[domain], tr.last[domain] = at, or(string(k.policy), "absent")
	}
}

// message makes a message of a kind.
func (k *mailKind) message(domain dns.Name, client string, at time.Time) *judge.Decision {
	v := policy.Verdict{Action: k.applied, Applied: k.applied, Enforced: true, Reason: k.reason}
	if k.over != "" {
		v.Override = &policy.Override{Type: k.over}
	}
	e := &msgauth.Evaluation{Time: at, Session: msgauth.Session{Client: netip.MustParseAddr(client)}, From: author.From{AuthorDomain: "news." + domain}}
	e.MailFrom = spf.Check{Result: k.spf, Domain: domain}
	if k.spf != spf.None {
		e.MailFrom.Record = "v=spf1 -all"
	}
	if k.dkim != "" {
		e.DKIM = []dkim.Signature{{Result: k.dkim, Domain: domain, Selector: "s", KeyBits: 2048}}
	}
	e.DMARC = dmarc.Evaluation{Result: k.dmarc, PolicyPublished: k.policy, PolicyDomain: domain, AuthorDomain: "news." + domain,
		AlignedDKIM: k.dmarc == dmarc.ResultPass && k.dkim == dkim.Pass, AlignedSPF: k.dmarc == dmarc.ResultPass && k.spf == spf.Pass}
	if k.policy != "" {
		e.DMARC.Record = &dmarc.Record{P: k.policy}
	}
	return &judge.Decision{Verdict: v, Evaluation: e}
}

var (
	statsClients = map[string]string{"192.0.2.1": "JP", "192.0.2.200": "JP", "198.51.100.1": "US", "2001:db8::1": "DE", "203.0.113.1": "ZZ"}
	statsFile    = map[string]string{"192.0.2.0/24": "JP", "198.51.100.0/24": "US", "2001:db8::/32": "DE"}
	statsDomains = []dns.Name{"a.co.jp", "b.co.jp", "c.go.jp", "d.ac.jp", "e.jp", "f.com", "g.example", "h.co.jp", "i.or.jp"}
)

// fillMonth lets the collectors of several daemons count every day of a month. Each store is that of one
// daemon. In the middle of the month each daemon is restarted, as it is each day here.
func fillMonth(t *testing.T, month time.Time, stores []storage.Store) *truth {
	t.Helper()
	places, err := geo.Parse(countries.File(statsFile, countries.Options{}), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	tr := newTruth()
	clients := make([]string, 0, len(statsClients))
	for c := range statsClients {
		clients = append(clients, c)
	}
	slices.Sort(clients)
	for day := month; day.Month() == month.Month(); day = day.AddDate(0, 0, 1) {
		now := day.Add(13 * time.Hour)
		var all sync.WaitGroup
		for host, s := range stores {
			all.Go(func() {
				c := collect.New(collect.Options{Store: func() report.Store { return s }, Every: 20 * time.Millisecond, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)},
					collect.Settings{Interval: 24 * time.Hour, Group: []string{"in", "in", "lists"}[host%3], MaxDomains: 1000, Country: places.Country})
				r := rand.New(rand.NewPCG(uint64(day.Unix()), uint64(host)))
				for n := range 40 + r.IntN(40) {
					k := &mailKinds[r.IntN(len(mailKinds))]
					domain, client := statsDomains[r.IntN(len(statsDomains))], clients[r.IntN(len(clients))]
					at := day.Add(time.Duration(n*100+host) * time.Second)
					c.Decided(k.message(domain, client, at), 0)
					tr.count(k, string(domain), statsClients[client], at)
				}
				secret := mailKinds[0].message("secret.co.jp", "192.0.2.1", day)
				secret.Verdict.Consent = policy.Consent{Out: 1}
				c.Decided(secret, 0)
				later := mailKinds[0].message("later.co.jp", "192.0.2.1", day)
				later.Verdict.Applied = policy.TempFail
				c.Decided(later, 0)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				c.Stop(ctx)
				if n := c.Counts().Lost(); n != 0 || c.Counts().LedgerDropped.Load() != 0 {
					t.Errorf("%d messages are lost", n)
				}
			})
		}
		all.Wait()
	}
	return tr
}

// compare compares a month with the truth.
func (tr *truth) compare(t *testing.T, m *stats.Month) {
	t.Helper()
	if m.Messages != tr.messages || m.Unauthenticated.Messages != tr.unauthenticated || m.NothingPassed.Messages != tr.nothingPassed || m.Dropped != 0 || tr.messages == 0 {
		t.Errorf("%d messages, %d without authentication, %d without a pass; want %d, %d, %d", m.Messages, m.Unauthenticated.Messages, m.NothingPassed.Messages,
			tr.messages, tr.unauthenticated, tr.nothingPassed)
	}
	tables := map[string]map[string]int64{}
	note := func(table, row string, n int64) {
		if tables[table] == nil {
			tables[table] = map[string]int64{}
		}
		if n != 0 {
			tables[table][row] += n
		}
	}
	for name, counts := range map[string][]stats.Count{"spf": m.SPF, "dkim": m.DKIM, "dmarc": m.DMARC, "applied": m.Applied, "override": m.Overrides} {
		for _, c := range counts {
			note(name, c.Word, c.Messages)
		}
	}
	for _, p := range m.Policies {
		note("policies", p.Policy, p.Messages)
	}
	for _, r := range m.Reasons {
		note("reasons", r.Applied+" "+r.Reason, r.Messages)
	}
	for _, c := range m.Countries {
		note("countries", c.Country+" pass", c.Pass)
		note("countries", c.Country+" fail", c.Fail)
		note("countries", c.Country+" other", c.Other)
		note("countries", c.Country+" nothing", c.Nothing)
	}
	for _, d := range m.Days {
		note("days", d.Day, d.Messages)
	}
	for table, want := range map[string]map[string]int64{"spf": tr.spf, "dkim": tr.dkim, "dmarc": tr.dmarc, "applied": tr.applied, "override": tr.over,
		"policies": tr.policies, "reasons": tr.reasons, "countries": tr.places, "days": tr.days} {
		if !reflect.DeepEqual(tables[table], want) {
			t.Errorf("%s:\n got %v\nwant %v", table, tables[table], want)
		}
	}
	classes := map[string]map[string]int64{}
	for domain, p := range tr.last {
		class := "other"
		for _, suffix := range []string{"co.jp", "go.jp", "ac.jp"} {
			if strings.HasSuffix(domain, "."+suffix) {
				class = suffix
			}
		}
		for _, in := range []string{class, "all"} {
			if classes[in] == nil {
				classes[in] = map[string]int64{}
			}
			classes[in][p]++
		}
	}
	if len(m.Classes) != 5 {
		t.Errorf("classes: %+v", m.Classes)
	}
	for _, c := range m.Classes {
		want := classes[c.Class]
		if c.Reject != want["reject"] || c.Quarantine != want["quarantine"] || c.None != want["none"] || c.Absent != want["absent"] || c.Domains != c.DMARC+c.Absent || c.Domains == 0 {
			t.Errorf("class %+v, want %v", c, want)
		}
	}
}

// TestStats lets three daemons fill a month on PostgreSQL, and one on SQLite. The command gives exactly what
// was counted.
func TestStats(t *testing.T) {
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC)
	t.Run("PostgreSQL", func(t *testing.T) {
		c := cluster.Start(t, cluster.Options{})
		url := c.Database(t)
		password := file(t, "password", cluster.Password+"\n")
		testStats(t, month, 3, storeKeys{url, password})
	})
	t.Run("SQLite", func(t *testing.T) {
		testStats(t, month, 1, storeKeys{url: "sqlite:" + filepath.Join(t.TempDir(), "s.db")})
	})
}

type storeKeys struct{ url, password string }

func testStats(t *testing.T, month time.Time, daemons int, keys storeKeys) {
	var all []storage.Store
	for range daemons {
		s, err := storage.Open(t.Context(), keys.url, storage.Options{Password: passwordOf(t, keys.password)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		all = append(all, s)
	}
	tr := fillMonth(t, month, all)
	path := file(t, "s.yaml", fmt.Sprintf("store: {url: %q, password_file: %q, spool: {dir: %s}}\nstats: {classes: [co.jp, go.jp, .ac.jp]}\nmode: monitor\n", keys.url, keys.password, t.TempDir()))
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := command(t, append([]string{"stats", "--config", path, "--month", month.Format("2006-01")}, args...)...)
		if code != 0 || errs != "" {
			t.Fatalf("%v: exit code %d\n%s", args, code, errs)
		}
		return out
	}
	var m stats.Month
	if err := json.Unmarshal([]byte(run("--format", "json")), &m); err != nil {
		t.Fatal(err)
	}
	tr.compare(t, &m)
	if m.Whole != true || m.Group != "" {
		t.Errorf("%s to %s, whole %t", m.From, m.To, m.Whole)
	}
	if daemons > 1 {
		var lists stats.Month
		if err := json.Unmarshal([]byte(run("--format", "json", "--group", "lists", "--class", "jp")), &lists); err != nil {
			t.Fatal(err)
		}
		if lists.Messages == 0 || lists.Messages >= m.Messages || lists.Group != "lists" || lists.Classes[0].Class != "jp" {
			t.Errorf("the group has %d messages of %d, %+v", lists.Messages, m.Messages, lists.Classes)
		}
	}
	if out := run(); !strings.Contains(out, "softfail") || strings.Contains(out, "secret") || strings.Contains(out, "later") {
		t.Errorf("text:\n%s", out)
	}
	if out := run("--format", "html", "--lang", "ja"); !strings.Contains(out, "送信ドメイン認証") || !strings.Contains(out, "<svg") {
		t.Errorf("html:\n%s", out)
	}
	rows, err := csv.NewReader(strings.NewReader(run("--format", "csv"))).ReadAll()
	if err != nil || !slices.ContainsFunc(rows, func(r []string) bool { return r[1] == "spf" && r[2] == "pass" && r[4] == fmt.Sprint(tr.spf["pass"]) }) {
		t.Errorf("csv: %v\n%v", err, rows)
	}
	// Nothing is counted of a message that nobody agreed to, or that was put off.
	for _, domain := range []dns.Name{"secret.co.jp", "later.co.jp"} {
		for _, err := range all[0].Ledger().Rows(t.Context(), ledger.Filter{From: 0, To: 1 << 20, Domain: domain}) {
			t.Errorf("%s is in the store (%v)", domain, err)
		}
	}
}

func passwordOf(t *testing.T, path string) string {
	t.Helper()
	if path == "" {
		return ""
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// TestStatsMistakes makes the mistakes of users.
func TestStatsMistakes(t *testing.T) {
	none := file(t, "none.yaml", "mode: monitor\n")
	for _, tt := range []struct{ args, want string }{
		{"--month 2026-13", `--month: "2026-13" is not a month; write one such as 2026-11`},
		{"--month 2999-01", "--month: 2999-01 has not begun"},
		{"--month 2001-01", "--month: the store has nothing of 2001-01 any more"},
		{"--format xml", `--format: "xml" is not text, csv, json or html`},
		{"--lang ja", "--lang is for --format html"},
		{"--lang fr", `--lang: "fr" is not en or ja`},
		{"--class co.jp,co.jp", `--class: "co.jp" is not a domain, or is there twice`},
		{"--class a..b", `--class: "a..b" is not a domain, or is there twice`},
		{"x", "stats takes no arguments"},
		{"", "store.url is empty in the configuration"},
	} {
		args := append([]string{"stats", "--config", none}, strings.Fields(tt.args)...)
		if code, _, errs := command(t, args...); code != 2 || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: exit code %d, %s", tt.args, code, errs)
		}
	}
}
