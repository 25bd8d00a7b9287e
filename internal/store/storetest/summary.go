package storetest

import (
	"reflect"
	"testing"
	"time"

	"sekimori/internal/report"
)

// testSummary checks that windows, states and outcomes are counted apart, and the other figures.
func testSummary(t *testing.T, s report.Store) {
	ctx := t.Context()
	if got, err := s.Summary(ctx, Noon()); err != nil || !reflect.DeepEqual(got, report.Summary{Standings: got.Standings, Largest: got.Largest}) ||
		len(got.Standings)+len(got.Largest) > 0 {
		t.Fatalf("of an empty store: %+v %v", got, err)
	}
	before, today := Day(-1), Day(0)
	b := Batch("b1", Tally(Policy("a.example"), before, Rows(0, 3)), Tally(Policy("b.example"), before, Rows(0, 5)), Tally(Policy("c.example"), today, Rows(0, 4)),
		Tally(Policy("d.example"), today, Rows(0, 1)))
	b.Tallies[0].Lost = 7
	lost := b.Tallies[0].Window
	b.Seen = []report.Sighting{{Domain: "a.example", Day: 20700, Kind: report.SeenPass}, {Domain: "a.example", Day: 20600, Kind: report.SeenWrote}}
	addAt(t, s, Noon().AddDate(0, 0, -1), b)
	for _, x := range []report.Suppression{{Target: "a@b.example", Until: Noon().Add(time.Second)}, {Target: "b@b.example", Until: Noon()}, {Target: "c@b.example"}} {
		x.Since, x.By = Noon(), report.ByOperator
		if err := s.Suppress(ctx, x); err != nil {
			t.Fatal(err)
		}
	}
	job, err := s.Claim(ctx, closed(before), "me", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(ctx, job, report.Outcome{Word: report.WithheldLoop}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Summary(ctx, Noon())
	if err != nil {
		t.Fatal(err)
	}
	var rows, messages, losses int64
	count := map[string]int64{}
	for _, st := range got.Standings {
		rows, messages = rows+st.Rows, messages+st.Messages
		count[string(st.State)+" "+string(st.Outcome)] += st.Jobs
		if st.Window == lost {
			losses += st.Lost
		}
	}
	if want := map[string]int64{"open ": 2, "due ": 1, "done loop": 1}; !reflect.DeepEqual(count, want) {
		t.Errorf("jobs by state and outcome: %v, want %v", count, want)
	}
	if rows != 13 || messages != 13 || losses != 7 {
		t.Errorf("%d rows, %d messages, %d lost: %+v", rows, messages, losses, got.Standings)
	}
	if len(got.Standings) != 3 || got.Standings[0].Window != today || got.Standings[1].Window != before || got.Standings[1].State != report.StateDone {
		t.Errorf("the order: %+v", got.Standings)
	}
	var largest []string
	for _, j := range got.Largest {
		largest = append(largest, string(j.Policy.Domain))
	}
	if want := []string{"b.example", "c.example", "a.example", "d.example"}; !reflect.DeepEqual(largest, want) || got.Largest[0].Rows != 5 {
		t.Errorf("the largest: %v, want %v", largest, want)
	}
	oldest := Tally(Policy("x"), before, nil).SendAt
	if !got.Oldest.Equal(oldest) || got.FirstDay != 20700 || got.Suppressed != 1 {
		t.Errorf("oldest %v, want %v; first day %d; %d suppressed", got.Oldest, oldest, got.FirstDay, got.Suppressed)
	}
}
