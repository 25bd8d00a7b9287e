package ledger

import (
	"context"
	"iter"
	"net/netip"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
)

// Filter selects rows of days.
type Filter struct {
	From, To Day      // both included
	Domain   dns.Name // "" selects all
	Group    string   // "" selects all
}

// Order says by what the sums of domains are ordered, the greatest first.
type Order string

// The orders. With all of them domains with equal numbers come in ascending order of their names.
const (
	ByMessages    Order = "messages"
	ByFail        Order = "fail"
	ByRejected    Order = "rejected"
	ByQuarantined Order = "quarantined"
	ByDomain      Order = "domain" // ascending
)

// Sum adds up the rows of a domain.
type Sum struct {
	Domain dns.Name `json:"domain"`
	Counts
	Policy dmarc.Policy `json:"policy"` // of the last day
	Days   int          `json:"days"`   // with at least one message
	First  int64        `json:"first"`  // seconds since 1970
	Last   int64        `json:"last"`
}

// Hit says how much mail of a domain its own published policy would have hit.
type Hit struct {
	Domain dns.Name     `json:"domain"`
	Counts              // of all its messages in these days
	Policy dmarc.Policy `json:"policy"` // of the last day
	// Reject and Quarantine are the messages that failed on days whose published policy was that.
	Reject     int64 `json:"p_reject"`
	Quarantine int64 `json:"p_quarantine"`
}

// Hits returns how many messages the policies would have hit.
func (h *Hit) Hits() int64 { return h.Reject + h.Quarantine }

// MaxCarried is how many author domains [Store.Carried] names for a network. Few say that somebody else's
// mail comes from there; it does not matter how many more there are.
const MaxCarried = 8

// Store is what the daemons and the commands read of the ledger. It is written by the Add of
// report.Store, which takes a [Delta] in the same batch. Its methods are safe for concurrent use, also
// by several processes, if the database can be used by several.
type Store interface {
	// Rows streams rows in ascending order of day, domain and group.
	Rows(ctx context.Context, f Filter) iter.Seq2[Row, error]
	// Sums streams a sum for each domain, in this order. limit 0 means all.
	Sums(ctx context.Context, f Filter, by Order, limit int) iter.Seq2[Sum, error]
	// Hits streams the domains whose policies would have hit mail, those with the most hits first, and equal
	// ones in ascending order of their names.
	Hits(ctx context.Context, f Filter) iter.Seq2[Hit, error]
	// Totals streams totals in ascending order of day, group and the other words. f.Domain is not looked at.
	Totals(ctx context.Context, f Filter) iter.Seq2[Total, error]
	// Figures streams figures in ascending order of day, group and the other words. f.Domain is not looked at.
	Figures(ctx context.Context, f Filter) iter.Seq2[Figure, error]
	// Sources returns the networks of an Organizational Domain and of all author domains below it, those
	// of today first, then by domain and network. since leaves out networks whose Last is before it.
	Sources(ctx context.Context, owner dns.Name, since Day) ([]Source, error)
	// Carried returns for each of the networks the Organizational Domains whose mail came from there and
	// passed on since or later, in ascending order and at most MaxCarried. It leaves out networks without any.
	Carried(ctx context.Context, networks []netip.Prefix, since Day) (map[netip.Prefix][]dns.Name, error)
	// Authors returns the days of an author domain on which it passed, in ascending order.
	Authors(ctx context.Context, author dns.Name, since Day) ([]Author, error)
	// Usual returns what is usual for an author domain up to a day.
	Usual(ctx context.Context, author dns.Name, today Day) (Usual, error)
	// Dropped returns what the ledger lacks, in ascending order of day and group.
	Dropped(ctx context.Context, f Filter) ([]Dropped, error)
	// AuthorDomains returns about how many different Organizational Domains wrote in these days, by
	// published policy. f.Domain and f.Group are not looked at.
	AuthorDomains(ctx context.Context, f Filter) (map[dmarc.Policy]float64, error)
	// Known says which of an author domain's networks were seen up to a day, for a person to look at: it
	// is what Usual knows of one network.
	Known(ctx context.Context, author dns.Name, network netip.Prefix) (Source, bool, error)
	// Expire removes what is older than KeepDays and KeepSources, the sources of a domain beyond
	// MaxSources, those that were seen last remaining, and of each day's rows those with the fewest messages
	// beyond maxDomains. It may be called by several daemons at once.
	Expire(ctx context.Context, now time.Time, maxDomains int64) error

	// Breakages returns the breakages that are not over, or whose end is after since, in the order of
	// their domains, kinds and subjects. SetBreakage writes one; there is at most one for each domain, kind and
	// subject. Expire removes those that ended KeepSources days ago.
	Breakages(ctx context.Context, since time.Time) ([]Breakage, error)
	SetBreakage(ctx context.Context, b Breakage) error
}
