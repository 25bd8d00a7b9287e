package collect

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
)

const (
	// flushRows is the number of rows at which a batch is written before its time.
	flushRows = 20_000
	// maxTableOctets bounds the rows in memory. They are that many only while the store and the spool
	// take none.
	maxTableOctets = 64 << 20
	// maxIdentities is how many policies of a domain a window has in memory: one more than the store
	// keeps apart, so that the store still sees that there were more, and the report says so.
	maxIdentities = report.MaxPolicies + 1
	// maxSightings bounds what is remembered about domains of one day.
	maxSightings = 50_000

	// maxIDs is how many identities of policies are remembered.
	maxIDs = 4096

	rowOctets   = 400 // about what a row takes in the table without its text
	groupOctets = 600 // and what a group takes
)

// table adds up observations until they are taken away in batches.
type table struct {
	groups map[groupKey]*group
	newest map[domainWindow]newest
	ids    map[report.Policy]report.PolicyID
	rows   int
	octets int64
	// seen has the sightings that are due, and told those that an earlier batch of the day has.
	seen, told map[report.Sighting]struct{}
	day        report.Day // of told
	ledger     *ledger.Table
}

type groupKey struct {
	policy report.PolicyID
	begin  int64
}

type domainWindow struct {
	domain dns.Name
	begin  int64
}

// newest says how many policies a domain has in a window, and which came last.
type newest struct {
	policies int
	last     groupKey
}

// group has the rows of one policy in one window.
type group struct {
	tally  report.Tally // without its rows
	rows   map[report.Key]*report.Row
	octets int64
}

func newTable() *table {
	return &table{groups: map[groupKey]*group{}, newest: map[domainWindow]newest{}, ids: map[report.Policy]report.PolicyID{},
		seen: map[report.Sighting]struct{}{}, told: map[report.Sighting]struct{}{}, ledger: ledger.NewTable()}
}

// add adds an observation. It returns false if there is no room for its row; the message is then
// counted as lost in its report, if the report has other rows. late says that the observation's time
// cannot be right.
func (t *table) add(o *report.Observation, now time.Time, s *Settings) (ok, late bool) {
	window, late := report.WindowFor(o.Time, now, s.Interval)
	g := t.group(o, window, s)
	if g == nil {
		return false, late
	}
	if !o.AboutReports {
		g.tally.Causes++
	}
	if o.Spam {
		g.tally.Spam++
	}
	if late {
		g.tally.Late++
	}
	kind := report.SeenFail
	if (o.Row.DKIM || o.Row.SPF) && o.Accepted {
		kind = report.SeenPass
	}
	t.sight(report.Sighting{Domain: g.tally.Policy.Domain, Day: report.DayOf(time.Unix(window.Begin, 0)), Kind: kind})
	if !t.count(g, &o.Row) {
		g.tally.Lost++
		return false, late
	}
	return true, late
}

// group returns the group that the observation belongs to, or nil if there is no room for a new one.
func (t *table) group(o *report.Observation, w report.Window, s *Settings) *group {
	key := groupKey{t.id(o.Policy), w.Begin}
	if g := t.groups[key]; g != nil {
		return g
	}
	at := domainWindow{o.Policy.Domain, w.Begin}
	n := t.newest[at]
	if n.policies >= maxIdentities {
		return t.groups[n.last]
	}
	if t.octets+groupOctets > maxTableOctets {
		return nil
	}
	g := &group{rows: map[report.Key]*report.Row{}, octets: groupOctets, tally: report.Tally{Policy: o.Policy, Window: w,
		SendAt: report.SendAt(w, o.Policy.Domain, s.Organization, s.Spread)}}
	t.groups[key], t.newest[at] = g, newest{n.policies + 1, key}
	t.octets += g.octets
	return g
}

// count adds a row to its group. When memory runs out, new rows are first reduced, so that many of a
// forger become one, and then refused. Rows that are known go on counting.
func (t *table) count(g *group, r *report.Row) bool {
	key := r.Key()
	if known := g.rows[key]; known != nil {
		known.Count += r.Count
		return true
	}
	row := new(report.Row)
	*row = *r
	if t.octets > maxTableOctets/10*9 {
		*row = r.Reduced()
		key = row.Key()
		if known := g.rows[key]; known != nil {
			known.Count += r.Count
			return true
		}
	}
	n := rowOctets + textSize(row)
	if t.octets+n > maxTableOctets {
		return false
	}
	g.rows[key] = row
	g.octets += n
	t.octets += n
	t.rows++
	return true
}

// id returns the identity of a policy. It remembers the identities of the last policies, because to
// compute one takes longer than all else that is done for a message.
func (t *table) id(p report.Policy) report.PolicyID {
	p.Invalid = ""
	if id, ok := t.ids[p]; ok {
		return id
	}
	if len(t.ids) >= maxIDs {
		clear(t.ids)
	}
	id := p.ID()
	t.ids[p] = id
	return id
}

// sight notes that a domain was met, once a day.
func (t *table) sight(s report.Sighting) {
	if s.Day > t.day {
		t.day = s.Day
		clear(t.told)
	}
	if _, told := t.told[s]; !told && len(t.seen) < maxSightings {
		t.seen[s] = struct{}{}
	}
}

// full reports whether a batch should be written before its time.
func (t *table) full() bool { return t.rows >= flushRows || t.ledger.Len() >= flushRows }

// take takes up to flushRows rows out of the table, and all of the ledger, as a batch. ok is false if
// there is nothing.
func (t *table) take(now time.Time, s *Settings) (b report.Batch, ok bool) {
	if len(t.groups) == 0 && len(t.seen) == 0 && t.ledger.Len() == 0 {
		return b, false
	}
	b = report.Batch{ID: rand.Text(), Current: report.WindowAt(now, s.Interval), MaxRows: s.MaxRows, MaxJobs: report.MaxJobs, MaxOwned: report.MaxOwned, Ledger: t.ledger.Take(s.Group, s.MaxDomains)}
	keys := slices.SortedFunc(maps.Keys(t.groups), func(a, b groupKey) int {
		return cmp.Or(bytes.Compare(a.policy[:], b.policy[:]), cmp.Compare(a.begin, b.begin))
	})
	taken := 0
	for _, key := range keys {
		if taken >= flushRows {
			break
		}
		g := t.groups[key]
		b.Tallies = append(b.Tallies, t.takeGroup(g, flushRows-taken))
		taken += len(b.Tallies[len(b.Tallies)-1].Rows)
		if len(g.rows) == 0 {
			t.remove(key, g)
		}
	}
	b.Seen = slices.SortedFunc(maps.Keys(t.seen), report.Sighting.Compare)
	if len(t.told) < maxSightings {
		maps.Copy(t.told, t.seen)
	}
	clear(t.seen)
	return b, true
}

// takeGroup takes up to most rows out of a group, in ascending order of their keys.
func (t *table) takeGroup(g *group, most int) report.Tally {
	tally := g.tally
	g.tally.Causes, g.tally.Spam, g.tally.Late, g.tally.Lost = 0, 0, 0, 0
	keys := slices.SortedFunc(maps.Keys(g.rows), report.Key.Compare)
	keys = keys[:min(len(keys), most)]
	tally.Rows = make([]report.Row, len(keys))
	for i, k := range keys {
		tally.Rows[i] = *g.rows[k]
		n := rowOctets + textSize(g.rows[k])
		g.octets -= n
		t.octets -= n
		delete(g.rows, k)
	}
	t.rows -= len(keys)
	return tally
}

func (t *table) remove(key groupKey, g *group) {
	t.octets -= g.octets
	delete(t.groups, key)
	delete(t.newest, domainWindow{g.tally.Policy.Domain, key.begin})
}
