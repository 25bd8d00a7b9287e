// Package slots shares out a number of slots among strangers, of whom each may want
// all of them. A [Pool] has a number of slots and knows which client network holds
// each. No network may hold more slots than it leaves free. One network alone
// therefore gets half of the slots, many networks get equal parts, and a newcomer
// still finds a slot. A request that finds no slot waits. The waiting networks are
// served in turn, however many requests each of them has.
//
// A request may need a slot in several pools, such as the pool of its message, that
// of an organization and that of all messages. It takes them in that order and waits
// in one queue at a time. Pools that share a [Lock] may be combined.
//
// The package knows neither DNS nor mail; a network and an organization are only
// keys.
package slots

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Lock guards the pools that may be combined in one [Lock.Take].
type Lock struct{ mu sync.Mutex }

// Pool is a number of slots.
type Pool struct {
	size    int
	private bool // of one message, so the networks that hold the slots do not matter
	used    int
	tenants map[netip.Prefix]*tenant // the networks that hold a slot or wait for one
	queue   list.List                // of *tenant: the networks that wait; the first one is served next
	family  *Family                  // nil if the pool is not in a family
	key     any                      // in the family
}

// Family has a pool for each message or each organization. A pool exists as long as
// a request holds or wants a slot in it.
type Family struct {
	size    int
	private bool
	pools   map[any]*Pool
}

// NewFamily returns a family of pools of size slots each, which client networks
// share. Organizations need this kind.
func NewFamily(size int) *Family { return &Family{size: size, pools: map[any]*Pool{}} }

// NewPrivateFamily returns a family of pools of size slots each, which belong to one
// message. Each pool gives its slots in the order of the requests.
func NewPrivateFamily(size int) *Family {
	f := NewFamily(size)
	f.private = true
	return f
}

// Of returns the family's pool for a key. The key must be comparable.
func (f *Family) Of(key any) Source { return member{f, key} }

type member struct {
	*Family
	key any
}

// Source is a *Pool, or the pool that [Family.Of] returns.
type Source interface{ pool() *Pool }

func (p *Pool) pool() *Pool { return p }

func (m member) pool() *Pool {
	p := m.pools[m.key]
	if p == nil {
		p = &Pool{size: m.size, private: m.private, family: m.Family, key: m.key}
		m.pools[m.key] = p
	}
	return p
}

// tenant is a client network in a pool: what it holds and what it waits for.
type tenant struct {
	held    int
	waiting list.List     // of *Slot, in the order they came
	place   *list.Element // in the pool's queue, nil if nothing waits
}

// NewPool returns a pool of size slots that client networks share.
func NewPool(size int) *Pool { return &Pool{size: size} }

// Used returns how many slots are held. It is for tests, because it does not lock:
// the pool must not be in use meanwhile.
func (p *Pool) Used() int { return p.used }

// mostPools bounds the pools that one request may need.
const mostPools = 3

// Slot is a request's place in each of the pools it needs. Call Release to give the
// places back.
type Slot struct {
	lock    *Lock
	network netip.Prefix
	sources [mostPools]Source
	pools   [mostPools]*Pool // the pools of the sources, up to the one it waits for
	need    int
	have    int           // number of places held: one in each of pools[:have]
	ready   chan struct{} // closed when have reaches need; nil if Take did not have to wait
	place   *list.Element // in the queue of pools[have]
	queued  *atomic.Bool
}

// Take waits for a place in every one of the pools, of which there may be three. It
// returns nil if ctx ends first. It sets queued if it has to wait in a shared pool;
// waiting in a private pool does not count.
func (l *Lock) Take(ctx context.Context, network netip.Prefix, queued *atomic.Bool, from ...Source) *Slot {
	s := &Slot{lock: l, network: network, need: len(from), queued: queued}
	copy(s.sources[:], from)
	l.mu.Lock()
	s.advance()
	if s.have == s.need {
		l.mu.Unlock()
		return s
	}
	s.ready = make(chan struct{})
	l.mu.Unlock()
	select {
	case <-s.ready:
		return s
	case <-ctx.Done():
		s.Release()
		return nil
	}
}

// Release gives every place back, and stops waiting for further ones.
func (s *Slot) Release() {
	s.lock.mu.Lock()
	defer s.lock.mu.Unlock()
	if s.place != nil {
		s.pools[s.have].leave(s)
	}
	for s.have > 0 {
		s.have--
		s.pools[s.have].free(s.network)
	}
	s.need = 0
}

// advance takes places in the pools in order, until one has none free. The caller
// holds the lock.
func (s *Slot) advance() {
	for s.have < s.need {
		p := s.sources[s.have].pool()
		s.pools[s.have] = p
		t := p.tenant(s.network)
		// A network's earlier requests go first. Requests of other networks may still
		// wait although slots are free: those networks have their share already.
		if t.waiting.Len() > 0 || !p.admits(t) {
			p.wait(t, s)
			return
		}
		p.take(t)
		s.have++
	}
	if s.ready != nil {
		close(s.ready)
	}
}

// admits reports whether t may take one more slot. A network may not hold more
// slots than it leaves free.
func (p *Pool) admits(t *tenant) bool {
	free := p.size - p.used
	return free > 0 && (p.private || t.held < free)
}

func (p *Pool) take(t *tenant) {
	p.used++
	t.held++
}

func (p *Pool) tenant(network netip.Prefix) *tenant {
	if p.private {
		network = netip.Prefix{}
	}
	t := p.tenants[network]
	if t == nil {
		if p.tenants == nil {
			p.tenants = map[netip.Prefix]*tenant{}
		}
		t = &tenant{}
		p.tenants[network] = t
	}
	return t
}

// forget removes the tenant of a network that neither holds nor wants a slot.
func (p *Pool) forget(network netip.Prefix, t *tenant) {
	if p.private {
		network = netip.Prefix{}
	}
	if t.held == 0 && t.waiting.Len() == 0 {
		delete(p.tenants, network)
		if len(p.tenants) == 0 && p.family != nil {
			delete(p.family.pools, p.key)
		}
	}
}

// wait puts s at the end of its network's queue.
func (p *Pool) wait(t *tenant, s *Slot) {
	s.place = t.waiting.PushBack(s)
	if !p.private {
		s.queued.Store(true)
	}
	if t.place == nil {
		t.place = p.queue.PushBack(t)
	}
}

// leave takes s out of its network's queue.
func (p *Pool) leave(s *Slot) {
	t := p.tenant(s.network)
	t.waiting.Remove(s.place)
	s.place = nil
	if t.waiting.Len() == 0 && t.place != nil {
		p.queue.Remove(t.place)
		t.place = nil
	}
	p.forget(s.network, t)
}

// free takes one slot back and serves those that wait.
func (p *Pool) free(network netip.Prefix) {
	t := p.tenant(network)
	p.used--
	t.held--
	p.forget(network, t)
	for p.serve() {
	}
}

// serve gives a slot to the first network in the queue that may have one, and moves
// that network to the end of the queue. It reports whether it gave one. Every
// network that it passes over holds a slot, so the loop is no longer than the pool
// is large.
func (p *Pool) serve() bool {
	for e := p.queue.Front(); e != nil && p.used < p.size; e = e.Next() {
		t := e.Value.(*tenant)
		if !p.admits(t) {
			continue
		}
		s := t.waiting.Remove(t.waiting.Front()).(*Slot)
		s.place = nil
		if t.waiting.Len() == 0 {
			p.queue.Remove(e)
			t.place = nil
		} else {
			p.queue.MoveToBack(e)
		}
		p.take(t)
		s.have++
		s.advance()
		return true
	}
	return false
}
