package gather

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/judge"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/readiness"
	"sekimori/internal/report"
	"sekimori/internal/spf"
	"sekimori/internal/store/sqlite"
)

var now = time.Date(2026, 11, 30, 15, 0, 0, 0, time.UTC)

// failing returns a message that failed.
func failing(domain dns.Name, n int, at time.Time) *msgauth.Evaluation {
	e := &msgauth.Evaluation{Time: at, From: author.From{AuthorDomain: domain}, Envelope: msgauth.Envelope{QueueID: fmt.Sprint("Q", n)},
		MailFrom: spf.Check{Result: spf.Fail, Domain: domain, Record: "v=spf1 -all"},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, AuthorDomain: domain, OrganizationalDomain: domain, PolicyDomain: domain, Record: &dmarc.Record{},
			PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject}}
	e.Session.Client = netip.AddrFrom4([4]byte{90, byte(n >> 8), byte(n), 9})
	return e
}

// filled returns a store with so many failing messages of many.example from the beginning of today in this step, and
// one of few.example on the first of 14 days. The history has all of them.
func filled(t *testing.T, messages int, step time.Duration) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	begin := now.Truncate(24 * time.Hour)
	for id, day := range map[string][]*msgauth.Evaluation{"old": {failing("few.example", 1<<15, begin.AddDate(0, 0, -13))}, "today": func() (all []*msgauth.Evaluation) {
		for n := range messages {
			all = append(all, failing("many.example", n, begin.Add(time.Duration(n)*step)))
		}
		slices.SortFunc(all, func(a, b *msgauth.Evaluation) int { return a.Time.Compare(b.Time) })
		return all
	}()} {
		table, kept := ledger.NewTable(), []archive.Made{}
		for _, e := range day {
			v := policy.Decide(e, policy.Config{Mode: policy.Monitor})
			x, ok := ledger.Observe(e, &v, ledger.Same, func(n dns.Name) dns.Name { return n })
			if !ok {
				t.Fatal("not counted")
			}
			table.Add(&x, ledger.DayOf(e.Time))
			kept = append(kept, archive.Made{Decision: &judge.Decision{Session: e.Session, Envelope: e.Envelope, Evaluation: e, Verdict: v}, At: e.Time})
		}
		if err := db.Add(t.Context(), now, report.Batch{ID: id, Current: report.WindowAt(now, 24*time.Hour), Ledger: table.Take("", 0)}); err != nil {
			t.Fatal(err)
		}
		b, err := archive.Pack("h"+id, "mx.example", kept)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.AddHistory(t.Context(), now, b); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func options(t *testing.T, db *sqlite.DB) Options {
	t.Helper()
	r, err := archive.NewReader(func() history.Store { return db })
	if err != nil {
		t.Fatal(err)
	}
	return Options{Ledger: db.Ledger(), History: r, Policy: policy.Config{Mode: policy.Monitor}, Days: 14, Now: now}
}

// TestReport: if the history has few messages, all are looked at, wherever in the days they are.
func TestReport(t *testing.T) {
	const messages = 700
	o := options(t, filled(t, messages, time.Second))
	r, err := Report(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages != messages+1 || r.Reject != messages+1 || r.Samples != messages+1 || r.Seen != 2 || len(r.Domains) != 2 {
		t.Errorf("%+v", r)
	}
	if s := r.Domains[0].Streams; len(s) != 1 || s[0].Reason.Word != "spf_scattered" || s[0].Rejected != messages {
		t.Errorf("%+v", s)
	}
	o.History = nil
	if r, err = Report(t.Context(), o); err != nil || r.Samples != 0 || len(r.Notes) != 1 || r.Notes[0].Word != "history_off" || r.Domains[0].Streams[0].Example == "" {
		t.Errorf("without a history: %+v, %v", r, err)
	}
	o.Days = 3
	if r, err = Report(t.Context(), o); err != nil || r.Messages != messages {
		t.Errorf("three days: %+v, %v", r, err)
	}
}

// TestBounds: of more messages than are looked at, the sample has those of all days, and a domain with few
// messages in it is searched for.
func TestBounds(t *testing.T) {
	const most, messages = 1280, 1500
	r, _, err := judged(t.Context(), options(t, filled(t, messages, 10*time.Second)), most)
	if err != nil {
		t.Fatal(err)
	}
	if r.Samples != most && r.Samples != most+1 || r.Reject != messages+1 {
		t.Errorf("%d samples of %d", r.Samples, messages)
	}
	for _, d := range r.Domains {
		if d.Streams[0].Samples == 0 || d.Streams[0].Messages != d.Reject {
			t.Errorf("%+v", d)
		}
	}
	if len(r.Notes) != 1 || r.Notes[0].Word != "sampled" {
		t.Errorf("%+v", r.Notes)
	}
}

// TestGoesOn: a search ends when what it found is large. The next one goes on there, and reads no more than the rest.
func TestGoesOn(t *testing.T) {
	const messages, most = 1000, 950 // of five KB each: a search finds four MiB
	db := filled(t, 0, 0)
	var kept []archive.Made
	for n := range messages {
		e := failing("many.example", n, now.Add(time.Duration(n-messages)*time.Second))
		for i := range 5 {
			e.MailFrom.Trace = append(e.MailFrom.Trace, spf.Step{Detail: strings.Repeat(fmt.Sprint(i), 1000)})
		}
		kept = append(kept, archive.Made{Decision: &judge.Decision{Evaluation: e, Verdict: policy.Verdict{ID: fmt.Sprint("ID", n)}}, At: e.Time})
	}
	b, err := archive.Pack("large", "mx.example", kept)
	if err == nil {
		err = db.AddHistory(t.Context(), now, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, db)
	j := readiness.New(readiness.Setup{Days: 14, Today: ledger.DayOf(now)})
	if n, more, err := find(t.Context(), j, o.History, &history.Query{Limit: most}); n != most || !more || err != nil || j.Sampled("many.example") != most {
		t.Errorf("%d records with %d samples, more %t, %v", n, j.Sampled("many.example"), more, err)
	}
}

// TestShares: each part of the time has its share of what is read, and a domain of which there is less than enough is
// searched for.
func TestShares(t *testing.T) {
	db := filled(t, 40, -6*time.Hour) // ten days
	for _, tt := range []struct {
		most, many, few, searches int
	}{{41, 40, 1, 0}, {fewSamples + 1, fewSamples, 1, 0}, {fewSamples, 2*fewSamples - 1, 1, 1}, {0, fewSamples, 1, 2}} {
		h := &searched{Store: db}
		o := options(t, db)
		var err error
		if o.History, err = archive.NewReader(func() history.Store { return h }); err != nil {
			t.Fatal(err)
		}
		today := ledger.DayOf(now)
		days := ledger.Filter{From: today - 13, To: today}
		j := readiness.New(readiness.Setup{Policy: o.Policy, Days: 14, Today: today})
		if err := errors.Join(count(t.Context(), j, o.Ledger, days), sample(t.Context(), j, o, days, tt.most)); err != nil || j.Sampled("many.example")+j.Sampled("few.example") != tt.most {
			t.Errorf("%d samples of %d: %v", j.Sampled("many.example"), tt.most, err)
		}
		h.n = 0
		if err := more(t.Context(), j, o, days); err != nil || j.Sampled("few.example") != tt.few || j.Sampled("many.example") != tt.many || h.n != tt.searches {
			t.Errorf("of %d: %d samples of many.example, %d of few.example, %d searches, %v", tt.most, j.Sampled("many.example"), j.Sampled("few.example"), h.n, err)
		}
	}
}

// searched counts the searches of a history. It fails those for which fail says so.
type searched struct {
	history.Store
	n    int
	fail func(history.Query) bool
}

var errAway = errors.New("away")

func (s *searched) FindHistory(ctx context.Context, q history.Query) ([]history.Hit, error) {
	s.n++
	if s.fail != nil && s.fail(q) {
		return nil, errAway
	}
	return s.Store.FindHistory(ctx, q)
}

// asked is a ledger that notes what it is asked for, and fails one kind of question after the first part of its answer.
type asked struct {
	ledger.Store
	fails string
	notes []string
}

func note[T any](a *asked, what string, f ledger.Filter, all iter.Seq2[T, error]) iter.Seq2[T, error] {
	a.notes = append(a.notes, fmt.Sprint(what, ledger.DayOf(now)-f.From, ledger.DayOf(now)-f.To, f.Domain))
	return func(yield func(T, error) bool) {
		for x, err := range all {
			if !yield(x, err) {
				return
			}
		}
		if a.fails == what {
			var none T
			yield(none, errAway)
		}
	}
}

func (a *asked) Totals(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Total, error] {
	return note(a, "totals", f, a.Store.Totals(ctx, f))
}

func (a *asked) Hits(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Hit, error] {
	return note(a, "hits", f, a.Store.Hits(ctx, f))
}

func (a *asked) Rows(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return note(a, "rows", f, a.Store.Rows(ctx, f))
}

// ask notes a question with one answer.
func (a *asked) ask(what string, args ...any) error {
	a.notes = append(a.notes, what+fmt.Sprint(args...))
	if a.fails == what {
		return errAway
	}
	return nil
}

func (a *asked) Sources(_ context.Context, owner dns.Name, since ledger.Day) ([]ledger.Source, error) {
	return nil, a.ask("sources", ledger.DayOf(now)-since, owner)
}

func (a *asked) Carried(_ context.Context, networks []netip.Prefix, since ledger.Day) (map[netip.Prefix][]dns.Name, error) {
	return map[netip.Prefix][]dns.Name{networks[0]: {"other.example"}}, a.ask("carried", len(networks), ledger.DayOf(now)-since)
}

func (a *asked) Breakages(_ context.Context, since time.Time) ([]ledger.Breakage, error) {
	return []ledger.Breakage{{Domain: "few.example"}}, a.ask("breakages", since.Equal(now))
}

func (a *asked) Dropped(_ context.Context, f ledger.Filter) ([]ledger.Dropped, error) {
	return []ledger.Dropped{{Messages: 3}, {Messages: 4}}, a.ask("dropped", ledger.DayOf(now)-f.From, ledger.DayOf(now)-f.To)
}

// TestAsks: the days for which the ledger is asked, what becomes of the answers, and that any error ends the report.
func TestAsks(t *testing.T) {
	o := options(t, filled(t, 1, time.Second))
	a := &asked{Store: o.Ledger}
	o.Ledger = a
	r, err := Report(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"totals13 0", "hits13 0", "rows29 0few.example", "sources59few.example", "rows29 0many.example", "sources59many.example", "carried2 59", "breakagestrue", "dropped13 0"}
	if !slices.Equal(a.notes, want) {
		t.Errorf("%q, want %q", a.notes, want)
	}
	if len(r.Notes) != 1 || r.Notes[0].Text != "the ledger had no room for the domains of 7 messages (ledger.max_domains)" || len(r.Domains[0].Broken) != 1 || r.Domains[0].Domain != "few.example" {
		t.Errorf("%+v, %+v", r.Notes, r.Domains)
	}
	for _, a.fails = range []string{"totals", "hits", "rows", "sources", "carried", "breakages", "dropped"} {
		if r, err := Report(t.Context(), o); r != nil || !errors.Is(err, errAway) {
			t.Errorf("%s fail: %+v, %v", a.fails, r, err)
		}
	}
}

// TestHistoryFails: a search for one domain that fails ends the report, as one for all does.
func TestHistoryFails(t *testing.T) {
	db := filled(t, 3, time.Second)
	for _, one := range []bool{false, true} {
		h := &searched{Store: db, fail: func(q history.Query) bool { return one == (len(q.Any) > 0) }}
		if one {
			h.Store = empty{db} // so that there is something to search for
		}
		o := options(t, db)
		var err error
		if o.History, err = archive.NewReader(func() history.Store { return h }); err != nil {
			t.Fatal(err)
		}
		if r, err := Report(t.Context(), o); r != nil || !errors.Is(err, errAway) {
			t.Errorf("one domain %t: %+v, %v", one, r, err)
		}
	}
}

// empty finds nothing.
type empty struct{ history.Store }

func (empty) FindHistory(context.Context, history.Query) ([]history.Hit, error) { return nil, nil }

// TestStoreFails: an error of the store is the answer, and not half a report.
func TestStoreFails(t *testing.T) {
	db := filled(t, 3, time.Second)
	o := options(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Report(t.Context(), o); r != nil || err == nil {
		t.Errorf("%+v, %v", r, err)
	} else if errors.Is(err, t.Context().Err()) || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}
