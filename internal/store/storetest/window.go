package storetest

import (
	"fmt"
	"testing"
	"time"

	"sekimori/internal/report"
)

// testLate adds to jobs that are due, claimed and done: the rows must go to the current window.
func testLate(t *testing.T, s report.Store) {
	yesterday, today := Day(-1), Day(0)
	due, taken, done := Policy("due.example"), Policy("claimed.example"), Policy("done.example")
	for i, p := range []report.Policy{done, taken, due} {
		y := Tally(p, yesterday, Rows(0, 3))
		y.SendAt = y.SendAt.Add(time.Duration(i) * time.Minute)
		addAt(t, s, Noon().AddDate(0, 0, -1), Batch(string(p.Domain), y))
	}
	now := closed(yesterday)
	same(t, "finished", finish(t, s, now).Policy, done)
	claim(t, s, now, "sender")
	frozen := map[report.Policy]content{}
	for _, c := range contents(t, s) {
		frozen[c.job.Policy] = c
	}

	for _, p := range []report.Policy{due, taken, done} {
		late := Tally(p, yesterday, Rows(2, 6))
		late.Causes, late.Spam, late.Late, late.Lost = 3, 2, 1, 5
		addAt(t, s, now, Batch("late "+string(p.Domain), late, Tally(p, today, Rows(0, 1))))
		for _, c := range contents(t, s) {
			if c.job.Policy != p {
				continue
			}
			if c.job.Window == yesterday {
				same(t, "closed job", c, frozen[p])
				continue
			}
			same(t, "window", c.job.Window, today)
			same(t, "messages", c.job.Messages, int64(5))
			same(t, "late", c.job.Late, int64(4))
			same(t, "causes", c.job.Causes, int64(4))
			same(t, "spam", c.job.Spam, int64(2))
			same(t, "lost", c.job.Lost, int64(5))
		}
	}

	// A job that is opened for late rows is due as long after its window as the old one.
	only := Policy("only.example")
	addAt(t, s, Noon().AddDate(0, 0, -1), Batch("only", Tally(only, yesterday, Rows(0, 1))))
	claim(t, s, now, "x")
	addAt(t, s, now, Batch("late only", Tally(only, yesterday, Rows(0, 1))))
	got := onlyJob(t, s, report.Filter{Domain: only.Domain, Window: today.Begin})
	same(t, "SendAt", got.SendAt, Tally(only, today, nil).SendAt)
}

// testOldWindow adds to a window that is over and has no job: rows still get one there for MaxLate.
func testOldWindow(t *testing.T, s report.Store) {
	p := Policy("shop.example")
	end := time.Unix(Day(-3).End, 0)
	b := Batch("in time", Tally(p, Day(-3), Rows(0, 2)))
	addAt(t, s, end.Add(report.MaxLate-time.Minute), b)
	same(t, "window", onlyJob(t, s, report.Filter{}).Window, Day(-3))
	q := Policy("other.example")
	addAt(t, s, end.Add(report.MaxLate+time.Minute), Batch("too late", Tally(q, Day(-3), Rows(0, 2))))
	got := onlyJob(t, s, report.Filter{Domain: q.Domain})
	same(t, "window", got.Window, Day(0))
	same(t, "late", got.Late, int64(2))
	addAt(t, s, end.Add(report.MaxLate+time.Minute), Batch("too late for an open job", Tally(p, Day(-3), Rows(0, 2))))
	same(t, "messages of the old job", onlyJob(t, s, report.Filter{Domain: p.Domain, Window: Day(-3).Begin}).Messages, int64(2))
}

// testClockBack sets the clock back by a day when the day's reports are sent: the current window is
// closed already. No window may be reported twice, and no message may be lost.
func testClockBack(t *testing.T, s report.Store) {
	p := Policy("shop.example")
	add(t, s, Batch("a", Tally(p, Day(0), Rows(0, 3))))
	sent := finish(t, s, closed(Day(0)))
	before := rowsOf(t, s, sent.ID)
	add(t, s, Batch("b", Tally(p, Day(0), Rows(0, 4))))
	same(t, "rows of the report that was sent", rowsOf(t, s, sent.ID), before)
	next := onlyJob(t, s, report.Filter{Window: Day(1).Begin})
	same(t, "window", next.Window, Day(1))
	same(t, "messages", next.Messages, int64(4))
	same(t, "late", next.Late, int64(4))
	same(t, "SendAt", next.SendAt, Tally(p, Day(1), nil).SendAt)

	// The same again, with the next window closed, too.
	finish(t, s, closed(Day(1)))
	add(t, s, Batch("c", Tally(p, Day(0), Rows(0, 5))))
	same(t, "messages", onlyJob(t, s, report.Filter{Window: Day(2).Begin}).Messages, int64(5))

	// The right time comes again: messages of the day go to the first window that is open.
	d := Batch("d", Tally(p, Day(1), Rows(0, 6)))
	d.Current = Day(1)
	addAt(t, s, Noon().AddDate(0, 0, 1), d)
	same(t, "messages", onlyJob(t, s, report.Filter{Window: Day(2).Begin}).Messages, int64(11))
	if _, err := s.Claim(t.Context(), closed(Day(1)), "x", time.Hour); err == nil {
		t.Error("a job of the future was claimed")
	}
}

// testMaxPolicies changes the policy of a domain all the time.
func testMaxPolicies(t *testing.T, s report.Store) {
	policy := func(n int) report.Policy {
		p := Policy("shop.example")
		p.FO = fmt.Sprint(n)
		return p
	}
	for n := range report.MaxPolicies + 2 {
		add(t, s, Batch(fmt.Sprint(n), Tally(policy(n), Day(0), Rows(0, 10))))
	}
	// Both in one batch, and the same policies once more: a known policy keeps its job.
	add(t, s, Batch("again", Tally(policy(0), Day(0), Rows(0, 1)), Tally(policy(90), Day(0), Rows(0, 1)), Tally(policy(91), Day(0), Rows(10, 11)),
		Tally(policy(90), Day(1), Rows(0, 1))))
	got := map[string]int64{}
	for _, c := range contents(t, s) {
		if c.job.Window == Day(0) {
			got[c.job.Policy.FO] = c.job.Messages
			want := int64(0)
			if c.job.Policy == policy(report.MaxPolicies-1) {
				want = 22
			}
			same(t, "merged into the job of fo="+c.job.Policy.FO, c.job.Merged, want)
		}
	}
	same(t, "messages by policy", got, map[string]int64{"0": 11, "1": 10, "2": 32})
	same(t, "job of the next window", onlyJob(t, s, report.Filter{Window: Day(1).Begin}).Policy, policy(90))
	add(t, s, Batch("other", Tally(Policy("other.example"), Day(0), Rows(0, 1))))
	same(t, "another domain's policy", onlyJob(t, s, report.Filter{Domain: "other.example"}).Policy, Policy("other.example"))
}

// testMaxRows floods a job with rows. Known rows must go on counting, and nothing may be uncounted.
func testMaxRows(t *testing.T, s report.Store) {
	const most = 50
	p := Policy("shop.example")
	var messages int64
	for n := range 6 {
		b := Batch(fmt.Sprint(n), Tally(p, Day(0), Rows(n*15, n*15+30)))
		b.MaxRows = most
		messages += 30
		add(t, s, b)
	}
	got := contents(t, s)[0].job
	same(t, "rows", got.Rows, int64(most))
	same(t, "messages and lost", got.Messages+got.Lost, messages)
	if got.Lost == 0 {
		t.Error("nothing was lost")
	}
	b := Batch("known", Tally(p, Day(0), Rows(0, 30))) // they came first, so the job has them
	b.MaxRows = most
	add(t, s, b)
	again := contents(t, s)[0].job
	same(t, "messages after known rows", again.Messages, got.Messages+30)
	same(t, "lost after known rows", again.Lost, got.Lost)

	// Made-up rows fall together before anything is lost.
	forged := make([]report.Row, 0, most*2)
	for n := range most * 2 {
		r := Row(1)
		r.EnvelopeFrom, r.AuthSPF.Domain = "evil.example", fmt.Sprintf("x%d.evil.example", n)
		r.AuthDKIM = []report.DKIMResult{{Domain: "evil.example", Selector: fmt.Sprint(n), Result: "fail"}}
		forged = append(forged, r)
	}
	b = Batch("forged", Tally(Policy("victim.example"), Day(0), sorted(forged)))
	b.MaxRows = most
	add(t, s, b)
	victim := contents(t, s)[1].job
	same(t, "domain", victim.Policy.Domain, Policy("victim.example").Domain)
	same(t, "messages", victim.Messages, int64(most*2))
	same(t, "lost", victim.Lost, int64(0))
	same(t, "rows", victim.Rows, int64(most-most/10+1))
}

// testOnlyLost adds a tally without rows: its messages found no place in the daemon's memory.
func testOnlyLost(t *testing.T, s report.Store) {
	lost := Tally(Policy("shop.example"), Day(0), nil)
	lost.Lost = 7
	add(t, s, Batch("a", lost))
	got := contents(t, s)[0].job
	same(t, "lost", got.Lost, int64(7))
	same(t, "rows", got.Rows, int64(0))
}
