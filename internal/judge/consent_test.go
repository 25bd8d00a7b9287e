package judge

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/policy"
)

// directory is a directory of recipients whose answer depends on the beginning of the local
// part. It answers at once for "out" and "in". For "slow" it answers when release is
// closed. For "never" it answers only when the context ends.
type directory struct {
	flying  atomic.Int64
	most    atomic.Int64
	release chan struct{}
}

func (*directory) Known(typed, _ string) (policy.Class, bool) {
	switch {
	case strings.HasPrefix(typed, "<in"):
		return policy.In, true
	case strings.HasPrefix(typed, "<out"):
		return policy.Out, true
	}
	return "", false
}

func (d *directory) Lookup(ctx context.Context, typed, _ string) policy.Class {
	n := d.flying.Add(1)
	defer d.flying.Add(-1)
	for old := d.most.Load(); n > old && !d.most.CompareAndSwap(old, n); old = d.most.Load() {
	}
	if strings.HasPrefix(typed, "<never") {
		<-ctx.Done()
		return policy.Out
	}
	<-d.release
	return policy.In
}

// TestConsentQueue checks that at most MaxConsentLookups lookups of one message run at the
// same time, and that each of ten thousand recipients is counted.
func TestConsentQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{release: make(chan struct{})}
		c := newConsents(d)
		const n = 10_000
		for range n {
			c.add(recipient{typed: "<slow@x>"})
		}
		c.add(recipient{typed: "<out@x>"})
		synctest.Wait()
		if got := d.flying.Load(); got != MaxConsentLookups {
			t.Errorf("%d lookups at a time", got)
		}
		time.Sleep(3 * time.Second)
		close(d.release)
		got := c.wait(t.Context(), time.Hour)
		if want := (policy.Consent{In: n, Out: 1, Elapsed: 3 * time.Second}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if most := d.most.Load(); most > MaxConsentLookups {
			t.Errorf("%d lookups at a time", most)
		}
	})
}

// TestConsentWait checks that a recipient counts as opted out if its class is not known
// after the limit, or when the MTA closes the connection. It also checks that no goroutine
// is left.
func TestConsentWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, gone := range []bool{false, true} {
			c := newConsents(&directory{})
			for range 3 * MaxConsentLookups {
				c.add(recipient{typed: "<never@x>"})
			}
			c.add(recipient{typed: "<in@x>"})
			ctx, cancel := context.WithCancelCause(t.Context())
			if gone {
				time.AfterFunc(time.Second, func() { cancel(errors.New("gone")) })
			}
			begin := time.Now()
			if got := c.wait(ctx, 2*time.Second); got.In != 1 || got.Out != 3*MaxConsentLookups {
				t.Errorf("%+v", got)
			}
			if took := time.Since(begin); took > 2*time.Second || gone && took > time.Second {
				t.Errorf("waited %s", took)
			}
			cancel(nil)
		}
		abandoned := newConsents(&directory{})
		abandoned.add(recipient{typed: "<never@x>"})
		abandoned.cancel() // if the lookup goes on, synctest.Test fails
	})
}
