package spf

import (
	"errors"
	"strings"
	"testing"

	"sekimori/internal/printable"
)

func TestParseRecord(t *testing.T) {
	rec, err := ParseRecord("V=SPF1  mx:%{d}/24//64 -IP4:192.0.2.77/24 ~a ?include:a.example.com.  Redirect=b.example.com x.y-z_1=%{c}/:= exp=c.example.com ")
	if err != nil {
		t.Fatal(err)
	}
	want := []Directive{
		{Text: "mx:%{d}/24//64", Qualifier: Pass, Mechanism: MechanismMX, DomainSpec: "%{d}", Bits4: 24, Bits6: 64},
		{Text: "-IP4:192.0.2.77/24", Qualifier: Fail, Mechanism: MechanismIP4},
		{Text: "~a", Qualifier: SoftFail, Mechanism: MechanismA, Bits4: 32, Bits6: 128},
		{Text: "?include:a.example.com.", Qualifier: Neutral, Mechanism: MechanismInclude, DomainSpec: "a.example.com."},
	}
	if len(rec.Directives) != len(want) {
		t.Fatalf("%d directives", len(rec.Directives))
	}
	for i, d := range rec.Directives {
		if d.Mechanism == MechanismIP4 && d.Network.String() != "192.0.2.0/24" {
			t.Errorf("network is %s", d.Network)
		}
		if d.Text != want[i].Text || d.Qualifier != want[i].Qualifier || d.Mechanism != want[i].Mechanism ||
			d.DomainSpec != want[i].DomainSpec || d.Bits4 != want[i].Bits4 || d.Bits6 != want[i].Bits6 {
			t.Errorf("directive %d is %+v", i, d)
		}
	}
	if rec.Redirect == nil || rec.Redirect.Value != "b.example.com" || rec.Exp == nil || rec.Exp.Value != "c.example.com" {
		t.Errorf("redirect %+v, exp %+v", rec.Redirect, rec.Exp)
	}
	if len(rec.Unknown) != 1 || rec.Unknown[0].Name != "x.y-z_1" || rec.Unknown[0].Value != "%{c}/:=" {
		t.Errorf("unknown modifiers %+v", rec.Unknown)
	}
}

func TestParseRecordTerms(t *testing.T) {
	for _, tc := range []struct {
		term string
		ok   bool
		why  string
	}{
		{"a:b/c.example.com/24", true, "a slash may be part of the domain"},
		{"a:b/24.example.com", true, "and so may what looks like a prefix length"},
		{"a:%{d/}", true, "a slash as delimiter"},
		{"a:%{d/}/24", true, "then a prefix length"},
		{"a/0", true, "the shortest"},
		{"a//0", true, "for IPv6 alone"},
		{"a/32//128", true, "the longest"},
		{"a/", false, "a slash alone"},
		{"a//", false, "two slashes alone"},
		{"a/24/64", false, "one slash for IPv6 is too few"},
		{"a///64", false, "three are too many"},
		{"a/024", false, "leading zero (RFC 7208 §12)"},
		{"a/33", false, "over 32"},
		{"a/00", false, "leading zero of two digits"},
		{"a//09", false, "and for IPv6"},
		{"a/18446744073709551648", false, "would be 32 in 64 bits"},
		{"exists:%xd}.example.com", false, "a macro without its opening brace"},
		{"a//129", false, "over 128"},
		{"a/4294967328", false, "would be 32 in 32 bits"},
		{"a24", false, "no slash"},
		{"a:", false, "no domain"},
		{"a:example.com:25", false, "a port"},
		{"a:museum", false, "only a top label"},
		{"a:.museum", true, "the grammar has nothing against it"},
		{"a:192.0.2.1", false, "an address"},
		{"a:example.c-m", true, "inner hyphen"},
		{"a:example.1-2", true, "digits with a hyphen are not a number (RFC 7208 §7.1)"},
		{"a:example.com-", false, "hyphen at the end"},
		{"a:example.-com", false, "hyphen at the beginning"},
		{"a:example.c_m", false, "underscore in the top label"},
		{"a:example.com..", false, "two dots at the end"},
		{"a:%{d}com", false, "the literal at the end has no dot"},
		{"a:example%-", true, "ends in a macro-expand (RFC 7208 §7.1)"},
		{"a:%{d}.com", true, "macro and top label"},
		{"ptr/24", false, "ptr has no prefix length"},
		{"ptr", true, "the domain is optional"},
		{"mx:%{d}//64", true, "macro and prefix length"},
		{"include", false, "needs a domain"},
		{"include:a.example/24", false, "has no prefix length"},
		{"exists", false, "needs a domain"},
		{"all:", false, "no argument"},
		{"all.", false, "the dot is part of the name"},
		{"ip4:192.0.2", false, "short address"},
		{"ip4:192.0.2.0/", false, "no length"},
		{"ip4:192.0.2.0//24", false, "no IPv6 length"},
		{"ip4:2001:db8::1", false, "wrong family"},
		{"ip4:192.0.2.01", false, "leading zero"},
		{"ip4=192.0.2.1", true, "an unknown modifier, ignored"},
		{"ip6:2001:db8::/32", true, ""},
		{"ip6:192.0.2.1", false, "wrong family"},
		{"ip6:fe80::1%eth0", false, "a zone is nothing to publish"},
		{"ip6:::ffff:192.0.2.1/96", true, "a mapped network matches no client"},
		{"ip7:1", false, "unknown mechanism"},
		{"-", false, "a qualifier alone"},
		{"--all", false, "two qualifiers"},
		{"!all", false, "no such qualifier"},
		{"+exp=a.example", false, "modifiers have no qualifier"},
		{"redirect:a.example", false, "a modifier written as a mechanism"},
		{"redirect=a.example/24", false, "no prefix length"},
		{"redirect=", false, "empty"},
		{"exp=", false, "empty"},
		{"exp=%{c}.example.com", false, "letters for explanations only (RFC 7208 §7.2)"},
		{"foo=%{c}%{r}%{t}", true, "an unknown modifier may give them a meaning"},
		{"foo=%{x}", false, "an unknown letter is an error even there (RFC 7208 §12)"},
		{"foo=", true, "an empty value"},
		{"foo.bar", false, "neither"},
		{"=foo", false, "no name"},
		{"1up=foo", false, "names begin with a letter"},
		{"exists:%{l}", true, ""},
		{"exists:%{}", false, "no letter"},
		{"exists:%{ l}", false, "space ends the term"},
		{"exists:%{l.x}", false, "bad delimiter"},
		{"exists:%{lr2}", false, "transformers in the wrong order"},
		{"exists:%{l0}", false, "zero parts"},
		{"exists:%{l00r}", false, "zero parts"},
		{"exists:%{L128R-+,/_=.}", true, "everything at once"},
		{"exists:%{1}", false, "no letter"},
		{"exists:%{\x0c}", false, "an octet that only lower case could make a letter"},
		{"exists:%(l).example.com", false, "wrong bracket"},
		{"exists:a%", false, "percent at the end"},
		{"exists:%{l.example.com", false, "not closed"},
		{"exists:caf\xc3\xa9.example.com", false, "not ASCII"},
		{"exists:a\x00.example.com", false, "NUL"},
		{"exists:a\x7f.example.com", false, "DEL"},
		{"\ta", false, "a tab is not a space"},
	} {
		_, err := ParseRecord("v=spf1 " + tc.term + " -all")
		if (err == nil) != tc.ok {
			t.Errorf("%q (%s): %v", tc.term, tc.why, err)
		}
	}
}

func TestParseRecordErrors(t *testing.T) {
	for text, want := range map[string]error{
		"":             ErrNotSPF,
		"v=spf":        ErrNotSPF,
		"v=spf10":      ErrNotSPF,
		"v=spf1\t-all": ErrNotSPF,
		" v=spf1 -all": ErrNotSPF,
		"v=spf1 " + strings.Repeat(" ", MaxRecordLen): ErrRecordTooLong,
	} {
		if _, err := ParseRecord(text); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	_, err := ParseRecord("v=spf1 mx  a:museum -all")
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset != 11 || syntax.Term != "a:museum" {
		t.Fatalf("got %v", err)
	}
	const message = `spf: syntax error at octet 11 in "a:museum": domain ends in neither a macro nor a dot and a top label`
	if err.Error() != message {
		t.Errorf("got %s", err)
	}
}

func TestSyntaxErrorQuotesSafely(t *testing.T) {
	_, err := ParseRecord("v=spf1 \x1b[2Jcaf\xc3\xa9\r\n" + strings.Repeat("x", 5000))
	if err == nil {
		t.Fatal("no error")
	}
	if msg := err.Error(); len(msg) > 500 || !printable.IsPlain(msg) {
		t.Errorf("a stranger's octets reach the message: %q", msg)
	}
}

// TestPrefixLengthReasons checks that a prefix length of more than three digits is not
// read as a number.
func TestPrefixLengthReasons(t *testing.T) {
	for term, want := range map[string]string{
		"a/999": "prefix length over 32", "a/1000": "malformed prefix length", "a//999": "prefix length over 128", "a//1000": "malformed prefix length",
	} {
		_, err := ParseRecord("v=spf1 " + term)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Reason != want {
			t.Errorf("%s: %v, want %s", term, err, want)
		}
	}
}
