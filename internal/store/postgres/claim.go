package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// page is how many rows one statement of Rows reads: some MiB at most. Between two pages no connection
// is held and no transaction is open, so a report that takes a minute stands in nobody's way, and goes
// on after a restart of the server.
const page = 2000

// Claim implements [report.Store].
func (s *Store) Claim(ctx context.Context, now time.Time, owner string, lease time.Duration) (j report.Job, err error) {
	err = s.do(ctx, "claim a job", func(ctx context.Context, tx pgx.Tx) error {
		// Batches that write to a job hold a lock on it, and this waits for them.
		_, err := tx.Exec(ctx, `UPDATE job SET state = 'due' WHERE id IN
			(SELECT id FROM job WHERE state = 'open' AND ends < $1 ORDER BY id FOR UPDATE)`, now.Add(-report.Grace).Unix())
		if err != nil {
			return err
		}
		var id int64
		err = tx.QueryRow(ctx, `UPDATE job SET state = 'claimed', owner = $1, lease = lease + 1, lease_until = $2 WHERE id =
			(SELECT id FROM job WHERE state IN ('due', 'claimed') AND send_at <= $3 AND (state = 'due' OR lease_until <= $3)
			ORDER BY send_at, id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING id`, escape(owner), now.Add(lease), now).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // not ErrNone here, which would undo what was closed
		} else if err != nil {
			return err
		}
		found, err := jobs(ctx, tx, report.Filter{ID: id})
		if err == nil {
			j = found[0]
		}
		return err
	})
	if err == nil && j.ID == 0 {
		err = report.ErrNone
	}
	return j, err
}

// ClaimJob implements [report.Store].
func (s *Store) ClaimJob(ctx context.Context, now time.Time, id int64, owner string, lease time.Duration) (j report.Job, err error) {
	err = s.do(ctx, "claim one job", func(ctx context.Context, tx pgx.Tx) error {
		// Batches that write to the job hold a lock on it, and this waits for them.
		if _, err := tx.Exec(ctx, "SELECT FROM job WHERE id = $1 FOR UPDATE", id); err != nil {
			return err
		}
		found, err := jobs(ctx, tx, report.Filter{ID: id})
		if err != nil {
			return err
		}
		if id == 0 || len(found) == 0 {
			return report.ErrUnknown
		}
		j = found[0]
		if err := j.Claimable(now); err != nil {
			return err
		}
		if j.State == report.StateDone && j.Rows > 0 {
			// Expire waits for this lock before it drops the partition, and then sees that the job needs it.
			_, tally := partitions(dayOf(j.Window))
			if _, err := tx.Exec(ctx, "LOCK TABLE ONLY "+tally+" IN ACCESS SHARE MODE"); code(err) == undefinedTable {
				return report.ErrUnknown
			} else if err != nil {
				return err
			}
		}
		j.Reclaim(owner, now.Add(lease).UTC().Truncate(time.Microsecond))
		_, err = tx.Exec(ctx, "UPDATE job SET state = 'claimed', owner = $2, lease = $3, lease_until = $4, tries = $5, outcome = '', reason = $6 WHERE id = $1",
			id, escape(owner), j.Lease, j.LeaseUntil, j.Tries, escape(j.Reason))
		return err
	})
	if err != nil {
		return report.Job{}, err
	}
	return j, nil
}

// held is the condition that a sender still has the job.
const held = "id = $1 AND state = 'claimed' AND owner = $2 AND lease = $3"

// change executes a statement on a job that the sender must still have.
func (s *Store) change(ctx context.Context, what string, j report.Job, set string, args ...any) error {
	return s.do(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE job SET "+set+" WHERE "+held, append([]any{j.ID, escape(j.Owner), j.Lease}, args...)...)
		if err == nil && tag.RowsAffected() == 0 {
			err = report.ErrLost
		}
		return err
	})
}

// Renew implements [report.Store].
func (s *Store) Renew(ctx context.Context, j report.Job, until time.Time) error {
	return s.change(ctx, "renew a lease", j, "lease_until = $4", until)
}

// SetReportID implements [report.Store].
func (s *Store) SetReportID(ctx context.Context, j report.Job, id string) (stored string, err error) {
	err = s.do(ctx, "set a report id", func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "UPDATE job SET report_id = CASE report_id WHEN '' THEN $4 ELSE report_id END WHERE "+held+" RETURNING report_id",
			j.ID, escape(j.Owner), j.Lease, escape(id)).Scan(&stored)
		if errors.Is(err, pgx.ErrNoRows) {
			return report.ErrLost
		}
		return err
	})
	return unescape(stored), err
}

// Finish implements [report.Store].
func (s *Store) Finish(ctx context.Context, j report.Job, o report.Outcome) error {
	if o.Word == "" {
		return s.change(ctx, "put a job off", j, "state = 'due', owner = '', lease_until = NULL, tries = tries + 1, send_at = $4, reason = $5",
			o.Again, escape(o.Reason))
	}
	return s.change(ctx, "finish a job", j, "state = 'done', tries = tries + 1, outcome = $4, reason = $5", escape(string(o.Word)), escape(o.Reason))
}

// Jobs implements [report.Store].
func (s *Store) Jobs(ctx context.Context, f report.Filter) (all []report.Job, err error) {
	err = s.do(ctx, "list jobs", func(ctx context.Context, tx pgx.Tx) error {
		all, err = jobs(ctx, tx, f)
		return err
	})
	return all, err
}

func jobs(ctx context.Context, tx pgx.Tx, f report.Filter) ([]report.Job, error) {
	var where []string
	var args []any
	only := func(column string, value any) {
		args = append(args, value)
		where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
	}
	if f.Window != 0 {
		only("begins", f.Window)
	}
	if f.Domain != "" {
		only("domain", escape(string(f.Domain)))
	}
	if f.State != "" {
		only("state", string(f.State))
	}
	if f.ReportID != "" {
		only("report_id", escape(f.ReportID))
	}
	if f.ID != 0 {
		only("id", f.ID)
	}
	query := `SELECT id, begins, ends, domain, p, sp, np, adkim, aspf, fo, testing, method, invalid, state, send_at, owner, lease, lease_until,
		tries, report_id, outcome, reason, coalesce(rows, 0), coalesce(messages, 0), coalesce(causes, 0), coalesce(spam, 0), coalesce(late, 0),
		coalesce(lost, 0), coalesce(merged, 0) FROM job LEFT JOIN counts ON job = id`
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY begins DESC, domain, id"
	if f.Limit > 0 {
		args = append(args, f.Limit)
		query += fmt.Sprintf(" LIMIT $%d", len(args))
	}
	found, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, scanJob)
}

func scanJob(row pgx.CollectableRow) (j report.Job, err error) {
	var domain, p, sp, np, adkim, aspf, fo, method, invalid, state, owner, id, outcome, reason string
	var sendAt time.Time
	var until *time.Time
	err = row.Scan(&j.ID, &j.Window.Begin, &j.Window.End, &domain, &p, &sp, &np, &adkim, &aspf, &fo, &j.Policy.Testing, &method, &invalid, &state,
		&sendAt, &owner, &j.Lease, &until, &j.Tries, &id, &outcome, &reason, &j.Rows, &j.Messages, &j.Causes, &j.Spam, &j.Late, &j.Lost, &j.Merged)
	j.Policy.Domain, j.Policy.Method = dns.Name(unescape(domain)), dmarc.Method(unescape(method))
	j.Policy.P, j.Policy.SP, j.Policy.NP = dmarc.Policy(unescape(p)), dmarc.Policy(unescape(sp)), dmarc.Policy(unescape(np))
	j.Policy.ADKIM, j.Policy.ASPF = dmarc.Mode(unescape(adkim)), dmarc.Mode(unescape(aspf))
	j.Policy.FO, j.Policy.Invalid = unescape(fo), unescape(invalid)
	j.State, j.SendAt, j.LeaseUntil = report.State(state), sendAt.UTC(), orZero(until)
	j.Owner, j.ReportID, j.Outcome, j.Reason = unescape(owner), unescape(id), report.Word(unescape(outcome)), unescape(reason)
	return j, err
}

// Rows implements [report.Store].
func (s *Store) Rows(ctx context.Context, job int64) iter.Seq2[report.Row, error] {
	return func(yield func(report.Row, error) bool) {
		var after [16]byte // no key is 0: that would be a SHA-256 of 16 zero octets
		for {
			rows, last, err := s.page(ctx, job, after)
			if code(err) == undefinedTable { // the job is done, and Expire has dropped the partition
				return
			}
			// Rows that came before an error are not delivered: a reader that takes them for all would send a part.
			if err != nil {
				yield(report.Row{}, err)
				return
			}
			for _, r := range rows {
				if err := ctx.Err(); err != nil {
					yield(report.Row{}, err)
					return
				}
				if !yield(r, nil) {
					return
				}
			}
			if len(rows) < page {
				return
			}
			after = last
		}
	}
}

// page returns the rows of a job whose keys are greater, and the last key.
func (s *Store) page(ctx context.Context, job int64, after [16]byte) (rows []report.Row, last [16]byte, err error) {
	err = s.do(ctx, "read rows", func(ctx context.Context, tx pgx.Tx) error {
		rows, last = nil, after
		var begins int64
		if err := tx.QueryRow(ctx, "SELECT begins FROM job WHERE id = $1", job).Scan(&begins); errors.Is(err, pgx.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		// The count comes by a subquery, because a join might be planned as one over the whole job.
		detail, tally := partitions(dayOf(report.Window{Begin: begins}))
		found, err := tx.Query(ctx, `SELECT d.key, d.row, (SELECT n FROM `+tally+` t WHERE t.job = d.job AND t.key = d.key)
			FROM `+detail+` d WHERE d.job = $1 AND d.key > $2 ORDER BY d.key LIMIT $3`, job, after, page)
		if err != nil {
			return err
		}
		var text pgtype.DriverBytes // the driver's own memory, until the next row
		var n int64
		_, err = pgx.ForEachRow(found, []any{&last, &text, &n}, func() error {
			r, err := report.ParseRow(text)
			r.Count = n
			rows = append(rows, r)
			return err
		})
		return err
	})
	return rows, last, err
}
