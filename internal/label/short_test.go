package label

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// signedBy returns an evaluation with one signature for each word of results, such as
// "pass" or "fail". A word in upper case makes a signature of the author's domain.
func signedBy(results string) *msgauth.Evaluation {
	e := &msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr("2001:db8::1234:5678")},
		MailFrom: spf.Check{Result: spf.Pass, Domain: "bounces.bank.example"},
		From:     author.From{AuthorDomain: "bank.example"},
		DMARC:    dmarc.Evaluation{Result: dmarc.ResultPass, PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject},
	}
	for i, word := range strings.Fields(results) {
		s := dkim.Signature{
			Result: dkim.Result(strings.ToLower(word)), Domain: dns.Name(fmt.Sprintf("s%d.signer.example", i)), Selector: "selector", Algorithm: "rsa-sha256",
			KeyBits: 2048, KeyType: "rsa", B: fmt.Sprintf("%08dAAAA", i),
		}
		if s.Result != dkim.Pass {
			s.Reason = "key_missing"
		}
		aligned := word != strings.ToLower(word)
		if aligned {
			s.Domain = "bank.example"
		}
		s.Identity = "@" + string(s.Domain)
		if s.Result == dkim.Pass || s.Result == dkim.TempError {
			e.DMARC.Alignments = append(e.DMARC.Alignments, dmarc.Alignment{
				Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: s.Domain, State: dmarc.State(s.Result)}, Aligned: aligned,
			})
		}
		e.DKIM = append(e.DKIM, s)
	}
	return e
}

// TestLongLabel checks which results of a long field are shortened or left out, in which
// order, and which results stay whole.
func TestLongLabel(t *testing.T) {
	const (
		whole   = "dkim=%s (2048-bit rsa) header.d=%s header.i=@%s header.s=selector header.a=rsa-sha256 header.b=%s"
		failed  = `dkim=%s (2048-bit rsa) reason="key_missing" header.d=%s header.i=@%s header.s=selector header.a=rsa-sha256 header.b=%s`
		brief   = `dkim=%s reason="key_missing" header.d=%s header.s=selector header.b=%s`
		briefer = "dkim=%s header.d=%s header.b=%s"
		shorter = "dkim=%s header.d=%s header.s=selector header.b=%s"
	)
	for _, tt := range []struct {
		why, results string
		// forms has the expected form of each result that is left, in the order of results.
		forms []string
		more  int // how many results must be left out
		over  bool
	}{
		{"room for all", "fail fail fail", []string{failed, failed, failed}, 0, false},
		{"what DMARC used stays whole", "fail fail fail fail fail PASS", []string{brief, brief, brief, brief, brief, whole}, 0, false},
		{"undecided: stays whole", "fail fail fail fail fail TEMPERROR", []string{brief, brief, brief, brief, brief, failed}, 0, false},
		{"a failed signature of the author is shortened", "FAIL fail fail fail fail fail", []string{brief, brief, brief, brief, brief, brief}, 0, false},
		{"signatures of the author that fail beside one that passed", "PASS FAIL FAIL FAIL FAIL FAIL", []string{whole, brief, brief, brief, brief, brief}, 0, false},
		{"the reasons are removed", strings.Repeat("fail ", 8) + "PASS", append(repeat(briefer, 8), whole), 0, false},
		{"other signatures that passed are shortened too", strings.Repeat("pass ", 6) + "PASS", append(repeat(shorter, 6), whole), 0, false},
		{"results are left out from the last one on", "fail " + strings.Repeat("fail ", 60) + "PASS", append(repeat(briefer, 9), whole), 52, false},
		{"all signatures fail", strings.Repeat("fail ", 64), repeat(briefer, 11), 53, false},
		{"a signature that passed is not left out", strings.Repeat("pass ", 20), repeat(shorter, 20), 0, true},
		{"a signature that DMARC used is not left out", strings.Repeat("PASS ", 10) + "fail", repeat(whole, 10), 1, true},
	} {
		t.Run(tt.why, func(t *testing.T) {
			e := signedBy(tt.results)
			text := Text(&Settings{}, id, e, policy.Verdict{Action: policy.Accept})
			if n := len(authres.FieldName) + 1 + len(text); n > maxLabel != tt.over {
				t.Errorf("%d octets", n)
			}
			var got []string
			for _, part := range strings.Split(strings.ReplaceAll(text, "\r\n", ""), "; ") {
				if strings.HasPrefix(part, "dkim=") {
					got = append(got, part)
				}
			}
			if len(got) != len(tt.forms) {
				t.Fatalf("%d of the signatures are left, want %d:\n%s", len(got), len(tt.forms), strings.Join(got, "\n"))
			}
			signatures := e.DKIM
			for i, form := range tt.forms {
				if len(signatures) > len(tt.forms)-i && tt.more > 0 && i == len(tt.forms)-1 && strings.HasSuffix(strings.TrimSpace(tt.results), "PASS") {
					signatures = signatures[len(signatures)-1:]
				}
				s := signatures[0]
				signatures = signatures[1:]
				args := []any{s.Result, s.Domain, s.B[:8]}
				if form == whole || form == failed {
					args = []any{s.Result, s.Domain, s.Domain, s.B[:8]}
				}
				want := fmt.Sprintf(form, args...)
				if tt.more > 0 && i == len(tt.forms)-1 {
					want += fmt.Sprintf(" (%d more did not pass)", tt.more)
				}
				if got[i] != want {
					t.Errorf("%d: %s, want %s", i, got[i], want)
				}
			}
			for _, rest := range []string{"spf=pass smtp.mailfrom=bounces.bank.example;", "dmarc=pass header.from=bank.example policy.dmarc=reject;", "policy.iprev="} {
				if !strings.Contains(strings.ReplaceAll(text, "\r\n", ""), rest) {
					t.Errorf("%q is gone", rest)
				}
			}
			if again := new(Writer).field(&Settings{}, id, e, policy.Verdict{Action: policy.Accept}).Format(); again != text {
				t.Errorf("written as %q", again)
			}
		})
	}
}

// TestLongLabelOfUsed checks two things. The field must be formatted again after the last
// result was left out. And an aligned SPF result must not make a DKIM signature of the
// same domain count as used by DMARC.
func TestLongLabelOfUsed(t *testing.T) {
	e := signedBy("PASS fail " + strings.Repeat("PASS ", 9))
	if got, want := Text(&Settings{}, id, e, policy.Verdict{}), new(Writer).field(&Settings{}, id, e, policy.Verdict{}).Format(); got != want ||
		strings.Contains(got, "dkim=fail") {
		t.Errorf("written as %q, want %q", got, want)
	}
	d := dmarc.Evaluation{Alignments: []dmarc.Alignment{{Identifier: dmarc.Identifier{Mechanism: dmarc.SPF, Domain: "bank.example", State: dmarc.StatePass},
		Aligned: true}}}
	if decisive(&dkim.Signature{Result: dkim.Pass, Domain: "bank.example"}, &d) {
		t.Error("SPF's alignment counts")
	}
}

// TestNoMoreIsLeftOutThanMustBe checks fields of all lengths from which results are left out: none has room for another result.
func TestNoMoreIsLeftOutThanMustBe(t *testing.T) {
	const one = len("; dkim=fail header.d=s10.signer.example header.b=00000010") + len("\r\n ") // in the form that is left out last
	for longer := range 100 {
		e := signedBy(strings.Repeat("fail ", 60))
		e.DKIM[0].Domain = dns.Name(strings.Repeat("x", longer) + string(e.DKIM[0].Domain))
		text := Text(&Settings{}, id, e, policy.Verdict{Action: policy.Accept})
		if size := len(authres.FieldName) + len(":") + len(text); size > maxLabel || size+one <= maxLabel {
			t.Errorf("%d octets longer: a field of %d octets", longer, size)
		}
	}
}

func repeat(s string, n int) []string { return strings.Split(strings.Repeat(s+"\n", n-1)+s, "\n") }
