package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"strings"
	"time"

	"sekimori/internal/report"
)

// pageRows is how many rows are read at once. Between two pages no connection is held, so a slow reader
// neither keeps the log from being copied into the file, nor takes a connection from others.
const pageRows = 1000

// micro returns a time as it is stored.
func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// at returns a time that was stored.
func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

const jobColumns = `SELECT job.id, policy.domain, p, sp, np, adkim, aspf, fo, testing, method, invalid, window_begin, window_end, state, not_before, owner, lease_no,
	lease_until, tries, report_id, rows, messages, causes, spam, late, lost, merged, outcome, reason FROM job JOIN policy ON policy.id = job.policy`

// scan reads a row of jobColumns.
func scan(row scanner) (j report.Job, err error) {
	var notBefore, until int64
	err = row.Scan(&j.ID, &j.Policy.Domain, &j.Policy.P, &j.Policy.SP, &j.Policy.NP, &j.Policy.ADKIM, &j.Policy.ASPF, &j.Policy.FO, &j.Policy.Testing, &j.Policy.Method,
		&j.Policy.Invalid, &j.Window.Begin, &j.Window.End, &j.State, &notBefore, &j.Owner, &j.Lease, &until, &j.Tries, &j.ReportID, &j.Rows, &j.Messages, &j.Causes,
		&j.Spam, &j.Late, &j.Lost, &j.Merged, &j.Outcome, &j.Reason)
	j.SendAt, j.LeaseUntil = at(notBefore), at(until)
	return j, err
}

// Claim implements [report.Store].
func (d *DB) Claim(ctx context.Context, now time.Time, owner string, lease time.Duration) (j report.Job, err error) {
	err = d.write(ctx, func(tx *sql.Tx) error {
		// The window's last second is over one second after its End.
		if _, err := tx.ExecContext(ctx, "UPDATE job SET state = 'due' WHERE state = 'open' AND window_end < ?", now.Add(-report.Grace).Unix()); err != nil {
			return err
		}
		var id int64
		err := tx.QueryRowContext(ctx, `UPDATE job SET state = 'claimed', owner = ?, lease_no = lease_no + 1, lease_until = ? WHERE id = (SELECT id FROM (
				SELECT * FROM (SELECT id, not_before FROM job WHERE state = 'due' AND not_before <= ? ORDER BY not_before, id LIMIT 1)
				UNION ALL SELECT * FROM (SELECT id, not_before FROM job WHERE state = 'claimed' AND lease_until <= ? ORDER BY not_before, id LIMIT 1)
			) ORDER BY not_before, id LIMIT 1) RETURNING id`, owner, micro(now.Add(lease)), micro(now), micro(now)).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // the windows that were closed stay closed
		} else if err != nil {
			return err
		}
		j, err = scan(tx.QueryRowContext(ctx, jobColumns+" WHERE job.id = ?", id))
		return err
	})
	if err == nil && j.ID == 0 {
		err = report.ErrNone
	}
	if err != nil {
		return report.Job{}, err
	}
	return j, nil
}

// ClaimJob implements [report.Store].
func (d *DB) ClaimJob(ctx context.Context, now time.Time, id int64, owner string, lease time.Duration) (j report.Job, err error) {
	err = d.write(ctx, func(tx *sql.Tx) error {
		j, err = scan(tx.QueryRowContext(ctx, jobColumns+" WHERE job.id = ?", id))
		if errors.Is(err, sql.ErrNoRows) {
			return report.ErrUnknown
		}
		if err == nil {
			err = j.Claimable(now)
		}
		if err != nil {
			return err
		}
		if j.State == report.StateDone { // Expire deletes the rows of a job that is done in several steps
			var rows int64
			if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM tally WHERE job = ?", id).Scan(&rows); err != nil {
				return err
			}
			if rows != j.Rows {
				return report.ErrUnknown
			}
		}
		j.Reclaim(owner, at(micro(now.Add(lease))))
		_, err = tx.ExecContext(ctx, "UPDATE job SET state = 'claimed', owner = ?, lease_no = ?, lease_until = ?, tries = ?, outcome = '', reason = ? WHERE id = ?",
			owner, j.Lease, micro(j.LeaseUntil), j.Tries, j.Reason, id)
		return err
	})
	if err != nil {
		return report.Job{}, err
	}
	return j, nil
}

// mine is the condition that a claim still holds.
const mine = " WHERE id = ? AND owner = ? AND lease_no = ? AND state = 'claimed'"

// Renew implements [report.Store].
func (d *DB) Renew(ctx context.Context, j report.Job, until time.Time) error {
	return d.change(ctx, report.ErrLost, "UPDATE job SET lease_until = ?"+mine, micro(until), j.ID, j.Owner, j.Lease)
}

// SetReportID implements [report.Store].
func (d *DB) SetReportID(ctx context.Context, j report.Job, id string) (stored string, err error) {
	err = d.write(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "UPDATE job SET report_id = CASE report_id WHEN '' THEN ? ELSE report_id END"+mine+" RETURNING report_id",
			id, j.ID, j.Owner, j.Lease).Scan(&stored)
		if errors.Is(err, sql.ErrNoRows) {
			return report.ErrLost
		}
		return err
	})
	return stored, err
}

// Finish implements [report.Store].
func (d *DB) Finish(ctx context.Context, j report.Job, o report.Outcome) error {
	if o.Word == "" {
		return d.change(ctx, report.ErrLost, "UPDATE job SET state = 'due', owner = '', lease_until = 0, tries = tries + 1, not_before = ?, reason = ?"+mine,
			micro(o.Again), o.Reason, j.ID, j.Owner, j.Lease)
	}
	return d.change(ctx, report.ErrLost, "UPDATE job SET state = 'done', owner = '', tries = tries + 1, outcome = ?, reason = ?"+mine,
		string(o.Word), o.Reason, j.ID, j.Owner, j.Lease)
}

// change runs a statement that changes one row, and returns the error none if there is no such row.
func (d *DB) change(ctx context.Context, none error, statement string, args ...any) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return none
	})
}

// Rows implements [report.Store].
func (d *DB) Rows(ctx context.Context, job int64) iter.Seq2[report.Row, error] {
	return func(yield func(report.Row, error) bool) {
		key := []byte{}
		page := make([]report.Row, 0, pageRows)
		for {
			page = page[:0]
			err := d.read(ctx, func(q *sql.DB) (err error) {
				page, key, err = readPage(ctx, q, page, job, key)
				return err
			})
			if err != nil {
				yield(report.Row{}, err)
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if len(page) < pageRows {
				return
			}
		}
	}
}

// readPage reads the rows after a key. It returns the last key.
func readPage(ctx context.Context, q *sql.DB, page []report.Row, job int64, after []byte) ([]report.Row, []byte, error) {
	rows, err := q.QueryContext(ctx, `SELECT detail.key, detail.row, tally.n FROM detail CROSS JOIN tally ON tally.job = detail.job AND tally.key = detail.key
		WHERE detail.job = ? AND detail.key > ? ORDER BY detail.key LIMIT ?`, job, after, pageRows)
	if err != nil {
		return page, after, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has the error
	var key, detail sql.RawBytes
	var n int64
	for rows.Next() {
		if err := rows.Scan(&key, &detail, &n); err != nil {
			return page, after, err
		}
		r, err := report.ParseRow(detail)
		if err != nil {
			return page, after, errors.Join(errDamaged, err)
		}
		r.Count = n
		page = append(page, r)
		after = append(after[:0], key...)
	}
	return page, after, rows.Err()
}

// Jobs implements [report.Store].
func (d *DB) Jobs(ctx context.Context, f report.Filter) (all []report.Job, err error) {
	var where []string
	var args []any
	only := func(condition string, value any) {
		where, args = append(where, condition), append(args, value)
	}
	if f.Window != 0 {
		only("window_begin = ?", f.Window)
	}
	if f.Domain != "" {
		only("job.domain = ?", string(f.Domain))
	}
	if f.State != "" {
		only("state = ?", string(f.State))
	}
	if f.ReportID != "" {
		only("report_id = ? AND report_id <> ''", f.ReportID)
	}
	if f.ID != 0 {
		only("job.id = ?", f.ID)
	}
	query := jobColumns
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY window_begin DESC, job.domain, job.id"
	if f.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, f.Limit)
	}
	err = d.read(ctx, func(q *sql.DB) error {
		all, err = collect(ctx, q, scan, query, args...)
		return err
	})
	return all, err
}

// scanner is one row of an answer.
type scanner interface{ Scan(...any) error }

// collect reads all rows of an answer.
func collect[T any](ctx context.Context, q *sql.DB, scan func(scanner) (T, error), query string, args ...any) (all []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has the error
	for rows.Next() {
		x, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, rows.Err()
}
