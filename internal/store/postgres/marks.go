package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/bimi"
)

// PutMark implements [bimi.Store].
func (s *Store) PutMark(ctx context.Context, key bimi.MarkKey, until time.Time, mark []byte) error {
	return s.do(ctx, "keep a mark", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO mark (key, until, mark) VALUES ($1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET until = EXCLUDED.until, mark = EXCLUDED.mark`, key[:], until, mark)
		return err
	})
}

// Mark implements [bimi.Store].
func (s *Store) Mark(ctx context.Context, key bimi.MarkKey, now time.Time) (mark []byte, err error) {
	err = s.do(ctx, "find a mark", func(ctx context.Context, tx pgx.Tx) error {
		mark = nil
		err := tx.QueryRow(ctx, "SELECT mark FROM mark WHERE key = $1 AND until > $2", key[:], now).Scan(&mark)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return mark, err
}
