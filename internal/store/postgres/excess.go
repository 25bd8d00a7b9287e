package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// part is a window, or the part of it that an owner has.
type part struct {
	begins int64
	owner  string // as the table has it; "" for the whole window
}

// room counts the jobs of windows and their owners. Daemons that open jobs at the same moment may pass the
// limits by what each of them opens.
type room struct {
	batch report.Batch
	jobs  map[part]int64
}

// room counts the jobs where the shares need a new one.
func (a *assigner) room(ctx context.Context, todo []*share, known map[place][]*job) (room, error) {
	r := room{a.batch, map[part]int64{}}
	var begins []int64
	var owners []string
	for _, x := range todo {
		have := known[place{x.Window.Begin, x.Policy.Domain}]
		if len(have) >= report.MaxPolicies || slices.ContainsFunc(have, func(j *job) bool { return j.identity.policy == x.id }) {
			continue
		}
		for _, p := range []part{{x.Window.Begin, name(x.Policy.Owner())}, {begins: x.Window.Begin}} {
			if _, twice := r.jobs[p]; !twice {
				r.jobs[p] = 0
				begins, owners = append(begins, p.begins), append(owners, p.owner)
			}
		}
	}
	if len(begins) == 0 || a.batch.MaxJobs <= 0 && a.batch.MaxOwned <= 0 {
		return r, nil
	}
	found, err := a.tx.Query(ctx, `SELECT b, o, (SELECT count(*) FROM job WHERE begins = b AND (o = '' OR registered = o))
		FROM unnest($1::bigint[], $2::text[]) AS u (b, o)`, begins, owners)
	if err != nil {
		return r, err
	}
	var p part
	var n int64
	_, err = pgx.ForEachRow(found, []any{&p.begins, &p.owner, &n}, func() error { r.jobs[p] = n; return nil })
	return r, err
}

// take takes the room for one job. If there is none, it notes in the share who has too many.
func (r *room) take(x *share) bool {
	of, all := part{x.Window.Begin, name(x.Policy.Owner())}, part{begins: x.Window.Begin}
	ok, owner := r.batch.Takes(r.jobs[all], r.jobs[of])
	switch {
	case ok:
		r.jobs[of]++
		r.jobs[all]++
	case owner:
		x.owner = x.Policy.Owner()
	default:
		x.owner = ""
	}
	return ok
}

// exceed counts the messages that are in no report.
func exceed(ctx context.Context, tx pgx.Tx, all []*share) error {
	if len(all) == 0 {
		return nil
	}
	sums, ends := map[part]int64{}, map[int64]int64{}
	for _, x := range all {
		sums[part{x.Window.Begin, name(x.owner)}] += x.messages() + x.Lost
		ends[x.Window.Begin] = x.Window.End
	}
	parts := make([]part, 0, len(sums))
	for p := range sums {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.begins, b.begins), cmp.Compare(a.owner, b.owner)) })
	for _, p := range parts {
		_, err := tx.Exec(ctx, `INSERT INTO excess AS old (begins, ends, registered, messages) VALUES ($1, $2, $3, $4)
			ON CONFLICT (begins, registered) DO UPDATE SET messages = old.messages + EXCLUDED.messages`, p.begins, ends[p.begins], p.owner, sums[p])
		if err != nil {
			return err
		}
	}
	return nil
}

// sightings returns the sightings without those of domains that got no job.
func sightings(seen []report.Sighting, into, excess []*share) []report.Sighting {
	if len(excess) == 0 {
		return seen
	}
	without := map[dns.Name]bool{}
	for _, x := range excess {
		without[x.Policy.Domain] = true
	}
	for _, x := range into {
		delete(without, x.Policy.Domain)
	}
	return slices.DeleteFunc(slices.Clone(seen), func(s report.Sighting) bool { return without[s.Domain] && s.Kind != report.SeenWrote })
}

func scanExcess(row pgx.CollectableRow) (x report.Excess, err error) {
	var owner string
	err = row.Scan(&x.Window.Begin, &x.Window.End, &owner, &x.Messages)
	x.Owner = dns.Name(unescape(owner))
	return x, err
}
