package markcheck

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/indicators"
	"sekimori/internal/testkit/markca"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/webfetch"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// world returns the options for a zone, and the authority of the certificates in it.
func world(t *testing.T, zoneText string) (Options, *markca.CA) {
	ca := markca.New(t, now)
	web := map[string][]byte{
		"https://shop.example/vmc.pem": ca.Issue(t, "shop.example"), "https://shop.example/logo.svg": []byte(markca.SVG),
		markca.IssuerCRL: ca.CRL(t, markca.List{}), markca.RootCRL: ca.RootCRL(t, markca.List{}),
	}
	return Options{
		Resolver: nameserver.Zone(t, zoneText), Discovery: dmarc.Options{}, Now: now, BIMI: bimi.Options{RequireCertificate: true, RequireDKIM: true},
		Judge: &indicators.Judge{
			RequireCertificate: true, Lists: indicators.NewLists(), Marks: mark.Rules{Roots: []*x509.Certificate{ca.Root}},
			Fetch: func(_ context.Context, _ webfetch.Kind, url string) ([]byte, error) {
				if text, ok := web[url]; ok {
					return text, nil
				}
				return nil, &webfetch.Error{Result: webfetch.BadStatus, URL: url, Err: errors.New("the server answered with status 404")}
			},
		},
	}, ca
}

func text(t *testing.T, r *Result) string {
	t.Helper()
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDomain(t *testing.T) {
	const record = "default._bimi.shop.example TXT \"v=BIMI1; l=https://shop.example/logo.svg; a=https://shop.example/vmc.pem\"\n"
	for _, c := range []struct {
		name, zone, domain string
		want               string // result, reason and the words of the checks that failed
	}{
		{"good", "_dmarc.shop.example TXT \"v=DMARC1; p=reject\"\n" + record, "shop.example", "pass  []"},
		{"a subdomain", "_dmarc.shop.example TXT \"v=DMARC1; p=reject\"\nmail.shop.example A 192.0.2.1\n" + record, "mail.shop.example", "pass  []"},
		{"p=none", "_dmarc.shop.example TXT \"v=DMARC1; p=none\"\n" + record, "shop.example", "skipped dmarc_policy [policy]"},
		{"no DMARC, no record", "shop.example A 192.0.2.1\n", "shop.example", "skipped dmarc [dmarc record]"},
		{"sp=none above", "_dmarc.shop.example TXT \"v=DMARC1; p=reject; sp=none\"\n_dmarc.mail.shop.example TXT \"v=DMARC1; p=reject\"\n" + record,
			"mail.shop.example", "skipped organization [organization]"},
		{"no record", "_dmarc.shop.example TXT \"v=DMARC1; p=reject\"\n", "shop.example", "none no_record [record]"},
		{"no certificate", "_dmarc.shop.example TXT \"v=DMARC1; p=reject\"\ndefault._bimi.shop.example TXT \"v=BIMI1; l=https://shop.example/logo.svg\"\n",
			"shop.example", "none no_certificate [certificate]"},
		{"a dead URL", "_dmarc.shop.example TXT \"v=DMARC1; p=reject\"\ndefault._bimi.shop.example TXT \"v=BIMI1; l=https://shop.example/logo.svg; a=https://shop.example/x.pem\"\n",
			"shop.example", "fail fetch_failed [evidence]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := world(t, c.zone)
			r := Domain(t.Context(), dns.Name(c.domain), o)
			var bad []string
			for _, check := range r.Checks {
				if !check.OK {
					bad = append(bad, check.Word)
				}
			}
			if got := fmt.Sprint(r.Result, " ", r.Reason, " ", bad); got != c.want || r.Passed() != (r.Mark != nil) {
				t.Errorf("%s, want %s:\n%s", got, c.want, text(t, r))
			}
			if c.name == "p=none" && !strings.Contains(text(t, r), "\nok    picture ") {
				t.Errorf("the rest is not looked at:\n%s", text(t, r))
			}
			if c.name == "good" && !strings.Contains(text(t, r), "This receiver would show the mark of Shop KK (Registered Mark, Test CA), until 2027-10-") {
				t.Error(text(t, r))
			}
		})
	}
}

// words are the words of all checks in order. Those of checks that failed are in capitals.
func words(r *Result) string {
	var out []string
	for _, c := range r.Checks {
		if !c.OK {
			c.Word = strings.ToUpper(c.Word)
		}
		out = append(out, c.Word)
	}
	return strings.Join(out, " ")
}

// TestDomainChecks reads all checks: what would be looked at if the policy were enforced comes behind what is missing, and once.
func TestDomainChecks(t *testing.T) {
	const (
		record   = "default._bimi.shop.example TXT \"v=BIMI1; l=https://shop.example/logo.svg; a=https://shop.example/vmc.pem\"\n"
		brand    = "brand._bimi.shop.example TXT \"v=BIMI1; l=https://shop.example/logo.svg; a=https://shop.example/vmc.pem\"\n"
		enforced = "_dmarc.shop.example TXT \"v=DMARC1; p=reject\"\n"
		rest     = " selector record evidence pem pilot chain validity eku leaf policy san type sct crl revoked logotype hash picture location"
	)
	for _, tt := range []struct{ reason, zone, domain, selector, words, location string }{
		{"enforced", enforced + record, "shop.example", "", "dmarc from dkim policy organization" + rest, "https://shop.example/logo.svg"},
		{"p=none", "_dmarc.shop.example TXT \"v=DMARC1; p=none\"\n" + record, "shop.example", "", "dmarc from dkim POLICY" + rest, "https://shop.example/logo.svg"},
		{"p=none above", "_dmarc.shop.example TXT \"v=DMARC1; p=none\"\nmail.shop.example A 192.0.2.1\n" + record, "mail.shop.example", "", "dmarc from dkim POLICY" + rest,
			"https://shop.example/logo.svg"},
		{"no DMARC record", "shop.example A 192.0.2.1\n" + record, "shop.example", "", "DMARC" + rest, "https://shop.example/logo.svg"},
		{"an own selector", enforced + brand, "shop.example", "brand", "dmarc from dkim policy organization" + rest, "https://shop.example/logo.svg"},
		{"an own selector, p=none", "_dmarc.shop.example TXT \"v=DMARC1; p=none\"\n" + brand, "shop.example", "brand", "dmarc from dkim POLICY" + rest, "https://shop.example/logo.svg"},
		{"no organization for now", "_dmarc.mail.shop.example TXT \"v=DMARC1; p=none\"\n! _dmarc.shop.example TXT timeout\n" + record, "mail.shop.example", "",
			"dmarc from dkim POLICY ORGANIZATION", ""},
		{"no mark record", "_dmarc.shop.example TXT \"v=DMARC1; p=none\"\n", "shop.example", "", "dmarc from dkim POLICY selector RECORD", ""},
	} {
		o, _ := world(t, tt.zone)
		o.Selector = tt.selector
		r := Domain(t.Context(), dns.Name(tt.domain), o)
		if got := words(r); got != tt.words || r.Location != tt.location || r.Checked != tt.domain || r.Location != "" && r.Selector != cmp.Or(tt.selector, "default") {
			t.Errorf("%s: %s of %s at %q\n%s", tt.reason, r.Checked, r.Selector, r.Location, got)
		}
	}
}

func TestMarkOf(t *testing.T) {
	if got := markOf(nil); got != nil {
		t.Error(got)
	}
	end := now.AddDate(1, 0, 0)
	for _, certified := range []bool{false, true} {
		m := &bimi.Mark{SVG: []byte("<svg/>"), Certified: certified, Type: "t", Owner: "o", Issuer: "i", NotAfter: end}
		got := markOf(m)
		if got.Octets != 6 || got.Hash != m.Hash() || got.Certified != certified || got.Type != "t" || got.Owner != "o" || got.Issuer != "i" {
			t.Errorf("%+v", got)
		}
		if (got.NotAfter != nil) != certified || certified && !got.NotAfter.Equal(end) {
			t.Errorf("certified %t, until %v", certified, got.NotAfter)
		}
	}
}

// TestText reads what a person gets to see of each kind of result.
func TestText(t *testing.T) {
	end := now.AddDate(1, 0, 0)
	checks := []bimi.Check{{Word: "a", OK: true, Detail: "b"}, {Word: "c", Detail: "d\n"}}
	const lines = "ok    a             b\nFAIL  c             \"d\\n\"\n\nx: "
	for _, tt := range []struct {
		reason string
		r      Result
		want   string
	}{
		{"fail", Result{Result: bimi.Fail}, "fail. This receiver would not show the mark.\n"},
		{"a reason", Result{Result: bimi.None, Reason: "y\x1b"}, "none (\"y\\x1b\"). This receiver would not show the mark.\n"},
		{"no mark", Result{Result: bimi.Pass}, "the picture may be shown. No certificate was looked at.\n"},
		{"no certificate", Result{Result: bimi.Pass, Mark: &Mark{}}, "the picture may be shown. No certificate was looked at.\n"},
		{"certified", Result{Result: bimi.Pass, Mark: &Mark{Certified: true, Owner: "o", Type: "t", Issuer: "i", NotAfter: &end}},
			"pass. This receiver would show the mark of o (t, i), until 2027-11-29.\n"},
	} {
		tt.r.Checked, tt.r.Checks = "x", checks
		if got := text(t, &tt.r); got != lines+tt.want {
			t.Errorf("%s: %q", tt.reason, got)
		}
	}
	if err := (&Result{}).Text(broken{}); err == nil {
		t.Error("the error of the output is lost")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

// TestSpokenFor: the names of a certificate are those of domains, or of the record of a selector.
func TestSpokenFor(t *testing.T) {
	_, ca := world(t, "")
	for _, tt := range []struct{ name, selector, domain, want string }{
		{"shop.example", "", "shop.example", ""},
		{"shop.example", "brand", "shop.example", "brand"},
		{"brand._bimi.shop.example", "other", "shop.example", "brand"},
		{"brand._bimi..example", "other", "", "other"},
		{"a..example", "other", "", "other"},
	} {
		domain, selector := spokenFor(ca.Issue(t, tt.name), tt.selector)
		if string(domain) != tt.domain || selector != tt.want {
			t.Errorf("%s with selector %q: %q, %q", tt.name, tt.selector, domain, selector)
		}
	}
	if domain, selector := spokenFor([]byte("x"), "other"); domain != "" || selector != "other" {
		t.Errorf("no certificate: %q, %q", domain, selector)
	}
}

func TestCertificate(t *testing.T) {
	o, ca := world(t, "")
	if r := Certificate(t.Context(), "vmc.pem", ca.Issue(t, "shop.example"), o); !r.Passed() || r.Domain != "shop.example" {
		t.Error(text(t, r))
	}
	if r := Certificate(t.Context(), "vmc.pem", ca.Issue(t, "brand._bimi.shop.example"), o); !r.Passed() || r.Selector != "brand" {
		t.Error(text(t, r))
	}
	other := o
	other.Domain = "other.example"
	if r := Certificate(t.Context(), "vmc.pem", ca.Issue(t, "shop.example"), other); r.Passed() || r.Reason != "san" {
		t.Error(text(t, r))
	}
	if r := Certificate(t.Context(), "vmc.pem", []byte("x"), o); r.Passed() || r.Reason != "pem" {
		t.Error(text(t, r))
	}
}

func TestPicture(t *testing.T) {
	r := Picture("logo.svg", []byte(markca.SVG))
	if got := text(t, r); !r.Passed() || r.Mark.Octets != len(markca.SVG) || !strings.HasPrefix(got, fmt.Sprintf("ok    picture       %d octets of SVG Tiny Portable/Secure\n\nlogo.svg: the picture may be shown", len(markca.SVG))) {
		t.Error(got)
	}
	r = Picture("\x1b[31m.svg", []byte(strings.Replace(markca.SVG, "<rect", "<script/><foreignObject/><rect", 1)))
	if got := text(t, r); r.Passed() || r.Reason != "picture" || words(r) != "PICTURE PICTURE" || strings.Contains(got, "\x1b") {
		t.Error(got)
	}
}
