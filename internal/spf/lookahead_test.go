package spf

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// far is a resolver that takes the time "trip" for each answer. Questions for the
// names in "silent" never get an answer.
type far struct {
	dns.LookupOnly
	zone   dns.Resolver
	trip   time.Duration
	silent []dns.Name

	mu      *sync.Mutex
	asked   *[]string
	pending *int // questions without an answer
}

func newFar(zone dns.Resolver, trip time.Duration, silent ...dns.Name) far {
	return far{zone: zone, trip: trip, silent: silent, mu: new(sync.Mutex), asked: new([]string), pending: new(int)}
}

func (f far) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	f.mu.Lock()
	*f.asked = append(*f.asked, string(name)+" "+typ.String())
	*f.pending++
	after := time.Duration(len(*f.asked)) * time.Microsecond // no two answers in one instant, whose order would be anybody's guess
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		*f.pending--
		f.mu.Unlock()
	}()
	trip := time.After(f.trip + after)
	if slices.Contains(f.silent, name) {
		trip = nil
	}
	select {
	case <-trip:
		return f.zone.Lookup(ctx, name, typ)
	case <-ctx.Done():
		return dns.Answer{}, dns.OutOfTime(f, ctx.Err(), name, typ)
	}
}

const severalTerms = `
eleven.example TXT "v=spf1 a:k1.k.example a:k2.k.example a:k3.k.example a:k4.k.example a:k5.k.example a:k6.k.example a:k7.k.example a:k8.k.example a:k9.k.example a:k10.k.example a:k11.k.example -all"
*.k.example A 203.0.113.1
several.example TXT "v=spf1 a mx include:one.example include:two.example ip4:192.0.2.1 -all"
several.example A 203.0.113.1
several.example MX 10 mx1.several.example
several.example MX 20 mx2.several.example
mx1.several.example A 203.0.113.2
mx2.several.example A 203.0.113.3
one.example TXT "v=spf1 include:below.example ?all"
below.example TXT "v=spf1 exists:%{ir}.list.example -all"
two.example TXT "v=spf1 ip4:203.0.113.0/24 -all"
three.example TXT "v=spf1 -all"

first.example TXT "v=spf1 ip4:192.0.2.0/24 a mx include:one.example -all"
early.example TXT "v=spf1 a include:two.example include:three.example -all"
early.example A 192.0.2.1
fork.example TXT "v=spf1 redirect=several.example"
ptr.example TXT "v=spf1 exists:%{p}.ptr.example include:two.example -all"
many.example TXT "v=spf1 mx -all"
many.example MX 1 h1.example
many.example MX 1 h2.example
many.example MX 1 h3.example
many.example MX 1 h4.example
many.example MX 1 h5.example
many.example MX 1 h6.example
many.example MX 1 h7.example
many.example MX 1 h8.example
h8.example A 192.0.2.1
other.example TXT "v=spf1 ip4:203.0.113.9 a:h1.example a:h2.example -all"
behind.example TXT "v=spf1 include:one.example mx:mx.behind.example -all"
mx.behind.example MX 1 h8.example
wide.example TXT "v=spf1 ip6:2001:db8::1 ip6:2001:db8::1 ip6:2001:db8::1 ip6:2001:db8::1 ip6:2001:db8::1 ip6:2001:db8::1 ip6:2001:db8::1 ip6:2001:db8::1 ip6:2001:db8::1 ip6:2001:db8::1 a:h8.example -all"
after.example TXT "v=spf1 ip4:203.0.113.9 -all a:h8.example"
null.example TXT "v=spf1 mx a:h8.example -all"
null.example MX 0 .
ten.example TXT "v=spf1 mx -all"
ten.example MX 1 h1.example
ten.example MX 1 h2.example
ten.example MX 1 h3.example
ten.example MX 1 h4.example
ten.example MX 1 h5.example
ten.example MX 1 h6.example
ten.example MX 1 h7.example
ten.example MX 1 h9.example
ten.example MX 1 h10.example
ten.example MX 2 h8.example
`

// TestLookAhead checks how many round trips a check takes if no answer is known
// yet. The result must be the same as that of a check that asks one question after
// the other.
func TestLookAhead(t *testing.T) {
	const trip = 20 * time.Millisecond
	for _, tt := range []struct {
		why, domain     string
		ahead           int
		inTurn, trips   int // numbers of round trips without and with look-ahead
		asked, unneeded int
		want            Result
	}{
		{"the record, its terms, and what they name", "several.example", 10, 9, 4, 8, 0, Pass},
		{"an address that matches before any question", "first.example", 10, 1, 1, 0, 0, Pass},
		{"a match at the first question", "early.example", 10, 2, 2, 3, 2, Pass},
		{"a redirect", "fork.example", 10, 10, 5, 9, 0, Pass},
		{"a name that depends on PTR is not guessed", "ptr.example", 10, 4, 3, 1, 0, Fail},
		{"two questions only", "several.example", 2, 9, 8, 2, 0, Pass},
		{"an address that does not match before the questions", "other.example", 10, 3, 2, 2, 0, Fail},
		{"ten addresses, which are no lookups, before a question", "wide.example", 10, 2, 2, 1, 0, Pass},
		{"what comes after all", "after.example", 10, 1, 1, 0, 0, Fail},
		{"the hosts of an mx behind a slow term", "behind.example", 10, 6, 4, 5, 0, Pass},
		{"as many hosts as an mx may have", "ten.example", 20, 12, 4, 11, 0, Pass},
		{"a null MX names no host", "null.example", 10, 3, 2, 2, 0, Pass},
		{"one term more than is evaluated", "eleven.example", 20, 11, 3, 10, 0, PermError},
		{"more hosts than may be under way", "many.example", 10, 10, 4, 9, 0, Pass},
	} {
		check := func(n int) (c Check, trips int) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				r := dns.NewAhead(newFar(nameserver.Zone(t, severalTerms), trip))
				c = CheckMailFrom(t.Context(), r, Args{IP: client, MailFrom: "a@" + tt.domain, LookAhead: n})
				trips = int(time.Since(begin) / trip)
			})
			return c, trips
		}
		inTurn, slow := check(0)
		ahead, fast := check(tt.ahead)
		if slow != tt.inTurn || fast != tt.trips || ahead.Ahead != tt.asked || ahead.Unneeded != tt.unneeded || ahead.Result != tt.want {
			t.Errorf("%s: %d round trips in turn, %d ahead, %d asked, %d unneeded, %s", tt.why, slow, fast, ahead.Ahead, ahead.Unneeded, ahead.Result)
		}
		same(t, tt.why, inTurn, ahead)
	}
}

// same tests that two checks differ only in the questions that were asked ahead.
func same(t *testing.T, why string, a, b Check) {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(x) != string(y) {
		t.Errorf("%s: in turn\n%s\nahead\n%s", why, x, y)
	}
}

// TestLookAheadOnce checks that no question is asked twice, even if the evaluation
// comes to a question that is still waiting to be asked early.
func TestLookAheadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(nameserver.Zone(t, severalTerms), time.Second)
		CheckMailFrom(t.Context(), dns.NewAhead(f), Args{IP: client, MailFrom: "a@many.example", LookAhead: 10})
		slices.Sort(*f.asked)
		if n := len(*f.asked); n != 10 || len(slices.Compact(*f.asked)) != n {
			t.Errorf("%q", *f.asked)
		}
	})
}

// TestLookAheadBehindSilence checks that servers that do not answer for later terms
// do not keep an earlier term from matching, and that nothing goes on when the
// check is over.
func TestLookAheadBehindSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const text = `
dead.example TXT "v=spf1 mx include:s1.example include:s2.example include:s3.example include:s4.example include:s5.example include:s6.example include:s7.example -all"
dead.example MX 10 mx.dead.example
mx.dead.example A 192.0.2.1
`
		silent := []dns.Name{"s1.example", "s2.example", "s3.example", "s4.example", "s5.example", "s6.example", "s7.example"}
		begin := time.Now()
		f := newFar(nameserver.Zone(t, text), time.Second, silent...)
		c := CheckMailFrom(t.Context(), dns.NewAhead(f), Args{IP: client, MailFrom: "a@dead.example", LookAhead: 10})
		if took := time.Since(begin).Truncate(time.Millisecond); c.Result != Pass || took != 3*time.Second {
			t.Errorf("%s after %v", c.Result, took)
		}
		synctest.Wait()
		if *f.pending != 0 {
			t.Errorf("%d questions go on: %q", *f.pending, *f.asked)
		}
	})
}

// TestLookAheadStops checks that no further question is asked early after an answer
// that would end the check with an error. The evaluation itself still waits for
// good.example, the first term.
func TestLookAheadStops(t *testing.T) {
	const text = `
void.example TXT "v=spf1 include:good.example a:v1.example a:v2.example a:v3.example a:v4.example a:v5.example a:v6.example a:v7.example a:v8.example -all"
good.example TXT "v=spf1 -all"
gone.example TXT "v=spf1 include:good.example include:nothing.example a:h1.example a:h2.example a:h3.example a:h4.example a:h5.example -all"
wrong.example TXT "v=spf1 include:good.example include:syntax.example a:h1.example a:h2.example a:h3.example a:h4.example a:h5.example -all"
syntax.example TXT "v=spf1 ipv4:192.0.2.1 -all"
failed.example TXT "v=spf1 include:good.example a:servfail.example a:h1.example a:h2.example a:h3.example a:h4.example a:h5.example -all"
! servfail.example A servfail
hosts.example TXT "v=spf1 include:good.example mx:eleven.example a:h1.example a:h2.example a:h3.example a:h4.example a:h5.example -all"
`
	eleven := ""
	for i := range 11 {
		eleven += fmt.Sprintf("eleven.example MX 1 m%d.example\n", i)
	}
	for domain, want := range map[string]int{
		"void.example": maxUnderWay + MaxVoidLookups, // after each void answer, except the last one, one more question is asked
		"gone.example": maxUnderWay, "wrong.example": maxUnderWay, "failed.example": maxUnderWay, "hosts.example": maxUnderWay,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := dns.NewAhead(newFar(slow{zone: nameserver.Zone(t, text+eleven)}, time.Second))
			c := CheckMailFrom(t.Context(), r, Args{IP: client, MailFrom: "a@" + domain, LookAhead: 10})
			if c.Ahead != want {
				t.Errorf("%s: %d questions early, want %d; %s", domain, c.Ahead, want, c.Result)
			}
		})
	}
}

// TestLookAheadEnds checks that questions that still wait when a term matches are neither asked nor counted.
func TestLookAheadEnds(t *testing.T) {
	const text = `
ends.example TXT "v=spf1 a:h0.example a:h1.example a:h2.example a:h3.example a:h4.example a:h5.example a:h6.example a:h7.example a:h8.example -all"
h0.example A 192.0.2.1
`
	synctest.Test(t, func(t *testing.T) {
		f := newFar(nameserver.Zone(t, text), time.Second, "h1.example", "h2.example", "h3.example", "h4.example", "h5.example", "h6.example")
		c := CheckMailFrom(t.Context(), dns.NewAhead(f), Args{IP: client, MailFrom: "a@ends.example", LookAhead: 10})
		if c.Result != Pass || c.Ahead < maxUnderWay || c.Ahead > maxUnderWay+1 { // the answer for h0 makes room for one more
			t.Errorf("%s, %d questions early", c.Result, c.Ahead)
		}
	})
}

// slow is a resolver whose answers for good.example and h1.example to h5.example take
// a second more.
type slow struct {
	dns.LookupOnly
	zone dns.Resolver
}

func (s slow) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name == "good.example" || name[0] == 'h' && len(name) == len("h1.example") {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return s.zone.Lookup(ctx, name, typ)
}

// lingering is a resolver whose questions for late.example go on for a second after their
// context has ended.
type lingering struct {
	dns.LookupOnly
	zone    dns.Resolver
	pending *atomic.Int64
}

func (lingering) Expect(context.Context, dns.Name, dns.Type) bool { return true }

func (l lingering) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name != "late.example" {
		return l.zone.Lookup(ctx, name, typ)
	}
	l.pending.Add(1)
	defer l.pending.Add(-1)
	<-ctx.Done()
	time.Sleep(time.Second)
	return dns.Answer{}, dns.OutOfTime(l, ctx.Err(), name, typ)
}

// TestLookAheadWaits checks that the check returns only when the goroutines that it
// started have ended.
func TestLookAheadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone := newFar(nameserver.Zone(t, "waits.example TXT \"v=spf1 a a:late.example -all\"\nwaits.example A 192.0.2.1"), time.Second)
		r := lingering{zone: zone, pending: new(atomic.Int64)}
		c := CheckMailFrom(t.Context(), r, Args{IP: client, MailFrom: "a@waits.example", LookAhead: 10})
		if n := r.pending.Load(); c.Result != Pass || c.Unneeded != 1 || n != 0 {
			t.Errorf("%s, %d unneeded, %d questions go on", c.Result, c.Unneeded, n)
		}
	})
}

// TestLookAheadWithoutName checks that a term whose name cannot be formed asks nothing.
func TestLookAheadWithoutName(t *testing.T) {
	for _, term := range []string{"a:%{l}.example", "mx:%{l}.example", "exists:%{l}.example", "include:%{l}.example"} {
		for _, local := range []string{"a..b", "\u00e9"} {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(nameserver.Zone(t, `unnamed.example TXT "v=spf1 a:first.example `+term+` -all"`), time.Second)
				CheckMailFrom(t.Context(), dns.NewAhead(f), Args{IP: client, MailFrom: local + "@unnamed.example", LookAhead: 10})
				if want := []string{"unnamed.example TXT", "first.example A"}; !slices.Equal(*f.asked, want) {
					t.Errorf("%s of %q asks %q, want %q", term, local, *f.asked, want)
				}
			})
		}
	}
}

// inTurn is a resolver that must not be asked early.
type inTurn struct {
	dns.Resolver
	t *testing.T
}

func (r inTurn) Expect(_ context.Context, name dns.Name, typ dns.Type) bool {
	r.t.Errorf("%s %s is expected", name, typ)
	return true
}

// TestNoLookAhead checks that nothing is asked early if the caller does not want it.
func TestNoLookAhead(t *testing.T) {
	for _, n := range []int{-1, 0} {
		if c := CheckMailFrom(t.Context(), inTurn{nameserver.Zone(t, severalTerms), t}, Args{IP: client, MailFrom: "a@several.example", LookAhead: n}); c.Result != Pass {
			t.Errorf("%d questions ahead: %s", n, c.Result)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFar(nameserver.Zone(t, severalTerms), time.Second)
		if c := CheckMailFrom(t.Context(), dns.NewAhead(f), Args{IP: client, MailFrom: "a@many.example", LookAhead: 1}); c.Ahead != 1 {
			t.Errorf("%d questions ahead, want 1", c.Ahead)
		}
	})
}
