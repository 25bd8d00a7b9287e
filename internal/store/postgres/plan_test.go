package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/history"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/cluster"
)

// planRows returns how many rows the day of TestHistoryPlans has. SEKIMORI_PLAN_ROWS changes it.
func planRows(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SEKIMORI_PLAN_ROWS")
	if text == "" {
		return 100_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// explained is what EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) says of the whole statement.
type explained struct {
	Plan struct {
		Hit  int     `json:"Shared Hit Blocks"`
		Read int     `json:"Shared Read Blocks"`
		Time float64 `json:"Actual Total Time"` // milliseconds
		Rows float64 `json:"Actual Rows"`
	} `json:"Plan"`
}

// TestHistoryPlans: a search looks at few pages, however many rows the day has. The table was not analyzed, as
// that of a new day.
func TestHistoryPlans(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	s := open1(t, c.Database(t))
	const day = history.Day(20_786)
	n := planRows(t)
	random := rand.New(rand.NewPCG(3, 4))
	authors := rand.NewZipf(random, 1.1, 4, 4999)
	key := func() int32 { return int32(random.Uint32()) } //nolint:gosec // any key will do
	var some [history.Columns]int32
	step := 24 * time.Hour / time.Duration(n)
	for first := 0; first < n; first += 6400 {
		b := history.Batch{ID: fmt.Sprint(first), Host: "mx1.example"}
		for at := first; at < min(n, first+6400); at++ {
			if at%history.MaxBlockRows == 0 {
				b.Blocks = append(b.Blocks, history.Block{Data: []byte("x")})
			}
			r := history.Row{Time: day.Begin().Add(time.Duration(at) * step)}
			r.Keys = history.Keys{key(), key(), int32(1000 + authors.Uint64()), int32(1000 + authors.Uint64()), key(), history.OutcomeKey(verdictOf(random), reasonOf(random)).Key} //nolint:gosec // small
			r.Hint = history.Hint(random.IntN(1<<15-1) + 1)                                                                                                                         //nolint:gosec // 15 bits
			if at == n/3 {
				some = r.Keys
			}
			last := &b.Blocks[len(b.Blocks)-1]
			last.Rows = append(last.Rows, r)
		}
		if err := s.AddHistory(t.Context(), day.Begin(), b); err != nil {
			t.Fatal(err)
		}
	}
	_, table := historyParts(day)
	whole := history.Query{From: day.Begin(), Until: (day + 1).Begin(), Limit: 128}
	by := func(column history.Column, k int32) history.Query {
		q := whole
		q.Any = []history.KeyIn{{Column: column, Key: k}}
		return q
	}
	hour := whole
	hour.From, hour.Until = day.Begin().Add(5*time.Hour), day.Begin().Add(6*time.Hour)
	page := by(history.ByAuthor, 1000)
	page.After = &history.Hit{Time: day.Begin().Add(12 * time.Hour), Block: history.BlockID{Day: day, ID: 1 << 30}}
	frequent, rare, host, another, verdict, never := whole, whole, whole, whole, whole, whole
	frequent.Reason, rare.Verdict, rare.Reason = policy.ReasonAligned, policy.Accept, policy.ReasonForwarder
	host.Host, another.Host = "mx1.example", "mx2.example"
	verdict.Verdict, never.Verdict = policy.Quarantine, neverGiven
	for _, tt := range []struct {
		name  string
		q     history.Query
		pages int // at most; the day has 834
	}{
		{"id", by(history.ByID, some[history.ByID]), 60},
		{"queue id", by(history.ByQueue, some[history.ByQueue]), 60},
		{"client", by(history.ByClient, some[history.ByClient]), 60},
		{"the busiest author", by(history.ByAuthor, 1000), 300},
		{"any author", by(history.ByAuthor, some[history.ByAuthor]), 300},
		{"the busiest sender", by(history.BySender, 1000), 300},
		{"the newest", whole, 200},
		{"a frequent reason", frequent, 600},
		{"a rare reason and verdict", rare, 300},
		{"a host", host, 400},
		{"another host", another, 60},
		{"a verdict", verdict, 600},
		{"a verdict that never occurs", never, 60},
		{"an hour", hour, 600}, // all of its rows,
		{"the next page of an author", page, 600},
	} {
		plan, text := explain(t, s, tt.q, table, day)
		t.Logf("%s: %.0f rows, %d pages, %.2f ms", tt.name, plan.Plan.Rows, plan.Plan.Hit+plan.Plan.Read, plan.Plan.Time)
		if got := plan.Plan.Hit + plan.Plan.Read; got > tt.pages {
			t.Errorf("%s: %d pages, want at most %d\n%s", tt.name, got, tt.pages, text)
		}
		if (plan.Plan.Rows == 0) != (tt.q.Host == "mx2.example" || tt.q.Verdict == neverGiven) {
			t.Errorf("%s: nothing found", tt.name)
		}
	}
	t.Log(c.SQL(t, s.pool.Config().ConnConfig.Database, "SELECT relname, pg_relation_size(oid) / "+strconv.Itoa(n)+
		"::float FROM pg_class WHERE relnamespace = 'sekimori'::regnamespace AND relname LIKE 'history_d%'"))
}

// neverGiven is a verdict that no message of the day has.
const neverGiven = policy.TempFail

// Most messages are accepted because an aligned identifier passes. One in a thousand comes through a trusted forwarder.
func verdictOf(random *rand.Rand) policy.Action {
	if random.IntN(10) > 0 {
		return policy.Accept
	}
	for {
		if a := policy.Actions[random.IntN(len(policy.Actions))]; a != neverGiven {
			return a
		}
	}
}

func reasonOf(random *rand.Rand) policy.Reason {
	switch n := random.IntN(1000); {
	case n == 0:
		return policy.ReasonForwarder
	case n < 100:
		return policy.Reasons[random.IntN(len(policy.Reasons))]
	}
	return policy.ReasonAligned
}

// explain runs the statement of a search once to warm the cache and once more.
func explain(t *testing.T, s *Store, q history.Query, table string, d history.Day) (e explained, text string) {
	t.Helper()
	for range 2 {
		err := s.transact(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			rows, err := verdictRows(ctx, tx, q, table)
			if err != nil {
				return err
			}
			statement, args := searchDay(q, rows, &d)
			return tx.QueryRow(ctx, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+statement, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&text)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []explained
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	return all[0], text
}
