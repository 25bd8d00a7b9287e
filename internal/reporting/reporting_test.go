package reporting

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns/zone"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/report/identity"
	"sekimori/internal/submit"
)

// midnight is the begin of the window of most jobs, and noon the time of the commands: the next day.
var (
	midnight = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	noon     = midnight.Add(36 * time.Hour)
)

const hostile = "\x1b[2J\u202eevil"

// memory is a store in memory, with the methods that this package calls.
type memory struct {
	report.Store
	jobs         []report.Job
	deliveries   []report.Delivery
	suppressions map[string]report.Suppression
	excess       []report.Excess
	fails        string // the method that fails
}

var errBroken = errors.New("the store is broken")

func (m *memory) err(method string) error {
	if m.fails == method {
		return errBroken
	}
	return nil
}

func (m *memory) Summary(context.Context, time.Time) (report.Summary, error) {
	return report.Summary{Excess: m.excess}, m.err("Summary")
}

func (m *memory) Jobs(_ context.Context, f report.Filter) ([]report.Job, error) {
	if err := m.err("Jobs"); err != nil {
		return nil, err
	}
	var out []report.Job
	for _, j := range m.jobs {
		if (f.Window == 0 || f.Window == j.Window.Begin) && (f.Domain == "" || f.Domain == j.Policy.Domain) && (f.State == "" || f.State == j.State) && (f.ID == 0 || f.ID == j.ID) &&
			(f.ReportID == "" || f.ReportID == j.ReportID) && (f.Limit == 0 || len(out) < f.Limit) {
			out = append(out, j)
		}
	}
	return out, nil
}

func (m *memory) Deliveries(_ context.Context, job int64) ([]report.Delivery, error) {
	if err := m.err("Deliveries"); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(m.deliveries), func(d report.Delivery) bool { return d.Job != job }), nil
}

func (m *memory) Suppressions(context.Context) (out []report.Suppression, err error) {
	for _, s := range m.suppressions {
		out = append(out, s)
	}
	return out, m.err("Suppressions")
}

func (m *memory) Suppression(_ context.Context, target string) (report.Suppression, error) {
	s, ok := m.suppressions[target]
	if !ok {
		return s, report.ErrUnknown
	}
	return s, m.err("Suppression")
}

func (m *memory) Suppress(_ context.Context, s report.Suppression) error {
	m.suppressions[s.Target] = s
	return m.err("Suppress")
}

func (m *memory) Unsuppress(_ context.Context, target string) error {
	if _, ok := m.suppressions[target]; !ok {
		return report.ErrUnknown
	}
	delete(m.suppressions, target)
	return m.err("Unsuppress")
}

func window(begin time.Time, d time.Duration) report.Window {
	return report.Window{Begin: begin.Unix(), End: begin.Add(d).Unix() - 1}
}

func newMemory() *memory {
	day := window(midnight, 24*time.Hour)
	p := report.Policy{Domain: "shop.example", P: dmarc.PolicyReject, SP: dmarc.PolicyReject, NP: dmarc.PolicyReject, ADKIM: dmarc.Relaxed, ASPF: dmarc.Relaxed,
		Method: dmarc.TreeWalk, Testing: true}
	bank := p
	bank.Domain = "bank.example"
	return &memory{
		jobs: []report.Job{
			{ID: 5, Policy: p, Window: window(midnight.Add(30*time.Hour), 6*time.Hour), State: report.StateOpen, SendAt: midnight.Add(37 * time.Hour), Rows: 2, Messages: 3, Causes: 3},
			{ID: 1, Policy: bank, Window: day, State: report.StateDone, Outcome: report.Sent, Reason: "to 1 destination", ReportID: "20261128.k7q2.bank.example@dmarc.isp.example",
				Rows: 10, Messages: 100, Causes: 90, Lost: 4, Late: 2, Spam: 1},
			{ID: 2, Policy: p, Window: day, State: report.StateDue, SendAt: midnight.Add(26 * time.Hour), Tries: 2, Rows: 4, Messages: 5, Causes: 5},
			{ID: 3, Policy: p, Window: window(midnight.Add(-24*time.Hour), 24*time.Hour), State: report.StateDone, Outcome: report.WithheldLoop, Reason: hostile},
		},
		deliveries: []report.Delivery{{Job: 1, Address: "rua@bank.example", Word: report.Sent, Tries: 1, Reply: "250 2.0.0 " + hostile, At: midnight.Add(27 * time.Hour), Bounced: true}},
		suppressions: map[string]report.Suppression{
			"rua@old.example": {Target: "rua@old.example", Since: midnight, Until: noon.Add(-time.Hour), Strikes: 1, Window: 7, Reason: "5.1.1", By: report.ByBounce},
			"one@b.example":   {Target: "one@b.example", Since: midnight, Strikes: 1, Reason: hostile, By: report.ByBounce},
		},
	}
}

// sender answers as a dispatcher does.
type sender struct {
	decision destination.Decision
	err      error // of Explain
	writeErr error
	copied   []string
	copyErr  error
	result   submit.Result
	outcome  report.Outcome
	errs     map[int64]error // of Send, by job
}

func (s *sender) Explain(context.Context, report.Job) (destination.Decision, error) {
	d := s.decision
	d.Rules = slices.Clone(d.Rules)
	return d, s.err
}

func (s *sender) WriteXML(_ context.Context, w io.Writer, j report.Job) error {
	_, err := fmt.Fprintf(w, "<feedback>%d</feedback>\n", j.ID)
	return errors.Join(err, s.writeErr)
}

func (s *sender) WriteMail(_ context.Context, w io.Writer, j report.Job, to string) error {
	_, err := fmt.Fprintf(w, "To: %s (%d)\n", to, j.ID)
	return errors.Join(err, s.writeErr)
}

func (s *sender) Copy(_ context.Context, j report.Job, to string) (submit.Result, error) {
	s.copied = append(s.copied, fmt.Sprint(j.ID, " ", to))
	return s.result, s.copyErr
}

func (s *sender) Send(_ context.Context, id int64) (report.Outcome, error) {
	if s.errs[id] != nil {
		return report.Outcome{}, s.errs[id]
	}
	return s.outcome, nil
}

func newOffice() (*Office, *sender) {
	s := &sender{result: submit.Result{Kind: submit.Sent, Reply: "250 queued"}, decision: destination.Decision{
		Rules: []destination.Rule{{Word: report.WithheldOff, State: destination.RulePassed, Evidence: "sending is on"},
			{Word: report.WithheldNotEstablished, State: destination.RulePassed, Evidence: "established: it passed DMARC on 3 days, the first 2026-11-20"}},
		Record:       &dmarc.Record{Raw: "v=DMARC1; p=reject; rua=mailto:rua@shop.example" + hostile},
		Destinations: []destination.Destination{{URI: "mailto:rua@shop.example", Address: "rua@shop.example"}, {URI: "http://x", Word: report.WithheldUnusable, Detail: "not a mailto URI"}},
	}}
	return &Office{Store: newMemory(), Sender: s, Sending: true, Now: noon}, s
}

// text returns what a person sees, and fails if it has a control character.
func text(t *testing.T, v interface{ Text(io.Writer) error }) string {
	t.Helper()
	var b strings.Builder
	if err := v.Text(&b); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Errorf("a stranger controls the terminal: %q", b.String())
	}
	if raw, err := json.Marshal(v); err != nil || strings.Contains(string(raw), "null") {
		t.Errorf("a list is null: %s %v", raw, err)
	}
	return b.String()
}

func has(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		w, not := strings.CutPrefix(w, "!")
		if strings.Contains(got, w) == not {
			t.Errorf("has %q is not %t:\n%s", w, !not, got)
		}
	}
}

func TestListReports(t *testing.T) {
	for _, tt := range []struct {
		sel  Selection
		want []int64
		err  string
	}{
		{Selection{}, []int64{5, 1, 2, 3}, ""},
		{Selection{Window: "2026-11-28"}, []int64{1, 2}, ""},
		{Selection{Window: "yesterday", Domain: "Shop.example"}, []int64{2}, ""},
		{Selection{Window: "today"}, []int64{5}, ""}, // begins at 6 o'clock
		{Selection{State: "done"}, []int64{1, 3}, ""},
		{Selection{Window: "28.11.2026"}, nil, `is not a day; write one such as 2026-11-29, today or yesterday`},
		{Selection{Window: "1970-12-31"}, nil, "is not a day"},
		{Selection{Window: "1971-01-01"}, nil, ""},
		{Selection{Window: "2026-11-27"}, []int64{3}, ""},
		{Selection{State: "open"}, []int64{5}, ""},
		{Selection{State: "due"}, []int64{2}, ""},
		{Selection{State: "claimed"}, nil, ""},
		{Selection{State: "sent"}, nil, "is not a state; write open, due, claimed or done"},
		{Selection{Domain: "a..b"}, nil, "is not a domain"},
	} {
		l, err := ListReports(t.Context(), newMemory(), tt.sel, noon)
		if tt.err != "" {
			if !errors.Is(err, ErrUse) || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v: %v", tt.sel, err)
			}
			continue
		}
		var got []int64
		for _, r := range l.Reports {
			got = append(got, r.Job)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v %v, want %v", tt.sel, got, err, tt.want)
		}
	}
	crowded := newMemory()
	crowded.excess = []report.Excess{{Window: report.Window{Begin: midnight.Unix(), End: midnight.Unix() + 86399}, Owner: "evil.example", Messages: 7},
		{Window: report.Window{Begin: midnight.Unix() - 86400, End: midnight.Unix() - 1}, Messages: 3},
		{Window: window(midnight.Add(-18*time.Hour), 6*time.Hour), Messages: 2}}
	for _, tt := range []struct {
		sel  Selection
		want int
	}{{Selection{}, 3}, {Selection{Window: "yesterday"}, 1}, {Selection{Window: "2026-11-27"}, 2}, {Selection{Window: "today"}, 0},
		{Selection{Domain: "shop.example"}, 0}, {Selection{State: "due"}, 0}} {
		if l, err := ListReports(t.Context(), crowded, tt.sel, noon); err != nil || len(l.Excess) != tt.want {
			t.Errorf("%+v: %+v, %v", tt.sel, l, err)
		}
	}
	listed, err := ListReports(t.Context(), crowded, Selection{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	same(t, text(t, listed), `
WINDOW (UTC)            DOMAIN        ROWS  MESSAGES  STATE  NOTE
2026-11-29 06:00-12:00  shop.example  2     3         open   can be sent at 2026-11-29 13:00 UTC
2026-11-28              bank.example  10    100       sent   to 1 destination; 4 messages missing
2026-11-28              shop.example  4     5         due    2 attempts, the next at 2026-11-29 02:00 UTC
2026-11-27              shop.example  0     0         loop   "\x1b[2J\u202eevil"
2026-11-28: no report has 7 messages, because there are reports on too many names below evil.example.
2026-11-27: no report has 3 messages, because there are reports on too many domains.
2026-11-27 06:00-12:00: no report has 2 messages, because there are reports on too many domains.
`)
	bank := Report{Job: 1, Domain: "bank.example", Begin: midnight, End: midnight.Add(24*time.Hour - time.Second), State: "done", SendAt: time.Time{},
		ReportID: "20261128.k7q2.bank.example@dmarc.isp.example", Rows: 10, Messages: 100, Causes: 90, Spam: 1, Late: 2, Lost: 4, Outcome: "sent", Reason: "to 1 destination"}
	if !reflect.DeepEqual(listed.Reports[1], bank) {
		t.Errorf("%+v, want %+v", listed.Reports[1], bank)
	}
	if want := (Excess{Begin: midnight, End: midnight.Add(24*time.Hour - time.Second), Owner: "evil.example", Messages: 7}); listed.Excess[0] != want {
		t.Errorf("%+v, want %+v", listed.Excess[0], want)
	}
	has(t, text(t, &List{Reports: []Report{}}), "No report.")
	many := newMemory()
	for n, more := range map[int]bool{maxListed: false, maxListed + 1: true} {
		many.jobs = slices.Repeat(newMemory().jobs[:1], n)
		l, err := ListReports(t.Context(), many, Selection{}, noon)
		if err != nil || len(l.Reports) != maxListed || l.More != more {
			t.Errorf("of %d reports %d are listed, more is %t, %v", n, len(l.Reports), l.More, err)
		}
		if text := text(t, l); strings.Contains(text, "There are more than 10000. Choose by --window, --domain or --state.\n") != more {
			t.Errorf("of %d reports, more is %t: %.300q", n, more, text)
		}
	}
}

// same fails if two texts differ. want begins with an empty line.
func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want[1:] {
		t.Errorf("got\n%s\nwant%s", got, want)
	}
}

// TestNoStore checks that a command without a store says what is missing.
func TestNoStore(t *testing.T) {
	cfg := config.Default()
	if s, err := OpenStore(t.Context(), cfg); s != nil || !errors.Is(err, ErrUse) || !strings.HasPrefix(err.Error(), "reporting: wrong use: store.url is empty in the configuration, so nothing is counted") {
		t.Errorf("%v, %v", s, err)
	}
	cfg.Store.URL = "sqlite:/absent/store.db"
	if s, err := OpenStore(t.Context(), cfg); s != nil || err == nil || errors.Is(err, ErrUse) {
		t.Errorf("%v, %v", s, err)
	}
}

// TestWindows checks which windows are those of a day, and that no more jobs are asked for than wanted.
func TestWindows(t *testing.T) {
	m := &memory{}
	for _, hour := range []int{-1, 0, 1, 23, 24} {
		m.jobs = append(m.jobs, report.Job{ID: int64(hour), Window: window(midnight.Add(time.Duration(hour)*time.Hour), time.Hour)})
	}
	for limit, want := range [][]int64{nil, {23}, {23, 1}, {23, 1, 0}, {23, 1, 0}} {
		found, err := jobs(t.Context(), m, Selection{Window: "2026-11-28"}, noon, limit)
		var got []int64
		for _, j := range found {
			got = append(got, j.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("at most %d: %v, want %v, %v", limit, got, want, err)
		}
	}
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{{24 * time.Hour, "2026-11-28"}, {24*time.Hour - time.Second, "2026-11-28 00:00-23:59"}, {24*time.Hour + time.Second, "2026-11-28 00:00-00:00"}, {time.Hour, "2026-11-28 00:00-01:00"}} {
		if got := windowText(midnight, midnight.Add(tt.d-time.Second)); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.d, got, tt.want)
		}
	}
}

// TestBrokenStore checks that each command says that the store failed, and says nothing else.
func TestBrokenStore(t *testing.T) {
	all := Selection{Window: "yesterday"}
	for _, tt := range []struct {
		name, fails string
		run         func(context.Context, *Office) (any, error)
	}{
		{"list", "Jobs", func(ctx context.Context, o *Office) (any, error) { return ListReports(ctx, o.Store, Selection{}, noon) }},
		{"list of a day", "Jobs", func(ctx context.Context, o *Office) (any, error) { return ListReports(ctx, o.Store, all, noon) }},
		{"list", "Summary", func(ctx context.Context, o *Office) (any, error) { return ListReports(ctx, o.Store, Selection{}, noon) }},
		{"show", "Jobs", func(ctx context.Context, o *Office) (any, error) { return o.Show(ctx, "shop.example", Selection{}) }},
		{"show an ID", "Jobs", func(ctx context.Context, o *Office) (any, error) { return o.Show(ctx, "x@shop.example", Selection{}) }},
		{"show", "Deliveries", func(ctx context.Context, o *Office) (any, error) { return o.Show(ctx, "shop.example", Selection{}) }},
		{"show", "Explain", func(ctx context.Context, o *Office) (any, error) { return o.Show(ctx, "shop.example", Selection{}) }},
		{"dry run", "Jobs", func(ctx context.Context, o *Office) (any, error) { return o.DryRun(ctx, all) }},
		{"dry run", "Explain", func(ctx context.Context, o *Office) (any, error) { return o.DryRun(ctx, all) }},
		{"copies", "Jobs", func(ctx context.Context, o *Office) (any, error) { return o.Copies(ctx, all, "me@isp.example") }},
		{"send", "Jobs", func(ctx context.Context, o *Office) (any, error) { return o.Send(ctx, all, true) }},
		{"xml", "Jobs", func(ctx context.Context, o *Office) (any, error) {
			return nil, o.WriteXML(ctx, panics{}, "shop.example", Selection{})
		}},
		{"mail", "Jobs", func(ctx context.Context, o *Office) (any, error) {
			return nil, o.WriteMail(ctx, panics{}, "shop.example", Selection{}, "")
		}},
		{"mail", "Deliveries", func(ctx context.Context, o *Office) (any, error) {
			return nil, o.WriteMail(ctx, panics{}, "shop.example", Selection{}, "")
		}},
		{"mail", "Explain", func(ctx context.Context, o *Office) (any, error) {
			return nil, o.WriteMail(ctx, panics{}, "shop.example", Selection{}, "")
		}},
		{"suppressions", "Suppressions", func(ctx context.Context, o *Office) (any, error) { return ListSuppressions(ctx, o.Store, noon) }},
		{"suppress", "Suppression", func(ctx context.Context, o *Office) (any, error) {
			return nil, Suppress(ctx, o.Store, "rua@old.example", time.Hour, "", noon)
		}},
		{"suppress", "Suppress", func(ctx context.Context, o *Office) (any, error) {
			return nil, Suppress(ctx, o.Store, "rua@old.example", time.Hour, "", noon)
		}},
		{"unsuppress", "Unsuppress", func(ctx context.Context, o *Office) (any, error) {
			return nil, Unsuppress(ctx, o.Store, "rua@old.example")
		}},
	} {
		o, s := newOffice()
		m := o.Store.(*memory)
		m.fails = tt.fails
		if tt.fails == "Explain" {
			s.err = errBroken
		}
		if got, err := tt.run(t.Context(), o); !errors.Is(err, errBroken) || got != nil && !reflect.ValueOf(got).IsNil() || len(s.copied) > 0 {
			t.Errorf("%s, if %s fails: %+v, %v", tt.name, tt.fails, got, err)
		}
		if tt.fails == "Suppression" && m.suppressions["rua@old.example"].By != report.ByBounce {
			t.Errorf("%s, if %s fails: changed", tt.name, tt.fails)
		}
	}
}

// panics must not be written to.
type panics struct{}

func (panics) Write([]byte) (int, error) { panic("written") }

func TestShow(t *testing.T) {
	o, s := newOffice()
	show := func(what string, sel Selection) string {
		t.Helper()
		shown, err := o.Show(t.Context(), what, sel)
		if err != nil {
			t.Fatal(err)
		}
		return text(t, shown)
	}
	has(t, show("shop.example", Selection{}), "shop.example, 2026-11-29 06:00-12:00 UTC: 2 rows of 3 messages", "open, can be sent at 2026-11-29 13:00 UTC",
		"p=reject sp=reject np=reject adkim=relaxed aspf=relaxed t=y, found by treewalk", "If the report were due now, it would go to rua@shop.example.",
		"ok     not_established  established: it passed DMARC on 3 days, the first 2026-11-20", "unusable         http://x", "not a mailto URI", "Record now:", "\nRules, in the order in which they are checked:\n")
	m := o.Store.(*memory)
	m.deliveries = append(m.deliveries, report.Delivery{Job: 2, Address: "a@shop.example", Word: report.Waiting, NextTry: noon},
		report.Delivery{Job: 2, Address: "b@shop.example", Word: report.Waiting}, report.Delivery{Job: 2, Address: "c@shop.example", Word: report.Sent, NextTry: noon})
	has(t, show("shop.example", Selection{Window: "2026-11-28"}), "4 rows of 5 messages", "a@shop.example, next try at 2026-11-29 12:00 UTC\n", "b@shop.example\n", "c@shop.example\n")
	same(t, show("20261128.k7q2.bank.example@dmarc.isp.example", Selection{}), `
bank.example, 2026-11-28 UTC: 10 rows of 100 messages
  report id  20261128.k7q2.bank.example@dmarc.isp.example
  state      done
  policy     p=reject sp=reject np=reject adkim=relaxed aspf=relaxed t=y, found by treewalk
  messages   10 are about reports, and no reason to send one
  messages   1 had a mark of a spam filter
  messages   2 belong to an earlier window
  messages   4 more are not in the rows

The report was sent: to 1 destination.

Mail:
  sent, came back rua@bank.example at 2026-11-29 03:00 UTC
             "250 2.0.0 \x1b[2J\u202eevil"
`)
	m.jobs[2].Policy.Testing = false
	m.deliveries[1].Detail = "no MX"
	s.decision.Rules = append(s.decision.Rules, destination.Rule{Word: report.WithheldLoop, State: destination.RuleApplies, Evidence: "it loops"},
		destination.Rule{Word: report.WithheldSpam, State: destination.RuleLater, Evidence: "timeout"}, destination.Rule{Word: report.WithheldUnusable, State: destination.RuleSkipped, Evidence: "not checked"})
	same(t, show("shop.example", Selection{Window: "2026-11-28"}), `
shop.example, 2026-11-28 UTC: 4 rows of 5 messages
  state      due, can be sent at 2026-11-29 02:00 UTC
  policy     p=reject sp=reject np=reject adkim=relaxed aspf=relaxed, found by treewalk

If the report were due now, it would go to rua@shop.example.

Rules, in the order in which they are checked:
  ok     off              sending is on
  ok     not_established  established: it passed DMARC on 3 days, the first 2026-11-20
  STOPS  loop             it loops
  later  spam             timeout
  -      unusable         not checked

Record now: "v=DMARC1; p=reject; rua=mailto:rua@shop.example\x1b[2J\u202eevil"
  ok               mailto:rua@shop.example
  unusable         http://x
                   not a mailto URI

Mail:
  waiting    a@shop.example, next try at 2026-11-29 12:00 UTC
             no MX
  waiting    b@shop.example
  sent       c@shop.example
`)
	shown, err := o.Show(t.Context(), "shop.example", Selection{Window: "2026-11-28"})
	if err != nil {
		t.Fatal(err)
	}
	next := noon
	if got, want := shown.Reports[0], (ShownReport{
		Report: newReport(m.jobs[2]), Policy: Policy{P: "reject", SP: "reject", NP: "reject", ADKIM: "relaxed", ASPF: "relaxed", Method: "treewalk"},
		Verdict: "If the report were due now, it would go to rua@shop.example.", Record: s.decision.Record.Raw,
		Rules: []Rule{{"off", "passed", "sending is on"}, {"not_established", "passed", "established: it passed DMARC on 3 days, the first 2026-11-20"},
			{"loop", "applies", "it loops"}, {"spam", "later", "timeout"}, {"unusable", "skipped", "not checked"}},
		Destinations: []Destination{{URI: "mailto:rua@shop.example", Address: "rua@shop.example"}, {URI: "http://x", Word: "unusable", Detail: "not a mailto URI"}},
		Deliveries:   []Delivery{{Address: "a@shop.example", Word: "waiting", Detail: "no MX", NextTry: &next}, {Address: "b@shop.example", Word: "waiting"}, {Address: "c@shop.example", Word: "sent"}},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	s.decision.Rules = s.decision.Rules[:2]
	o.Sending = false
	has(t, show("shop.example", Selection{}), "Nothing is sent, because report.aggregate.send is false. If it were true, it would go to rua@shop.example.",
		"STOPS  off              report.aggregate.send is false")
	s.decision.Word, s.decision.Reason = report.WithheldNotEstablished, "the first pass was on 2026-11-27"
	has(t, show("shop.example", Selection{}), "If it were true, it would be withheld (not_established): the first pass was on 2026-11-27.")
	o.Sending, s.decision.Word, s.decision.Reason = true, report.Waiting, "timeout"
	has(t, show("shop.example", Selection{}), "If the report were due now, it would be decided later, because of a temporary failure: timeout.\n")
	s.decision.Word, s.decision.Destinations = "", append(s.decision.Destinations, destination.Destination{URI: "mailto:b@shop.example", Address: "b@shop.example"})
	has(t, show("shop.example", Selection{}), "it would go to rua@shop.example, b@shop.example.\n")
	for what, want := range map[string]string{
		"none.example":        "there is no report about none.example; either no mail was counted, or its record has no usable rua, or the report is done for longer than report.keep",
		"x@dmarc.isp.example": "there is no report with the id x@dmarc.isp.example; reports are kept for report.keep after they are done",
		"a..b":                `reporting: wrong use: "a..b" is not a domain`,
	} {
		if shown, err := o.Show(t.Context(), what, Selection{}); shown != nil || err == nil || err.Error() != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, tt := range []struct {
		outcome      report.Word
		reason, want string
	}{
		{report.WithheldLoop, "it loops.", "The report was withheld (loop): it loops."}, {report.Failed, "", "The report could not be sent."},
		{report.Refused, "550 no", "The report was refused: 550 no."}, {report.Sent, "", "The report was sent."},
	} {
		m.jobs[3].Outcome, m.jobs[3].Reason = tt.outcome, tt.reason
		if got := show("shop.example", Selection{Window: "2026-11-27"}); !strings.HasSuffix(got, "\n\n"+tt.want+"\n") {
			t.Errorf("%s: %q", tt.outcome, got)
		}
	}
	m.jobs = append(m.jobs[3:], m.jobs[3])
	if got := show("shop.example", Selection{}); strings.HasPrefix(got, "\n") || strings.Count(got, "\n\nshop.example, ") != 1 {
		t.Errorf("two reports: %q", got)
	}
}

func TestWrite(t *testing.T) {
	o, s := newOffice()
	var b strings.Builder
	if err := o.WriteXML(t.Context(), &b, "bank.example", Selection{}); err != nil || b.String() != "<feedback>1</feedback>\n" {
		t.Errorf("%q %v", &b, err)
	}
	for _, tt := range []struct{ what, want string }{
		{"bank.example", "To: rua@bank.example (1)\n"}, {"shop.example", "To: rua@shop.example (5)\n"},
	} {
		b.Reset()
		if err := o.WriteMail(t.Context(), &b, tt.what, Selection{}, "us@isp.example"); err != nil || b.String() != tt.want {
			t.Errorf("%q %v, want %q", &b, err, tt.want)
		}
	}
	for _, none := range [][]destination.Destination{nil, {{URI: "http://x", Word: report.WithheldUnusable}}} {
		s.decision.Destinations = none
		b.Reset()
		if err := o.WriteMail(t.Context(), &b, "shop.example", Selection{}, "us@isp.example"); err != nil || b.String() != "To: us@isp.example (5)\n" {
			t.Errorf("%q %v", &b, err)
		}
	}
	b.Reset()
	if err := errors.Join(o.WriteXML(t.Context(), &b, "none.example", Selection{}), o.WriteMail(t.Context(), &b, "none.example", Selection{}, "us@isp.example")); err == nil || b.Len() > 0 {
		t.Errorf("of no report: %q %v", &b, err)
	}
	s.writeErr = errBroken
	for _, err := range []error{o.WriteXML(t.Context(), io.Discard, "bank.example", Selection{}), o.WriteMail(t.Context(), io.Discard, "bank.example", Selection{}, "us@isp.example")} {
		if !errors.Is(err, errBroken) {
			t.Errorf("cut off: %v", err)
		}
	}
	m := o.Store.(*memory)
	m.jobs = append(m.jobs, m.jobs[0])
	if err := o.WriteXML(t.Context(), io.Discard, "shop.example", Selection{}); !errors.Is(err, ErrSeveral) {
		t.Errorf("of two reports: %v", err)
	}
}

func TestSuppress(t *testing.T) {
	m := newMemory()
	if err := Suppress(t.Context(), m, "RUA@Old.example", time.Hour, "asked by phone", noon); err != nil {
		t.Fatal(err)
	}
	if s := m.suppressions["rua@old.example"]; s != (report.Suppression{Target: "rua@old.example", Since: noon, Until: noon.Add(time.Hour), Strikes: 1, Window: 7,
		Reason: "asked by phone", By: report.ByOperator}) {
		t.Errorf("%+v", s)
	}
	l, err := ListSuppressions(t.Context(), m, noon)
	if err != nil {
		t.Fatal(err)
	}
	same(t, text(t, l), `
DESTINATION      SUPPRESSED UNTIL      STRIKES  BY        REASON
one@b.example    no                    1        bounce    "\x1b[2J\u202eevil"
rua@old.example  2026-11-29 13:00 UTC  1        operator  asked by phone
`)
	until := noon.Add(time.Hour)
	if want := (Suppression{Target: "rua@old.example", Since: noon, Until: &until, Active: true, Strikes: 1, Reason: "asked by phone", By: "operator"}); !reflect.DeepEqual(l.Suppressions[1], want) {
		t.Errorf("%+v, want %+v", l.Suppressions[1], want)
	}
	if l, err = ListSuppressions(t.Context(), m, noon.Add(2*time.Hour)); err != nil || l.Suppressions[1].Active {
		t.Errorf("%+v %v", l, err)
	}
	has(t, text(t, l), "over since 2026-11-29 13:00 UTC")
	targets := []string{"", "old.example", "@", "a@b@c.example", "a@-"}
	for _, r := range " \x01\x7fü\"(),:;<>[\\]" {
		targets = append(targets, "a"+string(r)+"b@old.example")
	}
	for _, target := range targets {
		want := fmt.Sprintf(`reporting: wrong use: %q is neither an address such as rua@shop.example nor "@" and a domain such as @shop.example`, target)
		if err := Suppress(t.Context(), m, target, time.Hour, "", noon); !errors.Is(err, ErrUse) || err.Error() != want {
			t.Errorf("%q: %v", target, err)
		}
		if err := Unsuppress(t.Context(), m, target); !errors.Is(err, ErrUse) || err.Error() != want {
			t.Errorf("%q: %v", target, err)
		}
	}
	for _, tt := range []struct {
		d      time.Duration
		reason string
		want   string
	}{
		{0, "", "--for 0s is not between a second and ten years; for ever, write the destination into report.aggregate.never"},
		{-1, "", "--for -1ns is not between a second and ten years; for ever, write the destination into report.aggregate.never"},
		{longestSuppression + 1, "", "--for 87840h0m0.000000001s is not between a second and ten years; for ever, write the destination into report.aggregate.never"},
		{longestSuppression, "", ""}, {1, "", ""},
		{1, strings.Repeat("x", 200), ""}, {1, "~ ü", ""},
		{1, strings.Repeat("x", 201), "--reason has more than 200 octets or a control character"},
		{1, "a\nb", "--reason has more than 200 octets or a control character"},
		{1, "a\x7f", "--reason has more than 200 octets or a control character"},
		{1, "a\x1f", "--reason has more than 200 octets or a control character"},
	} {
		delete(m.suppressions, "!~a@b.example")
		err := Suppress(t.Context(), m, "!~a@b.example", tt.d, tt.reason, noon)
		if tt.want == "" && (err != nil || m.suppressions["!~a@b.example"] != (report.Suppression{Target: "!~a@b.example", Since: noon, Until: noon.Add(tt.d), Reason: tt.reason, By: report.ByOperator})) ||
			tt.want != "" && (!errors.Is(err, ErrUse) || err.Error() != "reporting: wrong use: "+tt.want || m.suppressions["!~a@b.example"].Target != "") {
			t.Errorf("for %v because %q: %v", tt.d, tt.reason, err)
		}
	}
	if err := Suppress(t.Context(), m, "@B.example", time.Hour, "", noon); err != nil || m.suppressions["@b.example"].Target == "" {
		t.Errorf("a domain: %v", err)
	}
	if err := Unsuppress(t.Context(), m, "@b.EXAMPLE"); err != nil || m.suppressions["@b.example"].Target != "" {
		t.Errorf("not lifted: %v", err)
	}
	if err := Unsuppress(t.Context(), m, "@b.example"); err == nil || err.Error() != `@b.example is not suppressed; "sekimori report suppress list" shows what is` {
		t.Errorf("lifted twice: %v", err)
	}
	has(t, text(t, &Suppressions{Suppressions: []Suppression{}}), "No destination is suppressed.")
}

// TestFullDisk checks that each text says that it could not be written.
func TestFullDisk(t *testing.T) {
	for _, v := range []interface{ Text(io.Writer) error }{
		&List{}, &List{Reports: []Report{{}}}, &Shown{Reports: []ShownReport{{}, {}}}, &Suppressions{}, &Suppressions{Suppressions: []Suppression{{}}}, &Check{},
		&Sent{Reports: []SentReport{{Reply: "250 ok"}}},
	} {
		if err := v.Text(full{}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%T: %v", v, err)
		}
	}
	w := &errWrite{out: full{}}
	w.printf("a")
	w.out = panics{}
	w.printf("b")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// TestReply checks how a reply of a mail server is read.
func TestReply(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
		err  string
	}{
		{"250 mx\r\nmore", []string{"mx"}, ""}, {"250-mx\n250-SIZE 1\n250 DSN\n", []string{"mx", "SIZE 1", "DSN"}, ""},
		{"250\r\n", []string{""}, ""}, {"250-\r\n250\r\n", []string{"", ""}, ""}, {"250-\r\n250 \r\n", []string{"", ""}, ""}, {"250x\r\n", []string{""}, ""},
		{"25\r\n", nil, "it said 25"}, {"\r\n", nil, "it said "}, {"220 mx\r\n", nil, "it said 220 mx"}, {"250-mx\r\n550 no\r\n", nil, "it said 550 no"},
		{"250-mx\r\n", nil, "it ended in the middle of a reply\nEOF"}, {"250 mx", nil, "it ended in the middle of a reply\nEOF"},
	} {
		got, err := reply(bufio.NewReader(strings.NewReader(tt.text)), "250")
		if !slices.Equal(got, tt.want) || (tt.err == "") != (err == nil) || err != nil && err.Error() != tt.err {
			t.Errorf("%q: %q, %v", tt.text, got, err)
		}
	}
}

// TestAddresses checks from which addresses mail is expected.
func TestAddresses(t *testing.T) {
	const records = "mx.example A 192.0.2.25\nmx.example AAAA 2001:db8::25\n! half.example AAAA timeout\nhalf.example A 192.0.2.25\n! none.example A timeout\n"
	z, err := zone.Parse(records)
	if err != nil {
		t.Fatal(err)
	}
	network := func(ip string) net.Addr { return &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)} }
	here := []net.Addr{network("127.0.0.1"), network("::1"), network("10.1.2.3"), network("fd00::1"), network("fe80::1"), network("224.0.0.1"), &net.UDPAddr{IP: net.ParseIP("192.0.2.9")},
		network("192.0.2.1"), network("2001:db8::1"), network("192.0.2.1")}
	for _, tt := range []struct {
		server string
		err    error // of the list of interfaces
		want   string
	}{
		{"localhost:25", nil, "[192.0.2.1 2001:db8::1]"}, {"127.0.0.7:25", nil, "[192.0.2.1 2001:db8::1]"}, {"[::1]:25", nil, "[192.0.2.1 2001:db8::1]"},
		{"localhost:25", errors.New("no"), "[]"}, {"198.51.100.1:25", nil, "[198.51.100.1]"}, {"[2001:db8::2]:25", nil, "[2001:db8::2]"},
		{"mx.example:25", nil, "[192.0.2.25 2001:db8::25]"}, {"half.example:25", nil, "[]"}, {"none.example:25", nil, "[]"}, {"mx:25", nil, "[]"}, {"mx.example", nil, "[]"},
	} {
		o := CheckOptions{Server: tt.server, Resolver: z, Interfaces: func() ([]net.Addr, error) { return here, tt.err }}
		if got := fmt.Sprint(o.addresses(t.Context())); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.server, got, tt.want)
		}
	}
}

// TestPassed checks when reports can be sent, and the text about it.
func TestPassed(t *testing.T) {
	for _, tt := range []struct {
		c      Check
		passed bool
		want   string
	}{
		{Check{Aligned: new(true), Findings: []Finding{{"spf", "good", "SPF passes.", ""}, {"dkim", "fault", "No key.", "publish it"}, {"server", "warning", "It is slow.", ""}}}, true, `
ok       spf      SPF passes.
FAULT    dkim     No key.
                  -> publish it
warning  server   It is slow.

Mail from isp.example would pass DMARC.
`},
		{Check{Aligned: new(true), Findings: []Finding{{"server", "fault", "It is down.", "start it"}}}, false, `
FAULT    server   It is down.
                  -> start it

Mail from isp.example would pass DMARC.
`},
		{Check{Aligned: new(false)}, false, "\n\nMail from isp.example would NOT pass DMARC, and many receivers would refuse it.\n"},
		{Check{}, false, "\n\nMail from isp.example may or may not pass DMARC: a DNS server did not answer.\n"},
	} {
		tt.c.Domain = "isp.example"
		if tt.c.Passed() != tt.passed {
			t.Errorf("%+v: passed is %t", tt.c, !tt.passed)
		}
		var b strings.Builder
		if err := tt.c.Text(&b); err != nil {
			t.Error(err)
		}
		same(t, b.String(), tt.want)
	}
}

// TestServer checks what is said about a mail server.
func TestServer(t *testing.T) {
	for _, tt := range []struct {
		offers string
		tls    string
		login  bool
		want   identity.Finding
	}{
		{"250-mx\r\n250-PIPELINING\r\n250 DSN x\r\n", "opportunistic", false, identity.Finding{Grade: identity.Good, Text: "the mail server %s answers and offers DSN, PIPELINING"}},
		{"250-mx\r\n250 STARTTLS\r\n", "required", true, identity.Finding{Grade: identity.Good, Text: "the mail server %s answers and offers STARTTLS"}},
		{"250-mx\r\n250 AUTH PLAIN\r\n", "none", true, identity.Finding{Grade: identity.Good, Text: "the mail server %s answers and offers AUTH"}},
		{"250 mx\r\n", "none", false, identity.Finding{Grade: identity.Good, Text: "the mail server %s answers and offers "}},
		{"250-mx\r\n250 DSN\r\n", "none", true, identity.Finding{Grade: identity.Fault, Text: "the mail server %s offers no login, and report.mail.user is set",
			Do: "correct report.mail.server: the port for submission is 587"}},
		{"250-mx\r\n250 DSN\r\n", "required", false, identity.Finding{Grade: identity.Fault, Text: "the mail server %s does not offer STARTTLS, which report.mail.tls asks for",
			Do: "switch on STARTTLS there, or choose another report.mail.tls"}},
		{"500 no\r\n", "none", false, identity.Finding{Grade: identity.Fault, Text: "the mail server %s does not answer: it said 500 no",
			Do: "start the mail server, or correct report.mail.server"}},
	} {
		o := CheckOptions{Identity: identity.Options{Domain: "dmarc.isp.example"}, Server: mta(t, "220 mx\r\n", tt.offers), TLS: tt.tls, Login: tt.login}
		tt.want.Subject, tt.want.Text = identity.Server, strings.Replace(tt.want.Text, "%s", o.Server, 1)
		if got := o.server(t.Context()); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.offers, got, tt.want)
		}
	}
}

// mta answers one connection with a greeting and an answer to EHLO.
func mta(t *testing.T, greeting, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, greeting)
		if answer == "" {
			return
		}
		if line, _ := bufio.NewReader(conn).ReadString('\n'); strings.HasPrefix(line, "EHLO dmarc.isp.example") {
			fmt.Fprint(conn, answer)
		}
	}()
	return l.Addr().String()
}

func TestCheckMail(t *testing.T) {
	const records = "dmarc.isp.example TXT \"v=spf1 ip4:192.0.2.25 -all\"\n_dmarc.dmarc.isp.example TXT \"v=DMARC1; p=reject\"\ndmarc.isp.example MX 10 mx.isp.example.\n" +
		"smart.example A 192.0.2.25\n"
	const greeting, plainly = "220 mx ESMTP\r\n", "250-mx\r\n250-PIPELINING\r\n250 DSN\r\n"
	host := func(ips ...string) func() ([]net.Addr, error) {
		return func() (out []net.Addr, _ error) {
			for _, ip := range ips {
				out = append(out, &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)})
			}
			return out, nil
		}
	}
	for _, tt := range []struct {
		name, zone, server string
		change             func(*CheckOptions)
		passed             bool
		want               []string
	}{
		{"all is well", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.Interfaces = host("127.0.0.1", "10.1.2.3", "192.0.2.25") }, true,
			[]string{"ok       server   the mail server ", "offers DSN, PIPELINING", "SPF passes for 192.0.2.25", "Mail from dmarc.isp.example would pass DMARC.", "!10.1.2.3"}},
		{"addresses by hand", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.Identity.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.26")} }, false,
			[]string{"FAULT    spf      SPF does not pass for 192.0.2.26", "-> add ip4:192.0.2.26", "would NOT pass DMARC"}},
		{"no address of others", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.Interfaces = host("10.1.2.3") }, false, []string{"is not known"}},
		{"no server", records, "127.0.0.1:1", func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false,
			[]string{"FAULT    server   the mail server 127.0.0.1:1 does not answer", "would pass DMARC"}},
		{"a server that refuses", records, mta(t, "554 go \x1b[2J away\r\n", ""), func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false, []string{"it said"}},
		{"a server that hangs up", records, mta(t, "220-mx\r\n", ""), func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false, []string{"in the middle of a reply"}},
		{"a server that refuses EHLO", records, mta(t, greeting, "502 no\r\n"), func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false, []string{"it said 502 no"}},
		{"no STARTTLS", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.TLS, o.Interfaces = "required", host("192.0.2.25") }, false, []string{"does not offer STARTTLS"}},
		{"STARTTLS", records, mta(t, greeting, "250-mx\r\n250 starttls\r\n"), func(o *CheckOptions) { o.TLS, o.Login, o.Interfaces = "required", true, host("192.0.2.25") }, true,
			[]string{"offers STARTTLS"}},
		{"no login", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.Login, o.Interfaces = true, host("192.0.2.25") }, false, []string{"offers no login"}},
		{"no DNS", "! dmarc.isp.example * timeout\n! _dmarc.dmarc.isp.example * timeout\n", mta(t, greeting, plainly), func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false,
			[]string{"may or may not pass DMARC"}},
		{"a smarthost", records, "smart.example:1", func(o *CheckOptions) { o.Server = "smart.example:x" }, false, []string{"SPF passes for 192.0.2.25"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z, err := zone.Parse(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			o := CheckOptions{Identity: identity.Options{Domain: "dmarc.isp.example", Bounce: "dmarc-bounce"}, Server: tt.server, TLS: "opportunistic", Resolver: z, Interfaces: host()}
			tt.change(&o)
			c := CheckMail(t.Context(), o)
			if c.Passed() != tt.passed {
				t.Errorf("passed is %t", c.Passed())
			}
			has(t, text(t, c), tt.want...)
		})
	}
}
