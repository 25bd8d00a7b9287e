package markca

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"sekimori/internal/testkit/recorder"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// describe returns what a certificate says, without keys and what follows from them.
func describe(c *x509.Certificate) string {
	const day = "2006-01-02 15:04"
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s by %s, %s to %s, CA %t %t %t, usage %d", c.SerialNumber, c.Subject, c.Issuer, c.NotBefore.Format(day), c.NotAfter.Format(day),
		c.BasicConstraintsValid, c.IsCA, c.MaxPathLenZero, c.KeyUsage)
	fmt.Fprintf(&b, ", ext %v %v, policies %v, %v, lists %v, key %s", c.ExtKeyUsage, c.UnknownExtKeyUsage, c.Policies, c.DNSNames, c.CRLDistributionPoints, c.PublicKeyAlgorithm)
	for _, e := range c.Extensions {
		switch e.Id.String() {
		case "1.3.6.1.5.5.7.1.12", "1.3.6.1.4.1.53087.4.1", "1.3.6.1.4.1.11129.2.4.2":
			fmt.Fprintf(&b, ", %s %t", e.Id, e.Critical)
		}
	}
	return b.String()
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s, want\n%s", what, got, want)
	}
}

// TestGood compares every certificate that is made without a change.
func TestGood(t *testing.T) {
	ca, other := New(t, now), New(t, now, func(issuer *x509.Certificate) { issuer.SerialNumber = big.NewInt(77) })
	const (
		root   = "CN=Test Mark Root,O=Test Root"
		issuer = "CN=Test Mark CA,O=Test CA"
		mark   = "CN=Shop KK,O=Shop KK,C=JP,1.3.6.1.4.1.53087.1.13=#130f52656769737465726564204d61726b"
		leaf   = mark + " by " + issuer + ", 2026-10-02 12:00 to 2027-09-27 12:00, CA true false false, usage 1, ext [] [1.3.6.1.5.5.7.3.31]" +
			", policies [1.3.6.1.4.1.53087.1.1], [a.example], lists [http://crl.markca.example/issuer.crl], key ECDSA" +
			", 1.3.6.1.5.5.7.1.12 false, 1.3.6.1.4.1.11129.2.4.2 false"
		certified = ", 2024-11-01 12:00 to 2034-11-01 12:00, CA true true false, usage 96, ext [] [], policies [], [], lists [http://crl.markca.example/root.crl], key ECDSA"
	)
	for _, tt := range []struct {
		name    string
		c, from *x509.Certificate
		want    string
	}{
		{"root", ca.Root, ca.Root, "1 " + root + " by " + root + ", 2021-11-01 12:00 to 2041-11-01 12:00, CA true true false, usage 96, ext [] [], policies [], [], lists [], key ECDSA"},
		{"issuer", ca.Issuer, ca.Root, "2 " + issuer + " by " + root + ", 2024-11-01 12:00 to 2034-11-01 12:00, CA true true true, usage 96" +
			", ext [] [1.3.6.1.5.5.7.3.31], policies [], [], lists [http://crl.markca.example/root.crl], key ECDSA"},
		{"leaf", ca.Certificate(t, "a.example"), ca.Issuer, "101 " + leaf},
		{"second leaf", ca.Certificate(t, "a.example"), ca.Issuer, "102 " + leaf},
		{"by the root", ca.Certify(t, other, false), ca.Root, "3 " + root + " by " + root + certified},
		{"by the issuer", ca.Certify(t, other, true), ca.Issuer, "3 " + root + " by " + issuer + certified},
		{"changed", ca.Certify(t, other, true, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(9) }), ca.Issuer,
			"9 " + root + " by " + issuer + certified},
		{"large key", ca.WithKey(t, 2050), ca.Root, "4 CN=Large CA by " + root +
			", 2024-11-01 12:00 to 2034-11-01 12:00, CA true true false, usage 0, ext [] [], policies [], [], lists [], key RSA"},
	} {
		same(t, tt.name, describe(tt.c), tt.want)
		if err := tt.c.CheckSignatureFrom(tt.from); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if key := ca.WithKey(t, 2050).PublicKey.(*rsa.PublicKey); key.N.BitLen() != 2050 || key.N.Bit(0) != 1 || key.E != 65537 {
		t.Errorf("key of %d bits, E %d", key.N.BitLen(), key.E)
	}
	if c := ca.Certify(t, other, false); !bytes.Equal(c.RawSubjectPublicKeyInfo, other.Root.RawSubjectPublicKeyInfo) {
		t.Error("the certified key is not that of the other root")
	}
	if other.Issuer.SerialNumber.Int64() != 77 {
		t.Error("the issuing CA was not changed")
	}
}

// TestFile checks the order of the certificates in a file.
func TestFile(t *testing.T) {
	ca := New(t, now)
	rest := ca.Issue(t, "a.example", func(l *Leaf) { l.Type = "Changed" })
	for _, want := range []string{"Changed", "Test Mark CA", "Test Mark Root"} {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || !bytes.Contains(block.Bytes, []byte(want)) {
			t.Errorf("no certificate of %s", want)
		}
	}
	if len(rest) > 0 {
		t.Errorf("%d octets more", len(rest))
	}
}

func extension(c *x509.Certificate, id asn1.ObjectIdentifier) *pkix.Extension {
	for i := range c.Extensions {
		if c.Extensions[i].Id.Equal(id) {
			return &c.Extensions[i]
		}
	}
	return nil
}

// TestLeaf changes one field of a Leaf at a time.
func TestLeaf(t *testing.T) {
	ca := New(t, now)
	none := func(*Leaf) {}
	for _, tt := range []struct {
		name                 string
		change               func(*Leaf)
		from                 *x509.Certificate
		mark, pilot          bool
		logotype, timestamps string // the value in hex, "" for none, or "*" for one that other tests look at
	}{
		{"good", none, ca.Issuer, true, false, "*", "*"},
		{"no type", func(l *Leaf) { l.Type = "" }, ca.Issuer, false, false, "*", "*"},
		{"no picture", func(l *Leaf) { l.NoPicture = true }, ca.Issuer, true, false, "", "*"},
		{"another logotype", func(l *Leaf) { l.Logotype = []byte{5, 0} }, ca.Issuer, true, false, "0500", "*"},
		{"pilot", func(l *Leaf) { l.Pilot = true }, ca.Issuer, true, true, "*", "*"},
		{"no logs", func(l *Leaf) { l.Logged = nil }, ca.Issuer, true, false, "*", ""},
		{"other timestamps", func(l *Leaf) { l.SCTs = []byte{4, 0} }, ca.Issuer, true, false, "*", "0400"},
		{"other timestamps, no logs", func(l *Leaf) { l.SCTs, l.Logged = []byte{4, 0}, nil }, ca.Issuer, true, false, "*", "0400"},
		{"from the root", func(l *Leaf) { l.FromRoot = true }, ca.Root, true, false, "*", "*"},
	} {
		c := ca.Certificate(t, "a.example", tt.change)
		if err := c.CheckSignatureFrom(tt.from); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if mark := strings.Contains(c.Subject.String(), OIDMarkType.String()); mark != tt.mark {
			t.Errorf("%s: mark type %t", tt.name, mark)
		}
		if e := extension(c, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53087, 4, 1}); (e != nil) != tt.pilot || e != nil && (!e.Critical || string(e.Value) != "\x0c\x04test") {
			t.Errorf("%s: pilot %+v", tt.name, e)
		}
		for id, want := range map[string]string{OIDLogotype.String(): tt.logotype, OIDSCTs.String(): tt.timestamps} {
			got := ""
			for _, e := range c.Extensions {
				if e.Id.String() == id {
					got = hex.EncodeToString(e.Value)
				}
			}
			if want != "*" && got != want || want == "*" && len(got) < 100 {
				t.Errorf("%s: %s is %q, want %q", tt.name, id, got, want)
			}
		}
		if extension(c, OIDSCTs) != nil && tt.timestamps == "*" {
			checkTimestamps(t, tt.name, c, tt.from, 0, ca.Log)
		}
	}
	if e := extension(ca.Certificate(t, "a.example", func(l *Leaf) { l.Critical = true }), OIDLogotype); !e.Critical {
		t.Error("the logotype is not critical")
	}
}

// image is LogotypeImage as Image makes it.
type image struct {
	Details struct {
		MediaType string `asn1:"ia5"`
		Hashes    []struct {
			Algorithm struct{ ID asn1.ObjectIdentifier }
			Value     []byte
		}
		URIs []asn1.RawValue
	}
}

func take(t *testing.T, der []byte, value any) {
	t.Helper()
	if rest, err := asn1.Unmarshal(der, value); err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d octets more", err, len(rest))
	}
}

// TestPicture reads the picture and its hashes back.
func TestPicture(t *testing.T) {
	ca := New(t, now)
	const picture = "<svg>picture</svg>"
	for _, tt := range []struct {
		name   string
		change func(*Leaf)
		id     string
		sum    []byte
	}{
		{"default", func(*Leaf) {}, "2.16.840.1.101.3.4.2.1", sumOf(crypto.SHA256, picture)},
		{"SHA-1", func(l *Leaf) { l.Hash = crypto.SHA1 }, "1.3.14.3.2.26", sumOf(crypto.SHA1, picture)},
		{"SHA-384", func(l *Leaf) { l.Hash = crypto.SHA384 }, "2.16.840.1.101.3.4.2.2", sumOf(crypto.SHA384, picture)},
		{"SHA-512", func(l *Leaf) { l.Hash = crypto.SHA512 }, "2.16.840.1.101.3.4.2.3", sumOf(crypto.SHA512, picture)},
		{"other octets", func(l *Leaf) { l.Hashed = []byte("x") }, "2.16.840.1.101.3.4.2.1", sumOf(crypto.SHA256, "x")},
	} {
		c := ca.Certificate(t, "a.example", func(l *Leaf) { l.Picture = []byte(picture); tt.change(l) })
		var outer, direct asn1.RawValue
		take(t, extension(c, OIDLogotype).Value, &outer) // LogotypeExtn
		take(t, outer.Bytes, &direct)
		if direct.Class != asn1.ClassContextSpecific || direct.Tag != 2 || !direct.IsCompound {
			t.Errorf("%s: subject's logo in %+v", tt.name, direct)
		}
		var images []image
		take(t, direct.Bytes, &direct)
		if direct.Class != asn1.ClassContextSpecific || direct.Tag != 0 || !direct.IsCompound {
			t.Errorf("%s: direct logo in %+v", tt.name, direct)
		}
		take(t, direct.Bytes, &images)
		i := images[0].Details
		if len(images) != 1 || i.MediaType != "image/svg+xml" || len(i.Hashes) != 1 || i.Hashes[0].Algorithm.ID.String() != tt.id ||
			!bytes.Equal(i.Hashes[0].Value, tt.sum) || len(i.URIs) != 1 || i.URIs[0].Tag != asn1.TagIA5String || i.URIs[0].Class != 0 {
			t.Errorf("%s: %+v", tt.name, images)
		}
		text, ok := strings.CutPrefix(string(i.URIs[0].Bytes), "data:image/svg+xml;base64,")
		z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
		if err != nil || !ok {
			t.Fatalf("%s: %v: %s", tt.name, err, i.URIs[0].Bytes)
		}
		if got, err := io.ReadAll(z); err != nil || string(got) != picture {
			t.Errorf("%s: %v: %s", tt.name, err, got)
		}
	}
	var made image
	take(t, Details(t, "a/b", nil, "u:1", "u:2"), &made)
	if two := made.Details; two.MediaType != "a/b" || len(two.Hashes) != 0 || len(two.URIs) != 2 || string(two.URIs[1].Bytes) != "u:2" {
		t.Errorf("%+v", two)
	}
	take(t, Image(t, []byte(picture), []byte("y"), crypto.SHA512, crypto.SHA1), &made)
	if two := made.Details; len(two.Hashes) != 2 || !bytes.Equal(two.Hashes[0].Value, sumOf(crypto.SHA512, "y")) || !bytes.Equal(two.Hashes[1].Value, sumOf(crypto.SHA1, "y")) {
		t.Errorf("%+v", two)
	}
	same(t, "nested", hex.EncodeToString(LogotypeOf(t, []byte{5, 0}, []byte{4, 0})), "300aa208a0063004"+"05000400")
	same(t, "value", hex.EncodeToString(Value(t, asn1.ClassApplication, 3, true, []byte{1})), "630101")
	same(t, "plain value", hex.EncodeToString(Value(t, asn1.ClassUniversal, asn1.TagOctetString, false, []byte{1})), "040101")
	if short := Gzip(t, bytes.Repeat([]byte("a"), 10_000)); len(short) > 100 {
		t.Errorf("10,000 equal octets take %d", len(short))
	}
}

func sumOf(h crypto.Hash, text string) []byte {
	sum := h.New()
	sum.Write([]byte(text))
	return sum.Sum(nil)
}

// signedParts returns what a log signs of a certificate: the TBSCertificate without the timestamps.
func signedParts(t *testing.T, c *x509.Certificate) []byte {
	t.Helper()
	var fields []asn1.RawValue
	take(t, c.RawTBSCertificate, &fields)
	last := &fields[len(fields)-1]
	var all, kept []asn1.RawValue
	take(t, last.Bytes, &all)
	oid := Marshal(t, OIDSCTs)
	for _, e := range all {
		if !bytes.HasPrefix(e.Bytes, oid) {
			kept = append(kept, e)
		}
	}
	last.FullBytes, last.Bytes = nil, Marshal(t, kept)
	return Marshal(t, fields)
}

// checkTimestamps reads the timestamps of the logs (RFC 6962 §3.2 and §3.3).
func checkTimestamps(t *testing.T, name string, c, issuer *x509.Certificate, later time.Duration, logs ...*Log) {
	t.Helper()
	var list []byte
	take(t, extension(c, OIDSCTs).Value, &list)
	if int(binary.BigEndian.Uint16(list)) != len(list)-2 {
		t.Fatalf("%s: a list of %d octets says %x", name, len(list)-2, list[:2])
	}
	list = list[2:]
	tbs, issuerKey := signedParts(t, c), sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	for _, l := range logs {
		one := list[2 : 2+binary.BigEndian.Uint16(list)]
		list = list[2+len(one):]
		der, err := base64.StdEncoding.DecodeString(l.Key)
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			t.Fatal(err)
		}
		id, when := sha256.Sum256(der), binary.BigEndian.AppendUint64(nil, uint64(c.NotBefore.Add(time.Minute+later).UnixMilli()))
		head := append(append([]byte{0}, id[:]...), when...)
		if head = append(head, 0, 0, 4); !bytes.HasPrefix(one, head) {
			t.Errorf("%s: %s begins with %x, want %x", name, l.Name, one[:min(len(one), len(head))], head)
		}
		algorithm, signature := one[len(head)], one[len(head)+3:]
		if int(binary.BigEndian.Uint16(one[len(head)+1:])) != len(signature) {
			t.Errorf("%s: %s: a signature of %d octets", name, l.Name, len(signature))
		}
		signed := append(append([]byte{0, 0}, when...), 0, 1)
		signed = append(append(signed, issuerKey[:]...), byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
		signed = append(append(signed, tbs...), 0, 0)
		if l.Change != nil {
			l.Change(signed)
		}
		hash, good := sha256.Sum256(signed), false
		switch key := key.(type) {
		case *ecdsa.PublicKey:
			good = algorithm == 3 && ecdsa.VerifyASN1(key, hash[:], signature)
		case *rsa.PublicKey:
			good = algorithm == 1 && rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], signature) == nil
		}
		if !good {
			t.Errorf("%s: %s: the signature is wrong (algorithm %d)", name, l.Name, algorithm)
		}
	}
	if len(list) > 0 {
		t.Errorf("%s: %d octets more", name, len(list))
	}
}

// TestLogs checks the timestamps of several logs, of a changed one, and of a certificate over 64 KiB.
func TestLogs(t *testing.T) {
	ca := New(t, now)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	plain, signsRSA := NewLog(t, "plain"), NewRSALog(t, "RSA", key)
	changed, later := NewLog(t, "changed"), NewLog(t, "later")
	changed.Change = func(signed []byte) { signed[60] ^= 1 }
	later.Later = 90 * time.Minute
	if plain.Name != "plain" || signsRSA.Name != "RSA" || ca.Log.Name != "test log" || plain.Key == ca.Log.Key {
		t.Errorf("%q, %q, %q", plain.Name, signsRSA.Name, ca.Log.Name)
	}
	for _, tt := range []struct {
		name    string
		logs    []*Log
		later   time.Duration
		picture int
	}{
		{"one", []*Log{plain}, 0, 1}, {"two", []*Log{ca.Log, plain}, 0, 1}, {"RSA", []*Log{plain, signsRSA}, 0, 1}, {"changed", []*Log{changed}, 0, 1},
		{"later", []*Log{later}, 90 * time.Minute, 1}, {"large", []*Log{plain}, 0, 66_000},
	} {
		c := ca.Certificate(t, "a.example", func(l *Leaf) { l.Logged, l.Logotype = tt.logs, Value(t, 0, 4, false, make([]byte, tt.picture)) })
		checkTimestamps(t, tt.name, c, ca.Issuer, tt.later, tt.logs...)
	}
}

// TestLists checks the revocation lists.
func TestLists(t *testing.T) {
	ca := New(t, now)
	mayNot := New(t, now, func(issuer *x509.Certificate) { issuer.IsCA, issuer.MaxPathLenZero, issuer.KeyUsage = false, false, 0 })
	ext := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}
	entry := x509.RevocationListEntry{SerialNumber: big.NewInt(8), RevocationTime: now, ReasonCode: 1}
	usage := mayNot.Issuer.KeyUsage
	for _, tt := range []struct {
		name   string
		der    []byte
		by     *x509.Certificate
		forged bool
		want   string
	}{
		{"empty", ca.CRL(t, List{}), ca.Issuer, false, "1 CN=Test Mark CA,O=Test CA 2026-11-01 11:00 2026-11-08 12:00 []"},
		{"root", ca.RootCRL(t, List{}), ca.Root, false, "1 CN=Test Mark Root,O=Test Root 2026-11-01 11:00 2026-11-08 12:00 []"},
		{"revoked", ca.CRL(t, List{Revoked: []*big.Int{big.NewInt(5), big.NewInt(6)}}), ca.Issuer, false,
			"1 CN=Test Mark CA,O=Test CA 2026-11-01 11:00 2026-11-08 12:00 [5 11-01 11:00 0 6 11-01 11:00 0]"},
		{"entries", ca.CRL(t, List{Entries: []x509.RevocationListEntry{entry}}), ca.Issuer, false,
			"1 CN=Test Mark CA,O=Test CA 2026-11-01 11:00 2026-11-08 12:00 [8 11-01 12:00 1]"},
		{"times", ca.CRL(t, List{ThisUpdate: now.AddDate(0, 0, -3), NextUpdate: now.AddDate(0, 0, 3)}), ca.Issuer, false,
			"1 CN=Test Mark CA,O=Test CA 2026-10-29 12:00 2026-11-04 12:00 []"},
		{"extension", ca.CRL(t, List{Extensions: []pkix.Extension{ext}}), ca.Issuer, false, "1 CN=Test Mark CA,O=Test CA 2026-11-01 11:00 2026-11-08 12:00 [] 1.2.3"},
		{"forged", ca.CRL(t, List{Forged: true}), ca.Issuer, true, "1 CN=Test Mark CA,O=Test CA 2026-11-01 11:00 2026-11-08 12:00 []"},
		{"of none that may sign", mayNot.CRL(t, List{}), nil, false, "1 CN=Test Mark CA,O=Test CA 2026-11-01 11:00 2026-11-08 12:00 [] key 01"},
	} {
		list, err := x509.ParseRevocationList(tt.der)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var entries []string
		for _, e := range list.RevokedCertificateEntries {
			entries = append(entries, fmt.Sprintf("%d %s %d", e.SerialNumber, e.RevocationTime.Format("01-02 15:04"), e.ReasonCode))
		}
		got := fmt.Sprintf("%d %s %s %s %v", list.Number, list.Issuer, list.ThisUpdate.Format("2006-01-02 15:04"), list.NextUpdate.Format("2006-01-02 15:04"), entries)
		for _, e := range list.Extensions {
			if e.Id.Equal(ext.Id) {
				got += " " + e.Id.String()
			}
		}
		if tt.by == nil {
			got += " key " + hex.EncodeToString(list.AuthorityKeyId)
		} else if err := list.CheckSignatureFrom(tt.by); (err != nil) != tt.forged {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.by != nil && !bytes.Equal(list.AuthorityKeyId, tt.by.SubjectKeyId) {
			t.Errorf("%s: key %x, want %x", tt.name, list.AuthorityKeyId, tt.by.SubjectKeyId)
		}
		same(t, tt.name, got, tt.want)
	}
	if mayNot.Issuer.KeyUsage != usage || mayNot.Issuer.SubjectKeyId != nil {
		t.Error("the issuing CA's certificate was changed")
	}
}

// TestServe gets a page by HTTPS.
func TestServe(t *testing.T) {
	ca := New(t, now)
	hosts := []string{"web.example", "www.example"}
	var address string
	words := recorder.Run(t, func(tb testing.TB) {
		var roots *x509.CertPool
		address, roots = ca.Serve(tb, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }), hosts...)
		marks := x509.NewCertPool()
		marks.AddCert(ca.Root)
		for _, tt := range []struct {
			host  string
			roots *x509.CertPool
			at    time.Time
			good  bool
		}{
			{hosts[0], roots, now, true}, {hosts[1], roots, now, true}, {"other.example", roots, now, false}, {hosts[0], marks, now, false},
			{hosts[0], roots, now.AddDate(1, 0, 0), true}, {hosts[0], roots, now.AddDate(1, 0, 1), false},
			{hosts[0], roots, now.AddDate(-1, 0, 0), true}, {hosts[0], roots, now.AddDate(-1, 0, -1), false},
		} {
			conf := &tls.Config{RootCAs: tt.roots, ServerName: tt.host, Time: func() time.Time { return tt.at }, MinVersion: tls.VersionTLS12}
			client := http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
			text := ""
			r, err := client.Get("https://" + address)
			if err == nil {
				var octets []byte
				octets, err = io.ReadAll(r.Body)
				text = string(octets)
				r.Body.Close()
				sent, chain := len(r.TLS.PeerCertificates), r.TLS.VerifiedChains[0]
				if got := describe(chain[0]) + "\n" + describe(chain[1]); sent != 1 || got != "2 CN=web by CN=Test Web Root, 2025-11-01 12:00 to 2027-11-01 12:00, CA false false false"+
					", usage 1, ext [serverAuth] [], policies [], [web.example www.example], lists [], key ECDSA\n1 CN=Test Web Root by CN=Test Web Root"+
					", 2025-11-01 12:00 to 2027-11-01 12:00, CA true true false, usage 32, ext [] [], policies [], [], lists [], key ECDSA" {
					tb.Errorf("%d, %s", sent, got)
				}
			}
			if (err == nil) != tt.good || tt.good && text != "page" {
				tb.Errorf("%s at %s: %v %q", tt.host, tt.at, err, text)
			}
		}
		old := &tls.Config{RootCAs: roots, ServerName: hosts[0], Time: func() time.Time { return now }, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		if conn, err := tls.Dial("tcp", address, old); err == nil {
			conn.Close()
			tb.Error("TLS 1.1 was accepted")
		}
	})
	if words != "" {
		t.Error(words)
	}
	if conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}); err == nil { //nolint:gosec // only whether it listens
		conn.Close()
		t.Error("the server outlives its test")
	}
}

// TestSaysWhatCannotBeMade checks that a test fails if what it asks for cannot be made.
func TestSaysWhatCannotBeMade(t *testing.T) {
	ca := New(t, now)
	small := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: big.NewInt(15), E: 3}, D: big.NewInt(3), Primes: []*big.Int{big.NewInt(3), big.NewInt(5)}}
	twice := []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}, {Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}
	for _, tt := range []struct {
		name string
		f    func(testing.TB)
	}{
		{"x509: serial number must be positive", func(tb testing.TB) {
			ca.Certificate(tb, "a.example", func(l *Leaf) { l.SerialNumber = big.NewInt(-1) })
		}},
		{"duplicate extension with OID \"1.2.3\"", func(tb testing.TB) { ca.Certificate(tb, "a.example", func(l *Leaf) { l.ExtraExtensions = twice }) }},
		{"template.ThisUpdate is after template.NextUpdate", func(tb testing.TB) { ca.CRL(tb, List{NextUpdate: now.AddDate(0, 0, -1)}) }},
		{"unknown Go type: chan int", func(tb testing.TB) { Marshal(tb, make(chan int)) }},
		{"rsa", func(tb testing.TB) {
			l := NewRSALog(tb, "small", small)
			ca.Certificate(tb, "a.example", func(leaf *Leaf) { leaf.Logged = []*Log{l} })
		}},
	} {
		if got := recorder.Run(t, tt.f); !strings.HasPrefix(got, "fatal: ") || !strings.Contains(got, tt.name) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}
