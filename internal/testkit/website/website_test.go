package website

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"
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
