package markcheck

import (
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
	if r := Picture("logo.svg", []byte(markca.SVG)); !r.Passed() || !strings.Contains(text(t, r), "the picture may be shown") {
		t.Error(text(t, r))
	}
	r := Picture("\x1b[31m.svg", []byte(strings.Replace(markca.SVG, "<rect", "<script/><foreignObject/><rect", 1)))
	if got := text(t, r); r.Passed() || len(r.Checks) < 2 || strings.Contains(got, "\x1b") {
		t.Error(got)
	}
}
