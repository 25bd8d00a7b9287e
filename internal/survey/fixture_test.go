package survey

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/domaincheck"
	"sekimori/internal/testkit/nameserver"
)

// classes are the nine classes of the fixture.
var classes = []dns.Name{"co.jp", "ne.jp", "or.jp", "go.jp", "lg.jp", "ac.jp", "ed.jp", "ad.jp", "gr.jp"}

// sample is one kind of domain: its zone, in which D is the domain, and what is true of it.
type sample struct {
	zone string
	want Entry
	// unsure: the servers never answer one of the questions, so nothing is known of the domain.
	unsure bool
}

const (
	mx     = "D MX 10 mx.D\nmx.D A 192.0.2.1\n"
	spf    = mx + "D TXT \"v=spf1 mx -all\"\n"
	words8 = "v=spf1 include:p0.test include:p1.test include:p2.test include:p3.test include:p4.test include:p5.test include:p6.test include:p7.test"
)

// providers are included by records of the fixture.
const providers = `
p0.test TXT "v=spf1 ip4:198.51.100.0/28 -all"
p1.test TXT "v=spf1 ip4:198.51.100.16/28 ~all"
p2.test TXT "v=spf1 include:p0.test -all"
p3.test TXT "v=spf1 a:p0.test -all"
p0.test A 198.51.100.1
p4.test TXT "v=spf1 ip6:2001:db8:1::/48 -all"
p5.test TXT "v=spf1 mx:p5.test -all"
p5.test MX 10 p0.test
p6.test TXT "v=spf1 -all"
p7.test TXT "v=spf1 exists:p0.test ?all"
p8.test TXT "v=spf1 redirect=p0.test"
`

func dmarcIs(record string) string { return spf + "_dmarc.D TXT \"" + record + "\"\n" }

// entry is an entry with MX, SPF and the given changes.
func entry(change func(*Entry)) Entry {
	e := Entry{Mail: domaincheck.MailMX, SPF: "fail"}
	change(&e)
	return e
}

func faults(w ...domaincheck.Word) func(*Entry) { return func(e *Entry) { e.Faults = w } }

func own(p string, change func(*Entry), w ...domaincheck.Word) Entry {
	return entry(func(e *Entry) {
		e.Own, e.P, e.Policy, e.Faults = true, p, p, w
		if change != nil {
			change(e)
		}
	})
}

// samples are the kinds of domains, with what is true of them.
func samples() []sample {
	rua := func(e *Entry) { e.RUA = true }
	spfIs := func(record, says string, w ...domaincheck.Word) sample {
		return sample{mx + "D TXT \"" + record + "\"\n", entry(func(e *Entry) { e.SPF, e.Faults = says, w }), false}
	}
	return []sample{
		{"", Entry{Mail: domaincheck.MailNone, Missing: true}, false},
		{"D A 192.0.2.1\n", Entry{Mail: domaincheck.MailNone}, false},
		{"D MX 0 .\nD TXT \"v=spf1 -all\"\n_dmarc.D TXT \"v=DMARC1; p=reject\"\n",
			Entry{Mail: domaincheck.MailNull, SPF: "fail", Own: true, P: "reject", Policy: "reject", Faults: []domaincheck.Word{domaincheck.DMARCNoRUA}}, false},
		{"D MX 0 .\nD MX 10 mx.D\nD TXT \"v=spf1 -all\"\n", entry(faults(domaincheck.MXNullNotOnly)), false},
		{mx, entry(func(e *Entry) { e.SPF = "" }), false},
		{"D MX 10 192.0.2.5\nD TXT \"v=spf1 -all\"\n", entry(faults(domaincheck.MXAddress)), false},

		spfIs("v=spf1 mx -all", "fail"),
		spfIs("v=spf1 mx ~all", "softfail"),
		spfIs("v=spf1 mx ?all", "neutral", domaincheck.SPFNeutral),
		spfIs("v=spf1 mx", "neutral", domaincheck.SPFNeutral),
		spfIs("v=spf1 +all", "pass", domaincheck.SPFPassAll),
		spfIs("v=spf1 include:p0.test include:p1.test include:p4.test ~all", "softfail"),
		spfIs("v=spf1 redirect=p1.test", "softfail"),
		spfIs(words8+" -all", broken, domaincheck.SPFLookupLimit),
		spfIs("v=spf1 include:p2.test include:p3.test include:p5.test include:p6.test include:p4.test include:p8.test -all", "fail", domaincheck.SPFNearLimit),
		spfIs("v=spf1 ipv4:192.0.2.1 -all", broken, domaincheck.SPFSyntax),
		spfIs("v=spf1 include:gone.test -all", broken, domaincheck.SPFIncludeNone),
		spfIs("v=spf1 redirect=gone.test", broken, domaincheck.SPFRedirectNone),
		spfIs("v=spf1 a:x.D a:y.D a:z.D -all", broken, domaincheck.SPFVoidLimit),
		spfIs("v=spf1 ptr -all", "fail", domaincheck.SPFPTR),
		spfIs("spf1 mx -all", broken, domaincheck.SPFNotARecord),
		{spf + "D TXT \"v=spf1 -all\"\n", entry(func(e *Entry) { e.SPF, e.Faults = broken, []domaincheck.Word{domaincheck.SPFMultiple} }), false},
		{mx + "D TXT \"" + strings.Repeat("site-verification=0123456789 ", 8) + "\"\nD TXT \"v=spf1 mx \" \"-all\"\n", entry(func(*Entry) {}), false},

		{dmarcIs("v=DMARC1; p=none; rua=mailto:r@D"), own("none", rua, domaincheck.DMARCMonitors), false},
		{dmarcIs("v=DMARC1;p=quarantine;rua=mailto:r@D;ruf=mailto:f@D"), own("quarantine", func(e *Entry) { e.RUA, e.RUF = true, true }), false},
		{dmarcIs("v=DMARC1; p=reject; sp=none; rua=mailto:r@D"), own("reject", func(e *Entry) { e.RUA, e.SP = true, "none" }, domaincheck.DMARCSubdomains), false},
		{dmarcIs("v=DMARC1; p=reject; sp=quarantine; np=reject"), own("reject", func(e *Entry) { e.SP, e.NP = "quarantine", "reject" },
			domaincheck.DMARCSubdomains, domaincheck.DMARCNoRUA), false},
		{dmarcIs("v=DMARC1; p=reject; t=y; rua=mailto:r@D"), own("reject", func(e *Entry) { e.RUA, e.Testing, e.Policy = true, true, "quarantine" }, domaincheck.DMARCTesting), false},
		{dmarcIs("v=DMARC1; p=reject; pct=0; rua=mailto:r@D"), own("reject", rua, domaincheck.DMARCHistoric), false},
		{dmarcIs("v=DMARC1; p=none; sp=reject; rua=mailto:r@D"), own("none", func(e *Entry) { e.RUA, e.SP = true, "reject" }, domaincheck.DMARCMonitors), false},
		{dmarcIs("v=DMARC1; rua=mailto:r@D"), own("none", rua, domaincheck.DMARCInvalidPolicy), false},
		{dmarcIs("v=DMARC1; p=rejct"), entry(func(e *Entry) { e.Bad, e.Faults = true, []domaincheck.Word{domaincheck.DMARCInvalidPolicy} }), false},
		{dmarcIs("v=DMARC1 p=reject"), entry(func(e *Entry) { e.Bad, e.Faults = true, []domaincheck.Word{domaincheck.DMARCNotARecord} }), false},
		{dmarcIs("v=DMARC1; p=none; p=reject"), entry(func(e *Entry) { e.Bad, e.Faults = true, []domaincheck.Word{domaincheck.DMARCMalformed} }), false},
		{dmarcIs("v=DMARC1; p=none") + "_dmarc.D TXT \"v=DMARC1; p=reject\"\n", entry(func(e *Entry) { e.Bad, e.Faults = true, []domaincheck.Word{domaincheck.DMARCMultiple} }), false},
		{dmarcIs("v=DMARC1; p=reject; rua=r@D"), own("reject", nil, domaincheck.DMARCInvalidTag, domaincheck.DMARCNoRUA), false},
		{dmarcIs("v=DMARC1; p=reject; rua=mailto:r@D") + "default._bimi.D TXT \"v=BIMI1; l=https://D/l.svg\"\n", own("reject", func(e *Entry) { e.RUA, e.BIMI = true, true }), false},
		{dmarcIs("v=DMARC1; p=none; rua=mailto:r@D") + "default._bimi.D TXT \"v=BIMI1; l=https://D/l.svg\"\n",
			own("none", func(e *Entry) { e.RUA, e.BIMI = true, true }, domaincheck.DMARCMonitors, domaincheck.BIMINotEnforcing), false},

		// Name servers in trouble. What fails once, or over UDP only, must not change the result.
		{dmarcIs("v=DMARC1; p=reject; rua=mailto:r@D") + "! D TXT truncate\n! D MX truncate\n! _dmarc.D * truncate\n", own("reject", rua), false},
		{dmarcIs("v=DMARC1; p=reject; rua=mailto:r@D") + "! _dmarc.D * delay=100ms\n", own("reject", rua), false},
		{dmarcIs("v=DMARC1; p=reject; rua=mailto:r@D") + "once.D TXT servfail\n", own("reject", rua), false},
		{dmarcIs("v=DMARC1; p=reject; rua=mailto:r@D") + "once.D TXT silence\n", own("reject", rua), false},
		{dmarcIs("v=DMARC1; p=reject") + "! D * servfail\n", Entry{}, true},
		{dmarcIs("v=DMARC1; p=reject") + "! D TXT refused\n", Entry{}, true},
		{dmarcIs("v=DMARC1; p=reject") + "! _dmarc.D * timeout\n", Entry{}, true},
		{dmarcIs("v=DMARC1; p=reject") + "! D MX truncate-tcp\n", Entry{}, true},
		{mx + "D TXT \"v=spf1 include:dead.test -all\"\n", Entry{}, true},
	}
}

// fixture is a list of domains, the zone that serves them, and what is true of each.
type fixture struct {
	list   []string
	truth  map[string]sample
	zone   string
	once   map[string]string // the domains whose servers fail once for each question, and how
	asked  sync.Map          // the questions about these that were asked before
	number int               // of samples
}

// newFixture makes n domains with a fixed seed.
func newFixture(n int) *fixture {
	rng := rand.New(rand.NewPCG(17, 2026))
	f := &fixture{truth: map[string]sample{}, once: map[string]string{}}
	all := samples()
	f.number = len(all)
	var zone strings.Builder
	zone.WriteString(providers + "! dead.test * servfail\n")
	for i := range n {
		s := all[i%len(all)] // every kind, in every class
		domain := fmt.Sprintf("%c%d-%x.%s", 'a'+rng.IntN(26), i, rng.Uint32(), classes[rng.IntN(len(classes))])
		for line := range strings.Lines(strings.ReplaceAll(s.zone, "D", domain)) {
			line = strings.NewReplacer(domain+"MARC1", "DMARC1").Replace(line) // the D of DMARC1 is not the domain
			if how, ok := strings.CutPrefix(line, "once."+domain+" TXT "); ok {
				f.once[domain] = strings.TrimSpace(how)
				continue
			}
			zone.WriteString(line)
		}
		s.want.Domain = domain
		f.list, f.truth[domain] = append(f.list, domain), s
	}
	rng.Shuffle(len(f.list), func(i, j int) { f.list[i], f.list[j] = f.list[j], f.list[i] })
	f.zone = zone.String()
	return f
}

// reliable returns the domains whose servers always answer.
func (f *fixture) reliable() []string {
	return slices.DeleteFunc(slices.Clone(f.list), func(name string) bool { return f.truth[name].unsure || f.once[name] != "" })
}

// headerLen is the length of a DNS message's header.
const headerLen = 12

// lie makes the servers of some domains fail once for each question.
func (f *fixture) lie(query []byte, overTCP bool) (out [][]byte, lied bool) {
	name := strings.TrimSuffix(nameserver.QuestionName(query), ".")
	domain := name
	if labels := strings.Split(name, "."); len(labels) > 3 {
		domain = strings.Join(labels[len(labels)-3:], ".")
	}
	how := f.once[domain]
	if how == "" || overTCP {
		return nil, false
	}
	// The type stands right behind the name.
	question := name + string(query[headerLen+len(name)+2:headerLen+len(name)+4])
	if _, seen := f.asked.LoadOrStore(question, true); seen {
		return nil, false
	}
	if how == "silence" {
		return nil, true
	}
	b := slices.Clone(query)
	b[2] |= nameserver.BitResponse
	b[3] = b[3]&0xf0 | 2 // SERVFAIL
	return [][]byte{b}, true
}

// serve starts the name server of the fixture, and returns its address.
func (f *fixture) serve(tb testing.TB) *nameserver.Server {
	tb.Helper()
	return nameserver.Serve(tb, f.zone, nameserver.Options{Lie: f.lie})
}
