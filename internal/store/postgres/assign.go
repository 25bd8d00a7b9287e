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
	job    *job
	moved  bool // not the window of the tally
	merged bool // not the policy of the tally
}

// add counts a share.
func (j *job) add(x *share) {
	var messages int64
	for i := range x.Rows {
		messages += x.Rows[i].Count
	}
	j.messages += messages
	j.causes += x.Causes
	j.spam += x.Spam
	j.without += x.Lost
	if x.moved {
		j.late += messages
	} else {
		j.late += x.Late
	}
	if x.merged {
		j.merged += messages
	}
}

// move gives the share a later window.
func (x *share) move(w report.Window) {
	x.SendAt = x.SendAt.Add(time.Duration(w.End-x.Window.End) * time.Second)
	x.Window, x.moved = w, true
}

// assign finds, opens and locks the jobs that get the tallies of a batch.
func assign(ctx context.Context, tx pgx.Tx, now time.Time, b report.Batch) ([]*share, error) {
	all := make([]*share, len(b.Tallies))
	for i := range b.Tallies {
		x := &share{Tally: b.Tallies[i]}
		x.id = x.Policy.ID()
		if now.Sub(time.Unix(x.Window.End, 0)) > report.MaxLate {
			x.move(b.Current)
		}
		all[i] = x
	}
	jobs := map[identity]*job{}
	todo := all
	for range windowsAhead {
		if err := open(ctx, tx, todo, jobs); err != nil {
			return nil, err
		}
		var closed []*share
		for _, x := range todo {
			if x.job.open {
				continue
			}
			next := b.Current
			if length := x.Window.End - x.Window.Begin + 1; x.Window.Begin >= next.Begin {
				next = report.Window{Begin: x.Window.Begin + length, End: x.Window.End + length}
			}
			x.move(next)
			x.merged = false
			closed = append(closed, x)
		}
		if todo = closed; len(todo) == 0 {
			return all, nil
		}
	}
	return nil, errors.New("all windows are closed for a year to come: the clock of some host was far ahead")
}

// open sets the job of each share, opens those that do not exist, and locks them all against being
// closed. It adds them to jobs.
func open(ctx context.Context, tx pgx.Tx, todo []*share, jobs map[identity]*job) error {
	if len(todo) == 0 {
		return nil
	}
	known, err := neighbours(ctx, tx, todo)
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
		default:
			i = n
			j := &job{identity: wanted, policy: x.Policy, ends: x.Window.End, sendAt: x.SendAt}
			known[at] = append(known[at], j)
			missing = append(missing, j)
		}
		j := known[at][i]
		if have := jobs[j.identity]; have != nil { // of an earlier round
			j = have
		}
		x.job, chosen[j.identity] = j, j
	}
	if err := insert(ctx, tx, missing); err != nil {
		return err
	}
	for i, j := range chosen {
		jobs[i] = j
	}
	return lock(ctx, tx, chosen)
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
	texts := make([][]string, 9)
	for i, j := range missing {
		begins[i], ends[i], policies[i], sendAt[i], testing[i] = j.begins, j.ends, j.identity.policy, j.sendAt, j.policy.Testing
		for c, s := range []string{string(j.policy.Domain), string(j.policy.P), string(j.policy.SP), string(j.policy.NP), string(j.policy.ADKIM),
			string(j.policy.ASPF), j.policy.FO, string(j.policy.Method), j.policy.Invalid} {
			texts[c] = append(texts[c], escape(s))
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO job (begins, ends, policy, send_at, testing, domain, p, sp, np, adkim, aspf, fo, method, invalid)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::text[],
			$10::text[], $11::text[], $12::text[], $13::text[], $14::text[]) AS u (begins, ends, policy)
		ORDER BY begins, policy ON CONFLICT (begins, policy) DO NOTHING`,
		begins, ends, policies, sendAt, testing, texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], texts[7], texts[8])
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
