package explain

import (
	"strings"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/label"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// TestBIMI checks that every check is shown, also that of the verdict.
func TestBIMI(t *testing.T) {
	end := time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)
	b := &bimi.Evaluation{
		Result: bimi.Pass, Domain: "shop.example", Selector: "default", Authority: bimi.AuthorityPass, Hash: "1a2b3c4d",
		Location: "https://shop.example/l.svg", Evidence: "https://shop.example/a.pem",
		MarkType: bimi.RegisteredMark, Owner: "Shop \x1b[2J KK", Issuer: "CA", Serial: "0a", NotAfter: &end,
		Checks: []bimi.Check{{Word: "dmarc", OK: true}, {Word: "chain", OK: true, Detail: "three certificates"}},
	}
	for _, c := range []struct {
		why  string
		b    *bimi.Evaluation
		v    policy.Verdict
		want string
	}{
		{"a mark", b, policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Reason: policy.ReasonAligned}, `pass
  dmarc: ok
  chain: ok, three certificates
certificate at https://shop.example/a.pem
picture at https://shop.example/l.svg
mark 1a2b3c4d of "Shop \x1b[2J KK", found at default._bimi.shop.example, authority pass
Registered Mark, certified by CA, serial number 0a, until 2027-06-30`},
		{"a rule", b, policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Reason: policy.ReasonRule}, `skipped (verdict)
  dmarc: ok
  chain: ok, three certificates
  verdict: no, the message was not accepted for its DMARC pass alone
certificate at https://shop.example/a.pem
picture at https://shop.example/l.svg`},
		{"off", nil, policy.Verdict{}, ""},
	} {
		x := &Explanation{Verdict: c.v, Evaluation: &msgauth.Evaluation{BIMI: c.b}}
		got := ""
		for _, s := range x.Sections() {
			if s.Title != "BIMI" {
				continue
			}
			for _, l := range s.Lines {
				got += "\n" + strings.Repeat("  ", l.Depth) + l.Text
			}
		}
		if got = strings.TrimPrefix(got, "\n"); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.why, got, c.want)
		}
	}
}

// TestLongField checks that a field as long as a picture is not printed.
func TestLongField(t *testing.T) {
	for n, want := range map[int]string{
		maxShownValue:     "insert BIMI-Indicator: " + strings.Repeat("A", maxShownValue),
		maxShownValue + 1: "insert BIMI-Indicator, with 4097 octets",
	} {
		if got := editText(&label.Edit{Kind: label.Insert, Name: label.IndicatorField, Value: strings.Repeat("A", n)}); got != want {
			t.Errorf("%d octets: got %.60s", n, got)
		}
	}
}
