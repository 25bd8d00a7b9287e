// Package indicators fetches the marks of BIMI in the background, judges them, and remembers what came
// of it. A message asks the memory and goes on: it never waits for a web server, unless the operator
// allows that.
//
// Any sender could otherwise make this host fetch whatever it likes, as often as it sends. So only
// domains that are established are fetched from, each at most once an hour, and a few a second in all.
package indicators

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
)

// The bounds of the work. Strangers choose how many marks there are.
const (
	maxQueue     = 1000                   // marks that wait to be fetched
	maxOfDomain  = 4                      // of them, those of one Organizational Domain
	maxWorkers   = 4                      // marks that are fetched at the same time
	maxPace      = 100 * time.Millisecond // between two fetches: ten a second
	maxDomains   = 40_000                 // Organizational Domains whose last fetch, or whose messages, are remembered
	maxWork      = 45 * time.Second       // for one mark: its certificate, revocation lists and picture
	maxStoreTime = 5 * time.Second        // for a call of the store
	maxWait      = 2 * time.Second        // that a message waits, if the operator allows it
)

const (
	// perDomain is how often marks of an Organizational Domain are fetched.
	perDomain = time.Hour
	// messages is how many messages of a domain must have passed, if there is no store that says since
	// when the domain is known.
	messages = 10
	// notEstablished is how long the answer holds that a domain is not established.
	notEstablished = time.Hour
)

// How long an answer is used.
const (
	keepGood = 24 * time.Hour
	keepBad  = time.Hour // doubled with each failure, up to keepGood
	// keepStale is how much longer a good answer is used if the web server gives none.
	keepStale = 48 * time.Hour
)

// The reasons of answers that do not come from the judgement of a mark.
const (
	ReasonNotFetched     = bimi.ReasonNotFetched    // it was not fetched yet
	ReasonNotEstablished = "not_established"        // the domain is too new to us
	ReasonNoCertificate  = bimi.ReasonNoCertificate // the record names none, and one is asked for
	ReasonInternal       = bimi.ReasonInternal      // a fault of this program
)

// Options are what Indicators needs. Judge, Now and Log must be set.
type Options struct {
	Judge *Judge
	Now   func() time.Time
	Log   *slog.Logger
	// Established reports whether the domain of a mark is known for long enough to fetch from it. Nil
	// means that nothing is known of earlier days. Then a domain is established after ten messages.
	Established func(context.Context, bimi.Query) (bool, error)
	// Always reports whether an Organizational Domain counts as established. It may be nil.
	Always func(dns.Name) bool
	Store  bimi.Store // may be nil
	Size   int64      // of the memory for answers, in octets; 0 means 32 MiB
	Wait   time.Duration
	Counts *Counts // may be nil
	// Panicked is called with the value of a panic in the background. It may be nil.
	Panicked func(any)
	// Before is what is replaced. Its limits go on, and its answers if it judged by the same rules. It
	// may be nil.
	Before *Indicators
}

// Counts counts what becomes of questions for marks.
type Counts struct {
	Hits      atomic.Int64 // answered from memory
	Misses    atomic.Int64 // not known, or no longer
	Stale     atomic.Int64 // of the hits: too old, but the web server gives no newer one
	Evictions atomic.Int64 // answers that made room for others
	Dropped   atomic.Int64 // marks that were not fetched because the queue was full
	Entries   atomic.Int64 // answers in memory
	Octets    atomic.Int64 // their size
}

// Indicators implements [bimi.Indicators]. It is safe for concurrent use.
type Indicators struct {
	o      Options
	rules  Rules
	cache  *cache
	limits *limits

	mu      sync.Mutex
	wake    sync.Cond
	queue   []*job
	pending map[id]*job
	perOrg  map[dns.Name]int // marks in pending
	busy    map[string]bool  // hosts from which something is fetched
	running bool
}

// id names a mark: the parts of a [bimi.Query] on which its judgement depends.
type id struct {
	domain                       dns.Name
	selector, location, evidence string
}

func idOf(q bimi.Query) id { return id{q.Domain, q.Selector, q.Location, q.Evidence} }

// New returns Indicators. Nothing is fetched before Run.
func New(o Options) *Indicators {
	if o.Counts == nil {
		o.Counts = &Counts{}
	}
	if o.Size == 0 {
		o.Size = 32 << 20
	}
	o.Wait = min(o.Wait, maxWait)
	i := &Indicators{o: o, rules: o.Judge.Rules(), pending: map[id]*job{}, perOrg: map[dns.Name]int{}, busy: map[string]bool{}}
	i.wake.L = &i.mu
	if b := o.Before; b != nil {
		i.limits = b.limits
		if b.rules == i.rules && b.o.Size == o.Size {
			i.cache = b.cache
		}
	}
	if i.limits == nil {
		i.limits = newLimits()
	}
	if i.cache == nil {
		i.cache = newCache(o.Size, o.Counts)
	}
	i.o.Before = nil
	return i
}

// Find implements [bimi.Indicators].
func (i *Indicators) Find(ctx context.Context, q bimi.Query) bimi.Answer {
	if q.Evidence == "" && i.o.Judge.RequireCertificate {
		return bimi.Answer{Result: bimi.None, Authority: bimi.AuthorityNone, Reason: ReasonNoCertificate}
	}
	if i.o.Established == nil {
		i.limits.passed(q.Organization)
	}
	m, now := idOf(q), i.o.Now()
	answer, known, due := i.cache.find(m, now)
	var done <-chan struct{}
	if due {
		done = i.request(q, m)
	}
	if !known && done != nil && i.o.Wait > 0 {
		timer := time.NewTimer(i.o.Wait)
		defer timer.Stop()
		select {
		case <-done:
			answer, known, _ = i.cache.find(m, i.o.Now())
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if !known {
		i.o.Counts.Misses.Add(1)
		return bimi.Answer{Result: bimi.Skipped, Authority: bimi.AuthorityNone, Reason: ReasonNotFetched}
	}
	i.o.Counts.Hits.Add(1)
	return answer
}
