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
	"sekimori/internal/testkit/markca"
)

// point returns the extension issuingDistributionPoint with fields.
func point(tb testing.TB, fields ...[]byte) []pkix.Extension {
	tb.Helper()
	return []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: markca.Sequence(tb, fields...)}}
}

func field(tb testing.TB, tag int, content ...byte) []byte {
	tb.Helper()
	return markca.Value(tb, asn1.ClassContextSpecific, tag, false, content)
}

// at returns the field distributionPoint with URIs.
func at(tb testing.TB, urls ...string) []byte {
	tb.Helper()
	var names []byte
	for _, u := range urls {
		names = append(names, field(tb, 6, []byte(u)...)...)
	}
	full := markca.Value(tb, asn1.ClassContextSpecific, 0, true, names)
	return markca.Value(tb, asn1.ClassContextSpecific, 0, true, full)
}

func TestRevocation(t *testing.T) {
	ca, other := markca.New(t, now), markca.New(t, now)
	leaf := ca.Certificate(t, domain)
	file := ca.File(leaf)
	serial, issuerSerial := leaf.SerialNumber, ca.Issuer.SerialNumber
	day := 24 * time.Hour
	for _, c := range []struct {
		name         string
		issuer, root *markca.List // nil: good and empty
		lists        map[string][]byte
		at           time.Duration
		fails        string
		says         string
	}{
		{name: "good"},
		{name: "revoked", issuer: &markca.List{Revoked: []*big.Int{serial}}, fails: "revoked", says: "certificate of Shop KK is revoked"},
		{name: "others are revoked", issuer: &markca.List{Revoked: []*big.Int{issuerSerial, big.NewInt(1), big.NewInt(1 << 40)}}},
		{name: "issuing CA revoked", root: &markca.List{Revoked: []*big.Int{big.NewInt(9), issuerSerial}}, fails: "revoked", says: "Test Mark CA is revoked"},
		{name: "both revoked", issuer: &markca.List{Revoked: []*big.Int{serial}}, root: &markca.List{Revoked: []*big.Int{issuerSerial}}, fails: "revoked", says: "Shop KK"},
		{name: "revoked, and the other list is missing", issuer: &markca.List{Revoked: []*big.Int{serial}}, lists: map[string][]byte{markca.RootCRL: nil}, fails: "crl revoked"},
		{name: "none fetched", lists: map[string][]byte{markca.RootCRL: nil, markca.IssuerCRL: nil}, fails: "crl", says: "list for Shop KK is not there yet"},
		{name: "one fetched", lists: map[string][]byte{markca.RootCRL: nil}, fails: "crl", says: "list for Test Mark CA is not there yet"},
		{name: "next one due", at: 7 * day},
		{name: "almost a day overdue", at: 8 * day},
		{name: "a day overdue", at: 8*day + time.Second, fails: "crl", says: "Shop KK does not count: the next one was due on 2026-11-08"},
		{name: "revoked by an overdue list", issuer: &markca.List{Revoked: []*big.Int{serial}}, at: 9 * day, fails: "crl"},
		{name: "from the future", issuer: &markca.List{ThisUpdate: now.Add(maxAhead + time.Second)}, fails: "crl", says: "from the future"},
		{name: "a little ahead", issuer: &markca.List{ThisUpdate: now.Add(maxAhead)}},
		{name: "forged", issuer: &markca.List{Forged: true}, fails: "crl", says: "not signed by the CA"},
		{name: "of another CA of the same name", lists: map[string][]byte{markca.IssuerCRL: other.CRL(t, markca.List{})}, fails: "crl", says: "not signed by the CA"},
		{name: "of the root", lists: map[string][]byte{markca.IssuerCRL: ca.RootCRL(t, markca.List{})}, fails: "crl", says: "of another CA"},
		{name: "for this place", issuer: &markca.List{Extensions: point(t, at(t, "ldap:///x", markca.IssuerCRL))}},
		{name: "for another place", issuer: &markca.List{Extensions: point(t, at(t, "http://crl.markca.example/other.crl"))}, fails: "crl", says: "for another place"},
		{name: "for certificates of domains", issuer: &markca.List{Extensions: point(t, field(t, 1, 0xff))}},
		{name: "for certificates of CAs", issuer: &markca.List{Extensions: point(t, field(t, 2, 0xff))}, fails: "crl", says: "for other certificates"},
		{name: "the root's for certificates of CAs", root: &markca.List{Extensions: point(t, field(t, 2, 0xff))}},
		{name: "the root's for certificates of domains", root: &markca.List{Extensions: point(t, field(t, 1, 0xff))}, fails: "crl"},
		{name: "flags that are not set", issuer: &markca.List{Extensions: point(t, field(t, 1, 0), field(t, 2, 0), field(t, 4, 0), field(t, 5, 0))}},
	} {
		lists := map[string]*CRL{}
		add := func(url string, der []byte) {
			if replaced, ok := c.lists[url]; ok {
				der = replaced
			}
			if der != nil {
				lists[url] = parsed(t, der)
			}
		}
		zero := markca.List{}
		if c.issuer == nil {
			c.issuer = &zero
		}
		if c.root == nil {
			c.root = &zero
		}
		add(markca.IssuerCRL, ca.CRL(t, *c.issuer))
		add(markca.RootCRL, ca.RootCRL(t, *c.root))
		j := rulesOf(t, ca).Judge(Evidence{PEM: file, Domain: domain, CRLs: lists}, now.Add(c.at))
		if failing(j) != c.fails {
			t.Errorf("%s: %q, want %q: %+v", c.name, failing(j), c.fails, j.Checks)
			continue
		}
		want := bimi.Pass
		switch {
		case strings.Contains(c.fails, "revoked"):
			want = bimi.Fail
		case c.fails != "":
			want = bimi.TempError
		}
		word, _, _ := strings.Cut(c.fails, " ")
		if j.Result != want || word != "" && !strings.Contains(detail(j, word), c.says) {
			t.Errorf("%s: %s, %q, want %s, %q", c.name, j.Result, detail(j, word), want, c.says)
		}
		if strings.Contains(c.fails, "revoked") && j.Reason != "revoked" {
			t.Errorf("%s: reason %s", c.name, j.Reason)
		}
		if want == bimi.TempError && string(j.SVG) != markca.SVG {
			t.Errorf("%s: the picture is missing", c.name)
		}
	}
}

// TestSecondPlace checks that any of several lists of a certificate will do, and that a bad one before it
// does no harm.
func TestSecondPlace(t *testing.T) {
	ca := markca.New(t, now)
	const first, second = "http://a.example/1.crl", "http://b.example/1.crl"
	leaf := ca.Certificate(t, domain, func(l *markca.Leaf) { l.CRLDistributionPoints = []string{first, second} })
	good, forged := parsed(t, ca.CRL(t, markca.List{})), parsed(t, ca.CRL(t, markca.List{Forged: true}))
	revoked := parsed(t, ca.CRL(t, markca.List{Revoked: []*big.Int{leaf.SerialNumber}}))
	for _, c := range []struct {
		name          string
		first, second *CRL
		fails         string
	}{
		{"first", good, nil, ""},
		{"second", nil, good, ""},
		{"forged and good", forged, good, ""},
		{"forged and revoked", forged, revoked, "revoked"},
		{"forged", forged, nil, "crl"},
		{"good, and revoked by an older or newer one", good, revoked, "revoked"},
	} {
		lists := listsOf(t, ca)
		for url, list := range map[string]*CRL{first: c.first, second: c.second} {
			if list != nil {
				lists[url] = list
			}
		}
		j := rulesOf(t, ca).Judge(Evidence{PEM: ca.File(leaf), Domain: domain, CRLs: lists}, now)
		if failing(j) != c.fails || len(j.CRLs) != 2 || len(j.CRLs[0].URLs) != 2 {
			t.Errorf("%s: %q, want %q; lists %+v", c.name, failing(j), c.fails, j.CRLs)
			continue
		}
		if need := &j.CRLs[0]; need.Serves(good, now) != nil || need.Serves(forged, now) == nil || need.Serves(lists[markca.RootCRL], now) == nil {
			t.Errorf("%s: the wrong lists serve", c.name)
		}
	}
}

// TestPlaces checks which places of lists are taken.
func TestPlaces(t *testing.T) {
	ca := markca.New(t, now)
	long := "http://crl.example/" + strings.Repeat("x", maxCRLURL)
	for _, c := range []struct {
		in   []string
		want string
	}{
		{nil, ""},
		{[]string{"ldap://crl.example/x", "/x.crl", "http:///x", "ftp://crl.example/x", "http://[", "https://crl.example/x"}, "https://crl.example/x"},
		{[]string{long[:maxCRLURL], long[:maxCRLURL+1]}, long[:maxCRLURL]},
		{[]string{"http://a/1", "http://a/2", "http://a/3", "http://a/4", "http://a/5"}, "http://a/1 http://a/2 http://a/3 http://a/4"},
	} {
		leaf := ca.Certificate(t, domain, func(l *markca.Leaf) { l.CRLDistributionPoints = c.in })
		j := rulesOf(t, ca).Judge(Evidence{PEM: ca.File(leaf), Domain: domain}, now)
		if got := strings.Join(j.CRLs[0].URLs, " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		want := bimi.TempError
		if c.want == "" { // nothing will ever be fetched
			want = bimi.Fail
		}
		if j.Result != want || j.Reason != "crl" {
			t.Errorf("%q: %s %s, want %s", c.in, j.Result, j.Reason, want)
		}
	}
}

func TestParseCRL(t *testing.T) {
	ca := markca.New(t, now)
	critical := func(id asn1.ObjectIdentifier, isCritical bool) *markca.List {
		return &markca.List{Extensions: []pkix.Extension{{Id: id, Critical: isCritical, Value: []byte{2, 1, 1}}}}
	}
	many := func(n int) *markca.List {
		l := &markca.List{}
		for i := range n {
			l.Revoked = append(l.Revoked, big.NewInt(int64(i+1)))
		}
		return l
	}
	names := make([]string, maxIDPNames+1)
	for i := range names {
		names[i] = markca.IssuerCRL
	}
	for _, c := range []struct {
		name string
		list *markca.List
		says string
	}{
		{"most entries", many(maxRevoked), ""},
		{"too many entries", many(maxRevoked + 1), "more than 50000 entries"},
		{"unknown extension", critical(asn1.ObjectIdentifier{1, 2, 3}, false), ""},
		{"unknown critical extension", critical(asn1.ObjectIdentifier{1, 2, 3}, true), "extension 1.2.3"},
		{"delta", critical(oidDeltaCRL, true), "extension 2.5.29.27"},
		{"delta, not critical", critical(oidDeltaCRL, false), "extension 2.5.29.27"},
		{"some reasons", &markca.List{Extensions: point(t, field(t, 3, 1, 2))}, "some certificates or reasons"},
		{"indirect", &markca.List{Extensions: point(t, field(t, 4, 0xff))}, "some certificates or reasons"},
		{"attribute certificates", &markca.List{Extensions: point(t, field(t, 5, 0xff))}, "some certificates or reasons"},
		{"unknown field", &markca.List{Extensions: point(t, field(t, 6, 0))}, "some certificates or reasons"},
		{"relative name", &markca.List{Extensions: point(t, markca.Value(t, asn1.ClassContextSpecific, 0, true, field(t, 1)))}, "some certificates or reasons"},
		{"no name", &markca.List{Extensions: point(t, markca.Value(t, asn1.ClassContextSpecific, 0, true, nil))}, "some certificates or reasons"},
		{"names that cannot be read", &markca.List{Extensions: point(t, markca.Value(t, asn1.ClassContextSpecific, 0, true, []byte{0xa0, 2, 0x86, 9}))}, "some certificates or reasons"},
		{"two names", &markca.List{Extensions: point(t, markca.Value(t, asn1.ClassContextSpecific, 0, true, bytes.Repeat(at(t, markca.IssuerCRL)[2:], 2)))}, "some certificates or reasons"},
		{"no sequence", &markca.List{Extensions: []pkix.Extension{{Id: oidIssuingDistributionPoint, Value: []byte{5, 0}}}}, "some certificates or reasons"},
		{"as many places", &markca.List{Extensions: point(t, at(t, names[:maxIDPNames]...))}, ""},
		{"too many places", &markca.List{Extensions: point(t, at(t, names...))}, "some certificates or reasons"},
		{"other kind of place", &markca.List{Extensions: point(t, markca.Value(t, asn1.ClassContextSpecific, 0, true,
			markca.Value(t, asn1.ClassContextSpecific, 0, true, field(t, 2, 'x'))))}, ""},
	} {
		list, err := ParseCRL(ca.CRL(t, *c.list))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		if err == nil && (!list.NextUpdate().Equal(now.AddDate(0, 0, 7)) || len(list.revoked) != len(c.list.Revoked)) {
			t.Errorf("%s: next %s, %d revoked", c.name, list.NextUpdate(), len(list.revoked))
		}
	}
	good := ca.CRL(t, markca.List{Revoked: []*big.Int{big.NewInt(5)}})
	for name, der := range map[string][]byte{
		"empty": nil, "text": []byte("<html>"), "cut": good[:len(good)-1], "behind": append(good[:len(good):len(good)], 0),
		"a certificate": ca.Root.Raw, "an empty sequence": {0x30, 0}, "a sequence of one": {0x30, 2, 0x30, 0},
		"entries that cannot be read": {0x30, 12, 0x30, 10, 0x30, 0, 0x30, 0, 0x30, 4, 0x30, 0, 0x30, 9},
	} {
		if _, err := ParseCRL(der); err == nil || !strings.HasPrefix(err.Error(), "mark: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseCRL(make([]byte, MaxCRL)); err == nil || strings.Contains(err.Error(), "octets, and may have") {
		t.Error(err)
	}
	if _, err := ParseCRL(make([]byte, MaxCRL+1)); err == nil || !strings.Contains(err.Error(), "has 10485761 octets") {
		t.Errorf("a large one: %v", err)
	}
	for _, der := range [][]byte{nil, {0x30, 9}, {0x30, 0}, {0x30, 2, 0x30, 9}, {0x30, 4, 0x30, 2, 2, 9}, {0x30, 10, 0x30, 8, 0x30, 0, 0x30, 0, 0x30, 2, 0x30, 9}, {0x30, 0, 0}} {
		if bounded(der) == nil {
			t.Errorf("%x counts as bounded", der)
		}
	}
	endless := CRL{list: &x509.RevocationList{}}
	signed := parsed(t, ca.CRL(t, markca.List{}))
	*endless.list = *signed.list
	endless.list.NextUpdate = time.Time{}
	if err := endless.serves(ca.Certificate(t, domain), ca.Issuer, now); err == nil || !strings.Contains(err.Error(), "does not say when") {
		t.Errorf("a list without an end: %v", err)
	}
	entry := x509.RevocationListEntry{SerialNumber: big.NewInt(5), RevocationTime: now, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}}
	if _, err := ParseCRL(ca.CRL(t, markca.List{Entries: []x509.RevocationListEntry{entry}})); err == nil || !strings.Contains(err.Error(), "entry with a critical") {
		t.Errorf("entry of another CA: %v", err)
	}
}

func FuzzParseCRL(f *testing.F) {
	ca := markca.New(f, now)
	leaf := ca.Certificate(f, domain)
	f.Add(ca.CRL(f, markca.List{}))
	f.Add(ca.CRL(f, markca.List{Revoked: []*big.Int{big.NewInt(5), leaf.SerialNumber}, Extensions: point(f, at(f, markca.IssuerCRL), field(f, 1, 0xff))}))
	rules, file := rulesOf(f, ca), ca.File(leaf)
	root := parsed(f, ca.RootCRL(f, markca.List{}))
	f.Fuzz(func(t *testing.T, der []byte) {
		list, err := ParseCRL(der)
		if err != nil {
			return
		}
		j := rules.Judge(Evidence{PEM: file, Domain: domain, CRLs: map[string]*CRL{markca.IssuerCRL: list, markca.RootCRL: root}}, now)
		if (j.Result == bimi.Fail) != (j.Reason == "revoked") || j.Result == bimi.Pass && list.revoked[serialKey(leaf.SerialNumber)] {
			t.Fatalf("%s %s", j.Result, j.Reason)
		}
	})
}
