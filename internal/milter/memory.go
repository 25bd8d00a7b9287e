package milter

import "sync/atomic"

const (
	// sessionCost is what a connection is counted as for Limits.Memory, from accept to
	// close. It stands for the buffers, the goroutine, and a part of a body that is being
	// handled.
	sessionCost = 64 << 10
	// headerFactor is how many copies of a message's header and envelope are held at
	// most: the octets as they came, and what the Session makes of them.
	headerFactor = 3
	// fieldCost is the memory that a field or a recipient takes besides its octets.
	fieldCost = 256
)

// memory is the memory budget of all connections together. New connections may fill three
// quarters of it. The rest is for messages of the connections that exist, so that a message
// that has begun can be finished.
type memory struct{ reserved atomic.Int64 }

// admit reserves the cost of a connection. It reports false if limit leaves no room for it;
// a limit of 0 means no bound.
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

// short reports whether admit would refuse a connection.
func (m *memory) short(limit int64) bool {
	return limit > 0 && m.reserved.Load()+sessionCost > limit-limit/4
}

// grow reserves memory for one more field or argument of n octets. It reports false if the
// budget is used up. If the message has its reply already, nothing more of it is held, and
// grow reserves nothing.
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

// letGo frees the memory of a message that has its reply already: the Session forgets the
// message.
func (l *link) letGo() {
	l.abort()
	l.release()
}

// release gives back what was reserved for the message.
func (l *link) release() {
	l.srv.memory.release(l.message.memory)
	l.message.memory = 0
}
