package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/report"
)

// Add implements [report.Store].
//
// All daemons take their locks in the same order: jobs, then rows, then counts, each sorted. Without
// that, daemons that share rows wait for each other until PostgreSQL ends one of them.
func (s *Store) Add(ctx context.Context, now time.Time, b report.Batch) error {
	b.Ledger = pruned(b.Ledger, now)
	days := append(ledgerDays(&b.Ledger), dayOf(b.Current))
	for i := range b.Tallies {
		days = append(days, dayOf(b.Tallies[i].Window))
	}
	for try := 1; ; try++ {
		err := s.provide(ctx, days)
		if err == nil {
			err = s.do(ctx, "add a batch", func(ctx context.Context, tx pgx.Tx) error { return s.add(ctx, tx, now, b) })
		}
		var m missing
		if try == attempts || !errors.As(err, &m) {
			return err
		}
		days = m
	}
}

func (s *Store) add(ctx context.Context, tx pgx.Tx, now time.Time, b report.Batch) error {
	// If another connection adds the same batch, this waits until it has ended.
	tag, err := tx.Exec(ctx, "INSERT INTO batch (id, at) VALUES ($1, $2) ON CONFLICT DO NOTHING", digest(b.ID), now)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	into, excess, err := assign(ctx, tx, now, b)
	if err != nil {
		return err
	}
	if err := s.missing(into); err != nil {
		return err
	}
	rows, err := fit(ctx, tx, b, into)
	if err != nil {
		return err
	}
	if err := s.write(ctx, tx, rows, into); err != nil {
		return err
	}
	if err := count(ctx, tx, into); err != nil {
		return err
	}
	if err := exceed(ctx, tx, excess); err != nil {
		return err
	}
	if err := see(ctx, tx, sightings(b.Seen, into, excess)); err != nil {
		return err
	}
	return s.addLedger(ctx, tx, b.Ledger)
}

// entry is one row of a batch.
type entry struct {
	job *job
	key report.Key
	n   int64
	row []byte // report.Row.Append
}

func (e *entry) compare(f *entry) int {
	return cmp.Or(cmp.Compare(e.job.day, f.job.day), cmp.Compare(e.job.id, f.job.id), e.key.Compare(f.key))
}

// entries returns the rows of the tallies in the order of day, job and key, each once.
func entries(into []*share) []entry {
	number, size := 0, 0
	for _, x := range into {
		number += len(x.Rows)
	}
	all := make([]entry, 0, number)
	buffer := make([]byte, 0, 256*number)
	for _, x := range into {
		for i := range x.Rows {
			size = len(buffer)
			buffer = x.Rows[i].Append(buffer)
			row := buffer[size:len(buffer):len(buffer)]
			all = append(all, entry{x.job, report.KeyOf(row), x.Rows[i].Count, row})
		}
	}
	return fold(all)
}

// fold sorts rows, and makes one of those that are equal.
func fold(all []entry) []entry {
	slices.SortFunc(all, func(a, b entry) int { return a.compare(&b) })
	kept := all[:0]
	for i := range all {
		if n := len(kept); n > 0 && kept[n-1].compare(&all[i]) == 0 {
			kept[n-1].n += all[i].n
			continue
		}
		kept = append(kept, all[i])
	}
	return kept
}

// fit returns the rows of a batch, less those for which a job has no room. See [report.Batch.RowLimit].
// Daemons that fill a job at the same moment may pass the limit by what each of them adds.
func fit(ctx context.Context, tx pgx.Tx, b report.Batch, into []*share) ([]entry, error) {
	all := entries(into)
	if b.MaxRows <= 0 {
		return all, nil
	}
	before, err := rowCounts(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	var kept []entry
	for len(all) > 0 {
		end := 1
		for end < len(all) && all[end].job == all[0].job {
			end++
		}
		of := all[:end:end]
		all = all[end:]
		if _, reduce := b.RowLimit(before[of[0].job.id] + int64(len(of)) - 1); reduce {
			if of, err = squeeze(ctx, tx, b, before[of[0].job.id], of); err != nil {
				return nil, err
			}
		}
		kept = append(kept, of...)
	}
	return fold(kept), nil
}

// squeeze keeps the rows of one job that is nearly full: those that the job has already, others as long
// as there is room, most of them reduced. The messages of the rest are lost.
func squeeze(ctx context.Context, tx pgx.Tx, b report.Batch, rows int64, of []entry) ([]entry, error) {
	reduced := make([]entry, len(of))
	keys := make([][16]byte, 0, 2*len(of))
	for i, e := range of {
		r, err := report.ParseRow(e.row)
		if err != nil {
			return nil, err
		}
		e.row = r.Reduced().Append(nil)
		e.key = report.KeyOf(e.row)
		reduced[i] = e
		keys = append(keys, of[i].key, e.key)
	}
	known, err := knownKeys(ctx, tx, of[0].job, keys)
	if err != nil {
		return nil, err
	}
	kept := make([]entry, 0, len(of))
	for i, e := range of {
		take, reduce := b.RowLimit(rows)
		if !known[e.key] && reduce {
			e = reduced[i]
		}
		switch {
		case known[e.key]:
		case take:
			known[e.key] = true
			rows++
		default:
			e.job.lost += e.n
			continue
		}
		kept = append(kept, e)
	}
	return kept, nil
}

// rowCounts returns how many rows the jobs have.
func rowCounts(ctx context.Context, tx pgx.Tx, all []entry) (map[int64]int64, error) {
	var ids []int64
	for i := range all {
		if id := all[i].job.id; len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	found, err := tx.Query(ctx, "SELECT job, rows FROM counts WHERE job = ANY ($1)", ids)
	if err != nil {
		return nil, err
	}
	counts := map[int64]int64{}
	var id, n int64
	_, err = pgx.ForEachRow(found, []any{&id, &n}, func() error { counts[id] = n; return nil })
	return counts, err
}

// knownKeys returns which of the keys a job has.
func knownKeys(ctx context.Context, tx pgx.Tx, j *job, keys [][16]byte) (map[report.Key]bool, error) {
	known := map[report.Key]bool{}
	detail, _ := partitions(j.day)
	found, err := tx.Query(ctx, "SELECT key FROM "+detail+" WHERE job = $1 AND key = ANY ($2)", j.id, keys)
	if err != nil {
		return nil, err
	}
	var key [16]byte
	_, err = pgx.ForEachRow(found, []any{&key}, func() error { known[key] = true; return nil })
	return known, err
}

// write adds the rows to the partitions of their days, and counts for each job those that are new.
func (s *Store) write(ctx context.Context, tx pgx.Tx, rows []entry, into []*share) error {
	if len(rows) == 0 {
		return nil
	}
	next := func(i int) ([]any, error) {
		e := &rows[i]
		return []any{int32(e.job.day), e.job.id, [16]byte(e.key), e.n, e.row}, nil
	}
	columns := []string{"day", "job", "key", "n", "row"}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"incoming"}, columns, pgx.CopyFromSlice(len(rows), next)); err != nil {
		return err
	}
	jobs := map[int64]*job{}
	for _, x := range into {
		jobs[x.job.id] = x.job
	}
	for i := range rows {
		if i > 0 && rows[i].job.day == rows[i-1].job.day {
			continue
		}
		if err := merge(ctx, tx, rows[i].job.day, jobs); err != nil {
			if code(err) == undefinedTable {
				s.forget(rows[i].job.day)
				return missing{rows[i].job.day}
			}
			return err
		}
	}
	return nil
}

// merge adds the rows of one day. They are written to the partitions themselves, because a statement on
// the parent table would lock every partition, also one that is about to be dropped.
func merge(ctx context.Context, tx pgx.Tx, day report.Day, jobs map[int64]*job) error {
	detail, tally := partitions(day)
	fresh, err := tx.Query(ctx, `WITH fresh AS (
			INSERT INTO `+detail+` (day, job, key, row) SELECT day, job, key, row FROM incoming WHERE day = $1 ORDER BY job, key
			ON CONFLICT (job, key) DO NOTHING RETURNING job)
		SELECT job, count(*) FROM fresh GROUP BY job`, int32(day))
	if err != nil {
		return err
	}
	var id, n int64
	if _, err = pgx.ForEachRow(fresh, []any{&id, &n}, func() error { jobs[id].rows += n; return nil }); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO `+tally+` AS old (day, job, key, n) SELECT day, job, key, n FROM incoming WHERE day = $1 ORDER BY job, key
		ON CONFLICT (job, key) DO UPDATE SET n = old.n + EXCLUDED.n`, int32(day))
	return err
}

// count adds to the counts of the jobs.
func count(ctx context.Context, tx pgx.Tx, into []*share) error {
	var jobs []*job
	for _, x := range into {
		x.job.add(x)
		jobs = append(jobs, x.job)
	}
	slices.SortFunc(jobs, func(a, b *job) int { return cmp.Compare(a.id, b.id) })
	jobs = slices.Compact(jobs)
	columns := make([][]int64, 8)
	for _, j := range jobs {
		for i, n := range []int64{j.id, j.rows, j.messages - j.lost, j.causes, j.spam, j.late, j.lost + j.without, j.merged} {
			columns[i] = append(columns[i], n)
		}
	}
	args := make([]any, len(columns))
	for i := range columns {
		args[i] = columns[i]
	}
	_, err := tx.Exec(ctx, `INSERT INTO counts AS old (job, rows, messages, causes, spam, late, lost, merged)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) ORDER BY 1
		ON CONFLICT (job) DO UPDATE SET rows = old.rows + EXCLUDED.rows, messages = old.messages + EXCLUDED.messages,
			causes = old.causes + EXCLUDED.causes, spam = old.spam + EXCLUDED.spam, late = old.late + EXCLUDED.late,
			lost = old.lost + EXCLUDED.lost, merged = old.merged + EXCLUDED.merged`, args...)
	return err
}

// see adds the sightings.
func see(ctx context.Context, tx pgx.Tx, seen []report.Sighting) error {
	if len(seen) == 0 {
		return nil
	}
	domains, days, kinds := make([]string, len(seen)), make([]int32, len(seen)), make([]string, len(seen))
	for i, x := range seen {
		domains[i], days[i], kinds[i] = name(x.Domain), int32(x.Day), string(x.Kind)
	}
	// The column's order is that of the index, whatever the order of the slice is.
	_, err := tx.Exec(ctx, `INSERT INTO seen (domain, day, kind)
		SELECT d COLLATE "C", y, k FROM unnest($1::text[], $2::integer[], $3::text[]) AS u (d, y, k) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING`,
		domains, days, kinds)
	return err
}
