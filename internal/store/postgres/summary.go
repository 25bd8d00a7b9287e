package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/report"
)

func scanStanding(row pgx.CollectableRow) (s report.Standing, err error) {
	err = row.Scan(&s.Window.Begin, &s.Window.End, &s.State, &s.Outcome, &s.Jobs, &s.Rows, &s.Messages, &s.Late, &s.Lost)
	return s, err
}

// Summary implements report.Store.
func (s *Store) Summary(ctx context.Context, now time.Time) (sum report.Summary, err error) {
	err = s.do(ctx, "sum up the reports", func(ctx context.Context, tx pgx.Tx) error {
		found, err := tx.Query(ctx, `SELECT begins, ends, state, outcome, count(*), coalesce(sum(rows), 0)::bigint, coalesce(sum(messages), 0)::bigint,
			coalesce(sum(late), 0)::bigint, coalesce(sum(lost), 0)::bigint FROM job LEFT JOIN counts ON job = id
			GROUP BY begins, ends, state, outcome ORDER BY begins DESC, ends DESC, state COLLATE "C", outcome COLLATE "C" LIMIT $1`, report.SummaryStandings)
		if err != nil {
			return err
		}
		if sum.Standings, err = pgx.CollectRows(found, scanStanding); err != nil {
			return err
		}
		found, err = tx.Query(ctx, "SELECT id FROM job JOIN counts ON job = id WHERE rows > 0 ORDER BY rows DESC, begins DESC, domain, id LIMIT $1", report.SummaryLargest)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(found, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		sum.Largest = nil // the function may be called again after a conflict
		for _, id := range ids {
			one, err := jobs(ctx, tx, report.Filter{ID: id})
			if err != nil {
				return err
			}
			sum.Largest = append(sum.Largest, one...)
		}
		found, err = tx.Query(ctx, "SELECT begins, ends, registered, messages FROM excess ORDER BY begins DESC, messages DESC, registered LIMIT $1", report.SummaryExcess)
		if err != nil {
			return err
		}
		if sum.Excess, err = pgx.CollectRows(found, scanExcess); err != nil {
			return err
		}
		if len(sum.Excess) == 0 {
			sum.Excess = nil
		}
		var oldest *time.Time
		var first *int32
		err = tx.QueryRow(ctx, `SELECT (SELECT min(send_at) FROM job WHERE state <> 'done'), (SELECT min(day) FROM seen WHERE kind IN ('pass', 'fail')),
			(SELECT count(*) FROM suppression WHERE until > $1)`, now).Scan(&oldest, &first, &sum.Suppressed)
		sum.Oldest, sum.FirstDay = time.Time{}, 0
		if oldest != nil {
			sum.Oldest = oldest.UTC()
		}
		if first != nil {
			sum.FirstDay = report.Day(*first)
		}
		return err
	})
	return sum, err
}
