package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// testMaxJobs makes up policy domains, as the owner of a wildcard record can, and then more domains than a window may have.
func testMaxJobs(t *testing.T, s report.Store) {
	today := report.Day(Noon().Unix() / 86400)
	limited := func(id string, domains ...string) report.Batch {
		b := Batch(id)
		for _, d := range domains {
			b.Tallies = append(b.Tallies, Tally(Policy(d), Day(0), Rows(0, 2)))
			b.Seen = append(b.Seen, report.Sighting{Domain: dns.Name(d), Day: today, Kind: report.SeenPass}, report.Sighting{Domain: dns.Name(d), Day: today, Kind: report.SeenWrote})
		}
		b.Tallies = Batch("", b.Tallies...).Tallies // in order
		slices.SortFunc(b.Seen, report.Sighting.Compare)
		b.MaxOwned, b.MaxJobs = 3, 6
		return b
	}
	excess := func() map[dns.Name]int64 {
		t.Helper()
		sum, err := s.Summary(t.Context(), Noon())
		ok(t, err)
		got := map[dns.Name]int64{}
		for _, x := range sum.Excess {
			same(t, "window", x.Window, Day(0))
			got[x.Owner] = x.Messages
		}
		return got
	}

	add(t, s, limited("one", "a.evil.example", "b.evil.example"))
	same(t, "excess at first", excess(), map[dns.Name]int64{})
	add(t, s, limited("two", "c.evil.example", "d.evil.example", "e.evil.example", "shop.example"))
	same(t, "jobs", len(jobs(t, s, report.Filter{})), 4)
	same(t, "excess of one owner", excess(), map[dns.Name]int64{"evil.example": 4})
	add(t, s, limited("three", "a.evil.example", "f.evil.example")) // a job that exists goes on
	same(t, "messages", onlyJob(t, s, report.Filter{Domain: "a.evil.example"}).Messages, int64(4))
	add(t, s, limited("four", "u.example", "v.example", "w.example", "x.example"))
	same(t, "jobs at last", len(jobs(t, s, report.Filter{})), 6)
	same(t, "excess of the window", excess(), map[dns.Name]int64{"evil.example": 6, "": 4})
	add(t, s, limited("four", "u.example", "v.example", "w.example", "x.example")) // the same batch
	same(t, "excess after the same batch", excess(), map[dns.Name]int64{"evil.example": 6, "": 4})
	same(t, "jobs of another window", func() int {
		b := limited("five")
		b.Tallies = []report.Tally{Tally(Policy("z.evil.example"), Day(1), Rows(0, 1))}
		add(t, s, b)
		return len(jobs(t, s, report.Filter{Window: Day(1).Begin}))
	}(), 1)

	// A domain without a job leaves no sightings, but for that of a user who wrote to it.
	for domain, want := range map[dns.Name]report.Seen{
		"f.evil.example": {Wrote: today},
		"a.evil.example": {PassDays: 1, FirstPass: today, AnyDays: 1, FirstAny: today, Wrote: today},
	} {
		got, err := s.Seen(t.Context(), domain, today)
		ok(t, err)
		same(t, "sightings of "+string(domain), got, want)
	}
	contents(t, s)
	ok(t, s.Expire(t.Context(), time.Unix(Day(0).End, 0).Add(report.KeepDelivery+time.Hour), 0))
	same(t, "excess after its time", excess(), map[dns.Name]int64{})
}

// testSomeJobs: a domain with a job in one window and none in another leaves its sightings.
func testSomeJobs(t *testing.T, s report.Store) {
	today := report.Day(Noon().Unix() / 86400)
	for i, days := range [][2]int{{0, 1}, {1, 0}} { // the job is in the first of them, or in the last
		domain := dns.Name(fmt.Sprintf("a%d.example", i))
		add(t, s, Batch(fmt.Sprint("other", i), Tally(Policy("b."+string(domain)), Day(days[1]), Rows(0, 1))))
		b := Batch(fmt.Sprint(i), Tally(Policy(string(domain)), Day(0), Rows(0, 1)), Tally(Policy(string(domain)), Day(1), Rows(0, 1)))
		b.MaxOwned = 1
		b.Seen = []report.Sighting{{Domain: domain, Day: today, Kind: report.SeenPass}}
		add(t, s, b)
		same(t, "window of the job", onlyJob(t, s, report.Filter{Domain: domain}).Window, Day(days[0]))
		got, err := s.Seen(t.Context(), domain, today)
		ok(t, err)
		same(t, "sightings of "+string(domain), got.PassDays, 1)
	}
}

// part returns the window of some hours that begins at the given hour of a day.
func part(day report.Window, hour, hours int64) report.Window {
	begin := day.Begin + hour*3600
	return report.Window{Begin: begin, End: begin + hours*3600 - 1}
}

// testLengths changes the length of the windows in the middle of a day. The windows of a day must not overlap.
func testLengths(t *testing.T, s report.Store) {
	p, q := Policy("shop.example"), Policy("other.example")
	add(t, s, Batch("day", Tally(p, Day(0), Rows(0, 2))))
	six := Batch("six hours", Tally(p, part(Day(0), 12, 6), Rows(0, 3)), Tally(q, part(Day(0), 6, 6), Rows(0, 1)))
	six.Current = part(Day(0), 12, 6)
	add(t, s, six)
	got := onlyJob(t, s, report.Filter{Domain: p.Domain})
	same(t, "window", got.Window, Day(0))
	same(t, "messages", got.Messages, int64(5))
	same(t, "late", got.Late, int64(0))
	got = onlyJob(t, s, report.Filter{Domain: q.Domain})
	same(t, "window of a new job", got.Window, Day(0))
	same(t, "late", got.Late, int64(0))
	same(t, "SendAt", got.SendAt, Tally(q, Day(0), nil).SendAt)

	// The next day begins with the new length. Then the length is set back.
	tomorrow := Noon().AddDate(0, 0, 1)
	six = Batch("tomorrow", Tally(p, part(Day(1), 6, 6), Rows(0, 1)))
	six.Current = part(Day(1), 12, 6)
	addAt(t, s, tomorrow, six)
	back := Batch("back", Tally(p, Day(1), Rows(0, 4)))
	back.Current = Day(1)
	addAt(t, s, tomorrow, back)
	var windows []report.Window
	for _, j := range jobs(t, s, report.Filter{Domain: p.Domain}) {
		windows = append(windows, j.Window)
	}
	same(t, "windows", windows, []report.Window{part(Day(1), 12, 6), part(Day(1), 6, 6), Day(0)})

	// Late rows go to the current window of the length that the day has.
	claim(t, s, closed(Day(0)), "x")
	claim(t, s, closed(Day(0)), "x")
	late := Batch("late", Tally(q, Day(0), Rows(0, 2)))
	late.Current = Day(1)
	addAt(t, s, tomorrow, late)
	same(t, "window of late rows", onlyJob(t, s, report.Filter{Domain: q.Domain, Window: part(Day(1), 12, 6).Begin}).Late, int64(2))
	contents(t, s)
}

// testExpireRows ends a job. Its rows go after the time to keep, and its delivery after the time in which a bounce can come.
func testExpireRows(t *testing.T, s report.Store) {
	ctx := t.Context()
	const keep = 72 * time.Hour
	add(t, s, Batch("a", Tally(Policy("a.example"), Day(0), Rows(0, 30)), Tally(Policy("a.example"), Day(4), Rows(0, 5))))
	now := closed(Day(0))
	j := claim(t, s, now, "x")
	id, err := s.SetDelivery(ctx, report.Delivery{Job: j.ID, Address: "rua@shop.example"})
	ok(t, err)
	ok(t, s.Finish(ctx, j, report.Outcome{Word: report.Sent, Again: now}))
	done := onlyJob(t, s, report.Filter{ID: j.ID})

	ok(t, s.Expire(ctx, done.LeaseUntil.Add(keep-time.Second), keep))
	same(t, "rows before the time", len(rowsOf(t, s, j.ID)), 30)
	ok(t, s.Expire(ctx, done.LeaseUntil.Add(keep), keep))
	same(t, "rows afterwards", len(rowsOf(t, s, j.ID)), 0)
	same(t, "job without rows", onlyJob(t, s, report.Filter{ID: j.ID}), done)
	_, err = s.Delivery(ctx, id)
	ok(t, err)
	_, err = s.ClaimJob(ctx, done.LeaseUntil.Add(keep), j.ID, "x", time.Hour)
	wants(t, "claim without rows", err, report.ErrUnknown)
	late := Batch("late", Tally(Policy("a.example"), Day(0), Rows(0, 1)))
	late.Current = Day(4)
	addAt(t, s, done.LeaseUntil.Add(keep), late)
	same(t, "rows that come later", len(rowsOf(t, s, j.ID)), 0)

	ok(t, s.Expire(ctx, done.LeaseUntil.Add(report.KeepDelivery-time.Second), keep))
	_, err = s.Delivery(ctx, id)
	ok(t, err)
	ok(t, s.Expire(ctx, done.LeaseUntil.Add(report.KeepDelivery), keep))
	_, err = s.Delivery(ctx, id)
	wants(t, "delivery afterwards", err, report.ErrUnknown)
	same(t, "jobs afterwards", len(jobs(t, s, report.Filter{})), 1)
}

// testAllow counts against limits, also from several goroutines.
func testAllow(t *testing.T, s report.Store) {
	ctx, today := t.Context(), report.DayOf(Noon())
	allow := func(day report.Day, limit string, most int64) bool {
		t.Helper()
		got, err := s.Allow(ctx, day, limit, most)
		ok(t, err)
		return got
	}
	same(t, "none", allow(today, "a", 0), false)
	same(t, "first", allow(today, "a", 2), true)
	same(t, "second", allow(today, "a", 2), true)
	same(t, "third", allow(today, "a", 2), false)
	same(t, "third of more", allow(today, "a", 3), true)
	same(t, "another limit", allow(today, "b", 1), true)
	same(t, "another day", allow(today+1, "a", 1), true)
	same(t, "odd name", allow(today, "\x00\xff", 1), true)
	var allowed atomic.Int64
	atOnce(t, 4, func(int) error {
		for range 10 {
			got, err := s.Allow(ctx, today, "c", 7)
			if err != nil {
				return err
			}
			if got {
				allowed.Add(1)
			}
		}
		return nil
	})
	same(t, "at once", allowed.Load(), int64(7))
	ok(t, s.Expire(ctx, Noon().AddDate(0, 0, 1), time.Hour))
	same(t, "the day after", allow(today, "b", 1), false)
	ok(t, s.Expire(ctx, Noon().AddDate(0, 0, 2), time.Hour))
	same(t, "two days after", allow(today, "b", 1), true)
}
