package milter

import "testing"

// TestMemory checks when memory is given out, at the edges of the limit.
func TestMemory(t *testing.T) {
	const limit = 400 << 10 // a quarter is left for messages
	for _, tt := range []struct {
		reserved int64
		limit    int64
		admits   bool // a connection
		reserves bool // one octet
	}{
		{0, limit, true, true},
		{limit*3/4 - sessionCost, limit, true, true},
		{limit*3/4 - sessionCost + 1, limit, false, true},
		{limit - 1, limit, false, true},
		{limit, limit, false, false},
		{limit * 10, 0, true, true}, // no limit
	} {
		var m memory
		m.reserved.Store(tt.reserved)
		if m.short(tt.limit) == tt.admits {
			t.Errorf("%d of %d: short %t", tt.reserved, tt.limit, !tt.admits)
		}
		after := tt.reserved
		if got := m.admit(tt.limit); got != tt.admits {
			t.Errorf("%d of %d: admits %t", tt.reserved, tt.limit, got)
		} else if got {
			after += sessionCost
			m.release(sessionCost)
			after -= sessionCost
		}
		if got := m.reserve(1, tt.limit); got != tt.reserves {
			t.Errorf("%d of %d: reserves %t", tt.reserved, tt.limit, got)
		} else if got {
			after++
		}
		if got := m.reserved.Load(); got != after {
			t.Errorf("%d of %d: %d are reserved, want %d", tt.reserved, tt.limit, got, after)
		}
	}
}
