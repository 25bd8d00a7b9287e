package sqlite

import (
	"context"
	"database/sql"
	"time"

	"sekimori/internal/report"
)

// expireRows is how many rows a transaction deletes. Between two of them other calls have their turn.
const expireRows = 5000

// expireMost is how many jobs a transaction looks at.
const expireMost = 200

// Expire implements [report.Store].
func (d *DB) Expire(ctx context.Context, now time.Time, keep time.Duration) error {
	if err := d.expireRows(ctx, now, keep); err != nil {
		return err
	}
	for {
		more := false
		if err := d.write(ctx, func(tx *sql.Tx) (err error) {
			more, err = expireJobs(ctx, tx, now, max(keep, report.KeepDelivery))
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
		{"DELETE FROM quota WHERE day < ?", []any{int64(report.DayOf(now)) - 1}},
		{"DELETE FROM excess WHERE window_end < ?", []any{now.Add(-report.KeepDelivery).Unix()}},
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

// expired returns up to most jobs with greater ids that have been done for longer than keep, and meet the condition.
func expired(ctx context.Context, tx *sql.Tx, now time.Time, keep time.Duration, after int64, condition string) ([]int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id FROM job WHERE state = 'done' AND lease_until <= ? AND window_end < ? AND id > ?"+condition+" ORDER BY id LIMIT ?",
		micro(now.Add(-keep)), now.Add(-report.MaxLate).Unix(), after, expireMost)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has the error
	var jobs []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		jobs = append(jobs, id)
	}
	return jobs, rows.Err()
}

// expireRows deletes the rows of jobs that are done. The jobs themselves stay for their deliveries.
func (d *DB) expireRows(ctx context.Context, now time.Time, keep time.Duration) error {
	after, more := int64(0), true
	for more {
		if err := d.write(ctx, func(tx *sql.Tx) error {
			// The details of a job go last.
			jobs, err := expired(ctx, tx, now, keep, after, " AND EXISTS (SELECT 1 FROM detail WHERE job = job.id)")
			if err != nil {
				return err
			}
			left := int64(expireRows)
			for _, id := range jobs {
				whole, err := deleteRows(ctx, tx, id, &left)
				if err != nil || !whole {
					return err
				}
				after = id
			}
			more = len(jobs) == expireMost
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// deleteRows deletes rows of a job, up to left, which it lowers. It reports whether the job has none any more.
func deleteRows(ctx context.Context, tx *sql.Tx, id int64, left *int64) (whole bool, err error) {
	for _, statement := range []string{
		"DELETE FROM tally WHERE job = ?1 AND key IN (SELECT key FROM tally WHERE job = ?1 LIMIT ?2)",
		"DELETE FROM detail WHERE job = ?1 AND key IN (SELECT key FROM detail WHERE job = ?1 LIMIT ?2)",
	} {
		done, err := tx.ExecContext(ctx, statement, id, *left)
		if err != nil {
			return false, err
		}
		n, err := done.RowsAffected()
		if *left -= n; err != nil || *left <= 0 {
			return false, err
		}
	}
	return true, nil
}

// expireJobs deletes jobs that are done and have no rows. It reports whether there may be more.
func expireJobs(ctx context.Context, tx *sql.Tx, now time.Time, keep time.Duration) (more bool, err error) {
	jobs, err := expired(ctx, tx, now, keep, 0, "")
	if err != nil {
		return false, err
	}
	for _, id := range jobs {
		for _, statement := range []string{"DELETE FROM delivery WHERE job = ?", "DELETE FROM job WHERE id = ?"} {
			if _, err := tx.ExecContext(ctx, statement, id); err != nil {
				return false, err
			}
		}
	}
	return len(jobs) == expireMost, nil
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
