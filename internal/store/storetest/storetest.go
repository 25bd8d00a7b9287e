// Package storetest checks that a store keeps the promises of [report.Store]. The tests of each store
// call Run, as the tests of a file system call testing/fstest.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// Open opens a new and empty store. It closes the store by t.Cleanup.
type Open func(t testing.TB) report.Store

// Run runs the whole suite. Each test has a store of its own.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(*testing.T, report.Store)
	}{
		{"Add", testAdd},
		{"AddTwice", testAddTwice},
		{"AddTwiceAtOnce", testAddTwiceAtOnce},
		{"AddAtOnce", testAddAtOnce},
		{"AddWhileClaimed", testAddWhileClaimed},
		{"Late", testLate},
		{"OldWindow", testOldWindow},
		{"ClockBack", testClockBack},
		{"MaxPolicies", testMaxPolicies},
		{"MaxRows", testMaxRows},
		{"MaxJobs", testMaxJobs},
		{"SomeJobs", testSomeJobs},
		{"Lengths", testLengths},
		{"OnlyLost", testOnlyLost},
		{"Cancelled", testCancelled},
		{"CancelledInBetween", testCancelledInBetween},
		{"Claim", testClaim},
		{"ClaimAtOnce", testClaimAtOnce},
		{"ClaimJob", testClaimJob},
		{"Lease", testLease},
		{"Finish", testFinish},
		{"ReportID", testReportID},
		{"Rows", testRows},
		{"RowsAndOthers", testRowsAndOthers},
		{"Jobs", testJobs},
		{"Deliveries", testDeliveries},
		{"Suppressions", testSuppressions},
		{"Seen", testSeen},
		{"Allow", testAllow},
		{"Expire", testExpire},
		{"ExpireRows", testExpireRows},
		{"ExpireLists", testExpireLists},
		{"Marks", testMarks},
		{"Hostile", testHostile},
		{"HostileOthers", testHostileOthers},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("Summary", func(t *testing.T) { testSummary(t, open(t)) })
	t.Run("Secret", func(t *testing.T) { testSecret(t, open(t), open(t)) })
}

// Noon is the time at which the tests begin. Its window is Day(0).
func Noon() time.Time { return time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC) }

// Day returns the window of the day that is n days after that of Noon.
func Day(n int) report.Window {
	begin := Noon().Truncate(24*time.Hour).Unix() + int64(n)*86400
	return report.Window{Begin: begin, End: begin + 86399}
}

// closed is a time at which the window is closed, and at which the jobs of [Tally] are due.
func closed(w report.Window) time.Time { return time.Unix(w.End, 0).UTC().Add(3 * time.Hour) }

// Policy returns the policy of a domain.
func Policy(domain string) report.Policy {
	return report.Policy{Domain: dns.Name(domain), P: "reject", SP: "quarantine", NP: "reject", ADKIM: "relaxed", ASPF: "strict", FO: "0",
		Method: "treewalk"}
}

// Row returns a row with a count of one. Different numbers give different rows of the size of real ones.
func Row(n int) report.Row {
	r := report.Row{
		Source: netip.AddrFrom4([4]byte{192, byte(n >> 16), byte(n >> 8), byte(n)}), Disposition: report.None, DKIM: n%2 == 0,
		HeaderFrom: "shop.example", EnvelopeFrom: dns.Name(fmt.Sprintf("bounce%d.mail.example", n%1000)),
		AuthDKIM: []report.DKIMResult{{Domain: "shop.example", Selector: "s20261128", Result: "pass"}, {Domain: "esp.example", Selector: "k1", Result: "pass"}},
		AuthSPF:  report.SPFResult{Domain: fmt.Sprintf("bounce%d.mail.example", n%1000), Result: "pass"},
		Count:    1,
	}
	if n%2 == 1 {
		r.Disposition, r.AuthDKIM[0].Result = report.None, "fail"
		r.Reasons = []report.Reason{{Type: "local_policy", Comment: "monitor mode"}}
	}
	return r
}

// Rows returns the rows from number first to before number end, in the order of their keys.
func Rows(first, end int) []report.Row {
	rows := make([]report.Row, 0, end-first)
	for n := first; n < end; n++ {
		rows = append(rows, Row(n))
	}
	return sorted(rows)
}

// sorted returns the rows in the order of their keys.
func sorted(rows []report.Row) []report.Row {
	keys := make(map[report.Key]report.Row, len(rows))
	for _, r := range rows {
		keys[r.Key()] = r
	}
	rows = rows[:0]
	for _, k := range slices.SortedFunc(maps.Keys(keys), report.Key.Compare) {
		rows = append(rows, keys[k])
	}
	return rows
}

// Tally returns a tally whose messages are all a reason to send. The job is due an hour after its
// window is closed.
func Tally(p report.Policy, w report.Window, rows []report.Row) report.Tally {
	return report.Tally{Policy: p, Window: w, SendAt: time.Unix(w.End+1, 0).UTC().Add(report.Grace + time.Hour), Rows: rows, Causes: sum(rows)}
}

// Batch returns a batch of the day of Noon, with its tallies in order.
func Batch(id string, tallies ...report.Tally) report.Batch {
	slices.SortFunc(tallies, func(a, b report.Tally) int {
		if c := a.Policy.ID().Compare(b.Policy.ID()); c != 0 {
			return c
		}
		return int(a.Window.Begin - b.Window.Begin)
	})
	return report.Batch{ID: id, Current: Day(0), Tallies: tallies}
}

func sum(rows []report.Row) (n int64) {
	for _, r := range rows {
		n += r.Count
	}
	return n
}

// add adds a batch at the time of Noon.
func add(t *testing.T, s report.Store, b report.Batch) {
	t.Helper()
	addAt(t, s, Noon(), b)
}

func addAt(t *testing.T, s report.Store, now time.Time, b report.Batch) {
	t.Helper()
	ok(t, s.Add(t.Context(), now, b))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants fails unless the error is the wanted one.
func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// same fails unless got and want are equal.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func jobs(t *testing.T, s report.Store, f report.Filter) []report.Job {
	t.Helper()
	all, err := s.Jobs(t.Context(), f)
	ok(t, err)
	return all
}

// onlyJob returns the job that the filter selects, and fails unless there is exactly one.
func onlyJob(t *testing.T, s report.Store, f report.Filter) report.Job {
	t.Helper()
	all := jobs(t, s, f)
	if len(all) != 1 {
		t.Fatalf("%+v selects %d jobs, want 1: %+v", f, len(all), all)
	}
	return all[0]
}

func rowsOf(t *testing.T, s report.Store, job int64) (rows []report.Row) {
	t.Helper()
	for r, err := range s.Rows(t.Context(), job) {
		ok(t, err)
		if rows = append(rows, r); len(rows) > 100_000 {
			t.Fatal("the rows do not end")
		}
	}
	return rows
}

// content is everything that Add can change, without the ids, which may differ between equal stores.
type content struct {
	job  report.Job
	rows []report.Row
}

func contents(t *testing.T, s report.Store) (all []content) {
	t.Helper()
	for _, j := range jobs(t, s, report.Filter{}) {
		rows := rowsOf(t, s, j.ID)
		if j.Rows != int64(len(rows)) || j.Messages != sum(rows) {
			t.Errorf("the job of %s says %d rows and %d messages, but has %d and %d", j.Policy.Domain, j.Rows, j.Messages, len(rows), sum(rows))
		}
		j.ID = 0
		all = append(all, content{j, rows})
	}
	return all
}

// claim claims a job for an hour.
func claim(t *testing.T, s report.Store, now time.Time, owner string) report.Job {
	t.Helper()
	j, err := s.Claim(t.Context(), now, owner, time.Hour)
	ok(t, err)
	return j
}

// finish claims the next job and ends it.
func finish(t *testing.T, s report.Store, now time.Time) report.Job {
	t.Helper()
	j := claim(t, s, now, "finisher")
	ok(t, s.Finish(t.Context(), j, report.Outcome{Word: report.Sent, Reason: "sent"}))
	return j
}

func testSecret(t *testing.T, a, b report.Store) {
	first, err := a.Secret(t.Context())
	ok(t, err)
	if len(first) < 16 {
		t.Errorf("the secret has %d octets, want 16 or more", len(first))
	}
	again, err := a.Secret(context.Background())
	ok(t, err)
	same(t, "the secret the second time", again, first)
	clear(again)
	third, err := a.Secret(t.Context())
	ok(t, err)
	same(t, "the secret after the caller changed it", third, first)
	other, err := b.Secret(t.Context())
	ok(t, err)
	if reflect.DeepEqual(first, other) {
		t.Error("two stores have the same secret")
	}
}
