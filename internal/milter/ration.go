package milter

import (
	"sync"
	"time"
)

// maxLoggedErrors is how many protocol errors are logged within rationTime. Without this limit,
// anybody who can connect to the socket could fill the log.
const maxLoggedErrors = 10

const rationTime = time.Minute

// ration limits how many log records of one kind are written within rationTime, and counts the
// records that are left out.
type ration struct {
	mu      sync.Mutex
	began   time.Time
	logged  int
	omitted int
	end     *time.Timer // calls flush at the end of rationTime; nil while no record was left out
}

// take reports whether one more record may be logged. If not, the function "over" will be called at
// the end of rationTime with the number of records that were left out.
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

// flush calls the function "over" with the number of records that were left out since the last
// flush, unless that number is 0.
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
