package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/history"
)

// provideHistory makes the partitions of a batch, unless they exist. It has a transaction of its own, so
// that no other daemon waits for a whole batch to see them.
func (s *Store) provideHistory(ctx context.Context, b history.Batch) error {
	var days []history.Day
	s.mu.Lock()
	for i := range b.Blocks {
		if d := b.Blocks[i].Day(); !s.historyDays[d] && !slices.Contains(days, d) {
			days = append(days, d)
		}
	}
	s.mu.Unlock()
	if len(days) == 0 {
		return nil
	}
	err := s.do(ctx, "make the partitions of a day", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(partitionLock)); err != nil {
			return err
		}
		for _, d := range days {
			if err := historyPartition(ctx, tx, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range days {
		s.historyDays[d] = true
	}
	return nil
}

// The indices of a day have values without their last bits. PostgreSQL keeps rows with the same value in one
// entry of about 7 octets for each row, and a row with a value of its own takes 28.
const (
	// keyBits leave 65,536 values of a key: in a day of a million rows, 15 others are looked at beside the one
	// that is asked for.
	keyBits = 16
	// atBits leave 524 seconds. What is asked for in the order of time is sorted in steps of this length.
	atBits = 19
)

// historyPartition makes the partitions of a day. See [partition]. The partitions of earlier versions have
// indices of whole values. The statements of a search find what they ask for in both.
func historyPartition(ctx context.Context, tx pgx.Tx, d history.Day) error {
	blocks, rows := historyParts(d)
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", rows).Scan(&there); err != nil || there {
		return err
	}
	text := fmt.Sprintf(`
		CREATE TABLE %[1]s (LIKE history_block INCLUDING STORAGE, PRIMARY KEY (id));
		ALTER TABLE history_block ATTACH PARTITION %[1]s FOR VALUES IN (%[3]d);
		CREATE TABLE %[2]s (LIKE history);
		CREATE INDEX ON %[2]s ((at >> %[4]d));`, blocks, rows, d, atBits)
	for column, name := range historyColumns {
		switch history.Column(column) {
		case history.ByID, history.ByQueue, history.ByClient:
			text += fmt.Sprintf("CREATE INDEX ON %[1]s ((%[2]s >> %[3]d)) WHERE %[2]s <> 0;", rows, name, keyBits)
		case history.ByAuthor, history.BySender:
			text += fmt.Sprintf("CREATE INDEX ON %[1]s (%[2]s, (at >> %[3]d)) WHERE %[2]s <> 0;", rows, name, atBits)
		}
	}
	text += fmt.Sprintf("CREATE INDEX ON %s (verdict, (at >> %d)) WHERE verdict <> %d;", rows, atBits, history.MostFrequent())
	_, err := tx.Exec(ctx, text+fmt.Sprintf("ALTER TABLE history ATTACH PARTITION %s FOR VALUES IN (%d)", rows, d))
	return err
}

// historyDays returns the days that have partitions, the oldest first.
func historyDays(ctx context.Context, tx pgx.Tx) ([]history.Day, error) {
	found, err := tx.Query(ctx, `SELECT day FROM (
			SELECT substring(c.relname FROM '^history_d(-?[0-9]+)$')::integer AS day FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			WHERE i.inhparent = 'history'::regclass) AS p
		WHERE day IS NOT NULL ORDER BY day`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, func(row pgx.CollectableRow) (history.Day, error) {
		var d int32
		err := row.Scan(&d)
		return history.Day(d), err
	})
}

// ExpireHistory implements [history.Store].
func (s *Store) ExpireHistory(ctx context.Context, now time.Time, keep time.Duration, size int64) (left history.Size, err error) {
	var days []history.Day
	var octets []int64
	err = s.do(ctx, "look for old days of the history", func(ctx context.Context, tx pgx.Tx) error {
		if days, err = historyDays(ctx, tx); err != nil {
			return err
		}
		octets = make([]int64, len(days))
		for i, d := range days {
			blocks, rows := historyParts(d)
			// A day that another daemon drops now has no size.
			const ask = "SELECT coalesce(pg_total_relation_size(to_regclass($1)), 0) + coalesce(pg_total_relation_size(to_regclass($2)), 0)"
			if err := tx.QueryRow(ctx, ask, blocks, rows).Scan(&octets[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return left, err
	}
	for _, n := range octets {
		left.Octets += n
	}
	for len(days) > 0 {
		old := !(days[0] + 1).Begin().After(now.Add(-keep))
		if !old && left.Octets <= size {
			break
		}
		if err := s.dropHistory(ctx, days[0]); err != nil {
			return left, err
		}
		if !old {
			left.Dropped++
		}
		left.Octets -= octets[0]
		days, octets = days[1:], octets[1:]
	}
	if left.Days = len(days); left.Days > 0 {
		left.First = days[0]
	}
	return left, nil
}

// dropHistory removes the partitions of a day. It does not wait long for the locks, see [Store.drop].
func (s *Store) dropHistory(ctx context.Context, d history.Day) error {
	s.mu.Lock()
	delete(s.historyDays, d)
	s.mu.Unlock()
	blocks, rows := historyParts(d)
	err := s.do(ctx, "drop a day of the history", func(ctx context.Context, tx pgx.Tx) error {
		const once = "SELECT set_config('lock_timeout', '2s', true), pg_advisory_xact_lock($1)"
		if _, err := tx.Exec(ctx, once, int64(partitionLock)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DROP TABLE "+rows+", "+blocks)
		return err
	})
	if c := code(err); c == lockNotAvailable || c == undefinedTable { // busy, or another daemon has dropped it
		return nil
	}
	return err
}
