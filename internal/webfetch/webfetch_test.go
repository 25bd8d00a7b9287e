package webfetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/upstream"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/website"
)

const zoneText = `
shop.example. A 127.0.0.1
other.example. A 127.0.0.1
crl.example. A 127.0.0.1
`

// world is a web server and a client that may connect to it, and to nothing else.
type world struct {
	*Client
	site    *website.Server
	results []string // of the fetches
}

func newWorld(t *testing.T, zoneText string, h http.HandlerFunc) *world {
	t.Helper()
	w := &world{site: website.Serve(t, h, "shop.example", "other.example", "rebind.example")}
	var mu sync.Mutex
	w.Client = New(Options{
		Resolver: nameserver.Zone(t, zoneText), UserAgent: "sekimori/test", Roots: w.site.Roots, HTTPS: w.site.HTTPS, HTTP: w.site.HTTP,
		Guard: w.guard(),
		Done: func(k Kind, r Result) {
			mu.Lock()
			defer mu.Unlock()
			w.results = append(w.results, fmt.Sprint(k, " ", r))
			listed(t)(k, r)
		},
	})
	return w
}

// listed checks that the result of a fetch is one of Results.
func listed(t *testing.T) func(Kind, Result) {
	return func(_ Kind, r Result) {
		if !slices.Contains(Results, r) {
			t.Errorf("%s is not one of Results", r)
		}
	}
}

// guard lets the ports of the server pass on 127.0.0.1, and otherwise what is public.
func (w *world) guard() Guard {
	return func(to netip.AddrPort) error {
		if to.Addr() == w.site.Addr && (to.Port() == w.site.HTTPS || to.Port() == w.site.HTTP) {
			return nil
		}
		return Public(nil)(to)
	}
}

// fails checks that a fetch fails with a result, and returns the error.
func (w *world) fails(t *testing.T, kind Kind, url string, want Result, temporary bool) *Error {
	t.Helper()
	body, err := w.Fetch(t.Context(), kind, url)
	var e *Error
	if !errors.As(err, &e) || e.Result != want || e.Temporary != temporary || body != nil {
		t.Fatalf("%s: %d octets, %v (%+v), want the result %s", url, len(body), err, e, want)
	}
	return e
}

func TestFetch(t *testing.T) {
	var got atomic.Pointer[http.Request]
	w := newWorld(t, zoneText, func(rw http.ResponseWriter, r *http.Request) {
		got.Store(r)
		fmt.Fprintf(rw, "%s %s", r.Host, r.URL)
	})
	body, err := w.Fetch(t.Context(), Picture, "https://Shop.Example:443/a/logo.svg?x=1#part")
	if err != nil || string(body) != "shop.example /a/logo.svg?x=1" {
		t.Fatalf("%q, %v", body, err)
	}
	want := http.Header{"User-Agent": {"sekimori/test"}, "Accept-Encoding": {"gzip"}, "Accept": {"*/*"}, "Connection": {"close"}}
	if r := got.Load(); r.Method != http.MethodGet || r.Proto != "HTTP/1.1" || fmt.Sprint(r.Header) != fmt.Sprint(want) {
		t.Errorf("%s %s with %v", r.Method, r.Proto, r.Header)
	}
	if body, err = w.Fetch(t.Context(), CRL, "http://crl.example/a.crl"); err != nil || string(body) != "crl.example /a.crl" {
		t.Errorf("%q, %v", body, err)
	}
	w.fails(t, Picture, "http://crl.example/a.crl", BadURL, false)
	if want := []string{"picture ok", "crl ok", "picture url"}; !slices.Equal(w.results, want) {
		t.Errorf("counted %q", w.results)
	}
}

// TestNothingFromTheEnvironment sets the proxy that net/http would use.
func TestNothingFromTheEnvironment(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1/")
	}
	w := newWorld(t, zoneText, func(http.ResponseWriter, *http.Request) {})
	if w.transport.Proxy != nil {
		t.Error("there is a proxy")
	}
	if _, err := w.Fetch(t.Context(), Picture, "https://shop.example/"); err != nil {
		t.Error(err)
	}
}

// TestKeepsNothing lets a server set a cookie, and looks for it and for a Referer in what follows.
func TestKeepsNothing(t *testing.T) {
	var leaked atomic.Value
	w := newWorld(t, zoneText, func(rw http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Cookie", "Referer", "Authorization"} {
			if v := r.Header.Get(name); v != "" {
				leaked.Store(name + ": " + v)
			}
		}
		rw.Header().Set("Set-Cookie", "id=1; Path=/")
		if r.URL.Path == "/" {
			http.Redirect(rw, r, "/next", http.StatusFound)
		}
	})
	for range 2 {
		if _, err := w.Fetch(t.Context(), Picture, "https://shop.example/"); err != nil {
			t.Fatal(err)
		}
	}
	if v := leaked.Load(); v != nil {
		t.Error(v)
	}
}

func TestStatus(t *testing.T) {
	w := newWorld(t, zoneText, func(rw http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscanf(r.URL.Path, "/%d", &code)
		rw.WriteHeader(code)
	})
	for code, temporary := range map[int]bool{201: false, 204: false, 206: false, 300: false, 304: false, 401: false, 403: false, 404: false,
		408: true, 410: false, 429: true, 500: true, 503: true} {
		w.fails(t, Picture, fmt.Sprintf("https://shop.example/%d", code), BadStatus, temporary)
	}
	w.fails(t, Picture, "https://shop.example/302", Redirects, false) // to nowhere
}

func TestRedirects(t *testing.T) {
	w := newWorld(t, zoneText, func(rw http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			rw.Header().Set("Location", to)
			rw.WriteHeader(http.StatusFound)
			return
		}
		var n int
		if _, err := fmt.Sscanf(r.URL.Path, "/hops/%d", &n); err == nil && n > 0 {
			rw.Header().Set("Location", fmt.Sprintf("https://other.example/hops/%d", n-1))
			rw.WriteHeader(http.StatusMovedPermanently)
			return
		}
		fmt.Fprint(rw, "here")
	})
	for _, path := range []string{"/hops/3", "/?to=/a", "/?to=//other.example/a", "/?to=%3Fx=1", "/?to=https://other.example:443/"} {
		if body, err := w.Fetch(t.Context(), Picture, "https://shop.example"+path); err != nil || string(body) != "here" {
			t.Errorf("%s: %q %v", path, body, err)
		}
	}
	w.fails(t, Picture, "https://shop.example/hops/4", Redirects, false)
	w.fails(t, Picture, "https://shop.example/?to=%3Fto=https://shop.example/%3Fto=%252F%253Fto=/%25253Fto=/", Redirects, false)
	for _, to := range []string{
		"http://shop.example/", "ftp://shop.example/", "file:///etc/passwd", "data:text/plain,x", "gopher://shop.example/", "javascript:1",
		"https://user@shop.example/", "https://shop.example:8443/", "https://127.0.0.1/", "https://[::1]/", "https://localhost/",
		"https://shop.example:" + fmt.Sprint(w.site.HTTPS) + "/", "/%zz", "https://shop.example/" + strings.Repeat("a", maxURL),
	} {
		w.fails(t, Picture, "https://shop.example/?to="+strings.ReplaceAll(to, "%", "%25"), BadURL, false)
	}
	for url, want := range map[string]string{
		"ftp://shop.example/":                         "webfetch: ftp://shop.example/: the URL must begin with https://",
		"https://shop.example/hops/4":                 "webfetch: https://other.example/hops/1: more than 3 redirects",
		"https://shop.example/?to=/%25zz":             "webfetch: https://shop.example/?to=/%25zz: it redirects to what is not a URL",
		"https://shop.example/?to=http://a.example/x": "webfetch: https://shop.example/?to=http://a.example/x: it redirects to http://a.example/x: the URL must begin with https://",
	} {
		if _, err := w.Fetch(t.Context(), Picture, url); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
	// A list may be fetched by http, and then by https, too.
	for _, to := range []string{"http://other.example/", "https://shop.example/"} {
		if body, err := w.Fetch(t.Context(), CRL, "http://shop.example/?to="+to); err != nil || string(body) != "here" {
			t.Errorf("to %s: %q, %v", to, body, err)
		}
	}
}

// TestPrivateAddress has names and redirects that lead to addresses which are not public. The server
// would answer on all of 127.0.0.0/8.
func TestPrivateAddress(t *testing.T) {
	w := newWorld(t, zoneText+`
private.example. A 127.0.0.2
mapped.example. AAAA ::ffff:127.0.0.1
meta.example. A 169.254.169.254
local6.example. AAAA ::1
alias.example. CNAME private.example.
mixed.example. A 10.0.0.1
mixed.example. AAAA fd00::1
`, func(rw http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(rw, r, to, http.StatusFound)
		}
	})
	for _, host := range []string{"private", "mapped", "meta", "local6", "alias", "mixed"} {
		e := w.fails(t, Picture, "https://"+host+".example/", BadAddress, false)
		if !errors.Is(e, ErrAddress) || !strings.HasPrefix(e.Err.Error(), ErrAddress.Error()+": ") { // with the address, once
			t.Errorf("%s: %v", host, e)
		}
		w.fails(t, Picture, "https://shop.example/?to=https://"+host+".example/", BadAddress, false)
		w.fails(t, CRL, "http://shop.example/?to=http://"+host+".example/", BadAddress, false)
	}
}

// TestNoAddress checks the ports of the web, and that no guard is asked about what is no address.
func TestNoAddress(t *testing.T) {
	c := New(Options{Guard: func(netip.AddrPort) error { return nil }})
	if c.o.HTTPS != 443 || c.o.HTTP != 80 {
		t.Errorf("ports %d and %d", c.o.HTTPS, c.o.HTTP)
	}
	for address, want := range map[string]error{"192.0.2.1:443": nil, "shop.example:443": ErrAddress, "192.0.2.1": ErrAddress} {
		if err := c.control("tcp", address, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestSecondAddress has a name whose first address is refused.
func TestSecondAddress(t *testing.T) {
	w := newWorld(t, "two.example. A 10.0.0.1\ntwo.example. A 127.0.0.1\n", func(http.ResponseWriter, *http.Request) {})
	e := w.fails(t, Picture, "https://two.example/", BadTLS, false) // the certificate is for other names
	if !strings.Contains(e.Error(), "two.example") {
		t.Error(e)
	}
}

// TestRebinding has a name server that gives the address of the public server the first time, and from
// then on an address inside of our network, with a TTL of 0.
func TestRebinding(t *testing.T) {
	var asked atomic.Int64
	w := newWorld(t, zoneText, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(rw, r, "/again", http.StatusFound)
		}
	})
	server := nameserver.Serve(t, "", nameserver.Options{Lie: func(query []byte, overTCP bool) ([][]byte, bool) {
		sections := "rebind.example. 0 A 127.0.0.1"
		if asked.Add(1) > 2 { // A and AAAA of the first connection
			sections = "rebind.example. 0 A 127.0.0.99"
		}
		if nameserver.QuestionName(query) != "rebind.example." || bytes.Contains(query, []byte{0, 0, 28, 0, 1}) {
			sections = ""
		}
		out := nameserver.Respond(t, query, 0, sections)
		if overTCP {
			out = nameserver.Framed(out)
		}
		return [][]byte{out}, true
	}})
	r, err := upstream.NewClient(upstream.ClientConfig{Servers: []string{server.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	w.o.Resolver = r
	w.fails(t, Picture, "https://rebind.example/", BadAddress, false)
	if asked.Load() < 3 {
		t.Error("the name was not looked up again for the redirect")
	}
}

func TestDNS(t *testing.T) {
	w := newWorld(t, zoneText+"slow.example. A 1.1.1.1\n", func(http.ResponseWriter, *http.Request) {})
	w.fails(t, Picture, "https://none.example/", NoName, false)
	w.o.Resolver = nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		// What comes with an error does not count.
		return dns.Answer{Records: []dns.Record{{Addr: w.site.Addr}}}, &dns.Error{Kind: dns.KindServFail, Name: name, Type: typ}
	})
	w.fails(t, Picture, "https://shop.example/", NoName, true)
	w.o.Resolver = nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		return dns.Answer{}, &dns.Error{Kind: dns.KindLoop, Name: name, Type: typ}
	})
	w.fails(t, Picture, "https://shop.example/", NoName, false)
}

func TestServer(t *testing.T) {
	w := newWorld(t, zoneText+"wrong.example. A 127.0.0.1\n", func(http.ResponseWriter, *http.Request) {})
	w.fails(t, Picture, "https://wrong.example/", BadTLS, false)
	plain := New(Options{Resolver: w.o.Resolver, Guard: w.o.Guard, Roots: w.site.Roots, HTTPS: w.site.HTTP})
	if _, err := plain.Fetch(t.Context(), Picture, "https://shop.example/"); result(err) != BadTLS {
		t.Errorf("a server without TLS: %v", err)
	}
	system := New(Options{Resolver: w.o.Resolver, Guard: w.o.Guard, HTTPS: w.site.HTTPS})
	if _, err := system.Fetch(t.Context(), Picture, "https://shop.example/"); result(err) != BadTLS {
		t.Errorf("a server of an unknown authority: %v", err)
	}
	closed := New(Options{Resolver: w.o.Resolver, Guard: func(netip.AddrPort) error { return nil }, HTTPS: 1, Done: listed(t)})
	if _, err := closed.Fetch(t.Context(), Picture, "https://shop.example/"); result(err) != NoServer {
		t.Errorf("no server: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Fetch(ctx, Picture, "https://shop.example/"); result(err) != Stopped {
		t.Errorf("a caller that stopped: %v", err)
	}
}

func result(err error) Result {
	var e *Error
	if errors.As(err, &e) {
		return e.Result
	}
	return OK
}

// TestSizes fetches content of the largest size, and of one octet more, plain and compressed.
func TestSizes(t *testing.T) {
	compress := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		_, _ = z.Write(b)
		_ = z.Close()
		return out.Bytes()
	}
	noise := func(n int) []byte { // does not compress
		b, x := make([]byte, n), uint32(1)
		for i := range b {
			x = x*1664525 + 1013904223
			b[i] = byte(x >> 24)
		}
		return b
	}
	w := newWorld(t, zoneText, func(rw http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscanf(r.URL.Path, "/%d", &n)
		b := bytes.Repeat([]byte("a"), n)
		if r.URL.Query().Has("noise") {
			b = noise(n)
		}
		if e := r.URL.Query().Get("encoding"); e != "" {
			rw.Header().Set("Content-Encoding", e)
			if strings.Contains(strings.ToLower(e), "zip") {
				b = compress(b)
			}
		}
		if r.URL.Query().Has("chunked") {
			rw.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(rw).Flush()
		}
		_, _ = rw.Write(b)
	})
	for _, c := range []struct {
		kind Kind
		path string
		want Result
	}{
		{Picture, fmt.Sprintf("/%d", maxPicture), OK},
		{Picture, fmt.Sprintf("/%d", maxPicture+1), TooLarge},
		{Picture, fmt.Sprintf("/%d?chunked", maxPicture), OK},
		{Picture, fmt.Sprintf("/%d?chunked", maxPicture+1), TooLarge},
		{Picture, fmt.Sprintf("/%d?encoding=gzip", maxPicture), OK},
		{Picture, fmt.Sprintf("/%d?encoding=GZIP", maxPicture), OK},
		{Picture, fmt.Sprintf("/%d?encoding=gzip", maxPicture+1), TooLarge},
		{Picture, "/5000000?encoding=gzip", TooLarge},                           // a bomb of 5 KB
		{Picture, fmt.Sprintf("/%d?encoding=gzip&noise", maxPicture), TooLarge}, // larger when it is compressed
		{Certificate, fmt.Sprintf("/%d", maxCertificate), OK},
		{Certificate, fmt.Sprintf("/%d", maxCertificate+1), TooLarge},
		{CRL, fmt.Sprintf("/%d", maxCRL), OK},
		{CRL, fmt.Sprintf("/%d", maxCRL+1), TooLarge},
		{Picture, "/5?encoding=identity", OK},
		{Picture, "/5?encoding=br", BadContent},
		{Picture, "/5?encoding=gzip,+gzip", BadContent},
		{Picture, "/0", OK},
	} {
		body, err := w.Fetch(t.Context(), c.kind, "https://shop.example"+c.path)
		var n int
		fmt.Sscanf(c.path, "/%d", &n)
		if result(err) != c.want || err == nil && len(body) != n {
			t.Errorf("%s %s: %d octets, %v", c.kind, c.path, len(body), err)
		}
	}
}

// TestHeaders has responses whose header has many fields, or long ones.
func TestHeaders(t *testing.T) {
	w := newWorld(t, zoneText, func(rw http.ResponseWriter, r *http.Request) {
		var n, size int
		fmt.Sscanf(r.URL.Path, "/%d/%d", &n, &size)
		conn, out, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprint(out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
		for range n {
			fmt.Fprintf(out, "A: %s\r\n", strings.Repeat("b", size))
		}
		fmt.Fprint(out, "\r\n")
		_ = out.Flush()
	})
	for path, want := range map[string]Result{
		fmt.Sprintf("/%d/1", maxFields-1): OK, fmt.Sprintf("/%d/1", maxFields): TooLarge, "/10000/1": TooLarge,
		fmt.Sprintf("/1/%d", maxHeader-1000): OK, fmt.Sprintf("/1/%d", maxHeader+10000): TooLarge, "/20/100000": TooLarge,
	} {
		if _, err := w.Fetch(t.Context(), Picture, "https://shop.example"+path); result(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestHostileText checks that what a server writes is safe to print.
func TestHostileText(t *testing.T) {
	w := newWorld(t, zoneText, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", "https://\u202eevil.example/"+strings.Repeat("x", 1500))
		rw.WriteHeader(http.StatusFound)
	})
	e := w.fails(t, Picture, "https://shop.example/", BadURL, false)
	if got := clip(strings.Repeat("x", maxError)); len(got) > maxError/2+len("…") {
		t.Errorf("%d octets of a URL", len(got))
	}
	if text := e.Error(); strings.ContainsAny(text, "\u202e") || len(text) > 1000 {
		t.Errorf("%q", text)
	}
}
