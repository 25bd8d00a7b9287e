package ledger

import (
	"net/netip"
	"slices"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
)

// The bounds of a Table, which a store that takes nothing for a long time reaches. Beyond them messages
// are counted as dropped. Totals and figures need no bound: their words come from fixed lists.
const (
	// maxRows is how many domains of a day are in memory, and maxAuthors and maxSources how many author
	// domains and networks that passed.
	maxRows    = 50_000
	maxAuthors = 50_000
	maxSources = 100_000
	// maxTableSigners is how many signers of a row are in memory. More than the store keeps, so that those
	// of a forger do not take the places of those that come later.
	maxTableSigners = 2 * MaxSigners
	maxTableSending = 2 * MaxSending
)

// Table adds up entries until they are taken away in a Delta. It is not safe for concurrent use.
type Table struct {
	rows    map[rowKey]*Row
	authors map[rowKey]*Author
	sources map[sourceKey]*Source
	totals  map[Total]*int64  // the key has no messages
	figures map[Figure]*int64 // the same
	dropped map[Day]int64
}

type rowKey struct {
	domain dns.Name
	day    Day
}

type sourceKey struct {
	domain  dns.Name
	network netip.Prefix
	day     Day
}

// NewTable returns an empty Table.
func NewTable() *Table {
	return &Table{rows: map[rowKey]*Row{}, authors: map[rowKey]*Author{}, sources: map[sourceKey]*Source{}, totals: map[Total]*int64{}, figures: map[Figure]*int64{},
		dropped: map[Day]int64{}}
}

// Len returns how many rows the next Delta has.
func (t *Table) Len() int {
	return len(t.rows) + len(t.authors) + len(t.sources) + len(t.totals) + len(t.figures)
}

// Add adds an entry on the given day. It returns false if there was no room for its domain.
func (t *Table) Add(x *Entry, day Day) bool {
	t.total(x, day)
	if x.Owner == "" {
		return true
	}
	network := NetworkOf(x.Client)
	row := t.row(x, day)
	if row == nil {
		t.dropped[day]++
		return false
	}
	row.count(x)
	if network.IsValid() {
		row.Sources.AddNetwork(network)
	}
	if x.Result == Pass {
		t.pass(x, day, network)
	}
	return true
}

// total counts a message that is counted at all, in its total and in its figures.
func (t *Table) total(x *Entry, day Day) {
	key := x.Total
	key.Day, key.Messages = day, 0
	count(t.totals, key)
	count(t.figures, Figure{Day: day, Kind: ByReason, Word: string(x.Reason), Result: key.Applied})
	if x.Country != "" {
		count(t.figures, Figure{Day: day, Kind: ByCountry, Word: CountryWord(x.Country), Result: key.Standing()})
	}
}

// count counts a message under a key.
func count[K comparable](all map[K]*int64, key K) {
	n := all[key]
	if n == nil {
		n = new(int64)
		all[key] = n
	}
	*n++
}

func (t *Table) row(x *Entry, day Day) *Row {
	key := rowKey{x.Owner, day}
	r := t.rows[key]
	if r == nil && len(t.rows) < maxRows {
		r = &Row{Day: day, Domain: x.Owner, First: x.Time.Unix(), Last: x.Time.Unix()}
		t.rows[key] = r
	}
	return r
}

// count adds a message to the row.
func (r *Row) count(x *Entry) {
	add := func(n *int64, is bool) {
		if is {
			*n++
		}
	}
	c := &r.Counts
	c.Messages++
	add(&c.Pass, x.Result == Pass)
	add(&c.PassDKIM, x.Result == Pass && x.DKIM)
	add(&c.PassSPF, x.Result == Pass && x.SPF)
	add(&c.Fail, x.Result == Fail)
	add(&c.TempError, x.Result == TempError)
	add(&c.Signed, x.Signed)
	add(&c.Rejected, x.Applied == policy.Reject)
	add(&c.Quarantined, x.Applied == policy.Quarantine)
	add(&c.Indirect, x.Indirect)
	add(&c.Harsher, x.Change == Harsher)
	add(&c.Milder, x.Change == Milder)
	at := x.Time.Unix()
	r.First = min(r.First, at)
	if at >= r.Last {
		r.Last, r.Policy = at, x.Policy
	}
	if x.Example != "" {
		r.Example = x.Example
	}
	for _, s := range x.Signers {
		r.addSigner(s)
	}
	if x.Sending.Network.IsValid() {
		if r.Sending = addSending(r.Sending, x.Sending); len(r.Sending) > maxTableSending {
			r.Sending = mostSending(r.Sending)
		}
	}
}

func (r *Row) addSigner(s Signer) {
	if len(r.Signers) >= maxTableSigners {
		known := slices.ContainsFunc(r.Signers, func(o Signer) bool { return o.Domain == s.Domain && o.Selector == s.Selector })
		if !known {
			r.Signers = strongest(addSigner(r.Signers, s))
			return
		}
	}
	r.Signers = addSigner(r.Signers, s)
}

// pass notes what the learned signs need to know of a message that passed.
func (t *Table) pass(x *Entry, day Day, network netip.Prefix) {
	key := rowKey{x.Author, day}
	a := t.authors[key]
	if a == nil {
		if len(t.authors) >= maxAuthors {
			return
		}
		a = &Author{Day: day, Domain: x.Author, Owner: x.Owner}
		t.authors[key] = a
	}
	a.Pass++
	if x.DKIM {
		a.Signed++
		if x.SPF {
			a.Both++
		}
	}
	source := sourceKey{x.Author, network, day}
	if _, known := t.sources[source]; !known && network.IsValid() && len(t.sources) < maxSources {
		t.sources[source] = &Source{Domain: x.Author, Owner: x.Owner, Network: network, Last: day, Days: 1}
	}
}

// Take takes everything out of the table. group is the group of this host, and maxDomains as in [Delta].
func (t *Table) Take(group string, maxDomains int64) Delta {
	d := Delta{MaxDomains: maxDomains}
	for _, r := range t.rows {
		r.Group, r.Signers, r.Sending = group, strongest(r.Signers), mostSending(r.Sending)
		d.Rows = append(d.Rows, *r)
	}
	for _, a := range t.authors {
		d.Authors = append(d.Authors, *a)
	}
	merged := map[sourceKey]Source{} // around midnight a network has two days
	for k, s := range t.sources {
		k.day = 0
		if old, ok := merged[k]; ok {
			merged[k] = old.Merge(*s)
		} else {
			merged[k] = *s
		}
	}
	for _, s := range merged {
		d.Sources = append(d.Sources, s)
	}
	for k, n := range t.totals {
		k.Group, k.Messages = group, *n
		d.Totals = append(d.Totals, k)
	}
	for k, n := range t.figures {
		k.Group, k.Messages = group, *n
		d.Figures = append(d.Figures, k)
	}
	for day, n := range t.dropped {
		d.Dropped = append(d.Dropped, Dropped{day, group, n})
	}
	slices.SortFunc(d.Rows, func(a, b Row) int { return a.Compare(&b) })
	slices.SortFunc(d.Authors, func(a, b Author) int { return a.Compare(&b) })
	slices.SortFunc(d.Sources, func(a, b Source) int { return a.Compare(&b) })
	slices.SortFunc(d.Totals, func(a, b Total) int { return a.Compare(&b) })
	slices.SortFunc(d.Figures, func(a, b Figure) int { return a.Compare(&b) })
	slices.SortFunc(d.Dropped, func(a, b Dropped) int { return int(a.Day) - int(b.Day) })
	*t = *NewTable()
	return d
}

// Policies are the published policies by which author domains are counted.
var Policies = []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, ""}
