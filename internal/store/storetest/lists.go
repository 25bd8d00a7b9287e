package storetest

import (
	"fmt"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// testJobs checks the order of the list, and each field of the filter.
func testJobs(t *testing.T, s report.Store) {
	same(t, "jobs of an empty store", len(jobs(t, s, report.Filter{})), 0)
	for _, d := range []string{"b.example", "c.example", "a.example"} {
		for _, w := range []report.Window{Day(0), Day(-2), Day(-1)} {
			addAt(t, s, time.Unix(w.End, 0), Batch(fmt.Sprint(d, w.Begin), Tally(Policy(d), w, Rows(0, 1))))
		}
	}
	j := claim(t, s, closed(Day(-1)), "x")
	_, err := s.SetReportID(t.Context(), j, "id@isp.example")
	ok(t, err)
	ok(t, s.Finish(t.Context(), j, report.Outcome{Word: report.Sent}))
	claim(t, s, closed(Day(-1)), "x")

	list := func(f report.Filter) (got []string) {
		for _, j := range jobs(t, s, f) {
			got = append(got, fmt.Sprintf("%s %d", j.Policy.Domain, (j.Window.Begin-Day(0).Begin)/86400))
		}
		return got
	}
	all := []string{"a.example 0", "b.example 0", "c.example 0", "a.example -1", "b.example -1", "c.example -1", "a.example -2", "b.example -2", "c.example -2"}
	same(t, "all", list(report.Filter{}), all)
	same(t, "window", list(report.Filter{Window: Day(-1).Begin}), all[3:6])
	same(t, "domain", list(report.Filter{Domain: "c.example"}), []string{all[2], all[5], all[8]})
	same(t, "domain and window", list(report.Filter{Domain: "c.example", Window: Day(-2).Begin}), all[8:])
	same(t, "open", list(report.Filter{State: report.StateOpen}), all[:3])
	same(t, "done", len(list(report.Filter{State: report.StateDone})), 1)
	same(t, "claimed", len(list(report.Filter{State: report.StateClaimed})), 1)
	same(t, "due", len(list(report.Filter{State: report.StateDue})), 4)
	same(t, "report id", onlyJob(t, s, report.Filter{ReportID: "id@isp.example"}).ID, j.ID)
	same(t, "id", onlyJob(t, s, report.Filter{ID: j.ID}).ReportID, "id@isp.example")
	same(t, "limit", list(report.Filter{Limit: 4}), all[:4])
	same(t, "limit and domain", list(report.Filter{Limit: 1, Domain: "b.example"}), all[1:2])
	same(t, "unknown domain", len(list(report.Filter{Domain: "example"})), 0)
	same(t, "unknown id", len(list(report.Filter{ID: j.ID + 1000})), 0)
}

func testDeliveries(t *testing.T, s report.Store) {
	ctx := t.Context()
	add(t, s, Batch("a", Tally(Policy("shop.example"), Day(0), Rows(0, 1)), Tally(Policy("other.example"), Day(0), Rows(0, 1))))
	job, other := onlyJob(t, s, report.Filter{Domain: "shop.example"}).ID, onlyJob(t, s, report.Filter{Domain: "other.example"}).ID
	d := report.Delivery{Job: job, Address: "rua@shop.example", Word: report.Waiting, Detail: "verified", Tries: 1, NextTry: Noon().Add(time.Hour),
		Reply: "451 4.7.1 later", At: Noon(), Window: Day(5)}
	set := func(d report.Delivery) int64 {
		t.Helper()
		id, err := s.SetDelivery(ctx, d)
		ok(t, err)
		if id <= 0 {
			t.Errorf("id %d", id)
		}
		return id
	}
	id := set(d)
	d.ID, d.Window = id, Day(0)
	got, err := s.Delivery(ctx, id)
	ok(t, err)
	same(t, "delivery", got, d)

	second := set(report.Delivery{Job: job, Address: "rua@esp.example"})
	third := set(report.Delivery{Job: other, Address: "rua@shop.example"})
	if second == id || third == id || third == second {
		t.Errorf("ids %d, %d, %d", id, second, third)
	}
	d.Word, d.Tries, d.NextTry, d.Reply, d.Bounced, d.At = report.Sent, 2, time.Time{}, "250 ok", true, Noon().Add(time.Hour)
	same(t, "id of what is replaced", set(d), id)
	d.ID = 0
	same(t, "id of what is replaced, found by its address", set(d), id)
	d.ID = id
	all, err := s.Deliveries(ctx, job)
	ok(t, err)
	same(t, "deliveries", all, []report.Delivery{d, {ID: second, Job: job, Address: "rua@esp.example", Window: Day(0)}})
	all, err = s.Deliveries(ctx, job+1000)
	ok(t, err)
	same(t, "deliveries of no job", len(all), 0)
	_, err = s.Delivery(ctx, third+1000)
	wants(t, "unknown delivery", err, report.ErrUnknown)
	_, err = s.SetDelivery(ctx, report.Delivery{Job: job + 1000, Address: "rua@shop.example"})
	wants(t, "delivery of an unknown job", err, report.ErrUnknown)
	atOnce(t, 4, func(int) error {
		for n := range 5 {
			if _, err := s.SetDelivery(ctx, report.Delivery{Job: other, Address: fmt.Sprintf("a%d@shop.example", n)}); err != nil {
				return err
			}
		}
		return nil
	})
	all, err = s.Deliveries(ctx, other)
	ok(t, err)
	same(t, "number of deliveries", len(all), 6)
}

func testSuppressions(t *testing.T, s report.Store) {
	ctx := t.Context()
	_, err := s.Suppression(ctx, "rua@shop.example")
	wants(t, "unknown suppression", err, report.ErrUnknown)
	wants(t, "Unsuppress of an unknown target", s.Unsuppress(ctx, "rua@shop.example"), report.ErrUnknown)
	b := report.Suppression{Target: "rua@shop.example", Since: Noon(), Strikes: 1, Reason: "550 5.7.1 no", By: "refusal", Window: Day(0).Begin, Sent: Noon().Add(time.Hour)}
	a := report.Suppression{Target: "@shop.example", Since: Noon(), Until: Noon().AddDate(0, 0, 30), Reason: "asked by phone", By: "operator"}
	ok(t, s.Suppress(ctx, b))
	ok(t, s.Suppress(ctx, a))
	b.Strikes, b.Until, b.By, b.Window = 2, Noon().AddDate(0, 0, 7), "bounce", Day(1).Begin
	ok(t, s.Suppress(ctx, b))
	all, err := s.Suppressions(ctx)
	ok(t, err)
	same(t, "suppressions", all, []report.Suppression{a, b})
	got, err := s.Suppression(ctx, b.Target)
	ok(t, err)
	same(t, "suppression", got, b)
	ok(t, s.Unsuppress(ctx, a.Target))
	wants(t, "Unsuppress twice", s.Unsuppress(ctx, a.Target), report.ErrUnknown)
	all, err = s.Suppressions(ctx)
	ok(t, err)
	same(t, "suppressions", all, []report.Suppression{b})
}

// testSeen has sightings at the edges of what is summed up.
func testSeen(t *testing.T, s report.Store) {
	const today = report.Day(20000)
	var batches int
	see := func(sightings ...report.Sighting) {
		t.Helper()
		batches++
		add(t, s, report.Batch{ID: fmt.Sprint(batches), Current: Day(0), Seen: sightings})
	}
	want := func(domain dns.Name, today report.Day, want report.Seen) {
		t.Helper()
		got, err := s.Seen(t.Context(), domain, today)
		ok(t, err)
		same(t, fmt.Sprintf("%s on day %d", domain, today), got, want)
	}
	want("shop.example", today, report.Seen{})
	see(report.Sighting{Domain: "shop.example", Day: today - 30, Kind: report.SeenFail}, report.Sighting{Domain: "shop.example", Day: today - 29, Kind: report.SeenFail},
		report.Sighting{Domain: "shop.example", Day: today - 5, Kind: report.SeenPass}, report.Sighting{Domain: "shop.example", Day: today, Kind: report.SeenFail},
		report.Sighting{Domain: "shop.example", Day: today, Kind: report.SeenPass}, report.Sighting{Domain: "shop.example", Day: today + 1, Kind: report.SeenPass})
	see(report.Sighting{Domain: "shop.example", Day: today - 5, Kind: report.SeenPass}, report.Sighting{Domain: "a.shop.example", Day: today - 3, Kind: report.SeenPass})
	want("shop.example", today, report.Seen{PassDays: 2, FirstPass: today - 5, AnyDays: 3, FirstAny: today - 29})
	want("shop.example", today+1, report.Seen{PassDays: 3, FirstPass: today - 5, AnyDays: 3, FirstAny: today - 5})
	want("shop.example", today-1, report.Seen{PassDays: 1, FirstPass: today - 5, AnyDays: 3, FirstAny: today - 30})
	want("a.shop.example", today, report.Seen{PassDays: 1, FirstPass: today - 3, AnyDays: 1, FirstAny: today - 3})
	want("example", today, report.Seen{})
	see(report.Sighting{Domain: "wrote.example", Day: today - 89, Kind: report.SeenWrote}, report.Sighting{Domain: "old.example", Day: today - 90, Kind: report.SeenWrote},
		report.Sighting{Domain: "shop.example", Day: today - 60, Kind: report.SeenWrote}, report.Sighting{Domain: "shop.example", Day: today - 70, Kind: report.SeenWrote},
		report.Sighting{Domain: "shop.example", Day: today + 3, Kind: report.SeenWrote})
	want("wrote.example", today, report.Seen{Wrote: today - 89})
	want("old.example", today, report.Seen{})
	want("shop.example", today, report.Seen{PassDays: 2, FirstPass: today - 5, AnyDays: 3, FirstAny: today - 29, Wrote: today - 60})
	want("shop.example", 0, report.Seen{})
}

// testExpire ends jobs and looks at what goes and what stays.
func testExpire(t *testing.T, s report.Store) {
	ctx := t.Context()
	const keep = report.KeepDelivery + 24*time.Hour
	add(t, s, Batch("a", Tally(Policy("a.example"), Day(0), Rows(0, 30)), Tally(Policy("a.example"), Day(1), Rows(0, 5)),
		Tally(Policy("b.example"), Day(0), Rows(0, 20)), Tally(Policy("c.example"), Day(0), Rows(0, 10)), Tally(Policy("d.example"), Day(0), Rows(0, 3))))
	now := closed(Day(0))
	a, b := claim(t, s, now, "x"), claim(t, s, now, "x")
	for _, j := range []report.Job{b, a} { // the job that goes has the last id
		_, err := s.SetDelivery(ctx, report.Delivery{Job: j.ID, Address: "rua@shop.example"})
		ok(t, err)
	}
	old, err := s.Deliveries(ctx, a.ID)
	ok(t, err)
	ok(t, s.Finish(ctx, a, report.Outcome{Word: report.Sent, Again: now}))
	claim(t, s, now, "x")
	before := contents(t, s)
	ok(t, s.Expire(ctx, now.Add(keep-time.Second), keep))
	same(t, "before the time", contents(t, s), before)
	ok(t, s.Expire(ctx, now.Add(time.Hour), 0))
	same(t, "before MaxLate", contents(t, s), before)
	ok(t, s.Expire(ctx, now.Add(keep+time.Hour), keep))
	var want []content
	for _, c := range before {
		if c.job.State != report.StateDone {
			want = append(want, c)
		}
	}
	same(t, "afterwards", contents(t, s), want)
	same(t, "rows of the job that went", len(rowsOf(t, s, a.ID)), 0)
	_, err = s.Delivery(ctx, old[0].ID)
	wants(t, "delivery of the job that went", err, report.ErrUnknown)
	left, err := s.Deliveries(ctx, b.ID)
	ok(t, err)
	same(t, "deliveries of the job that stays", len(left), 1)

	// Ids are not used again: a bounce address of an old delivery must not belong to a new one.
	add(t, s, Batch("new", Tally(Policy("new.example"), Day(1), Rows(0, 1))))
	j := onlyJob(t, s, report.Filter{Domain: "new.example"})
	id, err := s.SetDelivery(ctx, report.Delivery{Job: j.ID, Address: "rua@shop.example"})
	ok(t, err)
	if j.ID == a.ID || id == old[0].ID {
		t.Errorf("job %d, delivery %d: an id is used again", j.ID, id)
	}
}

// testExpireLists lets sightings, batch ids and suppressions grow old.
func testExpireLists(t *testing.T, s report.Store) {
	ctx := t.Context()
	today := report.Day(Noon().Unix() / 86400)
	b := Batch("a", Tally(Policy("shop.example"), Day(0), Rows(0, 1)))
	b.Seen = []report.Sighting{{Domain: "shop.example", Day: today, Kind: report.SeenPass}, {Domain: "shop.example", Day: today, Kind: report.SeenWrote}}
	add(t, s, b)
	strikes := report.Suppression{Target: "a@shop.example", Since: Noon(), Strikes: 1, Window: Day(0).Begin}
	ended := report.Suppression{Target: "b@shop.example", Since: Noon().AddDate(0, 0, -30), Until: Noon(), Strikes: 3}
	later := report.Suppression{Target: "c@shop.example", Since: Noon().AddDate(-2, 0, 0), Until: Noon().AddDate(1, 0, 0), By: "operator"}
	for _, x := range []report.Suppression{strikes, ended, later} {
		ok(t, s.Suppress(ctx, x))
	}
	expire := func(after time.Duration) { t.Helper(); ok(t, s.Expire(ctx, Noon().Add(after), 72*time.Hour)) }
	seen := func() report.Seen {
		t.Helper()
		got, err := s.Seen(ctx, "shop.example", today)
		ok(t, err)
		return got
	}
	targets := func() (got []string) {
		t.Helper()
		all, err := s.Suppressions(ctx)
		ok(t, err)
		for _, x := range all {
			got = append(got, x.Target)
		}
		return got
	}
	whole := report.Seen{PassDays: 1, FirstPass: today, AnyDays: 1, FirstAny: today, Wrote: today}
	const hours24 = 24 * time.Hour

	expire(report.KeepBatch - time.Minute)
	add(t, s, b)
	same(t, "messages while the batch's id is known", onlyJob(t, s, report.Filter{}).Messages, int64(1))
	expire(report.KeepBatch + hours24)
	add(t, s, b) // the id is gone, and so is the protection
	same(t, "messages after the batch's id is gone", onlyJob(t, s, report.Filter{}).Messages, int64(2))

	expire(report.KeepSeen - hours24)
	same(t, "seen", seen(), whole)
	expire(report.KeepSeen + 2*hours24)
	same(t, "seen after the passes are gone", seen(), report.Seen{Wrote: today})
	expire(report.KeepSuppression - hours24)
	same(t, "suppressions", targets(), []string{"a@shop.example", "b@shop.example", "c@shop.example"})
	expire(report.KeepSuppression + hours24)
	same(t, "suppressions afterwards", targets(), []string{"c@shop.example"})
	expire(report.KeepWrote + 2*hours24)
	same(t, "seen at the end", seen(), report.Seen{})
	same(t, "the open job", len(jobs(t, s, report.Filter{})), 1)
}
