package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"sekimori/internal/farm"
)

// farmTables has the heartbeat of this host, and leases.
const farmTables = `
CREATE TABLE host (instance TEXT PRIMARY KEY, at INTEGER NOT NULL, beat TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE lease (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

// Beat implements [farm.Store].
func (d *DB) Beat(ctx context.Context, now time.Time, b farm.Beat) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return d.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO host (instance, at, beat) VALUES (?, ?, ?)", b.Instance, micro(now), string(text)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM host WHERE at < ?", micro(now.Add(-farm.Keep)))
		return err
	})
}

// Leave implements [farm.Store].
func (d *DB) Leave(ctx context.Context, instance string) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM host WHERE instance = ?", instance)
		return err
	})
}

// Hosts implements [farm.Store].
func (d *DB) Hosts(ctx context.Context, now time.Time) (all []farm.Host, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		all, err = collect(ctx, q, func(row scanner) (h farm.Host, err error) {
			var us int64
			var text string
			if err := row.Scan(&us, &text); err != nil {
				return h, err
			}
			h.Age = max(0, now.Sub(at(us)))
			return h, json.Unmarshal([]byte(text), &h.Beat)
		}, "SELECT at, beat FROM host ORDER BY at DESC, instance LIMIT ?", farm.MaxHosts)
		return err
	})
	return all, err
}

// Lease implements [farm.Store].
func (d *DB) Lease(ctx context.Context, now time.Time, name, owner string, length time.Duration) (got bool, err error) {
	err = d.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO lease (name, owner, until) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE owner = excluded.owner OR until <= ?`,
			name, owner, micro(now.Add(length)), micro(now))
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		got = n > 0
		return err
	})
	return got && err == nil, err
}
