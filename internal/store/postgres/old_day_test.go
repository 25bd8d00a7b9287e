package postgres

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/history"
	"sekimori/internal/policy"
	"sekimori/internal/store/storetest"
	"sekimori/internal/testkit/cluster"
)

// upgraded is a store in which an earlier version has made days of the history. Its indices have whole values.
type upgraded struct {
	*Store
	old func(history.Day) bool // which days
}

// AddHistory makes the partitions of old days before the store would make new ones.
func (u upgraded) AddHistory(ctx context.Context, now time.Time, b history.Batch) error {
	err := u.do(ctx, "make the partitions of an earlier version", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(partitionLock)); err != nil {
			return err
		}
		for i := range b.Blocks {
			if d := b.Blocks[i].Day(); u.old(d) {
				if err := oldPartition(ctx, tx, d); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return u.Store.AddHistory(ctx, now, b)
}

// oldPartition is historyPartition as it was before the indices had only the first bits of values.
func oldPartition(ctx context.Context, tx pgx.Tx, d history.Day) error {
	blocks, rows := historyParts(d)
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", rows).Scan(&there); err != nil || there {
		return err
	}
	text := fmt.Sprintf(`
		CREATE TABLE %[1]s (LIKE history_block INCLUDING STORAGE, PRIMARY KEY (id));
		ALTER TABLE history_block ATTACH PARTITION %[1]s FOR VALUES IN (%[3]d);
		CREATE TABLE %[2]s (LIKE history);
		CREATE INDEX ON %[2]s (at);
		CREATE INDEX ON %[2]s (author, at) WHERE author <> 0;`, blocks, rows, d)
	for _, name := range []string{"id", "queue", "sender", "client"} {
		text += fmt.Sprintf("CREATE INDEX ON %[1]s (%[2]s) WHERE %[2]s <> 0;", rows, name)
	}
	_, err := tx.Exec(ctx, text+fmt.Sprintf("ALTER TABLE history ATTACH PARTITION %s FOR VALUES IN (%d)", rows, d))
	return err
}

// everyDay and someDays say which days an earlier version has made.
func everyDay(history.Day) bool   { return true }
func someDays(d history.Day) bool { return d%2 == 0 }

// TestHistoryOfEarlierVersion runs the tests of every store on days of an earlier version, and on such days
// beside new ones.
func TestHistoryOfEarlierVersion(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	for name, old := range map[string]func(history.Day) bool{"Old": everyDay, "Mixed": someDays} {
		t.Run(name, func(t *testing.T) {
			storetest.RunHistory(t, func(t testing.TB) history.Store { return upgraded{open1(t, c.Database(t)), old} })
		})
	}
}

// TestOldDayAnswersAsNew asks the same of a history of old days, of one of old and new days, and of one of new
// days. All must give the hits that a plain loop over the rows finds. Few values of the keys make many hits, and
// many keys and times have the same first bits.
func TestOldDayAnswersAsNew(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	const first, days = history.Day(20_786), 3
	random := rand.New(rand.NewPCG(15, 17))
	var batches []history.Batch
	for n := range 12 {
		batches = append(batches, randomBatch(random, n, first+history.Day(n%days)))
	}
	stores := map[string]*Store{}
	for name, old := range map[string]func(history.Day) bool{"old": everyDay, "mixed": someDays, "new": func(history.Day) bool { return false }} {
		database := c.Database(t)
		u := upgraded{open1(t, database), old}
		for _, b := range batches {
			if err := u.AddHistory(t.Context(), first.Begin(), b); err != nil {
				t.Fatal(err)
			}
		}
		stores[name] = u.Store
		const whole = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'sekimori' AND tablename LIKE 'history_d%' AND indexdef NOT LIKE '%>>%'"
		if got, want := c.SQL(t, cluster.Name(database), whole), map[string]string{"old": "18", "mixed": "12", "new": "0"}[name]; got != want {
			t.Errorf("%s: %s indices have whole values, want %s", name, got, want)
		}
	}
	for range 400 {
		q := randomQuery(random, first, days)
		want := naively(batches, q)
		for name, s := range stores {
			hits, err := s.FindHistory(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if got := namesOf(hits); !slices.Equal(got, want) {
				t.Fatalf("%s: %+v:\n%q\nwant\n%q", name, q, got, want)
			}
		}
	}
}

// randomBatch has one block of one day, so the stores give its rows the same block. The rows of a block are in the
// order of their times.
func randomBatch(random *rand.Rand, number int, d history.Day) history.Batch {
	b := history.Block{Data: []byte("x")}
	for range history.MaxBlockRows {
		r := history.Row{Time: d.Begin().Add(time.Duration(random.IntN(40)) * (1 << atBits / 2) * time.Millisecond)}
		for column := range r.Keys {
			r.Keys[column] = randomKey(random)
		}
		r.Keys[history.ByVerdict], r.Hint = randomOutcome(random), history.Hint(random.IntN(4))
		b.Rows = append(b.Rows, r)
	}
	slices.SortFunc(b.Rows, func(x, y history.Row) int { return x.Time.Compare(y.Time) })
	return history.Batch{ID: fmt.Sprint(number), Host: fmt.Sprintf("mx%d.example", number%5/3+1), Blocks: []history.Block{b}}
}

// randomKey returns one of 18 keys: no key, and some of either sign, of which many differ in the last bits only.
func randomKey(random *rand.Rand) int32 {
	return []int32{0, 1, 2, -1, -2, 1 << keyBits, -1 << keyBits, 1<<31 - 1, -1 << 31}[random.IntN(9)] ^ int32(random.IntN(2))
}

// randomOutcome returns one of some outcomes, of which the last one is as an earlier version kept it.
func randomOutcome(random *rand.Rand) int32 {
	q := history.Query{Verdict: policy.Accept, Reason: policy.ReasonRule}
	return []int32{
		history.MostFrequent(), q.Outcomes()[0], history.OutcomeKey(policy.Reject, policy.ReasonRule).Key, history.OutcomeKey(policy.Reject, policy.ReasonReject).Key, q.Outcomes()[1],
	}[random.IntN(5)]
}

// randomQuery asks for keys, times and pages.
func randomQuery(random *rand.Rand, first history.Day, days int) history.Query {
	moment := func() time.Time {
		return (first + history.Day(random.IntN(days+1))).Begin().Add(time.Duration(random.IntN(80)) * (1 << atBits / 4) * time.Millisecond)
	}
	q := history.Query{Limit: []int{1, 7, 100, 10_000}[random.IntN(4)]}
	for range random.IntN(3) {
		k := history.KeyIn{Column: history.Column(random.IntN(int(history.ByVerdict))), Key: randomKey(random)}
		if k.Key == 0 {
			k.Key = 1
		}
		if random.IntN(2) == 0 {
			k.Mask, k.Hint = 2, 2*history.Hint(random.IntN(2))
		}
		q.Any = append(q.Any, k)
	}
	q.Verdict = []policy.Action{"", "", policy.Accept, policy.Reject}[random.IntN(4)]
	q.Reason = []policy.Reason{"", "", policy.ReasonAligned, policy.ReasonRule}[random.IntN(4)]
	q.Host = []string{"", "", "mx1.example", "mx2.example"}[random.IntN(4)]
	if random.IntN(2) == 0 {
		q.From = moment()
	}
	if random.IntN(2) == 0 {
		q.Until = moment()
	}
	if random.IntN(3) == 0 {
		at := moment()
		q.After = &history.Hit{Time: at, Block: history.BlockID{Day: history.DayOf(at), ID: int64(random.IntN(13))}, Index: random.IntN(history.MaxBlockRows)}
	}
	return q
}

// naively returns the names of the hits of a query, the newest first.
func naively(batches []history.Batch, q history.Query) []string {
	var hits []history.Hit
	for i := range batches {
		for index, r := range batches[i].Blocks[0].Rows {
			h := history.Hit{Time: r.Time, Block: history.BlockID{Day: history.DayOf(r.Time), ID: int64(i + 1)}, Index: index}
			has := func(k history.KeyIn) bool { return r.Keys[k.Column] == k.Key && k.Allows(r.Hint) }
			outcome := r.Keys[history.ByVerdict]
			if q.Host != "" && q.Host != batches[i].Host || q.Reason != "" && !slices.Contains(q.Outcomes(), outcome) ||
				q.Verdict != "" && outcome>>history.OutcomeBits != q.VerdictHalf() {
				continue
			}
			if (len(q.Any) == 0 || slices.ContainsFunc(q.Any, has)) && !r.Time.Before(q.From) && (q.Until.IsZero() || r.Time.Before(q.Until)) &&
				(q.After == nil || order(h, *q.After) < 0) {
				hits = append(hits, h)
			}
		}
	}
	slices.SortFunc(hits, func(a, b history.Hit) int { return order(b, a) })
	return namesOf(hits[:min(len(hits), q.Limit)])
}

// order compares hits by time, block and index.
func order(a, b history.Hit) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Block.ID, b.Block.ID), cmp.Compare(a.Index, b.Index))
}

func namesOf(hits []history.Hit) (names []string) {
	for _, h := range hits {
		names = append(names, strings.Join([]string{h.Time.UTC().Format(time.RFC3339Nano), fmt.Sprint(h.Block), fmt.Sprint(h.Index)}, " "))
	}
	return names
}
