package dispatch

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/dns"
)

// pace spaces mails evenly.
type pace struct {
	gap  time.Duration
	mu   sync.Mutex
	next time.Time // when the next mail may be sent
}

// wait waits for the turn of a mail. It returns false if ctx ended before.
func (p *pace) wait(ctx context.Context, now time.Time) bool {
	p.mu.Lock()
	at := later(p.next, now)
	if at.Sub(now) > maxWorkers*p.gap { // the clock was set back
		at = now
	}
	p.next = at.Add(p.gap)
	p.mu.Unlock()
	sleep(ctx, at.Sub(now))
	return ctx.Err() == nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

const (
	// maxPatience is how long a job waits for the turn of a destination, before it is put off.
	maxPatience = 5 * time.Second
	// maxHosts bounds the destinations whose pace is remembered. Strangers choose their names.
	maxHosts = 10000
)

// hosts limits the mails to the destinations of each owner (see [report.Owner]): one at a time, spaced evenly.
// An owner can make as many hosts below his domain as he likes, and their MX records can name the servers of
// somebody else. The records themselves are not asked: the MTA asks again, and may get another answer. A job
// that would have to wait longer than maxPatience is put off instead, so that it does not hold up the jobs for
// others.
type hosts struct {
	gap time.Duration
	mu  sync.Mutex
	all map[dns.Name]*host
}

type host struct {
	busy    bool
	next    time.Time // when the next mail may be sent
	horizon time.Time // until when jobs were put off
}

// take takes the turn of an owner. With ok, the mail may be sent after wait, and release must be
// called. Otherwise the job is to be put off until "again". own says that the caller has taken the
// turn before and did not release it.
func (h *hosts) take(name dns.Name, now time.Time, own bool) (wait time.Duration, again time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.all[name]
	if x == nil {
		h.prune(now)
		x = &host{}
		h.all[name] = x
	}
	x.sane(now, h.gap)
	at := later(x.next, now)
	if x.busy && !own || at.Sub(now) > maxPatience {
		x.horizon = later(later(x.horizon, at), now).Add(max(h.gap, time.Second))
		return 0, x.horizon, false
	}
	x.busy, x.next = true, at.Add(h.gap)
	return at.Sub(now), time.Time{}, true
}

// maxHorizon bounds how far jobs are put off because of the pace. Later jobs ask again then.
const maxHorizon = 12 * time.Hour

// sane forgets times that no mail can have set, because the clock was set back.
func (x *host) sane(now time.Time, gap time.Duration) {
	if x.next.Sub(now) > maxPatience+gap {
		x.next = now
	}
	if x.horizon.Sub(now) > maxHorizon {
		x.horizon = now
	}
}

// release ends a turn. last is when the last mail was really sent, or zero.
func (h *hosts) release(name dns.Name, last time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.all[name]; x != nil {
		x.busy, x.next = false, later(x.next, last.Add(h.gap))
	}
}

// prune makes room: it forgets owners whose time has passed, and if all are in use, the horizons.
func (h *hosts) prune(now time.Time) {
	if len(h.all) < maxHosts {
		return
	}
	for _, keepHorizon := range []bool{true, false} {
		for name, x := range h.all {
			if !x.busy && !x.next.After(now) && (!keepHorizon || !x.horizon.After(now)) {
				delete(h.all, name)
			}
		}
		if len(h.all) < maxHosts {
			return
		}
	}
}

// trouble stops the claims while the MTA cannot be reached. Otherwise an MTA that is down for a minute
// would cost every due job a try.
type trouble struct {
	mu    sync.Mutex
	row   int // failures without a success between them
	step  time.Duration
	until time.Time
	// probing says that one job was let through, and until is when the next one is, if nothing is heard
	// of the first.
	probing bool
}

const (
	// troubleAfter is the number of failures in a row that count as trouble of the MTA. Fewer may be
	// the fault of one destination.
	troubleAfter = 4
	troubleFirst = 30 * time.Second
	troubleMost  = 5 * time.Minute
)

// report takes the outcome of a submission.
func (t *trouble) report(failed bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !failed {
		t.row, t.step, t.until, t.probing = 0, 0, time.Time{}, false
		return
	}
	if t.row++; t.row < troubleAfter || now.Before(t.until) && !t.probing {
		return
	}
	t.step = min(max(2*t.step, troubleFirst), troubleMost)
	t.until, t.probing = now.Add(t.step), false
}

// wait returns how long no job is to be claimed. During trouble it lets one job through after each
// pause. Its outcome decides whether there is another pause.
func (t *trouble) wait(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until.Sub(now) > troubleMost { // the clock was set back
		t.until = now.Add(troubleMost)
	}
	switch wait := t.until.Sub(now); {
	case t.row < troubleAfter:
		return 0
	case wait > 0:
		return wait
	}
	t.until, t.probing = now.Add(troubleFirst), true
	return 0
}

// unused says that a job was not submitted, so it told nothing about the MTA.
func (t *trouble) unused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.probing {
		t.until, t.probing = time.Time{}, false
	}
}
