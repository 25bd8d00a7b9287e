package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"sekimori/internal/report"
)

// testAdd adds twice to the same jobs and looks at everything that a job says.
func testAdd(t *testing.T, s report.Store) {
	p := Policy("shop.example")
	p.Invalid, p.Testing = "rua", true
	first := Tally(p, Day(0), Rows(0, 10))
	first.Causes, first.Spam, first.Late, first.Lost = 9, 2, 1, 4
	add(t, s, Batch("a", first, Tally(Policy("other.example"), Day(0), Rows(0, 1))))
	second := Tally(p, Day(0), Rows(5, 15))
	second.Causes, second.Spam, second.Late, second.Lost = 10, 1, 0, 1
	for i := range second.Rows {
		second.Rows[i].Count = 3
	}
	second.SendAt = second.SendAt.Add(time.Hour) // the first one stays
	add(t, s, Batch("b", second))

	got := onlyJob(t, s, report.Filter{Domain: "shop.example"})
	if got.ID == 0 {
		t.Error("the job has no id")
	}
	want := report.Job{ID: got.ID, Policy: p, Window: Day(0), State: report.StateOpen, SendAt: first.SendAt, Rows: 15, Messages: 40,
		Causes: 19, Spam: 3, Late: 1, Lost: 5}
	same(t, "job", got, want)
	rows := Rows(0, 15)
	for i, r := range rows {
		for n := range 15 {
			if Row(n).Key() == r.Key() {
				rows[i].Count = map[bool]int64{true: 1, false: 3}[n < 5]
				if n >= 5 && n < 10 {
					rows[i].Count = 4
				}
			}
		}
	}
	same(t, "rows", rowsOf(t, s, got.ID), rows)
	same(t, "rows of the other job", rowsOf(t, s, onlyJob(t, s, report.Filter{Domain: "other.example"}).ID), Rows(0, 1))
	add(t, s, report.Batch{ID: "empty", Current: Day(0)})
	same(t, "number of jobs", len(jobs(t, s, report.Filter{})), 2)
}

// testAddTwice adds the same batch twice, the second time after another one.
func testAddTwice(t *testing.T, s report.Store) {
	b := Batch("same", Tally(Policy("shop.example"), Day(0), Rows(0, 20)), Tally(Policy("shop.example"), Day(-1), Rows(0, 3)))
	b.Seen = []report.Sighting{{Domain: "shop.example", Day: 100, Kind: report.SeenPass}}
	add(t, s, b)
	before := contents(t, s)
	add(t, s, b)
	same(t, "after the same batch", contents(t, s), before)
	add(t, s, Batch("other", Tally(Policy("shop.example"), Day(0), Rows(10, 30))))
	before = contents(t, s)
	addAt(t, s, Noon().Add(26*time.Hour), b)
	same(t, "after the same batch a day later", contents(t, s), before)
}

// testAddTwiceAtOnce adds the same batch from several goroutines, as after a lost answer.
func testAddTwiceAtOnce(t *testing.T, s report.Store) {
	for i := range 5 {
		b := Batch(fmt.Sprint(i), Tally(Policy("shop.example"), Day(0), Rows(0, 50)))
		atOnce(t, 4, func(int) error { return s.Add(t.Context(), Noon(), b) })
	}
	same(t, "messages", onlyJob(t, s, report.Filter{}).Messages, int64(250))
	contents(t, s)
}

// testAddAtOnce adds overlapping rows to the same jobs from several goroutines, each in its own order
// of batches.
func testAddAtOnce(t *testing.T, s report.Store) {
	const daemons, batches = 6, 10
	atOnce(t, daemons, func(daemon int) error {
		for i := range batches {
			n := (daemon*7 + i) % batches
			b := Batch(fmt.Sprintf("%d-%d", daemon, i), Tally(Policy("a.example"), Day(0), Rows(n*5, n*5+40)),
				Tally(Policy("b.example"), Day(0), Rows(n*5, n*5+20)), Tally(Policy("b.example"), Day(-1), Rows(0, 10)))
			b.Seen = []report.Sighting{{Domain: "a.example", Day: 1, Kind: report.SeenPass}, {Domain: "b.example", Day: 1, Kind: report.SeenPass}}
			if err := s.Add(t.Context(), Noon(), b); err != nil {
				return err
			}
		}
		return nil
	})
	all := contents(t, s)
	same(t, "number of jobs", len(all), 3)
	for i, want := range []int64{40, 20, 10} { // newest window first, then by domain
		same(t, string(all[i].job.Policy.Domain), all[i].job.Messages, daemons*batches*want)
	}
}

// testAddWhileClaimed adds rows to windows while they are closed and claimed. No message may be lost,
// and no row may come to a job after its claim.
func testAddWhileClaimed(t *testing.T, s report.Store) {
	const daemons, batches = 4, 15
	now := closed(Day(-1))
	done := make(chan struct{})
	claimed := map[int64]int64{}
	var claimer sync.WaitGroup
	claimer.Go(func() {
		for last := false; ; {
			j, err := s.Claim(t.Context(), now, "claimer", time.Hour)
			switch {
			case errors.Is(err, report.ErrNone) && last:
				return
			case errors.Is(err, report.ErrNone):
				select {
				case <-done:
					last = true // once more, for jobs that came in between
				default:
				}
			case err != nil:
				t.Error(err)
				return
			default:
				for r, err := range s.Rows(t.Context(), j.ID) {
					if err != nil {
						t.Error(err)
						return
					}
					claimed[j.ID] += r.Count
				}
				if claimed[j.ID] != j.Messages {
					t.Errorf("job %d has %d messages when claimed, and %d when read", j.ID, j.Messages, claimed[j.ID])
				}
			}
		}
	})
	atOnce(t, daemons, func(daemon int) error {
		for i := range batches {
			p := Policy(fmt.Sprintf("d%d.example", i/5))
			b := Batch(fmt.Sprintf("%d-%d", daemon, i), Tally(p, Day(-1), Rows(i, i+20)))
			if err := s.Add(t.Context(), now, b); err != nil {
				return err
			}
		}
		return nil
	})
	close(done)
	claimer.Wait()
	var total, late int64
	for _, c := range contents(t, s) {
		total += c.job.Messages
		if c.job.Window == Day(0) {
			late += c.job.Messages
			same(t, "late", c.job.Late, c.job.Messages)
		}
	}
	same(t, "messages", total, int64(daemons*batches*20))
	for id, n := range claimed {
		same(t, "messages of a claimed job", onlyJob(t, s, report.Filter{ID: id}).Messages, n)
	}
	if len(claimed) == 0 || late == 0 {
		t.Logf("nothing overlapped: %d jobs claimed, %d messages late", len(claimed), late)
	}
}

// atOnce calls f from several goroutines and fails if one of the calls does.
func atOnce(t *testing.T, n int, f func(int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// testCancelled calls every method with a context that has ended.
func testCancelled(t *testing.T, s report.Store) {
	add(t, s, Batch("a", Tally(Policy("shop.example"), Day(0), Rows(0, 5))))
	before := contents(t, s)
	j := onlyJob(t, s, report.Filter{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Add":         func() error { return s.Add(ctx, Noon(), Batch("b", Tally(Policy("shop.example"), Day(0), Rows(0, 5)))) },
		"Claim":       func() error { _, err := s.Claim(ctx, closed(Day(0)), "x", time.Hour); return err },
		"Renew":       func() error { return s.Renew(ctx, j, Noon()) },
		"SetReportID": func() error { _, err := s.SetReportID(ctx, j, "x"); return err },
		"Finish":      func() error { return s.Finish(ctx, j, report.Outcome{Word: report.Sent}) },
		"Jobs":        func() error { _, err := s.Jobs(ctx, report.Filter{}); return err },
		"Deliveries":  func() error { _, err := s.Deliveries(ctx, j.ID); return err },
		"SetDelivery": func() error {
			_, err := s.SetDelivery(ctx, report.Delivery{Job: j.ID, Address: "a@b.example"})
			return err
		},
		"Delivery":     func() error { _, err := s.Delivery(ctx, 1); return err },
		"Suppressions": func() error { _, err := s.Suppressions(ctx); return err },
		"Suppression":  func() error { _, err := s.Suppression(ctx, "a@b.example"); return err },
		"Suppress":     func() error { return s.Suppress(ctx, report.Suppression{Target: "a@b.example"}) },
		"Unsuppress":   func() error { return s.Unsuppress(ctx, "a@b.example") },
		"Seen":         func() error { _, err := s.Seen(ctx, "shop.example", 1); return err },
		"Expire":       func() error { return s.Expire(ctx, Noon().AddDate(1, 0, 0), 0) },
		"Rows": func() error {
			for _, err := range s.Rows(ctx, j.ID) {
				return err
			}
			return nil
		},
	} {
		wants(t, name, call(), context.Canceled)
	}
	same(t, "afterwards", contents(t, s), before)
}

// testCancelledInBetween ends the context while a batch is added. The batch must then be there as a
// whole or not at all, and adding it again must leave it there once.
func testCancelledInBetween(t *testing.T, s report.Store) {
	const size = 400
	cut := 0
	for i := range 12 {
		b := Batch(fmt.Sprint(i), Tally(Policy("a.example"), Day(0), Rows(i*size, (i+1)*size)), Tally(Policy("b.example"), Day(0), Rows(0, size)))
		b.Seen = []report.Sighting{{Domain: "a.example", Day: report.Day(i + 1), Kind: report.SeenPass}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
		err := s.Add(ctx, Noon(), b)
		cancel()
		if err != nil {
			cut++
		}
		var messages int64
		for _, c := range contents(t, s) {
			messages += c.job.Messages
		}
		if whole := int64(i+1) * 2 * size; messages != whole && (err == nil || messages != whole-2*size) {
			t.Fatalf("%d messages after %d batches, the last of which gave the error %v", messages, i+1, err)
		}
		add(t, s, b)
		for _, c := range contents(t, s) {
			same(t, "messages", c.job.Messages, int64(i+1)*size)
		}
	}
	if cut == 0 {
		t.Error("no context ended in time to be seen")
	}
}
