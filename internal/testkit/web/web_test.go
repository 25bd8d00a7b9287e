package web

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"sekimori/internal/testkit/recorder"
)

func TestDo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.Header().Set("Content-Length", "99")
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(r.Method + " " + r.URL.Path))
	}))
	defer server.Close()
	if code, body := Do(t, http.MethodPost, server.URL+"/a"); code != http.StatusTeapot || body != "POST /a" {
		t.Errorf("%d %q", code, body)
	}
	for name, tt := range map[string]struct{ method, url, want string }{
		"no method": {"a b", server.URL, `fatal: net/http: invalid method "a b"`},
		"no server": {http.MethodGet, "http://127.0.0.1:0/", `fatal: Get "http://127.0.0.1:0/": dial tcp 127.0.0.1:0: connect: connection refused`},
		"half":      {http.MethodGet, server.URL + "/half", "fatal: unexpected EOF"},
	} {
		if said := recorder.Run(t, func(tb testing.TB) { Do(tb, tt.method, tt.url) }); said != tt.want {
			t.Errorf("%s: %q, want %q", name, said, tt.want)
		}
	}
	if body := Get(t, server.URL+"/b"); body != "GET /b" {
		t.Errorf("%q", body)
	}
}
