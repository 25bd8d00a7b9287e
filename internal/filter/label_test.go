package filter

import (
	"strings"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// TestLabelIsUsedAgain: a connection's label holds nothing of the message
// before, and no more room than ordinary ones need.
func TestLabelIsUsedAgain(t *testing.T) {
	signed := func(n int, domain string) *msgauth.Evaluation {
		e := &msgauth.Evaluation{}
		for range n {
			e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.Pass, Domain: "example.com", Identity: "@" + domain, Selector: "s", Algorithm: "rsa-sha256", B: "abcdefgh"})
		}
		return e
	}
	var l label
	for _, e := range []*msgauth.Evaluation{
		signed(1, "a.example"), signed(3, "b.example"), {}, signed(80, strings.Repeat("c", 200)+".example"), signed(1, "d.example"),
	} {
		want := Label(LabelOptions{AuthServID: "mx.example.jp"}, e, policy.Verdict{}).Format()
		if got := l.format(LabelOptions{AuthServID: "mx.example.jp"}, e, policy.Verdict{}); got != want {
			t.Errorf("%d signatures: %q, want %q", len(e.DKIM), got, want)
		}
		for _, p := range l.properties[:cap(l.properties)] {
			if p.Value != "" {
				t.Errorf("%q is kept", p.Value)
			}
		}
		if cap(l.properties) > 100 || cap(l.text) > 4<<10 {
			t.Errorf("room for %d properties and %d octets is kept", cap(l.properties), cap(l.text))
		}
	}
}
