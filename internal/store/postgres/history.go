package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"sekimori/internal/history"
)

// historyColumns has the names of the columns of keys, by history.Column.
var historyColumns = [history.Columns]string{"id", "queue", "author", "sender", "client", "verdict"}

// historyParts returns the names of a day's partitions, quoted because a day may be negative.
func historyParts(d history.Day) (blocks, rows string) {
	return fmt.Sprintf(`"history_block_d%d"`, d), fmt.Sprintf(`"history_d%d"`, d)
}

// AddHistory implements [history.Store].
func (s *Store) AddHistory(ctx context.Context, now time.Time, b history.Batch) error {
	for try := 1; ; try++ {
		err := s.provideHistory(ctx, b)
		if err == nil {
			err = s.do(ctx, "add to the history", func(ctx context.Context, tx pgx.Tx) error { return addHistory(ctx, tx, now, b) })
		}
		if try == attempts || code(err) != undefinedTable {
			return err
		}
		s.mu.Lock() // another daemon has dropped a partition
		clear(s.historyDays)
		s.mu.Unlock()
	}
}

func addHistory(ctx context.Context, tx pgx.Tx, now time.Time, b history.Batch) error {
	tag, err := tx.Exec(ctx, "INSERT INTO batch (id, at) VALUES ($1, $2) ON CONFLICT DO NOTHING", digest(b.ID), now)
	if err != nil || tag.RowsAffected() == 0 || len(b.Blocks) == 0 {
		return err
	}
	found, err := tx.Query(ctx, "SELECT nextval('history_block_id')::integer FROM generate_series(1, $1)", len(b.Blocks))
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	host := escape(b.Host)
	for begin := 0; begin < len(b.Blocks); {
		day, end := b.Blocks[begin].Day(), begin+1
		for end < len(b.Blocks) && b.Blocks[end].Day() == day {
			end++
		}
		if err := copyDay(ctx, tx, day, host, ids[begin:end], b.Blocks[begin:end]); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

// copyDay adds blocks of one day to the partitions themselves, because a statement on the parent tables
// would lock every partition, also one that is about to be dropped.
func copyDay(ctx context.Context, tx pgx.Tx, d history.Day, host string, ids []int32, of []history.Block) error {
	name := func(quoted string) pgx.Identifier { return pgx.Identifier{strings.Trim(quoted, `"`)} }
	blocks, rows := historyParts(d)
	next := func(i int) ([]any, error) { return []any{int32(d), ids[i], host, of[i].Data}, nil }
	if _, err := tx.CopyFrom(ctx, name(blocks), []string{"day", "id", "host", "data"}, pgx.CopyFromSlice(len(of), next)); err != nil {
		return err
	}
	var all [][]any
	for i := range of {
		for place := range of[i].Rows {
			r := &of[i].Rows[place]
			k := &r.Keys
			at := int32(r.Time.Sub(d.Begin()).Milliseconds()) //nolint:gosec // a day has fewer milliseconds
			all = append(all, []any{int32(d), at, ids[i], k[history.ByID], k[history.ByQueue], k[history.ByAuthor], k[history.BySender], k[history.ByClient],
				k[history.ByVerdict], int16(place), pgtype.Int2{Int16: int16(r.Hint), Valid: r.Hint != 0}}) //nolint:gosec // a block has few rows
		}
	}
	columns := []string{"day", "at", "block", "id", "queue", "author", "sender", "client", "verdict", "place", "hint"}
	_, err := tx.CopyFrom(ctx, name(rows), columns, pgx.CopyFromRows(all))
	return err
}

// FindHistory implements [history.Store]. Days are looked through one after the other, the newest first.
func (s *Store) FindHistory(ctx context.Context, q history.Query) (hits []history.Hit, err error) {
	for range attempts {
		hits = nil
		err = s.do(ctx, "search the history", func(ctx context.Context, tx pgx.Tx) error {
			hits = nil // the function may be called again after a conflict
			if onlyIDs(q) {
				hits, err = findDay(ctx, tx, q, "history", nil)
				return err
			}
			days, err := historyDays(ctx, tx)
			if err != nil {
				return err
			}
			for i := len(days) - 1; i >= 0 && len(hits) < q.Limit; i-- {
				if d := days[i]; !within(d, q) {
					continue
				}
				_, rows := historyParts(days[i])
				rows, err := verdictRows(ctx, tx, q, rows)
				if err != nil {
					return err
				}
				found, err := findDay(ctx, tx, q, rows, &days[i])
				if err != nil {
					return err
				}
				hits = append(hits, found...)
			}
			return nil
		})
		if code(err) != undefinedTable { // another daemon has dropped a partition
			break
		}
	}
	return hits[:min(len(hits), q.Limit)], err
}

// onlyIDs reports whether a query asks for nothing but IDs, of which there are so few that all days are
// searched at once.
func onlyIDs(q history.Query) bool {
	for _, k := range q.Any {
		if k.Column != history.ByID && k.Column != history.ByQueue {
			return false
		}
	}
	return len(q.Any) > 0 && q.Host == "" && q.From.IsZero() && q.Until.IsZero()
}

// within reports whether a day can have hits.
func within(d history.Day, q history.Query) bool {
	return (q.From.IsZero() || d >= history.DayOf(q.From)) && (q.Until.IsZero() || d <= history.DayOf(q.Until.Add(-1))) &&
		(q.After == nil || d <= q.After.Block.Day)
}

// verdictRows returns the table that a query is to search: that of the day, or only its rows of a rare verdict (see
// [history.Query.RareVerdict]). OFFSET 0 keeps PostgreSQL from reading those in the order of time.
func verdictRows(ctx context.Context, tx pgx.Tx, q history.Query, table string) (string, error) {
	first, last, ok := q.RareVerdict()
	if !ok {
		return table, nil
	}
	from := fmt.Sprintf("FROM %s WHERE verdict BETWEEN %d AND %d AND verdict <> %d", table, first, last, history.MostFrequent())
	var n int
	err := tx.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM (SELECT %s LIMIT %d) AS few", from, history.FewOutcomes)).Scan(&n)
	if err != nil || n == history.FewOutcomes {
		return table, err
	}
	return "(SELECT day, at, block, place, verdict " + from + " OFFSET 0) AS few", nil
}

// findDay searches a table: that of the day, or, if the day is nil, that of all days.
func findDay(ctx context.Context, tx pgx.Tx, q history.Query, table string, d *history.Day) ([]history.Hit, error) {
	statement, args := searchDay(q, table, d)
	found, err := tx.Query(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	hits, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (h history.Hit, err error) {
		var day, ms, block int32
		var place int16
		err = row.Scan(&day, &ms, &block, &place)
		h.Block, h.Index = history.BlockID{Day: history.Day(day), ID: int64(block)}, int(place)
		h.Time = h.Block.Day.Begin().Add(time.Duration(ms) * time.Millisecond)
		return h, err
	})
	return history.Newest(hits, q.Limit, compareHits), err
}

// searchDay returns the statement of findDay. Its text has no keys and times, so a connection prepares it once.
func searchDay(q history.Query, table string, d *history.Day) (statement string, args []any) {
	conditions, args := conditionsOf(q, d)
	arg := func(v int32) string {
		args = append(args, v)
		return fmt.Sprintf("$%d::integer", len(args))
	}
	var columns []string
	for _, k := range q.Any {
		name, key := historyColumns[k.Column], arg(k.Key)
		// The other conditions follow from the first one. They let PostgreSQL use the indices, which lack the
		// key 0, and some of which have only the first bits of a key.
		one := fmt.Sprintf("%[1]s = %[2]s AND %[1]s <> 0", name, key)
		if k.Column == history.ByID || k.Column == history.ByQueue || k.Column == history.ByClient {
			one += fmt.Sprintf(" AND %s >> %d = %s >> %d", name, keyBits, key, keyBits)
		}
		if k.Mask != 0 {
			one += fmt.Sprintf(" AND coalesce(hint & %[1]s, %[2]s) = %[2]s", arg(int32(k.Mask)), arg(int32(k.Hint)))
		}
		columns = append(columns, one)
	}
	if len(q.Any) == 0 && q.Reason != "" {
		for _, k := range q.Outcomes() {
			one := "verdict = " + arg(k)
			if most := history.MostFrequent(); k != most {
				one += fmt.Sprintf(" AND verdict <> %d", most) // which lets PostgreSQL use the index
			}
			columns = append(columns, one)
		}
	}
	if len(columns) == 0 {
		columns = []string{"true"}
	}
	// The indices of a day have the first bits of the time, so that the newest rows come first.
	order := "day"
	if d != nil {
		order = fmt.Sprintf("at >> %d", atBits)
	}
	var parts []string
	for _, one := range columns {
		parts = append(parts, fmt.Sprintf("(SELECT day, at, block, place FROM %s WHERE %s ORDER BY %s DESC, at DESC, block DESC, place DESC LIMIT %d)",
			table, strings.Join(append([]string{one}, conditions...), " AND "), order, q.Limit))
	}
	return strings.Join(parts, " UNION ALL "), args
}

func conditionsOf(q history.Query, d *history.Day) (conditions []string, args []any) {
	add := func(format string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, fmt.Sprintf(format, len(args)))
	}
	switch {
	case q.Reason == "" && q.Verdict != "":
		add(fmt.Sprintf("verdict >> %d = $%%d::integer", history.OutcomeBits), q.VerdictHalf())
	case q.Reason != "" && len(q.Any) > 0:
		add("verdict = ANY ($%d::integer[])", q.Outcomes())
	}
	if q.Host != "" && d != nil {
		blocks, _ := historyParts(*d)
		args = append(args, escape(q.Host))
		// The first condition ends the search of a day without the host at once. IS TRUE keeps the second one apart
		// from the search itself, so that the newest rows are still read first.
		conditions = append(conditions, fmt.Sprintf("EXISTS (SELECT FROM %[1]s WHERE host = $%[2]d) AND (block IN (SELECT id FROM %[1]s WHERE host = $%[2]d)) IS TRUE", blocks, len(args)))
	}
	// For each limit of the time there is one of its first bits, which is in the indices.
	early, late := fmt.Sprintf(" AND at >> %[1]d >= $%%[1]d::integer >> %[1]d", atBits), fmt.Sprintf(" AND at >> %[1]d <= $%%[1]d::integer >> %[1]d", atBits)
	if d != nil && !q.From.IsZero() && q.From.After(d.Begin()) {
		add("at >= $%[1]d::integer"+early, milliOf(*d, q.From))
	}
	if d != nil && !q.Until.IsZero() && q.Until.Before((*d + 1).Begin()) {
		add("at < $%[1]d::integer"+late, milliOf(*d, q.Until))
	}
	if h := q.After; h != nil {
		day, at := h.Block.Day, milliOf(h.Block.Day, h.Time)
		n := len(args)
		args = append(args, int32(day), at, int32(h.Block.ID), int16(h.Index)) //nolint:gosec // they were read from such columns
		conditions = append(conditions, fmt.Sprintf("(day, at, block, place) < ($%d::integer, $%d::integer, $%d::integer, $%d::smallint)", n+1, n+2, n+3, n+4))
		if d != nil && *d == day {
			add("true"+late, at)
		}
	}
	return conditions, args
}

// milliOf returns a time in milliseconds of the day, rounded up.
func milliOf(d history.Day, t time.Time) int32 {
	return int32(t.Add(time.Millisecond - 1).Sub(d.Begin()).Milliseconds()) //nolint:gosec // the time is of the day
}

func compareHits(a, b history.Hit) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Block.ID, b.Block.ID), cmp.Compare(a.Index, b.Index))
}

// HistoryBlock implements [history.Store].
func (s *Store) HistoryBlock(ctx context.Context, id history.BlockID) (host string, data []byte, err error) {
	err = s.ask(ctx, "read the history", func(ctx context.Context) error {
		blocks, _ := historyParts(id.Day)
		err := s.pool.QueryRow(ctx, "SELECT host, data FROM "+blocks+" WHERE id = $1", id.ID).Scan(&host, &data)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if code(err) == undefinedTable {
		return "", nil, nil
	}
	return unescape(host), data, err
}
