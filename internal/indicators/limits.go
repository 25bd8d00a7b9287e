package indicators

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/dns"
)

// limits bounds how often something is fetched. It lives longer than a configuration, so that reloads do
// not lift it.
type limits struct {
	mu      sync.Mutex
	fetched map[dns.Name]time.Time // when something of an Organizational Domain was last fetched
	passing map[dns.Name]int       // messages of a domain that passed, up to the number that is needed
	slot    time.Time              // when the next fetch may begin
}

func newLimits() *limits {
	return &limits{fetched: map[dns.Name]time.Time{}, passing: map[dns.Name]int{}}
}

// passed counts a message of a domain.
func (l *limits) passed(domain dns.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.passing[domain]
	if n == messages {
		return
	}
	if n == 0 && len(l.passing) == maxDomains {
		for other := range l.passing { // any
			delete(l.passing, other)
			break
		}
	}
	l.passing[domain] = n + 1
}

func (l *limits) often(domain dns.Name) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passing[domain] == messages
}

// take reports whether something of a domain may be fetched now. If not, it returns when it may be.
func (l *limits) take(domain dns.Name, now time.Time) (ok bool, again time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, there := l.fetched[domain]
	if there && now.Before(last.Add(perDomain)) && !now.Before(last) { // the clock may have been set back
		return false, last.Add(perDomain)
	}
	if len(l.fetched) >= maxDomains {
		for other, at := range l.fetched {
			if !now.Before(at.Add(perDomain)) || now.Before(at) {
				delete(l.fetched, other)
			}
		}
	}
	if len(l.fetched) >= maxDomains {
		return false, now.Add(perDomain / 4)
	}
	l.fetched[domain] = now
	return true, time.Time{}
}

// pace waits until the next fetch may begin.
func (l *limits) pace(ctx context.Context) error {
	l.mu.Lock()
	now := time.Now()
	if l.slot.Before(now) {
		l.slot = now
	}
	at := l.slot
	l.slot = at.Add(maxPace)
	l.mu.Unlock()
	timer := time.NewTimer(at.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
