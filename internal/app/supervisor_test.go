package app

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatchdog checks that the daemon tells the supervisor twice in each interval that it is
// alive, and never if the supervisor has no watchdog.
func TestWatchdog(t *testing.T) {
	for interval, want := range map[time.Duration]int{20 * time.Second: 6, 0: 0} {
		synctest.Test(t, func(t *testing.T) {
			s := &supervisor{told: make(chan State, 100), watchdog: interval}
			o := options(io.Discard)
			o.Supervisor = s
			w := newApp(o).newWatchdog()
			time.Sleep(65 * time.Second)
			w.close()
			if len(s.told) != want {
				t.Errorf("interval %s: told %d times, want %d", interval, len(s.told), want)
			}
			for range len(s.told) {
				if got := <-s.told; got != StateAlive {
					t.Errorf("told %q", got)
				}
			}
		})
	}
}
