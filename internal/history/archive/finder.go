package archive

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sekimori/internal/history"
	"sekimori/internal/recent"
)

// Finder finds decisions among those that the daemon remembers and those in the store.
type Finder struct {
	Ring   *recent.Ring // nil if the daemon remembers none
	Reader *Reader      // nil if there is no history
	Host   string       // the name of this host, whose decisions are in the Ring
}

// Find returns the decisions for which the function match returns true, the newest first, at most limit. q
// selects those in the store, and its limit is ignored. If the store fails, the decisions that the daemon
// remembers are returned with the error.
func (f Finder) Find(ctx context.Context, q history.Query, match func(*recent.Head) bool, limit int) (Found, error) {
	var all Found
	if f.Ring != nil {
		all.Entries, all.More = f.Ring.FindBounded(func(h *recent.Head) bool {
			h.Host = f.Host
			return match(h)
		}, limit)
	}
	if f.Reader == nil {
		return f.end(all, limit), nil
	}
	q.Limit = limit
	old, err := f.Reader.Find(ctx, q, match)
	// What comes after the end of either list may belong before the end of the other.
	var until time.Time
	if all.More && len(all.Entries) > 0 {
		until = all.Entries[len(all.Entries)-1].Time
	}
	if next := f.next(all.Entries, old); old.More && next.After(until) {
		until = next
	}
	all.More = all.More || old.More
	for _, e := range old.Entries {
		if !slices.ContainsFunc(all.Entries, func(r *recent.Entry) bool { return same(r, e) }) {
			all.Entries = append(all.Entries, e)
		}
	}
	slices.SortStableFunc(all.Entries, func(a, b *recent.Entry) int { return b.Time.Compare(a.Time) })
	if n := slices.IndexFunc(all.Entries, func(e *recent.Entry) bool { return e.Time.Before(until) }); n >= 0 {
		all.Entries = all.Entries[:n]
	}
	all.Next = until
	return f.end(all, limit), err
}

// next returns the time before which the store may have more. If the last entry of the store is one that
// the daemon remembers, the time is that of the latter, which is a little earlier: otherwise the entry that is
// kept of the two would come after the end.
func (f Finder) next(remembered []*recent.Entry, old Found) time.Time {
	n := len(old.Entries)
	if n == 0 {
		return old.Next
	}
	for _, r := range remembered {
		if same(r, old.Entries[n-1]) && r.Time.Before(old.Next) {
			return r.Time
		}
	}
	return old.Next
}

// end cuts the list to the limit.
func (f Finder) end(all Found, limit int) Found {
	if len(all.Entries) > limit {
		all.Entries, all.More = all.Entries[:limit], true
		all.Next = all.Entries[limit-1].Time
	} else if all.More && all.Next.IsZero() && len(all.Entries) > 0 {
		all.Next = all.Entries[len(all.Entries)-1].Time
	}
	return all
}

// slack is how much later a decision is copied for the one than for the other.
const slack = time.Second

// same reports whether an entry of the store is one that the daemon remembers.
func same(r, e *recent.Entry) bool {
	return r.QueueID == e.QueueID && r.ID == e.ID && r.Client == e.Client && r.AuthorDomain == e.AuthorDomain &&
		r.Verdict.Action == e.Verdict.Action && r.Time.Sub(e.Time).Abs() < slack
}

// Answer answers a request to /api/decisions.
func (f Finder) Answer(ctx context.Context, q recent.Query) recent.Answer {
	found, err := f.Find(ctx, QueryOf(q), q.Matches, q.Limit)
	a := recent.Answer{Decisions: found.Entries, More: found.More}
	if a.More {
		a.Next = found.Next
	}
	if a.Decisions == nil {
		a.Decisions = []*recent.Entry{}
	}
	if err != nil {
		a.HistoryError = err.Error()
	}
	return a
}

// QueryOf returns the query of the store for a query of the decisions that the daemon remembers. It has
// one key, that which selects the fewest records.
func QueryOf(q recent.Query) history.Query {
	h := history.Query{Verdict: q.Verdict, Reason: q.Reason, Host: q.Host, From: q.From, Until: q.Until}
	switch {
	case q.ID != "":
		h.Any = []history.KeyIn{history.IDKey(q.ID)}
	case q.QueueID != "":
		h.Any = []history.KeyIn{history.QueueKey(q.QueueID)}
	case q.Client.IsValid():
		h.Any = []history.KeyIn{history.ClientKey(q.Client)}
	case q.Sender != "":
		h.Any = []history.KeyIn{history.SenderPathKey(recent.SenderDomain(q.Sender), recent.BarePath(q.Sender))}
	case q.Author != "":
		h.Any = []history.KeyIn{history.AuthorOnlyKey(q.Author)}
	}
	return h
}

// Nearest returns the entry that is nearest to a time, or nil if there is none within a second.
func Nearest(all []*recent.Entry, at time.Time) *recent.Entry {
	far := func(e *recent.Entry) time.Duration { return e.Time.Sub(at).Abs() }
	if len(all) == 0 {
		return nil
	}
	e := slices.MinFunc(all, func(a, b *recent.Entry) int { return cmp.Compare(far(a), far(b)) })
	if far(e) >= slack {
		return nil
	}
	return e
}
