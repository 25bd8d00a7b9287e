package milter

import "sync/atomic"

const (
	// sessionCost is how many octets of Limits.Memory a connection reserves from the time when it
	// is accepted until it is closed. It covers the buffers, the goroutine, and the part of a body
	// that is being handled. A connection that is refused reserves nothing.
	sessionCost = 64 << 10
	// headerFactor is how many copies of a message's header and envelope are held at most: the
	// octets from the MTA, and the copies that the Session makes.
	headerFactor = 3
	// fieldCost is the memory that a field or a recipient takes in addition to its octets.
	fieldCost = 256
)

// memory counts what all connections together have reserved of Limits.Memory. A new connection is
// served only if the total, including this connection, is at most three quarters of the limit. The
// last quarter is for messages of existing connections, so that a message that has begun can be
// finished.
type memory struct{ reserved atomic.Int64 }

// admit reserves sessionCost for a connection. It returns false, and reserves nothing, if limit
// does not allow it. A limit of 0 means no limit.
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

// short reports whether admit would now refuse a connection.
func (m *memory) short(limit int64) bool {
	return limit > 0 && m.reserved.Load()+sessionCost > limit-limit/4
}

// grow reserves memory for one more field or argument of n octets. It returns false if
// Limits.Memory does not allow it. If the reply to the message is decided, grow reserves nothing
// and returns true, because the Session gets nothing more of the message.
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

// letGo makes the Session forget a message whose reply is decided, and frees the memory of the
// message.
func (l *link) letGo() {
	l.abort()
	l.release()
}

// release frees the memory that was reserved for the message.
func (l *link) release() {
	l.srv.memory.release(l.message.memory)
	l.message.memory = 0
}
