package msgauth

import (
	"context"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/message"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// away is a resolver that gives every answer after the time "trip". A trip of 0 takes no timer: a
// timer channel that has fired when it is first read makes Go 1.26 use one race context of the bubble
// on several threads, and a binary built with -race crashes now and then
// (https://github.com/golang/go/issues/78156).
type away struct {
	dns.LookupOnly
	next dns.Resolver
	trip time.Duration
}

func (a away) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	var arrived <-chan time.Time
	if a.trip > 0 {
		arrived = time.After(a.trip)
	} else if ctx.Err() == nil {
		return a.next.Lookup(ctx, name, typ)
	}
	select {
	case <-arrived:
		return a.next.Lookup(ctx, name, typ)
	case <-ctx.Done():
		return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
	}
}

// lookups matches the number of lookups in JSON. With LookAhead, this number may be larger.
var lookups = regexp.MustCompile(`"lookups":\d+`)

// TestLookAhead: if no answer is in the cache, LookAhead makes iprev and the tree walk of DMARC
// take one round trip each instead of several. All results are the same as without LookAhead.
func TestLookAhead(t *testing.T) {
	const trip = time.Second
	now := stopped()
	for _, tt := range []struct {
		reason, name, helo  string
		iprev, ahead, dmarc time.Duration
	}{
		{"the MTA knows the client's name", "mx.bank.example", "other.example", 2 * trip, trip, trip},
		{"only HELO is the client's name", "unknown", "mx.bank.example", 2 * trip, trip, trip},
		{"HELO is another name, so nothing useful is looked up ahead", "", "other.example", 2 * trip, 2 * trip, trip},
		{"neither the MTA's name nor HELO can be looked up", "[192.0.2.1]", "localhost", 2 * trip, 2 * trip, trip},
	} {
		found := map[bool]string{}
		for _, ahead := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				z := away{next: nameserver.Zone(t, zoneText), trip: trip}
				v := NewVerifier(z, Options{LookAhead: ahead, Now: now, Grace: 10 * trip})
				c := v.Connect(t.Context(), Session{Client: client, ClientName: tt.name})
				defer c.Close()
				c.Helo(tt.helo)
				m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
				defer m.Close()
				m.EndOfHeader(message.Header{{Name: "From", Value: " a@x.y.bank.example"}})
				e := m.Finish(t.Context(), Envelope{})
				wantIPRev, wantDMARC := tt.iprev, 4*trip // x.y.bank.example, y.bank.example, bank.example, example
				if ahead {
					wantIPRev, wantDMARC = tt.ahead, tt.dmarc
				}
				if c.iprev.elapsed != wantIPRev || m.discovery.elapsed != wantDMARC {
					t.Errorf("%s, ahead %v: iprev took %v, discovery %v", tt.reason, ahead, c.iprev.elapsed, m.discovery.elapsed)
				}
				if e.DMARC.Result != dmarc.ResultPass || e.IPRev.Status != iprev.Pass {
					t.Errorf("%s, ahead %v: dmarc %s, iprev %s", tt.reason, ahead, e.DMARC.Result, e.IPRev.Status)
				}
				found[ahead] = lookups.ReplaceAllString(facts(t, e), "")
			})
		}
		if found[true] != found[false] {
			t.Errorf("%s:\nin turn  %s\nat once %s", tt.reason, found[false], found[true])
		}
	}
}

// TestLookAheadOnce: a client that sends HELO many times causes only one lookup ahead.
func TestLookAheadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, zoneText)
		v := NewVerifier(away{next: z, trip: time.Second}, Options{LookAhead: true})
		c := v.Connect(t.Context(), Session{Client: client})
		for _, name := range []string{"a.example", "b.example", "c.example", "mx.bank.example"} {
			c.Helo(name)
		}
		time.Sleep(time.Minute)
		c.Close()
		asked := z.Queries()
		slices.Sort(asked)
		want := []string{"1.2.0.192.in-addr.arpa PTR", "a.example A", "mx.bank.example A", "mx.bank.example A", "mx.bank.example TXT"}
		if !slices.Equal(asked, want) { // SPF and iprev both ask for mx.bank.example A; a cache would ask once
			t.Errorf("asked %q, want %q", asked, want)
		}
	})
}

// TestLookAheadNoName: what is not a name of the client is not looked up.
func TestLookAheadNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, zoneText)
		c := NewVerifier(away{next: z, trip: time.Second}, Options{LookAhead: true}).Connect(t.Context(), Session{Client: client, ClientName: "[192.0.2.1]"})
		c.Helo("localhost")
		synctest.Wait()
		c.Close()
		synctest.Wait()
		if asked := z.Queries(); len(asked) != 0 { // the question for PTR was given up before its answer
			t.Errorf("asked %q", asked)
		}
	})
}

// TestLookAheadWarm: if all answers that a message needs are in the cache, nothing is looked up
// ahead, although another name of the tree walk is not in the cache.
func TestLookAheadWarm(t *testing.T) {
	zoneText, raw := signed(t)
	z := newMemory(nameserver.Zone(t, zoneText))
	evaluate(t, NewVerifier(z, Options{}), "<a@example.com>", string(raw))
	before := len(z.asked)
	synctest.Test(t, func(t *testing.T) {
		evaluate(t, NewVerifier(z, Options{LookAhead: true}), "<a@example.com>", string(raw))
		synctest.Wait() // what is looked up ahead is looked up in goroutines
	})
	if asked := z.asked[before:]; len(asked) != 0 {
		t.Errorf("asked %v", asked)
	}
	if _, known := z.known[question{"_dmarc.com", dns.TypeTXT}]; known {
		t.Error("the top-level domain is known: this shows nothing")
	}
}

// TestPanicsAhead: if a lookup that was started early panics, only the mechanisms that need this
// lookup lose their results, as after a panic in an ordinary lookup.
func TestPanicsAhead(t *testing.T) {
	z := nameserver.Zone(t, zoneText)
	for name, want := range map[dns.Name]dmarc.Result{"_dmarc.bank.example": dmarc.ResultTempError, "_dmarc.example": dmarc.ResultTempError} {
		v := NewVerifier(bomb{next: z, typ: dns.TypeTXT, name: name}, Options{LookAhead: true})
		e := evaluate(t, v, "<a@bank.example>", "From: a@sub.bank.example\r\n\r\n")
		if len(e.Panics) != 1 || e.Panics[0].Component != DMARC || e.DMARC.Result != want {
			t.Errorf("%s: dmarc=%s, panics %+v", name, e.DMARC.Result, e.Panics)
		}
	}
	v := NewVerifier(bomb{next: z, typ: dns.TypeA, name: "mx.bank.example"}, Options{LookAhead: true})
	if e := evaluate(t, v, "<a@bank.example>", hello); len(e.Panics) == 0 || e.DMARC.Result != dmarc.ResultPass {
		t.Errorf("the client's name: dmarc=%s, panics %+v", e.DMARC.Result, e.Panics)
	}
}

// TestSPFAhead checks that both SPF checks look ahead as Options.SPFAhead says, and
// that the cost of SPF counts the questions of both.
func TestSPFAhead(t *testing.T) {
	const trip = time.Second
	const terms = `
ahead.example TXT "v=spf1 a include:one.example include:two.example -all"
one.example TXT "v=spf1 ip4:203.0.113.0/24 -all"
two.example TXT "v=spf1 ip4:192.0.2.1 -all"
mx.ahead.example TXT "v=spf1 a include:one.example -all"
mx.ahead.example A 192.0.2.1
`
	for questions, want := range map[int]struct {
		elapsed         time.Duration
		ahead, unneeded int
	}{
		0:  {4 * trip, 0, 0},
		1:  {4 * trip, 2, 0}, // each check asks ahead for its term "a", which is its next question anyway
		10: {2 * trip, 5, 1}, // the check of HELO does not need include:one.example, because its term "a" matches
	} {
		synctest.Test(t, func(t *testing.T) {
			v := NewVerifier(away{next: nameserver.Zone(t, terms), trip: trip}, Options{SPFAhead: questions, Now: stopped(), Grace: 10 * trip})
			c := v.Connect(t.Context(), Session{Client: client})
			defer c.Close()
			c.Helo("mx.ahead.example")
			m := c.Begin(Session{}, Envelope{MailFrom: "<a@ahead.example>"})
			defer m.Close()
			m.EndOfHeader(message.Header{{Name: "From", Value: " a@ahead.example"}})
			e := m.Finish(t.Context(), Envelope{})
			cost := e.Cost[SPF]
			if m.mailFrom.elapsed != want.elapsed || cost.Ahead != want.ahead || cost.Unneeded != want.unneeded {
				t.Errorf("%d questions ahead: %v, %d asked, %d unneeded", questions, m.mailFrom.elapsed, cost.Ahead, cost.Unneeded)
			}
			if e.MailFrom.Result != spf.Pass || e.HELO.Result != spf.Pass {
				t.Errorf("%d questions ahead: %s, %s", questions, e.MailFrom.Result, e.HELO.Result)
			}
		})
	}
}
