package dkim

import (
	"encoding/json"
	"strings"
	"testing"
)

const goodParams = " v=1; a=rsa-sha256; c=relaxed/simple; d=Example.COM; s=S1;\r\n" +
	"\ti=joe=20x@news.example.com; h=From : to:\r\n Subject; t=100; x=200; l=7; q=foo:dns/txt;\r\n" +
	" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkf\r\n JVOzv8=; z=From:x|To:y;\r\n b=QUJD\r\n REVG"

func TestParseParams(t *testing.T) {
	p, err := ParseParams(strings.Replace(goodParams, "joe=20x", "joe=2Bx", 1), FormDKIM)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal([]any{p.Domain, p.Selector, p.Identity, p.Algorithm, p.HeaderCanon, p.BodyCanon, p.Headers,
		p.Timestamp, p.Expires, p.BodyLength, p.B, string(p.signature)})
	want := `["example.com","s1","joe+x@news.example.com","rsa-sha256","relaxed","simple",["From","to","Subject"],100,200,7,"QUJDREVG","ABCDEF"]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseParamsErrors(t *testing.T) {
	good := strings.Replace(goodParams, "joe=20x", "joe", 1)
	if _, err := ParseParams(good, FormDKIM); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		why, old, new string // replaced in a good field
		want          Reason // "" for none
	}{
		{"a stray word", "v=1;", "v=1; word;", ReasonSyntax},
		{"a duplicate tag spoils the list, RFC 6376 §3.2", "v=1;", "v=1; d=evil.com;", ReasonSyntax},
		{"a NUL", "t=100", "t=100\x00", ReasonSyntax},
		{"an unknown tag is ignored", "v=1;", "v=1; foo=bar;", ""},
		{"an empty tag", "v=1;", "v=1;;", ReasonSyntax},
		{"no v=, RFC 6376 §3.5", "v=1;", "", ReasonMissingTag},
		{"v=2", "v=1", "v=2", ReasonVersion},
		{"v=1.0 is not 1", "v=1", "v=1.0", ReasonVersion},
		{"V= is another tag", "v=1", "V=1", ReasonMissingTag},
		{"no a=", "a=rsa-sha256;", "", ReasonMissingTag},
		{"an unknown algorithm", "rsa-sha256", "rsa-sha512", ReasonAlgorithm},
		{"rsa-sha1, RFC 8301 §3.1", "rsa-sha256", "rsa-sha1", ReasonAlgorithmSHA1},
		{"ABNF words compare without case", "rsa-sha256", "RSA-SHA256", ""},
		{"c= of one part", "relaxed/simple", "relaxed", ""},
		{"c= unknown header part", "relaxed/simple", "nowsp/simple", ReasonCanonicalization},
		{"c= unknown body part", "relaxed/simple", "relaxed/none", ReasonCanonicalization},
		{"c= with an empty body part", "relaxed/simple", "relaxed/", ReasonCanonicalization},
		{"c= with three parts", "relaxed/simple", "relaxed/simple/simple", ReasonCanonicalization},
		{"no d=", "d=Example.COM;", "", ReasonMissingTag},
		{"an empty d=", "d=Example.COM", "d=", ReasonMissingTag},
		{"d= of one label", "d=Example.COM", "d=com", ReasonDomain},
		{"d= with a parenthesis: CVE-2020-12272's family", "d=Example.COM", "d=legitimate.com(.example.com", ReasonDomain},
		{"d= with a space", "d=Example.COM", "d=example .com", ReasonDomain},
		{"d= with a DNS escape", "d=Example.COM", `d=example\.com.evil.com`, ReasonDomain},
		{"d= with a trailing dot", "d=Example.COM", "d=example.com.", ReasonDomain},
		{"d= with an empty label", "d=Example.COM", "d=example..com", ReasonDomain},
		{"d= with an address", "d=Example.COM", "d=a@example.com", ReasonDomain},
		{"d= over 253 octets", "d=Example.COM", "d=" + strings.Repeat("abcdefg.", 40) + "com", ReasonDomain},
		{"s= with a NUL-like escape", "s=S1", `s=a\000`, ReasonDomain},
		{"s= with a star", "s=S1", "s=*", ReasonDomain},
		{"s= with dots", "s=S1", "s=2026.jan", ""},
		{"s= with an underscore", "s=S1", "s=a_b", ""},
		{"s= with an empty label", "s=S1", "s=a..b", ReasonDomain},
		{"s= ending in a dot", "s=S1", "s=a.", ReasonDomain},
		{"s= too long with d=", "s=S1", "s=" + strings.Repeat("abcdefg.", 29) + "abcde", ReasonDomain},
		{"no s=", "s=S1;", "", ReasonMissingTag},
		{"i= outside of d=", "joe@news.example.com", "joe@example.org", ReasonDomainMismatch},
		{"i= in a name that only ends alike", "joe@news.example.com", "joe@badexample.com", ReasonDomainMismatch},
		{"i= above d=", "joe@news.example.com", "joe@com.", ReasonSyntax},
		{"i= without an at sign", "joe@news.example.com", "news.example.com", ReasonSyntax},
		{"i= without a local part", "joe@news.example.com", "@example.com", ""},
		{"i= with a quoted local part", "joe@news.example.com", `"joe=20doe"@example.com`, ""},
		{"i= with a quote in a quoted local part", "joe@news.example.com", `"joe=22=20"@example.com`, ReasonSyntax},
		{"i= with an encoded second at sign", "joe@news.example.com", "ceo=40bank.com@example.com", ReasonSyntax},
		{"i= with an encoded CRLF", "joe@news.example.com", "a=0D=0Ab@example.com", ReasonSyntax},
		{"i= with a broken encoding", "joe@news.example.com", "a=4@example.com", ReasonSyntax},
		{"i= with a cut off encoding", "joe@news.example.com", "a@example.com=4", ReasonSyntax},
		{"no h=", "h=From : to:\r\n Subject;", "", ReasonMissingTag},
		{"an empty h=, RFC 6376 §3.5", "h=From : to:\r\n Subject", "h=", ReasonMissingTag},
		{"an empty name in h=", "From : to", "From::to", ReasonSyntax},
		{"a name with a space in h=", "From : to", "From : t o", ReasonSyntax},
		{"h= without From, RFC 6376 §5.4", "From : to", "X-From : to", ReasonFromNotSigned},
		{"too many names in h=", "From : to", "From" + strings.Repeat(":a", maxSignedHeaders), ReasonTooManyHeaders},
		{"no bh=", "bh=", "xh=", ReasonMissingTag},
		{"bh= of another length", "JVOzv8=", "JVOz", ReasonSyntax},
		{"bh= that is no base64", "JVOzv8=", "JVO*v8=", ReasonSyntax},
		{"no b=", " b=", " xb=", ReasonMissingTag},
		{"an empty b=", "b=QUJD\r\n REVG", "b=", ReasonMissingTag},
		{"b= that is no base64", "b=QUJD", "b=Q!JD", ReasonSyntax},
		{"b= of padding alone", "b=QUJD\r\n REVG", "b====", ReasonSyntax},
		{"t= that is no number", "t=100", "t=-1", ReasonSyntax},
		{"t= that is empty", "t=100", "t=", ReasonSyntax},
		{"x= before t=, RFC 6376 §3.5", "x=200", "x=99", ReasonSyntax},
		{"x= at t=: must be greater", "x=200", "x=100", ReasonSyntax},
		{"x= of thirty digits is far away", "x=200", "x=" + strings.Repeat("9", 30), ""},
		{"l= that is no number", "l=7", "l=seven", ReasonSyntax},
		{"l= of 76 digits", "l=7", "l=" + strings.Repeat("9", 76), ""},
		{"q= without a method known here", "q=foo:dns/txt", "q=foo", ReasonQueryMethod},
	} {
		field := strings.Replace(good, tc.old, tc.new, 1)
		if field == good {
			t.Errorf("%s: %q is not in the field", tc.why, tc.old)
		}
		_, err := ParseParams(field, FormDKIM)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.why, err)
		case tc.want != "" && (err == nil || err.Reason != tc.want || err.Result != PermError):
			t.Errorf("%s: %v, want %s", tc.why, err, tc.want)
		}
	}
}

// TestParseParamsUTF8 is RFC 8616 §4: names may be U-labels; the DNS gets
// A-labels.
func TestParseParamsUTF8(t *testing.T) {
	field := strings.NewReplacer("Example.COM", "例え.example", "s=S1", "s=テスト", "joe=20x@news.example.com", "久@例え.example").Replace(goodParams)
	p, err := ParseParams(field, FormDKIM)
	if err != nil {
		t.Fatal(err)
	}
	if p.Domain != "xn--r8jz45g.example" || p.Selector != "xn--zckzah" || p.Identity != "久@xn--r8jz45g.example" {
		t.Errorf("d=%s s=%s i=%s", p.Domain, p.Selector, p.Identity)
	}
}

func TestParseParamsForms(t *testing.T) {
	seal := "i=1; a=rsa-sha256; cv=none; d=example.com; s=s1; b=QUJD"
	if _, err := ParseParams(seal, FormSeal); err != nil {
		t.Errorf("seal: %v", err)
	}
	if _, err := ParseParams(seal, FormMessage); err == nil || err.Reason != ReasonMissingTag {
		t.Errorf("a seal taken for a message signature: %v", err)
	}
	if _, err := ParseParams(seal, FormDKIM); err == nil {
		t.Error("a seal taken for a DKIM signature")
	}
}

func FuzzParseParams(f *testing.F) {
	f.Add(goodParams)
	f.Add(strings.ReplaceAll(goodParams, "\r\n", "\n"))
	f.Add("v=1; a=ed25519-sha256; d=a.b; s=c; h=from; bh=; b=; i=@;")
	f.Fuzz(func(t *testing.T, value string) {
		for _, form := range []Form{FormDKIM, FormMessage, FormSeal} {
			p, err := ParseParams(value, form)
			if err != nil {
				if err.Reason == "" || err.Result != PermError || strings.ContainsAny(err.Detail, "\r\n\x00") {
					t.Fatalf("%#v", err)
				}
				continue
			}
			name, nameErr := keyName(p.Domain, p.Selector)
			if nameErr != nil || strings.ContainsAny(string(name), " \t\r\n\x00()\"\\@*") {
				t.Fatalf("%q would be asked: %v", name, nameErr)
			}
			if value[p.b.start-1] != '=' || p.b.end < len(value) && value[p.b.end] != ';' {
				t.Fatalf("b= is not at %v", p.b)
			}
			if form == FormDKIM && !p.identityDomain.Under(p.Domain) {
				t.Fatalf("i=%s is outside of d=%s", p.Identity, p.Domain)
			}
		}
	})
}
