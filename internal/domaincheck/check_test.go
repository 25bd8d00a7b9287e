package domaincheck

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report/destination"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// good is a domain without a fault.
const good = `
a.example MX 10 mx.a.example
mx.a.example A 192.0.2.1
a.example TXT "v=spf1 mx -all"
_dmarc.a.example TXT "v=DMARC1; p=reject; rua=mailto:rua@a.example"
`

// without returns good with one line replaced. The line is the first that begins with the prefix.
func without(prefix, replacement string) string {
	var out []string
	for _, line := range strings.Split(good, "\n") {
		if prefix != "" && strings.HasPrefix(line, prefix) {
			line, prefix = replacement, ""
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

const (
	spfLine   = "a.example TXT"
	dmarcLine = "_dmarc.a.example"
	mxLine    = "a.example MX"
)

func spfIs(record string) string   { return without(spfLine, `a.example TXT "`+record+`"`) }
func dmarcIs(record string) string { return without(dmarcLine, `_dmarc.a.example TXT "`+record+`"`) }

func include(n int) (record, zone string) {
	record = "v=spf1"
	for i := range n {
		record += fmt.Sprintf(" include:i%d.example", i)
		zone += fmt.Sprintf("i%d.example TXT \"v=spf1 -all\"\n", i)
	}
	return record + " -all", zone
}

func TestFaults(t *testing.T) {
	ten, tenZone := include(10)
	eleven, elevenZone := include(11)
	hosts := ""
	for i := range 11 {
		hosts += fmt.Sprintf("many.example MX 10 h%d.example\nh%d.example A 192.0.2.9\n", i, i)
	}
	short := `MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL51Pj0oLPcYyTAnpIQVbGMYlYNYuDTDm2p5nL0BQ6xXcnMqvMLWyT4LTHmqjCpbAx6q5pbgUk6JJYHDfXhW0RUCAwEAAQ==`
	small := `MIGJAoGBALVI635dLK4cJJAH3Lx6upo3X/Lm1tQz3mezcWTA3BUBnyIsdnRf57aD5BtNmhPrYYDlWlzw3UgnKisIxktkk5+iMQMlFtAS10JB8L3YadXNJY+JBcbeSi5TgJe4WFzNgW95FWDAuSTRXSWZfA/8xjflbTLDx0euFZOM7C4T0GwLAgMBAAE=`
	ed := `11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=`
	key := func(text string) string { return good + `s._domainkey.a.example TXT "` + text + `"` }
	for _, tt := range []struct {
		reason, zone string
		want         []Word
	}{
		{"nothing is wrong", good, nil},
		{"the domain does not exist", "b.example A 192.0.2.1", []Word{DomainMissing}},

		{"no MX, but an address", without(mxLine, "a.example A 192.0.2.1"), []Word{MXNone}},
		{"neither, so that reports to it are undeliverable", without(mxLine, ""), []Word{MXNone, RUAUndeliverable}},
		{"null MX, and reports to it", without(mxLine, "a.example MX 0 ."), []Word{RUAUndeliverable}},
		{"null MX and another", good + "a.example MX 0 .", []Word{MXNullNotOnly}},
		{"an address as MX", without(mxLine, "a.example MX 10 192.0.2.7"), []Word{MXAddress}},
		{"an MX host without address", good + "a.example MX 20 gone.example", []Word{MXHostMissing}},
		{"an MX host that is an alias", good + "a.example MX 20 x.example\nx.example CNAME mx.a.example", []Word{MXHostAlias}},

		{"no SPF record", without(spfLine, ""), []Word{SPFNone}},
		{"no version, but spf1", spfIs("spf1 mx -all"), []Word{SPFNotARecord}},
		{"a space before it", spfIs(" v=spf1 mx -all"), []Word{SPFNotARecord}},
		{"a semicolon as in DMARC", spfIs("v=spf1; mx -all"), []Word{SPFNotARecord}},
		{"two records", good + `a.example TXT "v=spf1 -all"`, []Word{SPFMultiple}},
		{"a mistake in a term", spfIs("v=spf1 ipv4:192.0.2.1 -all"), []Word{SPFSyntax}},
		{"eleven lookups", spfIs(eleven) + "\n" + elevenZone, []Word{SPFLookupLimit}},
		{"ten lookups", spfIs(ten) + "\n" + tenZone, []Word{SPFNearLimit}},
		{"three void lookups", spfIs("v=spf1 a:x.example a:y.example a:z.example -all"), []Word{SPFVoidLimit}},
		{"void lookups for IPv6 only", spfIs("v=spf1 a:x.example a:y.example a:z.example -all") +
			"\nx.example A 192.0.2.1\ny.example A 192.0.2.1\nz.example A 192.0.2.1", []Word{SPFVoidLimit}},
		{"eleven hosts", spfIs("v=spf1 mx:many.example -all") + "\n" + hosts, []Word{SPFMXLimit}},
		{"an include without record", spfIs("v=spf1 include:gone.example -all"), []Word{SPFIncludeNone}},
		{"a redirect without record", spfIs("v=spf1 redirect=gone.example"), []Word{SPFRedirectNone}},
		{"an include that is a circle of aliases", spfIs("v=spf1 include:c.example -all") + "\nc.example CNAME d.example\nd.example CNAME c.example", []Word{SPFUnusableDNS}},
		{"+all", spfIs("v=spf1 +all"), []Word{SPFPassAll}},
		{"every IPv4 address", spfIs("v=spf1 ip4:0.0.0.0/0 -all"), []Word{SPFPassAll}},
		{"?all", spfIs("v=spf1 mx ?all"), []Word{SPFNeutral}},
		{"no all", spfIs("v=spf1 mx"), []Word{SPFNeutral}},
		{"ptr", spfIs("v=spf1 ptr:other.example -all"), []Word{SPFPTR}},
		{"a mechanism with =", spfIs("v=spf1 ip4=192.0.2.1 -all"), []Word{SPFUnknownModifier}},
		{"a real unknown modifier", spfIs("v=spf1 mx ra=postmaster -all"), nil},
		{"a term after all", spfIs("v=spf1 -all mx"), []Word{SPFAfterAll}},

		{"no DMARC record", without(dmarcLine, ""), []Word{DMARCNone}},
		{"the parent's record counts", without(dmarcLine, `_dmarc.example TXT "v=DMARC1; p=reject; psd=y"`), nil},
		{"no semicolon", dmarcIs("v=DMARC1 p=none"), []Word{DMARCNotARecord}},
		{"lower case", dmarcIs("v=dmarc1; p=none"), []Word{DMARCNotARecord}},
		{"two records", good + `_dmarc.a.example TXT "v=DMARC1; p=none"`, []Word{DMARCMultiple}},
		{"a tag twice", dmarcIs("v=DMARC1; p=none; p=reject"), []Word{DMARCMalformed}},
		{"no policy, but rua", dmarcIs("v=DMARC1; rua=mailto:rua@a.example"), []Word{DMARCInvalidPolicy}},
		{"no policy at all", dmarcIs("v=DMARC1; p=block"), []Word{DMARCInvalidPolicy}},
		{"a tag that is wrong", dmarcIs("v=DMARC1; p=reject; adkim=x; rua=mailto:rua@a.example"), []Word{DMARCInvalidTag}},
		{"a circle of aliases", without(dmarcLine, "_dmarc.a.example CNAME e.example\ne.example CNAME _dmarc.a.example"), []Word{DMARCUnusableDNS}},
		{"pct=50", dmarcIs("v=DMARC1; p=reject; pct=50; rua=mailto:rua@a.example"), []Word{DMARCHistoric}},
		{"pct=100 does no harm", dmarcIs("v=DMARC1; p=reject; pct=100; rua=mailto:rua@a.example"), nil},
		{"pct without a value says nothing", dmarcIs("v=DMARC1; p=reject; rua=mailto:rua@a.example; pct"), nil},
		{"p=none", dmarcIs("v=DMARC1; p=none; rua=mailto:rua@a.example"), []Word{DMARCMonitors}},
		{"p=none beside sp that is not valid", dmarcIs("v=DMARC1; p=none; sp=block; np=none; rua=mailto:rua@a.example"), []Word{DMARCInvalidPolicy}},
		{"t=y", dmarcIs("v=DMARC1; p=reject; t=y; rua=mailto:rua@a.example"), []Word{DMARCTesting}},
		{"no rua", dmarcIs("v=DMARC1; p=reject"), []Word{DMARCNoRUA}},
		{"sp=none", dmarcIs("v=DMARC1; p=reject; sp=none; rua=mailto:rua@a.example"), []Word{DMARCSubdomains}},
		{"np milder", dmarcIs("v=DMARC1; p=reject; np=quarantine; rua=mailto:rua@a.example"), []Word{DMARCSubdomains}},
		{"sp stricter", dmarcIs("v=DMARC1; p=quarantine; sp=reject; np=quarantine; rua=mailto:rua@a.example"), nil},
		{"np=none", dmarcIs("v=DMARC1; p=quarantine; sp=quarantine; np=none; rua=mailto:rua@a.example"), []Word{DMARCSubdomains}},
		{"reports to a stranger", dmarcIs("v=DMARC1; p=reject; rua=mailto:r@reports.test"), []Word{RUAUnverified}},
		{"reports to one who agreed", dmarcIs("v=DMARC1; p=reject; rua=mailto:r@reports.test") +
			"\na.example._report._dmarc.reports.test TXT \"v=DMARC1\"\nreports.test MX 10 mx.a.example", nil},
		{"reports to a web page", dmarcIs("v=DMARC1; p=reject; rua=https://a.example/rua"), []Word{RUAUnusable}},
		{"reports to nowhere", dmarcIs("v=DMARC1; p=reject; rua=mailto:r@no.a.example") + "\nno.a.example MX 0 .", []Word{RUAUndeliverable}},

		{"a usual key", key("v=DKIM1; k=ed25519; p=" + ed), nil},
		{"no key", key("hello"), []Word{KeyMissing}},
		{"a broken key", key("v=DKIM1; p=!!"), []Word{KeySyntax}},
		{"two keys", key("v=DKIM1; k=ed25519; p="+ed) + "\n" + `s._domainkey.a.example TXT "v=DKIM1; k=ed25519; n=b; p=` + ed + `"`, []Word{KeySeveral}},
		{"a revoked key", key("v=DKIM1; p="), []Word{KeyRevoked}},
		{"a key for something else", key("v=DKIM1; s=tlsrpt; k=ed25519; p=" + ed), []Word{KeyUnusable}},
		{"512 bits", key("v=DKIM1; p=" + short), []Word{KeyShort}},
		{"1024 bits", key("v=DKIM1; p=" + small), []Word{KeySmall}},
		{"t=y", key("v=DKIM1; t=y; k=ed25519; p=" + ed), []Word{KeyTesting}},

		{"a BIMI record", good + `default._bimi.a.example TXT "v=BIMI1; l=https://a.example/l.svg; a=https://a.example/c.pem"`, nil},
		{"a BIMI record without a certificate", good + `default._bimi.a.example TXT "v=BIMI1; l=https://a.example/l.svg"`, []Word{BIMINoCertificate}},
		{"a BIMI record that declines", good + `default._bimi.a.example TXT "v=BIMI1; l=; a="`, nil},
		{"a BIMI record that cannot be used", good + `default._bimi.a.example TXT "v=BIMI1; l=http://a.example/l.svg"`, []Word{BIMISyntax}},
		{"a BIMI record without a picture", good + `default._bimi.a.example TXT "v=BIMI1; a=https://a.example/c.pem"`, []Word{BIMISyntax}},
		{"BIMI in lower case", good + `default._bimi.a.example TXT "v=bimi1; l=https://a.example/l.svg"`, []Word{BIMINotARecord}},
		{"two BIMI records", good + "default._bimi.a.example TXT \"v=BIMI1; l=\"\ndefault._bimi.a.example TXT \"v=BIMI1; l=https://a.example/l.svg\"", []Word{BIMIMultiple}},
		{"BIMI with p=none", dmarcIs("v=DMARC1; p=none; rua=mailto:rua@a.example") + "\ndefault._bimi.a.example TXT \"v=BIMI1; l=https://a.example/l.svg\"",
			[]Word{DMARCMonitors, BIMINotEnforcing, BIMINoCertificate}},
	} {
		var selectors []dns.Name
		if strings.Contains(tt.zone, "s._domainkey") {
			selectors = []dns.Name{"s"}
		}
		r := Check(t.Context(), nameserver.Zone(t, tt.zone), "a.example", selectors, Options{Now: time.Unix(1e9, 0)})
		var got []Word
		for _, f := range r.Faults {
			got = append(got, f.Word)
			if f.Section == "" || f.Do == "" || f.Text == "" || strings.Contains(f.Do+f.Text, "%!") {
				t.Errorf("%s: %+v", tt.reason, f)
			}
		}
		if !slices.Equal(got, tt.want) || len(r.Unknown) > 0 {
			t.Errorf("%s: %v, want %v; unknown %q", tt.reason, got, tt.want, r.Unknown)
		}
		wantPass := !slices.ContainsFunc(tt.want, func(w Word) bool { return w.Grade() != Weak })
		if r.Passed() != wantPass {
			t.Errorf("%s: passed %v", tt.reason, r.Passed())
		}
	}
}

// TestMail checks how a domain takes mail, and the order of its hosts.
func TestMail(t *testing.T) {
	for _, tt := range []struct{ zone, want string }{
		{good, "mx [mx.a.example]"},
		{good + "a.example MX 5 z.a.example\na.example MX 10 b.a.example\na.example MX 20 a.a.example", "mx [z.a.example b.a.example mx.a.example a.a.example]"},
		{without(mxLine, "a.example MX 0 ."), "null []"},
		{good + "a.example MX 0 .", "mx [ mx.a.example]"},
		{without(mxLine, "a.example A 192.0.2.1"), "address []"},
		{without(mxLine, ""), "none []"},
		{good + "! a.example MX servfail", " []"},
	} {
		r := Check(t.Context(), nameserver.Zone(t, tt.zone), "a.example", nil, Options{Now: time.Unix(1e9, 0)})
		var names []dns.Name
		for _, h := range r.MX {
			names = append(names, h.Name)
		}
		if got := fmt.Sprintf("%s %v", r.Mail, names); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestLongSelector: a key whose name would be too long for DNS is missing, and is not asked for.
func TestLongSelector(t *testing.T) {
	for n, named := range map[int]bool{115: true, 116: false} { // 253 octets are the most: here they are 252, and 254
		r := Check(t.Context(), nameserver.Zone(t, good), "a.example", []dns.Name{dns.Name(strings.Repeat("a.", n) + "a")}, Options{Now: time.Unix(1e9, 0)})
		if len(r.Keys) != 1 || (r.Keys[0].Name != "") != named || len(r.Faults) != 1 || r.Faults[0].Word != KeyMissing {
			t.Errorf("%d labels: %+v, %+v", n+1, r.Keys, r.Faults)
		}
	}
}

// TestNeedsLookup checks the terms that count towards the limit of SPF.
func TestNeedsLookup(t *testing.T) {
	for term, want := range map[string]bool{"include:x.example": true, "a": true, "+A/24": true, "-mx": true, "mx:x.example": true, "?ptr": true, "~exists:x.example": true,
		"all": false, "ip4:192.0.2.1": false, "amx": false, "mxa": false, "redirect=x.example": false, "exp=a": false, "a=b": false} {
		if needsLookup(term) != want {
			t.Errorf("%s: %v", term, !want)
		}
	}
	for reason, want := range map[spf.Reason]Word{spf.ReasonDNSLoop: SPFUnusableDNS, spf.ReasonDNSTooLarge: SPFUnusableDNS, spf.ReasonRecordTooLong: SPFTooLong} {
		if wordOf[reason] != want {
			t.Errorf("%s: %s", reason, wordOf[reason])
		}
	}
}

// TestUnknown checks that a DNS failure is neither a fault nor a pass.
func TestUnknown(t *testing.T) {
	for _, name := range []string{"a.example MX", "a.example TXT", "_dmarc.a.example *", "default._bimi.a.example *", "mx.a.example *", "s._domainkey.a.example *"} {
		r := Check(t.Context(), nameserver.Zone(t, good+"s._domainkey.a.example TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n! "+name+" servfail"),
			"a.example", []dns.Name{"s"}, Options{Now: time.Unix(1e9, 0)})
		if len(r.Unknown) == 0 || r.Passed() || len(r.Faults) > 0 {
			t.Errorf("%s: unknown %q, passed %v, faults %v", name, r.Unknown, r.Passed(), r.Faults)
		}
	}
}

// TestText looks at the whole output once.
func TestText(t *testing.T) {
	record, zone := include(2)
	z := spfIs(strings.Replace(record, " -all", " redirect=r.example", 1)) + "\n" + zone + "r.example TXT \"v=spf1 a:mx.a.example include:i0.example ~all\"\n" +
		"s._domainkey.a.example TXT \"v=DKIM1; t=s:y; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n"
	var b strings.Builder
	r := Check(t.Context(), nameserver.Zone(t, z), "a.example", []dns.Name{"s"}, Options{Now: time.Unix(1e9, 0)})
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	const want = `a.example

Mail servers
  10 mx.a.example  192.0.2.1

SPF
  v=spf1 include:i0.example include:i1.example redirect=r.example
  lookups: 5 of 10; lookups that found nothing: 0 of 2
     1  include:i0.example
     1  include:i1.example
     3  redirect=r.example
  any other client: softfail

DMARC
  asked _dmarc.a.example: record
  v=DMARC1; p=reject; rua=mailto:rua@a.example (its own)
  mail of a.example that fails: reject
  reports to mailto:rua@a.example (at the policy domain itself)

Keys
  s: ed25519, 256 bits, t=y: the domain is testing, t=s: not for subdomains

Found
  weak     the key at s._domainkey.a.example has t=y (key_testing; RFC 6376 section 3.6.1)
           -> take out t=y; with it, receivers treat a signature that fails as if there were none
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

const rsa2048 = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAz46KXbkRrzBwJ1NX1L55oA4/n16joiNzXq14Dv+KMjqVotooskoGgsajloLrIys0X39lA0EwuPlTnBW5etnSr8v2P/Dj9NO7PR3I6ZYp86tCQ/Gx44r0ceE4jhrkhgtX2LInI5IBEw4Rbwi3hFnv5VUoY9gBEeBf2IqVZzcYfOu6eYlbkvluEQ0TAAwydlS3yXGbx6fQEVkBHXSzHzBC2Xst9eBA8/5SAyCXCsaiA28b3s180zvBiGt2x0swILpcUxPDa0+Wp/5/LLo4IC/8Up6e59fpL7EdafqkpJICMmrSwbuvw0I52Ae6PgoyGBFCOl3qMJDRikmbOhFwQSQb4QIDAQAB"

// TestReports compares whole reports, as text and as JSON, with testdata/reports.txt.
func TestReports(t *testing.T) {
	const ed = "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	long := dns.Name(strings.Repeat("a.", 120) + "example") // 247 octets: no room for _dmarc
	var rua []string
	for i := range destination.MaxDestinations + 1 {
		rua = append(rua, fmt.Sprintf(",mailto:r%d@a.example", i))
	}
	worlds := []struct {
		reason, domain, selectors, zone string
	}{
		{"a mail server with an IPv6 address", "a.example", "s", good + "mx.a.example AAAA 2001:db8::1\ns._domainkey.a.example TXT \"v=DKIM1; " + ed + "\""},
		{"no domain", "b.example", "s", good},
		{"an address instead of an MX record", "a.example", "", without(mxLine, "a.example AAAA 2001:db8::1")},
		{"no mail, but nothing says so", "a.example", "", without(mxLine, "")},
		{"a null MX", "a.example", "", without(mxLine, "a.example MX 0 .")},
		{"a null MX before two others", "a.example", "", "a.example MX 0 .\na.example MX 20 192.0.2.7" + good},
		{"nothing but an MX record", "a.example", "s", "a.example MX 10 a.example\na.example A 192.0.2.1"},
		{"nothing is answered", "a.example", "s", "! default._bimi * servfail\n! a.example * servfail\n! _dmarc.a.example * timeout\n! default._bimi.a.example * refused\n! s._domainkey.a.example TXT servfail"},
		{"the domain above is not answered", "a.example", "", good + "! _dmarc.example * servfail\n! mx.a.example A timeout\n! mx.a.example AAAA refused"},
		{"no policy, and the domains above are not answered", "x.a.example", "", "x.a.example MX 0 .\n! _dmarc.a.example * servfail\n! _dmarc.example * timeout"},
		{"the answer of the domain above is a circle", "a.example", "", good + "_dmarc.example CNAME _dmarc.example"},

		{"text that is no SPF record", "a.example", "", spfIs("hello") + "\na.example TXT \"v =    spf1 mx\""},
		{"text that is hardly an SPF record", "a.example", "", spfIs("\\009\\034' v = s p f 1 mx")},
		{"an attempt with so many spaces is no attempt", "a.example", "", spfIs("v     =     spf1")},
		{"two SPF records", "a.example", "", good + `a.example TXT "v=spf1 -all"`},
		{"an SPF record that is too long", "a.example", "", spfIs("v=spf1" + strings.Repeat("\" \" ip4:192.0.2.1", 800))},
		{"an SPF record with a mistake", "a.example", "", spfIs("v=spf1 mx/33 -all")},
		{"an SPF redirect behind all", "a.example", "", spfIs("v=spf1 mx -all redirect=a.example")},
		{"many terms of SPF", "a.example", "", spfIs("v=spf1 a:mx.a.example include:i.example exists:no.example ip4:192.0.2.1 mx redirect=r.example") +
			"\ni.example TXT \"v=spf1 mx:a.example include:j.example\"\nj.example TXT \"v=spf1 a:mx.a.example redirect=k.example\"\nk.example TXT \"v=spf1 a:mx.a.example -all\"" +
			"\nr.example TXT \"v=spf1 a:mx.a.example ?all\""},
		{"an SPF redirect that leads nowhere", "a.example", "", spfIs("v=spf1 mx redirect=%{l}..%{d}")},

		{"text that is no DMARC record", "a.example", "", dmarcIs("hello")},
		{"text that should be a DMARC record", "a.example", "", dmarcIs("v=DMARC1 p=reject")},
		{"a DMARC answer that is too large", "a.example", "", good + strings.Repeat(fmt.Sprintf("_dmarc.a.example TXT \"%s\"\n", strings.Repeat("x", 250)), 140)},
		{"a policy of the domain above", "x.a.example", "", good + "_dmarc.example TXT \"v=DMARC1; psd=y; p=none\"\nx.a.example MX 0 ."},
		{"a policy of the public suffix", "a.example", "", without(dmarcLine, `_dmarc.example TXT "v=DMARC1; psd=y; p=quarantine"`)},
		{"psd=n", "a.example", "", dmarcIs("v=DMARC1; psd=n; p=none")},
		{"no policy and no reports", "a.example", "", dmarcIs("v=DMARC1; p=block; sp=block; np=block")},
		{"no policy, but reports", "a.example", "", dmarcIs("v=DMARC1; p=block; rua=mailto:rua@a.example")},
		{"a tag of subdomains that is not valid", "a.example", "", dmarcIs("v=DMARC1; p=reject; sp=block; adkim=x; rua=mailto:rua@a.example")},
		{"every tag of DMARC", "a.example", "", dmarcIs("v=DMARC1; p=reject; sp=quarantine; np=none; t=y; ruf=mailto:ruf@a.example; pct=50")},
		{"failure reports beside the others", "a.example", "", dmarcIs("v=DMARC1; p=quarantine; sp=reject; np=reject; rua=mailto:rua@a.example; ruf=mailto:ruf@a.example")},
		{"reports to many", "a.example", "", dmarcIs("v=DMARC1; p=reject; rua=https://a.example,mailto:r@away.test,mailto:r@no.test"+strings.Join(rua, "")) +
			"\n! a.example._report._dmarc.away.test TXT servfail"},

		{"keys", "a.example", "none revoked small short good text wrong two", good +
			"revoked._domainkey.a.example TXT \"v=DKIM1; p=\"\nsmall._domainkey.a.example TXT \"v=DKIM1; k=ed25519; p=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n" +
			"short._domainkey.a.example TXT \"v=DKIM1; t=y; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL51Pj0oLPcYyTAnpIQVbGMYlYNYuDTDm2p5nL0BQ6xXcnMqvMLWyT4LTHmqjCpbAx6q5pbgUk6JJYHDfXhW0RUCAwEAAQ==\"\n" +
			"good._domainkey.a.example TXT \"v=DKIM1; p=\" \"" + rsa2048[:200] + "\" \"" + rsa2048[200:] + "\"\ntext._domainkey.a.example TXT \"hello\"\n" +
			"wrong._domainkey.a.example TXT \"v=DKIM1; p=!\"\ntwo._domainkey.a.example TXT \"v=DKIM1; " + ed + "\"\ntwo._domainkey.a.example TXT \"v=DKIM1; t=s; " + ed + "\""},
		{"a selector that is too long", "a.example", strings.Repeat("a.", 116) + "a", good + ". TXT \"v=DKIM1; " + ed + "\""},

		{"a mark", "a.example", "", good + `default._bimi.a.example TXT "v=BIMI1; l=https://a.example/l.svg; a=https://a.example/c.pem"`},
		{"no mark", "a.example", "", dmarcIs("v=DMARC1; p=none") + "\n" + `default._bimi.a.example TXT "v=BIMI1; l=; a="`},
		{"two records of marks", "a.example", "", good + "default._bimi.a.example TXT \"v=BIMI1; l=https://a.example/l.svg; a=https://a.example/c.pem\"\n" +
			"default._bimi.a.example TXT \"v=BIMI1; l=http://a.example/l.svg\""},
		{"a record of a mark beside one in lower case", "a.example", "", good + "default._bimi.a.example TXT \"v=bimi1; l=https://a.example/l.svg\"\n" +
			"default._bimi.a.example TXT \"v=BIMI1; l=https://a.example/l.svg; a=https://a.example/c.pem\""},
		{"a mark with t=y", "a.example", "", dmarcIs("v=DMARC1; p=reject; t=y; rua=mailto:rua@a.example") +
			"\ndefault._bimi.a.example TXT \"v=BIMI1; l=https://a.example/l.svg; a=https://a.example/c.pem\""},
		{"a mark with sp=none", "a.example", "", dmarcIs("v=DMARC1; p=reject; sp=none; rua=mailto:rua@a.example") +
			"\ndefault._bimi.a.example TXT \"v=BIMI1; l=https://a.example/l.svg; a=https://a.example/c.pem\""},
		{"a mark with a policy that is not used", "a.example", "", dmarcIs("v=DMARC1; p=block") +
			"\ndefault._bimi.a.example TXT \"v=BIMI1; l=https://a.example/l.svg; a=https://a.example/c.pem\""},
		{"the mark of the domain above is not answered", "x.a.example", "", good + "! default._bimi.a.example TXT timeout\nx.a.example MX 0 ."},

		{"the mark is not answered", "a.example", "", good + "! default._bimi.a.example TXT timeout"},
		{"a mail server that is an alias", "a.example", "", good + "a.example MX 20 x.example\nx.example CNAME mx.a.example\n! x.example AAAA servfail"},
		{"an SPF redirect and nothing else", "a.example", "", spfIs("v=spf1 redirect=r.example") + "\nr.example TXT \"v=spf1 a:mx.a.example include:s.example -all\"\ns.example TXT \"v=spf1 -all\""},
		{"two policies of a domain with nothing above", "example", "", "example MX 0 .\n_dmarc.example TXT \"v=DMARC1; p=none\"\n_dmarc.example TXT \"v=DMARC1; p=reject\""},
		{"a public suffix", "example", "", "example MX 0 .\n! default._bimi * servfail"},
		{"Japanese", "xn--wgv71a119e.example", "", "xn--wgv71a119e.example MX 0 .\nxn--wgv71a119e.example TXT \"v=spf1 -all\"\n_dmarc.xn--wgv71a119e.example TXT \"v=DMARC1; p=reject\""},
		{"a name that is too long for what is below it", string(long), "", string(long) + " MX 0 .\n. TXT \"v=BIMI1; l=https://a.example/l.svg\""},
	}
	var b strings.Builder
	for _, w := range worlds {
		var selectors []dns.Name
		for s := range strings.FieldsSeq(w.selectors) {
			selectors = append(selectors, dns.Name(s))
		}
		o := Options{Now: time.Unix(1e9, 0)}
		r := Check(t.Context(), nameserver.Zone(t, w.zone), dns.Name(w.domain), selectors, o)
		fmt.Fprintf(&b, "===== %s\n\n", w.reason)
		if err := r.Text(&b); err != nil {
			t.Fatal(err)
		}
		facts := *r
		facts.Faults = nil // which are in the text
		raw, err := json.Marshal(facts)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n%s\n\n", raw)

		looked := Look(t.Context(), nameserver.Zone(t, w.zone), dns.Name(w.domain), o)
		if looked.Exists != r.Exists || looked.DMARC.Record != r.DMARC.Record || looked.SPF.Record != r.SPF.Record || looked.SPF.Terms != nil ||
			len(looked.MX) != len(r.MX) || len(looked.Unknown) > len(r.Unknown) {
			t.Errorf("%s: Look says %+v", w.reason, looked)
		}
	}
	compare(t, "reports.txt", b.String())

	var w once
	if err := (&Report{}).Text(&w); err == nil || err.Error() != "full" || w != 1 {
		t.Errorf("a file that cannot be written: %v after %d writes", err, w)
	}
}

// compare compares text with a file of testdata, which -update writes.
func compare(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, lines := strings.Split(text, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(lines)) {
		if i >= len(got) || i >= len(lines) || got[i] != lines[i] {
			t.Fatalf("%s:%d is out of date; run go test ./internal/domaincheck -run Reports -update and read the difference\ngot  %q\nwant %q", path, i+1,
				strings.Join(got[i:min(i+1, len(got))], ""), strings.Join(lines[i:min(i+1, len(lines))], ""))
		}
	}
}

// TestDestinationsFail: the destinations are not known if the time is over before they are.
func TestDestinationsFail(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	z := nameserver.Zone(t, dmarcIs("v=DMARC1; p=reject; rua=mailto:r@a.example,mailto:r@away.test"))
	cancels := nameserver.Func(func(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		if strings.HasSuffix(string(name), "away.test") {
			cancel()
		}
		return z.Lookup(ctx, name, typ)
	})
	l := newLooker(ctx, cancels, "a.example", Options{Now: time.Unix(1e9, 0)})
	l.look()
	if got := l.destinations(); got != nil || !slices.Equal(l.facts.Unknown, []string{"the destinations of reports: destination: context canceled"}) {
		t.Errorf("%v, unknown %q", got, l.facts.Unknown)
	}
}

// itself is a list of public suffixes in which every name is its own organization.
type itself struct{}

func (itself) OrganizationalDomain(n dns.Name) dns.Name { return n }

// TestNoWalk: if the name of the DMARC record would be too long, nothing is asked.
func TestNoWalk(t *testing.T) {
	label := strings.Repeat("x", dns.MaxLabelLen)
	long := dns.Name(strings.Join([]string{label, label, label, label[:47], "example"}, "."))
	r := Check(t.Context(), nameserver.Zone(t, string(long)+" MX 0 ."), long, nil, Options{Now: time.Unix(1e9, 0), Discovery: dmarc.Options{Method: dmarc.PSL, PSL: itself{}}})
	if len(r.Faults) != 2 || r.Faults[1].Word != DMARCNone || len(r.DMARC.Walk) != 0 || len(r.Unknown) != 0 {
		t.Errorf("%+v", r.Facts)
	}
}

// once is a writer whose first write fails.
type once int

func (w *once) Write(b []byte) (int, error) {
	if *w++; *w == 1 {
		return 0, errors.New("full")
	}
	return len(b), nil
}

// TestStrangers: the addresses for which SPF is evaluated are for documentation.
func TestStrangers(t *testing.T) {
	if a, b := stranger4().String(), stranger6().String(); a != "203.0.113.254" || b != "2001:db8::fe" {
		t.Errorf("%s and %s", a, b)
	}
	for i, w := range Words() {
		if kinds[i].word != w {
			t.Errorf("fault %d is %s", i, w)
		}
	}
	if len(Words()) != len(kinds) {
		t.Errorf("%d faults of %d", len(Words()), len(kinds))
	}
}

var update = flag.Bool("update", false, "write the table of faults in deploy/docs/survey.md anew")

// TestHandbook compares the table of faults in the handbook with the code.
func TestHandbook(t *testing.T) {
	const begin, end = "<!-- faults -->\n", "<!-- end of faults -->\n"
	table := "| fault | grade | by | what to change |\n|---|---|---|---|\n"
	for _, k := range kinds {
		table += fmt.Sprintf("| `%s` | %s | %s | %s |\n", k.word, k.grade, k.section, strings.ReplaceAll(k.do, "%s", "DOMAIN"))
	}
	path := filepath.Join("..", "..", "deploy", "docs", "survey.md")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(raw), begin)
	was, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatal("the handbook has no table of faults")
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if was != table {
		t.Error("the table of faults is out of date; run go test ./internal/domaincheck -run Handbook -update")
	}
}

// FuzzLook checks that no record of a stranger breaks the check, or gets into the text unescaped.
func FuzzLook(f *testing.F) {
	f.Add("v=spf1 include:a.example -all", "v=DMARC1; p=none", "v=DKIM1; p=")
	f.Add("v=spf1 %{p}.a redirect=a.example", "v=DMARC1;;p=\x1b", "v=DKIM1; k=rsa; p=AAAA")
	f.Fuzz(func(t *testing.T, spf, dmarc, key string) {
		z := nameserver.Zone(t, "a.example MX 10 a.example")
		z.Add("a.example", dns.TypeTXT, dns.Record{Text: spf})
		z.Add("_dmarc.a.example", dns.TypeTXT, dns.Record{Text: dmarc})
		z.Add("s._domainkey.a.example", dns.TypeTXT, dns.Record{Text: key})
		z.Add("default._bimi.a.example", dns.TypeTXT, dns.Record{Text: dmarc})
		r := Check(t.Context(), z, "a.example", []dns.Name{"s"}, Options{Now: time.Unix(1e9, 0)})
		var b strings.Builder
		if err := r.Text(&b); err != nil {
			t.Fatal(err)
		}
		for _, c := range []byte(b.String()) {
			if c < ' ' && c != '\n' || c >= 0x7f {
				t.Fatalf("the text has the octet %#x: %q", c, b.String())
			}
		}
	})
}

// TestBounds checks the bounds on what a stranger can make large.
func TestBounds(t *testing.T) {
	z := without(mxLine, "") + "\nmx.a.example A 192.0.2.1"
	for i := range maxHosts + 1 {
		z += fmt.Sprintf("\na.example MX %d mx.a.example", i)
	}
	r := Check(t.Context(), nameserver.Zone(t, z), "a.example", nil, Options{Now: time.Unix(1e9, 0)})
	if len(r.MX) != maxHosts {
		t.Errorf("%d hosts, want %d", len(r.MX), maxHosts)
	}
	long := "v=DMARC1; p=" + strings.Repeat("x", 2*maxShown)
	r = Check(t.Context(), nameserver.Zone(t, dmarcIs(long)), "a.example", nil, Options{Now: time.Unix(1e9, 0)})
	if len(r.Faults) != 1 || strings.Count(r.Faults[0].Text, "x") > maxShown || strings.Count(r.Faults[0].Text, "x") < maxShown-100 {
		t.Errorf("%v", r.Faults)
	}
}
