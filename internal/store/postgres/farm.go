package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/farm"
)

// Beat implements [farm.Store]. The age of a heartbeat is measured by the clock of the database, because
// the clocks of the hosts may differ.
func (s *Store) Beat(ctx context.Context, _ time.Time, b farm.Beat) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return s.do(ctx, "send a heartbeat", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO host (instance, at, beat) VALUES ($1, clock_timestamp(), $2)
			ON CONFLICT (instance) DO UPDATE SET at = EXCLUDED.at, beat = EXCLUDED.beat`, digest(b.Instance), escape(string(text)))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM host WHERE instance IN (SELECT instance FROM host WHERE at < clock_timestamp() - $1::interval FOR UPDATE SKIP LOCKED)", farm.Keep)
		return err
	})
}

// Leave implements [farm.Store].
func (s *Store) Leave(ctx context.Context, instance string) error {
	return s.do(ctx, "remove a heartbeat", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM host WHERE instance = $1", digest(instance))
		return err
	})
}

// Hosts implements [farm.Store].
func (s *Store) Hosts(ctx context.Context, _ time.Time) (all []farm.Host, err error) {
	err = s.do(ctx, "read the heartbeats", func(ctx context.Context, tx pgx.Tx) error {
		found, err := tx.Query(ctx, "SELECT greatest(clock_timestamp() - at, '0'), beat FROM host ORDER BY at DESC, instance LIMIT $1", farm.MaxHosts)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (h farm.Host, err error) {
			var text string
			if err := row.Scan(&h.Age, &text); err != nil {
				return h, err
			}
			return h, json.Unmarshal([]byte(unescape(text)), &h.Beat)
		})
		return err
	})
	return all, err
}

// Lease implements [farm.Store].
func (s *Store) Lease(ctx context.Context, now time.Time, name, owner string, length time.Duration) (got bool, err error) {
	err = s.do(ctx, "take a lease", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO lease AS old (name, owner, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, until = EXCLUDED.until WHERE old.owner = EXCLUDED.owner OR old.until <= $4`,
			name, escape(owner), now.Add(length), now)
		got = err == nil && tag.RowsAffected() > 0
		return err
	})
	return got && err == nil, err
}
