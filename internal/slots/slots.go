// Package slots shares out a number of slots among strangers of whom any may
// want all of them. A [Pool] has so many slots and knows by which client
// network each is held: no network may hold more than it leaves free, so that
// one alone gets half of them, many get equal parts, and there is a slot for
// who comes next. Who finds none waits, and the networks that wait are served
// in turn, whatever the number of their questions.
//
// A request may need a slot in several pools, such as those of its message, of
// an organization and of all: it takes them in that order and waits in one
// queue at a time. Pools that share a [Lock] may be combined.
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
	private bool // of one message: whose slots they are does not matter
	used    int
	tenants map[netip.Prefix]*tenant // that hold a slot or wait for one
	queue   list.List                // of *tenant: those that wait, the next one first
	family  *Family                  // nil: it stands alone
	key     any                      // in the family
}

// Family is a pool for each of any number of messages or organizations, which
// exists as long as somebody has or wants a slot in it.
type Family struct {
	size    int
	private bool
	pools   map[any]*Pool
}

// NewFamily returns a family of pools of size slots that are shared by networks,
// as those of organizations are.
func NewFamily(size int) *Family { return &Family{size: size, pools: map[any]*Pool{}} }

// NewPrivateFamily returns a family of pools of size slots that are not, as those
// of messages are: in each they are given in the order asked.
func NewPrivateFamily(size int) *Family {
	f := NewFamily(size)
	f.private = true
	return f
}

// Of names the family's pool for a key, which is comparable.
func (f *Family) Of(key any) Source { return member{f, key} }

type member struct {
	*Family
	key any
}

// Source is a *Pool or the pool that a [Family] has for a key.
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

// tenant is a network with what it has and wants of a pool.
type tenant struct {
	held    int
	waiting list.List     // of *Slot, in the order they came
	place   *list.Element // in the pool's queue, nil if nothing waits
}

// NewPool returns a pool of size slots that is shared by networks.
func NewPool(size int) *Pool { return &Pool{size: size} }

// Used returns how many slots are held. It is for tests: nobody else may use
// the pool meanwhile.
func (p *Pool) Used() int { return p.used }

// mostPools is the most pools that one request may need.
const mostPools = 3

// Slot is a place in each pool that one request needs. Release gives them back.
type Slot struct {
	lock    *Lock
	network netip.Prefix
	sources [mostPools]Source
	pools   [mostPools]*Pool // of the sources up to the one it waits for
	need    int
	have    int           // places held, those in pools[:have]
	ready   chan struct{} // closed when have is need; nil while nobody waits
	place   *list.Element // in the queue of pools[have]
	queued  *atomic.Bool
}

// Take waits until there is a place in every one of the pools, at most three,
// or ctx ends: then it returns nil. As soon as it has to wait for others, not
// only for a private pool's, it sets queued.
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

// Release gives every place back, and up the one it waits for.
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

// advance takes places as long as there are any. The caller holds the lock.
func (s *Slot) advance() {
	for s.have < s.need {
		p := s.sources[s.have].pool()
		s.pools[s.have] = p
		t := p.tenant(s.network)
		// Who waits stands before who comes, unless they wait for another reason
		// than that all slots are taken: their network has its share.
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

// admits reports whether t may have one more slot: nobody holds more than he
// leaves free.
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

// forget drops what is known of a network that neither has nor wants anything.
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

// free takes one slot back and gives away what there is.
func (p *Pool) free(network netip.Prefix) {
	t := p.tenant(network)
	p.used--
	t.held--
	p.forget(network, t)
	for p.serve() {
	}
}

// serve gives a slot to the first network in the queue that may have one, and
// puts that network at the end. Those it passes over hold slots, so that they
// are no more than the pool has.
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
