package sqlite

import (
	"context"
	"database/sql"
	"time"

	"sekimori/internal/report"
)

// expireRows is how many rows a transaction deletes. Between two of them other calls have their turn.
const expireRows = 5000

// Expire implements [report.Store].
func (d *DB) Expire(ctx context.Context, now time.Time, keep time.Duration) error {
	for {
		more := false
		if err := d.write(ctx, func(tx *sql.Tx) (err error) {
			more, err = expireJobs(ctx, tx, now, keep)
			return err
		}); err != nil {
			return err
		}
		if !more {
			break
		}
	}
	for _, old := range []struct {
		statement string
		args      []any
	}{
		{"DELETE FROM policy WHERE id NOT IN (SELECT policy FROM job)", nil},
		{"DELETE FROM batch WHERE at < ?", []any{micro(now.Add(-report.KeepBatch))}},
		{"DELETE FROM suppression WHERE max(since, until, window_begin * 1000000) < ?", []any{micro(now.Add(-report.KeepSuppression))}},
		{"DELETE FROM mark WHERE until <= ?", []any{micro(now)}},
	} {
		if err := d.write(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, old.statement, old.args...)
			return err
		}); err != nil {
			return err
		}
	}
	for kind, kept := range map[report.SightingKind]time.Duration{
		report.SeenPass: report.KeepSeen, report.SeenFail: report.KeepSeen, report.SeenWrote: report.KeepWrote,
	} {
		if err := d.expireSeen(ctx, kind, now.Add(-kept).Unix()/86400); err != nil {
			return err
		}
	}
	return nil
}

// expireJobs deletes jobs that are done, until it has deleted expireRows rows. It reports whether there
// may be more.
func expireJobs(ctx context.Context, tx *sql.Tx, now time.Time, keep time.Duration) (more bool, err error) {
	const most = 200
	rows, err := tx.QueryContext(ctx, "SELECT id FROM job WHERE state = 'done' AND lease_until <= ? AND window_end < ? LIMIT ?",
		micro(now.Add(-keep)), now.Add(-report.MaxLate).Unix(), most)
	if err != nil {
		return false, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has the error
	var jobs []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return false, err
		}
		jobs = append(jobs, id)
	}
	if err := rows.Err(); err != nil {
		return false, err
	}
	left := int64(expireRows)
	remove := func(statement string, args ...any) error {
		done, err := tx.ExecContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		left -= n
		return err
	}
	for _, id := range jobs {
		for _, statement := range []string{
			"DELETE FROM tally WHERE job = ?1 AND key IN (SELECT key FROM tally WHERE job = ?1 LIMIT ?2)",
			"DELETE FROM detail WHERE job = ?1 AND key IN (SELECT key FROM detail WHERE job = ?1 LIMIT ?2)",
		} {
			if err := remove(statement, id, left); err != nil {
				return false, err
			}
			if left <= 0 { // the job itself goes last
				return true, nil
			}
		}
		for _, statement := range []string{"DELETE FROM delivery WHERE job = ?", "DELETE FROM job WHERE id = ?"} {
			if err := remove(statement, id); err != nil {
				return false, err
			}
		}
		if left <= 0 {
			return true, nil
		}
	}
	return len(jobs) == most, nil
}

// expireSeen deletes the sightings of a kind before a day.
func (d *DB) expireSeen(ctx context.Context, kind report.SightingKind, day int64) error {
	for {
		var n int64
		if err := d.write(ctx, func(tx *sql.Tx) error {
			done, err := tx.ExecContext(ctx, `DELETE FROM seen WHERE (domain, day, kind) IN (SELECT domain, day, kind FROM seen WHERE kind = ? AND day < ? LIMIT ?)`,
				string(kind), day, expireRows)
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
