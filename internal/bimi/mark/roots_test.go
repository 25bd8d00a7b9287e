package mark

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"

	"sekimori/internal/bimi"
	"sekimori/internal/testkit/markca"
	"sekimori/internal/testkit/suites"
)

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
