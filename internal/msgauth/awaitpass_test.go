package msgauth

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// never is longer than any budget.
const never = time.Hour

// late is a resolver that delays the answers for some names. Its map has the delay for each of
// these names.
type late struct {
	dns.LookupOnly
	next   dns.Resolver
	delays map[dns.Name]time.Duration
}

func (l late) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return away{next: l.next, trip: l.delays[name]}.Lookup(ctx, name, typ)
}

const (
	keyName  = "s1._domainkey.example.com"
	deadKey  = "dead._domainkey.example.com"
	thirdKey = "s1._domainkey.list.example"
	sealKey  = "s1._domainkey.sealer.example"
	// hash is the hash of an empty body.
	hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	dead = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=dead; h=From; bh=" + hash + "; b=AAAA\r\n"
	// sealed is an ARC set whose key is not published.
	sealed = "ARC-Seal: i=1; a=rsa-sha256; d=sealer.example; s=s1; cv=none; b=AAAA\r\n" +
		"ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=sealer.example; s=s1; h=From; bh=" + hash + "; b=AAAA\r\n" +
		"ARC-Authentication-Results: i=1; sealer.example; none\r\n"
)

// TestDecide: once it is certain that DMARC passes, the message waits at most the grace for SPF,
// for other signatures and for iprev. Otherwise it waits for them until they are known or the
// budget ends.
func TestDecide(t *testing.T) {
	zoneText, raw := signed(t)
	signedMail := string(raw)
	now := stopped()
	const grace = 250 * time.Millisecond
	for _, tt := range []struct {
		reason, from, raw string
		delays            map[dns.Name]time.Duration
		grace             time.Duration
		wait              time.Duration
		spf               spf.Result
		dkim              string // results in order
		dmarc             dmarc.Result
	}{
		{"all there", "<a@example.com>", signedMail, nil, grace, 0, spf.Pass, "pass", dmarc.ResultPass},
		{"the signature decides, SPF never ends", "<a@example.com>", signedMail,
			map[dns.Name]time.Duration{"example.com": never}, grace, grace, spf.TempError, "pass", dmarc.ResultPass},
		{"SPF ends within the grace", "<a@example.com>", signedMail,
			map[dns.Name]time.Duration{"example.com": grace / 2}, grace, grace / 2, spf.Pass, "pass", dmarc.ResultPass},
		{"no grace at all", "<a@example.com>", signedMail,
			map[dns.Name]time.Duration{"example.com": grace / 2}, -1, 0, spf.TempError, "pass", dmarc.ResultPass},
		{"SPF decides, the key never comes", "<a@example.com>", signedMail,
			map[dns.Name]time.Duration{keyName: never}, grace, grace, spf.Pass, "temperror", dmarc.ResultPass},
		{"one signature decides, another's key never comes", "<a@other.example>", dead + signedMail,
			map[dns.Name]time.Duration{deadKey: never}, grace, grace, spf.None, "fail pass", dmarc.ResultPass},
		{"the deciding key comes late", "<a@other.example>", dead + signedMail,
			map[dns.Name]time.Duration{deadKey: never, keyName: 2 * time.Second}, grace, 2*time.Second + grace, spf.None, "fail pass", dmarc.ResultPass},
		{"the policy comes late", "<a@example.com>", signedMail,
			map[dns.Name]time.Duration{"_dmarc.example.com": 3 * time.Second, "example.com": never},
			grace, 3*time.Second + grace, spf.TempError, "pass", dmarc.ResultPass},
		{"the policy never comes", "<a@example.com>", signedMail,
			map[dns.Name]time.Duration{"_dmarc.example.com": never}, grace, 10 * time.Second, spf.Pass, "pass", dmarc.ResultTempError},
		{"no identifier has passed and aligns, so the key is waited for", "<a@other.example>", signedMail,
			map[dns.Name]time.Duration{keyName: 5 * time.Second}, grace, 5 * time.Second, spf.None, "pass", dmarc.ResultPass},
		{"a stranger's SPF pass decides nothing", "<a@stranger.example>", signedMail,
			map[dns.Name]time.Duration{keyName: 5 * time.Second}, grace, 5 * time.Second, spf.Pass, "pass", dmarc.ResultPass},
		{"a fail is not decided before all are known", "<a@stranger.example>", dead + "From: a@example.com\r\n\r\n",
			map[dns.Name]time.Duration{deadKey: 5 * time.Second}, -1, 5 * time.Second, spf.Pass, "permerror", dmarc.ResultFail},
		{"the reverse name beside a fail", "<a@stranger.example>", "From: a@example.com\r\n\r\n",
			map[dns.Name]time.Duration{"1.2.0.192.in-addr.arpa": 5 * time.Second}, -1, 5 * time.Second, spf.Pass, "", dmarc.ResultFail},
		{"the reverse name where there is no policy: rules may ask for it", "<a@stranger.example>", "From: a@stranger.example\r\n\r\n",
			map[dns.Name]time.Duration{"1.2.0.192.in-addr.arpa": 5 * time.Second}, -1, 5 * time.Second, spf.Pass, "", dmarc.ResultNone},
		{"the reverse name where there is no author", "<a@stranger.example>", "Subject: none\r\n\r\n",
			map[dns.Name]time.Duration{"1.2.0.192.in-addr.arpa": 5 * time.Second}, -1, 5 * time.Second, spf.Pass, "", dmarc.ResultPermError},
		{"a chain is waited for, because without its keys it would be called failed", "<a@example.com>", sealed + signedMail,
			map[dns.Name]time.Duration{sealKey: 5 * time.Second}, grace, 5 * time.Second, spf.Pass, "pass", dmarc.ResultPass},
	} {
		synctest.Test(t, func(t *testing.T) {
			z := late{next: nameserver.Zone(t, zoneText+"stranger.example TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"), delays: tt.delays}
			e := evaluate(t, NewVerifier(z, Options{Grace: tt.grace, LookAhead: true, Now: now}), tt.from, tt.raw)
			var results []string
			for _, s := range e.DKIM {
				results = append(results, string(s.Result))
			}
			if e.Wait != tt.wait || e.MailFrom.Result != tt.spf || strings.Join(results, " ") != tt.dkim || e.DMARC.Result != tt.dmarc {
				t.Errorf("%s: %v, spf=%s dkim=%s dmarc=%s", tt.reason, e.Wait, e.MailFrom.Result, results, e.DMARC.Result)
			}
			if strings.HasPrefix(tt.raw, "ARC") && (e.ARC.Status != arc.Fail || e.ARC.Signature != dkim.ReasonKeyNotFound) {
				t.Errorf("%s: arc=%s %s", tt.reason, e.ARC.Status, e.ARC.Signature)
			}
			if e.DMARC.Result != dmarc.ResultPass && e.IPRev.Status != iprev.Pass {
				t.Errorf("%s: iprev=%s", tt.reason, e.IPRev.Status)
			}
		})
	}
}

// TestGraceDecidesNothing: whatever the order of the answers, the grace does not change DMARC's
// result. If DMARC does not pass, the only result that the grace may change is the SPF result of
// HELO.
func TestGraceDecidesNothing(t *testing.T) {
	zoneText, raw := signed(t)
	zoneText += "list.example TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"
	broken := bytes.ReplaceAll(raw, []byte("Subject: the"), []byte("Subject: my"))
	names := []dns.Name{"example.com", "list.example", keyName, deadKey, "_dmarc.example.com", "1.2.0.192.in-addr.arpa"}
	z := nameserver.Zone(t, zoneText)
	now := stopped()
	mails := []string{string(raw), dead + string(raw), dead + string(broken)}
	paths := []string{"<a@example.com>", "<a@list.example>"}
	for n := range (1 << len(names)) * len(mails) * len(paths) {
		delays := map[dns.Name]time.Duration{}
		for i, name := range names {
			if n&(1<<i) != 0 {
				delays[name] = time.Duration(i+1) * time.Second
			}
		}
		mail, from := mails[n>>len(names)%len(mails)], paths[n>>len(names)/len(mails)]
		var found []string
		for _, grace := range []time.Duration{-1, never} {
			synctest.Test(t, func(t *testing.T) {
				v := NewVerifier(late{next: z, delays: delays}, Options{Grace: grace, Now: now, LookAhead: true})
				e := evaluate(t, v, from, mail)
				e.HELO, e.Cost = spf.Check{}, nil
				if e.DMARC.Result == dmarc.ResultPass {
					found = append(found, "pass "+string(e.DMARC.Disposition))
					return
				}
				found = append(found, facts(t, e))
			})
		}
		if len(slices.Compact(found)) != 1 {
			t.Fatalf("%v, %s:\nno grace %s\nlong     %s", delays, from, found[0], found[1])
		}
	}
}

// gate is a resolver that answers lookups of one name only after its channel was closed.
type gate struct {
	dns.LookupOnly
	next dns.Resolver
	name dns.Name
	open chan struct{}
}

func (g gate) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name == g.name {
		select {
		case <-g.open:
		case <-ctx.Done():
			return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
		}
	}
	return g.next.Lookup(ctx, name, typ)
}

// suffixes is a public suffix list that calls a function when it is asked about one name.
type suffixes struct {
	name dns.Name
	then func()
}

func (s suffixes) OrganizationalDomain(n dns.Name) dns.Name {
	if n == s.name {
		s.then()
	}
	return n
}

// TestDecideMissesNothing: a stage may end after awaitPass has checked the results and before it
// waits for them. The message must not wait for that stage.
func TestDecideMissesNothing(t *testing.T) {
	zoneText, raw := signedFor(t, "alice@author.com") // DMARC does not compare names of different top-level domains
	zoneText += "_dmarc.author.com TXT \"v=DMARC1; p=reject\"\n"
	now := stopped()
	synctest.Test(t, func(t *testing.T) {
		z := gate{next: nameserver.Zone(t, zoneText), name: "example.com", open: make(chan struct{})}
		// The signature has passed. While DMARC compares its domain, the SPF check ends.
		psl := suffixes{"example.com", sync.OnceFunc(func() {
			close(z.open)
			synctest.Wait()
		})}
		v := NewVerifier(z, Options{Now: now, DMARC: dmarc.Options{Method: dmarc.PSL, PSL: psl}})
		e := evaluate(t, v, "<a@example.com>", string(raw))
		if e.Wait != 0 || e.MailFrom.Result != spf.Pass || len(e.DKIM) != 1 || e.DKIM[0].Result != dkim.Pass || e.DMARC.Result != dmarc.ResultFail {
			t.Errorf("after %v spf=%s dkim=%v dmarc=%s", e.Wait, e.MailFrom.Result, e.DKIM, e.DMARC.Result)
		}
	})
}
