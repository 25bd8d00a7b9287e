package failure

import (
	"cmp"
	"slices"
	"time"

	"sekimori/internal/dns"
)

const (
	// minInterval is the least time between two reports to one domain.
	minInterval = time.Hour
	// maxDomains bounds the domains that a Limiter remembers, each with up to one Incident.
	maxDomains = 10_000
)

// Limiter merges incidents, so that a wave of forged mail does not become a wave of reports. The first
// incident of a domain is reported at once. Later ones are counted, and the newest of them is reported
// with their number as soon as the limits allow: one report an hour and perDomain a day for a domain,
// total a day for all domains. Days are UTC days.
//
// A domain is remembered only if it got a report within the last hour, or today, or has merged
// incidents. A Limiter is not safe for concurrent use. It knows nothing of other hosts.
type Limiter struct {
	perDomain, total int
	day              int64 // the UTC day on which the counts began
	now              time.Time
	sent             int // today
	dropped          int64
	domains          map[dns.Name]*history
}

// history is what is remembered of a domain.
type history struct {
	last   time.Time // of the last report
	sent   int       // today
	newest Incident  // of the merged ones; not set if count is 0
	count  int
}

// Ready is a report that may be sent now.
type Ready struct {
	Incident  Incident
	Incidents int // how many it stands for, with this one
}

// NewLimiter returns a Limiter (report.failure.per_domain and report.failure.total).
func NewLimiter(perDomain, total int) *Limiter {
	return &Limiter{perDomain: perDomain, total: total, domains: map[dns.Name]*history{}}
}

// Resume sets other limits. The reports that were sent still count. Merged incidents are forgotten,
// because they were observed under other settings.
func (l *Limiter) Resume(perDomain, total int) {
	l.perDomain, l.total = perDomain, total
	for _, h := range l.domains {
		h.newest, h.count = Incident{}, 0
	}
}

// Add takes one incident. If ok is true, the caller sends the report now. Otherwise the incident was
// merged, and Due returns it later, or it was dropped.
func (l *Limiter) Add(now time.Time, i Incident) (ready Ready, ok bool) {
	l.turn(now)
	h := l.domains[i.PolicyDomain]
	if h == nil {
		if len(l.domains) >= maxDomains {
			l.forget(now)
		}
		if l.sent >= l.total || l.perDomain < 1 || len(l.domains) >= maxDomains {
			l.dropped++
			return Ready{}, false
		}
		h = &history{last: now.Add(-minInterval)}
		l.domains[i.PolicyDomain] = h
	}
	h.newest = i
	h.count++
	return l.take(now, h)
}

// Return takes back a report that Add or Due returned at this time, and that was not sent. It is merged with
// what comes in the next hour.
func (l *Limiter) Return(now time.Time, r Ready) {
	l.sent = max(l.sent-1, 0)
	h := l.domains[r.Incident.PolicyDomain]
	if h == nil { // after a reload
		return
	}
	if h.count == 0 {
		h.newest = r.Incident
	}
	h.sent = max(h.sent-1, 0)
	h.count += r.Incidents
}

// Due returns the merged incidents that may be reported now, those of the domain that has waited longest first.
// It is to be called every few minutes.
func (l *Limiter) Due(now time.Time) []Ready {
	l.turn(now)
	l.forget(now)
	var waiting []dns.Name
	for domain, h := range l.domains {
		if h.count > 0 {
			waiting = append(waiting, domain)
		}
	}
	// The domain that has waited longest comes first, so that the limit for all starves nobody.
	slices.SortFunc(waiting, func(a, b dns.Name) int {
		if c := l.domains[a].last.Compare(l.domains[b].last); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	var out []Ready
	for _, domain := range waiting {
		if r, ok := l.take(now, l.domains[domain]); ok {
			out = append(out, r)
		}
	}
	return out
}

// Dropped returns how many incidents are in no report, because the limit of the day was used up before
// the first one of their domain.
func (l *Limiter) Dropped() int64 { return l.dropped }

// take returns what is merged for a domain, if it may be sent.
func (l *Limiter) take(now time.Time, h *history) (Ready, bool) {
	if h.count == 0 || l.sent >= l.total || h.sent >= l.perDomain || now.Sub(h.last) < minInterval {
		return Ready{}, false
	}
	r := Ready{h.newest, h.count}
	*h = history{last: now, sent: h.sent + 1}
	l.sent++
	return r, true
}

// turn begins a new day. If the clock was set back, the counts go on, because a second report is worse
// than a late one.
func (l *Limiter) turn(now time.Time) {
	day := now.Unix() / int64(24*time.Hour/time.Second)
	if day > l.day {
		l.sent = 0
		for _, h := range l.domains {
			h.sent = 0
		}
	}
	if now.Before(l.now) {
		for _, h := range l.domains {
			if h.last.After(now) {
				h.last = now
			}
		}
	}
	l.day, l.now = day, now
}

// forget removes the domains that need not be remembered.
func (l *Limiter) forget(now time.Time) {
	for domain, h := range l.domains {
		if h.count == 0 && h.sent == 0 && now.Sub(h.last) >= minInterval {
			delete(l.domains, domain)
		}
	}
}
