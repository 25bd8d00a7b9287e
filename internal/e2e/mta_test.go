package e2e

import (
	"testing"
	"time"
)

// mta is Postfix or Sendmail, with the operations that the tests need.
type mta interface {
	// dial connects to the slot so that the MTA sees the client p, and sends the greeting. If the
	// server refuses the session, the error is a *refusal.
	dial(s slot, p peer) (*session, error)
	// clientName returns the name of client p that the MTA tells the daemon.
	clientName(p peer) string
	// said returns the last lines of the MTA's log, for use in failure messages. Postfix logs the
	// name of the slot, so for Postfix these are only the lines of the slot.
	said(s slot) string
	// holds reports whether the MTA has put message id in quarantine. It only looks for a file, so
	// tests can call it often.
	holds(id string) bool
	// held waits until the MTA has put message id in quarantine, and returns the message.
	held(t *testing.T, id string) delivery
}

// slots holds, for each kind, the listeners that no test is using at the moment.
type slots map[kind]chan slot

// take reserves a listener for the test until the test ends.
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

// behindEach runs test once behind Postfix and once behind Sendmail. Each run gets a daemon with
// the settings c, or the shared daemon if c is nil.
func behindEach(t *testing.T, k kind, c settings, test func(t *testing.T, m *mx)) {
	eachMTA(t, func(t *testing.T, from slots) {
		if c == nil {
			test(t, sharedMX(t, from))
		} else {
			test(t, newMXAt(t, from.take(t, k), c))
		}
	})
}

// eachMTA runs test twice: with the listeners of Postfix, and with those of Sendmail.
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
