// Package watchlist counts what comes in of the domains of the watch lists and of those who look like
// them, and remembers samples of what failed. It tells a wave of spoofs by the rule of the alert
// SekimoriSpoofWave. It keeps all in memory, so it begins anew when the daemon starts; the metrics go on.
package watchlist

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/lookalike"
)

const (
	// Quarter is the length of an interval in which messages are counted.
	Quarter = 15 * time.Minute
	// maxQuarters is how many intervals are kept: those of a week, with which a wave is compared.
	maxQuarters = 7 * 24 * 4
	// quartersOfDay is how many intervals a day has.
	quartersOfDay = 24 * 4
	// maxSamples is how many messages of a list are remembered that failed, and as many lookalikes.
	maxSamples = 20
	// maxWord is the length of the longest text of a sample, in octets. A sender chooses the texts.
	maxWord = 256
	// A wave has at least leastWave messages that fail in a Quarter, and more than waveFactor times as many
	// as half of the intervals of a week have.
	leastWave  = 20
	waveFactor = 10
)

// Counts are numbers of messages of a list.
type Counts struct {
	Pass, Fail, Lookalike int64
}

func (c *Counts) add(o Counts) {
	c.Pass += o.Pass
	c.Fail += o.Fail
	c.Lookalike += o.Lookalike
}

// Sample is a message that failed, or whose author looks like a watched domain.
type Sample struct {
	Time         time.Time
	ID           string // the explanation id
	QueueID      string
	AuthorDomain dns.Name
	Client       netip.Addr
	Verdict      string
	lookalike.Finding
}

// Wave says that a list has a wave of spoofs.
type Wave struct {
	Fails int64 // of the last Quarter
	Usual int64 // the median of the intervals of the last week
}

// List is what is known of a watch list.
type List struct {
	Name       string
	Domains    []string // as they are configured
	Lookalikes bool     // lookalikes are looked for
	Hour, Day  Counts   // of the last hour and the last 24 hours, to 15 minutes
	Week       Counts
	Since      time.Time // when counting began; that of a week takes a week
	Wave       *Wave     // nil if there is none
	Fails      []Sample  // the newest first
	Alike      []Sample  // the newest first
}

// Watcher is a filter.Observer. Its methods are safe for concurrent use.
type Watcher struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time
	lists []*list
}

// list is a List in the making.
type list struct {
	of lookalike.List
	// quarters has the counts of intervals. first is the number of the interval in quarters[0].
	quarters     []Counts
	first        int64
	fails, alike []Sample // the oldest first
}

// New returns a Watcher of no list.
func New(now func() time.Time) *Watcher { return &Watcher{now: now, since: now()} }

// Set changes the lists. What is known of a list with the same name stays.
func (w *Watcher) Set(lists []lookalike.List) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.lists
	w.lists = nil
	for _, l := range lists {
		i := slices.IndexFunc(old, func(o *list) bool { return o.of.Name == l.Name })
		if i < 0 {
			w.lists = append(w.lists, &list{of: l})
			continue
		}
		old[i].of = l
		w.lists = append(w.lists, old[i])
	}
}

// Decided implements filter.Observer.
func (w *Watcher) Decided(d *judge.Decision, _ time.Duration) {
	e := d.Evaluation
	if e == nil || e.Watch == nil {
		return
	}
	var c Counts
	switch {
	case e.Watch.Lookalike != "":
		c.Lookalike = 1
	case e.DMARC.Result == dmarc.ResultPass:
		c.Pass = 1
	case e.DMARC.Result == dmarc.ResultFail:
		c.Fail = 1
	default:
		return
	}
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.lists, func(l *list) bool { return l.of.Name == e.Watch.List })
	if i < 0 {
		return
	}
	l := w.lists[i]
	l.quarter(now).add(c)
	if c.Pass > 0 {
		return
	}
	s := Sample{
		Time: now, ID: d.Verdict.ID, QueueID: clip(e.Envelope.QueueID), AuthorDomain: dns.Name(clip(string(e.From.AuthorDomain))), Client: e.Session.Client,
		Verdict: string(d.Verdict.Action), Finding: *e.Watch,
	}
	into := &l.fails
	if c.Lookalike > 0 {
		into = &l.alike
	}
	if len(*into) == maxSamples {
		*into = slices.Delete(*into, 0, 1)
	}
	*into = append(*into, s)
}

// clip returns a copy of a text, cut to maxWord octets. A copy, because the text may be a part of the
// message's header, which would stay in memory.
func clip(s string) string { return string(append([]byte(nil), s[:min(len(s), maxWord)]...)) }

func number(t time.Time) int64 { return t.Unix() / int64(Quarter/time.Second) }

// quarter returns the counts of the interval of a time. A time before the last interval, because the clock
// was set back, counts in the last one.
func (l *list) quarter(now time.Time) *Counts {
	n := number(now)
	last := l.first + int64(len(l.quarters)) - 1
	switch {
	case len(l.quarters) == 0 || n-last >= maxQuarters:
		l.quarters, l.first = append(l.quarters[:0], Counts{}), n
	default:
		for ; last < n; last++ {
			if len(l.quarters) == maxQuarters {
				l.quarters = slices.Delete(l.quarters, 0, 1)
				l.first++
			}
			l.quarters = append(l.quarters, Counts{})
		}
	}
	return &l.quarters[len(l.quarters)-1]
}

// last returns the counts of the last n intervals, with the current one.
func (l *list) last(now time.Time, n int64) (c Counts) {
	for i := range l.quarters {
		if l.first+int64(i) > number(now)-n {
			c.add(l.quarters[i])
		}
	}
	return c
}

// Lists returns what is known of all lists, in the order of the configuration.
func (w *Watcher) Lists() []List {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []List{}
	for _, l := range w.lists {
		x := List{
			Name: l.of.Name, Domains: l.of.Domains, Lookalikes: l.of.Lookalikes, Hour: l.last(now, 4), Day: l.last(now, quartersOfDay), Week: l.last(now, maxQuarters),
			Since: w.since, Fails: newest(l.fails), Alike: newest(l.alike),
		}
		x.Wave = l.wave(now)
		out = append(out, x)
	}
	return out
}

func newest(samples []Sample) []Sample {
	out := slices.Clone(samples)
	slices.Reverse(out)
	return out
}

// wave looks at the interval before the current one, too, because the current one may have begun just now.
func (l *list) wave(now time.Time) *Wave {
	fails := l.last(now, 1).Fail
	fails = max(fails, l.last(now, 2).Fail-fails)
	counts := make([]int64, maxQuarters) // intervals without a message have none
	for i := range l.quarters {
		if age := number(now) - l.first - int64(i); age >= 0 && age < maxQuarters {
			counts[age] = l.quarters[i].Fail
		}
	}
	slices.Sort(counts)
	usual := counts[len(counts)/2]
	if fails < leastWave || fails <= waveFactor*usual {
		return nil
	}
	return &Wave{Fails: fails, Usual: usual}
}
