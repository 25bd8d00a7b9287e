package resolver

import (
	"errors"
	"math"
	"time"
	"unsafe"

	"sekimori/internal/dns"
)

// key is a question.
type key struct {
	name dns.Name
	typ  dns.Type
}

// entry is the cached outcome of a question. It does not change, except for the read counters in
// demand. Times are durations since Cache.start.
type entry struct {
	demand
	answer dns.Answer
	err    error // set for a failure; answer is then empty
	// expires is the end of the TTL. Failures expire as well.
	expires time.Duration
	// ageing is the time from which a hot answer is renewed (see demand). It is earlier than
	// "expires".
	ageing time.Duration
	// retry is 0 unless the last attempt to renew the answer failed. Until the time in retry,
	// lookups get the stale answer without another attempt (RFC 8767 §5, the failure recheck
	// timer).
	retry time.Duration
	// gone is the time from which the entry cannot be used, not even as a stale answer.
	gone  time.Duration
	large bool // it is stored in Cache.large
}

// newEntry returns the entry to store for the outcome of a lookup. If the lookup failed and a stale
// answer may still be returned, the entry contains the stale answer. After a permanent failure it
// does not, because the published records are no longer those of the stale answer.
func (c *Cache) newEntry(a dns.Answer, err error, stale *entry, now time.Duration) *entry {
	if err != nil {
		until := now
		if cacheableFailure(err) {
			until += c.cfg.FailureTTL
		}
		if !dns.Permanent(err) && stale.standsIn(now) {
			return &entry{answer: stale.answer, expires: stale.expires, ageing: stale.expires, retry: until, gone: stale.gone}
		}
		return &entry{err: err, expires: until, gone: until}
	}
	ttl := min(a.TTL, c.cfg.MaxTTL)
	if a.Void() {
		ttl = min(ttl, c.cfg.NegativeTTL)
	}
	floor := min(c.cfg.MinTTL, c.cfg.MaxTTL)
	if a.Void() {
		floor = min(floor, c.cfg.NegativeTTL)
	}
	large := textOctets(a) > maxSmallText
	if large {
		ttl, floor = min(ttl, maxLargeTTL), min(floor, maxLargeTTL)
	}
	expires := now + max(ttl, floor, 0)
	e := &entry{answer: a, expires: expires, ageing: prefetchFrom(now, expires), gone: expires + c.cfg.Stale, large: large}
	if large {
		e.gone = expires
	}
	return e
}

// No record that a message needs is larger than 4 KiB. An attacker could publish larger records at
// many names to push other entries out of the cache. Large answers are therefore stored only
// briefly, and in a separate store.
const (
	maxSmallText = 4 << 10
	maxLargeTTL  = time.Minute
	// largePart: the store of large answers has 1/largePart of the size of the cache.
	largePart = 16
)

func textOctets(a dns.Answer) (n int) {
	for _, r := range a.Records {
		n += len(r.Text)
	}
	return n
}

// cacheableFailure reports whether a failure says something about the name or its servers. If the
// lookup failed because the asker gave up, the failure says nothing about them.
func cacheableFailure(err error) bool {
	var e *dns.Error
	return errors.As(err, &e) && !e.AskerGaveUp()
}

// usable reports whether a lookup may answer from e without a query. It is false for a
// nil entry.
func (e *entry) usable(now time.Duration) bool {
	return e != nil && (now < e.expires || (now < e.retry && now < e.gone))
}

// standsIn reports whether e's answer may be served in place of a failure. It is false
// for a nil entry.
func (e *entry) standsIn(now time.Duration) bool { return e != nil && now < e.gone }

// keepable reports whether e is worth storing.
func (e *entry) keepable(now time.Duration) bool { return now < e.gone }

func (e *entry) kind() kind {
	switch {
	case e.err != nil:
		return kindFailure
	case e.answer.Void():
		return kindNegative
	}
	return kindPositive
}

// storeOverhead is the memory that the store needs for each entry in addition to key and value:
// node, hash table and queues. It was measured with 100,000 entries: the sum of their weights was
// between 1 % below and 7 % above the heap that they took.
const storeOverhead = 112

// weight returns the size of the entry in octets, including its strings and slices.
func (e *entry) weight(k key) uint32 {
	a := &e.answer
	n := storeOverhead + int(unsafe.Sizeof(k)) + int(unsafe.Sizeof(*e)) +
		len(k.name) + len(a.Canonical) + len(a.Server) + cap(a.Records)*int(unsafe.Sizeof(dns.Record{}))
	for _, r := range a.Records {
		n += len(r.Host) + len(r.Text)
	}
	if e.err != nil {
		n += int(unsafe.Sizeof(dns.Error{})) + len(e.err.Error())
	}
	return uint32(min(n, math.MaxUint32))
}
