package indicators

import (
	"container/list"
	"sync"
	"time"

	"sekimori/internal/bimi"
)

// entry is what is known of a mark.
type entry struct {
	id       id
	answer   bimi.Answer
	failures int // fetches that failed since the last good one
	// stale means that the last fetch failed, and that the answer, a good one, may be used until
	// staleUntil. A bad one has no such time.
	stale      bool
	staleUntil time.Time
	// next is when the mark may be fetched again.
	next time.Time
	size int64
}

func (e *entry) good() bool { return e.answer.Result == bimi.Pass }

// cache keeps entries until their memory is full. Then those go that were not asked for the longest.
// Good ones have a part of their own: a sender can make up bad ones without end.
type cache struct {
	counts *Counts

	mu   sync.Mutex
	good lru
	bad  lru
}

// lru is a list of entries, that which was used last in front.
type lru struct {
	limit, size int64
	list        list.List
	of          map[id]*list.Element
}

func newCache(size int64, c *Counts) *cache {
	return &cache{counts: c, good: lru{limit: size / 4 * 3, of: map[id]*list.Element{}}, bad: lru{limit: size / 4, of: map[id]*list.Element{}}}
}

// find returns the answer if it may be used. It reports also whether the mark should be fetched.
func (c *cache) find(m id, now time.Time) (answer bimi.Answer, known, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entry(m)
	if e == nil {
		return bimi.Answer{}, false, true
	}
	due = !now.Before(e.next)
	switch {
	case now.Before(e.answer.Until):
		return e.answer, true, due
	case e.stale && now.Before(e.staleUntil):
		c.counts.Stale.Add(1)
		return e.answer, true, due
	}
	return bimi.Answer{}, false, due
}

// entry returns the entry of a mark, and makes it the last to go.
func (c *cache) entry(m id) *entry {
	for _, l := range []*lru{&c.good, &c.bad} {
		if el := l.of[m]; el != nil {
			l.list.MoveToFront(el)
			return el.Value.(*entry)
		}
	}
	return nil
}

// learn stores the answer of a fetch. If the web server gave nothing, a good answer stays for a while.
func (c *cache) learn(m id, answer judged, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.entry(m)
	if answer.Result == bimi.Pass {
		c.put(&entry{id: m, answer: answer.Answer, next: early(answer.Answer), staleUntil: answer.Ends})
		return
	}
	failures := 0
	if old != nil {
		failures = old.failures
	}
	again := now.Add(min(keepBad<<min(failures, 5), keepGood))
	if answer.Result == bimi.TempError && old != nil && now.Before(old.staleUntil) {
		e := *old
		e.stale, e.failures, e.next = true, failures+1, again
		c.put(&e)
		return
	}
	answer.Until = again
	c.put(&entry{id: m, answer: answer.Answer, failures: failures + 1, next: again})
}

// postpone says that a mark was not fetched, and when it may be. Without an answer that is known, the
// given one holds until then.
func (c *cache) postpone(m id, answer bimi.Answer, now, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entry(m); old != nil && (now.Before(old.answer.Until) || now.Before(old.staleUntil)) {
		old.next = until
		return
	}
	answer.Until = until
	c.put(&entry{id: m, answer: answer, next: until})
}

// early returns when a good answer is fetched again, so that a mark which is asked for all the time is
// never unknown.
func early(a bimi.Answer) time.Time { return a.Fetched.Add(a.Until.Sub(a.Fetched) / 4 * 3) }

// put stores an entry, and makes room for it.
func (c *cache) put(e *entry) {
	e.size = sizeOf(e)
	for _, l := range []*lru{&c.good, &c.bad} {
		if el := l.of[e.id]; el != nil {
			l.remove(el)
		}
	}
	l := &c.bad
	if e.good() {
		l = &c.good
	}
	l.of[e.id] = l.list.PushFront(e)
	l.size += e.size
	for l.size > l.limit { // an empty list has no octets
		l.remove(l.list.Back())
		c.counts.Evictions.Add(1)
	}
	c.counts.Entries.Store(int64(c.good.list.Len() + c.bad.list.Len()))
	c.counts.Octets.Store(c.good.size + c.bad.size)
}

func (l *lru) remove(el *list.Element) {
	e := l.list.Remove(el).(*entry)
	delete(l.of, e.id)
	l.size -= e.size
}

// overhead is what an entry takes beside its strings, in octets: itself, the list and the map.
const overhead = 640

// sizeOf returns the size of an entry in memory, in octets. A mark has its picture also in base64.
func sizeOf(e *entry) int64 {
	a := &e.answer
	n := overhead + len(e.id.domain) + len(e.id.selector) + len(e.id.location) + len(e.id.evidence)
	for i := range a.Checks {
		n += len(a.Checks[i].Detail) + 40
	}
	if m := a.Mark; m != nil {
		n += len(m.SVG)*5/2 + len(m.Type) + len(m.Owner) + len(m.Issuer) + len(m.Serial) + 160
	}
	return int64(n)
}
