package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/ledger"
)

func ledgerPartition(d ledger.Day) string { return fmt.Sprintf(`"ledger_d%d"`, d) }
func authorPartition(d ledger.Day) string { return fmt.Sprintf(`"author_d%d"`, d) }

// ledgerPartitions makes the partitions of a day for the ledger.
func ledgerPartitions(ctx context.Context, tx pgx.Tx, d ledger.Day) error {
	for _, p := range []struct{ name, parent, key string }{
		{ledgerPartition(d), "ledger", "domain, grp"}, {authorPartition(d), "author", "domain"},
	} {
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", p.name).Scan(&there); err != nil {
			return err
		}
		if there {
			continue
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`CREATE TABLE %[1]s (LIKE %[2]s, PRIMARY KEY (%[3]s)) WITH (fillfactor = 70);
			ALTER TABLE %[2]s ATTACH PARTITION %[1]s FOR VALUES IN (%[4]d);`, p.name, p.parent, p.key, d)); err != nil {
			return err
		}
	}
	return nil
}

// Expire implements [ledger.Store].
func (l ledgerOf) Expire(ctx context.Context, now time.Time, maxDomains int64) error {
	today := ledger.DayOf(now)
	old, stale := int32(today-ledger.KeepDays), int32(today-ledger.KeepSources)
	// The ids are locked in the order of the key, because a batch has the same locks in that order.
	const sources = `WITH gone AS (SELECT domain, network FROM source WHERE %s ORDER BY domain, network FOR UPDATE SKIP LOCKED)
		DELETE FROM source USING gone WHERE source.domain = gone.domain AND source.network = gone.network`
	err := l.s.do(ctx, "expire the ledger", func(ctx context.Context, tx pgx.Tx) error {
		for _, x := range []struct {
			statement string
			args      []any
		}{
			{fmt.Sprintf(sources, "last <= $1"), []any{stale}},
			{fmt.Sprintf(sources, `(domain, network) IN (SELECT domain, network FROM (
				SELECT domain, network, row_number() OVER (PARTITION BY domain ORDER BY last DESC, network) AS place FROM source
				WHERE domain IN (SELECT domain FROM source GROUP BY domain HAVING count(*) > $1)) AS ranked WHERE place > $1)`), []any{ledger.MaxSources}},
			{"DELETE FROM total WHERE day <= $1", []any{old}},
			{"DELETE FROM figure WHERE day <= $1", []any{old}},
			{"DELETE FROM ledger_day WHERE day <= $1", []any{old}},
			{"DELETE FROM author_sketch WHERE day <= $1", []any{old}},
			{"DELETE FROM breakage WHERE ended <= $1", []any{now.AddDate(0, 0, -ledger.KeepSources)}},
		} {
			if _, err := tx.Exec(ctx, x.statement, x.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range []struct {
		parent string
		before int32
	}{{"ledger", old}, {"author", stale}} {
		if err := l.s.dropOld(ctx, p.parent, p.before); err != nil {
			return err
		}
	}
	return l.trim(ctx, maxDomains)
}

// dropOld drops the partitions of days up to a day. It does not wait long for their lock, because every
// other statement on the table waits behind it. The next Expire tries again.
func (s *Store) dropOld(ctx context.Context, parent string, last int32) error {
	days, err := all(ctx, s, "look for old partitions", pgx.RowTo[int32], `SELECT day FROM (
		SELECT substring(c.relname FROM '_d(-?[0-9]+)$')::integer AS day FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::text::regclass) AS p
		WHERE day <= $2 ORDER BY day`, parent, last)
	if err != nil {
		return err
	}
	for _, d := range days {
		s.forget(ledger.Day(d))
		err := s.do(ctx, "drop the partition of a day", func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', '2s', true), pg_advisory_xact_lock($1)", int64(partitionLock)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, fmt.Sprintf(`LOCK TABLE ONLY %[1]s IN ACCESS EXCLUSIVE MODE; DROP TABLE IF EXISTS "%[1]s_d%[2]d"`, parent, d))
			return err
		})
		if c := code(err); err != nil && c != lockNotAvailable && c != undefinedTable {
			return err
		}
	}
	return nil
}

// trimRows is how many rows a transaction drops, so that batches do not wait long.
const trimRows = 5000

// trim drops the least frequent domains of the days that have too many, and counts their messages.
func (l ledgerOf) trim(ctx context.Context, maxDomains int64) error {
	if maxDomains <= 0 {
		return nil
	}
	type full struct {
		Day   int32
		Group string
	}
	days, err := all(ctx, l.s, "look for days with too many domains", pgx.RowToStructByPos[full], "SELECT day, grp FROM ledger_day WHERE domains > $1 ORDER BY day, grp", maxDomains)
	if err != nil {
		return err
	}
	for _, k := range days {
		for more := true; more; {
			if more, err = l.trimDay(ctx, k.Day, k.Group, maxDomains); err != nil {
				return err
			}
		}
	}
	return nil
}

// trimDay drops up to trimRows rows of a day. It reports whether there may be more to drop. One daemon does
// it at a time. A batch takes the lock on this row of ledger_day after those on its rows of the ledger,
// so whoever has it must not wait for a row there: those that are locked stay until later.
func (l ledgerOf) trimDay(ctx context.Context, day int32, group string, maxDomains int64) (more bool, err error) {
	p := ledgerPartition(ledger.Day(day))
	err = l.s.do(ctx, "drop the least frequent domains", func(ctx context.Context, tx pgx.Tx) error {
		more = false
		var over int64
		err := tx.QueryRow(ctx, "SELECT domains - $1 FROM ledger_day WHERE day = $2 AND grp = $3 AND domains > $1 FOR UPDATE SKIP LOCKED", maxDomains, day, group).Scan(&over)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		var n, messages int64
		err = tx.QueryRow(ctx, `WITH least AS (SELECT domain, grp FROM `+p+` WHERE grp = $1 ORDER BY messages, domain DESC LIMIT $2 FOR UPDATE SKIP LOCKED),
			gone AS (DELETE FROM `+p+` AS old USING least WHERE old.domain = least.domain AND old.grp = least.grp RETURNING messages)
			SELECT count(*), coalesce(sum(messages), 0)::bigint FROM gone`, group, min(over, trimRows)).Scan(&n, &messages)
		if err != nil {
			return err
		}
		more = n == trimRows
		_, err = tx.Exec(ctx, "UPDATE ledger_day SET domains = domains - $3, dropped = dropped + $4 WHERE day = $1 AND grp = $2", day, group, n, messages)
		return err
	})
	return more, err
}
