package e2e

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/dns"
	"sekimori/internal/indicators"
	"sekimori/internal/testkit/markca"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/webfetch"
)

// serveWeb serves the certificates, the picture and the revocation lists of brand.example on loopback. It
// returns a client that reaches them, and whose guard allows nothing but loopback.
func serveWeb(t *testing.T, ca *markca.CA) *webfetch.Client {
	t.Helper()
	files := map[string][]byte{
		"/a.pem": ca.Issue(t, "brand.example"), "/l.svg": []byte(markca.SVG),
		"/issuer.crl": ca.CRL(t, markca.List{}), "/root.crl": ca.RootCRL(t, markca.List{}),
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := files[r.URL.Path]; ok {
			_, _ = w.Write(text)
			return
		}
		http.NotFound(w, r)
	})
	secure, roots := ca.Serve(t, handler, "brand.example", "br4nd.example")
	lists := httptest.NewServer(handler)
	t.Cleanup(lists.Close)
	web := nameserver.Zone(t, "brand.example A 127.0.0.1\nbr4nd.example A 127.0.0.1\ncrl.markca.example A 127.0.0.1\n")
	return webfetch.New(webfetch.Options{
		Resolver: web, UserAgent: "sekimori/test", Roots: roots,
		HTTPS: netip.MustParseAddrPort(secure).Port(), HTTP: netip.MustParseAddrPort(lists.Listener.Addr().String()).Port(),
		Guard: func(to netip.AddrPort) error {
			if !to.Addr().Unmap().IsLoopback() {
				return webfetch.ErrAddress
			}
			return nil
		},
	})
}

// TestMarksFetched: the first message of a brand has no mark, because its certificate is not fetched yet.
// Then the daemon fetches and judges it, and the next message has the mark. The look-alike, which names
// the same certificate, has none.
func TestMarksFetched(t *testing.T) {
	s := shared(t)
	t.Parallel()
	ca := markca.New(t, time.Now())
	client := serveWeb(t, ca)
	marks := indicators.New(indicators.Options{
		Judge: &indicators.Judge{
			Fetch: client.Fetch, Marks: mark.Rules{Roots: []*x509.Certificate{ca.Root}, Logs: []mark.Log{}},
			RequireCertificate: true, Lists: indicators.NewLists(),
		},
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Always: func(dns.Name) bool { return true },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		marks.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	sl := s.postfix.take(t, plain)
	serveMarks(t, sl, marks)
	result := func(domain string) (string, delivery) {
		rcpt := recipient()
		sl.post(t, bankMX, "x@relay.invalid", rcpt, signed(t, mail{from: "news@" + domain}.bytes(), domain, "s1")).accepted(t)
		d := s.inbox.wait(t, rcpt)
		results := d.all("Authentication-Results")
		if len(results) != 2 {
			t.Fatalf("results %q", results)
		}
		_, text, _ := strings.Cut(results[1], "; ")
		return text, d
	}
	for domain, want := range map[string]string{"brand.example": "bimi=pass", "br4nd.example": "bimi=fail"} {
		if first, _ := result(domain); first != "bimi=skipped ("+bimi.ReasonNotFetched+")" {
			t.Errorf("the first message of %s: %s", domain, first)
		}
		text, d := "", delivery{}
		for end := time.Now().Add(patience); !strings.HasPrefix(text, want) && time.Now().Before(end); {
			text, d = result(domain)
		}
		if !strings.HasPrefix(text, want) {
			t.Fatalf("%s: %s, want %s", domain, text, want)
		}
		t.Logf("%s: %s", domain, text)
		indicator := d.all("BIMI-Indicator")
		if want != "bimi=pass" {
			if len(indicator)+len(d.all("BIMI-Location")) > 0 {
				t.Errorf("%s: %v", domain, d.fields)
			}
			continue
		}
		if len(indicator) != 1 || strings.Join(strings.Fields(indicator[0]), "") != base64.StdEncoding.EncodeToString([]byte(markca.SVG)) {
			t.Errorf("%s: %q", domain, indicator)
		}
		if location := d.all("BIMI-Location"); len(location) != 1 || !strings.Contains(location[0], "a=https://brand.example/a.pem") {
			t.Errorf("%s: %q", domain, location)
		}
	}
}
