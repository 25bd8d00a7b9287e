package milter

import (
	"sync"
	"time"
)

// maxLoggedErrors is how many protocol errors are logged within rationTime: who
// reaches the socket could else fill the log with connections.
const maxLoggedErrors = 10

const rationTime = time.Minute

// ration lets so many be told, and counts what is left out.
type ration struct {
	mu      sync.Mutex
	began   time.Time
	logged  int
	omitted int
	end     *time.Timer // calls over; nil while nothing is left out
}

// take reports whether one more may be told. Where it may not, over is called
// later with how many were left out.
func (r *ration) take(over func(left int)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.began) >= rationTime {
		r.began, r.logged = now, 0
	}
	if r.logged < maxLoggedErrors {
		r.logged++
		return true
	}
	if r.omitted++; r.omitted == 1 {
		r.end = time.AfterFunc(r.began.Add(rationTime).Sub(now), func() { r.flush(over) })
	}
	return false
}

// flush calls over with how many were left out so far, if any.
func (r *ration) flush(over func(left int)) {
	r.mu.Lock()
	left := r.omitted
	if r.omitted = 0; r.end != nil {
		r.end.Stop()
		r.end = nil
	}
	r.mu.Unlock()
	if left > 0 {
		over(left)
	}
}
