package report

import (
	"math"
	"strings"
	"testing"
)

func TestBounceToken(t *testing.T) {
	secret, other := []byte("secret of the store"), []byte("another secret")
	token := BounceToken(secret, 4711)
	for _, c := range []struct {
		why, token string
		want       int64
		ok         bool
	}{
		{"ours", token, 4711, true},
		{"an MTA wrote it in upper case", strings.ToUpper(token), 4711, true},
		{"the largest id", BounceToken(secret, math.MaxInt64), math.MaxInt64, true},
		{"made with another secret", BounceToken(other, 4711), 4711, false},
		{"another delivery's MAC", "4712" + token[4:], 4712, false},
		{"MAC cut", token[:len(token)-1], 4711, false},
		{"MAC missing", "4711-", 4711, false},
		{"no hyphen", "4711", 0, false},
		{"leading zero", "0" + token, 0, false},
		{"sign", "+" + token, 0, false},
		{"negative", BounceToken(secret, -1), 0, false},
		{"zero", BounceToken(secret, 0), 0, false},
		{"empty", "", 0, false},
		{"a letter whose lower case is ASCII", strings.Replace(BounceToken(secret, kDelivery(secret)), "k", "\u212a", 1), kDelivery(secret), false},
		{"too long", token + strings.Repeat("a", MaxTokenLen), 0, false},
	} {
		if id, ok := ParseBounceToken(secret, c.token); ok != c.ok || ok && id != c.want {
			t.Errorf("%s: %q: got %d, %v", c.why, c.token, id, ok)
		}
	}
	if n := len(BounceToken(secret, math.MaxInt64)); n != MaxTokenLen {
		t.Errorf("the longest token has %d octets, MaxTokenLen is %d", n, MaxTokenLen)
	}
}

// kDelivery returns a delivery whose token has a "k".
func kDelivery(secret []byte) int64 {
	for id := int64(1); ; id++ {
		if strings.Contains(BounceToken(secret, id), "k") {
			return id
		}
	}
}

func TestBounceLocal(t *testing.T) {
	token := BounceToken([]byte("s"), 9)
	for _, c := range []struct {
		why, local string
		ok         bool
	}{
		{"ours", BounceLocal("dmarc-bounce", token), true},
		{"base in another case", "DMARC-Bounce+" + token, true},
		{"another base", "dmarc-bouncf+" + token, false},
		{"the longest token", "dmarc-bounce+" + strings.Repeat("a", MaxTokenLen), false},
		{"no token", "dmarc-bounce+", false},
		{"base alone", "dmarc-bounce", false},
		{"another delimiter", "dmarc-bounce-" + token, false},
		{"too long", "dmarc-bounce+" + strings.Repeat("a", MaxTokenLen+1), false},
		{"empty", "", false},
	} {
		want := token
		if c.why == "the longest token" {
			want, c.ok = strings.Repeat("a", MaxTokenLen), true
		}
		if got, ok := BounceTokenOf("dmarc-bounce", c.local); ok != c.ok || ok && got != want {
			t.Errorf("%s: got %q, %v", c.why, got, ok)
		}
	}
}

func FuzzParseBounceToken(f *testing.F) {
	secret := []byte("s")
	f.Add(BounceToken(secret, 1))
	f.Add("1-")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := ParseBounceToken(secret, s); ok && asciiLower(s) != BounceToken(secret, id) {
			t.Errorf("%q accepted as the token of %d", s, id)
		}
	})
}
