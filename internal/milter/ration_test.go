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
		var left []int
		over := func(n int) { left = append(left, n) }
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
		round(maxToldErrors, maxToldErrors-3)
		round(5, 0)
		time.Sleep(rationTime/2 - 1)
		synctest.Wait()
		if left != nil {
			t.Errorf("told too early: %v", left)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if len(left) != 1 || left[0] != 8 {
			t.Errorf("left out %v, want 8", left)
		}
		round(2*maxToldErrors, maxToldErrors)
		r.flush(over)
		r.flush(over)
		time.Sleep(2 * rationTime)
		synctest.Wait()
		if len(left) != 2 || left[1] != maxToldErrors {
			t.Errorf("left out %v, want %d at the flush and then nothing", left, maxToldErrors)
		}
		round(1, 1)
	})
}
