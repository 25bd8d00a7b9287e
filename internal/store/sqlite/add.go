package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// chunk is how many rows a statement adds. A statement for each row would take most of its time outside
// of SQLite.
const chunk = 64

// Add implements [report.Store].
func (d *DB) Add(ctx context.Context, now time.Time, b report.Batch) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "INSERT INTO batch (id, at) VALUES (?, ?) ON CONFLICT DO NOTHING", b.ID, micro(now))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err
		}
		a := adder{ctx: ctx, tx: tx, now: now, batch: b, lengths: map[report.Day]int64{}, jobs: map[share]int64{}, told: map[dns.Name]bool{}}
		for _, t := range b.Tallies {
			if err := a.tally(t); err != nil {
				return err
			}
		}
		seen := bulk{ctx: ctx, tx: tx, head: "INSERT INTO seen (domain, day, kind) VALUES ", columns: 3, tail: " ON CONFLICT DO NOTHING"}
		for _, s := range b.Seen {
			if kept, known := a.told[s.Domain]; known && !kept && s.Kind != report.SeenWrote {
				continue // a domain without a job needs no sightings
			}
			if err := seen.add(string(s.Domain), s.Day, string(s.Kind)); err != nil {
				return err
			}
		}
		if err := seen.flush(); err != nil {
			return err
		}
		return addLedger(ctx, tx, now, b.Ledger)
	})
}

// adder adds one batch.
type adder struct {
	ctx   context.Context
	tx    *sql.Tx
	now   time.Time
	batch report.Batch

	lengths map[report.Day]int64 // of the windows of a day, in seconds
	jobs    map[share]int64      // how many there are
	told    map[dns.Name]bool    // the policy domains of the tallies, and whether they have a job
}

// share is a window, or the part of it that an owner has.
type share struct {
	begin int64
	owner dns.Name // "" for the whole window
}

// place is where the rows of a tally go.
type place struct {
	job    int64         // 0 if there are too many jobs
	window report.Window // only if job is 0
	owner  dns.Name      // that has too many jobs, or "" if the window has
	rows   int64         // that the job has
	late   bool          // not the tally's own window
	merged bool          // not the tally's own policy
}

func (a *adder) tally(t report.Tally) error {
	p, err := a.place(t)
	if err != nil {
		return err
	}
	var messages, all int64
	for _, r := range t.Rows {
		all += r.Count
	}
	a.told[t.Policy.Domain] = a.told[t.Policy.Domain] || p.job != 0
	if p.job == 0 {
		return a.exceed(p, all+t.Lost)
	}
	before := p.rows
	rows, err := a.bounded(p, t.Rows)
	if err != nil {
		return err
	}
	details := bulk{ctx: a.ctx, tx: a.tx, head: "INSERT INTO detail (job, key, row) VALUES ", columns: 3, tail: " ON CONFLICT DO NOTHING"}
	counts := bulk{ctx: a.ctx, tx: a.tx, head: "INSERT INTO tally (job, key, n) VALUES ", columns: 3, tail: " ON CONFLICT DO UPDATE SET n = n + excluded.n"}
	for _, r := range rows {
		messages += r.n
		if err := errors.Join(details.add(p.job, r.key[:], r.detail), counts.add(p.job, r.key[:], r.n)); err != nil {
			return err
		}
	}
	if err := errors.Join(details.flush(), counts.flush()); err != nil {
		return err
	}
	late, merged := t.Late, int64(0)
	if p.late {
		late = all
	}
	if p.merged {
		merged = all
	}
	_, err = a.tx.ExecContext(a.ctx, `UPDATE job SET rows = ?, messages = messages + ?, causes = causes + ?, spam = spam + ?, late = late + ?, lost = lost + ?,
		merged = merged + ? WHERE id = ?`, before+details.added, messages, t.Causes, t.Spam, late, t.Lost+all-messages, merged, p.job)
	return err
}

// place finds the job for a tally, or opens one.
func (a *adder) place(t report.Tally) (place, error) {
	policy, err := a.policy(t.Policy)
	if err != nil {
		return place{}, err
	}
	w, err := a.fitting(t.Window)
	if err == nil && a.now.Sub(time.Unix(w.End+1, 0)) > report.MaxLate {
		w, err = a.later(w)
	}
	for err == nil { // ends, because each turn is for a window whose jobs are closed
		p := place{late: !overlap(w, t.Window)}
		var open bool
		if open, err = a.find(&p, t.Policy, policy, w); err != nil || open {
			return p, err
		}
		if p.job == 0 {
			return a.open(p, t, policy, w)
		}
		w, err = a.later(w)
	}
	return place{}, err
}

func overlap(a, b report.Window) bool { return a.Begin <= b.End && b.Begin <= a.End }

// open opens a job, unless there are too many. policy is 0 if the policy is not stored.
func (a *adder) open(p place, t report.Tally, policy int64, w report.Window) (place, error) {
	owner := t.Policy.Owner()
	of, all := share{w.Begin, owner}, share{w.Begin, ""}
	if err := errors.Join(a.count(of), a.count(all)); err != nil {
		return place{}, err
	}
	switch ok, tooMany := a.batch.Takes(a.jobs[all], a.jobs[of]); {
	case tooMany:
		return place{window: w, owner: owner}, nil
	case !ok:
		return place{window: w}, nil
	}
	if policy == 0 {
		var err error
		if policy, err = a.newPolicy(t.Policy); err != nil {
			return place{}, err
		}
	}
	a.jobs[of]++
	a.jobs[all]++
	sendAt := micro(t.SendAt)
	if sendAt != 0 {
		sendAt += (w.End - t.Window.End) * 1e6
	}
	err := a.tx.QueryRowContext(a.ctx, `INSERT INTO job (domain, policy, window_begin, window_end, not_before, registered) VALUES (?, ?, ?, ?, ?, ?)
		RETURNING id`, string(t.Policy.Domain), policy, w.Begin, w.End, sendAt, string(owner)).Scan(&p.job)
	return p, err
}

// count counts the jobs of a share, unless it was counted.
func (a *adder) count(s share) error {
	if _, counted := a.jobs[s]; counted {
		return nil
	}
	query, args := "SELECT count(*) FROM job WHERE window_begin = ?", []any{s.begin}
	if s.owner != "" {
		query, args = query+" AND registered = ?", append(args, string(s.owner))
	}
	var n int64
	err := a.tx.QueryRowContext(a.ctx, query, args...).Scan(&n)
	a.jobs[s] = n
	return err
}

// exceed counts messages that are in no report.
func (a *adder) exceed(p place, messages int64) error {
	_, err := a.tx.ExecContext(a.ctx, `INSERT INTO excess (window_begin, window_end, registered, messages) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET messages = messages + excluded.messages`, p.window.Begin, p.window.End, string(p.owner), messages)
	return err
}

// fitting returns the window of the length that all windows of the day have.
func (a *adder) fitting(w report.Window) (report.Window, error) {
	day := w.Day()
	length, known := a.lengths[day]
	if !known {
		err := a.tx.QueryRowContext(a.ctx, "SELECT window_end - window_begin + 1 FROM job WHERE window_begin >= ? AND window_begin < ? LIMIT 1",
			day.Time().Unix(), (day + 1).Time().Unix()).Scan(&length)
		if errors.Is(err, sql.ErrNoRows) {
			length = w.Length()
		} else if err != nil {
			return w, err
		}
		a.lengths[day] = length
	}
	if length == w.Length() {
		return w, nil
	}
	return w.Within(length, a.now), nil
}

// later returns the current window if it is after w, or else the window that follows w.
func (a *adder) later(w report.Window) (report.Window, error) {
	if current, err := a.fitting(a.batch.Current); err != nil || current.Begin > w.Begin {
		return current, err
	}
	return a.fitting(report.Window{Begin: w.End + 1, End: w.End + w.Length()})
}

// find looks for the job of a policy and window, or the one that takes its rows because the domain has
// too many policies. p.job stays 0 if a job may be opened.
func (a *adder) find(p *place, policy report.Policy, id int64, w report.Window) (open bool, err error) {
	rows, err := a.tx.QueryContext(a.ctx, "SELECT id, policy, state, rows FROM job WHERE domain = ? AND window_begin = ? ORDER BY id", string(policy.Domain), w.Begin)
	if err != nil {
		return false, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has the error
	number := 0
	var newest place
	var newestOpen bool
	for rows.Next() {
		var job, of, n int64
		var state report.State
		if err := rows.Scan(&job, &of, &state, &n); err != nil {
			return false, err
		}
		if number++; of == id {
			p.job, p.rows = job, n
			return state == report.StateOpen, nil
		}
		newest, newestOpen = place{job: job, rows: n, late: p.late, merged: true}, state == report.StateOpen
	}
	if number >= report.MaxPolicies {
		*p = newest
		return newestOpen, rows.Err()
	}
	return false, rows.Err()
}

// policy returns the id of a policy, or 0 if it is not stored.
func (a *adder) policy(p report.Policy) (id int64, err error) {
	digest, invalid := p.ID(), ""
	err = a.tx.QueryRowContext(a.ctx, "SELECT id, invalid FROM policy WHERE digest = ?", digest[:]).Scan(&id, &invalid)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err == nil && invalid != p.Invalid {
		_, err = a.tx.ExecContext(a.ctx, "UPDATE policy SET invalid = ? WHERE id = ?", p.Invalid, id)
	}
	return id, err
}

// newPolicy stores a policy.
func (a *adder) newPolicy(p report.Policy) (id int64, err error) {
	digest := p.ID()
	err = a.tx.QueryRowContext(a.ctx, `INSERT INTO policy (digest, domain, p, sp, np, adkim, aspf, fo, testing, method, invalid)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, digest[:], string(p.Domain), string(p.P), string(p.SP), string(p.NP),
		string(p.ADKIM), string(p.ASPF), p.FO, p.Testing, string(p.Method), p.Invalid).Scan(&id)
	return id, err
}

// entry is a row as it is stored.
type entry struct {
	key    report.Key
	detail []byte
	n      int64
}

func newEntry(r report.Row) entry {
	detail := r.Append(nil)
	return entry{report.KeyOf(detail), detail, r.Count}
}

// bounded returns the rows that the job takes, of which some may be reduced. The messages of the others
// are lost.
func (a *adder) bounded(p place, rows []report.Row) ([]entry, error) {
	all := make([]entry, len(rows))
	for i, r := range rows {
		all[i] = newEntry(r)
	}
	if _, reduce := a.batch.RowLimit(p.rows + int64(len(rows))); !reduce {
		return all, nil
	}
	var taken []entry
	places := map[report.Key]int{}
	take := func(e entry) {
		if i, ok := places[e.key]; ok {
			taken[i].n += e.n
			return
		}
		places[e.key] = len(taken)
		taken = append(taken, e)
	}
	known := func(k report.Key) (bool, error) {
		if _, ok := places[k]; ok {
			return true, nil
		}
		var one int
		err := a.tx.QueryRowContext(a.ctx, "SELECT 1 FROM tally WHERE job = ? AND key = ?", p.job, k[:]).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	}
	for i, e := range all {
		is, err := known(e.key)
		if err != nil {
			return nil, err
		}
		fits, reduce := a.batch.RowLimit(p.rows)
		if !is && reduce {
			e = newEntry(rows[i].Reduced())
			if is, err = known(e.key); err != nil {
				return nil, err
			}
		}
		if !is && fits {
			p.rows++
		}
		if is || fits {
			take(e)
		}
	}
	return taken, nil
}

// bulk collects rows for one INSERT.
type bulk struct {
	ctx        context.Context
	tx         *sql.Tx
	head, tail string
	columns    int
	args       []any
	full       string // the statement for a whole chunk
	added      int64
}

func (b *bulk) add(values ...any) error {
	b.args = append(b.args, values...)
	if len(b.args) < chunk*b.columns {
		return nil
	}
	return b.flush()
}

func (b *bulk) flush() error {
	if len(b.args) == 0 {
		return nil
	}
	done, err := b.tx.ExecContext(b.ctx, b.statement(len(b.args)/b.columns), b.args...)
	b.args = b.args[:0]
	if err != nil {
		return err
	}
	n, err := done.RowsAffected()
	b.added += n
	return err
}

func (b *bulk) statement(rows int) string {
	if rows == chunk && b.full != "" {
		return b.full
	}
	row := "(" + strings.Repeat("?,", b.columns-1) + "?)"
	s := b.head + strings.Repeat(row+",", rows-1) + row + b.tail
	if rows == chunk {
		b.full = s
	}
	return s
}
