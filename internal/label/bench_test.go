package label

import (
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// BenchmarkLabel builds and formats the Authentication-Results field of a message with one
// signature.
func BenchmarkLabel(b *testing.B) {
	e := &msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr("192.0.2.1"), HELO: "mail.example.com"},
		Envelope: msgauth.Envelope{MailFrom: "<bounce@example.com>"},
		From:     author.From{AuthorDomain: "example.com"},
		MailFrom: spf.Check{Result: spf.Pass, Sender: "bounce@example.com"},
		DKIM: []dkim.Signature{{
			Result: dkim.Pass, Domain: "example.com", Identity: "@example.com", Selector: "s1",
			Algorithm: "rsa-sha256", KeyType: "rsa", KeyBits: 2048, B: strings.Repeat("TXuCNlsq", 43),
		}},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultPass, PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject},
		ARC:   arc.Result{Status: arc.None},
		IPRev: iprev.Result{Status: iprev.Pass},
	}
	v := policy.Verdict{Action: policy.Accept, Applied: policy.Accept}
	b.ReportAllocs()
	var l Writer
	for b.Loop() {
		_ = l.format(&Settings{}, id, e, v)
	}
}

// BenchmarkLongLabel builds the Authentication-Results field of a message with the largest
// number of signatures that is evaluated. All of them fail.
func BenchmarkLongLabel(b *testing.B) {
	e := signedBy(strings.Repeat("fail ", 64))
	v := policy.Verdict{Action: policy.Accept, Applied: policy.Accept}
	b.ReportAllocs()
	var l Writer
	for b.Loop() {
		_ = l.format(&Settings{}, id, e, v)
	}
}
