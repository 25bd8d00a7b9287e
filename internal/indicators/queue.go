package indicators

import (
	"context"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"

	"sekimori/internal/bimi"
)

// job is a mark that waits to be fetched, or is being fetched.
type job struct {
	query bimi.Query
	id    id
	hosts []string
	done  chan struct{} // closed at the end
}

// hosts returns the hosts from which a mark is fetched.
func hosts(q bimi.Query) (all []string) {
	for _, raw := range []string{q.Evidence, q.Location} {
		if u, err := url.Parse(raw); err == nil && u.Host != "" && !slices.Contains(all, u.Hostname()) {
			all = append(all, u.Hostname())
		}
	}
	return all
}

// request puts a mark into the queue, unless it is there. It returns a channel that is closed when the
// mark was judged, or nil if the mark cannot be put there.
func (i *Indicators) request(q bimi.Query, m id) <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if j := i.pending[m]; j != nil {
		return j.done
	}
	switch {
	case !i.running:
		return nil
	case i.o.Established == nil && !i.always(q) && !i.limits.often(q.Organization):
		return nil
	case len(i.queue) == maxQueue || i.perOrg[q.Organization] == maxOfDomain:
		i.o.Counts.Dropped.Add(1)
		return nil
	}
	j := &job{query: q, id: m, hosts: hosts(q), done: make(chan struct{})}
	i.queue = append(i.queue, j)
	i.pending[m] = j
	i.perOrg[q.Organization]++
	i.wake.Signal()
	return j.done
}

func (i *Indicators) always(q bimi.Query) bool {
	return i.o.Always != nil && i.o.Always(q.Organization)
}

// Run fetches until ctx ends. After that nothing is fetched any more, and what is known stays.
func (i *Indicators) Run(ctx context.Context) {
	i.mu.Lock()
	i.running = true
	i.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.running = false
		i.wake.Broadcast()
	})
	defer stop()
	var workers sync.WaitGroup
	for range maxWorkers {
		workers.Go(func() {
			for j := i.next(); j != nil; j = i.next() {
				i.work(ctx, j)
				i.finish(j)
			}
		})
	}
	workers.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, j := range i.queue {
		i.forget(j)
	}
	i.queue = nil
}

// next takes the first mark from the queue with whose hosts no other worker is busy. It returns nil at
// the end of Run.
func (i *Indicators) next() *job {
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		if !i.running {
			return nil
		}
		n := slices.IndexFunc(i.queue, func(j *job) bool {
			return !slices.ContainsFunc(j.hosts, func(h string) bool { return i.busy[h] })
		})
		if n >= 0 {
			j := i.queue[n]
			i.queue = slices.Delete(i.queue, n, n+1)
			for _, h := range j.hosts {
				i.busy[h] = true
			}
			return j
		}
		i.wake.Wait()
	}
}

func (i *Indicators) finish(j *job) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, h := range j.hosts {
		delete(i.busy, h)
	}
	i.forget(j)
	i.wake.Broadcast() // others may have waited for these hosts
}

// forget ends a job. The caller holds mu.
func (i *Indicators) forget(j *job) {
	delete(i.pending, j.id)
	if i.perOrg[j.query.Organization]--; i.perOrg[j.query.Organization] == 0 {
		delete(i.perOrg, j.query.Organization)
	}
	close(j.done)
}

// work finds out about a mark: from the store, or else by fetching it.
func (i *Indicators) work(ctx context.Context, j *job) {
	defer func() {
		if v := recover(); v != nil {
			i.o.Log.Error("panic", "component", "bimi", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
			if i.o.Panicked != nil {
				i.o.Panicked(v)
			}
			i.cache.learn(j.id, judged{Answer: bimi.Answer{Result: bimi.TempError, Authority: bimi.AuthorityNone, Reason: ReasonInternal, Fetched: i.o.Now()}}, i.o.Now())
		}
	}()
	q, m := j.query, j.id
	if kept := i.load(ctx, m); kept != nil {
		i.cache.learn(m, *kept, i.o.Now())
		if i.o.Now().Before(early(kept.Answer)) {
			return
		}
	}
	skipped := bimi.Answer{Result: bimi.Skipped, Authority: bimi.AuthorityNone, Reason: ReasonNotEstablished}
	if i.o.Established != nil && !i.always(q) {
		yes, err := i.established(ctx, q)
		now := i.o.Now()
		if err != nil {
			i.o.Log.Warn("bimi: the store does not say whether a domain is established", "domain", q.Organization, "error", err)
			skipped.Reason = ReasonNotFetched
		}
		if !yes {
			i.cache.postpone(m, skipped, now, now.Add(notEstablished))
			return
		}
	}
	now := i.o.Now()
	if ok, again := i.limits.take(q.Organization, now); !ok {
		skipped.Reason = ReasonNotFetched
		i.cache.postpone(m, skipped, now, again)
		return
	}
	timed, cancel := context.WithTimeout(ctx, maxWork)
	defer cancel()
	answer := i.o.Judge.judge(timed, q, now, i.limits.pace)
	if ctx.Err() != nil && answer.Result != bimi.Pass {
		return // the stop of the daemon says nothing about the mark
	}
	i.cache.learn(m, answer, i.o.Now())
	i.log(q, answer.Answer)
	if answer.Result == bimi.Pass {
		i.keep(timed, m, answer)
	}
}

func (i *Indicators) established(ctx context.Context, q bimi.Query) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, maxStoreTime)
	defer cancel()
	return i.o.Established(ctx, q)
}

// log records what came of a mark.
func (i *Indicators) log(q bimi.Query, a bimi.Answer) {
	args := []any{"domain", q.Domain, "selector", q.Selector, "result", a.Result, "reason", a.Reason, "until", a.Until}
	if m := a.Mark; m != nil {
		args = append(args, "owner", m.Owner, "issuer", m.Issuer, "certificate_ends", m.NotAfter)
	}
	i.o.Log.Info("bimi: mark fetched", args...)
}
