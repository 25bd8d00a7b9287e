package console

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/explain"
	"sekimori/internal/farm"
	"sekimori/internal/history/archive"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/spf"
	"sekimori/internal/status"
	"sekimori/internal/telemetry"
	"sekimori/internal/watchlist"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// hostile is a text that tries to add markup and control characters to a page.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'&lt;` + "\u202e\x00\x1b[2J\x7f\u009b\u2066"

// bench is a Console under test, with its own metrics and its own Ring of decisions.
type bench struct {
	console *Console
	ring    *recent.Ring
	metrics *telemetry.Metrics
	now     time.Time
	refused bool // whether the daemon refused the last reload
	rules   []policy.Rule
	config  Running
	reports *status.Reports
	marks   *status.Marks
	hosts   *status.Hosts
	history *archive.Reader
	watch   []watchlist.List
	tryOff  string
	try     func(context.Context, *explain.Stored) (*explain.Explanation, error)
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{now: start, config: Running{Text: "mode: monitor\n", Hash: "abc", Since: start}}
	// Each call of tick returns a time one second later, so no two decisions have the same
	// time.
	tick := func() time.Time { b.now = b.now.Add(time.Second); return b.now }
	b.metrics = telemetry.New(prometheus.NewRegistry())
	b.ring = recent.New(recent.Options{Entries: 1000, Now: tick})
	var err error
	b.console, err = New(Options{
		Status: func() *status.Status {
			return status.Collect(status.Options{
				Version: "v1", Started: start, Messages: b.metrics.Counts, Now: func() time.Time { return b.now },
				Running: func() (policy.Mode, status.Config) {
					return policy.Monitor, status.Config{Hash: "abc", Loaded: start, LastReloadOK: !b.refused}
				},
				Reports: func() *status.Reports { return b.reports },
				Marks:   func() *status.Marks { return b.marks },
				Limits:  func() status.Limits { return status.Limits{MaxSessions: 10, Recipients: 7} },
			})
		},
		Decisions: func() *recent.Ring { return b.ring },
		History:   func() *archive.Reader { return b.history },
		Host:      "mx1.example",
		Hosts:     func() *status.Hosts { return b.hosts },
		Watch:     func() []watchlist.List { return b.watch },
		TryOff:    func() string { return b.tryOff },
		Try:       func(ctx context.Context, m *explain.Stored) (*explain.Explanation, error) { return b.try(ctx, m) },
		Rules:     func() []policy.Rule { return b.rules },
		Config:    func() Running { return b.config },
		Logger:    slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// remembers gives the console a store that answers by these functions.
func (b *bench) remembers(m Memory) { b.console.o.Memory = &m }

// decided returns the decision with this evaluation and this verdict.
func decided(e *msgauth.Evaluation, v policy.Verdict) *judge.Decision {
	return &judge.Decision{Session: e.Session, Envelope: e.Envelope, Evaluation: e, Verdict: v}
}

// decide adds the decision on a message to the metrics and to the Ring.
func (b *bench) decide(queueID, domain, client string, action policy.Action) {
	e := &msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr(client), HELO: "mx.example"},
		Envelope: msgauth.Envelope{QueueID: queueID, MailFrom: "<a@" + domain + ">"},
		From:     author.From{AuthorDomain: dns.Name(domain)},
		MailFrom: spf.Check{Identity: spf.MailFrom, Result: spf.SoftFail}, HELO: spf.Check{Identity: spf.HELO, Result: spf.Pass},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, PolicyPublished: dmarc.PolicyReject},
	}
	v := policy.Verdict{Action: action, Reason: policy.ReasonReject, ID: "ID" + queueID}
	b.metrics.Decided(decided(e, v), time.Millisecond)
	b.ring.Decided(decided(e, v), time.Millisecond)
}

func (b *bench) get(t *testing.T, target string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	for path, h := range b.console.Handlers() {
		mux.Handle("GET "+path, h) // the same pattern as in package admin
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody))
	return w
}

// shows checks the status code of the answer, and that the answer contains each text. If
// a text begins with "!", the rest of it must not occur.
func (b *bench) shows(t *testing.T, target string, code int, texts ...string) {
	t.Helper()
	w := b.get(t, target)
	if w.Code != code {
		t.Errorf("%s: %d, want %d", target, w.Code, code)
	}
	for _, text := range texts {
		text, not := strings.CutPrefix(text, "!")
		if strings.Contains(w.Body.String(), text) == not {
			t.Errorf("%s: has %q is not %t:\n%s", target, text, !not, w.Body)
		}
	}
}

// TestSecure checks that every answer has the header fields that restrict the browser, even
// the answer for a page that cannot be shown.
func TestSecure(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{"/", "/decisions", "/decision", "/decision?id=x", "/overrides", "/reports", "/hosts", "/watch", "/try", "/senders", "/readiness", "/readiness.html", "/statistics", "/statistics.html", "/statistics.csv", "/config", "/nowhere",
		"/console.css", "/console.js", "/console.svg"} {
		h := b.get(t, path).Header()
		for key, want := range map[string]string{
			"Content-Security-Policy": csp, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		} {
			if h.Get(key) != want {
				t.Errorf("%s: %s: %q", path, key, h.Get(key))
			}
		}
		if h.Get("Content-Type") == "" || strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: content type %q", path, h.Get("Content-Type"))
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") || !strings.HasPrefix(csp, "default-src 'none';") {
		t.Errorf("the policy is lax: %s", csp)
	}
	// The browser would ignore inline styles and scripts, because the content security
	// policy forbids them. The pages must not contain any.
	err := fs.WalkDir(pages, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(pages, path)
		for _, inline := range []string{" style=", " onclick=", "<style", "<script>", "javascript:", "http:", "https:"} {
			if strings.Contains(string(text), inline) {
				t.Errorf("%s has %q", path, inline)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOverview(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/", 200, "No messages in this time", "nothing yet", "of 10<", "Monitor mode", "none was asked yet", "no message yet", `aria-current="page">Overview`)
	b.console.history.add(sample{start, counts{}})
	for range 3 {
		b.decide("Q", "bank.example", "192.0.2.1", policy.Reject)
	}
	b.decide("Q", "bank.example", "192.0.2.1", policy.Accept)
	b.metrics.Panicked(telemetry.PanicMilter)
	b.refused = true
	b.shows(t, "/", 200, `aria-label="Messages by verdict, last hour: 3 reject, 1 accept"`, "3 reject, 1 accept</title>",
		"the highest bar has 4", "times in UTC", "<span>4</span><span>2</span><span>0</span>", ">08:50</text>",
		"<small>p50</small>", "<small>p99</small> 1.0 ms <small>mean of 4 since the start", "<dt>Memory</dt><dd>", `class="p-reject"`,
		"softfail <b>4</b> <small>100 %", "panics component=milter: 1", "newest configuration was refused",
		`<rect class="v-reject"`, "!<rect class=\"trouble\"", "!no message yet")
	b.shows(t, "/?span=24h", 200, "last 24 hours: 3 reject", "quarter of an hour")
	b.shows(t, "/?span=nonsense", 200, "last hour")
}

func TestDecisions(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/decisions", 200, "No message was decided on yet")
	b.decide("QA", "bank.example", "192.0.2.1", policy.Reject)
	b.decide("QB", "mail.bank.example", "2001:db8::1", policy.Accept)
	b.decide("QC", "notbank.example", "192.0.2.2", policy.Accept)
	for _, more := range []struct{ queueID, author, sender string }{
		{"QD", "shop.example", "<x@bounces.example>"}, {"QE", "", "<\"a@b\"@eu.bounces.example>"}, {"QF", "", "<>"},
	} {
		b.ring.Decided(decided(&msgauth.Evaluation{
			Envelope: msgauth.Envelope{QueueID: more.queueID, MailFrom: more.sender},
			From:     author.From{AuthorDomain: dns.Name(more.author)},
		}, policy.Verdict{Action: policy.Tag}), 0)
	}
	for _, tt := range []struct{ reason, query, want string }{
		{"everything, the newest first", "", "QF QE QD QC QB QA"},
		{"a queue ID", "q=QA", "QA"},
		{"a queue ID in another case finds nothing", "q=qa", ""},
		{"the ID of the reply, in either case", "q=idqb", "QB"},
		{"a part of an ID finds nothing", "q=Q", ""},
		{"an author domain and its subdomains", "q=bank.example", "QB QA"},
		{"an author domain in any case, with spaces around", "q=+BANK.example+", "QB QA"},
		{"the end of a domain's first label finds nothing", "q=ank.example", ""},
		{"a client", "q=192.0.2.2", "QC"},
		{"a client as IPv6 writes it", "q=::ffff:192.0.2.1", "QA"},
		{"a client of IPv6, written at length", "q=2001:db8:0::1", "QB"},
		{"an envelope sender", "q=a@bank.example", "QA"},
		{"an envelope sender in another case and in brackets", "q=%3CA@Bank.example%3E", "QA"},
		{"another local part finds nothing", "q=b@bank.example", ""},
		{"the domain of envelope senders, and domains below it", "q=@bounces.example", "QE QD"},
		{"the domain after the last at-sign", "q=@eu.bounces.example", "QE"},
		{"the author domain is not an envelope sender", "q=@shop.example", ""},
		{"a domain of an author or an envelope sender", "q=shop.example", "QD"},
		{"a domain of an envelope sender", "q=bounces.example", "QE QD"},
		{"the null sender", "q=%3C%3E", "QF"},
		{"an at-sign alone finds nothing", "q=@", ""},
		{"a verdict", "verdict=accept", "QC QB"},
		{"a verdict of a domain", "verdict=accept&q=bank.example", "QB"},
		{"a reason", "reason=dmarc_reject", "QC QB QA"},
		{"a reason of a verdict", "reason=dmarc_reject&verdict=reject", "QA"},
		{"another reason", "reason=rule", ""},
		{"this host", "host=mx1.example&verdict=accept", "QC QB"},
		{"another host", "host=mx2.example", ""},
		{"a day", "day=+2026-11-22+&verdict=reject", "QA"},
		{"an unknown parameter changes nothing", "x=y", "QF QE QD QC QB QA"},
		{"older than the second", fmt.Sprintf("before=%d", start.Add(2*time.Second).UnixNano()), "QA"},
	} {
		w := b.get(t, "/decisions?"+tt.query)
		var got []string
		for _, part := range strings.Split(w.Body.String(), "<code>")[1:] {
			id, _, _ := strings.Cut(part, "</code>")
			got = append(got, id)
		}
		if w.Code != 200 || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %d %q, want %q", tt.reason, w.Code, got, tt.want)
		}
		if tt.want == "" && !strings.Contains(w.Body.String(), "Nothing that is remembered matches") {
			t.Errorf("%s: the page does not say that nothing was found", tt.reason)
		}
	}
	b.shows(t, "/decisions?verdict=maybe", 400, "no such verdict")
	b.shows(t, "/decisions?reason=maybe", 400, "no such reason")
	b.shows(t, "/decisions?host="+strings.Repeat("x", maxSearchBytes+1), 400, "too long", "!xxx")
	b.shows(t, "/decisions?reason=rule", 200, "<option selected>rule</option>", `!name="host"`)
	b.hosts = &status.Hosts{}
	for _, name := range []string{"mx2.example", "mx1.example", "mx1.example"} {
		b.hosts.Hosts = append(b.hosts.Hosts, farm.Shown{Host: farm.Host{Beat: farm.Beat{Name: name}}})
	}
	b.shows(t, "/decisions?host=mx2.example", 200, `name="host" type="text" value="mx2.example"`, `<option value="mx1.example"></option><option value="mx2.example"></option></datalist>`)
	b.shows(t, "/decisions?q="+strings.Repeat("x", maxSearchBytes), 200)
	b.shows(t, "/decisions?q="+strings.Repeat("x", maxSearchBytes+1), 400, "too long", "!xxx")
	b.ring = nil
	b.shows(t, "/decisions", 404, "admin.recent")
	b.shows(t, "/decision?id=x", 404, "admin.recent")
}

// TestPages checks that a page shows at most maxRows decisions, and that the next page
// begins with the decision that follows.
func TestPages(t *testing.T) {
	b := newBench(t)
	for i := range maxRows + 5 {
		b.decide(fmt.Sprintf("Q%03d", i), "bank.example", "192.0.2.1", policy.Accept)
	}
	body := b.get(t, "/decisions?q=bank.example").Body.String()
	if n := strings.Count(body, "<code>"); n != maxRows || !strings.Contains(body, "there are older ones") {
		t.Errorf("%d decisions", n)
	}
	_, rest, _ := strings.Cut(body, `<a href="/decisions?before=`)
	older, _, _ := strings.Cut(rest, `"`)
	b.shows(t, "/decisions?before="+strings.ReplaceAll(older, "&amp;", "&"), 200, "5 decisions", "<code>Q004</code>", "<code>Q000</code>",
		"!<code>Q005</code>", "!rel=\"next\"")
}

func TestDecision(t *testing.T) {
	b := newBench(t)
	b.decide("QA", "bank.example", "192.0.2.1", policy.Reject)
	b.decide("QA", "bank.example", "192.0.2.1", policy.Accept)
	b.shows(t, "/decision?queue_id=QA", 200, "ACCEPT, because", "SPF of mailfrom", "softfail for", "helo mx.example", "IDQA")
	b.shows(t, fmt.Sprintf("/decision?queue_id=QA&at=%d", start.Add(time.Second).UnixNano()), 200, "REJECT, because nothing of the author")
	b.shows(t, "/decision?id=idqa", 200, "ACCEPT, because")
	b.shows(t, "/decision?queue_id=QA&at=1", 404, "no longer remembered")
	b.shows(t, "/decision?id=other", 404, "no longer remembered")
	b.shows(t, "/decision", 400, "Which decision?")
	b.ring.Decided(&judge.Decision{Session: msgauth.Session{Client: netip.MustParseAddr("10.0.0.1"), HELO: "in.example"},
		Envelope: msgauth.Envelope{QueueID: "QS", MailFrom: "<b@c.example>"}, Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
	b.shows(t, "/decision?queue_id=QS", 200, "SKIP, because", "it was not evaluated", "helo in.example", "&lt;b@c.example&gt;",
		"!<dt>Size", "!<h2>Identities", "--queue-id QS", "!copy-rule")
}

// TestHostile checks that text of a sender is shown on the pages but does not become
// markup.
func TestHostile(t *testing.T) {
	b := newBench(t)
	b.ring.Decided(decided(&msgauth.Evaluation{
		Session:  msgauth.Session{HELO: hostile, Authenticated: hostile},
		Envelope: msgauth.Envelope{QueueID: hostile, MailFrom: hostile},
		From:     author.From{AuthorDomain: dns.Name(hostile), Mailboxes: []author.Mailbox{{DisplayName: hostile}}},
		MailFrom: spf.Check{Result: spf.Fail, Problem: hostile, Mechanism: hostile, Explanation: hostile},
		DKIM:     []dkim.Signature{{Result: dkim.Fail, Selector: hostile, Identity: hostile, Reason: "body_hash", Detail: hostile}},
	}, policy.Verdict{Action: policy.Reject, Reason: policy.ReasonReject, ID: hostile, Evidence: []string{hostile}}), 0)
	d, _ := b.ring.Search(recent.Query{})
	b.rules = []policy.Rule{{ID: "r", Owner: hostile, Reason: hostile}}
	b.config = Running{Text: hostile, Hash: hostile, Refused: hostile}
	for _, target := range []string{
		"/decisions", "/decisions?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E%3Cimg%20src=x%20onerror=alert(2)%3E", "/overrides", "/config",
		fmt.Sprintf("/decision?at=%d", d[0].Time.UnixNano()),
	} {
		body := b.get(t, target).Body.String()
		if !strings.Contains(body, "alert(1)") {
			t.Errorf("%s does not show the hostile text", target)
		}
		for _, tag := range []string{"<script>", "<img"} {
			if strings.Contains(body, tag) {
				t.Errorf("%s has %s:\n%s", target, tag, body)
			}
		}
		if strings.ContainsAny(body, "\u202e\x00\x1b\x7f\u009b\u2066") {
			t.Errorf("%s turns the reading direction, or has a control character", target)
		}
	}
}

func TestOverrides(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/overrides", 200, "There are no rules")
	b.rules = []policy.Rule{
		{ID: "forwarder", Owner: "ann@isp.example", Reason: "ticket 123", When: policy.Conditions{DKIM: []policy.Pattern{"list.example"}},
			Then: policy.Outcome{Action: policy.Accept}},
		{ID: "old", Expires: start.Add(-time.Hour), Then: policy.Outcome{Policy: dmarc.PolicyReject}},
		{ID: "ending", Expires: start.Add(50 * time.Hour)},
		{ID: "later", Expires: start.Add(soon + 48*time.Hour)},
	}
	b.metrics.RulesLoaded(b.rules)
	b.metrics.Decided(decided(&msgauth.Evaluation{}, policy.Verdict{Action: policy.Accept, Rule: "forwarder"}), 0)
	for _, c := range []judge.Comparison{
		{Live: policy.Verdict{Action: policy.Tag}, Candidate: policy.Verdict{Action: policy.Reject}},
		{Live: policy.Verdict{Action: policy.Skip}, Candidate: policy.Verdict{Action: policy.Skip}},
	} {
		b.metrics.Decided(&judge.Decision{Verdict: c.Live, Shadow: &c}, 0)
	}
	b.shows(t, "/overrides", 200, `class="n">1</td><td data-label="Last day"><span class="quiet">never ends`, "dkim: list.example", "ann@isp.example",
		"ticket 123",
		">expired<", "{policy: reject}", ">in 2 d 2 h<", `data-label="Candidate"><b class="pill v-reject">reject`, "!v-skip")
	if n := strings.Count(b.get(t, "/overrides").Body.String(), ">in "); n != 1 {
		t.Errorf("%d rules end soon, want 1", n)
	}
}

func TestMissing(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{"/nowhere", "/decisions/", "/%3Cscript%3E", "/index.html"} {
		b.shows(t, path, 404, "There is no such page", `<a href="/">Overview</a>`, "<title>Not found", "!aria-current", "!<script>")
	}
	for _, path := range []string{"/api/nowhere", "/debug/nowhere"} { // programs ask for these
		b.shows(t, path, 404, "404 page not found", "!<html")
	}
}

func TestConfig(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/config", 200, "mode: monitor", "abc", "2026-11-22", "!refused")
	b.config.Refused = "line 3: no such key"
	b.shows(t, "/config", 200, "was refused", "line 3: no such key")
}
