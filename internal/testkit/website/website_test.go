package website

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/testkit/recorder"
)

func TestServe(t *testing.T) {
	s := Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.Path, r.TLS != nil) }), "shop.example")
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Roots, ServerName: "shop.example"}}}
	defer client.CloseIdleConnections()
	for url, want := range map[string]string{
		fmt.Sprintf("https://%s:%d/a", s.Addr, s.HTTPS): fmt.Sprintf("%s:%d/atrue", s.Addr, s.HTTPS),
		fmt.Sprintf("http://%s:%d/b", s.Addr, s.HTTP):   fmt.Sprintf("%s:%d/bfalse", s.Addr, s.HTTP),
	} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != want || err != nil {
			t.Errorf("%s: %q %v", url, body, err)
		}
	}
}

// TestEnds checks that nobody listens after the end of a test, even if the server has hardly begun.
func TestEnds(t *testing.T) {
	for range 5 {
		var s *Server
		if said := recorder.Run(t, func(tb testing.TB) { s = Serve(tb, http.NotFoundHandler()) }); said != "" {
			t.Error(said)
		}
		for _, port := range []uint16{s.HTTP, s.HTTPS} {
			if nc, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.Addr, port))); err == nil {
				nc.Close()
				t.Errorf("port %d still listens", port)
			}
		}
	}
}

// TestCertificate checks for whom and when a certificate is valid. The fake clock of a test begins in 2000.
func TestCertificate(t *testing.T) {
	cert, roots := Certificate(t, "a.example", "b.example")
	begin, end := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		at   time.Time
		ok   bool
	}{
		{"a.example", begin, true}, {"b.example", begin, true}, {"c.example", begin, false},
		{"a.example", begin.Add(-time.Second), false}, {"a.example", end, true}, {"a.example", end.Add(time.Second), false},
	} {
		_, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.name, CurrentTime: tt.at})
		if (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.name, tt.at, err)
		}
	}
	said := recorder.Run(t, func(tb testing.TB) { Certificate(tb, "例.example") })
	if !strings.HasPrefix(said, "fatal: x509: ") || !strings.HasSuffix(said, "cannot be encoded as an IA5String") {
		t.Errorf("a name that is not ASCII: %q", said)
	}
}
