package milter

import (
	"testing"
	"testing/synctest"
	"time"
)

// What is left out is told once, at the end of the time, and then the ration is
// whole again.
func TestRation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r ration
		told := make(chan int, 10)
		over := func(n int) { told <- n }
		// left is what was told since it was last called; 0 is nothing.
		left := func() (n int) {
			synctest.Wait()
			for len(told) > 0 {
				n += <-told
			}
			return n
		}
		round := func(n, want int) {
			t.Helper()
			got := 0
			for range n {
				if r.take(over) {
					got++
				}
			}
			if got != want {
				t.Errorf("%d of %d were told, want %d", got, n, want)
			}
		}
		round(3, 3)
		time.Sleep(rationTime / 2)
		round(maxLoggedErrors, maxLoggedErrors-3)
		round(5, 0)
		time.Sleep(rationTime/2 - 1)
		if n := left(); n != 0 {
			t.Errorf("told too early: %d", n)
		}
		time.Sleep(time.Nanosecond)
		if n := left(); n != 8 {
			t.Errorf("left out %d, want 8", n)
		}
		round(2*maxLoggedErrors, maxLoggedErrors)
		r.flush(over)
		if n := left(); n != maxLoggedErrors {
			t.Errorf("left out %d, want %d at the flush", n, maxLoggedErrors)
		}
		r.flush(over)
		time.Sleep(2 * rationTime)
		if n := left(); n != 0 {
			t.Errorf("told again: %d", n)
		}
		round(1, 1)
	})
}
