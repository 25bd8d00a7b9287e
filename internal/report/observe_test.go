package report

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// observe returns the observation of a message after a change, decided with the default policy.
func observe(t testing.TB, result dmarc.Result, record string, change func(*msgauth.Evaluation)) (Observation, bool) {
	t.Helper()
	e := evaluated(t, result, record)
	change(&e)
	return Observe(&e, policy.Decide(&e, policy.Config{}), Options{})
}

// TestNoRow has messages that no report counts, and beside each one that differs in what matters.
func TestNoRow(t *testing.T) {
	rua := func(uris ...string) func(*msgauth.Evaluation) {
		return func(e *msgauth.Evaluation) { e.DMARC.Record.RUA = uris }
	}
	client := func(addr netip.Addr) func(*msgauth.Evaluation) {
		return func(e *msgauth.Evaluation) { e.Session.Client = addr }
	}
	for _, tt := range []struct {
		name   string
		change func(*msgauth.Evaluation)
		want   bool
	}{
		{"as it is", func(*msgauth.Evaluation) {}, true},
		{"no record", func(e *msgauth.Evaluation) { e.DMARC.Record = nil }, false},
		{"no rua", rua(), false},
		{"rua that is not mail", rua("https://bank.example/dmarc"), false},
		{"one rua of two is mail", rua("https://bank.example/dmarc", "mailto:r@bank.example"), true},
		{"scheme in capitals", rua("MAILTO:r@bank.example"), true},
		{"nothing after the scheme", rua("mailto:"), false},
		{"a scheme that only begins like mailto", rua("mailtox:r@bank.example"), false},
		{"client not known", client(netip.Addr{}), false},
		{"client known", client(netip.MustParseAddr("2001:db8::1")), true},
	} {
		if _, ok := observe(t, dmarc.ResultFail, "p=none", tt.change); ok != tt.want {
			t.Errorf("%s: row is %v", tt.name, ok)
		}
	}
	e := evaluated(t, dmarc.ResultFail, "p=none")
	for _, v := range []policy.Verdict{policy.Skipped(policy.ReasonTrusted), {Applied: policy.TempFail}, {}} {
		if _, ok := Observe(&e, v, Options{}); ok {
			t.Errorf("row for a verdict with applied %q", v.Applied)
		}
	}
}

// TestInvalidPolicy checks a record that only applies because it asks for reports.
func TestInvalidPolicy(t *testing.T) {
	o, ok := observe(t, dmarc.ResultFail, "p=monitor; np=reject", func(e *msgauth.Evaluation) {
		e.DMARC.PolicyPublished, e.DMARC.Disposition = dmarc.PolicyNone, dmarc.PolicyNone
	})
	want := Policy{
		Domain: authorDomain, P: "none", SP: "none", NP: "none", ADKIM: "relaxed", ASPF: "relaxed", FO: "0", Method: "treewalk", Invalid: "p",
	}
	if !ok || o.Policy != want {
		t.Errorf("got %v %+v", ok, o.Policy)
	}
}

// TestPolicy checks that tags have their effective values.
func TestPolicy(t *testing.T) {
	base := Policy{Domain: authorDomain, P: "reject", SP: "reject", NP: "reject", ADKIM: "relaxed", ASPF: "relaxed", FO: "0", Method: "treewalk"}
	with := func(change func(*Policy)) Policy { p := base; change(&p); return p }
	for record, want := range map[string]Policy{
		"p=REJECT":                              base,
		"p=reject; sp=none":                     with(func(p *Policy) { p.SP, p.NP = "none", "none" }),
		"p=reject; np=quarantine":               with(func(p *Policy) { p.NP = "quarantine" }),
		"p=reject; sp=quarantine; np=none":      with(func(p *Policy) { p.SP, p.NP = "quarantine", "none" }),
		"p=reject; adkim=s; aspf=s; t=y":        with(func(p *Policy) { p.ADKIM, p.ASPF, p.Testing = "strict", "strict", true }),
		"p=reject; fo=d:s":                      with(func(p *Policy) { p.FO = "d:s" }),
		"p=reject; fo=1":                        with(func(p *Policy) { p.FO = "1" }),
		"p=reject; fo=x; t=maybe; ruf=nonsense": with(func(p *Policy) { p.Invalid = "fo, t, ruf" }),
	} {
		o, ok := observe(t, dmarc.ResultFail, record, func(*msgauth.Evaluation) {})
		if !ok || o.Policy != want {
			t.Errorf("%s: got %v %+v", record, ok, o.Policy)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	type found struct {
		source, headerFrom, envelopeFrom, envelopeTo string
		spf                                          SPFResult
	}
	none := func(domain string, reason spf.Reason) SPFResult { return SPFResult{domain, "none", string(reason)} }
	plain := found{"203.0.113.66", "bank.example", "evil.example", "", none("evil.example", spf.ReasonNoRecord)}
	with := func(change func(*found)) found { f := plain; change(&f); return f }
	for _, tt := range []struct {
		name   string
		change func(*msgauth.Evaluation)
		o      Options
		want   found
	}{
		{"plain", func(*msgauth.Evaluation) {}, Options{}, plain},
		{"mapped address", func(e *msgauth.Evaluation) { e.Session.Client = netip.MustParseAddr("::ffff:203.0.113.66") }, Options{}, plain},
		{"address with a zone", func(e *msgauth.Evaluation) { e.Session.Client = netip.MustParseAddr("fe80::1%eth0") }, Options{},
			with(func(f *found) { f.source = "fe80::1" })},
		{"IPv6", func(e *msgauth.Evaluation) { e.Session.Client = netip.MustParseAddr("2001:DB8:0:0::1") }, Options{},
			with(func(f *found) { f.source = "2001:db8::1" })},
		{"subdomain on the parent's record", func(e *msgauth.Evaluation) { e.DMARC.AuthorDomain = "a.bank.example" }, Options{},
			with(func(f *found) { f.headerFrom = "a.bank.example" })},
		{"null path", func(e *msgauth.Evaluation) {
			e.MailFrom = spf.Check{Result: spf.Pass, Domain: "mx.evil.example", NullSender: true}
		}, Options{}, with(func(f *found) { f.envelopeFrom, f.spf = "", SPFResult{"mx.evil.example", "pass", ""} })},
		{"null path, HELO without a name", func(e *msgauth.Evaluation) {
			e.MailFrom = spf.Check{Result: spf.None, NullSender: true, Reason: spf.ReasonInvalidDomain}
		}, Options{}, with(func(f *found) { f.envelopeFrom, f.spf = "", none(Unknown, spf.ReasonInvalidDomain) })},
		{"path without a name", func(e *msgauth.Evaluation) {
			e.MailFrom = spf.Check{Result: spf.None, Reason: spf.ReasonInvalidDomain}
		}, Options{}, with(func(f *found) { f.envelopeFrom, f.spf = Unknown, none(Unknown, spf.ReasonInvalidDomain) })},
		{"SPF has no result", func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{} }, Options{},
			with(func(f *found) { f.envelopeFrom, f.spf = Unknown, none(Unknown, "") })},
		{"recipient's domain", func(*msgauth.Evaluation) {}, Options{EnvelopeTo: true}, with(func(f *found) { f.envelopeTo = "here.example" })},
		{"two recipients of a domain", func(e *msgauth.Evaluation) { e.Envelope.Recipients = []string{"<a@HERE.example>", "<b@here.example>"} },
			Options{EnvelopeTo: true}, with(func(f *found) { f.envelopeTo = "here.example" })},
		{"recipients of two domains", func(e *msgauth.Evaluation) { e.Envelope.Recipients = []string{"<a@here.example>", "<b@there.example>"} },
			Options{EnvelopeTo: true}, plain},
		{"one recipient is malformed", func(e *msgauth.Evaluation) { e.Envelope.Recipients = []string{"<a@here.example>", "<b@"} },
			Options{EnvelopeTo: true}, plain},
		{"one recipient has no domain", func(e *msgauth.Evaluation) { e.Envelope.Recipients = []string{"<a@here.example>", "<postmaster>"} },
			Options{EnvelopeTo: true}, plain},
		{"no recipients", func(e *msgauth.Evaluation) { e.Envelope.Recipients = nil }, Options{EnvelopeTo: true}, plain},
	} {
		e := evaluated(t, dmarc.ResultFail, "p=none")
		tt.change(&e)
		o, ok := Observe(&e, policy.Decide(&e, policy.Config{}), tt.o)
		r := o.Row
		got := found{r.Source.String(), string(r.HeaderFrom), string(r.EnvelopeFrom), string(r.EnvelopeTo), r.AuthSPF}
		if !ok || got != tt.want {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", tt.name, ok, got, tt.want)
		}
		if r.Count != 1 || o.Time != e.Time {
			t.Errorf("%s: count %d, time %v", tt.name, r.Count, o.Time)
		}
	}
}

// TestSignatures checks the order of the signatures, and that each is there once, in any order in which
// the message has them.
func TestSignatures(t *testing.T) {
	all := []dkim.Signature{
		{Result: dkim.Pass, Domain: "bank.example", Selector: "a"},
		{Result: dkim.Pass, Domain: "bank.example", Selector: "b"},
		{Result: dkim.Pass, Domain: "mail.bank.example", Selector: "a"},
		{Result: dkim.Pass, Domain: "esp.example", Selector: "a"},
		{Result: dkim.Fail, Domain: "bank.example", Selector: "a", Reason: dkim.ReasonBodyHash, Detail: "SENDER TEXT"},
		{Result: dkim.PermError, Domain: "a.example", Reason: dkim.ReasonMissingTag},
		{Result: dkim.TempError, Domain: "z.example", Selector: "a", Reason: "dns_timeout"},
	}
	want := []DKIMResult{
		{"bank.example", "a", "pass", ""}, {"bank.example", "b", "pass", ""}, {"mail.bank.example", "a", "pass", ""}, {"esp.example", "a", "pass", ""},
		{"bank.example", "a", "fail", "body_hash_mismatch"}, {"a.example", Unknown, "permerror", "missing_tag"},
		{"z.example", "a", "temperror", "dns_timeout"},
	}
	left := []dkim.Signature{{Result: dkim.PermError, Reason: dkim.ReasonSyntax}, {Result: dkim.Policy, Domain: "b.example", Selector: "x", Reason: dkim.ReasonTooManySignatures}}
	var keys []Key
	for turn := range all {
		o, ok := observe(t, dmarc.ResultPass, "p=none", func(e *msgauth.Evaluation) {
			e.DKIM = slices.Concat(all[turn:], left, all[:turn], all[:2])
			e.DMARC.AlignedDKIM = true
			for _, domain := range []dns.Name{"bank.example", "mail.bank.example", "esp.example"} {
				e.DMARC.Alignments = append(e.DMARC.Alignments, dmarc.Alignment{
					Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: domain, State: dmarc.StatePass}, Aligned: domain != "esp.example",
				})
			}
			// SPF of this domain aligns, which says nothing about its signature.
			e.DMARC.Alignments = append(e.DMARC.Alignments, dmarc.Alignment{
				Identifier: dmarc.Identifier{Mechanism: dmarc.SPF, Domain: "esp.example", State: dmarc.StatePass}, Aligned: true,
			})
		})
		if !ok || !slices.Equal(o.Row.AuthDKIM, want) {
			t.Errorf("turned by %d: got %+v", turn, o.Row.AuthDKIM)
		}
		if !o.Row.DKIM || !o.Row.SPF {
			t.Errorf("alignment is lost: %+v", o.Row)
		}
		keys = append(keys, o.Row.Key())
	}
	if len(slices.Compact(keys)) != 1 {
		t.Error("the key depends on the order in the message")
	}
}

// TestObservationIsBounded checks the number of signatures and the octets of an observation whose
// strings are as long as they can be.
func TestObservationIsBounded(t *testing.T) {
	long := func(i int) dns.Name {
		label := strings.Repeat("x", 60)
		return dns.Name(fmt.Sprintf("%02d%s.%s.%s.%s.example", i, label, label, label, label[:50]))
	}
	for _, tt := range []struct {
		name       string
		domain     func(i int) dns.Name
		signatures int
		want       int
	}{
		{"many short ones", func(i int) dns.Name { return dns.Name(fmt.Sprintf("d%02d.example", i)) }, 64, maxSignatures},
		{"at the limit", func(i int) dns.Name { return dns.Name(fmt.Sprintf("d%02d.example", i)) }, maxSignatures, maxSignatures},
		{"long names", long, 64, 1},
		{"names of 64 octets", func(i int) dns.Name { return dns.Name(fmt.Sprintf("%02d.%s.example", i, strings.Repeat("x", 53))) }, 64, 4},
	} {
		o, ok := observe(t, dmarc.ResultFail, "p=none; sp=x; np=x; adkim=x; aspf=x; t=x; fo=x; psd=x; ruf=x", func(e *msgauth.Evaluation) {
			if tt.want != maxSignatures {
				e.DMARC.AuthorDomain, e.DMARC.PolicyDomain, e.MailFrom.Domain = long(1), long(2), long(3)
			}
			for i := range tt.signatures {
				e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonSignature, Domain: tt.domain(i), Selector: "s"})
			}
			e.DMARC.Record.RUA = []string{"mailto:r@bank.example"}
		})
		if !ok || len(o.Row.AuthDKIM) != tt.want {
			t.Errorf("%s: %v, %d signatures", tt.name, ok, len(o.Row.AuthDKIM))
		}
		if n := octets(reflect.ValueOf(o)); n > maxObservation {
			t.Errorf("%s: %d octets", tt.name, n)
		}
	}
	reasons := 2 * unsafe.Sizeof(Reason{})
	if n := unsafe.Sizeof(Observation{}) + reasons; n > fixedOctets {
		t.Errorf("an Observation without strings has %d octets", n)
	}
	if n := unsafe.Sizeof(DKIMResult{}); n != signatureOctets {
		t.Errorf("a signature without strings has %d octets", n)
	}
}

// TestSignaturesThatFit checks, for names of all lengths, that a row has as many signatures as fit.
func TestSignaturesThatFit(t *testing.T) {
	name := func(length, i int) dns.Name {
		return dns.Name(fmt.Sprintf("%02d%s.example", i, strings.Repeat("x", length-len("00.example"))))
	}
	for length := 20; length <= 253; length++ {
		o, ok := observe(t, dmarc.ResultFail, "p=none; fo=d:s; t=x", func(e *msgauth.Evaluation) {
			e.DMARC.AuthorDomain, e.DMARC.PolicyDomain, e.MailFrom.Domain = name(length, 1), name(length-1, 2), name(length-2, 3)
			for i := range maxSignatures {
				e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.Fail, Domain: name(length, i), Selector: "sel"})
			}
		})
		// The domain of MAIL FROM stands there twice.
		texts := length + length - 1 + 2*(length-2) + len("d:s") + len("t")
		fit := min(maxSignatures, (maxObservation-fixedOctets-texts)/(signatureOctets+length+len("sel")))
		if !ok || len(o.Row.AuthDKIM) != fit {
			t.Errorf("names of %d octets: %d signatures, want %d", length, len(o.Row.AuthDKIM), fit)
		}
		if n := octets(reflect.ValueOf(o)); n > maxObservation {
			t.Errorf("names of %d octets: the observation has %d", length, n)
		}
	}
	if o, _ := observe(t, dmarc.ResultFail, "p=none", func(*msgauth.Evaluation) {}); o.Row.AuthDKIM != nil {
		t.Error("no signatures are an empty list, and not nil as a store reads them")
	}
}

// octets returns the memory that a value takes, with everything to which it points. Constant strings
// count, too.
func octets(v reflect.Value) int {
	return int(v.Type().Size()) + behind(v)
}

func behind(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.String:
		if !constant(v.String()) {
			n += v.Len()
		}
	case reflect.Slice:
		for i := range v.Len() {
			n += octets(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[netip.Addr]() {
			return 0
		}
		for i := range v.NumField() {
			n += behind(v.Field(i))
		}
	}
	return n
}

// constant reports whether a string has no dot and no comma: it is a word of ours then.
func constant(s string) bool { return !strings.ContainsAny(s, ".,") }

// TestNotWaited checks that a row tells a result for which this host did not wait from one that the
// domain's DNS did not give.
func TestNotWaited(t *testing.T) {
	key := func(waited bool) func(*msgauth.Evaluation) {
		return func(e *msgauth.Evaluation) {
			e.DKIM = []dkim.Signature{{Result: dkim.TempError, Reason: "dns_timeout", Domain: "esp.example", Selector: "s", NotWaited: !waited}}
		}
	}
	check := func(r spf.Reason) func(*msgauth.Evaluation) {
		return func(e *msgauth.Evaluation) {
			e.MailFrom = spf.Check{Result: spf.TempError, Reason: r, Domain: "evil.example", Problem: "x"}
		}
	}
	for _, tt := range []struct {
		name       string
		change     func(*msgauth.Evaluation)
		spf, dkim  string
		incomplete bool
	}{
		{"all there", func(*msgauth.Evaluation) {}, "no-record", "", false},
		{"key not waited for", key(false), "no-record", "not waited for", true},
		{"key that did not come", key(true), "no-record", "dns_timeout", false},
		{"SPF not waited for", check(spf.ReasonTimeLimit), "not waited for", "", true},
		{"SPF without a slot", check(spf.ReasonDNSBudget), "not waited for", "", true},
		{"SPF that did not come", check(spf.ReasonDNS), "dns", "", false},
	} {
		o, ok := observe(t, dmarc.ResultFail, "p=none", tt.change)
		human := ""
		if len(o.Row.AuthDKIM) > 0 {
			human = o.Row.AuthDKIM[0].Human
		}
		if !ok || o.Row.AuthSPF.Human != tt.spf || human != tt.dkim || o.Incomplete != tt.incomplete {
			t.Errorf("%s: %v %+v", tt.name, ok, o)
		}
	}
}

// TestKeepsNothing checks that no string of an Observation lies in the memory of the Evaluation.
func TestKeepsNothing(t *testing.T) {
	raw := strings.Clone("v=DMARC1; rua=mailto:r@bank.example; p=reject; sp=none; np=quarantine; adkim=s; aspf=s; t=y; fo=d")
	header := strings.Clone("x@bank.example evil.example here.example esp.example selector")
	cut := func(s string) string { i := strings.Index(header, s); return header[i : i+len(s)] }
	record, err := dmarc.ParseRecord(raw)
	if err != nil {
		t.Fatal(err)
	}
	e := evaluated(t, dmarc.ResultFail, "p=none")
	e.DMARC.Record = record
	e.DMARC.AuthorDomain, e.DMARC.PolicyDomain = dns.Name(cut("bank.example")), dns.Name(cut("bank.example"))
	e.MailFrom.Domain = dns.Name(cut("evil.example"))
	e.Envelope.Recipients = []string{cut("x@bank.example")}
	e.DKIM = []dkim.Signature{{Result: dkim.Fail, Domain: dns.Name(cut("esp.example")), Selector: cut("selector")}}
	record.Invalid = []string{raw[10:13]}
	o, ok := Observe(&e, policy.Decide(&e, policy.Config{}), Options{EnvelopeTo: true})
	if !ok || o.Row.EnvelopeTo != "bank.example" || o.Policy.Invalid != "rua" || o.Policy.FO != "d" {
		t.Fatalf("got %v %+v", ok, o)
	}
	inside := func(s, whole string) bool {
		at, begin := uintptr(unsafe.Pointer(unsafe.StringData(s))), uintptr(unsafe.Pointer(unsafe.StringData(whole)))
		return s != "" && at >= begin && at < begin+uintptr(len(whole))
	}
	if !inside(string(e.DMARC.AuthorDomain), header) {
		t.Fatal("the test cannot fail")
	}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			if inside(v.String(), raw) || inside(v.String(), header) {
				t.Errorf("%s keeps the message alive", path)
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprint(path, i), v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	walk("observation", reflect.ValueOf(o))
}

// TestPrivate checks that what must not leave the site is not in an Observation.
func TestPrivate(t *testing.T) {
	for _, here := range []string{
		"enforce", "monitor", "rule:accept", "rule:reject", "as:none", "ramp:37", "mixed", "monitor unlabelled", "forged", "sealer", "undecided accept", "rule-list:accept",
	} {
		for _, result := range []dmarc.Result{dmarc.ResultPass, dmarc.ResultFail, dmarc.ResultTempError} {
			e := evaluated(t, result, "p=reject; t=y")
			e.MailFrom.Sender, e.MailFrom.Problem, e.MailFrom.Explanation = "sender@evil.example", "sender@evil.example", "go away"
			e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.Fail, Domain: "evil.example", Selector: "s", Identity: "author@evil.example", Detail: "secret"})
			s := siteOf(t, here)
			o, ok := Observe(&e, s.verdict(&e), Options{})
			if !ok {
				continue
			}
			text, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			for _, private := range []string{
				secretRule, "recipient", "here.example", "sender", "author@", "secret", "opted", "percent", "37", "go away", "lists.example", "@", "rule",
			} {
				if strings.Contains(string(text), private) {
					t.Errorf("%s, %s: %q is in %s", here, result, private, text)
				}
			}
		}
	}
}

// TestOptedOutLooksLikeMonitor checks that a row does not tell whether a recipient opted out, this site
// only monitors, or the ramp left the message out.
func TestOptedOutLooksLikeMonitor(t *testing.T) {
	var rows []Row
	for _, here := range []string{"mixed", "monitor", "ramp:0", "mixed tag"} {
		e := evaluated(t, dmarc.ResultFail, "p=quarantine")
		s := siteOf(t, here)
		o, ok := Observe(&e, s.verdict(&e), Options{})
		if !ok {
			t.Fatal("no row")
		}
		rows = append(rows, o.Row)
		if o.Row.Key() != rows[0].Key() {
			t.Errorf("%s differs: %+v", here, o.Row)
		}
	}
}

func TestMarks(t *testing.T) {
	e := evaluated(t, dmarc.ResultFail, "p=none")
	for _, o := range []Options{{}, {AboutReports: true}, {Spam: true}} {
		got, _ := Observe(&e, policy.Decide(&e, policy.Config{}), o)
		if got.AboutReports != o.AboutReports || got.Spam != o.Spam {
			t.Errorf("%+v: got %+v", o, got)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	e := evaluated(b, dmarc.ResultPass, "p=reject")
	e.DKIM = []dkim.Signature{
		{Result: dkim.Pass, Domain: authorDomain, Selector: "selector1"}, {Result: dkim.Pass, Domain: "esp.example", Selector: "selector1"},
	}
	e.DMARC.AlignedDKIM = true
	v := policy.Decide(&e, policy.Config{})
	b.ReportAllocs()
	var k Key
	for b.Loop() {
		o, ok := Observe(&e, v, Options{})
		if !ok {
			b.Fatal("no row")
		}
		k = o.Row.Key()
	}
	_ = k
}

// TestCommonDomain checks that a row names the domain of the recipients only if every one of them has it.
func TestCommonDomain(t *testing.T) {
	for _, tt := range []struct {
		recipients []string
		want       dns.Name
	}{
		{nil, ""},
		{[]string{"<a@x.example>"}, "x.example"},
		{[]string{"<a@x.example>", "<b@X.example>"}, "x.example"},
		{[]string{"<a@x.example>", "<b@y.example>"}, ""},
		{[]string{"<a@x.example>", "<b@y.example>", "<c@y.example>"}, ""},
		{[]string{"<a@x.example>", "<postmaster>"}, ""},
		{[]string{"<postmaster>", "<a@x.example>"}, ""},
		{[]string{"<a@[192.0.2.1]>", "<a@x.example>"}, ""},
		{[]string{"<a@x.example", "<a@x.example>"}, ""},
		{[]string{"<a@x.example>", "<a@x.example"}, ""},
	} {
		if got := commonDomain(tt.recipients); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.recipients, got, tt.want)
		}
	}
}
