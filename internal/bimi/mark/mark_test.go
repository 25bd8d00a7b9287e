package mark

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
	"sekimori/internal/testkit/markca"
	"sekimori/internal/testkit/suites"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

const domain = "shop.example"

// rulesOf returns rules that trust a test CA and its log.
func rulesOf(tb testing.TB, ca *markca.CA) *Rules {
	tb.Helper()
	log, err := ParseLog(ca.Log.Name, ca.Log.Key)
	if err != nil {
		tb.Fatal(err)
	}
	return &Rules{Roots: []*x509.Certificate{ca.Root}, Logs: []Log{log}}
}

// listsOf returns the good and empty revocation lists of a test CA.
func listsOf(tb testing.TB, ca *markca.CA) map[string]*CRL {
	tb.Helper()
	return map[string]*CRL{
		markca.IssuerCRL: parsed(tb, ca.CRL(tb, markca.List{})),
		markca.RootCRL:   parsed(tb, ca.RootCRL(tb, markca.List{})),
	}
}

func parsed(tb testing.TB, der []byte) *CRL {
	tb.Helper()
	list, err := ParseCRL(der)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// evidence returns a file with all that is needed to judge it.
func evidence(tb testing.TB, ca *markca.CA, file []byte) Evidence {
	tb.Helper()
	return Evidence{PEM: file, Domain: domain, Selector: "default", CRLs: listsOf(tb, ca)}
}

// failing returns the words of the checks that failed.
func failing(j Judgement) string {
	var words []string
	for _, c := range j.Checks {
		if !c.OK {
			words = append(words, c.Word)
		}
	}
	return strings.Join(words, " ")
}

func detail(j Judgement, word string) string {
	for _, c := range j.Checks {
		if c.Word == word {
			return c.Detail
		}
	}
	return "(not looked at)"
}

func TestPass(t *testing.T) {
	ca := markca.New(t, now)
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		leaf := ca.Certificate(t, domain, func(l *markca.Leaf) { l.Hash = hash })
		j := rulesOf(t, ca).Judge(evidence(t, ca, ca.File(leaf)), now)
		if j.Result != bimi.Pass || j.Authority != bimi.AuthorityPass || j.Reason != "" || failing(j) != "" {
			t.Fatalf("%v: %s %s %q: %v", hash, j.Result, j.Authority, j.Reason, j.Checks)
		}
		var words []string
		for _, c := range j.Checks {
			words = append(words, c.Word)
		}
		if !slices.Equal(words, Words()) {
			t.Errorf("checks %q, want each of Words in order", words)
		}
		if string(j.SVG) != markca.SVG {
			t.Errorf("picture %q", j.SVG)
		}
		if c := j.Certificate; c.Type != "Registered Mark" || c.Owner != "Shop KK" || c.Issuer != "Test CA" || c.Root != "Test Mark Root" || c.Pilot ||
			!slices.Equal(c.Names, []string{domain}) || c.Serial != hex.EncodeToString(leaf.SerialNumber.Bytes()) || !c.Ends.Equal(leaf.NotAfter) ||
			!c.NotBefore.Equal(leaf.NotBefore) || !c.NotAfter.Equal(leaf.NotAfter) || !slices.Equal(c.Hashes, []string{strings.Replace(hash.String(), "SHA1", "SHA-1", 1)}) {
			t.Errorf("facts %+v", c)
		}
		if want := now.AddDate(0, 0, 8); !j.Until.Equal(want) {
			t.Errorf("until %s, want a day after the next list: %s", j.Until, want)
		}
		want := []Need{{Subject: "Shop KK", URLs: []string{markca.IssuerCRL}, Fetched: true}, {Subject: "Test Mark CA", URLs: []string{markca.RootCRL}, Fetched: true}}
		if !slices.EqualFunc(j.CRLs, want, func(a, b Need) bool {
			return a.Subject == b.Subject && slices.Equal(a.URLs, b.URLs) && a.Fetched == b.Fetched
		}) {
			t.Errorf("lists %+v, want %+v", j.CRLs, want)
		}
		if m := j.Mark(); m == nil || !m.Certified || m.Type != "Registered Mark" || m.Owner != "Shop KK" || m.Issuer != "Test CA" ||
			m.Serial != j.Certificate.Serial || !m.NotAfter.Equal(leaf.NotAfter) || string(m.SVG) != markca.SVG || m.Same {
			t.Errorf("mark %+v", m)
		}
	}
}

// TestUntil checks that a judgement ends with the first certificate of the chain, if that is before the
// lists are overdue.
func TestUntil(t *testing.T) {
	ca := markca.New(t, now)
	end := now.AddDate(0, 0, 3)
	file := ca.Issue(t, domain, func(l *markca.Leaf) { l.NotAfter = end })
	if j := rulesOf(t, ca).Judge(evidence(t, ca, file), now); !j.Until.Equal(end) {
		t.Errorf("until %s, want %s", j.Until, end)
	}
	ca = markca.New(t, now, func(issuer *x509.Certificate) { issuer.NotAfter = end })
	if j := rulesOf(t, ca).Judge(evidence(t, ca, ca.Issue(t, domain)), now); !j.Until.Equal(end) || !j.Certificate.Ends.Equal(end) {
		t.Errorf("until %s, ends %s, want %s", j.Until, j.Certificate.Ends, end)
	}
}

// TestValidityWithoutChain checks that it is also said of a certificate of an unknown CA whether it has ended.
func TestValidityWithoutChain(t *testing.T) {
	ca, other := markca.New(t, now), markca.New(t, now)
	for days, want := range map[int]string{1: "chain", -1: "chain validity"} {
		end := now.AddDate(0, 0, days)
		file := other.Issue(t, domain, func(l *markca.Leaf) { l.NotAfter = end })
		j := rulesOf(t, ca).Judge(evidence(t, other, file), now)
		if failing(j) != want || !strings.Contains(detail(j, "validity"), day(end)) {
			t.Errorf("%d days: %q, %s", days, failing(j), detail(j, "validity"))
		}
	}
}

// TestFaultBeforeUndecided checks that a fault of the certificate is the result, also if something
// before it is undecided.
func TestFaultBeforeUndecided(t *testing.T) {
	ca := markca.New(t, now)
	file := ca.Issue(t, domain, func(l *markca.Leaf) { l.Hashed = []byte("x") })
	e := evidence(t, ca, file)
	e.CRLs = nil
	if j := rulesOf(t, ca).Judge(e, now); j.Result != bimi.Fail || j.Reason != "hash" || failing(j) != "crl hash" {
		t.Errorf("%s %s %q", j.Result, j.Reason, failing(j))
	}
}

// TestLongChain checks chains with another CA in between.
func TestLongChain(t *testing.T) {
	ca := markca.New(t, now)
	upper := markca.New(t, now, func(c *x509.Certificate) { c.MaxPathLenZero = false })
	const upperCRL = "http://crl.markca.example/upper.crl"
	certify := func(byIssuer bool, usage ...asn1.ObjectIdentifier) *x509.Certificate {
		return upper.Certify(t, ca, byIssuer, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.CRLDistributionPoints = usage, []string{upperCRL}
		})
	}
	servers := upper.Certify(t, ca, false, func(c *x509.Certificate) {
		c.ExtKeyUsage, c.UnknownExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []asn1.ObjectIdentifier{{1, 2, 3}}
		c.CRLDistributionPoints = []string{upperCRL}
	})
	for _, c := range []struct {
		name  string
		above []*x509.Certificate
		fails string
	}{
		{"four, usage open", []*x509.Certificate{certify(false)}, ""},
		{"four, for marks", []*x509.Certificate{certify(false, markca.OIDEKU)}, ""},
		{"four, for something else", []*x509.Certificate{certify(false, asn1.ObjectIdentifier{1, 2, 3})}, "eku"},
		{"four, for servers and something else", []*x509.Certificate{servers}, "eku"},
		{"five", []*x509.Certificate{certify(true), upper.Issuer}, "chain"},
	} {
		rules := rulesOf(t, ca)
		rules.Roots = []*x509.Certificate{upper.Root}
		leaf := ca.Certificate(t, domain)
		lists := listsOf(t, ca)
		lists[upperCRL] = parsed(t, upper.RootCRL(t, markca.List{}))
		file := markca.PEM(append([]*x509.Certificate{leaf, ca.Issuer}, c.above...)...)
		j := rules.Judge(Evidence{PEM: file, Domain: domain, CRLs: lists}, now)
		if failing(j) != c.fails {
			t.Errorf("%s: %q, want %q: %+v", c.name, failing(j), c.fails, j.Checks)
		}
	}
}

// TestNamesAreBounded checks that texts of the certificate are safe to print and bounded.
func TestNamesAreBounded(t *testing.T) {
	ca := markca.New(t, now)
	leaf := ca.Certificate(t, domain, func(l *markca.Leaf) {
		l.Subject.Organization = []string{strings.Repeat("x", 500)}
		l.Subject.CommonName = "a\x1b[2Jb"
		l.Type = "Mark\n" + strings.Repeat("y", 300)
		l.DNSNames = []string{strings.Repeat("x", dns.MaxNameLen+1)}
		for range 40 {
			l.DNSNames = append(l.DNSNames, "other.example")
		}
	})
	j := rulesOf(t, ca).Judge(evidence(t, ca, ca.File(leaf)), now)
	if c := j.Certificate; len(c.Owner) > maxText || len(c.Type) > maxText || len(c.Names[0]) > dns.MaxNameLen || len(c.Names) != maxNames || strings.ContainsAny(c.Type, "\n") {
		t.Errorf("%d octets of owner, %d of type, %d names", len(c.Owner), len(c.Type), len(c.Names))
	}
	if s := j.CRLs[0].Subject; s != "a?[2Jb" {
		t.Errorf("subject %q", s)
	}
}

// TestWords checks that the words of all checks are listed, and no other.
func TestWords(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range changes {
		for w := range strings.FieldsSeq(c.fails) {
			seen[w] = true
		}
	}
	seen["revoked"] = true // TestRevocation
	for _, w := range Words() {
		if !seen[w] {
			t.Errorf("no test makes %s fail", w)
		}
		delete(seen, w)
	}
	if len(seen) > 0 {
		t.Errorf("not in Words: %v", seen)
	}
}

// TestPilotIsTold checks that a person sees that a pilot certificate was accepted.
func TestPilotIsTold(t *testing.T) {
	ca := markca.New(t, now)
	for pilot, want := range map[bool]string{true: "a pilot certificate, which is accepted here", false: "not a pilot certificate"} {
		rules := rulesOf(t, ca)
		rules.Pilot = true
		j := rules.Judge(evidence(t, ca, ca.Issue(t, domain, func(l *markca.Leaf) { l.Pilot = pilot })), now)
		if detail(j, "pilot") != want || j.Certificate.Pilot != pilot {
			t.Errorf("%v: %q", pilot, detail(j, "pilot"))
		}
	}
}

// BenchmarkJudge judges one certificate with its picture and lists, which happens once a day and domain.
func BenchmarkJudge(b *testing.B) {
	ca := markca.New(b, now)
	e, rules := evidence(b, ca, ca.Issue(b, domain)), rulesOf(b, ca)
	b.ReportAllocs()
	for b.Loop() {
		if j := rules.Judge(e, now); j.Result != bimi.Pass {
			b.Fatal(j.Reason)
		}
	}
}

// BenchmarkJudgeReal judges the largest of the real certificates, with RSA keys of 4,096 bits and a picture
// of 24 KB.
func BenchmarkJudgeReal(b *testing.B) {
	file := suites.BIMI(b, "certificates")["globalsign-vmc.pem"]
	rules := Rules{Roots: BuiltinRoots(), Logs: BuiltinLogs()}
	at := time.Date(2025, 3, 8, 0, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		if j := rules.Judge(Evidence{PEM: file, Domain: "globalsign.com"}, at); j.Reason != "crl" {
			b.Fatal(j.Reason)
		}
	}
}
