package mark

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sekimori/internal/bimi"
	"sekimori/internal/testkit/markca"
)

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

// FuzzJudge judges files of strangers, with the roots of the program and a test CA. What is not PEM is taken
// for a certificate in DER, because a change in base64 seldom makes a certificate.
func FuzzJudge(f *testing.F) {
	ca := markca.New(f, now)
	f.Add(ca.Issue(f, domain))
	f.Add(ca.Issue(f, domain, func(l *markca.Leaf) { l.Pilot, l.Hash = true, crypto.SHA1 }))
	f.Add(markca.PEM(ca.Issuer, ca.Root))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	rules, lists := rulesOf(f, ca), listsOf(f, ca)
	rules.Roots = append(rules.Roots, BuiltinRoots()...)
	f.Add(ca.Certificate(f, domain).Raw)
	f.Fuzz(func(t *testing.T, file []byte) {
		if !bytes.HasPrefix(file, []byte("-")) {
			file = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: file}), markca.PEM(ca.Issuer)...)
		}
		j := rules.Judge(Evidence{PEM: file, Domain: domain, Selector: "default", CRLs: lists}, now)
		if (j.Result == bimi.Pass) != (j.Reason == "") || (j.Result == bimi.Pass) != (j.Mark() != nil) || len(j.Checks) == 0 {
			t.Fatalf("%s %q with %d checks", j.Result, j.Reason, len(j.Checks))
		}
		for _, c := range j.Checks {
			if !slices.Contains(Words(), c.Word) || !utf8.ValidString(c.Detail) || strings.ContainsAny(c.Detail, "\x00\x1b\r\n") {
				t.Fatalf("check %q: %q", c.Word, c.Detail)
			}
		}
	})
}
