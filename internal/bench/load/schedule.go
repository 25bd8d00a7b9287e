package load

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// schedule says when the messages of a phase are due. The connections share it. If it has a rate,
// message n is due n/rate seconds after the begin, whether earlier messages have been answered or
// not. Otherwise a message is due when a connection asks for it.
type schedule struct {
	ctx      context.Context // ends the phase early
	begin    time.Time
	duration time.Duration // 0: no limit
	limit    int64
	rate     float64
	taken    atomic.Int64 // number of calls of next
	begun    atomic.Int64 // number of messages that next has given out
}

// newSchedule returns a schedule that begins now.
func newSchedule(ctx context.Context, limit int64, duration time.Duration, rate float64) *schedule {
	if rate > 0 && duration > 0 {
		limit = min(limit, int64(math.Ceil(rate*duration.Seconds())))
	}
	return &schedule{ctx: ctx, begin: time.Now(), limit: limit, duration: duration, rate: rate}
}

// next waits until one more message is due, and returns that time. It returns false if the phase
// is over.
func (s *schedule) next() (due time.Time, ok bool) {
	if s.over() {
		return time.Time{}, false
	}
	n := s.taken.Add(1) - 1
	if n >= s.limit {
		return time.Time{}, false
	}
	if s.rate == 0 {
		s.begun.Add(1)
		return time.Now(), true
	}
	due = s.begin.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
	select {
	case <-s.ctx.Done():
		return time.Time{}, false
	case <-time.After(time.Until(due)):
		s.begun.Add(1)
		return due, true
	}
}

// over reports whether the phase has been cancelled or its duration has passed.
func (s *schedule) over() bool {
	return s.ctx.Err() != nil || s.duration > 0 && time.Since(s.begin) >= s.duration
}

// unsent returns the number of messages that were due by now and were not sent, because every
// connection was still busy. It is 0 if there is no rate.
func (s *schedule) unsent() int64 {
	if s.rate == 0 {
		return 0
	}
	due := min(s.limit, int64(time.Since(s.begin).Seconds()*s.rate)+1)
	return max(due-s.begun.Load(), 0)
}
