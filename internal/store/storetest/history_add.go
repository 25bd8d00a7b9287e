package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/history"
	"sekimori/internal/policy"
)

func testAddHistoryTwice(t *testing.T, s history.Store) {
	for range 2 {
		addHistory(t, s, "a", records(0, 100))
	}
	addHistory(t, s, "empty", nil)
	same(t, "records", len(find(t, s, history.Query{})), 100)
}

// testAddHistoryAtOnce adds from several daemons, also the first of a day.
func testAddHistoryAtOnce(t *testing.T, s history.Store) {
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5 {
				all := records(0, 70)
				for n := range all {
					all[n].ID = fmt.Sprintf("W%dI%dN%d", w, i, n)
					all[n].At = all[n].At.AddDate(0, 0, i)
				}
				if err := s.AddHistory(t.Context(), Noon(), history.Batch{ID: fmt.Sprint(w, "/", i), Host: "mx1.example", Blocks: blocksOf(all)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := find(t, s, history.Query{Limit: 10_000})
	slices.Sort(got)
	same(t, "records", len(slices.Compact(got)), 4*5*70)
}

func testAddHistoryTwiceAtOnce(t *testing.T, s history.Store) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.AddHistory(t.Context(), Noon(), history.Batch{ID: "a", Host: "mx1.example", Blocks: blocksOf(records(0, 100))}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	same(t, "records", len(find(t, s, history.Query{})), 100)
}

// testHostileHistory puts hostile strings everywhere. What was stored must be found by the same string.
func testHostileHistory(t *testing.T, s history.Store) {
	for i, x := range hostile() {
		r := Record{ID: x, Queue: x, Author: dns.Name(x), Sender: dns.Name(x), Client: netip.IPv6Unspecified(), Verdict: policy.Action(x), At: Noon()}
		b := history.Batch{ID: x, Host: x, Blocks: []history.Block{{Rows: []history.Row{r.Row()}, Data: []byte(x)}}}
		for range 2 {
			ok(t, s.AddHistory(t.Context(), Noon(), b))
		}
		for _, k := range []history.KeyIn{history.IDKey(x), history.QueueKey(x), history.AuthorKey(dns.Name(x)), history.SenderKey(dns.Name(x))} {
			hits, err := s.FindHistory(t.Context(), history.Query{Any: []history.KeyIn{k}, Verdict: policy.Action(x), Limit: 10})
			ok(t, err)
			if len(hits) != 1 {
				t.Errorf("%.20q: %d hits in column %d", x, len(hits), k.Column)
				continue
			}
			host, data, err := s.HistoryBlock(t.Context(), hits[0].Block)
			ok(t, err)
			same(t, fmt.Sprintf("host of %.20q", x), host, x)
			same(t, fmt.Sprintf("data of %.20q", x), string(data), x)
		}
		same(t, "records", len(find1(t, s)), i+1)
	}
}

func find1(t *testing.T, s history.Store) []history.Hit {
	t.Helper()
	hits, err := s.FindHistory(t.Context(), history.Query{Limit: 1000})
	ok(t, err)
	return hits
}

// fiveDays adds 100 records on each of five days. The first day is that of Noon.
func fiveDays(t *testing.T, s history.Store) (days []string) {
	t.Helper()
	for i := range 5 {
		all := records(0, 100)
		for n := range all {
			all[n].ID = fmt.Sprintf("D%dN%d", i, n)
			all[n].At = all[n].At.AddDate(0, 0, i)
		}
		addHistory(t, s, fmt.Sprint(i), all)
		days = append(days, fmt.Sprintf("D%dN50", i))
	}
	return days
}

// left returns which of the ids are still found.
func left(t *testing.T, s history.Store, ids []string) (found []string) {
	t.Helper()
	for _, id := range ids {
		if len(find(t, s, history.Query{Any: []history.KeyIn{history.IDKey(id)}})) > 0 {
			found = append(found, id)
		}
	}
	return found
}

const manyOctets = 1 << 40

func testExpireHistoryByAge(t *testing.T, s history.Store) {
	size, err := s.ExpireHistory(t.Context(), Noon(), time.Hour, 1)
	ok(t, err)
	same(t, "an empty store", size, history.Size{})
	days := fiveDays(t, s)
	midnight := Noon().Add(12 * time.Hour) // the end of the first day
	for _, tt := range []struct {
		now  time.Time
		left int // days
	}{{midnight.Add(48*time.Hour - time.Second), 5}, {midnight.Add(48 * time.Hour), 4}, {midnight.Add(96*time.Hour + time.Minute), 2}, {midnight.Add(960 * time.Hour), 0}} {
		size, err := s.ExpireHistory(t.Context(), tt.now, 48*time.Hour, manyOctets)
		ok(t, err)
		same(t, fmt.Sprint("left at ", tt.now), left(t, s, days), append([]string(nil), days[5-tt.left:]...))
		same(t, "days", size.Days, tt.left)
		same(t, "days dropped for the size", size.Dropped, 0)
		same(t, "records", len(find1(t, s)), min(1000, 100*tt.left))
		if tt.left > 0 {
			same(t, "the first day", size.First, history.DayOf(Noon())+history.Day(5-tt.left))
		}
	}
}

func testExpireHistoryBySize(t *testing.T, s history.Store) {
	days := fiveDays(t, s)
	before, err := s.ExpireHistory(t.Context(), Noon(), time.Hour, manyOctets)
	ok(t, err)
	if before.Days != 5 || before.Octets < 500*100 || before.Octets > 500*2000 {
		t.Fatalf("before: %+v", before)
	}
	for left5 := 5; left5 >= 0; left5-- {
		size, err := s.ExpireHistory(t.Context(), Noon(), time.Hour, before.Octets*int64(left5)/5+before.Octets/50)
		ok(t, err)
		same(t, fmt.Sprint("left of ", left5), left(t, s, days), append([]string(nil), days[5-left5:]...))
		same(t, "days", size.Days, left5)
		same(t, "days dropped", size.Dropped, min(1, 5-left5))
		if want := before.Octets * int64(left5) / 5; size.Octets < want*9/10 || size.Octets > want*11/10 {
			t.Errorf("%d octets, want about %d", size.Octets, want)
		}
	}
}

// testAddAfterExpire adds to a day that was dropped, as a daemon does that drains its spool.
func testAddAfterExpire(t *testing.T, s history.Store) {
	days := fiveDays(t, s)
	_, err := s.ExpireHistory(t.Context(), Noon().Add(1000*time.Hour), time.Hour, manyOctets)
	ok(t, err)
	same(t, "left", left(t, s, days), []string(nil))
	addHistory(t, s, "again", records(0, 10))
	same(t, "found", len(find1(t, s)), 10)
}

// testHistoryDisorder adds records in another order than that of their times, as after a change of the clock. Each that
// lies in the time that is asked for must be found.
func testHistoryDisorder(t *testing.T, s history.Store) {
	all := records(0, 8)
	for i, hour := range []int{4, 2, 6, 3, 30, 5, 27, 1} {
		all[i].At = Noon().Add(time.Duration(hour) * time.Hour)
		addHistory(t, s, fmt.Sprint(i), all[i:i+1])
	}
	const none = 99 // an hour that is no limit
	hours := []int{1, 2, 3, 4, 6, 7, 27, 28, 30, 31, none}
	for _, from := range hours {
		for _, until := range hours {
			var q history.Query
			if from != none {
				q.From = Noon().Add(time.Duration(from) * time.Hour)
			}
			if until != none {
				q.Until = Noon().Add(time.Duration(until) * time.Hour)
			}
			got := find(t, s, q)
			slices.Sort(got)
			want := wanted(all, func(r *Record) bool { return !r.At.Before(q.From) && (until == none || r.At.Before(q.Until)) })
			slices.Sort(want)
			same(t, fmt.Sprintf("from hour %d until hour %d", from, until), got, want)
		}
	}
}
