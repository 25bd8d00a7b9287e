package survey

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/domaincheck"
)

// MaxCache is how many octets of DNS answers a survey should keep: those about the domains that are looked at
// now, and those that many domains share, such as the record of a provider. The other answers are not asked for
// again, so a larger cache would only grow with the list.
const MaxCache = 16 << 20

const (
	// maxDomains is the largest number of domains of a survey. A survey of a million takes a day at the
	// usual rate; the names take 100 MB of memory.
	maxDomains = 1_000_000
	// maxLine is the length of the longest line of a list, in octets. A name has at most 253.
	maxLine = 4096
	// maxInvalid is the number of lines that are not domain names that the result has.
	maxInvalid = 10
	// workers is the number of domains that are looked at together. With answers in 50 ms, 10 of them
	// use up 200 questions a second; the others wait for servers that are slow or gone.
	workers = 100
	// rounds is how often a domain is looked at whose lookups fail.
	rounds = 3
	// askTimeout limits the time of one question.
	askTimeout = 15 * time.Second
)

// Options say how a survey is made.
type Options struct {
	Resolver dns.Resolver
	Check    domaincheck.Options
	Classes  []dns.Name // suffixes, such as co.jp
	Rate     float64    // DNS questions a second
	// Pause is the time before domains whose lookups failed are looked at again. It should be longer than
	// the resolver remembers failures.
	Pause time.Duration
	// State keeps the entries, so that a later run can go on. nil: nothing is kept.
	State *State
	// Progress is called after each domain. done and total count domains, asked counts questions.
	Progress func(done, total int, asked int64)
}

// List is a list of domains.
type List struct {
	Domains []dns.Name // without repetitions, in the order of the list
	Invalid []string   // lines that have no domain name, the first ten
}

// ReadList reads a list with one domain a line. Empty lines and lines that begin with "#" are left out.
// If a line has several fields, as in the ranking "1,example.jp", the first one with a dot counts.
func ReadList(in io.Reader) (*List, error) { return readList(in, maxDomains) }

// readList is ReadList for at most so many domains.
func readList(in io.Reader, most int) (*List, error) {
	l := &List{}
	seen := map[dns.Name]bool{}
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, maxLine)
	for sc.Scan() {
		line := strings.TrimSpace(strings.TrimPrefix(sc.Text(), "\ufeff")) // some editors begin a file with a byte order mark
		if line == "" || line[0] == '#' {
			continue
		}
		name, ok := nameIn(line)
		switch {
		case !ok && len(l.Invalid) < maxInvalid:
			l.Invalid = append(l.Invalid, line)
		case !ok || seen[name]:
		case len(l.Domains) == most:
			return nil, fmt.Errorf("survey: the list has more than %d domains; split it", most)
		default:
			seen[name] = true
			l.Domains = append(l.Domains, name)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("survey: list of domains: %w", err)
	}
	return l, nil
}

func nameIn(line string) (dns.Name, bool) {
	for _, field := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(",; \t\"", r) }) {
		if strings.Contains(field, ".") {
			name, err := dns.ParseHostname(field)
			return name, err == nil
		}
	}
	return "", false
}

// run is a survey under way.
type run struct {
	o      Options
	paced  *paced
	total  int
	mu     sync.Mutex
	tally  *tally
	done   int
	failed error // of the file
}

// Run looks at every domain of the list. If ctx ends, it returns the result so far with the error of ctx.
func Run(ctx context.Context, l *List, o Options) (*Result, error) {
	r := &run{o: o, paced: newPaced(o.Resolver, o.Rate), total: len(l.Domains), tally: newTally(o.Classes)}
	todo := l.Domains
	earlier := 0
	if o.State != nil {
		var err error
		if todo, err = o.State.replay(l.Domains, r.tally.add); err != nil {
			return nil, err
		}
		earlier = len(l.Domains) - len(todo)
		r.done = earlier
	}
	for round := 1; round <= rounds && len(todo) > 0 && ctx.Err() == nil && r.failed == nil; round++ {
		if round > 1 {
			sleep(ctx, o.Pause)
		}
		todo = r.round(ctx, todo, round == rounds)
	}
	result := r.tally.result()
	result.Asked, result.Earlier, result.Invalid = r.paced.asked.Load(), earlier, l.Invalid
	err := r.failed
	if ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("survey: %d of %d domains are judged: %w", r.done, r.total, ctx.Err()))
	}
	return result, err
}

// round looks at the domains, and returns those whose lookups failed. In the last round it counts these
// too.
func (r *run) round(ctx context.Context, domains []dns.Name, last bool) []dns.Name {
	var again []dns.Name
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, len(domains)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(domains) {
					return
				}
				e := newEntry(domaincheck.Look(ctx, r.paced, domains[i], r.o.Check))
				if ctx.Err() != nil {
					return // lookups may have failed because of that
				}
				if len(e.Unknown) > 0 && !last {
					r.mu.Lock()
					again = append(again, domains[i])
					r.mu.Unlock()
					continue
				}
				if !r.finish(&e) {
					return
				}
			}
		})
	}
	wg.Wait()
	return again
}

// finish counts an entry and keeps it. It returns false if it cannot be kept.
func (r *run) finish(e *Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return false
	}
	if r.o.State != nil {
		if r.failed = r.o.State.keep(e); r.failed != nil {
			return false
		}
	}
	r.tally.add(e)
	r.done++
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.total, r.paced.asked.Load())
	}
	return true
}

// sleep waits until d is over or ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// paced is a Resolver that asks a limited number of questions a second. Answers from the cache cost
// nothing.
type paced struct {
	next     dns.Resolver
	interval time.Duration
	asked    atomic.Int64

	mu sync.Mutex
	at time.Time // when the next question may be asked
}

func newPaced(next dns.Resolver, rate float64) *paced {
	return &paced{next: next, interval: time.Duration(float64(time.Second) / rate)}
}

// Lookup implements [dns.Resolver]. It waits for its turn.
func (p *paced) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if a, ok := p.next.Peek(name, typ); ok {
		return a, nil
	}
	p.mu.Lock()
	now := time.Now()
	wait := p.at.Sub(now)
	if wait < 0 {
		wait, p.at = 0, now
	}
	p.at = p.at.Add(p.interval)
	p.mu.Unlock()
	if wait > 0 {
		sleep(ctx, wait)
	}
	if err := ctx.Err(); err != nil {
		return dns.Answer{}, dns.OutOfTime(p, err, name, typ)
	}
	p.asked.Add(1)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return p.next.Lookup(ctx, name, typ)
}

// Peek implements [dns.Resolver].
func (p *paced) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) { return p.next.Peek(name, typ) }

// Expect implements [dns.Resolver]. It asks nothing, because every question has to wait for its turn.
func (p *paced) Expect(context.Context, dns.Name, dns.Type) bool { return false }

// Queued implements [dns.Resolver].
func (p *paced) Queued() bool { return p.next.Queued() }
