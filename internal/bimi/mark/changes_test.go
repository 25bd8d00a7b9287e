package mark

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
	"sekimori/internal/testkit/markca"
)

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
	{name: "another CA that is not valid yet", file: later},
	{name: "mark root unknown", rules: func(r *Rules) { r.Roots = BuiltinRoots() }, fails: "chain", says: "does not lead to a mark root"},
	{name: "no roots", rules: func(r *Rules) { r.Roots = nil }, fails: "chain"},
	{name: "without the issuing CA", file: only(0), fails: "chain", says: "put the CA's certificate behind it"},
	{name: "without the root", file: only(0, 1)},
	{name: "in another order", file: only(0, 2, 1)},
	{name: "issued by the root", leaf: func(l *markca.Leaf) { l.FromRoot = true }, fails: "chain", says: "has 2"},
	{name: "issuing CA is not a CA", issuer: func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }, fails: "pem", says: "certificate 2 is not of a CA"},
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

// later adds a CA to a file whose certificates begin when those of the file have ended.
func later(tb testing.TB, _ *markca.CA, file []byte) []byte {
	tb.Helper()
	return append(file, markca.PEM(markca.New(tb, now.AddDate(10, 0, 0)).Issuer)...)
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
