// Package gather reads from the store what package readiness judges, and bounds it. What it reads of the
// ledger is added up in the database; of the history it reads a sample that is spread over the days. So the
// memory that it takes does not depend on how much there is.
package gather

import (
	"context"
	"time"

	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/ledger"
	"sekimori/internal/policy"
	"sekimori/internal/readiness"
	"sekimori/internal/recent"
)

const (
	// maxRecords is how many records of the history are read, in parts of the time, each of which has its
	// share.
	maxRecords = 12_800
	parts      = 128
	// maxMore is for how many domains of which the sample has few messages the history is searched, and
	// fewSamples what is few. At most that many are added.
	maxMore    = 40
	fewSamples = 20
)

// Options are what the report is about, and from what it is made.
type Options struct {
	Ledger ledger.Store
	// History finds decisions in the store; nil if none are kept.
	History *archive.Reader
	Policy  policy.Config // of the present configuration
	Days    int           // at least 1, at most ledger.KeepDays
	Now     time.Time
}

// Report makes the report.
func Report(ctx context.Context, o Options) (*readiness.Report, error) {
	r, _, err := Judged(ctx, o)
	return r, err
}

// Judged makes the report, and returns the Judge that made it, which knows what single messages look like.
func Judged(ctx context.Context, o Options) (*readiness.Report, *readiness.Judge, error) {
	return judged(ctx, o, maxRecords)
}

// judged is Judged with a sample of at most so many decisions.
func judged(ctx context.Context, o Options, most int) (*readiness.Report, *readiness.Judge, error) {
	today := ledger.DayOf(o.Now)
	j := readiness.New(readiness.Setup{Policy: o.Policy, Days: o.Days, Today: today})
	days := ledger.Filter{From: today - ledger.Day(o.Days) + 1, To: today}
	for _, step := range []func() error{
		func() error { return count(ctx, j, o.Ledger, days) },
		func() error { return sample(ctx, j, o, days, most) },
		func() error { return more(ctx, j, o, days) },
		func() error { return know(ctx, j, o, today) },
	} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	return j.Report(), j, nil
}

// count reads what the ledger counted.
func count(ctx context.Context, j *readiness.Judge, l ledger.Store, days ledger.Filter) error {
	for t, err := range l.Totals(ctx, days) {
		if err != nil {
			return err
		}
		j.Total(t)
	}
	for h, err := range l.Hits(ctx, days) {
		if err != nil {
			return err
		}
		j.Hit(h)
	}
	return nil
}

// sample reads at most so many decisions, of all parts of the days. What parts with few decisions do not need, the
// others share in the next round.
func sample(ctx context.Context, j *readiness.Judge, o Options, days ledger.Filter, most int) error {
	if o.History == nil {
		return nil
	}
	begin, left := days.From.Time(), most
	each := o.Now.Sub(begin) / parts
	var open []history.Query
	for part := range parts {
		q := history.Query{From: begin.Add(time.Duration(part) * each), Until: begin.Add(time.Duration(part+1) * each)}
		if part == parts-1 {
			q.Until = time.Time{}
		}
		open = append(open, q)
	}
	for len(open) > 0 && left > 0 {
		var next []history.Query
		for i, q := range open {
			q.Limit = max(1, left/(len(open)-i))
			n, more, err := find(ctx, j, o.History, &q)
			if err != nil {
				return err
			}
			if more {
				next = append(next, q)
			}
			if left -= n; left <= 0 {
				break
			}
		}
		open = next
	}
	return nil
}

// find gives the Judge what a search finds, and returns how many records that are, and whether there are more,
// which the query then selects.
func find(ctx context.Context, j *readiness.Judge, r *archive.Reader, q *history.Query) (n int, more bool, err error) {
	for n < q.Limit {
		part := *q
		part.Limit = q.Limit - n
		found, err := r.Find(ctx, part, func(*recent.Head) bool { return true })
		if err != nil {
			return n, false, err
		}
		for _, e := range found.Entries {
			j.Sample(e.ID, e.Evaluation)
		}
		n += len(found.Entries)
		if !found.More || len(found.Entries) == 0 {
			return n, false, nil
		}
		q.Until = found.Next // a search also ends when what it found is large
	}
	return n, true, nil
}

// more searches for decisions on those domains with many hits of which the sample has few.
func more(ctx context.Context, j *readiness.Judge, o Options, days ledger.Filter) error {
	if o.History == nil {
		return nil
	}
	hits := j.Hits()
	for i := range hits[:min(len(hits), maxMore)] {
		h := &hits[i]
		if n := j.Sampled(h.Domain); n >= fewSamples || int64(n) >= h.Hits() {
			continue
		}
		q := history.Query{Any: []history.KeyIn{history.AuthorKey(h.Domain)}, From: days.From.Time(), Limit: fewSamples}
		if _, _, err := find(ctx, j, o.History, &q); err != nil {
			return err
		}
	}
	return nil
}

// know reads what is usual for the domains, whose mail passes from the networks, and what is broken.
func know(ctx context.Context, j *readiness.Judge, o Options, today ledger.Day) error {
	for _, h := range j.Hits() {
		var rows []ledger.Row
		for r, err := range o.Ledger.Rows(ctx, ledger.Filter{From: today - ledger.UsualDays + 1, To: today, Domain: h.Domain}) {
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
		sources, err := o.Ledger.Sources(ctx, h.Domain, today-ledger.KeepSources+1)
		if err != nil {
			return err
		}
		j.Know(h.Domain, rows, sources)
	}
	carried, err := o.Ledger.Carried(ctx, j.Networks(), today-ledger.KeepSources+1)
	if err != nil {
		return err
	}
	j.Carried(carried)
	broken, err := o.Ledger.Breakages(ctx, o.Now)
	if err != nil {
		return err
	}
	j.Broken(broken)
	dropped, err := o.Ledger.Dropped(ctx, ledger.Filter{From: today - ledger.Day(o.Days) + 1, To: today})
	if err != nil {
		return err
	}
	var n int64
	for _, d := range dropped {
		n += d.Messages
	}
	j.Limits(n, o.History == nil)
	return nil
}
