package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"sekimori/internal/report"
)

// testClaim checks when a job may be claimed, in which order, and what the sender gets.
func testClaim(t *testing.T, s report.Store) {
	_, err := s.Claim(t.Context(), Noon(), "x", time.Hour)
	wants(t, "empty store", err, report.ErrNone)

	first, second := Tally(Policy("b.example"), Day(0), Rows(0, 2)), Tally(Policy("a.example"), Day(0), Rows(0, 2))
	second.SendAt = first.SendAt.Add(time.Minute)
	add(t, s, Batch("a", first, second))
	end := time.Unix(Day(0).End+1, 0).UTC()
	for _, now := range []time.Time{Noon(), end.Add(report.Grace - time.Second), end.Add(report.Grace), first.SendAt.Add(-time.Second)} {
		_, err := s.Claim(t.Context(), now, "x", time.Hour)
		wants(t, "before the job is due", err, report.ErrNone)
		open := now.Before(end.Add(report.Grace))
		for _, j := range jobs(t, s, report.Filter{}) {
			same(t, "state", j.State, map[bool]report.State{true: report.StateOpen, false: report.StateDue}[open])
		}
	}
	got := claim(t, s, first.SendAt, "host-1/42")
	want := report.Job{ID: got.ID, Policy: first.Policy, Window: Day(0), State: report.StateClaimed, SendAt: first.SendAt, Owner: "host-1/42", Lease: 1,
		LeaseUntil: first.SendAt.Add(time.Hour), Rows: 2, Messages: 2, Causes: 2}
	same(t, "job", got, want)
	same(t, "job in the list", onlyJob(t, s, report.Filter{ID: got.ID}), want)
	_, err = s.Claim(t.Context(), first.SendAt, "x", time.Hour)
	wants(t, "the other is not due yet", err, report.ErrNone)
	same(t, "the other", claim(t, s, first.SendAt.Add(time.Hour-time.Second), "x").Policy, second.Policy)

	// The one that waited longest comes first.
	add(t, s, Batch("b", Tally(Policy("c.example"), Day(1), Rows(0, 1)), Tally(Policy("d.example"), Day(0), Rows(0, 1)),
		Tally(Policy("e.example"), Day(-1), Rows(0, 1))))
	for _, domain := range []string{"e.example", "b.example", "d.example", "a.example", "c.example"} { // two leases have run out
		same(t, "order", claim(t, s, closed(Day(1)), "x").Policy, Policy(domain))
	}
}

// testClaimAtOnce claims all jobs from several goroutines: each job once.
func testClaimAtOnce(t *testing.T, s report.Store) {
	const number, senders = 60, 6
	b := make([]report.Tally, number)
	for i := range b {
		b[i] = Tally(Policy(fmt.Sprintf("d%d.example", i)), Day(0), Rows(0, 1))
	}
	add(t, s, Batch("a", b...))
	var mu sync.Mutex
	claims := map[int64]int{}
	atOnce(t, senders, func(n int) error {
		for {
			j, err := s.Claim(t.Context(), closed(Day(0)), fmt.Sprint("sender ", n), time.Hour)
			if err == report.ErrNone { //nolint:errorlint // a store returns the error as it is, so that a sender may compare it
				return nil
			} else if err != nil {
				return err
			}
			mu.Lock()
			claims[j.ID]++
			mu.Unlock()
			if err := s.Finish(t.Context(), j, report.Outcome{Word: report.Sent}); err != nil {
				return err
			}
		}
	})
	same(t, "jobs claimed", len(claims), number)
	for id, n := range claims {
		if n != 1 {
			t.Errorf("job %d was claimed %d times", id, n)
		}
	}
}

// testClaimJob claims one job whatever its time: before it is due, after it is done, and after a lease.
func testClaimJob(t *testing.T, s report.Store) {
	ctx := t.Context()
	tally := Tally(Policy("shop.example"), Day(0), Rows(0, 3))
	add(t, s, Batch("a", tally, Tally(Policy("other.example"), Day(0), Rows(0, 1))))
	id := onlyJob(t, s, report.Filter{Domain: "shop.example"}).ID
	end := time.Unix(Day(0).End+1, 0).UTC().Add(report.Grace)
	for _, now := range []time.Time{Noon(), end.Add(-time.Second)} {
		_, err := s.ClaimJob(ctx, now, id, "operator", time.Hour)
		wants(t, "while the window is open", err, report.ErrNone)
	}
	for _, none := range []int64{0, id + 1000} {
		_, err := s.ClaimJob(ctx, end, none, "operator", time.Hour)
		wants(t, "no such job", err, report.ErrUnknown)
	}
	same(t, "state", onlyJob(t, s, report.Filter{ID: id}).State, report.StateOpen)

	j, err := s.ClaimJob(ctx, end, id, "operator", time.Hour) // an hour before SendAt
	ok(t, err)
	want := report.Job{ID: id, Policy: tally.Policy, Window: Day(0), State: report.StateClaimed, SendAt: tally.SendAt, Owner: "operator", Lease: 1,
		LeaseUntil: end.Add(time.Hour), Rows: 3, Messages: 3, Causes: 3}
	same(t, "job", j, want)
	same(t, "job in the list", onlyJob(t, s, report.Filter{ID: id}), want)
	const reportID = "20261128.first.shop.example@dmarc.isp.example"
	_, err = s.SetReportID(ctx, j, reportID)
	ok(t, err)
	_, err = s.ClaimJob(ctx, end.Add(time.Hour-time.Second), id, "operator", time.Hour)
	wants(t, "while another has it", err, report.ErrLost)
	second, err := s.ClaimJob(ctx, end.Add(time.Hour), id, "operator", time.Hour)
	ok(t, err)
	same(t, "lease number", second.Lease, int64(2))
	wants(t, "the first claim", s.Renew(ctx, j, end.Add(9*time.Hour)), report.ErrLost)

	again := end.Add(5 * time.Hour)
	ok(t, s.Finish(ctx, second, report.Outcome{Reason: "451 later", Again: again}))
	j, err = s.ClaimJob(ctx, end.Add(time.Hour), id, "operator", time.Hour) // before Again
	ok(t, err)
	same(t, "tries and reason of a job that was put off", fmt.Sprint(j.Tries, j.Reason), "1451 later")
	ok(t, s.Finish(ctx, j, report.Outcome{Word: report.Sent, Reason: "sent to 1 of 1 destinations"}))

	j, err = s.ClaimJob(ctx, again, id, "operator", time.Hour)
	ok(t, err)
	want.SendAt, want.Lease, want.LeaseUntil, want.ReportID = again, 4, again.Add(time.Hour), reportID
	same(t, "job that was done", onlyJob(t, s, report.Filter{ID: id}), want)
	want.Outcome = report.Sent
	same(t, "job that was done, for the sender", j, want)
	same(t, "rows", len(rowsOf(t, s, id)), 3)
	ok(t, s.Expire(ctx, again.AddDate(1, 0, 0), time.Hour)) // a claimed job stays
	same(t, "rows after Expire", len(rowsOf(t, s, id)), 3)
	same(t, "the daemon goes on after the lease", claimedID(t, s, j.LeaseUntil, id), true)
}

// claimedID reports whether the job is among those that can be claimed.
func claimedID(t *testing.T, s report.Store, now time.Time, id int64) bool {
	t.Helper()
	for {
		j, err := s.Claim(t.Context(), now, "daemon", time.Hour)
		if err != nil {
			wants(t, "claim", err, report.ErrNone)
			return false
		}
		if j.ID == id {
			return true
		}
	}
}

// testLease lets a lease run out. The late sender must learn it, whatever it does.
func testLease(t *testing.T, s report.Store) {
	ctx := t.Context()
	add(t, s, Batch("a", Tally(Policy("shop.example"), Day(0), Rows(0, 1))))
	now := closed(Day(0))
	late := claim(t, s, now, "sender")
	_, err := s.Claim(ctx, late.LeaseUntil.Add(-time.Second), "sender", time.Hour)
	wants(t, "claim before the end of the lease", err, report.ErrNone)
	ok(t, s.Renew(ctx, late, now.Add(2*time.Hour)))
	_, err = s.Claim(ctx, now.Add(time.Hour), "other", time.Hour)
	wants(t, "claim after Renew", err, report.ErrNone)
	same(t, "LeaseUntil", onlyJob(t, s, report.Filter{}).LeaseUntil, now.Add(2*time.Hour))
	ok(t, s.Renew(ctx, late, now.Add(2*time.Hour))) // an end that has passed can be moved while nobody else has claimed

	second := claim(t, s, now.Add(2*time.Hour), "sender") // the same sender, so only the number differs
	same(t, "lease number", second.Lease, late.Lease+1)
	other := second
	other.Owner = "other"
	for name, j := range map[string]report.Job{"old lease": late, "other owner": other, "no such job": {ID: second.ID + 1000, Owner: "sender", Lease: 1}} {
		wants(t, name+": Renew", s.Renew(ctx, j, now.Add(9*time.Hour)), report.ErrLost)
		_, err := s.SetReportID(ctx, j, "late")
		wants(t, name+": SetReportID", err, report.ErrLost)
		wants(t, name+": Finish", s.Finish(ctx, j, report.Outcome{Word: report.Failed}), report.ErrLost)
	}
	same(t, "job", onlyJob(t, s, report.Filter{}), second)
	ok(t, s.Finish(ctx, second, report.Outcome{Word: report.Sent}))
	wants(t, "Finish twice", s.Finish(ctx, second, report.Outcome{Word: report.Failed}), report.ErrLost)
	wants(t, "Renew after Finish", s.Renew(ctx, second, now), report.ErrLost)
	same(t, "outcome", onlyJob(t, s, report.Filter{}).Outcome, report.Sent)
}

// testFinish puts a job off, and then ends it.
func testFinish(t *testing.T, s report.Store) {
	ctx := t.Context()
	add(t, s, Batch("a", Tally(Policy("shop.example"), Day(0), Rows(0, 1))))
	now := closed(Day(0))
	j := claim(t, s, now, "sender")
	again := now.Add(15 * time.Minute)
	ok(t, s.Finish(ctx, j, report.Outcome{Reason: "451 later", Again: again}))
	got := onlyJob(t, s, report.Filter{})
	want := j
	want.State, want.Owner, want.LeaseUntil, want.SendAt, want.Tries, want.Reason = report.StateDue, "", time.Time{}, again, 1, "451 later"
	same(t, "put off", got, want)
	_, err := s.Claim(ctx, again.Add(-time.Second), "sender", time.Hour)
	wants(t, "claim before Again", err, report.ErrNone)
	j = claim(t, s, again, "sender")
	same(t, "lease number", j.Lease, int64(2))
	same(t, "tries", j.Tries, 1)
	ok(t, s.Finish(ctx, j, report.Outcome{Word: report.WithheldNever, Reason: "on the list"}))
	got = onlyJob(t, s, report.Filter{})
	same(t, "state", got.State, report.StateDone)
	same(t, "outcome", got.Outcome, report.WithheldNever)
	same(t, "reason", got.Reason, "on the list")
	same(t, "tries", got.Tries, 2)
	_, err = s.Claim(ctx, now.AddDate(1, 0, 0), "sender", time.Hour)
	wants(t, "claim of what is done", err, report.ErrNone)
	same(t, "rows that stay", len(rowsOf(t, s, j.ID)), 1)
}

// testReportID checks that the first id stays, whatever comes.
func testReportID(t *testing.T, s report.Store) {
	ctx := t.Context()
	add(t, s, Batch("a", Tally(Policy("shop.example"), Day(0), Rows(0, 1))))
	j := claim(t, s, closed(Day(0)), "one")
	for _, id := range []string{"20261128.first.shop.example@dmarc.isp.example", "20261128.second.shop.example@dmarc.isp.example"} {
		got, err := s.SetReportID(ctx, j, id)
		ok(t, err)
		same(t, "id", got, "20261128.first.shop.example@dmarc.isp.example")
	}
	ok(t, s.Finish(ctx, j, report.Outcome{Again: closed(Day(0))}))
	j = claim(t, s, closed(Day(0)), "two")
	same(t, "id that the next sender sees", j.ReportID, "20261128.first.shop.example@dmarc.isp.example")
	got, err := s.SetReportID(ctx, j, "20261128.third.shop.example@dmarc.isp.example")
	ok(t, err)
	same(t, "id", got, j.ReportID)
}

// testRows checks the order, an early end, and jobs without rows.
func testRows(t *testing.T, s report.Store) {
	const number = 3000 // more than a store reads at once
	for n := 0; n < number; n += 500 {
		add(t, s, Batch(fmt.Sprint(n), Tally(Policy("shop.example"), Day(0), Rows(n, n+500)), Tally(Policy("other.example"), Day(0), Rows(n, n+500))))
	}
	for _, domain := range []string{"shop.example", "other.example"} {
		same(t, "rows", rowsOf(t, s, onlyJob(t, s, report.Filter{Domain: Policy(domain).Domain}).ID), Rows(0, number))
	}
	j := onlyJob(t, s, report.Filter{Domain: "shop.example"})
	for _, stop := range []int{1, number - 1} {
		n := 0
		for _, err := range s.Rows(t.Context(), j.ID) {
			ok(t, err)
			if n++; n == stop {
				break
			}
		}
	}
	for range 100 { // what an early end leaves open would run out
		for _, err := range s.Rows(t.Context(), j.ID) {
			ok(t, err)
			break
		}
	}
	same(t, "rows of no job", len(rowsOf(t, s, j.ID+1000)), 0)

	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	var last error
	for _, last = range s.Rows(ctx, j.ID) {
		if n++; n == 10 {
			cancel()
		}
		if n > number+1 {
			t.Fatal("the rows do not end")
		}
	}
	cancel()
	wants(t, "rows after the context ended", last, context.Canceled)
}

// testRowsAndOthers calls the other methods while rows are read, as a sender does.
func testRowsAndOthers(t *testing.T, s report.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := range 4 {
		add(t, s, Batch(fmt.Sprint(n), Tally(Policy("shop.example"), Day(0), Rows(n*1000, n*1000+1000))))
	}
	j := claim(t, s, closed(Day(0)), "sender")
	n := 0
	for _, err := range s.Rows(ctx, j.ID) {
		ok(t, err)
		if n++; n%1000 != 1 {
			continue
		}
		ok(t, s.Renew(ctx, j, closed(Day(0)).Add(2*time.Hour)))
		_, err = s.SetDelivery(ctx, report.Delivery{Job: j.ID, Address: "a@shop.example"})
		ok(t, err)
		b := Batch(fmt.Sprint("between ", n), Tally(Policy("shop.example"), Day(0), Rows(n, n+10)))
		b.Current = Day(1)
		ok(t, s.Add(ctx, closed(Day(0)), b))
		same(t, "jobs", len(jobs(t, s, report.Filter{})), 2)
	}
	same(t, "rows", n, 4000)
}
