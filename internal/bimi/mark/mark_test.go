package mark

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
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
		want := []Need{{"Shop KK", []string{markca.IssuerCRL}, true}, {"Test Mark CA", []string{markca.RootCRL}, true}}
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

// change is one thing that is made wrong, and the words of the checks that must fail then.
type change struct {
	name     string
	issuer   func(*x509.Certificate)
	leaf     func(*markca.Leaf)
	file     func(tb testing.TB, ca *markca.CA, file []byte) []byte
	rules    func(*Rules)
	evidence func(*Evidence)
	at       time.Duration // added to now
	fails    string
	says     string // a part of what the first of these checks says
}

var changes = []change{
	{name: "certificate for another domain", evidence: func(e *Evidence) { e.Domain = "other.example" }, fails: "san", says: "is for shop.example, and not for other.example"},
	{name: "certificate for the parent", evidence: func(e *Evidence) { e.Domain = "mail.shop.example" }, fails: "san"},
	{name: "certificate for a subdomain", leaf: func(l *markca.Leaf) { l.DNSNames = []string{"mail.shop.example"} }, fails: "san"},
	{name: "certificate with a wildcard", leaf: func(l *markca.Leaf) { l.DNSNames = []string{"*.example"} }, fails: "san"},
	{name: "certificate for the selector", leaf: func(l *markca.Leaf) { l.DNSNames = []string{"default._bimi.shop.example"} }},
	{name: "certificate for another selector", leaf: func(l *markca.Leaf) { l.DNSNames = []string{"v2._bimi.shop.example"} }, fails: "san"},
	{name: "certificate for a selector, and there is none", leaf: func(l *markca.Leaf) { l.DNSNames = []string{"_bimi.shop.example"} },
		evidence: func(e *Evidence) { e.Selector = "" }, fails: "san"},
	{name: "certificate for the domain, and there is no selector", evidence: func(e *Evidence) { e.Selector = "" }},
	{name: "certificate for a name below the selector", leaf: func(l *markca.Leaf) { l.DNSNames = []string{"x.default._bimi.shop.example"} }, fails: "san"},
	{name: "domain in the common name only", leaf: func(l *markca.Leaf) {
		l.DNSNames, l.Subject.CommonName, l.EmailAddresses = nil, domain, []string{"a@shop.example"}
	}, fails: "san"},
	{name: "second name is it, in another case", leaf: func(l *markca.Leaf) { l.DNSNames = []string{"other.example", "SHOP.Example"} }},
	{name: "no domain to judge for", evidence: func(e *Evidence) { e.Domain = "" }, leaf: func(l *markca.Leaf) { l.DNSNames = []string{"."} }, fails: "san"},
	{name: "name of another script", leaf: func(l *markca.Leaf) { l.DNSNames = []string{"xn--zckzah.example"} }, evidence: func(e *Evidence) { e.Domain = mustName("テスト.example") }},

	{name: "ended", at: 331 * 24 * time.Hour, evidence: noLists, fails: "validity crl", says: "certificate of Shop KK has ended on 2027-09-27"},
	{name: "valid to the second", at: 330 * 24 * time.Hour, evidence: noLists, fails: "crl"},
	{name: "not valid yet", at: -31 * 24 * time.Hour, evidence: noLists, fails: "validity sct crl", says: "not valid before 2026-10-02"},
	{name: "CA has ended", issuer: func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) }, fails: "validity", says: "Test Mark CA has ended"},
	{name: "mark root unknown", rules: func(r *Rules) { r.Roots = BuiltinRoots() }, fails: "chain", says: "does not lead to a mark root"},
	{name: "no roots", rules: func(r *Rules) { r.Roots = nil }, fails: "chain"},
	{name: "without the issuing CA", file: only(0), fails: "chain", says: "put the CA's certificate behind it"},
	{name: "without the root", file: only(0, 1)},
	{name: "in another order", file: only(0, 2, 1)},
	{name: "issued by the root", leaf: func(l *markca.Leaf) { l.FromRoot = true }, fails: "chain", says: "has 2"},
	{name: "issuing CA is no CA", issuer: func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }, fails: "pem", says: "certificate 2 is not of a CA"},
	{name: "issuing CA may not sign", issuer: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }, fails: "chain"},
	{name: "issuing CA is for other names", issuer: func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"other.example"}, true
	}, fails: "chain"},
	{name: "unknown critical extension", leaf: func(l *markca.Leaf) { l.ExtraExtensions = extra("1.3.6.1.4.1.53087.4.2", true) }, fails: "chain"},
	{name: "unknown extension", leaf: func(l *markca.Leaf) { l.ExtraExtensions = extra("1.3.6.1.4.1.53087.4.2", false) }},

	{name: "pilot", leaf: func(l *markca.Leaf) { l.Pilot = true }, fails: "pilot", says: "extension of a pilot"},
	{name: "pilot, accepted", leaf: func(l *markca.Leaf) { l.Pilot = true }, rules: func(r *Rules) { r.Pilot = true }},
	{name: "pilot, accepted, with another critical extension", leaf: func(l *markca.Leaf) { l.Pilot, l.ExtraExtensions = true, extra("1.3.6.1.4.1.53087.4.2", true) },
		rules: func(r *Rules) { r.Pilot = true }, fails: "chain"},

	{name: "for servers", leaf: func(l *markca.Leaf) {
		l.UnknownExtKeyUsage, l.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}, fails: "eku"},
	{name: "for servers and marks", leaf: func(l *markca.Leaf) { l.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, fails: "eku"},
	{name: "for marks and something unknown", leaf: func(l *markca.Leaf) {
		l.UnknownExtKeyUsage = append(l.UnknownExtKeyUsage, asn1.ObjectIdentifier{1, 2, 3})
	}, fails: "eku"},
	{name: "for something unknown", leaf: func(l *markca.Leaf) { l.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }, fails: "eku"},
	{name: "for anything", leaf: func(l *markca.Leaf) {
		l.UnknownExtKeyUsage, l.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	}, fails: "eku"},
	{name: "no usage", leaf: func(l *markca.Leaf) { l.UnknownExtKeyUsage = nil }, fails: "eku"},
	{name: "issuing CA without usage", issuer: func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }, fails: "eku", says: "CA Test Mark CA may not issue"},
	{name: "issuing CA for servers", issuer: func(c *x509.Certificate) {
		c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}, fails: "eku"},
	{name: "issuing CA for marks and servers", issuer: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},

	{name: "a CA", leaf: func(l *markca.Leaf) { l.IsCA = true }, fails: "leaf"},
	{name: "no key usage", leaf: func(l *markca.Leaf) { l.KeyUsage = 0 }},
	{name: "key usage of encryption", leaf: func(l *markca.Leaf) { l.KeyUsage = x509.KeyUsageKeyEncipherment }, fails: "leaf", says: "is not digitalSignature"},
	{name: "key usage of a CA", leaf: func(l *markca.Leaf) { l.KeyUsage |= x509.KeyUsageCertSign }, fails: "leaf", says: "is that of a CA"},
	{name: "key usage of a list", leaf: func(l *markca.Leaf) { l.KeyUsage |= x509.KeyUsageCRLSign }, fails: "leaf", says: "is that of a CA"},
	{name: "name constraints", leaf: func(l *markca.Leaf) { l.PermittedDNSDomains = []string{domain} }, fails: "leaf", says: "name constraints"},
	{name: "825 days", leaf: func(l *markca.Leaf) { l.NotAfter = l.NotBefore.AddDate(0, 0, maxLifetimeDays) }},
	{name: "more than 825 days", leaf: func(l *markca.Leaf) { l.NotAfter = l.NotBefore.AddDate(0, 0, maxLifetimeDays).Add(time.Second) }, fails: "leaf",
		says: "valid for 826 days"},
	{name: "no policy", leaf: func(l *markca.Leaf) { l.Policies = nil }, fails: "policy"},
	{name: "other policy", leaf: func(l *markca.Leaf) { l.Policies = []x509.OID{mustOID(1, 3, 6, 1, 4, 1, 53087, 1, 2)} }, fails: "policy"},
	{name: "two policies", leaf: func(l *markca.Leaf) { l.Policies = append([]x509.OID{mustOID(1, 2, 3)}, l.Policies...) }},

	{name: "no type", leaf: func(l *markca.Leaf) { l.Type = "" }, fails: "type", says: "has no mark type"},
	{name: "no type, but a trademark", leaf: func(l *markca.Leaf) {
		l.Type, l.Subject.ExtraNames = "", []pkix.AttributeTypeAndValue{{Type: oidTrademarkID, Value: "123"}}
	}},
	{name: "two types", leaf: func(l *markca.Leaf) {
		l.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidMarkType, Value: "Government Mark"}}
	}, fails: "type", says: "or several"},
	{name: "unknown type", leaf: func(l *markca.Leaf) { l.Type = "Invented Mark" }, fails: "type", says: `"Invented Mark", and this receiver accepts: Registered Mark, Government Mark`},
	{name: "type that is not accepted", leaf: func(l *markca.Leaf) { l.Type = "Prior Use Mark" }, rules: func(r *Rules) { r.Types = []string{"Registered Mark"} }, fails: "type"},
	{name: "type that is accepted", leaf: func(l *markca.Leaf) { l.Type = "Prior Use Mark" }, rules: func(r *Rules) { r.Types = []string{"prior use mark"} }},
	{name: "prior use mark", leaf: func(l *markca.Leaf) { l.Type = "Prior Use Mark" }},
	{name: "government mark", leaf: func(l *markca.Leaf) { l.Type = "Government Mark" }},
	{name: "modified registered mark", leaf: func(l *markca.Leaf) { l.Type = "Modified Registered Mark" }},

	{name: "no timestamp", leaf: func(l *markca.Leaf) { l.Logged = nil }, fails: "sct", says: "no timestamp"},
	{name: "log not configured", rules: func(r *Rules) { r.Logs = nil }},
	{name: "another log configured", rules: func(r *Rules) { r.Logs = BuiltinLogs() }},
	{name: "timestamp of a log for something else", leaf: func(l *markca.Leaf) { l.Logged[0] = altered(l.Logged[0], 100) }, fails: "sct", says: "not signed by it"},
	{name: "timestamp for another CA", leaf: func(l *markca.Leaf) { l.Logged[0] = altered(l.Logged[0], 12) }, fails: "sct"},
	{name: "timestamp of another time", leaf: func(l *markca.Leaf) { l.Logged[0] = altered(l.Logged[0], 9) }, fails: "sct"},
	{name: "timestamp of a certificate, not a precertificate", leaf: func(l *markca.Leaf) { l.Logged[0] = altered(l.Logged[0], 11) }, fails: "sct"},
	{name: "timestamp with extensions that are not there", leaf: func(l *markca.Leaf) { l.Logged[0] = altered(l.Logged[0], -1) }, fails: "sct"},
	{name: "timestamp from the future", leaf: func(l *markca.Leaf) { l.Logged[0].Later = 30*24*time.Hour + maxAhead }, fails: "sct", says: "in the future"},
	{name: "timestamp from a little ahead", leaf: func(l *markca.Leaf) { l.Logged[0].Later = 30*24*time.Hour + maxAhead - time.Minute }},
	{name: "timestamps that cannot be read", leaf: func(l *markca.Leaf) { l.SCTs = []byte("\x04\x03\x00\x01\x00") }, fails: "sct", says: "cannot be read"},

	{name: "no picture", leaf: func(l *markca.Leaf) { l.NoPicture = true }, fails: "logotype", says: "no logotype extension"},
	{name: "critical logotype", leaf: func(l *markca.Leaf) { l.Critical = true }, fails: "chain logotype"},
	{name: "logotype that cannot be read", leaf: func(l *markca.Leaf) { l.Logotype = []byte("\x30\x03\x02\x01") }, fails: "logotype"},
	{name: "hash of another picture", leaf: func(l *markca.Leaf) { l.Hashed = []byte("other") }, fails: "hash", says: "SHA-256 of the picture is not the one"},
	{name: "hash of the compressed picture", leaf: func(l *markca.Leaf) { l.Hashed = []byte("\x1f\x8b") }, fails: "hash"},
	{name: "hostile picture", leaf: func(l *markca.Leaf) {
		l.Picture = []byte(strings.Replace(markca.SVG, "<rect", "<script/><rect onload='x'", 1))
	}, fails: "picture",
		says: "line 1: the element script is not allowed: remove it; a mark may run nothing; line 1: the attribute onload"},
	{name: "picture too large", leaf: func(l *markca.Leaf) { l.Picture = bytes.Repeat([]byte(" "), 32<<10+1) }, fails: "hash", says: "more than 32768"},

	{name: "several things at once", leaf: func(l *markca.Leaf) { l.Policies, l.Type, l.Hashed = nil, "", []byte("x") }, evidence: noLists,
		fails: "policy type crl hash"},
}

func mustName(s string) dns.Name {
	n, _ := dns.ParseName(s)
	return n
}

func mustOID(ints ...uint64) x509.OID {
	o, _ := x509.OIDFromInts(ints)
	return o
}

func noLists(e *Evidence) { e.CRLs = nil }

func extra(id string, critical bool) []pkix.Extension {
	o, _ := x509.ParseOID(id)
	var asn asn1.ObjectIdentifier
	for part := range strings.SplitSeq(o.String(), ".") {
		n, _ := new(big.Int).SetString(part, 10)
		asn = append(asn, int(n.Int64()))
	}
	return []pkix.Extension{{Id: asn, Critical: critical, Value: []byte{5, 0}}}
}

// altered returns a log that signs with one octet changed; a negative place counts from the end.
func altered(l *markca.Log, place int) *markca.Log {
	wrong := *l
	wrong.Change = func(signed []byte) { signed[(place+len(signed))%len(signed)] ^= 1 }
	return &wrong
}

// only returns a change that leaves some certificates of a file, in an order.
func only(which ...int) func(testing.TB, *markca.CA, []byte) []byte {
	return func(tb testing.TB, _ *markca.CA, file []byte) []byte {
		tb.Helper()
		blocks := bytes.SplitAfter(file, []byte("-----END CERTIFICATE-----\n"))
		var out []byte
		for _, i := range which {
			out = append(out, blocks[i]...)
		}
		return out
	}
}

func TestChanges(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			ca := markca.New(t, now, func(issuer *x509.Certificate) {
				if c.issuer != nil {
					c.issuer(issuer)
				}
			})
			leaf := ca.Certificate(t, domain, func(l *markca.Leaf) {
				if c.leaf != nil {
					c.leaf(l)
				}
			})
			file := ca.File(leaf)
			if c.file != nil {
				file = c.file(t, ca, file)
			}
			rules, e := rulesOf(t, ca), evidence(t, ca, file)
			if c.rules != nil {
				c.rules(rules)
			}
			if c.evidence != nil {
				c.evidence(&e)
			}
			j := rules.Judge(e, now.Add(c.at))
			if got := failing(j); got != c.fails {
				t.Fatalf("checks that failed: %q, want %q\n%+v", got, c.fails, j.Checks)
			}
			if c.fails == "" {
				if j.Result != bimi.Pass {
					t.Fatalf("%s %s", j.Result, j.Reason)
				}
				return
			}
			word, _, _ := strings.Cut(c.fails, " ")
			if !strings.Contains(detail(j, word), c.says) {
				t.Errorf("%s says %q, want %q in it", word, detail(j, word), c.says)
			}
			undecidedOnly := c.fails == "crl" || c.says == "in the future"
			switch {
			case undecidedOnly && (j.Result != bimi.TempError || j.Authority != bimi.AuthorityNone || j.Reason != word):
				t.Errorf("%s %s %s, want temperror", j.Result, j.Authority, j.Reason)
			case !undecidedOnly && (j.Result != bimi.Fail || j.Authority != bimi.AuthorityFail || j.SVG != nil):
				t.Errorf("%s %s with %d octets, want fail without a picture", j.Result, j.Authority, len(j.SVG))
			case !undecidedOnly && j.Reason != word:
				t.Errorf("reason %q, want %q", j.Reason, word)
			case j.Mark() != nil || !j.Until.IsZero():
				t.Errorf("mark %v until %s", j.Mark(), j.Until)
			}
		})
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
	for _, c := range []struct {
		name  string
		above []*x509.Certificate
		fails string
	}{
		{"four, usage open", []*x509.Certificate{certify(false)}, ""},
		{"four, for marks", []*x509.Certificate{certify(false, markca.OIDEKU)}, ""},
		{"four, for something else", []*x509.Certificate{certify(false, asn1.ObjectIdentifier{1, 2, 3})}, "eku"},
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

func TestPEM(t *testing.T) {
	ca := markca.New(t, now)
	leaf := ca.Certificate(t, domain)
	file := ca.File(leaf)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})
	text := func(n int) []byte { return append(bytes.Repeat([]byte("\n"), n-len(file)), file...) }
	six := append(bytes.Clone(file), markca.PEM(ca.Root, ca.Root, ca.Root)...)
	for _, c := range []struct {
		name string
		file []byte
		says string
	}{
		{"good", file, ""},
		{"text around it", append([]byte("subject=Shop\n"), append(bytes.Clone(file), "end\n"...)...), ""},
		{"largest", text(MaxPEM), ""},
		{"larger", text(MaxPEM + 1), "has 65537 octets"},
		{"six", six, ""},
		{"seven", append(bytes.Clone(six), markca.PEM(ca.Root)...), "more than 6 certificates"},
		{"empty", nil, "no certificate in the file"},
		{"HTML", []byte("<html>"), "no certificate in the file"},
		{"DER", leaf.Raw, "no certificate in the file"},
		{"key behind it", append(bytes.Clone(file), key...), `block "PRIVATE KEY"`},
		{"key before it", append(bytes.Clone(key), file...), `block "PRIVATE KEY"`},
		{"two leaves", markca.PEM(leaf, ca.Certificate(t, "other.example"), ca.Issuer), "certificate 2 is not of a CA"},
		{"the same leaf twice", markca.PEM(leaf, ca.Issuer, leaf), "certificate 3 is not of a CA"},
		{"CA first", markca.PEM(ca.Issuer, leaf, ca.Root), "certificate 2 is not of a CA"},
		{"no certificate in the block", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0}}), "certificate 1 cannot be read"},
	} {
		j := rulesOf(t, ca).Judge(evidence(t, ca, c.file), now)
		switch {
		case c.says == "" && j.Result != bimi.Pass:
			t.Errorf("%s: %+v", c.name, j.Checks)
		case c.says != "" && (j.Result != bimi.Fail || j.Reason != "pem" || len(j.Checks) != 1 || j.Certificate != nil || !strings.Contains(detail(j, "pem"), c.says)):
			t.Errorf("%s: %s %+v, want %q", c.name, j.Result, j.Checks, c.says)
		}
	}
	if j := rulesOf(t, ca).Judge(evidence(t, ca, markca.PEM(ca.Issuer, ca.Root)), now); failing(j) != "chain leaf policy san type logotype" {
		t.Errorf("only CAs: %q", failing(j))
	}
	if names, err := Names(file); err != nil || !slices.Equal(names, []string{domain}) {
		t.Errorf("names %q, %v", names, err)
	}
	if _, err := Names(nil); err == nil || !strings.HasPrefix(err.Error(), "mark: there is no certificate") {
		t.Errorf("names of nothing: %v", err)
	}
}

// TestLargeKey checks that no certificate with a huge key is verified with.
func TestLargeKey(t *testing.T) {
	ca := markca.New(t, now)
	leaf := ca.Certificate(t, domain)
	for bits, says := range map[int]string{maxKeyBits: "", maxKeyBits + 8: "has 8200 bits"} {
		file := markca.PEM(leaf, ca.Issuer, ca.WithKey(t, bits))
		j := rulesOf(t, ca).Judge(evidence(t, ca, file), now)
		if says == "" && j.Result != bimi.Pass || says != "" && !strings.Contains(detail(j, "pem"), says) {
			t.Errorf("%d bits: %+v", bits, j.Checks)
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
		for range 40 {
			l.DNSNames = append(l.DNSNames, "other.example")
		}
	})
	j := rulesOf(t, ca).Judge(evidence(t, ca, ca.File(leaf)), now)
	if c := j.Certificate; len(c.Owner) > maxText || len(c.Type) > maxText || len(c.Names) != maxNames || strings.ContainsAny(c.Type, "\n") {
		t.Errorf("%d octets of owner, %d of type, %d names", len(c.Owner), len(c.Type), len(c.Names))
	}
	if s := j.CRLs[0].Subject; s != "a?[2Jb" {
		t.Errorf("subject %q", s)
	}
}

func TestBuiltinRoots(t *testing.T) {
	// Fingerprints as the CAs publish them. Entrust's VMCR1 (7831d95a…) is left out on purpose.
	want := map[string]string{
		"504386c9ee8932fecc95fade427f69c3e2534b7310489e300fee448e33c46b42":      "DigiCert Verified Mark Root CA",
		"cd122cb877c6928b9017b0f0b80dbd508196300bbd03cd7356c3beef524e7e0b":      "GlobalSign Verified Mark Root R42",
		"8f9d1b7698886782a599b48510651c66a1aa0c5ca3192097bdc6853415" + "4bd30d": "SSL.com VMC RSA Root CA 2024",
		"1b82e7f4910b51e3e802a493acdc17ff58eac8b9eb7c09b52ac6cd2efb83598c":      "SSL.com VMC ECC Root CA 2024",
	}
	roots := BuiltinRoots()
	if len(roots) != len(want) {
		t.Errorf("%d roots, want %d", len(roots), len(want))
	}
	for _, c := range roots {
		sum := sha256.Sum256(c.Raw)
		if name := want[hex.EncodeToString(sum[:])]; name != c.Subject.CommonName || name == "" {
			t.Errorf("root %q with fingerprint %x", c.Subject.CommonName, sum)
		}
	}
}

func TestParseRoots(t *testing.T) {
	ca := markca.New(t, now)
	leaf := ca.Certificate(t, domain)
	many := bytes.Repeat(markca.PEM(ca.Root), maxRoots)
	for _, c := range []struct {
		name string
		text []byte
		n    int
		says string
	}{
		{"one", markca.PEM(ca.Root), 1, ""},
		{"two with text", append([]byte("DigiCert\n"), append(markca.PEM(ca.Root), markca.PEM(ca.Issuer)...)...), 2, ""},
		{"most", many, maxRoots, ""},
		{"too many", append(bytes.Clone(many), markca.PEM(ca.Root)...), 0, "more than 100"},
		{"none", []byte("x"), 0, "no certificate"},
		{"no CA", markca.PEM(ca.Root, leaf), 0, "root 2 (Shop KK) is not the certificate of a CA"},
		{"a key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"}), 0, `block "PRIVATE KEY"`},
		{"broken", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), 0, "root 1: "},
	} {
		roots, err := ParseRoots(c.text)
		if len(roots) != c.n || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %d, %v", c.name, len(roots), err)
		}
	}
}

// TestRealChains judges the real certificates of the shared data a day after they began.
func TestRealChains(t *testing.T) {
	roots, err := ParseRoots(bytes.Join(values(suites.BIMI(t, "roots")), []byte("\n")))
	if err != nil || len(roots) != 5 {
		t.Fatalf("%d roots, %v", len(roots), err)
	}
	files, pictures := suites.BIMI(t, "certificates"), suites.BIMI(t, "svg")
	real := map[string]struct{ domain, fails, markType, hashes string }{
		"paypal_vmc.pem":           {"paypal.com", "crl", "Registered Mark", "SHA-1"},
		"cnn.pem":                  {"cnn.com", "crl", "Registered Mark", "SHA-1"},
		"redshift.pem":             {"redsift.com", "crl", "Registered Mark", "SHA-256"},
		"globalsign-vmc.pem":       {"globalsign.com", "crl", "Registered Mark", "SHA-1, SHA-256, SHA-384"},
		"xometry_cmc.pem":          {"xometry.com", "pilot crl", "Prior Use Mark", "SHA-1"},
		"negative-tls.pem":         {"catchall.delivery", "chain policy type logotype", "", ""},
		"negative-self-signed.pem": {"postal.vmc.local", "chain leaf policy san type logotype", "", ""},
	}
	passed := 0
	for name, want := range real {
		file := files[name]
		begin := facts(first2(readPEM(file))).NotBefore
		rules := Rules{Roots: roots, Logs: BuiltinLogs()}
		j := rules.Judge(Evidence{PEM: file, Domain: mustName(want.domain), Selector: "default"}, begin.AddDate(0, 0, 1))
		if failing(j) != want.fails || j.Certificate.Type != want.markType || listed(j.Certificate.Hashes) != want.hashes {
			t.Errorf("%s: %q type %q hashes %q: %+v", name, failing(j), j.Certificate.Type, j.Certificate.Hashes, j.Checks)
			continue
		}
		passed++
		if strings.HasPrefix(name, "negative-") {
			continue
		}
		rules.Pilot = true
		if j = rules.Judge(Evidence{PEM: file, Domain: mustName(want.domain)}, begin.AddDate(0, 0, 1)); j.Result != bimi.TempError || failing(j) != "crl" {
			t.Errorf("%s: with pilots %s %q", name, j.Result, failing(j))
		}
		if picture := pictures["real-"+strings.TrimSuffix(name, ".pem")+".svg"]; !bytes.Equal(j.SVG, picture) {
			t.Errorf("%s: the picture is not the one that was taken out of it", name)
		}
		if got := detail(j, "sct"); got != "signed by DigiCert Gorgon" {
			t.Errorf("%s: timestamp: %s", name, got)
		}
		if j = rules.Judge(Evidence{PEM: file, Domain: mustName(want.domain)}, begin.AddDate(3, 0, 0)); !strings.Contains(failing(j), "validity") {
			t.Errorf("%s: three years later %q", name, failing(j))
		}
		if name == "redshift.pem" {
			rules.Roots = BuiltinRoots()
			if j = rules.Judge(Evidence{PEM: file, Domain: mustName(want.domain)}, begin.AddDate(0, 0, 1)); j.Reason != "chain" {
				t.Errorf("%s: by the roots of the program %s", name, j.Reason)
			}
		}
	}
	suites.Log(t, "bimi/certificates", passed, len(real), "")
	if len(files) != len(real) {
		t.Errorf("%d certificates in the shared data, %d in the test", len(files), len(real))
	}
}

func first2(file []*x509.Certificate, _ error) *x509.Certificate { return file[0] }

func values(m map[string][]byte) (all [][]byte) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
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
