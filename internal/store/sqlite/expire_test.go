package sqlite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
)

// TestExpireMany lets more grow old than one transaction deletes: rows of a job, jobs, sightings and sources.
func TestExpireMany(t *testing.T) {
	d, ctx := open(t), t.Context()
	var tallies []report.Tally
	for n := range expireMost + 1 {
		tallies = append(tallies, storetest.Tally(storetest.Policy(fmt.Sprintf("d%d.example", n)), storetest.Day(0), storetest.Rows(0, 1)))
	}
	if err := d.Add(ctx, storetest.Noon(), storetest.Batch("a", tallies...)); err != nil {
		t.Fatal(err)
	}
	const numbers = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1) "
	today := report.DayOf(storetest.Noon())
	for _, statement := range []string{
		"INSERT INTO detail SELECT 1 + n % 2, CAST(n AS BLOB), x'' FROM number", "INSERT INTO tally SELECT 1 + n % 2, CAST(n AS BLOB), 1 FROM number",
		"INSERT INTO seen SELECT n, ?2, 'pass' FROM number", "INSERT INTO total SELECT ?2, n, '', '', '', '', '', '', 1 FROM number",
	} {
		if _, err := d.w.ExecContext(ctx, numbers+statement, 2*expireRows+1, today); err != nil {
			t.Fatal(err)
		}
	}
	done := storetest.Noon().AddDate(0, 0, 2)
	for range tallies {
		j, err := d.Claim(ctx, done, "x", time.Hour)
		if err == nil {
			err = d.Finish(ctx, j, report.Outcome{Word: report.Sent})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		t.Helper()
		var counts []string
		for _, table := range []string{"tally", "detail", "job", "policy", "seen", "total"} {
			var n int
			if err := d.r.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			counts = append(counts, fmt.Sprint(table, " ", n))
		}
		return strings.Join(counts, ", ")
	}
	if got, want := left(), "tally 10202, detail 10202, job 201, policy 201, seen 10001, total 10001"; got != want {
		t.Fatalf("before: %s, want %s", got, want)
	}
	if err := d.Expire(ctx, done.Add(48*time.Hour), 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), "tally 0, detail 0, job 201, policy 201, seen 10001, total 10001"; got != want {
		t.Errorf("after the time of rows: %s, want %s", got, want)
	}
	later := done.AddDate(2, 0, 0)
	if err := d.Expire(ctx, later, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := d.Ledger().Expire(ctx, later, 0); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), "tally 0, detail 0, job 0, policy 0, seen 0, total 0"; got != want {
		t.Errorf("at last: %s, want %s", got, want)
	}
}
