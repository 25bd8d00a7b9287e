package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"sekimori/internal/bimi"
)

// markTable has the marks of BIMI. mark is opaque, see [bimi.Store].
const markTable = `
CREATE TABLE mark (key BLOB PRIMARY KEY, until INTEGER NOT NULL, mark BLOB NOT NULL) STRICT;
CREATE INDEX mark_until ON mark (until);
`

// PutMark implements [bimi.Store].
func (d *DB) PutMark(ctx context.Context, key bimi.MarkKey, until time.Time, mark []byte) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO mark (key, until, mark) VALUES (?, ?, ?)", key[:], micro(until), mark)
		return err
	})
}

// Mark implements [bimi.Store].
func (d *DB) Mark(ctx context.Context, key bimi.MarkKey, now time.Time) (mark []byte, err error) {
	err = d.read(ctx, func(q *sql.DB) error {
		err := q.QueryRowContext(ctx, "SELECT mark FROM mark WHERE key = ? AND until > ?", key[:], micro(now)).Scan(&mark)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return mark, err
}
