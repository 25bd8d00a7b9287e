// Package slots shares a limited number of slots between client networks, each of which may want
// all of them. A [Pool] has a number of slots and knows which network holds each. A network may
// take a slot only while it holds fewer slots than are free. For example, a network alone in a pool
// of 10 can take 5: after these, 5 are held and 5 are free. Several networks get nearly equal parts,
// and a new network usually finds a free slot. A request that may not take a slot waits. The networks that wait take turns,
// no matter how many requests each network has. A network that may not take a slot now is passed
// over.
//
// A request may need a slot in several pools: in the pool of its stage, in the pool of an
// organization and in the pool of all messages. (A stage is a part of the work for one message or
// connection.) It takes the slots in this order, and so waits in one queue at a time. Pools that
// share a [Lock] may be combined in one request.
//
// A private pool belongs to one stage. It does not distinguish networks, so only the order of the
// requests counts.
//
// The package knows neither DNS nor mail. Networks, stages and organizations are only keys.
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

// Pool is a number of slots that are given to requests.
type Pool struct {
	size    int
	private bool // the pool of one stage: the networks of its requests do not matter
	used    int
	tenants map[netip.Prefix]*tenant // the networks that hold a slot or wait for one
	queue   list.List                // of *tenant: the networks that wait. The first one that may take a slot is served next
	family  *Family                  // nil if the pool is not in a family
	key     any                      // the key of the pool in its family
}

// Family has one pool for each key. A key stands for a stage or an organization. A pool exists only
// while a request holds a slot in it or waits for one.
type Family struct {
	size    int
	private bool
	pools   map[any]*Pool
}

// NewFamily returns a family of pools of size slots each. Client networks share the slots of each
// pool. It is meant for organizations.
func NewFamily(size int) *Family { return &Family{size: size, pools: map[any]*Pool{}} }

// NewPrivateFamily returns a family of private pools of size slots each. It is meant for stages:
// each pool gives its slots in the order of the requests.
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

// tenant is a client network in a pool, with the slots it holds and the requests that wait. A
// private pool has one tenant for all networks.
type tenant struct {
	held    int
	waiting list.List     // of *Slot: the requests that wait, in the order of their arrival
	place   *list.Element // the tenant's element in the pool's queue; nil if no request waits
}

// NewPool returns a pool of size slots that client networks share.
func NewPool(size int) *Pool { return &Pool{size: size} }

// Used returns how many slots are held. It is for tests only: it does not lock, so the pool must
// not be in use at the same time.
func (p *Pool) Used() int { return p.used }

// mostPools is the highest number of pools that one request may need.
const mostPools = 3

// Slot is one request and the slots that it holds, one in each pool it needs. Call Release to give
// the slots back.
type Slot struct {
	lock    *Lock
	network netip.Prefix
	sources [mostPools]Source
	pools   [mostPools]*Pool // the pools of the field sources, set one after the other up to the pool in which the request waits
	need    int
	have    int           // number of slots held: one in each of pools[:have]
	ready   chan struct{} // closed when all slots are held (have == need); nil if Take did not have to wait
	place   *list.Element // the request's element in a queue of pools[have]; nil if it does not wait
	queued  *atomic.Bool
}

// Take takes a slot in each of the pools, of which there may be up to three, and waits if
// necessary. It returns nil if ctx ends first. It sets the flag "queued" if it has to wait in a
// shared pool, but not if it has to wait in a private pool.
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

// Release gives all slots back. If the request still waits, it stops waiting.
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

// advance takes slots in the pools in order, until it has all or has to wait. The caller holds the
// lock.
func (s *Slot) advance() {
	for s.have < s.need {
		p := s.sources[s.have].pool()
		s.pools[s.have] = p
		t := p.tenant(s.network)
		// Earlier requests of the same network go first. If slots are free although requests of
		// other networks wait, those networks hold so many slots that they may not take one now.
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

// admits reports whether t may take one more slot. In a shared pool, t must hold fewer slots than
// are free.
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

// forget removes t if it holds no slot and no request of it waits.
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

// wait puts s at the end of the queue of t.
func (p *Pool) wait(t *tenant, s *Slot) {
	s.place = t.waiting.PushBack(s)
	if !p.private {
		s.queued.Store(true)
	}
	if t.place == nil {
		t.place = p.queue.PushBack(t)
	}
}

// leave removes s from the queue of its network.
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

// free takes back one slot of network and gives free slots to requests that wait.
func (p *Pool) free(network netip.Prefix) {
	t := p.tenant(network)
	p.used--
	t.held--
	p.forget(network, t)
	for p.serve() {
	}
}

// serve gives a slot to the first network in the queue that may take one, and moves that network to
// the end of the queue. It reports whether it gave a slot. Every network that it passes over holds
// at least one slot, so it passes over no more networks than the pool has slots.
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
