package msgauth

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/message"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
	"sekimori/internal/trait"
)

// brokenZone returns a zone with two authors: bank.example has keys, and broken.example has an SPF
// record that is broken.
func brokenZone(t *testing.T) *zone.Zone {
	t.Helper()
	key := signer.Record(ed25519.NewKeyFromSeed([]byte("another key of thirty-two octets")).Public())
	return nameserver.Zone(t, `
bank.example                    TXT "v=spf1 ip4:192.0.2.99 ?all"
_dmarc.bank.example             TXT "v=DMARC1; p=reject"
s1._domainkey.bank.example      TXT "`+key+`"
s1._domainkey.mail.bank.example TXT "`+key+`"
s1._domainkey.evil.example      TXT "`+key+`"
text._domainkey.bank.example    TXT "v=DKIM1; p=not base64"
gone._domainkey.bank.example    TXT "v=DKIM1; p="
x.broken.example                TXT "v=spf1 ip4:192.0.2.999 -all"
broken.example                  TXT "v=spf1 include:nobody.example -all"
_dmarc.broken.example           TXT "v=DMARC1; p=reject"
evil.example                    TXT "v=spf1 ipv4:192.0.2.1 -all"
`)
}

// sig returns a well-formed signature of the domain d with the selector s. The parameter "replaced"
// holds pairs of strings: a part of the signature, and the text that replaces it.
func sig(d, s string, replaced ...string) string {
	text := fmt.Sprintf("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=%s; s=%s; h=from:subject; "+
		"bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n", d, s)
	return strings.NewReplacer(replaced...).Replace(text)
}

// TestAuthorRecordBroken: a mistake in a signature or an SPF record counts as the author's own only
// if the author's key or record is published.
func TestAuthorRecordBroken(t *testing.T) {
	v := NewVerifier(brokenZone(t), Options{})
	const bank, broken = "bank.example", "broken.example"
	for _, tt := range []struct {
		why, author, from, header string
		want                      bool
	}{
		{"no signature, and the SPF record of another domain", bank, "<x@other.example>", "", false},
		{"an unknown algorithm", bank, "<x@other.example>", sig(bank, "s1", "ed25519-sha256", "rsa-sha512"), true},
		{"SHA-1", bank, "<x@other.example>", sig(bank, "s1", "ed25519-sha256", "rsa-sha1"), true},
		{"another version", bank, "<x@other.example>", sig(bank, "s1", "v=1", "v=2"), true},
		{"no bh=", bank, "<x@other.example>", sig(bank, "s1", " bh=", " zz="), true},
		{"From is not signed", bank, "<x@other.example>", sig(bank, "s1", "from:subject", "subject"), true},
		{"another canonicalization", bank, "<x@other.example>", sig(bank, "s1", "relaxed/relaxed", "nowsp"), true},
		{"an unknown q=", bank, "<x@other.example>", sig(bank, "s1", " h=", " q=http; h="), true},
		{"b= is not valid base64", bank, "<x@other.example>", sig(bank, "s1", "b=AAAA", "b=*"), true},
		{"i= outside of d=", bank, "<x@other.example>", sig(bank, "s1", " h=", " i=@evil.example; h="), true},
		{"a tag twice, so the field is not a tag list", bank, "<x@other.example>", sig(bank, "s1", " h=", " h=to; h="), true},
		{"junk in the field", bank, "<x@other.example>", sig(bank, "s1", " h=", " junk; h="), true},
		{"a subdomain of the author's", bank, "<x@other.example>", sig("mail.bank.example", "s1", "v=1", "v=2"), true},
		{"d= in capitals, folded", bank, "<x@other.example>", sig("Bank.\r\n Example", "s1", "v=1; a", "v=1; junk; a"), true},
		{"the key record is malformed", bank, "<x@other.example>", sig(bank, "text"), true},
		{"the key is of another type", bank, "<x@other.example>", sig(bank, "s1", "ed25519-sha256", "rsa-sha256"), true},
		{"the author's SPF record includes a domain without a record", broken, "<ann@broken.example>", "", true},
		{"the SPF record of the author's subdomain is malformed", broken, "<ann@x.broken.example>", "", true},
		{"the null sender, for which SPF checks the HELO name", broken, "<>", "", false},

		{"no such key", bank, "<x@other.example>", sig(bank, "s2", "v=1", "v=2"), false},
		{"the key is revoked", bank, "<x@other.example>", sig(bank, "gone", "v=1", "v=2"), false},
		{"no s=", bank, "<x@other.example>", sig(bank, "s1", " s=", " zz="), false},
		{"s= is not a name", bank, "<x@other.example>", sig(bank, "s1 x(", "v=1", "v=2"), false},
		{"d= with a dot at its end", bank, "<x@other.example>", sig(bank+".", "s1", " h=", " junk; h="), false},
		{"no d=", bank, "<x@other.example>", sig(bank, "s1", " d=", " zz="), false},
		{"a published key of another domain", bank, "<x@other.example>", sig("evil.example", "s1", "v=1", "v=2"), false},
		{"a domain that ends alike", bank, "<x@other.example>", sig("xbank.example", "s1", "v=1", "v=2"), false},
		{"somebody else's SPF record", bank, "<x@evil.example>", "", false},
		{"an expired signature is well-formed", bank, "<x@other.example>", sig(bank, "s1", " h=", " t=1; x=2; h="), false},
		{"a signature that does not match is well-formed", bank, "<x@other.example>", sig(bank, "s1"), false},
	} {
		e := evaluate(t, v, tt.from, tt.header+"From: A <a@"+tt.author+">\r\nSubject: s\r\n\r\nbody\r\n")
		if e.DMARC.Result != dmarc.ResultFail {
			t.Fatalf("%s: dmarc=%s, spf=%s, dkim=%+v", tt.why, e.DMARC.Result, e.MailFrom.Result, e.DKIM)
		}
		if e.Has(trait.AuthorRecordBroken) != tt.want {
			t.Errorf("%s: %t, spf=%s, dkim=%+v", tt.why, e.Has(trait.AuthorRecordBroken), e.MailFrom.Result, e.DKIM)
		}
	}
}

// TestWhoseMistake has every reason of a signature that does not pass: with some, the author's mistake is certain;
// with others, only if the key is published; with the rest, the signature does not show a mistake of the author.
func TestWhoseMistake(t *testing.T) {
	const certain, ifPublished, no = "certain", "if published", "no"
	for _, tt := range []struct {
		mistake string
		reasons []dkim.Reason
	}{
		{certain, []dkim.Reason{dkim.ReasonKeySyntax, dkim.ReasonKeyType, dkim.ReasonKeyHash, dkim.ReasonKeyService, dkim.ReasonStrictIdentity,
			dkim.ReasonWeakKey, dkim.ReasonLargeKey, dkim.ReasonBeyondBody}},
		{ifPublished, []dkim.Reason{dkim.ReasonSyntax, dkim.ReasonMissingTag, dkim.ReasonVersion, dkim.ReasonAlgorithm, dkim.ReasonAlgorithmSHA1,
			dkim.ReasonCanonicalization, dkim.ReasonQueryMethod, dkim.ReasonDomainMismatch, dkim.ReasonFromNotSigned, dkim.ReasonTooManyHeaders}},
		{no, []dkim.Reason{"", dkim.ReasonDomain, dkim.ReasonKeyNotFound, dkim.ReasonKeyRevoked, dkim.ReasonBodyHash, dkim.ReasonSignature,
			dkim.ReasonNotVerifiable, dkim.ReasonDroppedField, dkim.ReasonLeadingSpace, dkim.ReasonFromMissing, dkim.ReasonMultipleFrom,
			dkim.ReasonTooManySignatures, dkim.ReasonExpired, dkim.ReasonBodyLength, dkim.ReasonWorkLimit, dkim.ReasonInternal, "dns_timeout"}},
	} {
		for _, reason := range tt.reasons {
			for _, selector := range []string{"s1", "unknown"} {
				c := NewVerifier(brokenZone(t), Options{}).Connect(t.Context(), Session{Client: client})
				m := c.Begin(Session{}, Envelope{MailFrom: "<x@other.example>"})
				m.EndOfHeader(message.Header{{Name: "From", Value: " a@bank.example"}})
				e := &Evaluation{From: m.from, DKIM: []dkim.Signature{{Reason: reason, Domain: "bank.example", Selector: selector}}}
				want := tt.mistake == certain || tt.mistake == ifPublished && selector == "s1"
				if got := m.authorRecordBroken(t.Context(), e); got != want {
					t.Errorf("%q, key %s: %t", reason, selector, got)
				}
				m.Close()
				c.Close()
			}
		}
	}
}

// TestLooseName checks which names are read from a field that is not a tag list.
func TestLooseName(t *testing.T) {
	for value, want := range map[string][2]dns.Name{
		"junk; d=A.example; s=S1":              {"a.example", "s1"},
		" d = a.\r\n example ;\ts = s1.\tx ":   {"a.example", "s1.x"},
		"d=a.example; s=s1; d=b.example; s=s2": {"a.example", "s1"},
		"d=(; d=b.example; s=(; s=s2":          {"b.example", "s2"},
		"d=a.example.; s=s1.":                  {"", ""},
		"d=a.example; x=s1":                    {"a.example", ""},
		"s=s1; xd=a.example":                   {"", "s1"},
		"d; s":                                 {"", ""},
		"d=; s=":                               {"", ""},
	} {
		if domain, selector := looseName(value); domain != want[0] || selector != want[1] {
			t.Errorf("%q: %q, %q", value, domain, selector)
		}
	}
}

// TestFormKeys: many malformed signatures cause at most maxFormKeys key lookups, and no lookups if
// the author has no policy.
func TestFormKeys(t *testing.T) {
	z := brokenZone(t)
	v := NewVerifier(z, Options{DKIM: dkim.Options{MaxSignatures: 100}})
	var header strings.Builder
	for i := range 20 {
		header.WriteString(sig("bank.example", fmt.Sprintf("n%d", i), "v=1", "v=2"))
	}
	asked := func(from, client string) (n int) {
		before := len(z.Queries())
		synctest.Test(t, func(t *testing.T) {
			evaluate(t, v, from, header.String()+"From: A <a@"+client+">\r\nSubject: s\r\n\r\nbody\r\n")
			synctest.Wait() // keys are asked for in goroutines
		})
		for _, q := range z.Queries()[before:] {
			if strings.Contains(fmt.Sprint(q), "_domainkey") {
				n++
			}
		}
		return n
	}
	if got := asked("<x@other.example>", "bank.example"); got != maxFormKeys {
		t.Errorf("%d keys were asked for, want %d", got, maxFormKeys)
	}
	if got := asked("<x@other.example>", "nobody.example"); got != 0 {
		t.Errorf("%d keys were asked for where there is no policy", got)
	}
}

// FuzzLooseName: every name that looseName returns can be looked up.
func FuzzLooseName(f *testing.F) {
	f.Add("v=1; d=bank.example; s=s1; d=x")
	f.Add(" d = a . b ;s=\r\n a.b.c")
	f.Fuzz(func(t *testing.T, value string) {
		domain, selector := looseName(value)
		for _, r := range string(domain) + string(selector) {
			if r > 0x7e || r < '-' || r >= 'A' && r <= 'Z' {
				t.Errorf("%q gives %q and %q", value, domain, selector)
			}
		}
	})
}
