package faults

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/resolver"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// counted is a resolver that passes lookups on and counts them. It is behind the cache, so it
// counts the lookups that the cache could not answer.
type counted struct {
	dns.LookupOnly
	next dns.Resolver
	n    atomic.Int64
}

func (c *counted) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	c.n.Add(1)
	return c.next.Lookup(ctx, name, typ)
}

// TestClockJump changes the wall clock by ten years, forward and back. Cached answers must not
// expire because of that, but must still expire when their TTL has passed. The results of messages
// must not change.
func TestClockJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		behind := &counted{next: nameserver.Zone(t, zoneText)}
		cfg := resolver.CacheConfig{Size: 1 << 20, MaxTTL: 24 * time.Hour, NegativeTTL: 5 * time.Minute}
		cache, err := resolver.NewCache(behind, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		var jump time.Duration
		v := msgauth.NewVerifier(cache, msgauth.Options{Now: func() time.Time { return time.Now().Add(jump) }})
		judge := func(why string) {
			t.Helper()
			c := v.Connect(t.Context(), msgauth.Session{Client: netip.MustParseAddr("192.0.2.1")})
			defer c.Close()
			c.Helo("mail.bank.example")
			m := c.Begin(msgauth.Session{}, msgauth.Envelope{MailFrom: "<a@bank.example>"})
			defer m.Close()
			m.EndOfHeader(message.Header{{Name: "From", Value: " a@bank.example"}})
			if e := m.Finish(t.Context(), msgauth.Envelope{MailFrom: "<a@bank.example>"}); e.MailFrom.Result != spf.Pass || e.DMARC.Result != "pass" {
				t.Errorf("%s: spf=%s dmarc=%s", why, e.MailFrom.Result, e.DMARC.Result)
			}
		}
		judge("before")
		synctest.Wait()
		asked := behind.n.Load()
		for why, by := range map[string]time.Duration{"ten years ahead": 87600 * time.Hour, "ten years back": -87600 * time.Hour} {
			jump = by
			judge(why)
			synctest.Wait()
			if n := behind.n.Load(); n != asked {
				t.Errorf("%s: %d questions again", why, n-asked)
			}
		}
		time.Sleep(cfg.MaxTTL + time.Second)
		judge("a day later by every clock")
		synctest.Wait()
		if behind.n.Load() == asked {
			t.Error("what is cached lives for ever")
		}
	})
}
