package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

const deliveryColumns = `SELECT delivery.id, job, address, word, detail, delivery.tries, next_try, reply, at, bounced, window_begin, window_end
	FROM delivery JOIN job ON job.id = delivery.job`

func scanDelivery(row scanner) (x report.Delivery, err error) {
	var next, set int64
	err = row.Scan(&x.ID, &x.Job, &x.Address, &x.Word, &x.Detail, &x.Tries, &next, &x.Reply, &set, &x.Bounced, &x.Window.Begin, &x.Window.End)
	x.NextTry, x.At = at(next), at(set)
	return x, err
}

// Deliveries implements [report.Store].
func (d *DB) Deliveries(ctx context.Context, job int64) (all []report.Delivery, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		all, err = collect(ctx, q, scanDelivery, deliveryColumns+" WHERE job = ? ORDER BY delivery.id", job)
		return err
	})
	return all, err
}

// Delivery implements [report.Store].
func (d *DB) Delivery(ctx context.Context, id int64) (x report.Delivery, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		x, err = scanDelivery(q.QueryRowContext(ctx, deliveryColumns+" WHERE delivery.id = ?", id))
		return unknown(err)
	})
	return x, err
}

// unknown translates the error for an empty answer.
func unknown(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return report.ErrUnknown
	}
	return err
}

// SetDelivery implements [report.Store].
func (d *DB) SetDelivery(ctx context.Context, x report.Delivery) (id int64, err error) {
	err = d.write(ctx, func(tx *sql.Tx) error {
		// Updated first, because a failed INSERT would use up an id.
		err := tx.QueryRowContext(ctx, "UPDATE delivery SET word = ?, detail = ?, tries = ?, next_try = ?, reply = ?, at = ?, bounced = ? WHERE job = ? AND address = ? RETURNING id",
			string(x.Word), x.Detail, x.Tries, micro(x.NextTry), x.Reply, micro(x.At), x.Bounced, x.Job, x.Address).Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		err = tx.QueryRowContext(ctx, `INSERT INTO delivery (job, address, word, detail, tries, next_try, reply, at, bounced)
			SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM job WHERE id = ? RETURNING id`,
			x.Address, string(x.Word), x.Detail, x.Tries, micro(x.NextTry), x.Reply, micro(x.At), x.Bounced, x.Job).Scan(&id)
		return unknown(err)
	})
	return id, err
}

const suppressionColumns = "SELECT target, since, until, strikes, reason, by, window_begin, sent FROM suppression"

func scanSuppression(row scanner) (x report.Suppression, err error) {
	var since, until, sent int64
	err = row.Scan(&x.Target, &since, &until, &x.Strikes, &x.Reason, &x.By, &x.Window, &sent)
	x.Since, x.Until, x.Sent = at(since), at(until), at(sent)
	return x, err
}

// Suppressions implements [report.Store].
func (d *DB) Suppressions(ctx context.Context) (all []report.Suppression, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		all, err = collect(ctx, q, scanSuppression, suppressionColumns+" ORDER BY target")
		return err
	})
	return all, err
}

// Suppression implements [report.Store].
func (d *DB) Suppression(ctx context.Context, target string) (x report.Suppression, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		x, err = scanSuppression(q.QueryRowContext(ctx, suppressionColumns+" WHERE target = ?", target))
		return unknown(err)
	})
	return x, err
}

// Suppress implements [report.Store].
func (d *DB) Suppress(ctx context.Context, x report.Suppression) error {
	return d.change(ctx, report.ErrUnknown, "INSERT OR REPLACE INTO suppression (target, since, until, strikes, reason, by, window_begin, sent) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		x.Target, micro(x.Since), micro(x.Until), x.Strikes, x.Reason, x.By, x.Window, micro(x.Sent))
}

// Unsuppress implements [report.Store].
func (d *DB) Unsuppress(ctx context.Context, target string) error {
	return d.change(ctx, report.ErrUnknown, "DELETE FROM suppression WHERE target = ?", target)
}

// Allow implements [report.Store].
func (d *DB) Allow(ctx context.Context, day report.Day, limit string, most int64) (allowed bool, err error) {
	if most <= 0 {
		return false, nil
	}
	err = d.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "INSERT INTO quota (day, name, n) VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1 WHERE n < ?", day, limit, most)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		allowed = n > 0
		return err
	})
	return allowed && err == nil, err
}

// Seen implements [report.Store].
func (d *DB) Seen(ctx context.Context, domain dns.Name, today report.Day) (s report.Seen, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		var firstPass, firstAny, wrote sql.NullInt64
		err := q.QueryRowContext(ctx, `SELECT count(DISTINCT iif(kind = 'pass', day, NULL)), min(iif(kind = 'pass', day, NULL)), count(DISTINCT day), min(day)
			FROM seen WHERE domain = ? AND day > ? AND day <= ? AND kind IN ('pass', 'fail')`, string(domain), today-report.SeenDays, today).
			Scan(&s.PassDays, &firstPass, &s.AnyDays, &firstAny)
		if err != nil {
			return err
		}
		s.FirstPass, s.FirstAny = report.Day(firstPass.Int64), report.Day(firstAny.Int64)
		err = q.QueryRowContext(ctx, "SELECT max(day) FROM seen WHERE domain = ? AND day > ? AND day <= ? AND kind = 'wrote'", string(domain), today-report.WroteDays, today).
			Scan(&wrote)
		s.Wrote = report.Day(wrote.Int64)
		return err
	})
	return s, err
}

// Secret implements [report.Store].
func (d *DB) Secret(ctx context.Context) (secret []byte, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		return q.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'secret'").Scan(&secret)
	})
	return secret, err
}
