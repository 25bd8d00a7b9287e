package slots

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func network(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, byte(n >> 8), byte(n), 0}), 24)
}

// crowd makes n requests of one network at once. Each Slot is sent to the channel as soon as its
// request has it.
func crowd(ctx context.Context, l *Lock, n, net int, from ...Source) chan *Slot {
	got := make(chan *Slot, n)
	for range n {
		go func() { got <- l.Take(ctx, network(net), new(atomic.Bool), from...) }()
		synctest.Wait()
	}
	return got
}

// TestNobodyHoldsMoreThanHeLeaves: one network gets half of the slots (rounded up), and several
// networks get nearly equal parts. If slots are left, a new network gets one at once.
func TestNobodyHoldsMoreThanHeLeaves(t *testing.T) {
	for _, tt := range []struct{ size, networks, least, most, free int }{
		{96, 1, 48, 48, 48}, {8, 1, 4, 4, 4}, {7, 1, 4, 4, 3}, {2, 1, 1, 1, 1}, {1, 1, 1, 1, 0},
		{128, 2, 43, 43, 42}, {384, 45, 8, 9, 8}, {96, 45, 2, 3, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			var l Lock
			p := NewPool(tt.size)
			ctx, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			for range tt.size { // the networks take turns, each with one request at a time
				for i := range tt.networks {
					go l.Take(ctx, network(i), new(atomic.Bool), p)
					synctest.Wait()
				}
			}
			for i := range tt.networks {
				if held := p.tenants[network(i)].held; held < tt.least || held > tt.most {
					t.Errorf("%d networks and %d slots: one holds %d", tt.networks, tt.size, held)
				}
			}
			if free := tt.size - p.used; free != tt.free {
				t.Errorf("%d networks and %d slots: %d are free", tt.networks, tt.size, free)
			}
			var queued atomic.Bool
			if s := l.Take(ctx, network(9999), &queued, p); tt.free > 0 && (s == nil || queued.Load()) {
				t.Errorf("%d networks and %d slots: a new network has to wait", tt.networks, tt.size)
			}
			<-ctx.Done()
		})
	}
}

// TestTurns: waiting networks take turns, no matter how many requests each network has. The
// requests of one network are served in the order of their arrival.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		p := NewPool(2)
		var queued atomic.Bool
		first, second := l.Take(t.Context(), network(1), &queued, p), l.Take(t.Context(), network(2), &queued, p)
		if queued.Load() {
			t.Error("the first two had to wait")
		}
		var mu sync.Mutex
		var order []string
		ask := func(net, n int) {
			for i := range n {
				go func() {
					s := l.Take(t.Context(), network(net), new(atomic.Bool), p)
					mu.Lock()
					order = append(order, fmt.Sprintf("%d.%d", net, i))
					mu.Unlock()
					time.Sleep(time.Second)
					s.Release()
				}()
				synctest.Wait()
			}
		}
		ask(1, 4)
		ask(3, 1)
		ask(4, 2)
		first.Release()
		time.Sleep(time.Second / 2)
		second.Release()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, want := fmt.Sprint(order), "[1.0 3.0 4.0 1.1 4.1 1.2 1.3]"; got != want {
			t.Errorf("served %s, want %s", got, want)
		}
		if p.used != 0 || len(p.tenants) != 0 || p.queue.Len() != 0 {
			t.Errorf("left: %+v", p)
		}
	})
}

// TestTimeEnds: a request whose context ends while it waits leaves nothing behind in any pool.
func TestTimeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		own, all, orgs := NewPrivateFamily(1), NewPool(4), NewFamily(1)
		full := l.Take(t.Context(), network(1), nil, own.Of(1), orgs.Of("a.example"), all)
		for what, from := range map[string][]Source{
			"the message's own": {own.Of(1), orgs.Of("b.example"), all},
			"the organization":  {own.Of(2), orgs.Of("a.example"), all},
		} {
			var queued atomic.Bool
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begin := time.Now()
			if s := l.Take(ctx, network(2), &queued, from...); s != nil || time.Since(begin) != time.Second {
				t.Errorf("%s: got a slot, or after %v", what, time.Since(begin))
			}
			if queued.Load() != (what == "the organization") {
				t.Errorf("%s: queued by others: %v", what, queued.Load())
			}
			cancel()
		}
		if all.used != 1 || len(orgs.pools) != 1 || len(own.pools) != 1 {
			t.Errorf("%d used, %d organizations", all.used, len(orgs.pools))
		}
		full.Release()
		full.Release() // a second Release does nothing
		if all.used != 0 || len(own.pools) != 0 || len(orgs.pools) != 0 || len(all.tenants) != 0 {
			t.Errorf("%d used, %d organizations", all.used, len(orgs.pools))
		}
	})
}

// TestPoolsInTurn: a request waits in one pool at a time, in the order of the pools. Many requests
// of one stage therefore do not fill the queue of an organization, and many requests for one
// organization do not fill the queue of the pool of all messages.
func TestPoolsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		all, orgs, own := NewPool(32), NewFamily(4), NewPrivateFamily(2)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		for i := range 45 { // each message comes from another network, and all name one organization
			crowd(ctx, &l, 5, i, own.Of(i), orgs.Of("silent.example"), all)
			if own.pools[i].used > 2 {
				t.Errorf("a message holds %d", own.pools[i].used)
			}
		}
		if all.used > 4 {
			t.Errorf("an organization holds %d", all.used)
		}
		var queued atomic.Bool
		if l.Take(ctx, network(100), &queued, orgs.Of("bank.example"), all); queued.Load() {
			t.Error("another organization has to wait")
		}
	})
}

// TestPrivate: a private pool ignores networks, so one network can have all slots.
func TestPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lock
		own := NewPrivateFamily(3)
		got := crowd(t.Context(), &l, 5, 1, own.Of("m"))
		if used := own.pools["m"].used; used != 3 || len(got) != 3 {
			t.Fatalf("%d used", used)
		}
		for range 5 {
			(<-got).Release()
			synctest.Wait()
		}
		if len(own.pools) != 0 {
			t.Errorf("left: %v", own.pools)
		}
	})
}

// TestAny makes random requests and releases. No pool gives more slots than it has. No request
// waits although it may take a slot. At the end every pool is empty.
func TestAny(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			var l Lock
			rng := rand.New(rand.NewPCG(seed, 1))
			pools := []*Pool{NewPool(5), NewPool(9)}
			orgs := NewFamily(3)
			var all sync.WaitGroup
			for range 300 {
				net, org, pool := rng.IntN(12), fmt.Sprint(rng.IntN(6)), pools[rng.IntN(2)]
				patience, hold := time.Duration(rng.IntN(2000))*time.Millisecond, time.Duration(rng.IntN(300))*time.Millisecond
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					if s := l.Take(ctx, network(net), new(atomic.Bool), orgs.Of(org), pool); s != nil {
						time.Sleep(hold)
						s.Release()
					}
				})
				time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
				synctest.Wait()
				l.mu.Lock()
				check(t, pools[0], pools[1])
				for _, p := range orgs.pools {
					check(t, p)
				}
				l.mu.Unlock()
			}
			all.Wait()
			if pools[0].used+pools[1].used+len(pools[0].tenants)+len(pools[1].tenants)+len(orgs.pools) != 0 {
				t.Errorf("seed %d: some slots were not given back", seed)
			}
		})
	}
}

func check(t *testing.T, pools ...*Pool) {
	t.Helper()
	for _, p := range pools {
		held, queued := 0, 0
		for network, x := range p.tenants {
			held += x.held
			if x.waiting.Len() > 0 {
				queued++
			}
			if x.waiting.Len() > 0 && p.admits(x) {
				t.Errorf("%s waits with %d of %d slots used", network, p.used, p.size)
			}
			if (x.waiting.Len() > 0) != (x.place != nil) || x.waiting.Len() == 0 && x.held == 0 {
				t.Errorf("%s: %+v", network, x)
			}
		}
		if held != p.used || p.used > p.size || queued != p.queue.Len() {
			t.Errorf("%d held, %d used of %d, %d in the queue of %d", held, p.used, p.size, queued, p.queue.Len())
		}
	}
}

// BenchmarkTake measures a request that does not have to wait.
func BenchmarkTake(b *testing.B) {
	var l Lock
	all, orgs := NewPool(96), NewFamily(8)
	b.ReportAllocs()
	var queued atomic.Bool
	for b.Loop() {
		l.Take(b.Context(), network(1), &queued, orgs.Of("a.example"), all).Release()
	}
}
