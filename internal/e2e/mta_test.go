package e2e

import (
	"testing"
	"time"
)

// mta is what the tests need to know of the program a slot belongs to.
type mta interface {
	// dial connects to the slot such that the MTA sees p, and greets. An error
	// means that no session came about; the server's refusal is a *refusal.
	dial(s slot, p peer) (*session, error)
	// clientName is what the MTA tells the daemon of p's name.
	clientName(p peer) string
	// said is what the MTA logged about the slot.
	said(s slot) string
	// holds tells whether message id is kept from delivery; it is cheap.
	holds(id string) bool
	// held waits until message id is kept from delivery and returns it.
	held(t *testing.T, id string) delivery
}

// slots are the listeners no test uses at the moment.
type slots map[kind]chan slot

// take gives the test a listener to itself.
func (s slots) take(t *testing.T, k kind) slot {
	t.Helper()
	select {
	case sl := <-s[k]:
		t.Cleanup(func() { s[k] <- sl })
		return sl
	case <-time.After(patience):
		t.Fatalf("no %s listener became free", k)
		return slot{}
	}
}

// behindEach runs test behind each MTA with a daemon of these settings, or
// with the one that tests share if there are none.
func behindEach(t *testing.T, k kind, c settings, test func(t *testing.T, m *mx)) {
	eachMTA(t, func(t *testing.T, from slots) {
		if c == nil {
			test(t, sharedMX(t, from))
		} else {
			test(t, newMXAt(t, from.take(t, k), c))
		}
	})
}

// eachMTA runs test with Postfix's listeners and with Sendmail's.
func eachMTA(t *testing.T, test func(t *testing.T, from slots)) {
	t.Parallel()
	t.Run("Postfix", func(t *testing.T) {
		s := shared(t)
		t.Parallel()
		test(t, s.postfix.slots)
	})
	t.Run("Sendmail", func(t *testing.T) {
		m := sharedSendmail(t)
		t.Parallel()
		test(t, m.slots)
	})
}
