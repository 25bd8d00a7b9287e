package dkim

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
)

// TestParallelLookups: many keys are asked for side by side, but only so many
// at once; each Start takes what was wanted since the last.
func TestParallelLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		r := resolverFunc(func(context.Context) (dns.Answer, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return dns.Answer{}, nil
		})
		m := NewMessage(nil)
		var lookups []*Lookup
		for i := range 3 * maxParallelLookups {
			lookups = append(lookups, m.WantKey(&Params{Domain: dns.Name(fmt.Sprintf("d%d.example", i)), Selector: "s"}))
		}
		begin := time.Now()
		m.Start(t.Context(), r)
		m.Start(t.Context(), r) // nothing new: nothing asked
		late := m.WantKey(&Params{Domain: "late.example", Selector: "s"})
		if _, err := late.Keys(t.Context()); reasonOf(err) != "dns_canceled" {
			t.Errorf("a key nobody asks for: %v", err)
		}
		for _, l := range lookups {
			if _, err := l.Keys(t.Context()); reasonOf(err) != ReasonKeyNotFound {
				t.Errorf("%s: %v", l.Name, err)
			}
		}
		if d := time.Since(begin); d != 3*time.Second || most.Load() != maxParallelLookups {
			t.Errorf("%d lookups took %v, %d at once", len(lookups), d, most.Load())
		}
		m.Start(t.Context(), r)
		if _, err := late.Keys(t.Context()); reasonOf(err) != ReasonKeyNotFound {
			t.Errorf("late: %v", err)
		}
		if got := len(m.QueryNames()); got != len(lookups)+1 {
			t.Errorf("%d names", got)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		m := NewMessage(nil)
		m.WantKey(&Params{Domain: "example.com", Selector: "s"})
		m.Start(t.Context(), resolverFunc(func(ctx context.Context) (dns.Answer, error) {
			<-ctx.Done()
			ended = true
			return dns.Answer{}, ctx.Err()
		}))
		synctest.Wait()
		m.Close()
		synctest.Wait()
		if !ended {
			t.Error("the lookup outlives Close")
		}
	})
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]*Error{
		"dkim: expired":               {Reason: ReasonExpired},
		"dkim: syntax: v= is missing": {Reason: ReasonSyntax, Detail: "v= is missing"},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err.Error(), want)
		}
	}
}
