package syntax

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/octets"
	"sekimori/internal/testkit/signer"
)

// show returns the parameters in one line.
func show(value string, form Form) string {
	p, err := parse(value, form)
	if err != nil {
		return err.Error()
	}
	number := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	return fmt.Sprintf("%s d=%s s=%s i=%s at %s key %s c=%s/%s h=%q l=%s t=%s x=%s bh=%x b=%s=%q", p.Algorithm, p.Domain, p.Selector, p.Identity, p.IdentityDomain,
		p.KeyName, p.HeaderCanon, p.BodyCanon, p.Headers, number(p.BodyLength), number(p.Timestamp), number(p.Expires), p.BodyHash[:2], p.B, p.Signature)
}

// TestDamaged says what Parse makes of signature fields that are damaged.
func TestDamaged(t *testing.T) {
	octets.Golden(t, "testdata/dkim.txt", []string{
		"v=1; a=Rsa-Sha256; c=relaxed; d=A.Example; s=s.1; i=\"a=20b\"@x.a.example; h=To:From; t=1; x=2; l=3; q=a:dns/txt;" +
			" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=QUJD",
	}, func(value string) string { return show(value, FormDKIM) })
	octets.Golden(t, "testdata/seal.txt", []string{"i=1; a=ed25519-sha256; cv=none; d=a.example; s=s; b=QQ==; t=9"}, func(value string) string {
		return show(value, FormSeal)
	})
	octets.Golden(t, "testdata/key.txt", []string{
		signer.Record(edKey().Public()) + ";t=y : s; s=email:*; h=sha1:sha256;; n=x",
	}, func(txt string) string {
		k, err := ParseKey(txt)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s of %d bits, testing %t, strict %t, small %t, revoked %t, sha256 %t, email %t", k.Type, k.Bits, k.Testing, k.Strict, k.SmallOrder, k.revoked, k.sha256, k.email)
	})
}

// TestQuotedPrintable compares decodeQP with the grammar (RFC 6376 §2.11): every short sequence of pieces.
func TestQuotedPrintable(t *testing.T) {
	whole, escape := regexp.MustCompile(`^(?:[^=]|=[0-9A-F]{2})*$`), regexp.MustCompile(`=[0-9A-F]{2}`)
	for s := range octets.Words(4, "=", "0", "4", "A", "F", "a", "G", " ", "\r\n ", "@") {
		plain := strings.NewReplacer(" ", "", "\r\n", "").Replace(s)
		got, ok := decodeQP(s)
		if want := whole.MatchString(plain); ok != want {
			t.Errorf("%q: %t", s, ok)
		} else if want {
			decoded := escape.ReplaceAllStringFunc(plain, func(e string) string {
				var c byte
				_, _ = fmt.Sscanf(e, "=%02X", &c)
				return string([]byte{c})
			})
			if got != decoded {
				t.Errorf("%q: %q, want %q", s, got, decoded)
			}
		}
	}
}

// TestNumbers has one number at each bound and one beyond it.
func TestNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "7": 7, "10": 10, "00019": 19, "9223372036854775799": math.MaxInt64 - 8, "9223372036854775800": math.MaxInt64, "9223372036854775807": math.MaxInt64,
		"9223372036854775808": math.MaxInt64, "92233720368547758070": math.MaxInt64, "99999999999999999999999": math.MaxInt64,
		"": -1, "-1": -1, "+1": -1, " 1": -1, "1 ": -1, "1a": -1, "/": -1, ":": -1, "9223372036854775807x": -1,
	} {
		if got, ok := parseUint(text); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %t", text, got, ok)
		}
	}
}

// TestBase64 checks the octets that base64 has, and that nothing else is skipped.
func TestBase64(t *testing.T) {
	for text, want := range map[string]string{"QUI=": "AB", "QUI": "AB", "QQ": "A", "QUJD": "ABC", "QUJD====": "ABC", "": "!", "=": "!", "Q": "!", "QU-_": "!",
		"QU JD": "!", "QUJD\r": "!", "\rQUJD": "!", "\nQUJD": "!", "QUJD\n": "!", "QU=JD": "!", "Q*JD": "!"} {
		got, ok := decodeBase64(text)
		if ok != (want != "!") || ok && string(got) != want {
			t.Errorf("%q: %q, %t", text, got, ok)
		}
	}
	if got, ok := appendBase64([]byte("x"), "QQ"); string(got) != "xA" || !ok {
		t.Errorf("appended %q", got)
	}
}

// TestNames compares the octets that a local part, a selector and a field name may have with the rules.
func TestNames(t *testing.T) {
	for c := range 256 {
		s := string([]byte{byte(c)})
		lower, digit := 'a' <= c && c <= 'z', '0' <= c && c <= '9'
		if got, want := isPlainLabel("a"+s), lower || digit || c == '-' || c == '_'; got != want {
			t.Errorf("label a%q: %t", s, got)
		}
		if got, want := validFieldName("a"+s), c > ' ' && c < 0x7f; got != want {
			t.Errorf("field name a%q: %t", s, got)
		}
		control := c < ' ' || c == 0x7f
		if got, want := plainLocalPart("a"+s+"b"), !control && c != '"' && c != ' ' && c != '@' && c != '\\'; got != want {
			t.Errorf("local part a%qb: %t", s, got)
		}
		if got, want := plainLocalPart(`"`+s+`"`), !control && c != '"'; got != want {
			t.Errorf("quoted local part %q: %t", s, got)
		}
	}
	for s, want := range map[string]bool{"": true, `"`: false, `""`: true, `"a`: false, `a"`: false} {
		if got := plainLocalPart(s); got != want {
			t.Errorf("local part %q: %t", s, got)
		}
	}
	for s, want := range map[string]bool{"": false, strings.Repeat("a", dns.MaxLabelLen): true, strings.Repeat("a", dns.MaxLabelLen+1): false} {
		if got := isPlainLabel(s); got != want {
			t.Errorf("label of %d octets: %t", len(s), got)
		}
		if _, ok := parseSelector(s); ok != want {
			t.Errorf("selector of %d octets: %t", len(s), ok)
		}
	}
	if validFieldName("") {
		t.Error("an empty field name")
	}
}

// TestSignedHeaderBound has as many names in h= as are allowed, and one more.
func TestSignedHeaderBound(t *testing.T) {
	good := strings.Replace(goodParams, "joe=20x", "joe", 1)
	for n, want := range map[int]Fault{maxSignedHeaders: "", maxSignedHeaders + 1: FaultTooManyHeaders} {
		field := strings.Replace(good, "From : to:\r\n Subject", "From"+strings.Repeat(":a", n-1), 1)
		if _, err := parse(field, FormDKIM); faultOf(err) != want {
			t.Errorf("%d names: %v", n, err)
		}
	}
}

// TestKeyEdges checks a point of small order, a strict key beside a signature without i=, and a key name
// without a domain.
func TestKeyEdges(t *testing.T) {
	k, err := ParseKey("v=DKIM1; k=ed25519; t=s; p=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	if err != nil || !k.SmallOrder || !k.Strict {
		t.Fatalf("%+v, %v", k, err)
	}
	for identity, want := range map[dns.Name]Fault{"": "", "a.example": "", "x.a.example": FaultStrictIdentity} {
		if got := faultOf(k.Check(&Params{Algorithm: Ed25519SHA256, Domain: "a.example", IdentityDomain: identity})); got != want {
			t.Errorf("i= of %q: %q", identity, got)
		}
	}
	if k, _ := ParseKey(signer.Record(edKey().Public())); k.SmallOrder {
		t.Error("an honest key counts as small")
	}
	if name, err := KeyName("", "s"); name != "s._domainkey" || err != nil {
		t.Errorf("%s, %v", name, err)
	}
}

// TestCause checks that each error of a tag list keeps its own words, and none has text of the sender.
func TestCause(t *testing.T) {
	seen := map[string]bool{}
	for _, value := range []string{"v=1;;a=b", "v=1; evil", "1v=evil", "v=\x00evil", "v=1; v=evil", strings.Repeat("v", 1<<20+1), tooManyTags()} {
		_, err := parse(value, FormDKIM)
		if err == nil || seen[err.Detail] || strings.Contains(err.Detail, "evil") || strings.Contains(err.Detail, "taglist") {
			t.Errorf("%.20q: %v", value, err)
			continue
		}
		seen[err.Detail] = true
	}
}

func tooManyTags() (s string) {
	for i := range 129 {
		s += fmt.Sprintf("a%d=b;", i)
	}
	return s
}

// pieces are what a signature field and a key record are made of.
var pieces = []string{
	";", "=", " ", "v=1;", "a=rsa-sha256;", "a=ed25519-sha256;", "c=relaxed/simple;", "d=example.com;", "s=s1;", "h=from:to;", "bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;",
	"b=QUJD;", "i=a@example.com;", "i=@x.example.com;", "t=1;", "x=2;", "l=3;", "q=dns/txt;", "v=DKIM1;", "k=ed25519;", "k=rsa;", "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=;",
	"p=;", "h=sha256;", "s=email;", "t=y:s;", ":", "/", "relaxed", "simple", "d=", "s=", "i=", "h=", "b=", "bh=", "@", ".", "a", "1", "=40", "=4", "\r\n ", "\r\n", "\x00", "é", "*", `"`, "sha1", "sha512", "tlsrpt",
}

// FuzzPieces parses fields and records that are made of pieces. All three forms and the key must agree with
// what their text says.
func FuzzPieces(f *testing.F) {
	for _, s := range []string{"v=1;a=rsa-sha256;c=relaxed/simple;d=example.com;s=s1;h=from:to;bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;b=QUJD;t=1;x=2;l=3;q=dns/txt;i=a@example.com;",
		"v=DKIM1;k=ed25519;p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=;h=sha256;s=email;t=y:s;"} {
		f.Add(octets.Program(s, pieces...))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		value := octets.Chosen(program, pieces...)
		checkParams(t, value)
		checkKey(t, value)
	})
}
