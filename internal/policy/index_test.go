package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// maker makes random rules and messages from few names and addresses, so that
// many of them match.
type maker struct{ *rand.Rand }

func (m maker) name() dns.Name {
	return []dns.Name{"a.example", "b.a.example", "c.b.a.example", "d.example", "x.d.example", ""}[m.IntN(6)]
}

func (m maker) patterns() []Pattern {
	if m.IntN(3) > 0 {
		return nil
	}
	var out []Pattern
	for range 1 + m.IntN(2) {
		out = append(out, []Pattern{"a.example", "b.a.example", ".a.example", ".example", ".b.a.example", "d.example", "e.example"}[m.IntN(7)])
	}
	return out
}

func (m maker) addr() netip.Addr {
	return netip.MustParseAddr([]string{"192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "2001:db8:1::1", "::ffff:192.0.2.1", "fe80::1%eth0"}[m.IntN(7)])
}

func (m maker) rule(n int) Rule {
	r := Rule{ID: fmt.Sprintf("r%d", n), Then: []Outcome{accept, tag, quarantine, reject, asPolicy(dmarc.PolicyReject)}[m.IntN(5)]}
	r.When = Conditions{Author: m.patterns(), DKIM: m.patterns(), SPF: m.patterns(), ARCSealer: m.patterns(), ClientName: m.patterns()}
	for range m.IntN(4) - 1 {
		prefixes := networks("192.0.2.0/24", "192.0.2.1/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8:1::/48", "198.51.100.99/24", "fe80::/10")
		r.When.Client = append(r.When.Client, prefixes[m.IntN(len(prefixes))])
	}
	if m.IntN(5) == 0 {
		r.When.Traits = []trait.Trait{trait.List}
	}
	if m.IntN(10) == 0 {
		r.Expires = day.Add(time.Duration(m.IntN(3)-1) * time.Hour)
	}
	return r
}

func (m maker) message() *msgauth.Evaluation {
	e := &msgauth.Evaluation{Time: day}
	e.Session.Client, e.From.AuthorDomain = m.addr(), m.name()
	e.DMARC.Result = dmarc.ResultFail
	e.MailFrom = spf.Check{Domain: m.name(), Result: []spf.Result{spf.Pass, spf.Fail, spf.TempError}[m.IntN(3)]}
	for range m.IntN(3) {
		e.DKIM = append(e.DKIM, dkim.Signature{Domain: m.name(), Result: []dkim.Result{dkim.Pass, dkim.Fail, dkim.TempError}[m.IntN(3)]})
	}
	e.IPRev.Status = []iprev.Status{iprev.Pass, iprev.Fail, iprev.TempError}[m.IntN(3)]
	for range m.IntN(3) {
		e.IPRev.Names = append(e.IPRev.Names, m.name())
	}
	e.IPRev.Name = m.name()
	if m.IntN(3) == 0 {
		e.IPRev.DNSError = &dns.Error{Kind: dns.KindBudget}
	}
	for range m.IntN(2) {
		e.ARC.Status = []arc.Status{arc.Pass, arc.Fail}[m.IntN(2)]
		e.ARC.Sets = append(e.ARC.Sets, arc.Set{Instance: 1, Sealer: m.name()})
	}
	for _, method := range []msgauth.Mechanism{msgauth.ARC, msgauth.IPRev} {
		if m.IntN(8) == 0 {
			e.Panics = append(e.Panics, msgauth.Panic{Component: method})
		}
	}
	return e
}

var day = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// TestIndexChangesNothing compares the rule that is found with the index with
// the rule that is found by comparing all rules.
func TestIndexChangesNothing(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(1, 2))}
	hits, open := 0, 0
	for range 300 {
		var c Config
		for n := range fewRules + 1 + m.IntN(60) {
			c.Rules = append(c.Rules, m.rule(n))
		}
		indexed := c
		indexed.IndexRules()
		if indexed.index == nil {
			t.Fatal("not indexed")
		}
		for range 40 {
			e := m.message()
			v := Verdict{Action: Reject}
			hit, left := v.firstRule(e, c)
			gotHit, gotLeft := v.firstRule(e, indexed)
			if gotHit != hit || gotLeft != left {
				t.Fatalf("%+v: with the index %v %+v, without it %v %+v", e, gotHit, gotLeft, hit, left)
			}
			if hit != nil {
				hits++
			}
			if left.rule != "" {
				open++
			}
		}
		for i := range c.Rules {
			if got, want := shadowers(indexed, i), shadowers(c, i); !slices.Equal(got, want) {
				t.Fatalf("rule %d: shadowed by %v, without the index by %v", i, got, want)
			}
		}
	}
	if hits < 1000 || open < 1000 {
		t.Errorf("%d hits, %d open rules: the test compares too little", hits, open)
	}
}

func shadowers(c Config, i int) (out []int) {
	c.Shadowing(i, func(j int) bool {
		if c.Rules[j].Shadows(&c.Rules[i]) {
			out = append(out, j)
		}
		return true
	})
	return out
}

func TestFewRulesAreNotIndexed(t *testing.T) {
	c := Config{Rules: make([]Rule, fewRules+1)}
	c.IndexRules()
	if c.index == nil {
		t.Error("many rules without an index")
	}
	c.Rules = c.Rules[1:]
	c.IndexRules()
	if c.index != nil {
		t.Error("the index of earlier rules is still there")
	}
}

// manyRules returns 10,000 rules of one kind, none of which matches the message
// of the benchmark.
func manyRules(kind string) (c Config) {
	for n := range 10_000 {
		r := Rule{ID: fmt.Sprint("r", n), Then: accept}
		p := []Pattern{Pattern(fmt.Sprintf("d%d.example", n))}
		network := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24)
		switch kind {
		case "author":
			r.When.Author = p
		case "dkim, one author":
			r.When.Author, r.When.DKIM = []Pattern{"author.example"}, p
		case "client":
			r.When.Client = []netip.Prefix{network}
		case "client_name":
			r.When.ClientName = p
		case "traits":
			r.When.Traits = []trait.Trait{trait.List}
		}
		c.Rules = append(c.Rules, r)
	}
	return c
}

func benchmarkMessage() *msgauth.Evaluation {
	e := &msgauth.Evaluation{Time: day}
	e.Session.Client, e.From.AuthorDomain = netip.MustParseAddr("192.0.2.1"), "author.example"
	e.MailFrom = spf.Check{Domain: "bounce.author.example", Result: spf.Pass}
	e.DKIM = []dkim.Signature{{Domain: "author.example", Result: dkim.Pass}, {Domain: "mail.service.example", Result: dkim.Pass}}
	e.IPRev.Status, e.IPRev.Name = iprev.Pass, "mx.author.example"
	return e
}

func BenchmarkRules(b *testing.B) {
	for _, kind := range []string{"author", "dkim, one author", "client", "client_name", "client_name, all open", "traits"} {
		for _, indexed := range []bool{true, false} {
			name, open := kind, kind == "client_name, all open"
			e := benchmarkMessage()
			if open {
				kind = "client_name"
				e.IPRev = iprev.Result{Status: iprev.TempError, DNSError: &dns.Error{Kind: dns.KindBudget}}
			}
			c := manyRules(kind)
			if indexed {
				c.IndexRules()
			}
			b.Run(fmt.Sprintf("%s/indexed=%v", name, indexed), func(b *testing.B) {
				b.ReportAllocs()
				v := Verdict{Action: Reject}
				for b.Loop() {
					v.firstRule(e, c)
				}
			})
		}
	}
}

// TestEither checks "or" of every two answers.
func TestEither(t *testing.T) {
	all := []answer{no, noSlot, unknown, yes}
	want := [][]answer{
		{no, noSlot, unknown, yes},
		{noSlot, noSlot, noSlot, yes},
		{unknown, noSlot, unknown, yes},
		{yes, yes, yes, yes},
	}
	for i, a := range all {
		for j, b := range all {
			if got := either(a, b); got != want[i][j] {
				t.Errorf("%d or %d: %d, want %d", a, b, got, want[i][j])
			}
		}
	}
}
