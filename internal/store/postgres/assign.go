package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// windowsAhead is how many windows after the current one are tried for late rows. They are all closed only
// if the clock was ahead by so many windows, and was set back.
const windowsAhead = 400

// job is a job that gets rows, and what it gets.
type job struct {
	identity
	policy report.Policy
	ends   int64
	sendAt time.Time
	id     int64
	day    report.Day
	open   bool

	rows, messages, causes, spam, late, merged int64
	lost                                       int64 // messages for whose rows there was no room
	without                                    int64 // messages that came without a row
}

// identity is what makes two jobs different.
type identity struct {
	begins int64
	policy report.PolicyID
}

func (i identity) compare(j identity) int {
	return cmp.Or(cmp.Compare(i.begins, j.begins), i.policy.Compare(j.policy))
}

// share is a tally and the job that gets it.
type share struct {
	report.Tally
	id     report.PolicyID
	own    report.Window // of the tally
	job    *job          // nil if there are too many jobs
	owner  dns.Name      // that has too many, or "" if the window has; only if job is nil
	merged bool          // not the policy of the tally
}

// messages returns how many messages the rows count.
func (x *share) messages() (n int64) {
	for i := range x.Rows {
		n += x.Rows[i].Count
	}
	return n
}

// late reports whether the rows are in a report of another time.
func (x *share) late() bool { return x.Window.End < x.own.Begin || x.own.End < x.Window.Begin }

// add counts a share.
func (j *job) add(x *share) {
	messages := x.messages()
	j.messages += messages
	j.causes += x.Causes
	j.spam += x.Spam
	j.without += x.Lost
	if x.late() {
		j.late += messages
	} else {
		j.late += x.Late
	}
	if x.merged {
		j.merged += messages
	}
}

// move gives the share another window.
func (x *share) move(w report.Window) {
	x.SendAt = x.SendAt.Add(time.Duration(w.End-x.Window.End) * time.Second)
	x.Window = w
}

// assigner finds, opens and locks the jobs that get the tallies of a batch.
type assigner struct {
	tx      pgx.Tx
	now     time.Time
	batch   report.Batch
	jobs    map[identity]*job
	lengths map[report.Day]int64 // of the windows of a day, in seconds
}

// assign returns the tallies of a batch with their jobs. Those without a job come apart.
func assign(ctx context.Context, tx pgx.Tx, now time.Time, b report.Batch) (into, excess []*share, err error) {
	a := &assigner{tx: tx, now: now, batch: b, jobs: map[identity]*job{}, lengths: map[report.Day]int64{}}
	current, err := a.fitting(ctx, b.Current)
	if err != nil {
		return nil, nil, err
	}
	todo := make([]*share, len(b.Tallies))
	for i := range b.Tallies {
		x := &share{Tally: b.Tallies[i], own: b.Tallies[i].Window}
		x.id = x.Policy.ID()
		w, err := a.fitting(ctx, x.Window)
		if err != nil {
			return nil, nil, err
		}
		if now.Sub(time.Unix(w.End, 0)) > report.MaxLate {
			w = current
		}
		x.move(w)
		todo[i] = x
	}
	for range windowsAhead {
		if err := a.open(ctx, todo); err != nil {
			return nil, nil, err
		}
		var closed []*share
		for _, x := range todo {
			switch {
			case x.job == nil:
				excess = append(excess, x)
				continue
			case x.job.open:
				into = append(into, x)
				continue
			}
			next := current
			if x.Window.Begin >= next.Begin {
				if next, err = a.fitting(ctx, report.Window{Begin: x.Window.End + 1, End: x.Window.End + x.Window.Length()}); err != nil {
					return nil, nil, err
				}
			}
			x.move(next)
			x.merged = false
			closed = append(closed, x)
		}
		if todo = closed; len(todo) == 0 {
			return into, excess, nil
		}
	}
	return nil, nil, errors.New("all windows are closed for a year to come: the clock of some host was far ahead")
}

// fitting returns the window of the length that all windows of the day have. Daemons with different
// lengths could open the first jobs of a day at the same moment, and then both lengths stay for that day.
func (a *assigner) fitting(ctx context.Context, w report.Window) (report.Window, error) {
	day := w.Day()
	length, known := a.lengths[day]
	if !known {
		err := a.tx.QueryRow(ctx, "SELECT ends - begins + 1 FROM job WHERE begins >= $1 AND begins < $2 LIMIT 1", day.Time().Unix(), (day + 1).Time().Unix()).Scan(&length)
		if errors.Is(err, pgx.ErrNoRows) {
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

// open sets the job of each share, opens those that do not exist, and locks them all against being
// closed. It adds them to jobs. A share for which there are too many jobs gets none.
func (a *assigner) open(ctx context.Context, todo []*share) error {
	if len(todo) == 0 {
		return nil
	}
	known, err := neighbours(ctx, a.tx, todo)
	if err != nil {
		return err
	}
	room, err := a.room(ctx, todo, known)
	if err != nil {
		return err
	}
	chosen := map[identity]*job{}
	var missing []*job
	for _, x := range todo {
		at := place{x.Window.Begin, x.Policy.Domain}
		wanted := identity{x.Window.Begin, x.id}
		i := slices.IndexFunc(known[at], func(j *job) bool { return j.identity == wanted })
		switch n := len(known[at]); {
		case i >= 0:
		case n >= report.MaxPolicies:
			i = n - 1 // the newest
			x.merged = true
		case !room.take(x):
			x.job = nil
			continue
		default:
			i = n
			j := &job{identity: wanted, policy: x.Policy, ends: x.Window.End, sendAt: x.SendAt}
			known[at] = append(known[at], j)
			missing = append(missing, j)
		}
		j := known[at][i]
		if have := a.jobs[j.identity]; have != nil { // of an earlier round
			j = have
		}
		x.job, chosen[j.identity] = j, j
	}
	if err := insert(ctx, a.tx, missing); err != nil {
		return err
	}
	for i, j := range chosen {
		a.jobs[i] = j
	}
	return lock(ctx, a.tx, chosen)
}

// place is where at most MaxPolicies jobs may be.
type place struct {
	begins int64
	domain dns.Name
}

// neighbours returns the jobs of the same domains and windows, the newest last.
func neighbours(ctx context.Context, tx pgx.Tx, todo []*share) (map[place][]*job, error) {
	known := map[place][]*job{}
	var begins []int64
	var domains []string
	for _, x := range todo {
		at := place{x.Window.Begin, x.Policy.Domain}
		if _, twice := known[at]; !twice {
			known[at] = nil
			begins, domains = append(begins, at.begins), append(domains, escape(string(at.domain)))
		}
	}
	found, err := tx.Query(ctx, `SELECT j.begins, j.policy, j.domain FROM unnest($1::bigint[], $2::text[]) AS u (b, d)
		JOIN job j ON j.begins = u.b AND j.domain = u.d ORDER BY j.id`, begins, domains)
	if err != nil {
		return nil, err
	}
	var begin int64
	var policy [16]byte
	var domain string
	_, err = pgx.ForEachRow(found, []any{&begin, &policy, &domain}, func() error {
		at := place{begin, dns.Name(unescape(domain))}
		known[at] = append(known[at], &job{identity: identity{begin, policy}})
		return nil
	})
	return known, err
}

// insert opens jobs. Another daemon may open the same one at the same moment.
func insert(ctx context.Context, tx pgx.Tx, missing []*job) error {
	if len(missing) == 0 {
		return nil
	}
	slices.SortFunc(missing, func(a, b *job) int { return a.compare(b.identity) })
	n := len(missing)
	begins, ends, policies, sendAt, testing := make([]int64, n), make([]int64, n), make([][16]byte, n), make([]time.Time, n), make([]bool, n)
	texts := make([][]string, 10)
	for i, j := range missing {
		begins[i], ends[i], policies[i], sendAt[i], testing[i] = j.begins, j.ends, j.identity.policy, j.sendAt, j.policy.Testing
		for c, s := range []string{string(j.policy.Domain), string(j.policy.P), string(j.policy.SP), string(j.policy.NP), string(j.policy.ADKIM),
			string(j.policy.ASPF), j.policy.FO, string(j.policy.Method), j.policy.Invalid} {
			texts[c] = append(texts[c], escape(s))
		}
		texts[9] = append(texts[9], name(j.policy.Owner()))
	}
	_, err := tx.Exec(ctx, `INSERT INTO job (begins, ends, policy, send_at, testing, domain, p, sp, np, adkim, aspf, fo, method, invalid, registered)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::text[],
			$10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[]) AS u (begins, ends, policy)
		ORDER BY begins, policy ON CONFLICT (begins, policy) DO NOTHING`,
		begins, ends, policies, sendAt, testing, texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], texts[7], texts[8], texts[9])
	return err
}

// lock reads the jobs, and keeps their states as they are until the transaction ends.
func lock(ctx context.Context, tx pgx.Tx, chosen map[identity]*job) error {
	var begins []int64
	var policies [][16]byte
	for i := range chosen {
		begins, policies = append(begins, i.begins), append(policies, i.policy)
	}
	found, err := tx.Query(ctx, `SELECT j.id, j.begins, j.policy, j.state FROM unnest($1::bigint[], $2::uuid[]) AS u (b, p)
		JOIN job j ON j.begins = u.b AND j.policy = u.p ORDER BY j.id FOR SHARE OF j`, begins, policies)
	if err != nil {
		return err
	}
	var id, begin int64
	var policy [16]byte
	var state string
	n := 0
	_, err = pgx.ForEachRow(found, []any{&id, &begin, &policy, &state}, func() error {
		j := chosen[identity{begin, policy}]
		j.id, j.day, j.open = id, dayOf(report.Window{Begin: begin}), state == string(report.StateOpen)
		n++
		return nil
	})
	if err == nil && n < len(chosen) {
		return errMoved // Expire came in between
	}
	return err
}
