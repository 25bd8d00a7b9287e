package msgauth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/slots"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// flood returns the header of message number i, with ten DKIM signatures and a chain of 50 ARC
// sets. The names of all their keys are below the domain "silent", whose servers never answer.
func flood(author, silent string, i int) message.Header {
	const tags = " a=rsa-sha256; c=relaxed/relaxed; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA"
	h := message.Header{{Name: "From", Value: " <x@" + author + ">"}}
	for k := range 10 {
		h = append(h, message.Field{Name: "DKIM-Signature", Value: fmt.Sprintf(" v=1; d=%s; s=d%d-%d;%s", silent, i, k, tags)})
	}
	for k := 1; k <= 50; k++ {
		cv := "pass"
		if k == 1 {
			cv = "none"
		}
		h = append(h,
			message.Field{Name: "ARC-Seal", Value: fmt.Sprintf(" i=%d; a=rsa-sha256; d=%s; s=s%d-%d; cv=%s; b=AAAA", k, silent, i, k, cv)},
			message.Field{Name: "ARC-Message-Signature", Value: fmt.Sprintf(" i=%d; d=%s; s=m%d-%d;%s", k, silent, i, k, tags)},
			message.Field{Name: "ARC-Authentication-Results", Value: fmt.Sprintf(" i=%d; x; none", k)})
	}
	return h
}

// TestSilentKeysOfOthers: many messages name keys that never arrive. Meanwhile another message
// arrives. The key and the policy of that message's author are found within a second. The attackers
// come from one network or from many, and name one author or many.
func TestSilentKeysOfOthers(t *testing.T) {
	zoneText, raw := signedFor(t, "alice@example.com")
	keyOnly := strings.Replace(zoneText, "-all", "~all", 1)
	now := stopped()
	for why, attack := range map[string]struct {
		client func(i int) string
		author func(i int) string
		silent func(i int) string
	}{
		"one address":                 {func(int) string { return "203.0.113.1" }, always("other.example"), always("evil.example")},
		"many addresses of a network": {func(i int) string { return fmt.Sprint("203.0.113.", i) }, always("other.example"), always("evil.example")},
		"many networks": {func(i int) string { return fmt.Sprintf("198.%d.%d.1", 18+i/200, i%200) },
			always("other.example"), always("evil.example")},
		"From in the silent domain":    {func(i int) string { return fmt.Sprint("203.0.113.", i) }, always("evil.example"), always("evil.example")},
		"many networks, silent author": {func(i int) string { return fmt.Sprintf("198.18.%d.1", i) }, always("evil.example"), always("evil.example")},
		"a silent author for each": {func(i int) string { return fmt.Sprintf("198.18.%d.1", i) },
			func(i int) string { return fmt.Sprintf("a%d.evil.example", i) }, func(i int) string { return fmt.Sprintf("a%d.evil.example", i) }},
		"addresses of one IPv6 network": {func(i int) string { return fmt.Sprintf("2001:db8:1:%x::1", i) }, always("evil.example"), always("evil.example")},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := NewVerifier(hole{next: nameserver.Zone(t, keyOnly), under: "evil.example"}, Options{Now: now})
			for i := range 45 {
				c := v.Connect(t.Context(), Session{Client: netip.MustParseAddr(attack.client(i))})
				defer c.Close()
				m := c.Begin(Session{}, Envelope{MailFrom: "<>"})
				defer m.Close()
				m.EndOfHeader(flood(attack.author(i), attack.silent(i), i))
			}
			synctest.Wait()
			begin := time.Now()
			e := evaluate(t, v, "<x@no.example>", string(raw))
			if e.DMARC.Result != dmarc.ResultPass || !e.DMARC.AlignedDKIM || time.Since(begin) > time.Second || noRoom(e) > 0 {
				t.Errorf("%s: dmarc %s after %v, %d without room: %+v", why, e.DMARC.Result, time.Since(begin), noRoom(e), e.DKIM)
			}
			begin = time.Now()
			e = evaluate(t, v, "<x@no.example>", "From: a@example.com\r\n\r\n")
			if e.DMARC.Result != dmarc.ResultFail || e.DMARC.PolicyPublished != dmarc.PolicyReject || time.Since(begin) > time.Second {
				t.Errorf("%s: an unsigned spoof is %s %s after %v", why, e.DMARC.Result, e.DMARC.PolicyPublished, time.Since(begin))
			}
			for s, limit := range []int{maxClientLookups, maxPolicyLookups, maxAuthorLookups, maxKeyLookups, maxChainLookups} {
				if used := v.slots.all[s].Used(); used >= limit {
					t.Errorf("%s: all %d slots of sort %d are taken", why, used, s)
				}
			}
		})
	}
}

func always(s string) func(int) string { return func(int) string { return s } }

func noRoom(e *Evaluation) (n int) {
	for _, c := range e.Cost {
		n += c.NoRoom
	}
	return n
}

// TestWantOfRoom: if lookups fail because other messages hold the slots, the results have reasons
// that say so. If lookups fail because servers are silent, the reasons say that instead.
func TestWantOfRoom(t *testing.T) {
	const signature = "DKIM-Signature: v=1; a=rsa-sha256; d=bank.example; s=s1; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\r\n"
	for _, full := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			v := NewVerifier(silent{}, Options{})
			if full {
				v = NewVerifier(away{next: nameserver.Zone(t, zoneText)}, Options{})
				for s := range v.slots.all {
					v.slots.all[s] = slots.NewPool(0)
				}
			}
			e := evaluate(t, v, "<a@bank.example>", signature+"From: a@bank.example\r\n\r\n")
			key, check, kind := dkim.Reason("dns_timeout"), spf.ReasonTimeLimit, dns.KindTimeout
			if full {
				key, check, kind = "dns_budget", spf.ReasonDNSBudget, dns.KindBudget
			}
			if s := e.DKIM[0]; s.Result != dkim.TempError || s.Reason != key {
				t.Errorf("full %v: dkim %s %s", full, s.Result, s.Reason)
			}
			for _, c := range []spf.Check{e.MailFrom, e.HELO} {
				if c.Result != spf.TempError || c.Reason != check {
					t.Errorf("full %v: spf of %s %s %s", full, c.Identity, c.Result, c.Reason)
				}
			}
			if e.IPRev.DNSError == nil || e.IPRev.DNSError.Kind != kind {
				t.Errorf("full %v: iprev %v", full, e.IPRev.DNSError)
			}
			if e.DMARC.Result != dmarc.ResultTempError || e.DMARC.DNSError == nil || e.DMARC.DNSError.Kind != kind.String() {
				t.Errorf("full %v: dmarc %s %+v", full, e.DMARC.Result, e.DMARC.DNSError)
			}
		})
	}
}

// TestWantOfRoomAfterAll: a lookup that waited for a slot, got one, and then ran out of time while
// it asked a server counts as one that lacked a slot.
func TestWantOfRoomAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(silent{}, Options{})
		v.slots.all[forClient] = slots.NewPool(1)
		other := &Connection{v: v}
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
		defer stop()
		var first, second stage
		first.setUp(other, spfStage, "")
		second.setUp(other, spfStage, "")
		go first.Lookup(ctx, "other.example", dns.TypeTXT)
		synctest.Wait()
		mine, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := second.Lookup(mine, "bank.example", dns.TypeTXT); kindOf(err) != dns.KindBudget || second.noRoom.Load() != 1 {
			t.Errorf("waited and timed out: %v", err)
		}
		if first.noRoom.Load() != 0 {
			t.Error("a lookup that got its slot at once counts as one without room")
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := second.Lookup(gone, "bank.example", dns.TypeTXT); kindOf(err) != dns.KindCanceled || second.noRoom.Load() != 1 {
			t.Errorf("nobody waits: %v", err)
		}
	})
}

func kindOf(err error) dns.ErrorKind {
	var e *dns.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Kind
}

// TestOneMessage: only a few lookups of each purpose can run at the same time for one message, and
// for one organization.
func TestOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(silent{}, Options{})
		begin := func(i int, client, author, key string) {
			c := v.Connect(t.Context(), Session{})
			t.Cleanup(c.Close)
			c.client.Client = netip.MustParseAddr(client)
			m := c.Begin(Session{}, Envelope{MailFrom: "<>"})
			t.Cleanup(m.Close)
			m.EndOfHeader(flood(author, key, i))
		}
		used := func(s purpose) int { return v.slots.all[s].Used() }
		begin(0, "192.0.2.1", "other.example", "evil.example")
		synctest.Wait()
		// Networks share the slots of an organization as they share all slots: one network gets
		// half of them.
		if used(forAuthor) != 0 || used(forKey) != maxOrganizationLookups/2 || used(forChain) != maxSealerLookups/2 {
			t.Errorf("one message: %d of the author, %d keys, %d of the chain", used(forAuthor), used(forKey), used(forChain))
		}
		for i := range 20 {
			begin(i+1, fmt.Sprintf("198.18.%d.1", i), "evil.example", "a.evil.example")
			synctest.Wait()
		}
		if used(forAuthor) != maxOrganizationLookups || used(forChain) != maxSealerLookups ||
			used(forPolicy) != maxOrganizationLookups+1 { // one more for the policy of the first message
			t.Errorf("one organization: %d of the author, %d of the chain, %d policies", used(forAuthor), used(forChain), used(forPolicy))
		}
	})
}

// TestPurpose: purpose returns what a lookup is for, and the organization whose slots it takes.
func TestPurpose(t *testing.T) {
	for _, tt := range []struct {
		stage        stageIndex
		author, name dns.Name
		want         purpose
		owner        dns.Name
	}{
		{spfStage, "", "bank.example", forClient, ""},
		{iprevStage, "", "1.2.0.192.in-addr.arpa", forClient, ""},
		{dmarcStage, "news.bank.example", "_dmarc.other.example", forPolicy, "bank.example"},
		{dkimStage, "news.bank.example", "s._domainkey.news.bank.example", forAuthor, "bank.example"},
		{dkimStage, "news.bank.example", "s._domainkey.bank.example", forAuthor, "bank.example"},
		{dkimStage, "bank.example", "s._domainkey.mail.bank.example", forAuthor, "bank.example"},
		{dkimStage, "bank.example", "s._domainkey.bank.example.evil.example", forKey, "evil.example"},
		{dkimStage, "bank.example", "s._domainkey.xbank.example", forKey, "xbank.example"},
		{dkimStage, "bank.example", "bank.example._domainkey.evil.example", forKey, "evil.example"},
		{dkimStage, "", "s._domainkey.evil.example", forKey, "evil.example"},
		{dkimStage, "shop.co.jp", "s._domainkey.other.co.jp", forKey, "other.co.jp"},
		{arcStage, "bank.example", "s._domainkey.bank.example", forChain, "bank.example"},
	} {
		if what, owner := stages[tt.stage].purpose(tt.author, tt.name); what != tt.want || owner != tt.owner {
			t.Errorf("%s of %s for %s: purpose %d on the account of %q", tt.name, tt.author, stages[tt.stage].mechanism, what, owner)
		}
	}
}

func TestNetwork(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.255", true}, {"192.0.2.1", "192.0.3.1", false}, {"192.0.2.1", "::ffff:192.0.2.7", true},
		{"2001:db8:1::1", "2001:db8:1:ffff::1", true}, {"2001:db8:1::1", "2001:db8:2::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true}, {"", "", true}, {"", "0.0.0.0", false},
	} {
		a, _ := netip.ParseAddr(tt.a)
		b, _ := netip.ParseAddr(tt.b)
		if (network(a) == network(b)) != tt.same {
			t.Errorf("%q and %q: %s and %s", tt.a, tt.b, network(a), network(b))
		}
	}
}

func TestOrganization(t *testing.T) {
	for name, want := range map[dns.Name]dns.Name{
		"bank.example": "bank.example", "a.b.bank.example": "bank.example", "example": "example", "": "",
		"shop.co.jp": "shop.co.jp", "a.shop.co.jp": "shop.co.jp", "co.jp": "co.jp", "x.gov.uk": "x.gov.uk",
		"mail.yahoo.jp": "yahoo.jp", "x.org.com": "org.com", "s._domainkey.x.net": "x.net",
	} {
		if got := organization(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
