package syntax

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const goodParams = " v=1; a=rsa-sha256; c=relaxed/simple; d=Example.COM; s=S1;\r\n" +
	"\ti=joe=20x@news.example.com; h=From : to:\r\n Subject; t=100; x=200; l=7; q=foo:dns/txt;\r\n" +
	" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkf\r\n JVOzv8=; z=From:x|To:y;\r\n b=QUJD\r\n REVG"

func parse(value string, form Form) (p Params, err *Error) {
	err = p.Parse(value, form, nil)
	return p, err
}

func TestParse(t *testing.T) {
	p, err := parse(strings.Replace(goodParams, "joe=20x", "joe=2Bx", 1), FormDKIM)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal([]any{p.Domain, p.Selector, p.Identity, p.Algorithm, p.HeaderCanon, p.BodyCanon, p.Headers,
		p.Timestamp, p.Expires, p.BodyLength, p.B, string(p.Signature)})
	want := `["example.com","s1","joe+x@news.example.com","rsa-sha256","relaxed","simple",["From","to","Subject"],100,200,7,"QUJDREVG","ABCDEF"]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseErrors(t *testing.T) {
	good := strings.Replace(goodParams, "joe=20x", "joe", 1)
	if _, err := parse(good, FormDKIM); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		why, old, new string // the text "old" of a valid field is replaced by the text "new"
		want          Fault  // "" for none
	}{
		{"a stray word", "v=1;", "v=1; word;", FaultSyntax},
		{"a duplicate tag spoils the list, RFC 6376 §3.2", "v=1;", "v=1; d=evil.com;", FaultSyntax},
		{"a NUL", "t=100", "t=100\x00", FaultSyntax},
		{"an unknown tag is ignored", "v=1;", "v=1; foo=bar;", ""},
		{"an empty tag", "v=1;", "v=1;;", FaultSyntax},
		{"no v=, RFC 6376 §3.5", "v=1;", "", FaultMissingTag},
		{"v=2", "v=1", "v=2", FaultVersion},
		{"v=1.0 is not 1", "v=1", "v=1.0", FaultVersion},
		{"V= is another tag", "v=1", "V=1", FaultMissingTag},
		{"no a=", "a=rsa-sha256;", "", FaultMissingTag},
		{"an unknown algorithm", "rsa-sha256", "rsa-sha512", FaultAlgorithm},
		{"rsa-sha1, RFC 8301 §3.1", "rsa-sha256", "rsa-sha1", FaultAlgorithmSHA1},
		{"no l=", "l=7;", "", ""},
		{"ABNF words compare without case", "rsa-sha256", "RSA-SHA256", ""},
		{"c= of one part", "relaxed/simple", "relaxed", ""},
		{"c= unknown header part", "relaxed/simple", "nowsp/simple", FaultCanonicalization},
		{"c= unknown body part", "relaxed/simple", "relaxed/none", FaultCanonicalization},
		{"c= with an empty body part", "relaxed/simple", "relaxed/", FaultCanonicalization},
		{"c= with three parts", "relaxed/simple", "relaxed/simple/simple", FaultCanonicalization},
		{"no d=", "d=Example.COM;", "", FaultMissingTag},
		{"an empty d=", "d=Example.COM", "d=", FaultMissingTag},
		{"d= of one label", "d=Example.COM", "d=com", FaultDomain},
		{"d= with a parenthesis: CVE-2020-12272's family", "d=Example.COM", "d=legitimate.com(.example.com", FaultDomain},
		{"d= with a space", "d=Example.COM", "d=example .com", FaultDomain},
		{"d= with a DNS escape", "d=Example.COM", `d=example\.com.evil.com`, FaultDomain},
		{"d= with a trailing dot", "d=Example.COM", "d=example.com.", FaultDomain},
		{"d= with an empty label", "d=Example.COM", "d=example..com", FaultDomain},
		{"d= with an address", "d=Example.COM", "d=a@example.com", FaultDomain},
		{"d= over 253 octets", "d=Example.COM", "d=" + strings.Repeat("abcdefg.", 40) + "com", FaultDomain},
		{"s= with a NUL-like escape", "s=S1", `s=a\000`, FaultDomain},
		{"s= with a star", "s=S1", "s=*", FaultDomain},
		{"s= with dots", "s=S1", "s=2026.jan", ""},
		{"s= with an underscore", "s=S1", "s=a_b", ""},
		{"s= with an empty label", "s=S1", "s=a..b", FaultDomain},
		{"s= ending in a dot", "s=S1", "s=a.", FaultDomain},
		{"s= too long with d=", "s=S1", "s=" + strings.Repeat("abcdefg.", 29) + "abcde", FaultDomain},
		{"no s=", "s=S1;", "", FaultMissingTag},
		{"i= outside of d=", "joe@news.example.com", "joe@example.org", FaultDomainMismatch},
		{"i= in a name that only ends alike", "joe@news.example.com", "joe@badexample.com", FaultDomainMismatch},
		{"i= above d=", "joe@news.example.com", "joe@com.", FaultSyntax},
		{"i= without an at sign", "joe@news.example.com", "news.example.com", FaultSyntax},
		{"i= without a local part", "joe@news.example.com", "@example.com", ""},
		{"i= with a quoted local part", "joe@news.example.com", `"joe=20doe"@example.com`, ""},
		{"i= with a quote in a quoted local part", "joe@news.example.com", `"joe=22=20"@example.com`, FaultSyntax},
		{"i= with an encoded second at sign", "joe@news.example.com", "ceo=40bank.com@example.com", FaultSyntax},
		{"i= with an encoded CRLF", "joe@news.example.com", "a=0D=0Ab@example.com", FaultSyntax},
		{"i= with a broken encoding", "joe@news.example.com", "a=4@example.com", FaultSyntax},
		{"i= with a cut off encoding", "joe@news.example.com", "a@example.com=4", FaultSyntax},
		{"no h=", "h=From : to:\r\n Subject;", "", FaultMissingTag},
		{"an empty h=, RFC 6376 §3.5", "h=From : to:\r\n Subject", "h=", FaultMissingTag},
		{"an empty name in h=", "From : to", "From::to", FaultSyntax},
		{"a name with a space in h=", "From : to", "From : t o", FaultSyntax},
		{"h= without From, RFC 6376 §5.4", "From : to", "X-From : to", FaultFromNotSigned},
		{"too many names in h=", "From : to", "From" + strings.Repeat(":a", maxSignedHeaders), FaultTooManyHeaders},
		{"no bh=", "bh=", "xh=", FaultMissingTag},
		{"bh= of another length", "JVOzv8=", "JVOz", FaultSyntax},
		{"bh= that is not base64", "JVOzv8=", "JVO*v8=", FaultSyntax},
		{"no b=", " b=", " xb=", FaultMissingTag},
		{"an empty b=", "b=QUJD\r\n REVG", "b=", FaultMissingTag},
		{"b= that is not base64", "b=QUJD", "b=Q!JD", FaultSyntax},
		{"b= of padding alone", "b=QUJD\r\n REVG", "b====", FaultSyntax},
		{"t= that is not a number", "t=100", "t=-1", FaultSyntax},
		{"t= that is empty", "t=100", "t=", FaultSyntax},
		{"x= before t=, RFC 6376 §3.5", "x=200", "x=99", FaultSyntax},
		{"x= at t=: must be greater", "x=200", "x=100", FaultSyntax},
		{"x= of thirty digits is far away", "x=200", "x=" + strings.Repeat("9", 30), ""},
		{"l= that is not a number", "l=7", "l=seven", FaultSyntax},
		{"l= of 76 digits", "l=7", "l=" + strings.Repeat("9", 76), ""},
		{"l= of 77 digits", "l=7", "l=" + strings.Repeat("9", 77), FaultSyntax},
		{"q= without a method known here", "q=foo:dns/txt", "q=foo", FaultQueryMethod},
		{"an empty q=", "q=foo:dns/txt", "q=", FaultQueryMethod},
		{"q= of a draft", "q=foo:dns/txt", "q=DNS", ""},
		{"no q=, which means dns/txt", "q=foo:dns/txt;", "", ""},
	} {
		field := strings.Replace(good, tc.old, tc.new, 1)
		if field == good {
			t.Errorf("%s: %q is not in the field", tc.why, tc.old)
		}
		_, err := parse(field, FormDKIM)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.why, err)
		case tc.want != "" && (err == nil || err.Fault != tc.want):
			t.Errorf("%s: %v, want %s", tc.why, err, tc.want)
		}
	}
}

// TestParseUTF8 checks RFC 8616 §4: names may have U-labels, and the DNS is asked
// for A-labels.
func TestParseUTF8(t *testing.T) {
	field := strings.NewReplacer("Example.COM", "例え.example", "s=S1", "s=テスト", "joe=20x@news.example.com", "久@例え.example").Replace(goodParams)
	p, err := parse(field, FormDKIM)
	if err != nil {
		t.Fatal(err)
	}
	if p.Domain != "xn--r8jz45g.example" || p.Selector != "xn--zckzah" || p.Identity != "久@xn--r8jz45g.example" {
		t.Errorf("d=%s s=%s i=%s", p.Domain, p.Selector, p.Identity)
	}
}

func TestParseForms(t *testing.T) {
	seal := "i=1; a=rsa-sha256; cv=none; d=example.com; s=s1; b=QUJD"
	if _, err := parse(seal, FormSeal); err != nil {
		t.Errorf("seal: %v", err)
	}
	if _, err := parse(seal, FormMessage); err == nil || err.Fault != FaultMissingTag {
		t.Errorf("a seal taken for a message signature: %v", err)
	}
	if _, err := parse(seal, FormDKIM); err == nil {
		t.Error("a seal taken for a DKIM signature")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(goodParams)
	f.Add(strings.ReplaceAll(goodParams, "\r\n", "\n"))
	f.Add("v=1; a=ed25519-sha256; d=a.b; s=c; h=from; bh=; b=; i=@;")
	f.Fuzz(checkParams)
}

// checkParams parses a field in each of the three forms.
func checkParams(t *testing.T, value string) {
	for _, form := range []Form{FormDKIM, FormMessage, FormSeal} {
		p, err := parse(value, form)
		if err != nil {
			if err.Fault == "" || strings.ContainsAny(err.Detail, "\r\n\x00") {
				t.Fatalf("%#v", err)
			}
			continue
		}
		name, nameErr := KeyName(p.Domain, p.Selector)
		if nameErr != nil || strings.ContainsAny(string(name), " \t\r\n\x00()\"\\@*") {
			t.Fatalf("%q would be asked: %v", name, nameErr)
		}
		if value[p.BSpan.Start-1] != '=' || p.BSpan.End < len(value) && value[p.BSpan.End] != ';' {
			t.Fatalf("b= is not at %v", p.BSpan)
		}
		if form == FormDKIM && !p.IdentityDomain.Under(p.Domain) {
			t.Fatalf("i=%s is outside of d=%s", p.Identity, p.Domain)
		}
		if form != FormSeal && !slices.ContainsFunc(p.Headers, func(h string) bool { return strings.EqualFold(h, "from") }) {
			t.Fatalf("h=%q lacks From", p.Headers)
		}
		if form == FormDKIM && p.Expires != nil && p.Timestamp != nil && *p.Expires <= *p.Timestamp {
			t.Fatalf("x=%d is not after t=%d", *p.Expires, *p.Timestamp)
		}
		if p.Algorithm != RSASHA256 && p.Algorithm != Ed25519SHA256 {
			t.Fatalf("a=%q", p.Algorithm)
		}
	}
}

// TestSHA1Hash checks that a signature with rsa-sha1 is refused for its algorithm, and read all the same.
func TestSHA1Hash(t *testing.T) {
	value := strings.NewReplacer("joe=20x", "joe", "rsa-sha256", "rsa-sha1", "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkf\r\n JVOzv8=", "2jUSOH9NhtVGCQWNr9BrIAPreKQ=").Replace(goodParams)
	if p, err := parse(value, FormDKIM); err == nil || err.Fault != FaultAlgorithmSHA1 || p.BodyLength == nil || *p.BodyLength != 7 {
		t.Errorf("%v, l=%v", err, p.BodyLength)
	}
}

// TestCanonicalizations checks what c= means, and what its absence means.
func TestCanonicalizations(t *testing.T) {
	for c, want := range map[string][2]Canonicalization{
		"": {Simple, Simple}, "c=simple;": {Simple, Simple}, "c=relaxed;": {Relaxed, Simple}, "c=simple/relaxed;": {Simple, Relaxed},
		"c=Relaxed/RELAXED;": {Relaxed, Relaxed}, "c=relaxed/simple;": {Relaxed, Simple},
	} {
		p, err := parse(strings.NewReplacer("joe=20x", "joe", "c=relaxed/simple;", c).Replace(goodParams), FormDKIM)
		if got := [2]Canonicalization{p.HeaderCanon, p.BodyCanon}; err != nil || got != want {
			t.Errorf("%q: %v, %v", c, got, err)
		}
	}
}
