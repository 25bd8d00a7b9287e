package milter

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestRation checks that the function "over" gets the number of records left out, once, at the end
// of rationTime, and that records may be logged again afterwards.
func TestRation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r ration
		logged := make(chan int, 10)
		over := func(n int) { logged <- n }
		// left returns how many records were reported to over since the last call of left.
		left := func() (n int) {
			synctest.Wait()
			for len(logged) > 0 {
				n += <-logged
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
				t.Errorf("%d of %d may be logged, want %d", got, n, want)
			}
		}
		round(3, 3)
		time.Sleep(rationTime / 2)
		round(maxLoggedErrors, maxLoggedErrors-3)
		round(5, 0)
		time.Sleep(rationTime/2 - 1)
		if n := left(); n != 0 {
			t.Errorf("logged too early: %d", n)
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
			t.Errorf("logged again: %d", n)
		}
		round(1, 1)
	})
}
