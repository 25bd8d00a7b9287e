package dkim

import (
	"crypto"
	"fmt"
	"io"
	"strings"
	"testing"

	"sekimori/internal/testkit/signer"
)

func TestWorkWeights(t *testing.T) {
	const big = 1<<31 - 1
	for _, tt := range []struct {
		bits, exponent int
		want           float64 // weight in ordinary operations
	}{
		{2048, 65537, 1},
		{2041, 65537, 1},
		{2048, 3, 0.53125},
		{2048, big, 2.34375},
		{1024, 65537, 0.25},
		{1025, 65537, 0.5625}, // weighs as much as 1,536 bits
		{1537, 65537, 1},
		{2049, 65537, 2.25},
		{3072, 65537, 2.25},
		{4096, 65537, 4},
		{8192, 65537, 16},
		{8192, big, 37.5},
	} {
		if got := float64(rsaWork(tt.bits, tt.exponent)) / ordinaryWork; got != tt.want {
			t.Errorf("%d bits, exponent %d: %v, want %v", tt.bits, tt.exponent, got, tt.want)
		}
	}
	if chain := int64(50 + 1 + defaultMaxSignatures); maxOperations < chain || maxOperations*ordinaryWork < chain*ed25519Work {
		t.Error("the longest chain there may be does not fit beside the signatures")
	}
}

// long is a signer that returns 1,025 zero octets instead of a signature.
type long struct{ crypto.Signer }

func (long) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, 1025), nil
}

// TestWorkLimit checks that signatures are verified up to the limit and later
// ones get the result policy, and that a signature gives back work that it does
// not need.
func TestWorkLimit(t *testing.T) {
	sign := func(n int, s signing, eml string) string {
		for range n {
			eml = sign(t, s, eml)
		}
		return eml
	}
	count := func(sigs []Signature) string {
		var words []string
		for _, s := range sigs {
			words = append(words, strings.TrimSuffix(string(s.Result)+"/"+string(s.Reason), "/"))
		}
		n := map[string]int{}
		for _, w := range words {
			n[w]++
		}
		return fmt.Sprint(n)
	}
	key := signer.Record(&rsaKey(t).PublicKey)
	ed := signer.Record(edKey().Public())
	large := signer.NewHeavy(t, 8192, 65537)
	four := []string{signer.Record(signer.NewHeavy(t, 2048, 65537).Public()), signer.Record(signer.NewHeavy(t, 2048, 3).Public()), key}
	for _, tt := range []struct {
		why  string
		mail string
		keys []string
		want string
	}{
		{"64 signatures with an ordinary key", sign(64, signing{}, testMail), []string{key}, "map[pass:64]"},
		{"64 signatures with an Ed25519 key", sign(64, signing{key: edKey()}, testMail), []string{ed}, "map[pass:64]"},
		{"four signatures with a large key", sign(4, signing{key: large}, testMail), []string{signer.Record(large.Public())}, "map[pass:4]"},
		{"five signatures with a large key", sign(5, signing{key: large}, testMail), []string{signer.Record(large.Public())}, "map[pass:4 policy/work_limit:1]"},
		{"three keys at the name, the last is right", sign(25, signing{}, testMail), four, "map[pass:25]"},
		{"three keys at the name, and too many signatures", sign(28, signing{}, testMail), four, "map[pass:23 policy/work_limit:5]"},
		{"two ordinary signatures below four large ones", sign(4, signing{key: large}, sign(2, signing{}, testMail)), []string{key},
			"map[fail/signature_mismatch:4 policy/work_limit:2]"},
		{"a b= longer than any key needs nothing", sign(1, signing{key: long{}}, sign(64, signing{}, testMail)), []string{key},
			"map[fail/signature_mismatch:1 pass:64]"},
		{"three large ones leave their work to others", sign(3, signing{key: large}, sign(12, signing{}, testMail)), four, "map[fail/signature_mismatch:3 pass:12]"},
	} {
		got := count(verify(t, []byte(tt.mail), zoneWith(tt.keys...), Options{MaxSignatures: 100}))
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
	}
}
