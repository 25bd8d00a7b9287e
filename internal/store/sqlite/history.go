package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/history"
)

// historyTables has the packed records of decisions and the rows by which they are found. The id of a row
// is history.MaxBlockRows times the id of its block, plus the index of the record in the block. So an
// index of keys needs nothing else to find a record, and its order is that in which records were made.
const historyTables = `
CREATE TABLE history_block (
	id INTEGER PRIMARY KEY AUTOINCREMENT, day INTEGER NOT NULL, begins INTEGER NOT NULL, ends INTEGER NOT NULL, rows INTEGER NOT NULL,
	octets INTEGER NOT NULL, host TEXT NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX history_block_day ON history_block (day, rows, octets);
CREATE INDEX history_block_begins ON history_block (begins);
CREATE INDEX history_block_ends ON history_block (ends);
CREATE TABLE history (
	row INTEGER PRIMARY KEY, at INTEGER NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL,
	id INTEGER NOT NULL, queue INTEGER NOT NULL, author INTEGER NOT NULL, sender INTEGER NOT NULL, client INTEGER NOT NULL
) STRICT;
CREATE INDEX history_id ON history (id) WHERE id <> 0;
CREATE INDEX history_queue ON history (queue) WHERE queue <> 0;
CREATE INDEX history_author ON history (author) WHERE author <> 0;
CREATE INDEX history_sender ON history (sender) WHERE sender <> 0;
CREATE INDEX history_client ON history (client) WHERE client <> 0;
`

// historyVerdicts makes the rows smaller. What was kept before goes, as no release kept any.
const historyVerdicts = `
DELETE FROM history;
DELETE FROM history_block;
ALTER TABLE history DROP COLUMN reason;
ALTER TABLE history DROP COLUMN verdict;
ALTER TABLE history ADD COLUMN verdict INTEGER NOT NULL DEFAULT 0;
`

// historyHints adds the hints of rows, and an index of outcomes, which leaves out history.MostFrequent.
const historyHints = `
ALTER TABLE history ADD COLUMN hint INTEGER;
CREATE INDEX history_verdict ON history (verdict) WHERE verdict <> -1261583704;
CREATE INDEX history_block_host ON history_block (host);
`

// historyColumns has the names of the columns of keys, by history.Column.
var historyColumns = [history.Columns]string{"id", "queue", "author", "sender", "client", "verdict"}

// historyRow is about what a row takes on disk with its places in the indices, in octets. TestHistorySize
// compares it with the file.
const historyRow = 150

// AddHistory implements [history.Store].
func (d *DB) AddHistory(ctx context.Context, now time.Time, b history.Batch) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "INSERT INTO batch (id, at) VALUES (?, ?) ON CONFLICT DO NOTHING", b.ID, micro(now))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err
		}
		rows := bulk{ctx: ctx, tx: tx, head: "INSERT INTO history (row, at, id, queue, author, sender, client, verdict, hint) VALUES ", columns: 9}
		for i := range b.Blocks {
			if err := addBlock(ctx, tx, &rows, b.Host, &b.Blocks[i]); err != nil {
				return err
			}
		}
		return rows.flush()
	})
}

func addBlock(ctx context.Context, tx *sql.Tx, rows *bulk, host string, b *history.Block) error {
	first, last := b.Rows[0].Time, b.Rows[0].Time
	for _, r := range b.Rows {
		if r.Time.Before(first) {
			first = r.Time
		}
		if r.Time.After(last) {
			last = r.Time
		}
	}
	var id int64
	err := tx.QueryRowContext(ctx, "INSERT INTO history_block (day, begins, ends, rows, octets, host, data) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
		int64(b.Day()), first.UnixMilli(), last.UnixMilli(), len(b.Rows), len(b.Data), host, b.Data).Scan(&id)
	if err != nil {
		return err
	}
	for i := range b.Rows {
		r := &b.Rows[i]
		k := &r.Keys
		if err := rows.add(id*history.MaxBlockRows+int64(i), r.Time.UnixMilli(),
			k[history.ByID], k[history.ByQueue], k[history.ByAuthor], k[history.BySender], k[history.ByClient], k[history.ByVerdict],
			sql.NullInt16{Int16: int16(r.Hint), Valid: r.Hint != 0}); err != nil {
			return err
		}
	}
	return nil
}

// FindHistory implements [history.Store]. The newest is what was added last.
func (d *DB) FindHistory(ctx context.Context, q history.Query) (hits []history.Hit, err error) {
	err = d.read(ctx, func(db *sql.DB) error {
		where, args, err := historyRange(ctx, db, q)
		if err != nil || where == "" {
			return err
		}
		table, err := verdictRows(ctx, db, q)
		if err != nil {
			return err
		}
		for _, condition := range historyAny(&q) {
			found, err := collect(ctx, db, scanHit, "SELECT row, at FROM "+table+" WHERE "+where+condition+" ORDER BY row DESC LIMIT ?", append(args[:len(args):len(args)], q.Limit)...)
			if err != nil {
				return err
			}
			hits = append(hits, found...)
		}
		hits = history.Newest(hits, q.Limit, func(a, b history.Hit) int { return cmp.Compare(rowOf(a), rowOf(b)) })
		return nil
	})
	return hits, err
}

// verdictRows returns the table that a query is to search: all rows, or only those of a rare verdict (see
// [history.Query.RareVerdict]).
func verdictRows(ctx context.Context, db *sql.DB, q history.Query) (string, error) {
	first, last, ok := q.RareVerdict()
	if !ok {
		return "history", nil
	}
	from := fmt.Sprintf("FROM history INDEXED BY history_verdict WHERE verdict BETWEEN %d AND %d AND verdict <> %d", first, last, history.MostFrequent())
	var n int
	err := db.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 %s LIMIT %d)", from, history.FewOutcomes)).Scan(&n)
	if err != nil || n == history.FewOutcomes {
		return "history", err
	}
	return "(SELECT row, at, verdict " + from + " LIMIT -1)", nil
}

// historyAny returns the conditions of which a row must meet one. Each can be answered from an index.
func historyAny(q *history.Query) (conditions []string) {
	for _, k := range q.Any {
		// The second condition lets SQLite use the index, which lacks the key 0.
		one := fmt.Sprintf(" AND %[1]s = %[2]d AND %[1]s <> 0", historyColumns[k.Column], k.Key)
		if k.Mask != 0 {
			one += fmt.Sprintf(" AND ifnull(hint & %[1]d, %[2]d) = %[2]d", k.Mask, k.Hint)
		}
		if q.Reason != "" {
			one += fmt.Sprintf(" AND +verdict IN (%s)", integers(q.Outcomes()))
		}
		conditions = append(conditions, one)
	}
	if len(q.Any) > 0 || q.Reason == "" {
		return append(conditions, "")[:max(1, len(q.Any))]
	}
	for _, k := range q.Outcomes() {
		one := fmt.Sprintf(" AND verdict = %d", k)
		if most := history.MostFrequent(); k != most {
			one += fmt.Sprintf(" AND verdict <> %d", most)
		}
		conditions = append(conditions, one)
	}
	return conditions
}

// integers writes a list.
func integers(all []int32) string {
	texts := make([]string, len(all))
	for i, n := range all {
		texts[i] = strconv.Itoa(int(n))
	}
	return strings.Join(texts, ", ")
}

func scanHit(row scanner) (h history.Hit, err error) {
	var id, ms int64
	err = row.Scan(&id, &ms)
	h.Time, h.Block.ID, h.Index = time.UnixMilli(ms).UTC(), id/history.MaxBlockRows, int(id%history.MaxBlockRows)
	h.Block.Day = history.DayOf(h.Time)
	return h, err
}

func rowOf(h history.Hit) int64 { return h.Block.ID*history.MaxBlockRows + int64(h.Index) }

// historyRange returns the conditions of a query without its keys. They are "" if nothing can match. The
// rows of a time are found by their blocks, so that a search in an old day need not pass all newer days.
func historyRange(ctx context.Context, db *sql.DB, q history.Query) (where string, args []any, err error) {
	var conditions []string
	add := func(condition string, arg any) {
		conditions, args = append(conditions, condition), append(args, arg)
	}
	// After a change of the clock, blocks are in another order than their times. So all blocks of the time count, and of
	// the days at its other end, because a block is of one day.
	block := func(query string, limits ...any) (id int64, err error) {
		var found sql.NullInt64
		err = db.QueryRowContext(ctx, query, limits...).Scan(&found)
		return found.Int64, err
	}
	add("row > ?", 0)
	earliest, latest := history.DayOf(q.From).Begin().UnixMilli(), int64(math.MaxInt64)
	if !q.Until.IsZero() {
		latest = (history.DayOf(q.Until) + 1).Begin().UnixMilli()
	}
	if !q.From.IsZero() {
		ms := ceilMilli(q.From)
		first, err := block("SELECT min(id) FROM history_block INDEXED BY history_block_ends WHERE ends >= ? AND ends < ?", ms, latest)
		if err != nil || first == 0 {
			return "", nil, err
		}
		add("row >= ?", first*history.MaxBlockRows)
		add("at >= ?", ms)
	}
	if !q.Until.IsZero() {
		ms := ceilMilli(q.Until)
		last, err := block("SELECT max(id) FROM history_block INDEXED BY history_block_begins WHERE begins < ? AND begins >= ?", ms, earliest)
		if err != nil || last == 0 {
			return "", nil, err
		}
		add("row < ?", (last+1)*history.MaxBlockRows)
		add("at < ?", ms)
	}
	if q.After != nil {
		add("row < ?", rowOf(*q.After))
	}
	if q.Verdict != "" && q.Reason == "" {
		add(fmt.Sprintf("+verdict >> %d = ?", history.OutcomeBits), q.VerdictHalf())
	}
	if q.Host != "" {
		var known int
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM history_block WHERE host = ? LIMIT 1)", q.Host).Scan(&known); err != nil || known == 0 {
			return "", nil, err
		}
		add(fmt.Sprintf("EXISTS (SELECT 1 FROM history_block AS b WHERE b.id = row / %d AND b.host = ?)", history.MaxBlockRows), q.Host)
	}
	return strings.Join(conditions, " AND "), args, nil
}

// ceilMilli returns a time in milliseconds since 1970, rounded up.
func ceilMilli(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// HistoryBlock implements [history.Store].
func (d *DB) HistoryBlock(ctx context.Context, id history.BlockID) (host string, data []byte, err error) {
	err = d.read(ctx, func(db *sql.DB) error {
		err := db.QueryRowContext(ctx, "SELECT host, data FROM history_block WHERE id = ?", id.ID).Scan(&host, &data)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return host, data, err
}

// historyDay is a day with its approximate size.
type historyDay struct{ day, octets int64 }

// ExpireHistory implements [history.Store].
func (d *DB) ExpireHistory(ctx context.Context, now time.Time, keep time.Duration, size int64) (left history.Size, err error) {
	var days []historyDay
	err = d.read(ctx, func(db *sql.DB) error {
		days, err = collect(ctx, db, func(row scanner) (h historyDay, err error) {
			err = row.Scan(&h.day, &h.octets)
			return h, err
		}, "SELECT day, sum(octets) + ? * sum(rows) FROM history_block GROUP BY day ORDER BY day", historyRow)
		return err
	})
	if err != nil {
		return left, err
	}
	for _, h := range days {
		left.Octets += h.octets
	}
	for len(days) > 0 {
		old := history.Day(days[0].day + 1).Begin().Before(now.Add(-keep).Add(1))
		if !old && left.Octets <= size {
			break
		}
		if err := d.dropHistory(ctx, days[0].day); err != nil {
			return left, err
		}
		if !old {
			left.Dropped++
		}
		left.Octets -= days[0].octets
		days = days[1:]
	}
	if left.Days = len(days); left.Days > 0 {
		left.First = history.Day(days[0].day)
	}
	return left, nil
}

// expireBlocks is how many blocks a transaction deletes. Between two of them other calls have their turn.
const expireBlocks = expireRows / history.MaxBlockRows

// dropHistory deletes a day.
func (d *DB) dropHistory(ctx context.Context, day int64) error {
	for {
		n := 0
		err := d.write(ctx, func(tx *sql.Tx) error {
			found, err := tx.QueryContext(ctx, "SELECT id FROM history_block WHERE day = ? LIMIT ?", day, expireBlocks)
			if err != nil {
				return err
			}
			defer found.Close() //nolint:errcheck // found.Err has the error
			var ids []int64
			for found.Next() {
				var id int64
				if err := found.Scan(&id); err != nil {
					return err
				}
				ids = append(ids, id)
			}
			if err := found.Err(); err != nil {
				return err
			}
			for _, id := range ids {
				if _, err := tx.ExecContext(ctx, "DELETE FROM history WHERE row >= ? AND row < ?", id*history.MaxBlockRows, (id+1)*history.MaxBlockRows); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, "DELETE FROM history_block WHERE id = ?", id); err != nil {
					return err
				}
			}
			n = len(ids)
			return nil
		})
		if err != nil || n < expireBlocks {
			return err
		}
	}
}
