package msgauth

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/message"
	"sekimori/internal/testkit/nameserver"
)

func TestTraits(t *testing.T) {
	field := func(name, value string) message.Header { return message.Header{{Name: name, Value: " " + value}} }
	for _, tt := range []struct {
		name, local string
		h           message.Header
		want        Traits
	}{
		{"a newsletter", "a", message.Header{{Name: "List-Unsubscribe", Value: " <x>"}, {Name: "Precedence", Value: " bulk"}}, Traits{Bulk: true}},
		{"Precedence: junk", "a", field("precedence", "JUNK"), Traits{Bulk: true}},
		{"Precedence of nothing known", "a", field("Precedence", "first-class"), Traits{}},
		{"List-Unsubscribe-Post alone", "a", field("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"), Traits{}},
		{"List-Id", "a", field("LIST-ID", "<x>"), Traits{List: true}},
		{"List-Post", "a", field("List-Post", "<mailto:x@y>"), Traits{List: true}},
		{"Mailing-List", "a", field("Mailing-List", "contact x; run by ezmlm"), Traits{List: true}},
		{"X-BeenThere", "a", field("X-BeenThere", "x@y"), Traits{List: true}},
		{"Precedence: list", "a", field("Precedence", "List "), Traits{List: true}},
		{"resent", "a", field("Resent-From", "<x@y>"), Traits{Forwarded: true}},
		{"forwarded by a provider", "a", field("X-Forwarded-To", "x@y"), Traits{Forwarded: true}},
		{"delivered before", "a", field("Delivered-To", "x@y"), Traits{Forwarded: true}},
		{"ARC", "a", field("ARC-Seal", "i=1"), Traits{ARC: true}},
		{"ARC results alone are no chain", "a", field("ARC-Authentication-Results", "i=1"), Traits{}},
		{"SRS0", "srs0=HH=TT=orig.example=a", nil, Traits{SRS: true}},
		{"SRS1", "SRS1+HH=x", nil, Traits{SRS: true}},
		{"not SRS", "srs0x", nil, Traits{}},
		{"list and forwarded", "a", append(field("List-Id", "<x>"), field("X-Original-To", "x")...), Traits{List: true, Forwarded: true}},
	} {
		if got := traitsOf(tt.h, mailaddr.Path{Local: tt.local}); got != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func TestIndirect(t *testing.T) {
	for _, tt := range []struct {
		t    Traits
		want bool
	}{
		{Traits{}, false},
		{Traits{Bulk: true, RewrittenFrom: true, ThirdPartySignature: true}, false},
		{Traits{List: true}, true}, {Traits{Forwarded: true}, true}, {Traits{SRS: true}, true}, {Traits{ARC: true}, true},
		{Traits{BrokenAuthorSignature: true}, true}, {Traits{ListSignature: true}, true},
	} {
		if got := tt.t.Indirect(); got != tt.want {
			t.Errorf("%+v: %t", tt.t, got)
		}
	}
}

func TestListDomains(t *testing.T) {
	for _, tt := range []struct {
		why  string
		h    message.Header
		want []dns.Name
	}{
		{"as RFC 2919 writes it", message.Header{{Name: "List-ID", Value: " Gardeners\r\n\t<roses.Lists.example>"}}, []dns.Name{"roses.lists.example"}},
		{"as RFC 2369 writes it", message.Header{{Name: "List-Post", Value: " <mailto:roses@lists.example?subject=x@y.example>"}}, []dns.Name{"lists.example"}},
		{"no posting", message.Header{{Name: "List-Post", Value: " NO"}}, nil},
		{"no brackets", message.Header{{Name: "List-Id", Value: " lists.example"}}, nil},
		{"not closed", message.Header{{Name: "List-Id", Value: " <lists.example"}}, nil},
		{"one label", message.Header{{Name: "List-Id", Value: " <localhost>"}}, nil},
		{"octets no name has", message.Header{{Name: "List-Id", Value: " <a b.example>"}}, nil},
		{"many", slices.Repeat(message.Header{{Name: "List-Id", Value: " <l.example>"}}, 2000), slices.Repeat([]dns.Name{"l.example"}, maxListDomains)},
	} {
		if got := listDomains(tt.h); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

func FuzzListDomains(f *testing.F) {
	for _, seed := range []string{" <a.example>", " <mailto:x@a.example?y>", "<<>>", "<@>", "<?>", " x <\r\n y.example >"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, n := range listDomains(message.Header{{Name: "List-Id", Value: value}}) {
			if again, err := dns.ParseHostname(string(n)); err != nil || again != n {
				t.Errorf("%q gives %q: %v", value, n, err)
			}
		}
	})
}

func TestTraitsOfSignatures(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    dkim.Signature
		want Traits
	}{
		{"broken body under the author's domain", dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonBodyHash, Domain: "mail.bank.example"}, Traits{BrokenAuthorSignature: true}},
		{"broken header", dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonSignature, Domain: "bank.example"}, Traits{BrokenAuthorSignature: true}},
		{"no key proves nothing", dkim.Signature{Result: dkim.PermError, Reason: dkim.ReasonKeyNotFound, Domain: "bank.example"}, Traits{}},
		{"cut by the MTA", dkim.Signature{Result: dkim.Neutral, Reason: dkim.ReasonNotVerifiable, Domain: "bank.example"}, Traits{BrokenAuthorSignature: true}},
		{"over a field that MTAs remove", dkim.Signature{Result: dkim.Neutral, Reason: dkim.ReasonDroppedField, Domain: "bank.example"}, Traits{BrokenAuthorSignature: true}},
		{"over a space that the MTA does not show", dkim.Signature{Result: dkim.Neutral, Reason: dkim.ReasonLeadingSpace, Domain: "mail.bank.example"}, Traits{BrokenAuthorSignature: true}},
		{"somebody else's over such a field", dkim.Signature{Result: dkim.Neutral, Reason: dkim.ReasonDroppedField, Domain: "other.example"}, Traits{}},
		{"a footer past l=", dkim.Signature{Result: dkim.Policy, Reason: dkim.ReasonBodyLength, Domain: "bank.example"}, Traits{BrokenAuthorSignature: true}},
		{"somebody else's broken one", dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonBodyHash, Domain: "xbank.example"}, Traits{}},
		{"somebody else's good one", dkim.Signature{Result: dkim.Pass, Domain: "other.example"}, Traits{ThirdPartySignature: true}},
		{"the list's good one", dkim.Signature{Result: dkim.Pass, Domain: "lists.example"}, Traits{ThirdPartySignature: true, ListSignature: true}},
		{"the list's host's domain", dkim.Signature{Result: dkim.Pass, Domain: "roses.lists.example"}, Traits{ThirdPartySignature: true, ListSignature: true}},
		{"a domain below the list's speaks for itself only", dkim.Signature{Result: dkim.Pass, Domain: "x.roses.lists.example"}, Traits{ThirdPartySignature: true}},
		{"the list's broken one", dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonBodyHash, Domain: "lists.example"}, Traits{}},
	} {
		e := &Evaluation{From: mailaddr.From{AuthorDomain: "bank.example"}, DKIM: []dkim.Signature{tt.s}}
		(&Verification{lists: []dns.Name{"roses.lists.example"}}).finishTraits(t.Context(), e)
		if e.Traits != tt.want {
			t.Errorf("%s: %+v", tt.name, e.Traits)
		}
	}
}

func TestRewrittenFrom(t *testing.T) {
	for value, want := range map[string]bool{
		" Ann via Gardeners <roses@lists.example>":   true,
		` "Ann Via Gardeners" <roses@lists.example>`: true,
		" Olivia <o@lists.example>":                  false,
		" Via <via@lists.example>":                   false,
	} {
		from, err := mailaddr.ParseFrom([]string{value})
		if err != nil {
			t.Fatal(err)
		}
		if got := rewritten(from); got != want {
			t.Errorf("%s: %t", value, got)
		}
	}
}

// TestDigest: other hosts, relays and retries see the same message; another
// author, date or id is another one.
func TestDigest(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	v := NewVerifier(nameserver.Zone(t, zoneText), Options{Now: func() time.Time { return now }})
	const raw = "Date: today\r\nMessage-ID: <1@x>\r\n" + hello
	e := evaluate(t, v, "<a@bank.example>", raw)
	if len(e.Digest) != 32 || !e.Time.Equal(now) {
		t.Errorf("digest %q at %v", e.Digest, e.Time)
	}
	for change, same := range map[string]bool{
		"Received: from somewhere\r\n" + raw:             true,
		strings.Replace(raw, "body", "corps", 1):         true,
		strings.Replace(raw, "today", "tomorrow", 1):     false,
		strings.Replace(raw, "<1@x>", "<2@x>", 1):        false,
		strings.Replace(raw, "From: A", "From: B", 1):    false,
		strings.Replace(raw, "Message-ID", "X-Other", 1): false,
	} {
		if got := evaluate(t, v, "<b@bank.example>", change).Digest == e.Digest; got != same {
			t.Errorf("the digest of\n%s\nis the same: %t", change, got)
		}
	}
}
