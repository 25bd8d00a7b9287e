package dkim

import (
	"context"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/message"
)

// counting counts the lookups of the resolver behind it.
type counting struct {
	dns.LookupOnly
	next dns.Resolver
	n    *atomic.Int64
}

func (c counting) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	c.n.Add(1)
	return c.next.Lookup(ctx, name, typ)
}

// TestRestart checks a message of two signatures, of which the key of the second comes late: three
// copies of it share one new lookup, and the signature that was verified is not verified again.
func TestRestart(t *testing.T) {
	z, raw := rfc8463(t)
	synctest.Test(t, func(t *testing.T) {
		h, body := message.Parse(raw)
		second := slices.IndexFunc(h, func(f message.Field) bool { return f.Is("DKIM-Signature") }) + 1
		h = slices.Insert(slices.Clone(h), second, h[second], h[second])
		v := NewVerifier(h, Options{Now: time.Unix(1_790_000_000, 0)})
		v.Start(t.Context(), secondLate{next: z})
		defer v.Close()
		_, _ = v.Write(body)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first := v.Finish(ctx)
		kept := slices.Clone(first)
		spent := v.Message().Operations()
		for i, s := range first {
			if late := s.Selector == "test"; s.NotWaited != late || (s.Result == TempError) != late {
				t.Errorf("first, signature %d: %+v", i, s)
			}
		}
		var asked atomic.Int64
		if !v.Restart(t.Context(), counting{next: z, n: &asked}) {
			t.Fatal("nothing was restarted")
		}
		again := v.Finish(t.Context())
		for i, s := range again {
			if s.Result != Pass || s.NotWaited || s.Reason != "" || s.Detail != "" {
				t.Errorf("again, signature %d: %+v", i, s)
			}
		}
		if !reflect.DeepEqual(first, kept) {
			t.Error("the first results changed")
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%d lookups", n)
		}
		if work := v.Message().Operations() - spent; work != 3*0.25 { // of 1,024 bits
			t.Errorf("%v operations for three signatures", work)
		}
		if v.Restart(t.Context(), counting{next: z, n: &asked}) {
			t.Error("restarted although nothing is missing")
		}
		time.Sleep(2 * time.Second) // until the first lookup has ended
	})
}
