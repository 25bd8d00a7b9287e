package admin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/testkit/web"
)

func serveHandlers(t *testing.T, handlers map[string]http.Handler) string {
	t.Helper()
	return serve(t, Options{Gatherer: prometheus.NewRegistry(), Ready: func() error { return nil }, Handlers: handlers}).Addr()
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_ = json.NewEncoder(w).Encode(map[string]string{"said": r.URL.Query().Get("q")})
})

func TestPrivate(t *testing.T) {
	addr := serveHandlers(t, map[string]http.Handler{"/api/x": hello})
	_, port, _ := strings.Cut(addr, ":")
	for _, tt := range []struct {
		name, method, host string
		code               int
	}{
		{"by address", "GET", addr, 200},
		{"by name", "GET", "LocalHost:" + port, 200},
		{"IPv6", "GET", "[::1]:" + port, 200},
		{"without a port", "HEAD", "127.1.2.3", 200},
		{"a stranger's name that resolves to this address", "GET", "evil.example:" + port, 421},
		{"a name that begins with localhost", "GET", "localhost.evil.example", 421},
		{"another address", "GET", "192.0.2.1:" + port, 421},
		{"POST is refused", "POST", addr, 405},
		{"OPTIONS is refused", "OPTIONS", addr, 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+addr+"/api/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		req.Header.Set("Origin", "http://evil.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.code {
			t.Errorf("%s: %s", tt.name, resp.Status)
		}
		for k := range resp.Header {
			if strings.HasPrefix(k, "Access-Control") {
				t.Errorf("%s: %s", tt.name, k)
			}
		}
		if tt.code == 200 && (resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s: %v", tt.name, resp.Header)
		}
	}
}

// TestPrivateHost checks which requests are refused because of their host: those to a loopback address, without TLS, in
// the name of another.
func TestPrivateHost(t *testing.T) {
	for _, tt := range []struct {
		local, host string
		tls         bool
		code        int
	}{
		{"127.0.0.1:1", "mx.example", false, 421}, {"127.0.0.1:1", "mx.example", true, 200}, {"192.0.2.1:1", "mx.example", false, 200}, {"", "mx.example", false, 200},
		{"127.0.0.1:1", "localhost:1", false, 200}, {"[::1]:1", "[::1]", false, 200}, {"[::1]:1", "[::ffff:127.0.0.1]:1", false, 200}, {"[::1]:1", "", false, 421},
		{"127.0.0.1:1", "LOCALHOST", false, 200}, {"127.0.0.1:1", "localhost.", false, 421},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/x", http.NoBody)
		if r.Host = tt.host; tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if tt.local != "" {
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.local)))))
		}
		w := httptest.NewRecorder()
		if private(hello, make(chan struct{}, 1)).ServeHTTP(w, r); w.Code != tt.code || (w.Body.String() == "this address answers to localhost only\n") != (tt.code == 421) || tt.code == 421 && w.Header().Get("Cache-Control") != "" {
			t.Errorf("%+v: %d %q", tt, w.Code, w.Body)
		}
	}
}

// TestBoundQueries checks that a further request is refused while maxQueries requests are
// running.
func TestBoundQueries(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	addr := serveHandlers(t, map[string]http.Handler{"/api/slow": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	})})
	var wg sync.WaitGroup
	for range maxQueries {
		wg.Go(func() {
			if code, _ := web.Do(t, "GET", "http://"+addr+"/api/slow"); code != 200 {
				t.Errorf("one of the first requests: %d", code)
			}
		})
	}
	for range maxQueries {
		<-entered
	}
	if code, _ := web.Do(t, "GET", "http://"+addr+"/api/slow"); code != 503 {
		t.Errorf("the request over the limit: %d", code)
	}
	close(leave)
	wg.Wait()
	for range maxQueries + 1 { // those that ended have given their room back
		go func() { <-entered }()
		if code, _ := web.Do(t, "GET", "http://"+addr+"/api/slow"); code != 200 {
			t.Errorf("a request after the others: %d", code)
		}
	}
}

// TestForms checks that only pages of this server can send a form, and only by POST.
func TestForms(t *testing.T) {
	addr := serve(t, Options{Gatherer: prometheus.NewRegistry(), Ready: func() error { return nil }, Forms: map[string]http.Handler{"/do": hello}}).Addr()
	for _, tt := range []struct {
		method, host, origin string
		code                 int
	}{
		{"POST", addr, "http://" + addr, 200},
		{"POST", addr, "", 200}, // not a browser
		{"POST", addr, "http://evil.example", 403},
		{"POST", "evil.example", "http://evil.example", 421},
		{"GET", addr, "", 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+addr+"/do", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.code {
			t.Errorf("%+v: %s", tt, resp.Status)
		}
	}
}

// TestPlainText: a browser never takes an error for a page.
func TestPlainText(t *testing.T) {
	w := httptest.NewRecorder()
	text(w, 503, "<html>")
	if h := w.Header(); h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Error(h)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/below/api/x":
			hello(w, r)
		case "/api/who":
			name, password, _ := r.BasicAuth()
			fmt.Fprintf(w, `{"said":%q}`, name+password)
		case "/api/most", "/api/long":
			n := 1000
			if r.URL.Path == "/api/long" {
				n++
			}
			w.Header().Set("Content-Length", strconv.Itoa(n))
			_, _ = io.WriteString(w, `{"said":"most"}`+strings.Repeat(" ", n-len(`{"said":"most"}`)))
		case "/api/cut":
			w.Header().Set("Content-Length", "20")
			_, _ = io.WriteString(w, `{"said":"cut"}`)
		case "/api/busy":
			text(w, http.StatusServiceUnavailable, "busy")
		case "/api/text":
			_, _ = io.WriteString(w, "hello")
		case "/api/closed":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, strings.Repeat("no\x1b", maxErrorBytes))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	with := strings.Replace(server.URL, "http://", "http://me:secret@", 1)
	for _, tt := range []struct {
		name, base, path, want string
		err                    string // its end
	}{
		{"answer", server.URL + "/below/", "/api/x", "a b&c", ""},
		{"host and port", strings.TrimPrefix(server.URL, "http://"), "/api/who", "", ""},
		{"password", with, "/api/who", "mesecret", ""},
		{"as long as may be", server.URL, "/api/most", "most", ""},
		{"cut off", server.URL, "/api/cut", "", "/api/cut?q=a+b%26c: unexpected EOF"},
		{"too long", server.URL, "/api/long", "", "/api/long?q=a+b%26c: the answer has over 1000 octets"},
		{"not JSON", server.URL, "/api/text", "", "/api/text?q=a+b%26c: the answer is not what this version expects: invalid character 'h' looking for beginning of value"},
		{"no password", server.URL, "/api/closed", "", "?q=a+b%26c: 401 Unauthorized \"" + strings.Repeat(`no\x1b`, maxErrorBytes/3) + "n\"; the address wants a password: write http://NAME:PASSWORD@HOST:PORT"},
		{"not there", with, "/api/y", "", "/api/y?q=a+b%26c: 404 Not Found \"404 page not found\"; it is not there: is admin.recent 0, is there no store (store.url), or is the daemon older than this program?"},
		{"another refusal", server.URL, "/api/busy", "", "/api/busy?q=a+b%26c: 503 Service Unavailable \"busy\""},
	} {
		c, err := NewClient(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		if c.most != 64<<20 {
			t.Errorf("%s: at most %d octets", tt.name, c.most)
		}
		c.most = 1000
		var answer struct{ Said string }
		err = c.Get(t.Context(), tt.path, url.Values{"q": {"a b&c"}}, &answer)
		if answer.Said != tt.want || (err == nil) != (tt.err == "") || err != nil && (!strings.HasSuffix(err.Error(), tt.err) || !strings.HasPrefix(err.Error(), "admin: http://")) {
			t.Errorf("%s: %q, %v", tt.name, answer.Said, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 8*maxErrorBytes) {
			t.Errorf("%s: the error shows what it should not: %v", tt.name, err)
		}
	}
	server.Close()
	c, err := NewClient(with)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), "/api/x", nil, nil); !errors.Is(err, ErrNoServer) || strings.Contains(err.Error(), "secret") ||
		!strings.HasSuffix(err.Error(), ": no program listens there; does the daemon run (systemctl status sekimori)? --admin HOST:PORT names another address") {
		t.Errorf("no daemon at the address: %v", err)
	}
	http.DefaultClient.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if at, ok := r.Context().Deadline(); !ok || time.Until(at) > 30*time.Second || time.Until(at) < 20*time.Second {
			t.Errorf("an answer may take until %v", at)
		}
		return nil, errors.New("no network")
	})
	err = c.Get(t.Context(), "/api/x", nil, nil)
	if http.DefaultClient.Transport = nil; !errors.Is(err, ErrNoServer) || err.Error() != "admin: no daemon answers at "+c.base.Redacted()+": no network" {
		t.Errorf("no network: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Get(ended, "/api/x", nil, nil); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "secret") {
		t.Errorf("interrupted: %v", err)
	}
	for base, local := range map[string]bool{
		"127.0.0.1:8892": true, "localhost:65535": true, "http://[::ffff:127.0.0.1]:1": true, "https://localhost": true, "http://192.0.2.1": false, "https://mx.example": false,
	} {
		if c, err := NewClient(base); err != nil || c.Local() != local {
			t.Errorf("%s: local is not %t, %v", base, local, err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1", "ftp://x", "http://", "http://x/?a=b", "http://x#y", "http://me:secret@[", "unix:/x", "localhost:65536", "localhost:http"} {
		if _, err := NewClient(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
