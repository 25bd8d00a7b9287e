package bimi

import (
	"strings"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// TestUnfinished checks the results of messages for which nothing was found out.
func TestUnfinished(t *testing.T) {
	for _, reason := range []string{ReasonTime, ReasonInternal} {
		e := Unfinished(reason)
		if e.Result != TempError || e.Reason != reason || len(e.Checks) != 1 || e.Checks[0].OK || e.Checks[0].Word != "dns" {
			t.Errorf("%s: %+v", reason, e)
		}
		if _, ok := e.Query(); ok {
			t.Errorf("%s: a question is left", reason)
		}
	}
	a := Unfetched{}.Find(t.Context(), Query{Domain: "shop.example"})
	if a.Result != Skipped || a.Reason != ReasonNotFetched || a.Authority != AuthorityNone || a.Mark != nil || len(a.Checks) != 1 || a.Checks[0].OK {
		t.Errorf("not fetched: %+v", a)
	}
}

// TestQuestion checks that an Indicators is told everything that the record and the author say.
func TestQuestion(t *testing.T) {
	c := evaluation{zone: enforced + "default._bimi.news.shop.example TXT \"v=BIMI1; l=https://shop.example/l; a=https://shop.example/a\"",
		from: "a@news.shop.example", dkim: []dkim.Signature{signed("shop.example")}}
	e := c.run(t, nameserver.Zone(t, c.zone))
	want := Query{Domain: "news.shop.example", Selector: "default", Organization: "shop.example",
		Location: "https://shop.example/l", Evidence: "https://shop.example/a"}
	if q, ok := e.Query(); !ok || q != want {
		t.Errorf("%+v, %t, want %+v", q, ok, want)
	}
}

// TestChecksSayWhatToChange checks the sentence about a record that cannot be used: it names the record
// and the mistake, and not the package.
func TestChecksSayWhatToChange(t *testing.T) {
	for text, want := range map[string]string{
		`"v=BIMI1; l=http://shop.example/x"`: "the record at default._bimi.shop.example: l= is not an https URI",
		`"v=BIMI1; a=x"`:                     "the record at default._bimi.shop.example: the tag l= is missing",
	} {
		c := evaluation{zone: enforced + "default._bimi.shop.example TXT " + text, dkim: []dkim.Signature{signed("shop.example")}}
		e := c.run(t, nameserver.Zone(t, c.zone))
		if last := e.Checks[len(e.Checks)-1]; last.Detail != want || last.OK || e.Result != Fail {
			t.Errorf("%s: %+v, want %q", text, last, want)
		}
	}
}

// TestRecordBounds checks the limits of a record and its URIs at their edges.
func TestRecordBounds(t *testing.T) {
	const head = "v=BIMI1; l=; x="
	for octets, want := range map[int]bool{maxRecordLen - 1: true, maxRecordLen: true, maxRecordLen + 1: false} {
		if _, err := ParseRecord(head + strings.Repeat("x", octets-len(head))); (err == nil) != want {
			t.Errorf("a record of %d octets: %v", octets, err)
		}
	}
	for uri, want := range map[string]string{
		"https:/":                       "is not an https URI",
		"https://":                      "has an address in place of a host name",
		"HTTPS://Shop.Example/":         "",
		"httpx://shop.example/":         "is not an https URI",
		"https://shop.example":          "",
		"https://shop.example/a@b":      "",
		"https://shop.example?a@b":      "",
		"https://shop.example/[a]:8443": "",
		"https://a@shop.example":        "has a user name",
		"https://shop.example[1]/":      "has an address in place of a host name",
		"https://shop.example#x":        "has a fragment",
		"https://shop.example:443":      "",
		"https://shop.example:444":      "has another port than 443",
		"https://shop.example:":         "has another port than 443",
		"https://shop.0x7f/":            "has an address in place of a host name",
		"https://shop.0X7F/":            "has an address in place of a host name",
		"https://shop.0x/":              "has an address in place of a host name",
		"https://shop.0xfg/":            "",
		"https://shop.1/":               "has an address in place of a host name",
		"https://shop.1a/":              "",
		"https://shop.example/\x7f":     "has a character that no URI may have",
		"https://shop.example/ ":        "has a character that no URI may have",
		"https://shop.example/" + strings.Repeat("x", maxURILen-len("https://shop.example/")):   "",
		"https://shop.example/" + strings.Repeat("x", maxURILen-len("https://shop.example/")+1): "has more than 2048 octets",
	} {
		if got := checkURI(uri); got != want {
			t.Errorf("%.40s: %q, want %q", uri, got, want)
		}
	}
}

// TestIsRecord checks which texts are records of this version.
func TestIsRecord(t *testing.T) {
	for text, want := range map[string]bool{
		"v=BIMI1": true, "v=BIMI1;": true, "v \t=\tBIMI1 ;l=": true, "v=BIMI1 x": false, "v": false, "vBIMI1": false, "v;=BIMI1": false,
		"BIMI1": false, "=BIMI1": false, "vv=BIMI1": false, " v=BIMI1": false, "v=BIMI": false, "v=BIMI1=": false, "v\n=BIMI1": false,
	} {
		if got := isRecord(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// TestSelectorBounds checks the characters and lengths of selectors at their edges.
func TestSelectorBounds(t *testing.T) {
	label := func(n int) string { return strings.Repeat("x", n) }
	for s, want := range map[string]bool{
		"a": true, "z": true, "A": true, "Z": true, "0": true, "9": true, "a-b": true, "a.b": true, "a--b": true,
		"": false, ".": false, "-": false, "a-.b": false, "a.-b": false, "a..b": false,
		"`": false, "{": false, "@": false, "[": false, "/": false, ":": false, "_": false, "a b": false,
		label(dns.MaxLabelLen):                                    true,
		label(dns.MaxLabelLen + 1):                                false,
		"a." + label(dns.MaxLabelLen):                             true,
		"a." + label(dns.MaxLabelLen+1):                           false,
		strings.Repeat("x.", (dns.MaxNameLen-1)/2) + label(1):     true,
		strings.Repeat("x.", (dns.MaxNameLen-1)/2) + label(2):     false,
		strings.Repeat("x.", (dns.MaxNameLen-1)/2-1) + label(1+1): true,
	} {
		if got := isSubdomain(s); got != want {
			t.Errorf("%q (%d octets): %t", s, len(s), got)
		}
		if got := ParseSelector(" v=BIMI1; s=" + s); (got != "") != want {
			t.Errorf("field with %q: %q", s, got)
		}
	}
	const field = " v=BIMI1; s=a; x="
	for octets, want := range map[int]string{maxSelectorField - 1: "a", maxSelectorField: "a", maxSelectorField + 1: ""} {
		if got := ParseSelector(field + strings.Repeat("x", octets-len(field))); got != want {
			t.Errorf("a field of %d octets: %q", octets, got)
		}
	}
	for local, want := range map[string]string{
		"a" + strings.Repeat(".", 2*dns.MaxLabelLen-1): "a",
		"a" + strings.Repeat(".", 2*dns.MaxLabelLen):   "",
		label(dns.MaxLabelLen) + ".":                   label(dns.MaxLabelLen),
		label(dns.MaxLabelLen) + ".x":                  "",
		"-a":                                           "a", "a-": "a", "a.-_b": "a-b", "a+": "a", "+": "", "": "", "-": "", "a/b": "", "a:b": "", "a@b": "", "a[b": "", "a`b": "", "a{b": "",
	} {
		if got := LocalPartSelector(local); got != want {
			t.Errorf("local part %q: %q, want %q", local, got, want)
		}
	}
}

// TestCutAnywhere checks that no text makes the parsers look beyond its end.
func TestCutAnywhere(t *testing.T) {
	for _, sample := range []string{
		"v=BIMI1; l=https://shop.example:443/logo.svg?a=%20; a=https://shop.example/vmc.pem; avp=brand; lps=a,b-",
		" v=BIMI1;\r\n s=a.b-c;", "https://[::1]:443/#x", "https://0x7f.1./",
	} {
		for n := range len(sample) + 1 {
			text := sample[:n]
			_, _ = ParseRecord(text)
			_ = ParseSelector(text)
			_ = checkURI(text)
			_ = LocalPartSelector(text)
			_, _ = (&Record{ByLocalPart: true, Prefixes: text}).wants("shop.news")
		}
	}
}

// TestPreference checks the values of avp=, and that a record that declines has nothing else.
func TestPreference(t *testing.T) {
	for text, want := range map[string]Record{
		"v=BIMI1; l=https://shop.example/x; avp=brand":    {Location: "https://shop.example/x", Preference: PreferBrand},
		"v=BIMI1; l=https://shop.example/x; avp=BRAND":    {Location: "https://shop.example/x", Preference: PreferBrand},
		"v=BIMI1; l=https://shop.example/x; avp=personal": {Location: "https://shop.example/x", Preference: PreferPersonal},
		"v=BIMI1; l=https://shop.example/x; avp=":         {Location: "https://shop.example/x"},
		"v=BIMI1; l=; a=; avp=brand; lps=a":               {Declines: true},
	} {
		if got, err := ParseRecord(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// TestBadFields checks fields and lists that have a mistake beside a good selector.
func TestBadFields(t *testing.T) {
	for _, field := range []string{" v=BIMI1; s=a; x", " v=BIMI1; s=a; =y", " v=BIMI1; s=a; x=1; x=2"} {
		if got := ParseSelector(field); got != "" {
			t.Errorf("%q: %q", field, got)
		}
	}
	for prefixes, want := range map[string]bool{"": true, ",": true, " ,\t,": true, ",x": false, "x,": false, "x,,n": true} {
		if _, ok := (&Record{ByLocalPart: true, Prefixes: prefixes}).wants("news"); ok != want {
			t.Errorf("lps=%q: %t", prefixes, ok)
		}
	}
}

// TestEmptyMark checks that a mark without a picture has no indicator, and that a prepared one keeps its own.
func TestEmptyMark(t *testing.T) {
	if got := (&Mark{}).Indicator(); got != "" {
		t.Errorf("%q", got)
	}
	m := (&Mark{SVG: []byte("<svg/>")}).Prepared()
	if m.SVG = []byte("<other/>"); m.Indicator() != (&Mark{SVG: []byte("<svg/>")}).Indicator() || m.Hash() != (&Mark{SVG: []byte("<svg/>")}).Hash() {
		t.Error("what was prepared is computed again")
	}
}

// TestSeveralSelectors checks that nothing is asked for a message with several BIMI-Selector fields.
func TestSeveralSelectors(t *testing.T) {
	c := evaluation{zone: brand, selectors: []string{" v=BIMI1; s=x", " v=BIMI1; s=y"}, dkim: []dkim.Signature{signed("shop.example", "bimi-selector")}}
	z := nameserver.Zone(t, c.zone)
	if e := c.run(t, z); e.Result != Fail || e.Reason != ReasonSeveralSelectors {
		t.Errorf("%s %s", e.Result, e.Reason)
	}
	for _, q := range z.Queries() {
		if strings.Contains(q, "_bimi") {
			t.Errorf("asked %s", q)
		}
	}
}
