package sqlite

import (
	"context"
	"database/sql"
	"time"

	"sekimori/internal/report"
)

func scanStanding(row scanner) (s report.Standing, err error) {
	err = row.Scan(&s.Window.Begin, &s.Window.End, &s.State, &s.Outcome, &s.Jobs, &s.Rows, &s.Messages, &s.Late, &s.Lost)
	return s, err
}

func scanExcess(row scanner) (x report.Excess, err error) {
	err = row.Scan(&x.Window.Begin, &x.Window.End, &x.Owner, &x.Messages)
	return x, err
}

// Summary implements [report.Store].
func (d *DB) Summary(ctx context.Context, now time.Time) (s report.Summary, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		s.Standings, err = collect(ctx, q, scanStanding, `SELECT window_begin, window_end, state, outcome, count(*), sum(rows), sum(messages), sum(late), sum(lost)
			FROM job GROUP BY window_begin, window_end, state, outcome ORDER BY window_begin DESC, window_end DESC, state, outcome LIMIT ?`, report.SummaryStandings)
		if err != nil {
			return err
		}
		s.Largest, err = collect(ctx, q, scan, jobColumns+" WHERE rows > 0 ORDER BY rows DESC, window_begin DESC, policy.domain, job.id LIMIT ?", report.SummaryLargest)
		if err != nil {
			return err
		}
		s.Excess, err = collect(ctx, q, scanExcess, `SELECT window_begin, window_end, registered, messages FROM excess
			ORDER BY window_begin DESC, messages DESC, registered LIMIT ?`, report.SummaryExcess)
		if err != nil {
			return err
		}
		var oldest, first sql.NullInt64
		err = q.QueryRowContext(ctx, `SELECT (SELECT min(not_before) FROM job WHERE state <> 'done'), (SELECT min(day) FROM seen WHERE kind IN ('pass', 'fail')),
			(SELECT count(*) FROM suppression WHERE until > ?)`, micro(now)).Scan(&oldest, &first, &s.Suppressed)
		s.Oldest, s.FirstDay = at(oldest.Int64), report.Day(first.Int64)
		return err
	})
	return s, err
}
