package dkim

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
)

// TestParallelLookups checks that Start looks keys up in parallel, but at most
// maxParallelLookups at the same time, and that each Start begins the lookups
// that were registered after the previous Start.
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
		m := NewVerifier(nil, Options{}).Message()
		var lookups []*Lookup
		for i := range 3 * maxParallelLookups {
			lookups = append(lookups, m.WantKeyAt(dns.Name(fmt.Sprintf("d%d.example", i)), "s"))
		}
		begin := time.Now()
		m.Start(t.Context(), r)
		m.Start(t.Context(), r) // no new lookup was registered, so this Start asks nothing
		late := m.WantKeyAt("late.example", "s")
		if _, err := late.wait(t.Context()); reasonOf(err) != "dns_canceled" {
			t.Errorf("a key before its Start: %v", err)
		}
		for _, l := range lookups {
			if _, err := l.wait(t.Context()); reasonOf(err) != ReasonKeyNotFound {
				t.Errorf("%s: %v", l.Name, err)
			}
		}
		if d := time.Since(begin); d != 3*time.Second || most.Load() != maxParallelLookups {
			t.Errorf("%d lookups took %v, %d at once", len(lookups), d, most.Load())
		}
		m.Start(t.Context(), r)
		if _, err := late.wait(t.Context()); reasonOf(err) != ReasonKeyNotFound {
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
		m := NewVerifier(nil, Options{}).Message()
		m.WantKeyAt("example.com", "s")
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

// peeker is a resolver that knows the answers in its map "known" without asking.
// Lookup panics if it is called for a name in this map.
type peeker struct {
	dns.LookupOnly
	known map[dns.Name]string
}

func (p peeker) Peek(name dns.Name, _ dns.Type) (dns.Answer, bool) {
	txt, ok := p.known[name]
	return dns.Answer{Records: []dns.Record{{Text: txt}}}, ok
}

func (p peeker) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if _, known := p.known[name]; known {
		panic("asked for what is known")
	}
	return dns.Answer{Name: name, Type: typ}, nil
}

// TestKnownKeys checks that Start itself takes the keys that the resolver knows
// without asking, and that the other keys are looked up.
func TestKnownKeys(t *testing.T) {
	r := peeker{known: map[dns.Name]string{
		"known._domainkey.example.com":  "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
		"broken._domainkey.example.com": "v=DKIM1; p=!",
	}}
	m := NewVerifier(nil, Options{}).Message()
	want := map[*Lookup]Reason{}
	for selector, reason := range map[dns.Name]Reason{"known": "", "broken": ReasonKeySyntax, "asked": ReasonKeyNotFound} {
		want[m.WantKeyAt("example.com", selector)] = reason
	}
	long := dns.Name(strings.Repeat("a.", 126) + "a")
	want[m.WantKeyAt(long, "s")] = ReasonDomain
	m.Start(t.Context(), r)
	defer m.Close()
	for l, reason := range want {
		if _, known := r.known[l.Name]; known && l.done != nil {
			t.Errorf("%s is not there", l.Name)
		}
		keys, err := l.wait(t.Context())
		if reasonOf(err) != reason || (len(keys) == 1) != (reason == "") {
			t.Errorf("%s: %d keys, %v", l.Name, len(keys), err)
		}
	}
}
