package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/testkit/nameserver"
)

// TestHostileServers: servers that lie, delay, truncate, flood and close do not keep a socket for
// ever.
func TestHostileServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // the scripted servers may still be writing
		c, _ := scripted(t, ClientConfig{Servers: nameserver.HostileServers(), Hedge: 300 * time.Millisecond}, nameserver.Hostile(t))
		nameserver.AskHostile(t, c)
		time.Sleep(time.Minute)
		if n := len(c.slots); n != 0 {
			t.Errorf("%d sockets are still counted", n)
		}
	})
}
