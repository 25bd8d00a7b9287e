package resolver

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
)

// slow is a Resolver whose answer to the n-th query is 192.0.2.n, and comes after the n-th delay.
type slow struct {
	delays []time.Duration
	asked  atomic.Int32
	open   atomic.Int32 // queries under way
}

func (s *slow) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	n := s.asked.Add(1) - 1
	s.open.Add(1)
	defer s.open.Add(-1)
	select {
	case <-time.After(s.delays[n]):
	case <-ctx.Done():
		return dns.Answer{}, dns.OutOfTime(s, ctx.Err(), name, typ)
	}
	addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(n + 1)})
	return dns.Answer{Status: dns.NoError, TTL: time.Minute, Records: []dns.Record{{Addr: addr}}}, nil
}

func (*slow) Peek(dns.Name, dns.Type) (dns.Answer, bool)      { return dns.Answer{}, false }
func (*slow) Expect(context.Context, dns.Name, dns.Type) bool { return false }
func (*slow) Queued() bool                                    { return false }

func address(t *testing.T, c *Cache, patience time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := c.Lookup(ctx, "a.example", dns.TypeA)
	if err != nil {
		return err.Error()
	}
	return a.Records[0].Addr.String()
}

// TestPurgeUnderWay purges the cache while a query is under way. The query began with a lookup whose
// time was over, so it goes on by itself. A lookup after Purge must neither join it nor find its answer.
func TestPurgeUnderWay(t *testing.T) {
	for _, c := range []struct {
		name     string
		size     int64
		old, new time.Duration // how long the queries take
		shared   bool          // the lookups after Purge come by a Cache that shares the stores
		purged   bool          // Purge comes by that Cache, but the lookups do not
	}{
		{"old answer first", 1 << 20, 3 * time.Second, 5 * time.Second, false, false},
		{"old answer last", 1 << 20, 9 * time.Second, 2 * time.Second, false, false},
		{"nothing is stored", 0, 3 * time.Second, 5 * time.Second, false, false},
		{"shared stores, old answer first", 1 << 20, 3 * time.Second, 5 * time.Second, true, false},
		{"shared stores, old answer last", 1 << 20, 9 * time.Second, 2 * time.Second, true, false},
		{"shared stores, purged by the other, old answer first", 1 << 20, 3 * time.Second, 5 * time.Second, false, true},
		{"shared stores, purged by the other, old answer last", 1 << 20, 9 * time.Second, 2 * time.Second, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := cacheDefaults()
				cfg.Size = c.size
				next := &slow{delays: []time.Duration{c.old, c.new, 0}}
				before := cached(t, cfg, next)
				other := before.with(next)
				t.Cleanup(other.Close)
				after, purger := before, before
				if c.shared {
					after, purger = other, other
				}
				if c.purged {
					purger = other
				}
				address(t, before, time.Second)
				purger.Purge()
				if got := address(t, after, time.Minute); got != "192.0.2.2" {
					t.Errorf("the lookup after Purge got %s", got)
				}
				if synctest.Wait(); next.open.Load() != 0 && !c.shared {
					t.Error("the old query goes on although another one replaced it")
				}
				time.Sleep(20 * time.Second) // until the old query has ended
				want := "192.0.2.2"
				if c.size == 0 {
					want = "192.0.2.3"
				}
				if got := address(t, after, time.Minute); got != want {
					t.Errorf("later: got %s, want %s", got, want)
				}
				if len(after.flights) != 0 || after.orphans.Len() != 0 {
					t.Errorf("%d queries, %d orphans left", len(after.flights), after.orphans.Len())
				}
			})
		})
	}
}

// TestPurgeGivesUp checks that a query for which no lookup waits ends when it is replaced after Purge,
// and that a lookup that waits still gets its answer.
func TestPurgeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &slow{delays: []time.Duration{4 * time.Second, time.Second, 0}}
		c := cached(t, cacheDefaults(), next)
		var got string
		go func() { got = address(t, c, time.Minute) }()
		synctest.Wait()
		c.Purge()
		if second := address(t, c, time.Minute); second != "192.0.2.2" {
			t.Errorf("after Purge: %s", second)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got != "192.0.2.1" {
			t.Errorf("the lookup from before Purge got %s", got)
		}
	})
}

// TestPurgedEndsFirst: the end of a query that was replaced after Purge does not end the one that replaced it.
func TestPurgedEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &slow{delays: []time.Duration{2 * time.Second, 5 * time.Second, 0}}
		c := cached(t, cacheDefaults(), next)
		go address(t, c, time.Minute)
		synctest.Wait()
		c.Purge()
		go address(t, c, time.Minute)
		time.Sleep(3 * time.Second)
		if got := address(t, c, time.Minute); got != "192.0.2.2" || next.asked.Load() != 2 {
			t.Errorf("got %s, asked %d times", got, next.asked.Load())
		}
	})
}

// TestPurgeSparesTheNew: a query that began after the last Purge is not abandoned.
func TestPurgeSparesTheNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cached(t, cacheDefaults(), &slow{delays: []time.Duration{time.Minute}})
		c.Purge()
		address(t, c, time.Second) // the query goes on
		ending := c.abandonAll()
		if flights, orphans, _ := c.underWay(); len(ending) != 0 || flights != 1 || orphans != 1 {
			t.Errorf("%d are ended, %d go on, %d of them orphans", len(ending), flights, orphans)
		}
	})
}

// TestPurgeWaits: Purge returns when the queries that it ended have ended, and does not wait for one for which a
// lookup waits. That one ends when its last lookup leaves.
func TestPurgeWaits(t *testing.T) {
	for _, tt := range []struct {
		why                string
		patience           time.Duration // of the lookup, which begins a second before Purge
		takes, ended, open time.Duration // of Purge; when the query has ended at last, after Purge; until when it has not
	}{
		{"no lookup waits", time.Millisecond, lingers, 0, 0},
		{"a lookup waits", 3 * time.Second, 0, 2*time.Second + lingers, 2*time.Second + lingers - 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			next := &lingering{}
			c := cached(t, cacheDefaults(), next)
			go address(t, c, tt.patience)
			time.Sleep(time.Second)
			begin := time.Now()
			c.Purge()
			if took := time.Since(begin); took != tt.takes {
				t.Errorf("%s: Purge took %s", tt.why, took)
			}
			if tt.open > 0 {
				if time.Sleep(tt.open); next.open.Load() != 1 {
					t.Errorf("%s: the query ended while the lookup waited", tt.why)
				}
			}
			time.Sleep(tt.ended - tt.open)
			if synctest.Wait(); next.open.Load() != 0 {
				t.Errorf("%s: the query is still under way", tt.why)
			}
		})
	}
}

// lingers is how long a query of lingering goes on after its end.
const lingers = time.Second

// lingering is a Resolver that never answers, and needs a moment to end a query.
type lingering struct {
	dns.LookupOnly
	open atomic.Int32
}

func (l *lingering) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	l.open.Add(1)
	defer l.open.Add(-1)
	<-ctx.Done()
	time.Sleep(lingers)
	return dns.Answer{}, dns.OutOfTime(l, ctx.Err(), name, typ)
}
