// Package web sends HTTP requests for tests.
package web

import (
	"io"
	"net/http"
	"testing"
)

// Do sends a request without a body. It returns the status code and the body of the response.
func Do(tb testing.TB, method, url string) (code int, body string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// Get sends a GET request and returns the body of the response.
func Get(tb testing.TB, url string) string {
	tb.Helper()
	_, body := Do(tb, http.MethodGet, url)
	return body
}
