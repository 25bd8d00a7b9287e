package arc

import (
	"crypto"
	"io"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/signer"
)

// large is a signer whose signatures are as long as those of the largest RSA key, and are not valid.
type large struct{ crypto.Signer }

func (large) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, dkim.MaxRSABits/8), nil
}

// The work of one message is 64 operations, and a signature of the largest key needs 16.
const largeOnes = 4

// reservable returns how many signatures of the largest key still fit into the work of m.
func reservable(m *dkim.Message) (n int) {
	for ; m.Reserve(&dkim.Pending{Params: syntax.Params{Algorithm: syntax.RSASHA256, Signature: make([]byte, dkim.MaxRSABits/8)}}); n++ {
	}
	return n
}

// TestWorkLimit checks that a chain is not evaluated if verifying it would take more work than is left, that
// no key is looked up for it, and that the work it does not use is given back in every case.
func TestWorkLimit(t *testing.T) {
	sealed := func(n int, newest signer.Set) string {
		eml := testMail
		for i := 1; i <= n; i++ {
			s := signer.Set{I: i}
			if i == n {
				s = newest
				s.I = i
			}
			s.Key = large{}
			eml = signer.Seal(t, s, eml)
		}
		return eml
	}
	heavy := signer.NewHeavy(t, dkim.MaxRSABits, 1<<31-1) // takes more work than its size says
	keys := zone.New()
	eml := testMail
	for i := 1; i <= largeOnes-1; i++ {
		eml = signer.Seal(t, signer.Set{I: i, Key: heavy, Domain: "heavy.example"}, eml)
	}
	keys.Add("s._domainkey.heavy.example", dns.TypeTXT, dns.Record{Text: signer.Record(heavy.Public())})
	for _, tt := range []struct {
		why    string
		mail   string
		taken  int // signatures of the largest key whose work other signatures have taken
		status Status
		reason Reason
		left   int // how many fit afterwards
	}{
		{"the newest message signature and three seals fit", sealed(3, signer.Set{}), 0, Fail, ReasonMessageSignature, 4},
		{"one seal more does not", sealed(4, signer.Set{}), 0, NotEvaluated, ReasonWorkLimit, 4},
		{"a malformed message signature needs no work", sealed(4, signer.Set{H: "from:arc-seal"}), 0, Fail, ReasonMessageSignature, 4},
		{"no work for the newest message signature", sealed(1, signer.Set{}), 4, NotEvaluated, ReasonWorkLimit, 0},
		{"no work for the only seal", sealed(1, signer.Set{}), 3, NotEvaluated, ReasonWorkLimit, 1},
		{"the work of one set is left", sealed(1, signer.Set{}), 2, Fail, ReasonMessageSignature, 2},
		{"the key takes more work than was reserved, and none is left", eml, 0, NotEvaluated, ReasonWorkLimit, 4},
	} {
		h, body := signer.Split([]byte(tt.mail))
		m := dkim.NewVerifier(h, dkim.Options{}).Message()
		for range tt.taken {
			m.Reserve(&dkim.Pending{Params: syntax.Params{Algorithm: syntax.RSASHA256, Signature: make([]byte, dkim.MaxRSABits/8)}})
		}
		v := NewVerifier(m, dkim.Options{})
		v.Start(t.Context(), keys)
		_, _ = m.Write(body)
		r := v.Finish(t.Context())
		if r.Status != tt.status || r.Reason != tt.reason || (r.Detail == "") || r.RemoteIP.IsValid() {
			t.Errorf("%s: %+v", tt.why, r)
		}
		if asked := len(m.QueryNames()) > 0; asked != (tt.status == Fail || tt.mail == eml) {
			t.Errorf("%s: would ask %v", tt.why, m.QueryNames())
		}
		if got := reservable(m); got != tt.left {
			t.Errorf("%s: %d fit afterwards, want %d", tt.why, got, tt.left)
		}
		m.Close()
	}
}
