package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

const deliveries = `SELECT d.id, d.job, d.address, d.word, d.detail, d.tries, d.next_try, d.reply, d.at, d.bounced, j.begins, j.ends
	FROM delivery d JOIN job j ON j.id = d.job `

func scanDelivery(row pgx.CollectableRow) (d report.Delivery, err error) {
	var address, word, detail, reply string
	var next, at *time.Time
	err = row.Scan(&d.ID, &d.Job, &address, &word, &detail, &d.Tries, &next, &reply, &at, &d.Bounced, &d.Window.Begin, &d.Window.End)
	d.Address, d.Word, d.Detail, d.Reply = unescape(address), report.Word(unescape(word)), unescape(detail), unescape(reply)
	d.NextTry, d.At = orZero(next), orZero(at)
	return d, err
}

// Deliveries implements [report.Store].
func (s *Store) Deliveries(ctx context.Context, job int64) ([]report.Delivery, error) {
	return list(ctx, s, "list deliveries", scanDelivery, deliveries+"WHERE d.job = $1 ORDER BY d.id", job)
}

// Delivery implements [report.Store].
func (s *Store) Delivery(ctx context.Context, id int64) (report.Delivery, error) {
	return one(list(ctx, s, "find a delivery", scanDelivery, deliveries+"WHERE d.id = $1", id))
}

// SetDelivery implements [report.Store].
func (s *Store) SetDelivery(ctx context.Context, d report.Delivery) (id int64, err error) {
	err = s.do(ctx, "set a delivery", func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO delivery (job, digest, address, word, detail, tries, next_try, reply, at, bounced)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (job, digest) DO UPDATE SET word = EXCLUDED.word, detail = EXCLUDED.detail, tries = EXCLUDED.tries,
				next_try = EXCLUDED.next_try, reply = EXCLUDED.reply, at = EXCLUDED.at, bounced = EXCLUDED.bounced RETURNING id`,
			d.Job, digest(d.Address), escape(d.Address), escape(string(d.Word)), escape(d.Detail), d.Tries, orNull(d.NextTry), escape(d.Reply),
			orNull(d.At), d.Bounced).Scan(&id)
		if code(err) == foreignKey {
			return report.ErrUnknown
		}
		return err
	})
	return id, err
}

const suppressions = "SELECT target, since, until, strikes, reason, by, begins, sent FROM suppression "

func scanSuppression(row pgx.CollectableRow) (x report.Suppression, err error) {
	var since, until, sent *time.Time
	err = row.Scan(&x.Target, &since, &until, &x.Strikes, &x.Reason, &x.By, &x.Window, &sent)
	x.Target, x.Reason, x.By = unescape(x.Target), unescape(x.Reason), unescape(x.By)
	x.Since, x.Until, x.Sent = orZero(since), orZero(until), orZero(sent)
	return x, err
}

// Suppressions implements [report.Store].
func (s *Store) Suppressions(ctx context.Context) ([]report.Suppression, error) {
	return list(ctx, s, "list suppressions", scanSuppression, suppressions+"ORDER BY target")
}

// Suppression implements [report.Store].
func (s *Store) Suppression(ctx context.Context, target string) (report.Suppression, error) {
	return one(list(ctx, s, "find a suppression", scanSuppression, suppressions+"WHERE digest = $1", digest(target)))
}

// Suppress implements [report.Store].
func (s *Store) Suppress(ctx context.Context, x report.Suppression) error {
	return s.do(ctx, "suppress", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO suppression (digest, target, since, until, strikes, reason, by, begins, sent)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (digest) DO UPDATE SET since = EXCLUDED.since, until = EXCLUDED.until, strikes = EXCLUDED.strikes,
				reason = EXCLUDED.reason, by = EXCLUDED.by, begins = EXCLUDED.begins, sent = EXCLUDED.sent`,
			digest(x.Target), escape(x.Target), orNull(x.Since), orNull(x.Until), x.Strikes, escape(x.Reason), escape(x.By), x.Window, orNull(x.Sent))
		return err
	})
}

// Unsuppress implements [report.Store].
func (s *Store) Unsuppress(ctx context.Context, target string) error {
	return s.do(ctx, "remove a suppression", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "DELETE FROM suppression WHERE digest = $1", digest(target))
		if err == nil && tag.RowsAffected() == 0 {
			err = report.ErrUnknown
		}
		return err
	})
}

// Allow implements [report.Store].
func (s *Store) Allow(ctx context.Context, day report.Day, limit string, most int64) (allowed bool, err error) {
	if most <= 0 {
		return false, nil
	}
	err = s.do(ctx, "count against a limit", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO quota AS old (day, digest, n) VALUES ($1, $2, 1)
			ON CONFLICT (day, digest) DO UPDATE SET n = old.n + 1 WHERE old.n < $3`, int32(day), digest(limit), most)
		allowed = err == nil && tag.RowsAffected() > 0
		return err
	})
	return allowed && err == nil, err
}

// Seen implements [report.Store].
func (s *Store) Seen(ctx context.Context, domain dns.Name, today report.Day) (seen report.Seen, err error) {
	err = s.do(ctx, "sum up sightings", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE kind = 'pass'), coalesce(min(day) FILTER (WHERE kind = 'pass'), 0),
				count(DISTINCT day) FILTER (WHERE kind <> 'wrote'), coalesce(min(day) FILTER (WHERE kind <> 'wrote'), 0),
				coalesce(max(day) FILTER (WHERE kind = 'wrote'), 0)
			FROM seen WHERE domain = $1 AND day <= $2 AND day > CASE kind WHEN 'wrote' THEN $3::integer ELSE $4::integer END`,
			name(domain), int32(today), int32(today)-report.WroteDays, int32(today)-report.SeenDays).
			Scan(&seen.PassDays, &seen.FirstPass, &seen.AnyDays, &seen.FirstAny, &seen.Wrote)
	})
	return seen, err
}

// list returns what a query finds.
func list[T any](ctx context.Context, s *Store, what string, scan pgx.RowToFunc[T], query string, args ...any) (all []T, err error) {
	err = s.do(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		found, err := tx.Query(ctx, query, args...)
		if err == nil {
			all, err = pgx.CollectRows(found, scan)
		}
		return err
	})
	return all, err
}

// one returns the only value of a list.
func one[T any](all []T, err error) (v T, _ error) {
	if err == nil && len(all) == 0 {
		err = report.ErrUnknown
	}
	if err != nil {
		return v, err
	}
	return all[0], nil
}
