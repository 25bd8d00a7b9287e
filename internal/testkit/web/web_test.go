package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestDo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(r.Method + " " + r.URL.Path))
	}))
	defer server.Close()
	if code, body := Do(t, http.MethodPost, server.URL+"/a"); code != http.StatusTeapot || body != "POST /a" {
		t.Errorf("%d %q", code, body)
	}
	if body := Get(t, server.URL+"/b"); body != "GET /b" {
		t.Errorf("%q", body)
	}
}
