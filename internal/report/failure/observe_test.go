package failure

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// forged is a message that fails DMARC: an aligned signature and SPF fail.
func forged() *msgauth.Evaluation {
	return &msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr("192.0.2.9"), HELO: "host.example"},
		Envelope: msgauth.Envelope{MailFrom: "<bounce@shop.example>", Recipients: []string{"<anna.secret@isp.example>", "Bob@isp.example"}},
		From:     author.From{Mailboxes: []author.Mailbox{{DisplayName: "Anna Secret", Local: "anna", Domain: "shop.example"}}, AuthorDomain: "shop.example"},
		MailFrom: spf.Check{Result: spf.Fail, Domain: "shop.example", Record: "v=spf1 ip4:192.0.2.1 -all"},
		DKIM: []dkim.Signature{{Result: dkim.Pass, Domain: "other.example", Identity: "@other.example", Selector: "o"},
			{Result: dkim.Fail, Reason: "bad_signature", Domain: "mail.shop.example", Identity: "jane@mail.shop.example", Selector: "s1"}},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, AuthorDomain: "shop.example", OrganizationalDomain: "shop.example", PolicyDomain: "shop.example",
			Record: &dmarc.Record{P: dmarc.PolicyReject, ADKIM: dmarc.Relaxed, ASPF: dmarc.Relaxed, RUF: []string{"mailto:ruf@shop.example"}, FO: []string{"0"}}},
		Time: noon,
	}
}

// refused is the verdict on it.
var refused = policy.Verdict{Action: policy.Reject, Applied: policy.Reject}

var options = Options{Key: []byte("a secret key"), AuthServID: "mx.isp.example", Subject: true}

// fields is its header, with much that must not be told.
var fields = message.Header{
	{Name: "Received", Value: " from x by y for <anna.secret@isp.example>; Sat, 28 Nov 2026 12:00:00 +0000"},
	{Name: "DKIM-Signature", Value: " v=1; a=rsa-sha256; d=mail.shop.example; s=s1; i=jane@mail.shop.example;\r\n h=from:to; z=To:anna.secret@isp.example; bh=aGFzaA==;\r\n b=c2ln\r\n bmF0dXJl"},
	{Name: "FROM", Value: ` "Anna Secret" <anna@shop.example>`},
	{Name: "To", Value: " anna.secret@isp.example"},
	{Name: "Cc", Value: " bob@isp.example"},
	{Name: "Reply-To", Value: " anna.secret@isp.example"},
	{Name: "Subject", Value: " Dear ANNA.SECRET, see http://evil.example/?u=anna.secret@isp.example and ask carl@third.example"},
	{Name: "Date", Value: " Sat, 28 Nov 2026 13:00:00 +0100 (for anna.secret@isp.example)"},
	{Name: "Message-ID", Value: " <anna.secret=isp.example.1@shop.example>"},
	{Name: "List-Id", Value: ` "For Anna Secret" <anna.secret=isp.example.lists.shop.example>`},
	{Name: "X-Rcpt", Value: " anna.secret@isp.example"},
}

func TestObserve(t *testing.T) {
	i, ok := Observe(forged(), refused, fields, false, options)
	if !ok {
		t.Fatal("no incident")
	}
	r := newRedactor(options.Key, nil, "")
	code := r.code
	want := []message.Field{
		{Name: "DKIM-Signature", Value: "v=1; a=rsa-sha256; d=mail.shop.example; s=s1; i=" + code("jane") + "@mail.shop.example; h=from:to; bh=aGFzaA==; b=c2lnbmF0dXJl"},
		{Name: "From", Value: "<" + code("anna") + "@shop.example>"},
		{Name: "Subject", Value: "Dear " + code("anna.secret") + ", see hxxp:" + code("//evil.example/?u="+code("anna.secret")) + "@isp.example and ask " +
			code("carl") + "@third.example"},
		{Name: "Date", Value: "Sat, 28 Nov 2026 13:00:00 +0100"},
		{Name: "Message-ID", Value: "<" + code("anna.secret=isp.example.1") + "@shop.example>"},
		{Name: "List-Id", Value: "<" + code("anna.secret") + "=isp.example.lists.shop.example>"},
	}
	if !slices.Equal(i.Header, want) {
		t.Errorf("header\n%q, want\n%q", i.Header, want)
	}
	if i.Signature == nil || *i.Signature != (Signature{"mail.shop.example", code("jane") + "@mail.shop.example", "s1"}) {
		t.Errorf("signature %v", i.Signature)
	}
	if i.SPF == nil || *i.SPF != (SPFRecord{"shop.example", "v=spf1 ip4:192.0.2.1 -all"}) {
		t.Errorf("SPF %v", i.SPF)
	}
	if got, want := i.Results, "mx.isp.example; dmarc=fail header.from=shop.example; spf=fail smtp.mailfrom=shop.example; dkim=pass header.d=other.example header.s=o; dkim=fail reason=\"bad_signature\" header.d=mail.shop.example header.s=s1"; got != want {
		t.Errorf("results\n%s, want\n%s", got, want)
	}
	if strings.Join(i.NotAligned, " ") != "dkim spf" || i.Delivery != "reject" || i.PolicyDomain != "shop.example" || !i.Arrival.Equal(noon) {
		t.Errorf("incident %+v", i)
	}
	private(t, fmt.Sprintf("%+v", i))
}

// private fails if a text shows anything about a recipient.
func private(t *testing.T, text string) {
	t.Helper()
	low := strings.ToLower(text)
	for _, secret := range []string{"anna.secret", "anna secret", "bob@", "bob=", "carl@", "jane", "for ", "http:"} {
		if strings.Contains(low, secret) {
			t.Errorf("%q is told: %s", secret, text)
		}
	}
}

func TestObserveRefuses(t *testing.T) {
	for _, c := range []struct {
		why   string
		spoil func(e *msgauth.Evaluation, v *policy.Verdict, h *message.Header)
	}{
		{"DMARC passes", func(e *msgauth.Evaluation, _ *policy.Verdict, _ *message.Header) { e.DMARC.Result = dmarc.ResultPass }},
		{"DMARC cannot be decided", func(e *msgauth.Evaluation, _ *policy.Verdict, _ *message.Header) {
			e.DMARC.Result = dmarc.ResultTempError
		}},
		{"no record", func(e *msgauth.Evaluation, _ *policy.Verdict, _ *message.Header) { e.DMARC.Record = nil }},
		{"no ruf", func(e *msgauth.Evaluation, _ *policy.Verdict, _ *message.Header) { e.DMARC.Record.RUF = nil }},
		{"a public suffix", func(e *msgauth.Evaluation, _ *policy.Verdict, _ *message.Header) { e.DMARC.Record.PSD = "y" }},
		{"fo=d:s", func(e *msgauth.Evaluation, _ *policy.Verdict, _ *message.Header) {
			e.DMARC.Record.FO = []string{"d", "s"}
		}},
		{"put off", func(_ *msgauth.Evaluation, v *policy.Verdict, _ *message.Header) { v.Applied = policy.TempFail }},
		{"skipped", func(_ *msgauth.Evaluation, v *policy.Verdict, _ *message.Header) { v.Applied = policy.Skip }},
		{"one recipient did not consent", func(_ *msgauth.Evaluation, v *policy.Verdict, _ *message.Header) {
			v.Consent = policy.Consent{In: 5, Out: 1}
		}},
		{"too many recipients", func(e *msgauth.Evaluation, _ *policy.Verdict, _ *message.Header) {
			e.Envelope.Recipients = make([]string, maxRecipients+1)
		}},
		{"a failure report", func(_ *msgauth.Evaluation, _ *policy.Verdict, h *message.Header) {
			*h = append(*h, message.Field{Name: "content-type", Value: "\r\n Multipart/Report; report-type=feedback-report"})
		}},
	} {
		e, v, h := forged(), refused, slices.Clone(fields)
		c.spoil(e, &v, &h)
		if i, ok := Observe(e, v, h, false, options); ok {
			t.Errorf("%s: %v", c.why, i)
		}
	}
	if _, ok := Observe(forged(), refused, fields, true, options); ok {
		t.Error("a message about reports gives an incident")
	}
	e := forged()
	e.Envelope.Recipients = make([]string, maxRecipients)
	e.DMARC.Record.FO = []string{"1", "d"}
	if _, ok := Observe(e, policy.Verdict{Applied: policy.Accept, Consent: policy.Consent{In: 2}}, fields, false, options); !ok {
		t.Error("a message at the limits gives no incident")
	}
}

func TestCodes(t *testing.T) {
	a, again, b := newRedactor([]byte("k1"), nil, ""), newRedactor([]byte("k1"), nil, "other.example"), newRedactor([]byte("k2"), nil, "")
	if a.code("anna") != again.code("anna") || a.code("anna") == a.code("bob") || a.code("anna") == b.code("anna") {
		t.Error("a code must depend on the key and the local part, and on nothing else")
	}
	if got := newRedactor(nil, nil, "").code("anna"); got != "redacted" {
		t.Errorf("without a key: %s", got)
	}
}

func TestScrub(t *testing.T) {
	r := newRedactor([]byte("k"), []string{"<Jo@isp.example>", "Max.Muster+tag@mx.isp.example", "nonsense"}, "shop.example")
	jo, max := r.code("jo"), r.code("max.muster+tag")
	for _, c := range []struct {
		in    string
		words bool
		want  string
	}{
		{"to JO@ISP.example", false, "to " + jo + "@ISP.example"},
		{"bounce-jo=isp.example@x", false, "bounce-" + jo + "=isp.example@x"},
		{"jo-at-isp.example", false, jo + "-at-isp.example"},
		{"jo.isp.example", false, jo + ".isp.example"},
		{"job at jo", true, "job at jo"}, // two letters are in too many words
		{"for max.muster+tag now", true, "for " + max + " now"},
		{"for max.muster+tag now", false, "for max.muster+tag now"},
		{"max.muster+tagged", true, "max.muster+tagged"},
		{"max.muster+tag@mx.isp.example,jo@isp.example", false, max + "@mx.isp.example," + jo + "@isp.example"},
		{"", false, ""},
	} {
		if got := r.scrub(c.in, c.words); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	if got := r.name("jo.isp.example"); got != dns.Name(jo+".isp.example") {
		t.Errorf("name %s", got)
	}
	if got := newRedactor([]byte("k"), []string{"shop@isp.example"}, "shop.isp.example").name("shop.isp.example"); got != "shop.isp.example" {
		t.Errorf("the owner's own name became %s", got)
	}
}

// TestBounds checks what is kept of a message with much of everything.
func TestBounds(t *testing.T) {
	e := forged()
	for range 50 {
		e.From.Mailboxes = append(e.From.Mailboxes, author.Mailbox{Local: strings.Repeat("l", 3000), Domain: dns.Name(strings.Repeat("d", 3000))})
		e.DKIM = append(e.DKIM, e.DKIM[1])
	}
	e.MailFrom.Record = "v=spf1 " + strings.Repeat("a", 3000)
	h := message.Header{{Name: "From"}, {Name: "Subject", Value: strings.Repeat("s", 3000)}}
	for range 50 {
		h = append(h, message.Field{Name: "DKIM-Signature", Value: "v=1; b=" + strings.Repeat("b", maxValue) + "; d=" + strings.Repeat("d", maxValue) + "; bh=" +
			strings.Repeat("c", maxValue) + "; h=" + strings.Repeat("h", maxValue+1) + "; s=x"})
	}
	i, ok := Observe(e, refused, h, false, options)
	if !ok {
		t.Fatal("no incident")
	}
	signatures := 0
	for _, f := range i.Header {
		switch f.Name {
		case "DKIM-Signature":
			signatures++
			if want := "v=1; b=" + strings.Repeat("b", maxValue) + "; d=" + strings.Repeat("d", maxValue) + "; s=x"; f.Value != want || len(f.Value) > maxField {
				t.Errorf("signature of %d octets: %s", len(f.Value), f.Value)
			}
		case "From":
			if n := strings.Count(f.Value, "<"); n != maxAuthors {
				t.Errorf("%d authors", n)
			}
		case "Subject":
			if len(f.Value) > maxValue {
				t.Errorf("subject of %d octets", len(f.Value))
			}
		}
	}
	if signatures != maxSignatures || strings.Count(i.Results, "dkim=") != maxSignatures {
		t.Errorf("%d signatures, results %s", signatures, i.Results)
	}
	if len(i.SPF.Text) > maxValue {
		t.Errorf("SPF record of %d octets", len(i.SPF.Text))
	}
	parse(t, letter(t, i)) // checks the length of lines
}

func TestSubject(t *testing.T) {
	r := newRedactor([]byte("k"), []string{"anna@isp.example"}, "shop.example")
	for _, c := range []struct{ why, in, want string }{
		{"plain", " Hello", "Hello"},
		{"encoded", " =?utf-8?Q?F=C3=BCr_anna?=", "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte("Für "+r.code("anna"))) + "?="},
		{"an address in an encoded word", " =?utf-8?B?YW5uYUBpc3AuZXhhbXBsZQ==?=", r.code(r.code("anna")) + "@isp.example"},
		{"encoded twice", " =?utf-8?Q?=3D=3Futf-8=3FQ=3Fanna=3F=3D?=", ""},
		{"an unknown charset", " =?x-secret?Q?anna?=", ""},
		{"a word that does not end", " =?utf-8?Q?ann=61", ""},
		{"a link", " HTTPS://evil.example", "hxxpS://evil.example"},
	} {
		if got := r.subject(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}
