package resolver

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unsafe"

	"sekimori/internal/dns"
)

// answerOf returns an answer with one text of some octets, or a negative one for 0 octets.
func answerOf(ttl time.Duration, octets int) dns.Answer {
	a := dns.Answer{TTL: ttl}
	if octets > 0 {
		a.Records = []dns.Record{{Text: strings.Repeat("x", octets/2)}, {Text: strings.Repeat("x", octets-octets/2)}}
	}
	return a
}

// TestEntryTimes has the TTL with which an answer is stored, and how long it may be returned as a stale
// one: each bound of the configuration below, at and above.
func TestEntryTimes(t *testing.T) {
	const now, small = time.Hour, 10
	usual := CacheConfig{MaxTTL: time.Hour, MinTTL: 10 * time.Minute, NegativeTTL: 5 * time.Minute, Stale: 2 * time.Hour}
	low := CacheConfig{MaxTTL: time.Minute, MinTTL: 10 * time.Minute, NegativeTTL: 5 * time.Minute, Stale: 2 * time.Hour}
	for _, tt := range []struct {
		why       string
		cfg       CacheConfig
		ttl       time.Duration
		octets    int
		want      time.Duration
		wantStale time.Duration
	}{
		{"as published", usual, 20 * time.Minute, small, 20 * time.Minute, 2 * time.Hour},
		{"at the floor", usual, 10 * time.Minute, small, 10 * time.Minute, 2 * time.Hour},
		{"below the floor", usual, 10*time.Minute - 1, small, 10 * time.Minute, 2 * time.Hour},
		{"nothing", usual, 0, small, 10 * time.Minute, 2 * time.Hour},
		{"at the ceiling", usual, time.Hour, small, time.Hour, 2 * time.Hour},
		{"above the ceiling", usual, time.Hour + 1, small, time.Hour, 2 * time.Hour},
		{"the ceiling is below the floor", low, 20 * time.Minute, small, time.Minute, 2 * time.Hour},
		{"negative, as published: the floor counts no more than the bound of negative answers", usual, time.Minute, 0, 5 * time.Minute, 2 * time.Hour},
		{"negative, above its bound", usual, 20 * time.Minute, 0, 5 * time.Minute, 2 * time.Hour},
		{"negative, the ceiling is below its bound", low, 20 * time.Minute, 0, time.Minute, 2 * time.Hour},
		{"the largest text that is not large", usual, 20 * time.Minute, maxSmallText, 20 * time.Minute, 2 * time.Hour},
		{"a large text", usual, 20 * time.Minute, maxSmallText + 1, maxLargeTTL, 0},
		{"a large text for a short time", CacheConfig{MaxTTL: time.Hour}, time.Second, maxSmallText + 1, time.Second, 0},
		{"no bound at all", CacheConfig{}, time.Hour, small, 0, 0},
		{"a TTL below zero", CacheConfig{MaxTTL: time.Hour}, -time.Second, small, 0, 0},
	} {
		c := &Cache{cfg: tt.cfg}
		e := c.newEntry(answerOf(tt.ttl, tt.octets), nil, nil, now)
		if got, stale := e.expires-now, e.gone-e.expires; got != tt.want || stale != tt.wantStale || e.large != (tt.octets > maxSmallText) {
			t.Errorf("%s: %v and stale for %v, large %t; want %v and %v", tt.why, got, stale, e.large, tt.want, tt.wantStale)
		}
		if want := now + tt.want - tt.want/prefetchPart; e.ageing != want {
			t.Errorf("%s: ages from %v, want %v", tt.why, e.ageing, want)
		}
		if want := map[bool]kind{true: kindPositive, false: kindNegative}[tt.octets > 0]; e.kind() != want {
			t.Errorf("%s: kind %v", tt.why, e.kind())
		}
	}
}

// TestEntryOfFailure says what is stored after a lookup failed, for each kind of failure with and without
// an answer that stands in.
func TestEntryOfFailure(t *testing.T) {
	const now, failure = time.Hour, 10 * time.Second
	c := &Cache{cfg: CacheConfig{FailureTTL: failure}}
	old := &entry{answer: answerOf(time.Minute, 10), expires: now - time.Minute, gone: now + time.Minute}
	gone := &entry{answer: answerOf(time.Minute, 10), expires: now - time.Minute, gone: now}
	for kind := dns.KindTimeout; kind.String() != "unknown"; kind++ {
		err := &dns.Error{Kind: kind}
		remembered := failure
		if err.AskerGaveUp() {
			remembered = 0
		}
		for why, stale := range map[string]*entry{"nothing stands in": nil, "the answer is too old": gone, "an answer stands in": old} {
			e := c.newEntry(dns.Answer{}, err, stale, now)
			if stale == old && !err.Permanent() {
				if e.err != nil || e.retry != now+remembered || e.expires != old.expires || e.gone != old.gone || e.ageing != old.expires || e.kind() != kindPositive {
					t.Errorf("%s, %s: %+v", kind, why, e)
				}
				continue
			}
			if !errors.Is(e.err, err) || e.expires != now+remembered || e.gone != e.expires || e.kind() != kindFailure || e.keepable(now) != (remembered > 0) {
				t.Errorf("%s, %s: %+v", kind, why, e)
			}
		}
		if kind > 100 {
			t.Fatal("the kinds of failure do not end")
		}
	}
	if e := c.newEntry(dns.Answer{}, errors.New("strange"), nil, now); e.keepable(now) {
		t.Error("a failure of no known kind is stored")
	}
}

// TestEntryWeight: each octet of an entry counts.
func TestEntryWeight(t *testing.T) {
	fixed := storeOverhead + int(unsafe.Sizeof(key{})) + int(unsafe.Sizeof(entry{}))
	record := int(unsafe.Sizeof(dns.Record{}))
	for _, tt := range []struct {
		k    key
		e    *entry
		more int
	}{
		{key{}, &entry{}, 0},
		{key{name: "abc"}, &entry{}, 3},
		{key{}, &entry{answer: dns.Answer{Canonical: "abc", Server: "abcd"}}, 7},
		{key{}, &entry{answer: dns.Answer{Records: make([]dns.Record, 1, 2)}}, 2 * record},
		{key{}, &entry{answer: dns.Answer{Records: []dns.Record{{Host: "abc"}, {Text: "abcd"}}}}, 2*record + 7},
		{key{}, &entry{err: errClosed}, int(unsafe.Sizeof(dns.Error{})) + len(errClosed.Error())},
	} {
		if got := int(tt.e.weight(tt.k)); got != fixed+tt.more {
			t.Errorf("%+v %+v: %d, want %d", tt.k, tt.e.answer, got, fixed+tt.more)
		}
	}
}

// TestEntryUse has each time at which an entry changes, and a moment before.
func TestEntryUse(t *testing.T) {
	e := &entry{expires: 10, retry: 30, gone: 40}
	short := &entry{expires: 10, retry: 30, gone: 20}
	for _, tt := range []struct {
		e                *entry
		now              time.Duration
		usable, standsIn bool
	}{
		{e, 9, true, true}, {e, 10, true, true}, {e, 29, true, true}, {e, 30, false, true}, {e, 39, false, true}, {e, 40, false, false},
		{short, 19, true, true}, {short, 20, false, false}, {&entry{expires: 10, gone: 20}, 10, false, true}, {&entry{expires: 10, gone: 10}, 9, true, true},
	} {
		if tt.e.usable(tt.now) != tt.usable || tt.e.standsIn(tt.now) != tt.standsIn || tt.e.keepable(tt.now) != tt.standsIn {
			t.Errorf("%+v at %d: usable %t, stands in %t, keepable %t", tt.e, tt.now, tt.e.usable(tt.now), tt.e.standsIn(tt.now), tt.e.keepable(tt.now))
		}
	}
	if none := (*entry)(nil); none.usable(0) || none.standsIn(0) {
		t.Error("no entry is of use")
	}
	var d demand
	for n := 1; n <= hotReads+2; n++ {
		if d.read() != (n >= hotReads) {
			t.Errorf("read %d times: hot is %t", n, n < hotReads)
		}
		if got := int(d.reads.Load()); got != min(n, hotReads) {
			t.Errorf("read %d times: counted %d", n, got)
		}
	}
}
