package msgauth

import (
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/spf"
)

// from returns an SPF check of MAIL FROM.
func from(result spf.Result, local string, domain dns.Name) spf.Check {
	return spf.Check{Identity: spf.MailFrom, Result: result, Domain: domain, Sender: local + "@" + string(domain)}
}

// TestListKinds: each test case says whether its header and MAIL FROM are enough evidence of a
// list.
func TestListKinds(t *testing.T) {
	const to = "To: ml@b.example\r\n"
	for _, tt := range []struct {
		why, header string
		from        spf.Check
		want        bool
	}{
		{"nothing", "", from(spf.Pass, "x", "b.example"), false},
		{"an address alone", to, from(spf.Pass, "x", "b.example"), false},
		{"an address and List-Owner", to + "List-Owner: <mailto:x@b.example>\r\n", from(spf.Pass, "x", "b.example"), true},
		{"the same, but SPF knows nothing", to + "List-Owner: <mailto:x@b.example>\r\n", from(spf.None, "x", "b.example"), false},
		{"the same, by a host below", "Cc: Ml <ML@Lists.B.Example>\r\nList-Owner: <mailto:x@b.example>\r\n", from(spf.Pass, "x", "b.example"), true},
		{"the same, by a domain that ends alike", "To: ml@xb.example\r\nList-Owner: <mailto:x@b.example>\r\n", from(spf.Pass, "x", "b.example"), false},
		{"the same, but the address is the recipient", "To: Taro@Y.example\r\nList-Owner: <mailto:x@b.example>\r\n", from(spf.Pass, "x", "y.example"), false},
		{"the same, but the address is MAIL FROM", "To: x@b.example\r\nList-Owner: <mailto:x@b.example>\r\n", from(spf.Pass, "x", "b.example"), false},
		{"the same, but the address is in a comment", "To: a@c.example (ml@b.example)\r\nList-Owner: <mailto:x@b.example>\r\n",
			from(spf.Pass, "x", "b.example"), false},
		{"the same, but the address is a display name", "To: \"ml@b.example\" <a@c.example>\r\nList-Owner: <mailto:x@b.example>\r\n",
			from(spf.Pass, "x", "b.example"), false},
		{"List-Owner and a bulk precedence", "To: taro@y.example\r\nList-Owner: <mailto:x@b.example>\r\nPrecedence: bulk\r\n",
			from(spf.Pass, "x", "b.example"), false},
		{"a program alone", "X-ML-Name: ml\r\n", from(spf.None, "x", "b.example"), false},
		{"a program and a bulk precedence", "X-MLServer: fml\r\nPrecedence: bulk\r\n", from(spf.None, "x", "b.example"), true},
		{"a program and a Reply-To of the sender's", "X-MLServer: fml\r\nReply-To: ml@b.example\r\n", from(spf.Pass, "x", "b.example"), true},
		{"the same, but SPF fails", "X-MLServer: fml\r\nReply-To: ml@b.example\r\n", from(spf.Fail, "x", "b.example"), false},
		{"two fields of one program are one kind", "X-ML-Name: ml\r\nX-MLServer: fml\r\n", from(spf.None, "x", "b.example"), false},
		{"a counter of X-ML is one kind", "X-ML-Count: 12\r\n", from(spf.None, "x", "b.example"), false},
		{"a program and a counter", "X-ML-Name: ml\r\nX-Mail-Count: 00012\r\n", from(spf.None, "x", "b.example"), true},
		{"a counter that counts nothing", "X-ML-Name: ml\r\nX-Mail-Count: many\r\n", from(spf.None, "x", "b.example"), false},
		{"a counter with the name", "List-Subscribe: <mailto:x@b.example>\r\nX-Sequence: ml 12\r\n", from(spf.None, "x", "b.example"), true},
		{"a number in the Subject", "X-ML-Name: Ml\r\nSubject: Re: [ml:12] hi\r\n", from(spf.None, "x", "b.example"), true},
		{"a number in the Subject with another name", "X-ML-Name: ml\r\nSubject: [shop:12] hi\r\n", from(spf.None, "x", "b.example"), false},
		{"a number in the Subject without a name", "X-ML-Name: ml\r\nSubject: [12] hi\r\n", from(spf.None, "x", "b.example"), false},
		{"a name without a number", "X-ML-Name: ml\r\nSubject: [ml] hi\r\n", from(spf.None, "x", "b.example"), false},
		{"a number in the Subject, beside an address", to + "Subject: (ML 12) hi\r\n", from(spf.Pass, "x", "b.example"), true},
		{"the same without SPF", to + "Subject: (ML 12) hi\r\n", from(spf.None, "x", "b.example"), false},
		{"MAIL FROM of an owner", "Subject: hi\r\n", from(spf.Pass, "owner-ml", "b.example"), false},
		{"an owner and a bulk precedence", "Sender: owner-ml@b.example\r\nPrecedence: Bulk\r\n", from(spf.None, "x", "b.example"), true},
		{"an owner who serves To", to, from(spf.None, "owner-ml", "b.example"), true},
		{"the same, with VERP", to, from(spf.Neutral, "owner-ml*taro**y.example", "b.example"), true},
		{"the same, but MAIL FROM is forged", to, from(spf.Fail, "owner-ml", "b.example"), false},
		{"the same, but MAIL FROM is probably forged", to, from(spf.SoftFail, "owner-ml", "b.example"), false},
		{"the same, but MAIL FROM has no domain", to + "Precedence: bulk\r\n", spf.Check{Result: spf.None, Sender: "owner-ml@b_"}, false},
		{"the same, but To is another address", "To: other@b.example\r\n", from(spf.None, "owner-ml", "b.example"), false},
		{"the same, but in another domain", "To: ml@c.example\r\n", from(spf.None, "owner-ml", "b.example"), false},
		{"a bounce address that serves To", to, from(spf.Pass, "bounce-ml-846", "b.example"), true},
		{"the same without SPF", to, from(spf.None, "bounce-ml-846", "b.example"), false},
		{"a bounce address of a newsletter", "To: taro@y.example\r\nReply-To: news@b.example\r\nPrecedence: bulk\r\n",
			from(spf.Pass, "bounce-news-846", "b.example"), false},
		{"the Sender is the address in To", to + "Sender: Ml <ML@b.example>\r\n", from(spf.Pass, "x", "b.example"), true},
		{"the same without SPF", to + "Sender: Ml <ML@b.example>\r\n", from(spf.None, "x", "b.example"), false},
		{"the same, and MAIL FROM too", to + "Sender: Ml <ML@b.example>\r\n", from(spf.Pass, "ml", "b.example"), false},
		{"the Sender is the recipient", "To: taro@y.example\r\nSender: taro@y.example\r\n", from(spf.Pass, "x", "y.example"), false},
		{"the Sender is another address", to + "Sender: Ml <m@b.example>\r\n", from(spf.Pass, "x", "b.example"), false},
		{"owner is not a separate word of MAIL FROM", to, from(spf.Pass, "ownerml", "b.example"), false},
		{"MAIL FROM is only the word owner", to + "Precedence: bulk\r\n", from(spf.Pass, "owner", "b.example"), false},
		{"the null sender", to, spf.Check{Result: spf.Pass, Domain: "b.example", Sender: "postmaster@b.example", NullSender: true}, false},
		{"the null sender of a host in To's domain", to + "List-Owner: <mailto:x@b.example>\r\n",
			spf.Check{Result: spf.Pass, Domain: "b.example", Sender: "postmaster@b.example", NullSender: true}, false},
		{"delivered to a list", "Delivered-To: mailing list ml@b.example\r\nPrecedence: bulk\r\n", from(spf.None, "x", "b.example"), true},
		{"delivered to somebody", "Delivered-To: ml@b.example\r\nPrecedence: bulk\r\n", from(spf.None, "x", "b.example"), false},
		{"a program above Delivered-To and To", "X-MLServer: fml\r\nDelivered-To: x@y.example\r\nTo: x@y.example\r\nPrecedence: bulk\r\n",
			from(spf.None, "x", "b.example"), true},
		{"a number above a counter that counts nothing", "X-ML-Name: ml\r\nX-Mail-Count: 1\r\nX-Sequence: many\r\n", from(spf.None, "x", "b.example"), true},
		{"the name in X-List", "X-List: Ml\r\nSubject: [ml:12] hi\r\n", from(spf.None, "x", "b.example"), true},
		{"the name in a field of addresses", "X-List-Post: ml\r\nSubject: [ml:12] hi\r\n", from(spf.None, "x", "b.example"), false},
		{"an owner in Errors-To", "Errors-To: ml-owner@b.example\r\nPrecedence: bulk\r\n", from(spf.None, "x", "b.example"), true},
		{"an owner in X-Errors-To", "X-Errors-To: ml-owner@b.example\r\nPrecedence: bulk\r\n", from(spf.None, "x", "b.example"), true},
		{"an owner in Resent-Sender", "Resent-Sender: ml-owner@b.example\r\nPrecedence: bulk\r\n", from(spf.None, "x", "b.example"), true},
		{"an owner in X-Sender", "X-Sender: ml-owner@b.example\r\nPrecedence: bulk\r\n", from(spf.None, "x", "b.example"), false},
		{"Errors-To is the address in To", to + "Errors-To: ml@b.example\r\n", from(spf.Pass, "x", "b.example"), false},
		{"written to many", "To: Multiple recipients of list ML <ml@b.example>\r\nPrecedence: bulk\r\n", from(spf.None, "x", "b.example"), true},
	} {
		h, _ := message.Parse([]byte(tt.header + "\r\n"))
		e := &Evaluation{MailFrom: tt.from, Envelope: Envelope{Recipients: []string{"<taro@y.example>"}}}
		if got := isList(h, e); got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
	}
}

// TestListStructureIsBounded: addresses and names beyond the bounds are not read, which keeps the
// work small.
func TestListStructureIsBounded(t *testing.T) {
	owner := "List-Owner: <mailto:x@b.example>\r\n"
	for why, header := range map[string]string{
		"many addresses":         "To: " + strings.Repeat("a@c.example, ", maxListAddresses) + "ml@b.example\r\n",
		"many fields":            strings.Repeat("Cc: a@c.example\r\n", maxListAddresses) + "Cc: ml@b.example\r\n",
		"a long field":           "To: " + strings.Repeat("x ", maxAddressText/2) + "ml@b.example\r\n",
		"many service addresses": strings.Repeat("Errors-To: relay-x@c.example\r\n", maxListNames) + "Sender: relay-ml@c.example\r\nTo: ml@c.example\r\n",
		"many names":             strings.Repeat("X-ML-Name: other\r\n", maxListNames) + "X-ML-Name: ml\r\nSubject: [ml:12]\r\n",
	} {
		h, _ := message.Parse([]byte(header + "\r\n"))
		if !strings.Contains(header, "X-ML") {
			h, _ = message.Parse([]byte(owner + header + "\r\n"))
		}
		if e := (&Evaluation{MailFrom: from(spf.Pass, "x", "b.example")}); isList(h, e) {
			t.Errorf("%s: more than the bound was read", why)
		}
	}
}

// TestListBounds has as many names and addresses as are read, and a field of exactly the length that is read.
func TestListBounds(t *testing.T) {
	const owner = "List-Owner: <mailto:x@b.example>\r\n"
	for why, header := range map[string]string{
		"addresses in a field": owner + "To: " + strings.Repeat("a@c.example, ", maxListAddresses-1) + "ml@b.example\r\n",
		"fields":               owner + strings.Repeat("Cc: a@c.example\r\n", maxListAddresses-2) + "Reply-To: a@c.example\r\nCc: ml@b.example\r\n",
		"a long field":         owner + "To:" + strings.Repeat(" ", maxAddressText-len("ml@b.example")) + "ml@b.example\r\n",
		"names":                strings.Repeat("X-ML-Name: other\r\n", maxListNames-1) + "X-ML-Name: ml\r\nSubject: [ml:12]\r\n",
		"empty names":          strings.Repeat("X-ML-Name: \r\n", maxListNames) + "X-ML-Name: ml\r\nSubject: [ml:12]\r\n",
		"service addresses":    owner + strings.Repeat("Errors-To: relay-x@c.example\r\n", maxListNames-1) + "Sender: relay-ml@c.example\r\nTo: ml@c.example\r\n",
	} {
		h, _ := message.Parse([]byte(header + "\r\n"))
		if e := (&Evaluation{MailFrom: from(spf.Pass, "x", "b.example")}); !isList(h, e) {
			t.Errorf("%s: less than the bound was read", why)
		}
	}
}

// TestEnvelopeAddress checks which senders have an address.
func TestEnvelopeAddress(t *testing.T) {
	for _, tt := range []struct {
		check spf.Check
		want  listAddress
	}{
		{spf.Check{Domain: "b.example", Sender: "A@B.example"}, listAddress{"a", "b.example"}},
		{spf.Check{Domain: "b.example", Sender: "@b.example"}, listAddress{}},
		{spf.Check{Domain: "b.example", Sender: "b.example"}, listAddress{}},
		{spf.Check{Sender: "a@b.example"}, listAddress{}},
		{spf.Check{Domain: "b.example", Sender: "postmaster@b.example", NullSender: true}, listAddress{}},
	} {
		if got := envelopeAddress(&tt.check); got != tt.want {
			t.Errorf("%+v: %+v", tt.check, got)
		}
	}
}

// TestIsRecipient checks which recipients are the address ml@b.example.
func TestIsRecipient(t *testing.T) {
	for recipient, want := range map[string]bool{
		"<ml@b.example>": true, "ml@b.example": true, "<ML@B.Example>": true, "<ml@b.example": true,
		"": false, "<>": false, "<xx@b.example>": false, "<ml@c.example>": false, "<mlxb.example>": false, "<ml@b.exampl>": false, "<ml@b.example.>": false,
	} {
		if got := isRecipient(listAddress{"ml", "b.example"}, []string{"<x@y.example>", recipient}); got != want {
			t.Errorf("%s: %t", recipient, got)
		}
	}
}

// TestIsCount checks which values are the number of a post.
func TestIsCount(t *testing.T) {
	for value, want := range map[string]bool{
		"0": true, "00012": true, "ml 12": true, "1234567890": true, "12345678901": false, "": false, " ": false, "a ml 12": false, "12 ml": false, "12a": false,
		strings.Repeat(" ", maxAddressText-1) + "12": true, strings.Repeat(" ", maxAddressText) + "12": false,
	} {
		if got := isCount(value); got != want {
			t.Errorf("%.20q: %t", value, got)
		}
	}
}

// TestHasPrefixFold has texts around the length of the prefix.
func TestHasPrefixFold(t *testing.T) {
	for text, want := range map[string]bool{"": false, "a": false, "Ab": true, "aBc": true, "ax": false} {
		if got := hasPrefixFold(text, "aB"); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// FuzzList: isList does not panic for any header, and a message that counts as list mail still does
// so after "Precedence: bulk" was added.
func FuzzList(f *testing.F) {
	f.Add("Sender: owner-ml@b.example\r\nTo: \"x\\\" (ml@b.example\r\nX-ML-Name: ml\r\nSubject: [ml:12]", "bounce-ml-1")
	f.Add("To: a@@b.example, <@c>(\r\nX--: 1\r\nx-: \r\nCc: @\r\nSubject: [", "-=owner")
	f.Fuzz(func(t *testing.T, header, local string) {
		h, _ := message.Parse([]byte(header + "\r\n\r\n"))
		e := &Evaluation{MailFrom: from(spf.Pass, local, "b.example"), Envelope: Envelope{Recipients: []string{"", "<>", "<taro@y.example>"}}}
		bulk := append(h, message.Field{Name: "Precedence", Value: " bulk"})
		if isList(h, e) && !isList(bulk, e) {
			t.Errorf("with a bulk precedence, it no longer counts as a list: %q", header)
		}
	})
}

// BenchmarkList measures a message without any evidence of a list.
func BenchmarkList(b *testing.B) {
	h, _ := message.Parse([]byte(strings.Repeat("Received: from a by b\r\n", 5) + strings.Repeat("X-MS-Exchange-Something: x\r\n", 10) +
		"From: A <a@bank.example>\r\nTo: taro@y.example\r\nSubject: hi\r\nDate: x\r\nMessage-ID: <x@y>\r\nSender: news@shop.example\r\n\r\n"))
	e := &Evaluation{MailFrom: from(spf.Pass, "bounce+a1b2", "shop.example"), Envelope: Envelope{Recipients: []string{"<taro@y.example>"}}}
	b.ReportAllocs()
	for b.Loop() {
		if isList(h, e) {
			b.Fatal("a list")
		}
	}
}

// TestServes checks which local parts belong to a service address of the list "ml".
func TestServes(t *testing.T) {
	for local, want := range map[string]bool{
		"ml-owner": true, "ml-bounces": true, "ml-bounces+taro=y.example": true, "owner-ml": true, "bounce-ml-846": true,
		"ml": false, "ml-": false, "mlowner": false, "mlxowner": false, "ml-x": false, "owner-mlx": false, "x-ml": false, "owner": false, "owner-": false, "-owner": false, "+bounces": false, "": false,
	} {
		if got := serves(local, "ml"); got != want {
			t.Errorf("%q: %t", local, got)
		}
	}
}

// TestCountedTag checks which brackets in a Subject hold a name and a number.
func TestCountedTag(t *testing.T) {
	for subject, want := range map[string]string{
		"[ml:12] hi": "ml", "(ML 12)": "ml", "Re: [ml#1]": "ml", "[a-b-12]": "a-b", "[ml :12]": "ml", "[ml.1] [x.2]": "ml",
		"": "", "hi": "", "[ml:12": "", "[ml]": "", "[ml:]": "", "[ml ]": "", "[ml12]": "", "[12]": "", "[:12]": "", "[]": "", "ml:12]": "",
	} {
		if got := countedTag(subject); got != want {
			t.Errorf("%q: %q, want %q", subject, got, want)
		}
	}
}

// TestCountedNeedsBoth checks that the name in the Subject counts for an address of the same local part
// in the domain of MAIL FROM, and not for an address that has only one of the two.
func TestCountedNeedsBoth(t *testing.T) {
	for written, want := range map[string]bool{
		"ml@b.example": true, "ml@x.b.example": true, "ml@c.example": false, "other@b.example": false, "ml@xb.example": false,
	} {
		s := &structure{tag: "ml", written: appendAddresses(nil, written, 1)}
		if got := s.counted("b.example"); got != want {
			t.Errorf("%s: %t", written, got)
		}
	}
}

// TestAppendAddresses checks that addresses in quoted strings and comments are skipped, also behind an
// escaped end.
func TestAppendAddresses(t *testing.T) {
	for value, want := range map[string]string{
		`ml@b.example`:                     "ml@b.example",
		`A <ML@B.example>, c@d.example`:    "ml@b.example c@d.example",
		`"x@y.example" <ml@b.example>`:     "ml@b.example",
		`"\" x@y.example" <ml@b.example>`:  "ml@b.example",
		`(x\) x@y.example) ml@b.example`:   "ml@b.example",
		`(x\\) ml@b.example`:               "ml@b.example",
		`"x@y.example`:                     "",
		`"x@y.example\`:                    "",
		`@b.example ml@ ml@@b.example`:     "",
		`a@b.example c@d.example e@f.test`: "a@b.example c@d.example",
		`azAZ09.-_@AZ-09.example`:          "azaz09.-_@az-09.example",
		`x[y@b.example, x:z@b.example`:     "y@b.example z@b.example",
	} {
		got := ""
		for _, a := range appendAddresses(nil, value, 2) {
			got += " " + a.local + "@" + string(a.domain)
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

// TestAddressOctets has every octet.
func TestAddressOctets(t *testing.T) {
	const all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_+=!#$%&'*/?^`{|}~"
	for c := range 256 {
		if got, want := isAddressOctet(byte(c)), strings.IndexByte(all, byte(c)) >= 0; got != want {
			t.Errorf("%#x: %t", c, got)
		}
	}
}
