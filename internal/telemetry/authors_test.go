package telemetry

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/distinct"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// from returns a message of an author in the given domain. If record is not "", it is the
// name at which a DMARC record was found, and published is the policy in this record.
func from(domain, record dns.Name, published dmarc.Policy) *msgauth.Evaluation {
	e := &msgauth.Evaluation{From: author.From{AuthorDomain: domain}, Time: time.Now()}
	e.DMARC = dmarc.Evaluation{Result: dmarc.ResultNone, AuthorDomain: domain}
	if record != "" {
		e.DMARC = dmarc.Evaluation{
			Result: dmarc.ResultFail, AuthorDomain: domain, PolicyDomain: record, PolicyPublished: published, Record: &dmarc.Record{P: published},
		}
	}
	return e
}

// The function but applies `change` to e and returns e.
func but(e *msgauth.Evaluation, change func(*msgauth.Evaluation)) *msgauth.Evaluation {
	change(e)
	return e
}

func TestAuthorDomains(t *testing.T) {
	no := false
	spfAt := func(domain dns.Name) func(*msgauth.Evaluation) {
		return func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Domain: domain, Record: "v=spf1 -all"} }
	}
	keyAt := func(domain dns.Name, bits int) func(*msgauth.Evaluation) {
		return func(e *msgauth.Evaluation) { e.DKIM = []dkim.Signature{{Domain: domain, KeyBits: bits}} }
	}
	for _, tt := range []struct {
		reason  string
		message *msgauth.Evaluation
		counted string // expected policy under which the domain is counted; "" if it is not counted
	}{
		{"a record of the domain's own", from("a.example", "a.example", dmarc.PolicyReject), "reject"},
		{"a name below it", from("mail.a.example", "a.example", dmarc.PolicyReject), "reject"},
		{"p=none is published", from("b.example", "b.example", dmarc.PolicyNone), "none"},
		{"quarantine", from("c.example", "c.example", dmarc.PolicyQuarantine), "quarantine"},
		{"t=y changes what is asked for, not what is published", but(from("t.example", "t.example", dmarc.PolicyReject), func(e *msgauth.Evaluation) {
			e.DMARC.Testing, e.DMARC.Disposition = true, dmarc.PolicyQuarantine
		}), "reject"},
		{"a message that passes", but(from("p.example", "p.example", dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultPass }),
			"reject"},

		{"nothing published, anybody could have made the name up", from("nothing.example", "", ""), ""},
		{"an SPF record of the domain", but(from("d.example", "", ""), spfAt("d.example")), "absent"},
		{"an SPF record below it", but(from("e.example", "", ""), spfAt("bounce.e.example")), "absent"},
		{"an SPF record of another domain", but(from("nothing.example", "", ""), spfAt("other.example")), ""},
		{"SPF without a record", but(from("nothing.example", "", ""), func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Domain: "nothing.example"} }), ""},
		{"an SPF record of the HELO name", but(from("h.example", "", ""), func(e *msgauth.Evaluation) {
			e.HELO = spf.Check{Domain: "mx.h.example", Record: "v=spf1 a -all"}
		}), "absent"},
		{"a key, whether its signature passes or not", but(from("f.example", "", ""), keyAt("f.example", 2048)), "absent"},
		{"a signature without a key", but(from("nothing.example", "", ""), keyAt("nothing.example", 0)), ""},
		{"a key of another domain whose name ends the same", but(from("nothing.example", "", ""), keyAt("xnothing.example", 2048)), ""},
		{"a record that is not usable counts as none", but(from("g.example", "g.example", ""),
			func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultNone }), "absent"},

		{"the policy is not known for a DNS failure", but(from("a.example", "", ""), func(e *msgauth.Evaluation) {
			spfAt("a.example")(e)
			e.DMARC.Result = dmarc.ResultTempError
		}), ""},
		{"it passes, but which policy it would be is not known",
			but(from("a.example", "a.example", ""), func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultPass }), ""},
		{"an alignment is not known, the policy is", but(from("i.example", "i.example", dmarc.PolicyReject),
			func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultTempError }), "reject"},
		{"np: the author's domain does not exist", but(from("made.up.a.example", "a.example", dmarc.PolicyReject),
			func(e *msgauth.Evaluation) { e.DMARC.AuthorExists = &no }), ""},
		{"a record of the public suffix does not count", from("made-up.co.uk", "co.uk", dmarc.PolicyReject), ""},
		{"a domain below a suffix with a record", but(from("real.co.uk", "co.uk", dmarc.PolicyReject), spfAt("real.co.uk")), "reject"},
		{"a public suffix itself", from("co.uk", "co.uk", dmarc.PolicyReject), ""},
		{"a policy that is not known", from("u.example", "u.example", "other"), ""},
		{"no author", but(from("", "", ""), func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultPermError }), ""},
	} {
		reg := prometheus.NewRegistry()
		New(reg).Decided(decided(tt.message, policy.Verdict{}), 0)
		for _, p := range []string{"none", "quarantine", "reject", "absent"} {
			want := 0.0
			if p == tt.counted {
				want = 1
			}
			if got := value(t, reg, "sekimori_author_domains", map[string]string{"policy": p}); got != want {
				t.Errorf("%s: %s is %v, want %v", tt.reason, p, got, want)
			}
		}
	}
}

// TestAuthorDomainsOfTheStore: as soon as the store has numbers, they are shown instead of the daemon's own.
func TestAuthorDomainsOfTheStore(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	m.Decided(decided(from("a.example", "a.example", dmarc.PolicyReject), policy.Verdict{}), 0)
	var kept map[dmarc.Policy]float64
	m.CountAuthors(func() map[dmarc.Policy]float64 { return kept })
	for _, tt := range []struct {
		kept         map[dmarc.Policy]float64
		reject, none float64
	}{
		{nil, 1, 0}, {map[dmarc.Policy]float64{dmarc.PolicyReject: 41.6, dmarc.PolicyNone: 2.4}, 42, 2}, {map[dmarc.Policy]float64{}, 0, 0},
	} {
		kept = tt.kept
		for p, want := range map[string]float64{"reject": tt.reject, "none": tt.none} {
			if got := value(t, reg, "sekimori_author_domains", map[string]string{"policy": p}); got != want {
				t.Errorf("the store has %v: %s is %v, want %v", tt.kept, p, got, want)
			}
		}
	}
}

// TestAuthorDomainsAreRegistered checks that many invented names below one registered
// domain are counted as one domain, even if each name has a DMARC record.
func TestAuthorDomainsAreRegistered(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	for i := range 2 * suffix.MaxRemembered {
		for _, below := range []string{"evil.co.uk", "github.io"} { // github.io is in the private section of the suffix list
			name := dns.Name(fmt.Sprintf("n%d.%s", i, below))
			m.Decided(decided(from(name, name, dmarc.PolicyReject), policy.Verdict{}), 0)
		}
	}
	if got := value(t, reg, "sekimori_author_domains", map[string]string{"policy": "reject"}); got != 2 {
		t.Errorf("%v domains, want 2", got)
	}
}

// TestAuthorDomainsChange checks that a domain that changes its policy is counted for both
// policies.
func TestAuthorDomainsChange(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	for _, p := range []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyReject, dmarc.PolicyReject, dmarc.PolicyNone} {
		m.Decided(decided(from("changes.example", "changes.example", p), policy.Verdict{}), 0)
	}
	for _, p := range []string{"none", "reject"} {
		if got := value(t, reg, "sekimori_author_domains", map[string]string{"policy": p}); got != 1 {
			t.Errorf("%s: %v, want 1", p, got)
		}
	}
}

// TestAuthorDomainsConcurrently counts messages in several goroutines, with more author
// domains than are remembered. Run it with -race.
func TestAuthorDomainsConcurrently(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 2 * suffix.MaxRemembered {
				name := dns.Name(fmt.Sprintf("n%d.example", i))
				m.authors.count(from(name, name, dmarc.PolicyReject))
			}
		})
	}
	all.Wait()
	const want = 2 * suffix.MaxRemembered
	if got := value(t, reg, "sekimori_author_domains", map[string]string{"policy": "reject"}); math.Abs(got-want) > 5*distinct.StandardError*want {
		t.Errorf("%v, want about %v", got, want)
	}
}

// TestAuthorDomainsAllocateNothing checks that a message from a known author domain
// allocates no memory, whether or not the domain is counted.
func TestAuthorDomainsAllocateNothing(t *testing.T) {
	m := New(prometheus.NewRegistry())
	for _, e := range []*msgauth.Evaluation{from("news.example.co.jp", "example.co.jp", dmarc.PolicyReject), from("nothing.example", "", "")} {
		m.authors.count(e)
		if n := testing.AllocsPerRun(1000, func() { m.authors.count(e) }); n != 0 {
			t.Errorf("%s: %v allocations", e.From.AuthorDomain, n)
		}
	}
}

// TestAuthorDomainsOfThirtyDays checks that a domain is no longer counted after 30 days
// without mail.
func TestAuthorDomainsOfThirtyDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		m := New(reg)
		const day = 24 * time.Hour
		want := func(when string, n float64) {
			if got := value(t, reg, "sekimori_author_domains", map[string]string{"policy": "none"}); got != n {
				t.Errorf("%s: %v, want %v", when, got, n)
			}
		}
		m.Decided(decided(from("first.example", "first.example", dmarc.PolicyNone), policy.Verdict{}), 0)
		time.Sleep(9 * day)
		m.Decided(decided(from("second.example", "second.example", dmarc.PolicyNone), policy.Verdict{}), 0)
		time.Sleep(20 * day)
		want("on day 30", 2)
		time.Sleep(day)
		want("on day 31", 1)
		m.Decided(decided(from("first.example", "first.example", dmarc.PolicyNone), policy.Verdict{}), 0)
		want("seen again", 2)
		time.Sleep(30 * day)
		want("after a month without mail", 0)
	})
}

// TestOwnerIsRemembered checks that owner gives the same answer for a name when the answer
// is computed and when it is remembered.
func TestOwnerIsRemembered(t *testing.T) {
	a := newAuthorDomains(builder{prometheus.NewRegistry()})
	for _, name := range []dns.Name{"example.com", "a.b.example.com", "com", "", "x.example.co.jp", "me.github.io", "github.io", "unheard-of"} {
		for _, remembered := range []bool{false, true} {
			if got, want := a.owners.Owner(name), suffix.Owner(name); got != want {
				t.Errorf("%s: %q, want %q (remembered: %v)", name, got, want, remembered)
			}
		}
	}
}

func BenchmarkAuthorDomains(b *testing.B) {
	m := New(prometheus.NewRegistry())
	for _, bm := range []struct {
		name    string
		authors int
	}{{"known", suffix.MaxRemembered / 64}, {"new", 16 * suffix.MaxRemembered}} {
		b.Run(bm.name, func(b *testing.B) {
			all := make([]*msgauth.Evaluation, bm.authors)
			for i := range all {
				name := dns.Name(fmt.Sprintf("news.n%d.co.jp", i))
				all[i] = from(name, name, dmarc.PolicyReject)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.authors.count(all[i%len(all)])
			}
		})
	}
}
