package msgauth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudgetContext: a budget has the same errors as any other context, whether or not Done was
// called before.
func TestBudgetContext(t *testing.T) {
	for _, tt := range []struct {
		reason string
		do     func(b *budget, stopParent context.CancelFunc)
		want   error
	}{
		{"there is time", func(*budget, context.CancelFunc) {}, nil},
		{"some time is left", func(*budget, context.CancelFunc) { time.Sleep(2 * time.Second) }, nil},
		{"the time is over", func(*budget, context.CancelFunc) { time.Sleep(3 * time.Second) }, context.DeadlineExceeded},
		{"ended before", func(b *budget, _ context.CancelFunc) { b.end() }, context.Canceled},
		{"ended, and then the deadline passes", func(b *budget, _ context.CancelFunc) { b.end(); time.Sleep(time.Minute) }, context.Canceled},
		{"the connection ended", func(_ *budget, stop context.CancelFunc) { stop() }, context.Canceled},
	} {
		for _, waited := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				parent, stop := context.WithCancel(t.Context())
				defer stop()
				var b budget
				b.begin(parent, 3*time.Second)
				if waited {
					b.Done()
				}
				tt.do(&b, stop)
				synctest.Wait()
				if err := b.Err(); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("%s, waited %v: %v, want %v", tt.reason, waited, err, tt.want)
				}
				closed := false
				select {
				case <-b.Done():
					closed = true
				default:
				}
				if closed != (tt.want != nil) || !errors.Is(b.Err(), tt.want) {
					t.Errorf("%s, waited %v: done %v, then %v", tt.reason, waited, closed, b.Err())
				}
				b.end()
				<-b.Done()
			})
		}
	}
}

// TestBudgetOfBudget: if a budget is the parent of another budget, the earlier deadline counts, and
// the inner budget has the context values of the outer budget.
func TestBudgetOfBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var outer, inner budget
		outer.begin(context.WithValue(t.Context(), key{}, "v"), time.Second)
		inner.begin(&outer, time.Minute)
		defer inner.end()
		begin := time.Now()
		for range 2 { // the first time Done was not called yet, the second time it was
			if v := inner.Value(key{}); v != "v" {
				t.Errorf("value %v", v)
			}
			child, cancel := context.WithCancel(&inner)
			defer cancel()
			<-child.Done()
			if took := time.Since(begin); took != time.Second || !errors.Is(child.Err(), context.DeadlineExceeded) {
				t.Errorf("after %v: %v", took, child.Err())
			}
		}
	})
}
