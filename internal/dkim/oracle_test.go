package dkim

import (
	"bytes"
	"crypto"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	oracle "github.com/emersion/go-msgauth/dkim"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/signer"
)

// randomMail makes a message whose white space, folds and letter case are changed by
// canonicalization.
func randomMail(r *rand.Rand) string {
	wsp := []string{" ", "  ", "\t", " \t ", "\r\n ", " \r\n\t ", "\r\n  "}
	words := []string{"a", "Word", "UPPER", "x=y;", "例え", "\"q\"", "(c)", "1234567890123456789012345678901234567890"}
	var b strings.Builder
	for _, name := range []string{"Received", "received", "FROM", "To", "Subject", "X-Odd", "Date"} {
		b.WriteString(name + ":")
		for range 1 + r.IntN(5) {
			b.WriteString(wsp[r.IntN(len(wsp))] + words[r.IntN(len(words))])
		}
		b.WriteString([]string{"", "", " ", "\t"}[r.IntN(4)] + "\r\n")
	}
	b.WriteString("\r\n")
	// The oracle, go-msgauth, turns bare CR and LF into CRLF. So the body has only
	// lines that end in CRLF.
	for range r.IntN(20) {
		for range r.IntN(4) {
			b.WriteString(wsp[r.IntN(4)] + words[r.IntN(len(words))])
		}
		b.WriteString([]string{"", "", " ", "\t "}[r.IntN(4)] + "\r\n")
	}
	b.WriteString(strings.Repeat("\r\n", r.IntN(3)))
	return b.String()
}

// TestOracle signs with go-msgauth. The signatures must verify, and must not
// verify after a covered octet was changed.
func TestOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	ed := edKey()
	z := map[bool]string{true: signer.Record(ed.Public()), false: signer.Record(&rsaKey(t).PublicKey)}
	for i := range 300 {
		mail := randomMail(r)
		useEd := i%10 != 0 // most use Ed25519, because signing with RSA is slow
		var signer crypto.Signer = ed
		if !useEd {
			signer = rsaKey(t)
		}
		canon := []oracle.Canonicalization{oracle.CanonicalizationSimple, oracle.CanonicalizationRelaxed}
		o := &oracle.SignOptions{
			Domain: "example.com", Selector: "s1", Signer: signer, Hash: crypto.SHA256,
			HeaderCanonicalization: canon[r.IntN(2)], BodyCanonicalization: canon[r.IntN(2)],
			HeaderKeys: [][]string{nil, {"From", "Subject", "Received"}, {"From", "From", "X-None", "to"}}[r.IntN(3)],
		}
		if r.IntN(2) == 0 {
			o.Identifier = "x@sub.example.com"
		}
		var signed bytes.Buffer
		if err := oracle.Sign(&signed, strings.NewReader(mail), o); err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("%d: %s/%s ed25519 %v %v", i, o.HeaderCanonicalization, o.BodyCanonicalization, useEd, o.HeaderKeys)
		sigs := verify(t, signed.Bytes(), zoneWith(z[useEd]), Options{})
		if len(sigs) != 1 || sigs[0].Result != Pass {
			t.Fatalf("%s: %+v\n%q", what, sigs, signed.String())
		}
		mutate(t, r, what, signed.String(), zoneWith(z[useEd]))
	}
}

// mutate changes one visible octet that the signature covers, and checks that
// nothing passes.
func mutate(t *testing.T, r *rand.Rand, what, signed string, z dns.Resolver) {
	t.Helper()
	head, body, _ := strings.Cut(signed, "\r\n\r\n")
	from := strings.Index(head, "FROM:") + len("FROM:")
	spots := []int{from + strings.IndexFunc(head[from:], visible)}
	if at := strings.IndexFunc(body, visible); at >= 0 {
		spots = append(spots, len(head)+4+at)
	}
	for _, tag := range []string{" d=", "bh=", "b="} {
		at := strings.LastIndex(head[:from], tag)
		spots = append(spots, at+len(tag)+2)
	}
	spot := spots[r.IntN(len(spots))]
	changed := []byte(signed)
	changed[spot] = map[bool]byte{true: 'b', false: 'Q'}[changed[spot] == 'Q']
	if bytes.Equal(changed, []byte(signed)) {
		changed[spot] = 'Z'
	}
	if got := results(verify(t, changed, z, Options{})); slices.Contains(got, Pass) {
		t.Fatalf("%s: passes with octet %d changed:\n%q", what, spot, changed)
	}
}

func visible(r rune) bool { return r > ' ' }

// edits are what is put into a signed message by FuzzOracle; "" takes an octet out.
var edits = []string{"", " ", "\t", "\r\n ", "x", ";", "=", ":", "\r\n", "  ", "B", "0"}

// FuzzOracle changes signed messages and compares the result with that of go-msgauth: a signature passes here
// exactly if it verifies there. Each three octets of program say where a message is changed, and how.
func FuzzOracle(f *testing.F) {
	var mails []string
	for _, s := range []signing{{key: edKey()}, {key: edKey(), c: "simple/simple"}, {key: edKey(), c: "relaxed/simple", h: "from:to:to:subject:received"}, {key: edKey(), c: "simple/relaxed", h: "From"}} {
		mails = append(mails, sign(f, s, testMail))
	}
	for i := range mails {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{1, 200, 1})
		f.Add(uint8(i), []byte{2, 20, 3})
	}
	record := signer.Record(edKey().Public())
	f.Fuzz(func(t *testing.T, which uint8, program []byte) {
		compareWithOracle(t, changedBy(mails[int(which)%len(mails)], program), record)
	})
}

// TestOracleVerifies does the same with a change of each kind at each place of a message.
func TestOracleVerifies(t *testing.T) {
	record := signer.Record(edKey().Public())
	for _, c := range []string{"relaxed/relaxed", "simple/simple"} {
		mail := sign(t, signing{key: edKey(), c: c}, testMail)
		for at := range mail {
			for how := range edits {
				if (at+how)%4 == 0 { // all of them take too long
					compareWithOracle(t, changedBy(mail, []byte{byte(at >> 8), byte(at), byte(how)}), record)
				}
			}
		}
	}
}

// changedBy returns the message after the changes of program.
func changedBy(mail string, program []byte) string {
	for n := 0; len(program) >= 3 && n < 8; n++ {
		at := (int(program[0])<<8 | int(program[1])) % len(mail)
		if edit := edits[int(program[2])%len(edits)]; edit == "" {
			mail = mail[:at] + mail[at+1:]
		} else {
			mail = mail[:at] + edit + mail[at:]
		}
		program = program[3:]
	}
	return mail
}

func compareWithOracle(t *testing.T, mail, record string) {
	t.Helper()
	head, _, whole := strings.Cut(mail, "\r\n\r\n")
	bare := strings.ReplaceAll(mail, "\r\n", "")
	fields, _ := signer.Split([]byte(mail))
	if strings.ContainsAny(bare, "\r\n") || !whole || strings.Count(strings.ToLower("\r\n"+head), "\r\nfrom:") != 1 || len(fields.Values("from")) != 1 ||
		len(fields.Values("dkim-signature")) != 1 || head[0] == ' ' || head[0] == '\t' {
		return // here and there the message is read differently, or refused before the signature is
	}
	for _, f := range fields {
		if f.Name == "" || strings.ContainsAny(f.Name, " \t") || !strings.Contains(head, f.Name+":") {
			return // go-msgauth refuses the whole message
		}
	}
	found, err := oracle.VerifyWithOptions(strings.NewReader(mail), &oracle.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if name != "s1._domainkey.example.com" {
			return nil, nil
		}
		return []string{record}, nil
	}})
	want := err == nil && len(found) == 1 && found[0].Err == nil
	got := verifyOnce(t, []byte(mail), zoneWith(record), Options{})
	if pass := len(got) == 1 && got[0].Result == Pass; pass != want {
		why := err
		if len(found) == 1 {
			why = found[0].Err
		}
		if why != nil && strings.Contains(why.Error(), "illegal base64") {
			return // go-msgauth wants padding
		}
		t.Fatalf("pass %t (%+v), go-msgauth says %v\n%q", pass, got, why, mail)
	}
}
