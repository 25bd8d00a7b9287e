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
