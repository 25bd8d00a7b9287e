package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/report"
)

const secondsPerDay = 24 * 60 * 60 // seconds

// dayOf returns the day of a window. A window lies in one UTC day.
func dayOf(w report.Window) report.Day { return report.DayOf(time.Unix(w.Begin, 0)) }

// partitions returns the names of a day's partitions, quoted because a day may be negative.
func partitions(d report.Day) (detail, tally string) {
	return fmt.Sprintf(`"detail_d%d"`, d), fmt.Sprintf(`"tally_d%d"`, d)
}

// missing is the error of a batch that needs the partitions of these days.
type missing []report.Day

func (missing) Error() string {
	return "the partitions of a day are being removed by other daemons all the time"
}

// missing returns an error if a job needs partitions that are not known to exist.
func (s *Store) missing(into []*share) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m missing
	for _, x := range into {
		if !s.days[x.job.day] {
			m = append(m, x.job.day)
		}
	}
	if m == nil {
		return nil
	}
	return m
}

func (s *Store) forget(d report.Day) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.days, d)
}

// provide makes the partitions of the days, unless they exist. It has a transaction of its own, so that
// no other daemon waits for a whole batch to see them.
func (s *Store) provide(ctx context.Context, days []report.Day) error {
	s.mu.Lock()
	days = slices.DeleteFunc(days, func(d report.Day) bool { return s.days[d] })
	s.mu.Unlock()
	if len(days) == 0 {
		return nil
	}
	slices.Sort(days)
	days = slices.Compact(days)
	err := s.do(ctx, "make the partitions of a day", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(partitionLock)); err != nil {
			return err
		}
		for _, d := range days {
			if err := partition(ctx, tx, d); err != nil {
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
		s.days[d] = true
	}
	return nil
}

// partition makes the partitions of a day. A table that is made first and attached then locks the parent
// less than CREATE TABLE ... PARTITION OF: batches and readers go on.
func partition(ctx context.Context, tx pgx.Tx, d report.Day) error {
	if err := ledgerPartitions(ctx, tx, d); err != nil {
		return err
	}
	detail, tally := partitions(d)
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", tally).Scan(&there); err != nil || there {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		CREATE TABLE %[1]s (LIKE detail, PRIMARY KEY (job, key));
		ALTER TABLE detail ATTACH PARTITION %[1]s FOR VALUES IN (%[3]d);
		CREATE TABLE %[2]s (LIKE tally, PRIMARY KEY (job, key)) WITH (fillfactor = 60);
		ALTER TABLE tally ATTACH PARTITION %[2]s FOR VALUES IN (%[3]d);`, detail, tally, d))
	return err
}

// Expire implements [report.Store]. The rows of a day go when no job of the day needs its rows.
func (s *Store) Expire(ctx context.Context, now time.Time, keep time.Duration) error {
	err := s.do(ctx, "expire", func(ctx context.Context, tx pgx.Tx) error {
		today := report.DayOf(now)
		for _, old := range []struct {
			statement string
			args      []any
		}{
			{"DELETE FROM job WHERE state = 'done' AND lease_until <= $1 AND ends <= $2", []any{now.Add(-max(keep, report.KeepDelivery)), now.Add(-report.MaxLate).Unix()}},
			{"DELETE FROM quota WHERE day < $1", []any{int32(today) - 1}},
			{"DELETE FROM excess WHERE ends < $1", []any{now.Add(-report.KeepDelivery).Unix()}},
			{"DELETE FROM mark WHERE until <= $1", []any{now}},
			{"DELETE FROM batch WHERE at <= $1", []any{now.Add(-report.KeepBatch)}},
			{"DELETE FROM suppression WHERE coalesce(until, since, '-infinity') <= $1", []any{now.Add(-report.KeepSuppression)}},
			{"DELETE FROM seen WHERE day < $1 AND kind <> 'wrote' OR day < $2",
				[]any{int32(today) - int32(report.KeepSeen/(secondsPerDay*time.Second)), int32(today) - int32(report.KeepWrote/(secondsPerDay*time.Second))}},
		} {
			if _, err := tx.Exec(ctx, old.statement, old.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	empty, err := s.emptyDays(ctx, now, keep)
	if err != nil {
		return err
	}
	for _, d := range empty {
		if err := s.drop(ctx, d, now.Add(-keep)); err != nil {
			return err
		}
	}
	return nil
}

// needsRows is the condition that a job needs its rows. The time follows before which it must be done, and a bracket.
const needsRows = "(state <> 'done' OR lease_until > "

// emptyDays returns the days whose partitions no job needs. Those of days that may still get a job stay,
// only to save the work of making them again.
func (s *Store) emptyDays(ctx context.Context, now time.Time, keep time.Duration) (empty []report.Day, err error) {
	err = s.do(ctx, "look for old partitions", func(ctx context.Context, tx pgx.Tx) error {
		empty = nil
		found, err := tx.Query(ctx, `SELECT day FROM (
				SELECT substring(c.relname FROM '^tally_d(-?[0-9]+)$')::integer AS day FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
				WHERE i.inhparent = 'tally'::regclass) AS p
			WHERE day < $1 AND NOT EXISTS (SELECT FROM job WHERE begins >= day * 86400::bigint AND begins < (day + 1) * 86400::bigint AND `+needsRows+`$2))
			ORDER BY day`, int32(report.DayOf(now.Add(-report.MaxLate))), now.Add(-keep))
		if err != nil {
			return err
		}
		var d int32
		_, err = pgx.ForEachRow(found, []any{&d}, func() error { empty = append(empty, report.Day(d)); return nil })
		return err
	})
	return empty, err
}

// drop removes the partitions of a day, unless a job came in between. It needs a lock on the parent
// tables, for which it does not wait long, because every other statement on them waits behind it. The
// next Expire tries again.
func (s *Store) drop(ctx context.Context, d report.Day, done time.Time) error {
	s.forget(d)
	detail, tally := partitions(d)
	err := s.do(ctx, "drop the partitions of a day", func(ctx context.Context, tx pgx.Tx) error {
		const once = "SELECT set_config('lock_timeout', '2s', true), pg_advisory_xact_lock($1)"
		if _, err := tx.Exec(ctx, once, int64(partitionLock)); err != nil {
			return err
		}
		// A batch that has written here holds a lock until its job can be seen. One that writes later finds
		// no table, and begins again.
		if _, err := tx.Exec(ctx, "LOCK TABLE ONLY "+tally+", ONLY "+detail+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		var used bool
		const jobs = "SELECT EXISTS (SELECT FROM job WHERE begins >= $1 AND begins < $2 AND " + needsRows + "$3))"
		if err := tx.QueryRow(ctx, jobs, int64(d)*secondsPerDay, (int64(d)+1)*secondsPerDay, done).Scan(&used); err != nil || used {
			return err
		}
		_, err := tx.Exec(ctx, "DROP TABLE "+tally+", "+detail)
		return err
	})
	if c := code(err); c == lockNotAvailable || c == undefinedTable { // busy, or another daemon has dropped it
		return nil
	}
	return err
}
