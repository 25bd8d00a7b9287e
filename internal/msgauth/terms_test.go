package msgauth

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/trait"
)

// TestNotDecidedEarly checks when the wait may end: not for an aligned domain whose SPF does not pass, and
// not for a pass whose domain aligns only in the mode of the other mechanism. What comes late, the key or
// the record of SPF, then decides.
func TestNotDecidedEarly(t *testing.T) {
	const delay = 5 * time.Second
	zoneText, mail := signed(t)
	below, mailBelow := signedFor(t, "alice@news.example.com")
	tags := func(zone, tags string) string { return strings.ReplaceAll(zone, "p=reject;", "p=reject; "+tags+";") }
	other := func(record string) string { return zoneText + "m.example.com TXT \"" + record + "\"\n" }
	now := stopped()
	for _, tt := range []struct {
		why, zone, from string
		raw             []byte
		late            dns.Name
		wait            time.Duration
		spf             spf.Result
		dkim            dkim.Result
		dmarc           dmarc.Result
	}{
		{"SPF fail", other("v=spf1 -all"), "<a@m.example.com>", mail, keyName, delay, spf.Fail, dkim.Pass, dmarc.ResultPass},
		{"SPF softfail", other("v=spf1 ~all"), "<a@m.example.com>", mail, keyName, delay, spf.SoftFail, dkim.Pass, dmarc.ResultPass},
		{"SPF neutral", other("v=spf1 ?all"), "<a@m.example.com>", mail, keyName, delay, spf.Neutral, dkim.Pass, dmarc.ResultPass},
		{"SPF fail of the author", strings.ReplaceAll(zoneText, "include:_spf.provider.example ", ""), "<a@example.com>", mail,
			keyName, delay, spf.Fail, dkim.Pass, dmarc.ResultPass},

		{"SPF above the author", below, "<a@example.com>", mailBelow, keyName, DefaultGrace, spf.Pass, dkim.TempError, dmarc.ResultPass},
		{"SPF above the author, aspf=s", tags(below, "aspf=s"), "<a@example.com>", mailBelow, keyName, delay, spf.Pass, dkim.Pass, dmarc.ResultPass},
		{"SPF above the author, adkim=s", tags(below, "adkim=s"), "<a@example.com>", mailBelow, keyName, DefaultGrace, spf.Pass, dkim.TempError, dmarc.ResultPass},
		{"a signature above the author", below, "<a@example.com>", mailBelow, "example.com", DefaultGrace, spf.TempError, dkim.Pass, dmarc.ResultPass},
		{"a signature above the author, adkim=s", tags(below, "adkim=s"), "<a@example.com>", mailBelow, "example.com", delay, spf.Pass, dkim.Pass, dmarc.ResultPass},
		{"a signature above the author, aspf=s", tags(below, "aspf=s"), "<a@example.com>", mailBelow, "example.com",
			DefaultGrace, spf.TempError, dkim.Pass, dmarc.ResultPass},
		{"a signature above the author, adkim=s, and nothing else", tags(below, "adkim=s"), "<a@other.example>", mailBelow, keyName,
			delay, spf.None, dkim.Pass, dmarc.ResultFail},
	} {
		synctest.Test(t, func(t *testing.T) {
			z := late{next: nameserver.Zone(t, tt.zone), delays: map[dns.Name]time.Duration{tt.late: delay}}
			e := evaluate(t, NewVerifier(z, Options{Now: now}), tt.from, string(tt.raw))
			if e.Wait != tt.wait || e.MailFrom.Result != tt.spf || len(e.DKIM) != 1 || e.DKIM[0].Result != tt.dkim || e.DMARC.Result != tt.dmarc {
				t.Errorf("%s: after %v spf=%s dkim=%s dmarc=%s, want %v %s %s %s", tt.why, e.Wait, e.MailFrom.Result, e.DKIM[0].Result, e.DMARC.Result,
					tt.wait, tt.spf, tt.dkim, tt.dmarc)
			}
		})
	}
}

// TestIdentifiers checks which results become identifiers of DMARC: what passed, and what a
// temporary error may have kept from passing. If the whole of DKIM has no result, one of the
// signatures may have been the author's.
func TestIdentifiers(t *testing.T) {
	id := func(m dmarc.Mechanism, domain dns.Name, s dmarc.State, label string) []dmarc.Identifier {
		return []dmarc.Identifier{{Mechanism: m, Domain: domain, State: s, Label: label}}
	}
	signature := func(r dkim.Result, domain dns.Name) Evaluation {
		return Evaluation{DKIM: []dkim.Signature{{Result: r, Domain: domain, Selector: "s"}}}
	}
	sender := func(r spf.Result, domain dns.Name) Evaluation {
		return Evaluation{MailFrom: spf.Check{Result: r, Domain: domain}}
	}
	for _, tt := range []struct {
		why  string
		e    Evaluation
		want []dmarc.Identifier
	}{
		{"SPF pass", sender(spf.Pass, "a.example"), id(dmarc.SPF, "a.example", dmarc.StatePass, "")},
		{"SPF temperror", sender(spf.TempError, "a.example"), id(dmarc.SPF, "a.example", dmarc.StateTempError, "")},
		{"SPF fail", sender(spf.Fail, "a.example"), nil},
		{"SPF permerror", sender(spf.PermError, "a.example"), nil},
		{"SPF without a domain", sender(spf.Pass, ""), nil},
		{"SPF temperror without a domain", sender(spf.TempError, ""), nil},
		{"DKIM pass", signature(dkim.Pass, "a.example"), id(dmarc.DKIM, "a.example", dmarc.StatePass, "s")},
		{"DKIM temperror", signature(dkim.TempError, "a.example"), id(dmarc.DKIM, "a.example", dmarc.StateTempError, "s")},
		{"DKIM fail", signature(dkim.Fail, "a.example"), nil},
		{"DKIM permerror", signature(dkim.PermError, "a.example"), nil},
		{"DKIM without any result", signature(dkim.TempError, ""), id(dmarc.DKIM, "author.example", dmarc.StateTempError, "s")},
		{"DKIM pass without a domain", signature(dkim.Pass, ""), nil},
	} {
		tt.e.From.AuthorDomain = "author.example"
		got := identifiers(&tt.e)
		if len(got) != len(tt.want) || len(got) == 1 && got[0] != tt.want[0] {
			t.Errorf("%s: %+v, want %+v", tt.why, got, tt.want)
		}
	}
}

// TestThirdParty checks that a signature of the author's domain is none of a third party.
func TestThirdParty(t *testing.T) {
	for _, tt := range []struct {
		why    string
		s      dkim.Signature
		author dns.Name
		org    dns.Name
		want   bool
	}{
		{"another's", dkim.Signature{Result: dkim.Pass, Domain: "x.example"}, "mail.bank.example", "bank.example", true},
		{"the author's own", dkim.Signature{Result: dkim.Pass, Domain: "mail.bank.example"}, "mail.bank.example", "bank.example", false},
		{"of the organization", dkim.Signature{Result: dkim.Pass, Domain: "bank.example"}, "mail.bank.example", "bank.example", false},
		{"of a sibling in the organization", dkim.Signature{Result: dkim.Pass, Domain: "shop.bank.example"}, "mail.bank.example", "bank.example", false},
		{"of a sibling, and the organization is not known", dkim.Signature{Result: dkim.Pass, Domain: "shop.bank.example"}, "mail.bank.example", "", true},
		{"another's that fails", dkim.Signature{Result: dkim.Fail, Domain: "x.example"}, "mail.bank.example", "bank.example", false},
		{"without a domain", dkim.Signature{Result: dkim.Pass}, "mail.bank.example", "bank.example", false},
		{"of a message without an author", dkim.Signature{Result: dkim.Pass, Domain: "x.example"}, "", "", false},
	} {
		e := &Evaluation{From: author.From{AuthorDomain: tt.author}, DMARC: dmarc.Evaluation{OrganizationalDomain: tt.org}, DKIM: []dkim.Signature{tt.s}}
		(&Verification{}).findTraits(t.Context(), e)
		if got := e.Has(trait.ThirdPartySignature); got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
	}
}

// TestStagePanics checks a message in which each stage in turn panics: the panic is recorded under
// its name, the result of the stage is the one that costs the sender nothing, and all other results
// are there.
func TestStagePanics(t *testing.T) {
	zoneText, raw := signed(t)
	now := stopped()
	for _, tt := range []struct {
		why    string
		typ    dns.Type
		name   dns.Name
		from   string
		panics Mechanism
		// The results without the panic are pass, pass, pass, pass, and pass.
		helo, mailFrom spf.Result
		dkim           dkim.Result
		dmarc          dmarc.Result
		iprev          iprev.Status
	}{
		{"none", 0, "", "<a@example.com>", "", spf.Pass, spf.Pass, dkim.Pass, dmarc.ResultPass, iprev.Pass},
		{"HELO", dns.TypeTXT, "mx.example.com", "<a@example.com>", SPF, spf.TempError, spf.Pass, dkim.Pass, dmarc.ResultPass, iprev.Pass},
		{"MAIL FROM", dns.TypeTXT, "example.com", "<a@example.com>", SPF, spf.Pass, spf.TempError, dkim.Pass, dmarc.ResultPass, iprev.Pass},
		{"iprev", dns.TypePTR, "1.2.0.192.in-addr.arpa", "<a@example.com>", IPRev, spf.Pass, spf.Pass, dkim.Pass, dmarc.ResultPass, iprev.TempError},
		{"DKIM", dns.TypeTXT, keyName, "<a@example.com>", DKIM, spf.Pass, spf.Pass, dkim.TempError, dmarc.ResultPass, iprev.Pass},
		{"DKIM, and nothing else passes", dns.TypeTXT, keyName, "<a@other.example>", DKIM, spf.Pass, spf.None, dkim.TempError, dmarc.ResultTempError, iprev.Pass},
		{"DMARC", dns.TypeTXT, "_dmarc.example.com", "<a@example.com>", DMARC, spf.Pass, spf.Pass, dkim.Pass, dmarc.ResultTempError, iprev.Pass},
	} {
		v := NewVerifier(bomb{next: nameserver.Zone(t, zoneText), typ: tt.typ, name: tt.name}, Options{Now: now})
		c := v.Connect(t.Context(), Session{Client: client})
		c.Helo("mx.example.com")
		m := c.Begin(Session{}, Envelope{MailFrom: tt.from})
		h, body := message.Parse(raw)
		m.EndOfHeader(h)
		_, _ = m.Write(body)
		e := m.Finish(t.Context(), Envelope{MailFrom: tt.from})
		m.Close()
		c.Close()
		if e.HELO.Result != tt.helo || e.MailFrom.Result != tt.mailFrom || e.DMARC.Result != tt.dmarc || e.IPRev.Status != tt.iprev ||
			len(e.DKIM) != 1 || e.DKIM[0].Result != tt.dkim {
			t.Errorf("%s: helo=%s spf=%s dkim=%+v dmarc=%s iprev=%s", tt.why, e.HELO.Result, e.MailFrom.Result, e.DKIM, e.DMARC.Result, e.IPRev.Status)
		}
		if (len(e.Panics) == 1 && e.Panics[0].Component == tt.panics) != (tt.panics != "") || tt.panics == "" && len(e.Panics) != 0 {
			t.Errorf("%s: panics %+v", tt.why, e.Panics)
		}
	}
}

// TestChainPanics checks that a panic of ARC leaves a chain that fails, which counts as none.
func TestChainPanics(t *testing.T) {
	c := NewVerifier(nameserver.Zone(t, zoneText), Options{}).Connect(t.Context(), Session{Client: client})
	defer c.Close()
	m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
	defer m.Close()
	m.EndOfHeader(message.Header{{Name: "From", Value: " a@bank.example"}})
	m.arc = nil // every method panics
	e := m.Finish(t.Context(), Envelope{})
	if e.ARC.Status != arc.Fail || len(e.Panics) != 1 || e.Panics[0].Component != ARC || e.DMARC.Result != dmarc.ResultPass {
		t.Errorf("arc=%s dmarc=%s, panics %+v", e.ARC.Status, e.DMARC.Result, e.Panics)
	}
}

// TestRepeatedHelo checks that the same HELO name again is not checked again.
func TestRepeatedHelo(t *testing.T) {
	z := nameserver.Zone(t, zoneText)
	c := NewVerifier(z, Options{}).Connect(t.Context(), Session{Client: client})
	defer c.Close()
	for range 1000 {
		c.Helo("mx.bank.example")
	}
	m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
	defer m.Close()
	if e := m.Finish(t.Context(), Envelope{}); e.HELO.Result != spf.Pass {
		t.Errorf("helo %s", e.HELO.Result)
	}
	asked := 0
	for _, q := range z.Queries() {
		if strings.HasPrefix(q, "mx.bank.example") && strings.Contains(q, "TXT") {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("the record of HELO was asked for %d times", asked)
	}
}

// TestHeloOutOfTime checks that a HELO check that does not end in time is a temporary error, whose
// reason says whether the time or the slots were used up.
func TestHeloOutOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(hole{next: nameserver.Zone(t, zoneText), under: "mx.bank.example"}, Options{})
		e := evaluate(t, v, "<a@bank.example>", hello)
		if e.HELO.Result != spf.TempError || e.HELO.Reason != spf.ReasonTimeLimit || e.HELO.Identity != spf.HELO || e.HELO.Problem == "" {
			t.Errorf("%+v", e.HELO)
		}
	})
}
