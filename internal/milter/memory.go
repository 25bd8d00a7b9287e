package milter

import "sync/atomic"

const (
	// sessionCost is what a connection is charged against Limits.Memory from
	// accept to close: its buffers, its goroutine, and a part of a body that
	// is on its way through.
	sessionCost = 64 << 10
	// headerFactor is how often the octets of a message's header and envelope
	// are held: as they came, and taken apart by the Session.
	headerFactor = 3
	// fieldCost is what a field or a recipient costs besides its octets.
	fieldCost = 256
)

// memory is the byte budget of all connections together. New ones are admitted
// into three quarters of it; the rest is for the growth of those that are
// there, so that what has begun is finished.
type memory struct{ reserved atomic.Int64 }

// admit reserves a connection's cost, unless limit (0: none) leaves no room.
func (m *memory) admit(limit int64) bool {
	return m.reserve(sessionCost, limit-limit/4)
}

func (m *memory) reserve(n, limit int64) bool {
	if m.reserved.Add(n) > limit && limit > 0 {
		m.reserved.Add(-n)
		return false
	}
	return true
}

func (m *memory) release(n int64) { m.reserved.Add(-n) }

// short reports whether admit would refuse.
func (m *memory) short(limit int64) bool {
	return limit > 0 && m.reserved.Load()+sessionCost > limit-limit/4
}

// grow charges the message for one more field or argument of n octets. False
// means that the budget is used up. A message that is answered already grows no
// more.
func (l *link) grow(n int) bool {
	if l.held.reply() != "" {
		return true
	}
	cost := headerFactor*int64(n) + fieldCost
	if !l.srv.memory.reserve(cost, l.limits.Memory) {
		return false
	}
	l.message.memory += cost
	return true
}

// letGo makes room for the messages of others: the Session forgets this one,
// which is answered already.
func (l *link) letGo() {
	l.abort()
	l.release()
}

// release gives back what was reserved for the message.
func (l *link) release() {
	l.srv.memory.release(l.message.memory)
	l.message.memory = 0
}
