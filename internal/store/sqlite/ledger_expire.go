package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"sekimori/internal/ledger"
)

// Expire implements [ledger.Store].
func (l ledgerOf) Expire(ctx context.Context, now time.Time, maxDomains int64) error {
	today := ledger.DayOf(now)
	old, stale := today-ledger.KeepDays, today-ledger.KeepSources
	for _, s := range []struct {
		statement string
		args      []any
	}{
		{"DELETE FROM ledger WHERE (day, domain, grp) IN (SELECT day, domain, grp FROM ledger WHERE day <= ? LIMIT ?)", []any{old}},
		{"DELETE FROM author WHERE (domain, day) IN (SELECT domain, day FROM author WHERE day <= ? LIMIT ?)", []any{stale}},
		{"DELETE FROM source WHERE (domain, network) IN (SELECT domain, network FROM source WHERE last <= ? LIMIT ?)", []any{stale}},
		{`DELETE FROM source WHERE (domain, network) IN (SELECT domain, network FROM (
			SELECT domain, network, row_number() OVER (PARTITION BY domain ORDER BY last DESC, network) AS place FROM source
			WHERE domain IN (SELECT domain FROM source GROUP BY domain HAVING count(*) > ?)) WHERE place > ? LIMIT ?)`, []any{ledger.MaxSources, ledger.MaxSources}},
		{`DELETE FROM total WHERE (day, grp, spf, dkim, policy, dmarc, applied, override) IN
			(SELECT day, grp, spf, dkim, policy, dmarc, applied, override FROM total WHERE day <= ? LIMIT ?)`, []any{old}},
		{"DELETE FROM figure WHERE (day, grp, kind, word, result) IN (SELECT day, grp, kind, word, result FROM figure WHERE day <= ? LIMIT ?)", []any{old}},
		{"DELETE FROM ledger_day WHERE (day, grp) IN (SELECT day, grp FROM ledger_day WHERE day <= ? LIMIT ?)", []any{old}},
		{"DELETE FROM author_sketch WHERE (day, policy) IN (SELECT day, policy FROM author_sketch WHERE day <= ? LIMIT ?)", []any{old}},
		{"DELETE FROM breakage WHERE (domain, kind, subject) IN (SELECT domain, kind, subject FROM breakage WHERE ended > 0 AND ended <= ? LIMIT ?)",
			[]any{micro(now.AddDate(0, 0, -ledger.KeepSources))}},
	} {
		if err := l.d.removeAll(ctx, s.statement, s.args...); err != nil {
			return err
		}
	}
	return l.trim(ctx, maxDomains)
}

// removeAll repeats a DELETE of at most expireRows rows, which is its last parameter, until it finds no
// more. Between two of them other calls have their turn.
func (d *DB) removeAll(ctx context.Context, statement string, args ...any) error {
	for {
		var n int64
		if err := d.write(ctx, func(tx *sql.Tx) error {
			done, err := tx.ExecContext(ctx, statement, append(args[:len(args):len(args)], expireRows)...)
			if err != nil {
				return err
			}
			n, err = done.RowsAffected()
			return err
		}); err != nil {
			return err
		}
		if n < expireRows {
			return nil
		}
	}
}

// trim drops the least frequent domains of the days that have too many, and counts their messages.
func (l ledgerOf) trim(ctx context.Context, maxDomains int64) error {
	if maxDomains <= 0 {
		return nil
	}
	for {
		more := false
		if err := l.d.write(ctx, func(tx *sql.Tx) error {
			var k dayGroup
			var over int64
			err := tx.QueryRowContext(ctx, "SELECT day, grp, domains - ? FROM ledger_day WHERE domains > ? LIMIT 1", maxDomains, maxDomains).Scan(&k.day, &k.group, &over)
			if err != nil {
				return none(err)
			}
			more = true
			n, dropped, err := dropLeast(ctx, tx, k, min(over, expireRows))
			if err != nil {
				return err
			}
			if n == 0 { // the count was wrong, as after a crash of a disk
				n = over
			}
			_, err = tx.ExecContext(ctx, "UPDATE ledger_day SET domains = domains - ?, dropped = dropped + ? WHERE day = ? AND grp = ?", n, dropped, k.day, k.group)
			return err
		}); err != nil || !more {
			return err
		}
	}
}

// dropLeast removes the rows of a day with the fewest messages.
func dropLeast(ctx context.Context, tx *sql.Tx, k dayGroup, limit int64) (n, messages int64, err error) {
	rows, err := tx.QueryContext(ctx, `DELETE FROM ledger WHERE (day, domain, grp) IN
		(SELECT day, domain, grp FROM ledger WHERE day = ? AND grp = ? ORDER BY messages, domain DESC LIMIT ?) RETURNING messages`, k.day, k.group, limit)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has the error
	for rows.Next() {
		var m int64
		if err := rows.Scan(&m); err != nil {
			return 0, 0, err
		}
		n, messages = n+1, messages+m
	}
	return n, messages, rows.Err()
}

// none drops the error for an empty answer.
func none(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
