package storetest

import (
	"fmt"
	"iter"
	"net/netip"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/farm"
	"sekimori/internal/history"
	"sekimori/internal/ledger"
	"sekimori/internal/policy"
	"sekimori/internal/report"
)

// Faults makes what is below a store fail.
type Faults interface {
	// Plant makes the n-th step from now on fail. A step is a statement, the answer to it, or a value of that answer.
	// With 0, no step fails.
	Plant(n int)
	// Met reports whether a step has failed since Plant.
	Met() bool
	// Is reports whether an error comes from a step that failed.
	Is(err error) bool
}

// WholeStore is all that a store keeps.
type WholeStore interface {
	LedgerStore
	bimi.Store
	history.Store
	farm.Store
}

// faultCall is a call that is repeated, each time with another step that fails, until none fails.
type faultCall struct {
	name string
	call func() error
	// state is what the call changes, as a whole or not at all. It is nil if the call may stop half-way.
	state func() any
}

// RunFaults lets each step of each call fail. The call must say so. A batch must then not be there in part, and must be
// there once when it was added again.
func RunFaults(t *testing.T, s WholeStore, f Faults) {
	var calls []faultCall
	for _, part := range []func(*testing.T, WholeStore) []faultCall{reportFaults, listFaults, ledgerFaults, historyFaults, expireFaults} {
		calls = append(calls, part(t, s)...)
	}
	for _, c := range calls {
		Fail(t, f, c.name, c.call, c.state)
	}
	same(t, "jobs that are done, at the end", len(jobs(t, s, report.Filter{State: report.StateDone})), 0)
}

// Fail calls f once for each of its steps, which fails, and at last with none. state may be nil.
func Fail(t *testing.T, f Faults, name string, call func() error, state func() any) {
	t.Helper()
	var before any
	if state != nil {
		before = state()
	}
	for n := 1; ; n++ {
		f.Plant(n)
		err := call()
		met := f.Met()
		f.Plant(0)
		switch {
		case !met && err != nil:
			t.Fatalf("%s: %v", name, err)
		case !met && n == 1:
			t.Fatalf("%s has no step that can fail", name)
		case !met:
			return
		case !f.Is(err):
			t.Fatalf("%s: step %d failed, and the error is %v", name, n, err)
		case state != nil && n%4 == 0: // not each time, to be quick
			same(t, fmt.Sprintf("%s, after step %d failed", name, n), state(), before)
		}
	}
}

// errOf returns the error of a call that returns something else too.
func errOf[T any](_ T, err error) error { return err }

// errIn returns the error with which a stream ends.
func errIn[T any](stream iter.Seq2[T, error]) (err error) {
	for _, err = range stream {
	}
	return err
}

// faultBatch has jobs that are too many, rows that are too many, and domains that are too many.
func faultBatch(id string, first int, days ...int) report.Batch {
	var tallies []report.Tally
	for _, day := range days {
		for n, domain := range []string{"shop.example", "a.shop.example", "b.shop.example", "other.example"} {
			p := Policy(domain)
			p.Invalid = id
			tallies = append(tallies, Tally(p, Day(day), Rows(first, first+8-2*n)))
			tallies[len(tallies)-1].Lost = 1
		}
	}
	b := Batch(id, tallies...)
	b.MaxOwned, b.MaxRows = 2, 10
	today := report.Day(Noon().Unix() / 86400)
	b.Seen = []report.Sighting{{Domain: "b.shop.example", Day: today, Kind: report.SeenPass}, {Domain: "shop.example", Day: today, Kind: report.SeenPass},
		{Domain: "shop.example", Day: today, Kind: report.SeenWrote}}
	var all []ledger.Entry
	for n := range 8 {
		bad, good := fmt.Sprintf("d%d.example", n+first), fmt.Sprintf("d%d.example", n)
		x := failing(bad, bad, "192.0.2.1")
		x.Reason, x.Signers = policy.ReasonReject, []ledger.Signer{{Domain: dns.Name(bad), Selector: id, Fail: 1}}
		all = append(all, x, Entry(good, good, "192.0.2.1"))
	}
	b.Ledger = Delta("g", 10, ledgerToday, all...)
	b.Ledger.Dropped = []ledger.Dropped{{Day: ledgerToday, Group: "g", Messages: 3}}
	return b
}

func reportFaults(t *testing.T, s WholeStore) []faultCall {
	ctx := t.Context()
	state := func() any { // in few questions
		sum, err := s.Summary(ctx, Noon())
		ok(t, err)
		for i := range sum.Largest {
			sum.Largest[i].ID = 0
		}
		return fmt.Sprintf("%+v\n%+v\n%+v", sum, gather(t, s.Ledger().Sums(ctx, everything, ledger.ByDomain, 0)), gather(t, s.Ledger().Totals(ctx, everything)))
	}
	adds := func(name string, now time.Time, b report.Batch) faultCall {
		return faultCall{name, func() error { return s.Add(ctx, now, b) }, state}
	}
	six := Batch("six hours", Tally(Policy("six.example"), part(Day(0), 6, 6), Rows(0, 1)))
	six.Current = part(Day(0), 6, 6)
	now := closed(Day(0))
	late := faultBatch("late", 2, 0)
	late.Current = Day(1)
	var j report.Job
	var delivery int64
	sets := func(tries int) func() error {
		return func() (err error) {
			delivery, err = s.SetDelivery(ctx, report.Delivery{Job: j.ID, Address: "a@shop.example", Tries: tries})
			return err
		}
	}
	takes := func(name string, call func() (report.Job, error)) faultCall {
		return faultCall{name: name, call: func() error {
			got, err := call()
			if err == nil {
				j = got
			}
			return err
		}}
	}
	return []faultCall{
		{"secret", func() error { return errOf(s.Secret(ctx)) }, nil},
		adds("a batch", Noon(), faultBatch("a", 0, 0, -1)),
		adds("the same rows and others", Noon(), faultBatch("b", 4, 0, -1)),
		adds("a window of another length", Noon(), six),
		adds("an old window", Noon().Add(report.MaxLate), Batch("old", Tally(Policy("old.example"), Day(-3), Rows(0, 1)))),
		takes("claim", func() (report.Job, error) { return s.Claim(ctx, now, "x", time.Hour) }),
		adds("late rows", now, late),
		{"renew", func() error { return s.Renew(ctx, j, now.Add(2*time.Hour)) }, nil},
		{"report id", func() error { return errOf(s.SetReportID(ctx, j, "id")) }, nil},
		{"new delivery", sets(0), nil},
		{"old delivery", func() error {
			return errOf(s.SetDelivery(ctx, report.Delivery{Job: j.ID, Address: "a@shop.example", Tries: 1}))
		}, nil},
		{"delivery", func() error { return errOf(s.Delivery(ctx, delivery)) }, nil},
		{"deliveries", func() error { return errOf(s.Deliveries(ctx, j.ID)) }, nil},
		{"put off", func() error { return s.Finish(ctx, j, report.Outcome{Again: now}) }, nil},
		takes("claim one", func() (report.Job, error) { return s.ClaimJob(ctx, now, j.ID, "x", time.Hour) }),
		{"finish", func() error { return s.Finish(ctx, j, report.Outcome{Word: report.Sent}) }, nil},
		takes("claim one again", func() (report.Job, error) { return s.ClaimJob(ctx, now, j.ID, "x", time.Hour) }),
		{"finish again", func() error { return s.Finish(ctx, j, report.Outcome{Word: report.Sent}) }, nil},
		{"jobs", func() error { return errOf(s.Jobs(ctx, report.Filter{})) }, nil},
		{"rows", func() error { return errIn(s.Rows(ctx, j.ID)) }, nil},
		{"summary", func() error { return errOf(s.Summary(ctx, now)) }, nil},
	}
}

func listFaults(t *testing.T, s WholeStore) []faultCall {
	ctx := t.Context()
	x := report.Suppression{Target: "a@shop.example", Since: Noon(), By: report.ByOperator}
	beat := farm.Beat{Instance: "a", Name: "mx1.example"}
	leased := func() error {
		got, err := s.Lease(ctx, Noon(), "x", "a", time.Hour)
		if err != nil && got {
			t.Error("a lease was got with an error")
		}
		return err
	}
	allowed := func() error {
		got, err := s.Allow(ctx, 1, "a", 1)
		if got != (err == nil) { // if the failed call had counted, the last one would not be allowed
			t.Errorf("allowed %v with the error %v", got, err)
		}
		return err
	}
	return []faultCall{
		{"suppress", func() error { return s.Suppress(ctx, x) }, nil},
		{"suppression", func() error { return errOf(s.Suppression(ctx, x.Target)) }, nil},
		{"suppressions", func() error { return errOf(s.Suppressions(ctx)) }, nil},
		{"unsuppress", func() error { return s.Unsuppress(ctx, x.Target) }, nil},
		{"allow", allowed, nil},
		{"seen", func() error { return errOf(s.Seen(ctx, "shop.example", 20785)) }, nil},
		{"put a mark", func() error { return s.PutMark(ctx, bimi.MarkKey{1}, Noon(), []byte("x")) }, nil},
		{"mark", func() error { return errOf(s.Mark(ctx, bimi.MarkKey{1}, Noon().Add(-time.Hour))) }, nil},
		{"beat", func() error { return s.Beat(ctx, time.Now(), beat) }, nil},
		{"hosts", func() error { return errOf(s.Hosts(ctx, time.Now())) }, nil},
		{"leave", func() error { return s.Leave(ctx, "a") }, nil},
		{"lease", leased, nil},
	}
}

func ledgerFaults(t *testing.T, s WholeStore) []faultCall {
	ctx, l := t.Context(), s.Ledger()
	network := netip.MustParsePrefix("192.0.2.0/24")
	b := ledger.Breakage{Domain: "b.example", Kind: ledger.SignatureFails, First: Noon(), Last: Noon()}
	return []faultCall{
		{"set a breakage", func() error { return l.SetBreakage(ctx, b) }, nil},
		{"breakages", func() error { return errOf(l.Breakages(ctx, Noon())) }, nil},
		{"rows of the ledger", func() error { return errIn(l.Rows(ctx, everything)) }, nil},
		{"sums", func() error { return errIn(l.Sums(ctx, everything, ledger.ByMessages, 0)) }, nil},
		{"hits", func() error { return errIn(l.Hits(ctx, everything)) }, nil},
		{"totals", func() error { return errIn(l.Totals(ctx, everything)) }, nil},
		{"figures", func() error { return errIn(l.Figures(ctx, everything)) }, nil},
		{"sources", func() error { return errOf(l.Sources(ctx, "d1.example", 0)) }, nil},
		{"known", func() error {
			_, known, err := l.Known(ctx, "d1.example", network)
			if known != (err == nil) {
				t.Errorf("known %v with the error %v", known, err)
			}
			return err
		}, nil},
		{"carried", func() error { return errOf(l.Carried(ctx, []netip.Prefix{network}, 0)) }, nil},
		{"authors", func() error { return errOf(l.Authors(ctx, "d1.example", 0)) }, nil},
		{"usual", func() error { return errOf(l.Usual(ctx, "d1.example", ledgerToday)) }, nil},
		{"dropped", func() error { return errOf(l.Dropped(ctx, everything)) }, nil},
		{"author domains", func() error {
			got, err := l.AuthorDomains(ctx, everything)
			if (got[dmarc.PolicyReject] > 0) != (err == nil) {
				t.Errorf("domains %v with the error %v", got, err)
			}
			return err
		}, nil},
		{"trim", func() error { return l.Expire(ctx, Noon(), 4) }, nil},
	}
}

func historyFaults(t *testing.T, s WholeStore) []faultCall {
	ctx := t.Context()
	all := records(0, 20)
	for i := range all {
		all[i].At = all[i].At.AddDate(0, 0, i/10)
	}
	state := func() any { return fmt.Sprint(find(t, s, history.Query{})) }
	finds := func(name string, q history.Query) faultCall {
		q.Limit = 5
		return faultCall{"find " + name, func() error { return errOf(s.FindHistory(ctx, q)) }, nil}
	}
	return []faultCall{
		{"add to the history", func() error {
			return s.AddHistory(ctx, Noon(), history.Batch{ID: "h", Host: "mx1.example", Blocks: blocksOf(all)})
		}, state},
		finds("an id", history.Query{Any: []history.KeyIn{history.IDKey(all[3].ID)}}),
		finds("a verdict of a host", history.Query{Host: "mx1.example", Verdict: policy.Tag}),
		finds("a time", history.Query{From: Noon(), Until: Noon().AddDate(0, 0, 1), Any: []history.KeyIn{history.AuthorKey(dns.Name("a3.example"))}}),
		{"block", func() error {
			hits, err := s.FindHistory(ctx, history.Query{Limit: 1})
			if err != nil {
				return err
			}
			_, _, err = s.HistoryBlock(ctx, hits[0].Block)
			return err
		}, nil},
		{"drop a day of the history", func() error { return errOf(s.ExpireHistory(ctx, Noon().AddDate(0, 0, 2), 25*time.Hour, manyOctets)) }, nil},
	}
}

// expireFaults lets everything grow old.
func expireFaults(t *testing.T, s WholeStore) []faultCall {
	ctx := t.Context()
	return []faultCall{
		{"expire", func() error { return s.Expire(ctx, Noon().AddDate(3, 0, 0), time.Hour) }, nil},
		{"expire the ledger", func() error { return s.Ledger().Expire(ctx, Noon().AddDate(3, 0, 0), 0) }, nil},
	}
}
