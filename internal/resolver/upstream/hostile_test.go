package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/testkit/nameserver"
)

// Servers that lie, delay, truncate, flood and close do not hold a socket for ever.
func TestHostileServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // servers may still be at it
		c, _ := scripted(t, ClientConfig{Servers: nameserver.HostileServers(), Hedge: 300 * time.Millisecond}, nameserver.Hostile(t))
		nameserver.AskHostile(t, c)
		time.Sleep(time.Minute)
		if n := len(c.slots); n != 0 {
			t.Errorf("%d sockets are still counted", n)
		}
	})
}
