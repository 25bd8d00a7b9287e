package msgauth

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/lookalike"
	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/trait"
)

// setOf returns the set of these traits.
func setOf(traits ...trait.Trait) (s trait.Set) {
	s.Add(traits...)
	return s
}

func TestTraits(t *testing.T) {
	field := func(name, value string) message.Header { return message.Header{{Name: name, Value: " " + value}} }
	for _, tt := range []struct {
		name, local string
		h           message.Header
		want        trait.Set
	}{
		{"a newsletter", "a", message.Header{{Name: "List-Unsubscribe", Value: " <x>"}, {Name: "Precedence", Value: " bulk"}}, setOf(trait.Bulk)},
		{"Precedence: junk", "a", field("precedence", "JUNK"), setOf(trait.Bulk)},
		{"Precedence of nothing known", "a", field("Precedence", "first-class"), trait.Set{}},
		{"List-Unsubscribe-Post alone", "a", field("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"), trait.Set{}},
		{"List-Id", "a", field("LIST-ID", "<x>"), setOf(trait.List)},
		{"List-Post", "a", field("List-Post", "<mailto:x@y>"), setOf(trait.List)},
		{"Mailing-List", "a", field("Mailing-List", "contact x; run by ezmlm"), setOf(trait.List)},
		{"X-BeenThere", "a", field("X-BeenThere", "x@y"), setOf(trait.List)},
		{"Precedence: list", "a", field("Precedence", "List "), setOf(trait.List)},
		{"resent", "a", field("Resent-From", "<x@y>"), setOf(trait.Forwarded)},
		{"forwarded by a provider", "a", field("X-Forwarded-To", "x@y"), setOf(trait.Forwarded)},
		{"delivered before", "a", field("Delivered-To", "x@y"), setOf(trait.Forwarded)},
		{"ARC", "a", field("ARC-Seal", "i=1"), setOf(trait.ARC)},
		{"ARC results alone are no chain", "a", field("ARC-Authentication-Results", "i=1"), trait.Set{}},
		{"SRS0", "srs0=HH=TT=orig.example=a", nil, setOf(trait.SRS)},
		{"SRS1", "SRS1+HH=x", nil, setOf(trait.SRS)},
		{"not SRS", "srs0x", nil, trait.Set{}},
		{"list and forwarded", "a", append(field("List-Id", "<x>"), field("X-Original-To", "x")...), setOf(trait.List, trait.Forwarded)},
	} {
		e := &Evaluation{}
		(&Verification{header: tt.h, path: mailaddr.Path{Local: tt.local}}).findTraits(t.Context(), e)
		if e.Traits != tt.want {
			t.Errorf("%s: %s", tt.name, e.Traits)
		}
	}
}

func TestListDomains(t *testing.T) {
	for _, tt := range []struct {
		why  string
		h    message.Header
		want []dns.Name
	}{
		{"as RFC 2919 writes it", message.Header{{Name: "List-ID", Value: " Gardeners\r\n\t<roses.Lists.example>"}}, []dns.Name{"roses.lists.example"}},
		{"as RFC 2369 writes it", message.Header{{Name: "List-Post", Value: " <mailto:roses@lists.example?subject=x@y.example>"}}, []dns.Name{"lists.example"}},
		{"no posting", message.Header{{Name: "List-Post", Value: " NO"}}, nil},
		{"another field", message.Header{{Name: "From", Value: " <a@lists.example>"}, {Name: "List-Owner", Value: " <mailto:o@lists.example>"}}, nil},
		{"no brackets", message.Header{{Name: "List-Id", Value: " lists.example"}}, nil},
		{"not closed", message.Header{{Name: "List-Id", Value: " <lists.example"}}, nil},
		{"one label", message.Header{{Name: "List-Id", Value: " <localhost>"}}, nil},
		{"octets that no name has", message.Header{{Name: "List-Id", Value: " <a b.example>"}}, nil},
		{"many", slices.Repeat(message.Header{{Name: "List-Id", Value: " <l.example>"}}, 2000), slices.Repeat([]dns.Name{"l.example"}, maxListDomains)},
	} {
		if got := listDomains(tt.h); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

func FuzzListDomains(f *testing.F) {
	for _, seed := range []string{" <a.example>", " <mailto:x@a.example?y>", "<<>>", "<@>", "<?>", " x <\r\n y.example >"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, n := range listDomains(message.Header{{Name: "List-Id", Value: value}}) {
			if again, err := dns.ParseHostname(string(n)); err != nil || again != n {
				t.Errorf("%q gives %q: %v", value, n, err)
			}
		}
	})
}

func TestTraitsOfSignatures(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    dkim.Signature
		want trait.Set
	}{
		{"broken body under the author's domain", dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonBodyHash, Domain: "mail.bank.example"},
			setOf(trait.BrokenAuthorSignature)},
		{"broken header", dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonSignature, Domain: "bank.example"}, setOf(trait.BrokenAuthorSignature)},
		{"no key proves nothing", dkim.Signature{Result: dkim.PermError, Reason: dkim.ReasonKeyNotFound, Domain: "bank.example"}, trait.Set{}},
		{"cut by the MTA", dkim.Signature{Result: dkim.Neutral, Reason: dkim.ReasonNotVerifiable, Domain: "bank.example"}, setOf(trait.BrokenAuthorSignature)},
		{"over a field that MTAs remove", dkim.Signature{Result: dkim.Neutral, Reason: dkim.ReasonDroppedField, Domain: "bank.example"},
			setOf(trait.BrokenAuthorSignature)},
		{"over a space that the MTA does not show",
			dkim.Signature{Result: dkim.Neutral, Reason: dkim.ReasonLeadingSpace, Domain: "mail.bank.example"},
			setOf(trait.BrokenAuthorSignature)},
		{"another domain's, over a field that MTAs remove",
			dkim.Signature{Result: dkim.Neutral, Reason: dkim.ReasonDroppedField, Domain: "other.example"}, trait.Set{}},
		{"a footer past l=", dkim.Signature{Result: dkim.Policy, Reason: dkim.ReasonBodyLength, Domain: "bank.example"}, setOf(trait.BrokenAuthorSignature)},
		{"somebody else's broken one", dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonBodyHash, Domain: "xbank.example"}, trait.Set{}},
		{"somebody else's good one", dkim.Signature{Result: dkim.Pass, Domain: "other.example"}, setOf(trait.ThirdPartySignature)},
		{"the list's good one", dkim.Signature{Result: dkim.Pass, Domain: "lists.example"}, setOf(trait.ThirdPartySignature, trait.ListSignature)},
		{"the list's host's domain", dkim.Signature{Result: dkim.Pass, Domain: "roses.lists.example"}, setOf(trait.ThirdPartySignature, trait.ListSignature)},
		{"a domain below the list's is not the list's", dkim.Signature{Result: dkim.Pass, Domain: "x.roses.lists.example"},
			setOf(trait.ThirdPartySignature)},
		{"the list's broken one", dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonBodyHash, Domain: "lists.example"}, trait.Set{}},
	} {
		e := &Evaluation{From: author.From{AuthorDomain: "bank.example"}, DKIM: []dkim.Signature{tt.s}}
		m := &Verification{header: message.Header{{Name: "List-Id", Value: " <roses.lists.example>"}}}
		m.findTraits(t.Context(), e)
		tt.want.Add(trait.List) // the trait that List-Id gives
		if e.Traits != tt.want {
			t.Errorf("%s: %s", tt.name, e.Traits)
		}
	}
}

func TestRewrittenFrom(t *testing.T) {
	for value, want := range map[string]bool{
		" Ann via Gardeners <roses@lists.example>":   true,
		` "Ann Via Gardeners" <roses@lists.example>`: true,
		" Olivia <o@lists.example>":                  false,
		" Via <via@lists.example>":                   false,
	} {
		from, err := author.Parse([]string{value})
		if err != nil {
			t.Fatal(err)
		}
		if got := rewritten(from); got != want {
			t.Errorf("%s: %t", value, got)
		}
	}
}

// TestDigest: the digest does not depend on trace fields, the body or the return path. It differs
// for another author, date or message ID.
func TestDigest(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	v := NewVerifier(nameserver.Zone(t, zoneText), Options{Now: func() time.Time { return now }})
	const raw = "Date: today\r\nMessage-ID: <1@x>\r\n" + hello
	e := evaluate(t, v, "<a@bank.example>", raw)
	if len(e.Digest) != 32 || !e.Time.Equal(now) {
		t.Errorf("digest %q at %v", e.Digest, e.Time)
	}
	for change, same := range map[string]bool{
		"Received: from somewhere\r\n" + raw:             true,
		strings.Replace(raw, "body", "corps", 1):         true,
		strings.Replace(raw, "today", "tomorrow", 1):     false,
		strings.Replace(raw, "<1@x>", "<2@x>", 1):        false,
		strings.Replace(raw, "From: A", "From: B", 1):    false,
		strings.Replace(raw, "Message-ID", "X-Other", 1): false,
	} {
		if got := evaluate(t, v, "<b@bank.example>", change).Digest == e.Digest; got != same {
			t.Errorf("the digest of\n%s\nis the same: %t", change, got)
		}
	}
}

// TestDetectors: exactly the traits that a set can hold have a detector. The learned signs come from
// what the daemon remembers.
func TestDetectors(t *testing.T) {
	for _, w := range trait.Held() {
		if detectors[w] == nil && !w.IsLearned() {
			t.Errorf("%s has no detector", w)
		}
	}
	for w := range detectors {
		if !slices.Contains(trait.Held(), w) {
			t.Errorf("%s has a detector, but no set holds it", w)
		}
	}
}

// TestTraitsOfResults: Evaluation.Has computes the traits that restate results.
func TestTraitsOfResults(t *testing.T) {
	clear := Evaluation{
		Session: Session{Client: netip.MustParseAddr("203.0.113.9")}, From: author.From{AuthorDomain: "bank.example"},
		MailFrom: spf.Check{Result: spf.Fail, Domain: "other.example"}, IPRev: iprev.Result{Status: iprev.TempError},
	}
	for w, change := range map[trait.Trait]func(*Evaluation){
		trait.AuthorSPFFail: func(e *Evaluation) { e.MailFrom.Domain = "mail.bank.example" },
		trait.IPRevFail:     func(e *Evaluation) { e.IPRev.Status = iprev.Fail },
		trait.ClientUnknown: func(e *Evaluation) { e.Session.Client = netip.MustParseAddr("192.168.0.9") },
	} {
		e := clear
		change(&e)
		if clear.Has(w) || !e.Has(w) {
			t.Errorf("%s: %t, and %t without it", w, e.Has(w), clear.Has(w))
		}
	}
}

// TestWatch checks that the verifier compares the author with the watched domains.
func TestWatch(t *testing.T) {
	watch, err := lookalike.New([]lookalike.List{{Name: "banks", Domains: []string{"bank.example"}, Names: []string{"First Bank"}, Lookalikes: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason, from string
		watch        *lookalike.Matcher
		want         string
		is           bool
	}{
		{"a watched domain", "Ann <a@bank.example>", watch, "bank.example ", false},
		{"one that looks like it", "Ann <a@b4nk.example>", watch, "bank.example domain", true},
		{"its name", "=?utf-8?q?F=C4=B1rst?= Bank <a@evil.test>", watch, "First Bank name", true},
		{"no author", "Ann", watch, "", false},
		{"another", "Ann <a@other.example>", watch, "", false},
		{"nothing is watched", "Ann <a@b4nk.example>", nil, "", false},
	} {
		v := NewVerifier(nameserver.Zone(t, ""), Options{Watch: tt.watch})
		c := v.Connect(t.Context(), Session{Client: netip.MustParseAddr("192.0.2.1")})
		m := c.Begin(Session{}, Envelope{})
		m.EndOfHeader(message.Header{{Name: "From", Value: " " + tt.from}})
		e := m.Finish(t.Context(), Envelope{})
		c.Close()
		got := ""
		if e.Watch != nil {
			got = e.Watch.Of + " " + string(e.Watch.Lookalike)
		}
		if got != tt.want || e.Has(trait.Lookalike) != tt.is {
			t.Errorf("%s: %q, trait %v", tt.reason, got, e.Has(trait.Lookalike))
		}
	}
}
