package report

import (
	"strings"
	"testing"

	"sekimori/internal/message"
)

var marks = Marks{
	Domain: "dmarc.isp.example", Locals: []string{"noreply", "dmarc-bounce"},
	Spam: []SpamSign{{"X-Spam-Flag", "YES"}, {"X-Spam", ""}},
}

func TestAboutReports(t *testing.T) {
	const subject = " Report Domain: shop.example Submitter: isp.example Report-ID: <1@isp.example>"
	for _, tt := range []struct {
		name, subject string
		recipients    []string
		want          bool
	}{
		{"ordinary mail", " Hello", []string{"<a@here.example>"}, false},
		{"grammar of RFC 9990", subject, []string{"<a@here.example>"}, true},
		{"folded", " Report Domain: shop.example\r\n Submitter:\r\n\tisp.example\r\n Report-ID: x", nil, true},
		{"without an id", " Report Domain: shop.example Submitter: isp.example", nil, true},
		{"as large senders write it", "Report domain: shop.example submitter: isp.example report-id: 1", nil, true},
		{"without the submitter", " Report Domain: shop.example Report-ID: 1 x", nil, false},
		{"without the submitter's name", " Report Domain: shop.example Submitter:", nil, false},
		{"an answer", " Re:" + subject, nil, false},
		{"another second word", " Report Domains: shop.example Submitter: isp.example", nil, false},
		{"another third word", " Report Domain: shop.example Submitted: isp.example", nil, false},
		{"only the words", " Report Domain: Submitter: a b", nil, false},
		{"at the limit", " Report Domain: " + strings.Repeat("x", maxSubject-len(" Report Domain:  Submitter: y")) + " Submitter: y", nil, true},
		{"beyond the limit", " Report Domain: " + strings.Repeat("x", maxSubject-len(" Report Domain:  Submitter:")) + " Submitter: y", nil, false},
		{"to our bounce address", " Undelivered", []string{"<DMARC-Bounce+1-abc@dmarc.ISP.example>"}, true},
		{"to our report address", " Re: x", []string{"<noreply@dmarc.isp.example>"}, true},
		{"to both", " Re: x", []string{"<noreply@dmarc.isp.example>", "<dmarc-bounce@dmarc.isp.example>"}, true},
		{"to ours and to a victim", " x", []string{"<noreply@dmarc.isp.example>", "<a@here.example>"}, false},
		{"to another address of the domain", " x", []string{"<postmaster@dmarc.isp.example>"}, false},
		{"to an address that begins like ours", " x", []string{"<noreply2@dmarc.isp.example>"}, false},
		{"to ours in another domain", " x", []string{"<noreply@isp.example>"}, false},
		{"to a malformed address", " x", []string{"<noreply@"}, false},
		{"to nobody", " x", nil, false},
	} {
		h := message.Header{{Name: "From", Value: subject}, {Name: "SUBJECT", Value: tt.subject}}
		if got, spam := marks.Find(h, tt.recipients); got != tt.want || spam {
			t.Errorf("%s: about reports %v, spam %v", tt.name, got, spam)
		}
	}
	unset := Marks{Locals: []string{"noreply"}}
	if got, _ := unset.Find(nil, []string{"<noreply>"}); got {
		t.Error("without a domain, an address without a domain is ours")
	}
	if got, _ := unset.Find(message.Header{{Name: "Subject", Value: subject}}, nil); !got {
		t.Error("without a domain, the Subject is not read")
	}
}

func TestSpamSigns(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        bool
	}{
		{"X-Spam-Flag", " YES", true},
		{"x-spam-flag", "\r\n yes", true},
		{"X-Spam-Flag", " Yes, score=7", true},
		{"X-Spam-Flag", " NO", false},
		{"X-Spam-Flag", " NOT", false},
		{"X-Spam-Flag", " Y", false},
		{"X-Spam-Flag", "", false},
		{"X-Spam-Flags", " YES", false},
		{"X-Spam", "", true},
		{"X-Spam", " anything", true},
		{"Subject", " YES", false},
	} {
		for _, h := range []message.Header{
			{{Name: tt.name, Value: tt.value}},
			{{Name: "X-Spam-Flag", Value: " NO"}, {Name: tt.name, Value: tt.value}, {Name: "X-Spam-Flag", Value: " NO"}},
		} {
			if about, got := marks.Find(h, nil); got != tt.want || about {
				t.Errorf("%s:%s: spam %v, about reports %v", tt.name, tt.value, got, about)
			}
		}
	}
	none := Marks{}
	if _, spam := none.Find(message.Header{{Name: "", Value: ""}}, nil); spam {
		t.Error("without signs, mail is spam")
	}
}

// FuzzMarks checks that no field makes Find panic, and that what it finds does not depend on folds.
func FuzzMarks(f *testing.F) {
	f.Add("Subject", " Report Domain: a.example Submitter: b.example", "<noreply@dmarc.isp.example>")
	f.Add("X-Spam", "", "<>")
	f.Fuzz(func(t *testing.T, name, value, recipient string) {
		h := message.Header{{Name: name, Value: value}}
		about, spam := marks.Find(h, []string{recipient})
		h[0].Value = "\r\n\t" + value
		if len(value) > maxSubject-3 {
			return
		}
		if a, s := marks.Find(h, []string{recipient}); a != about || s != spam {
			t.Errorf("a fold at the beginning changes %v %v to %v %v", about, spam, a, s)
		}
	})
}
