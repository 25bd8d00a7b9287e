package mark

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

	"sekimori/internal/testkit/markca"
)

// listOf returns the extension with timestamps.
func listOf(tb testing.TB, timestamps ...[]byte) []byte {
	tb.Helper()
	var all []byte
	for _, s := range timestamps {
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(s))), s...)
	}
	return markca.Marshal(tb, append(binary.BigEndian.AppendUint16(nil, uint16(len(all))), all...))
}

func TestParseSCTs(t *testing.T) {
	id := bytes.Repeat([]byte{7}, 32)
	good := append(append([]byte{0}, id...), 0, 0, 1, 2, 3, 4, 5, 6, 0, 2, 8, 9, 4, 3, 0, 1, 42)
	with := func(place int, b byte) []byte {
		wrong := bytes.Clone(good)
		wrong[(place+len(wrong))%len(wrong)] = b
		return wrong
	}
	many := make([][]byte, maxSCTs+1)
	for i := range many {
		many[i] = good
	}
	for _, c := range []struct {
		name  string
		value []byte
		n     int
	}{
		{"one", listOf(t, good), 1},
		{"most", listOf(t, many[:maxSCTs]...), maxSCTs},
		{"signature of no octets", listOf(t, with(-2, 0)[:len(good)-1]), 1},
		{"too many", listOf(t, many...), 0},
		{"none", listOf(t), 0},
		{"good and bad", listOf(t, good, good[:10]), 0},
		{"version 2", listOf(t, with(0, 1)), 0},
		{"empty one", listOf(t, nil), 0},
		{"cut in the head", listOf(t, good[:40]), 0},
		{"cut before the extensions", listOf(t, good[:41]), 0},
		{"cut in the length of the extensions", listOf(t, good[:42]), 0},
		{"cut in the extensions", listOf(t, good[:44]), 0},
		{"cut before the signature", listOf(t, good[:45]), 0},
		{"cut in the algorithm", listOf(t, good[:46]), 0},
		{"cut in the signature", listOf(t, good[:len(good)-1]), 0},
		{"something behind the signature", listOf(t, with(-2, 0)), 0},
		{"something behind one", listOf(t, append(bytes.Clone(good), 0)), 0},
		{"not an octet string", []byte{5, 0}, 0},
		{"something behind the list", markca.Marshal(t, []byte{0, 0, 1}), 0},
		{"list that is too short", markca.Marshal(t, []byte{0, 9, 0}), 0},
		{"one octet", markca.Marshal(t, []byte{0}), 0},
		{"something behind the octet string", append(listOf(t, good), 0), 0},
		{"nothing", nil, 0},
	} {
		list, err := parseSCTs(c.value)
		if len(list) != c.n || (err == nil) != (c.n > 0) {
			t.Errorf("%s: %d, %v", c.name, len(list), err)
		}
	}
	list, err := parseSCTs(listOf(t, good))
	if err != nil {
		t.Fatal(err)
	}
	if s := list[0]; !bytes.Equal(s.log[:], id) || s.timestamp != 0x010203040506 || string(s.extensions) != "\x08\x09" || s.algorithm != [2]byte{4, 3} || string(s.signature) != "*" {
		t.Errorf("%+v", s)
	}
}

// TestLogs checks certificates with timestamps of several logs.
func TestLogs(t *testing.T) {
	ca := markca.New(t, now)
	other := markca.NewLog(t, "other log")
	bad := altered(other, 50)
	for _, c := range []struct {
		name   string
		logged []*markca.Log
		known  []*markca.Log
		says   string
		fails  bool
	}{
		{"both known", []*markca.Log{ca.Log, other}, []*markca.Log{ca.Log, other}, "signed by", false},
		{"first known", []*markca.Log{ca.Log, other}, []*markca.Log{ca.Log}, "signed by test log", false},
		{"second known", []*markca.Log{ca.Log, other}, []*markca.Log{other}, "signed by other log", false},
		{"none known", []*markca.Log{ca.Log, other}, nil, "2 timestamps of logs whose key is not configured", false},
		{"good and bad", []*markca.Log{ca.Log, bad}, []*markca.Log{ca.Log, other}, "not signed by it", true},
		{"bad and good", []*markca.Log{bad, ca.Log}, []*markca.Log{ca.Log, other}, "not signed by it", true},
		{"bad, but unknown", []*markca.Log{ca.Log, bad}, []*markca.Log{ca.Log}, "signed by test log", false},
	} {
		rules := rulesOf(t, ca)
		rules.Logs = nil
		for _, l := range c.known {
			log, err := ParseLog(l.Name, l.Key)
			if err != nil {
				t.Fatal(err)
			}
			rules.Logs = append(rules.Logs, log)
		}
		file := ca.Issue(t, domain, func(l *markca.Leaf) { l.Logged = c.logged })
		j := rules.Judge(evidence(t, ca, file), now)
		if (failing(j) == "sct") != c.fails || !strings.Contains(detail(j, "sct"), c.says) {
			t.Errorf("%s: %q %s", c.name, failing(j), detail(j, "sct"))
		}
	}
}

// TestSigned checks the algorithms of a timestamp against the key of its log.
func TestSigned(t *testing.T) {
	ca := markca.New(t, now)
	leaf := ca.Certificate(t, domain)
	value, _ := find(leaf, oidSCTs)
	list, err := parseSCTs(value.Value)
	if err != nil {
		t.Fatal(err)
	}
	log, err := ParseLog(ca.Log.Name, ca.Log.Key)
	if err != nil {
		t.Fatal(err)
	}
	if !log.signed(list[0], leaf, ca.Issuer) {
		t.Error("the good one is not signed")
	}
	for _, algorithm := range [][2]byte{{4, 1}, {2, 3}, {5, 3}, {0, 0}} {
		s := list[0]
		s.algorithm = algorithm
		if log.signed(s, leaf, ca.Issuer) {
			t.Errorf("algorithm %v", algorithm)
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer := markca.NewRSALog(t, "RSA log", key)
	leaf = ca.Certificate(t, domain, func(l *markca.Leaf) { l.Logged = []*markca.Log{signer} })
	value, _ = find(leaf, oidSCTs)
	if list, err = parseSCTs(value.Value); err != nil {
		t.Fatal(err)
	}
	if log, err = ParseLog(signer.Name, signer.Key); err != nil {
		t.Fatal(err)
	}
	if !log.signed(list[0], leaf, ca.Issuer) {
		t.Error("RSA is not signed")
	}
	for _, algorithm := range []byte{0, 1, 3} {
		s := list[0]
		s.algorithm[1] = algorithm
		if (&Log{}).signed(s, leaf, ca.Issuer) {
			t.Errorf("a log without a key signs by algorithm %d", algorithm)
		}
	}
	s := list[0]
	s.algorithm[1] = 3
	if log.signed(s, leaf, ca.Issuer) {
		t.Error("RSA counts as ECDSA")
	}
	s = list[0]
	s.signature = bytes.Clone(s.signature)
	s.signature[9] ^= 1
	if log.signed(s, leaf, ca.Issuer) {
		t.Error("a wrong signature of RSA counts")
	}
}

func TestParseLog(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for key, says := range map[string]string{"!": "is not base64", "AAAA": `the key of the log "x"`, base64.StdEncoding.EncodeToString(edwards): "neither ECDSA nor RSA"} {
		if _, err := ParseLog("x", key); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", key, err)
		}
	}
	logs := BuiltinLogs()
	if len(logs) != 1 || logs[0].Name != "DigiCert Gorgon" {
		t.Fatalf("logs %+v", logs)
	}
	// The log id that the real certificates have.
	if got := base64.StdEncoding.EncodeToString(logs[0].id[:]); got != "VVlTrjCWAIBs0utSCKbJnpMYKKwQVrRCHFU2FUxfdaw=" {
		t.Errorf("id %s", got)
	}
}

// TestWithoutSCTs checks that the precertificate is the certificate as it was before it had timestamps.
func TestWithoutSCTs(t *testing.T) {
	d := der{t}
	mine, other := d.seq(markca.Marshal(t, oidSCTs), markca.Marshal(t, []byte("x"))), d.seq(markca.Marshal(t, oidPilot), markca.Marshal(t, []byte("y")))
	tbs := func(extensions ...[]byte) []byte { return d.seq(d.ia5("serial"), d.tagged(3, d.seq(extensions...))) }
	if got, err := withoutSCTs(tbs(mine, other, mine)); err != nil || !bytes.Equal(got, tbs(other)) {
		t.Errorf("%x, %v", got, err)
	}
	for name, wrong := range map[string][]byte{
		"nothing": nil, "empty": d.seq(), "no extensions": d.seq(d.ia5("x")), "two lists": d.seq(d.tagged(3, d.seq(), d.seq())),
		"extensions that are not a sequence": d.seq(d.tagged(3, d.ia5("x"))), "extension that is none": tbs(d.ia5("x")), "other tag": d.seq(d.tagged(2, d.seq())),
		"extension with more": tbs(d.seq(markca.Marshal(t, oidPilot), d.ia5("x"))),
		"too many":            d.seq(d.tagged(3, d.seq(bytes.Repeat(other, maxElements+1)))),
		"a set":               markca.Value(t, asn1.ClassUniversal, asn1.TagSet, true, d.tagged(3, d.seq())),
	} {
		if _, err := withoutSCTs(wrong); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
