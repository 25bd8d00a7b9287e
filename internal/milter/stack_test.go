package milter

import "testing"

// TestStackGrows checks that the arrays of growForSession and growForMessage are on the stack
// and not on the heap.
func TestStackGrows(t *testing.T) {
	for _, use := range []bool{false, true} {
		if n := testing.AllocsPerRun(10, func() {
			growForSession(use)
			growForMessage(use)
		}); n != 0 {
			t.Errorf("%v: %.0f allocations", use, n)
		}
	}
}
