package webfetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// TestExplain has every error of a request, and what the caller is told.
func TestExplain(t *testing.T) {
	u := &url.URL{Scheme: "https", Host: "shop.example", Path: "/a"}
	live := t.Context()
	stopped, stop := context.WithCancel(live)
	stop()
	late, end := context.WithTimeout(live, -1)
	defer end()
	refused := fmt.Errorf("%w: 10.0.0.1", ErrAddress)
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	name := func(k dns.ErrorKind) error {
		return &nameError{"shop.example", &dns.Error{Kind: k, Name: "shop.example", Type: dns.TypeA}}
	}
	const headers = "net/http: server response headers exceeded 32768 bytes; aborted"
	for _, tt := range []struct {
		caller, ctx context.Context
		err         error
		want        Result
		temporary   bool
		text        string // "": that of the error
	}{
		{stopped, stopped, context.Canceled, Stopped, true, ""},
		{stopped, stopped, refused, Stopped, true, ""},
		{late, late, context.DeadlineExceeded, Slow, true, "it took longer than 10s"},
		{live, late, io.EOF, Slow, true, "it took longer than 10s"},
		{live, late, errSlowHeader, Slow, true, "the server took longer than 5s to answer"},
		{live, late, refused, BadAddress, false, ""},
		{live, live, ErrAddress, BadAddress, false, ""},
		{live, live, op(refused), BadAddress, false, refused.Error()},
		{live, live, fmt.Errorf("x: %w", op(refused)), BadAddress, false, refused.Error()},
		{live, live, errSlowHeader, Slow, true, ""},
		{live, live, errTooLong, TooLarge, false, "it is larger than what may be fetched"},
		{live, live, contentError{errTooLong}, TooLarge, false, ""},
		{live, live, tooLarge("more than %d fields", 3), TooLarge, false, "more than 3 fields"},
		{live, live, errors.New(headers), TooLarge, false, ""},
		{live, live, statusError(404), BadStatus, false, "the server answered with status 404"},
		{live, live, statusError(408), BadStatus, true, ""},
		{live, live, statusError(428), BadStatus, false, ""},
		{live, live, statusError(429), BadStatus, true, ""},
		{live, live, statusError(499), BadStatus, false, ""},
		{live, live, statusError(500), BadStatus, true, ""},
		{live, live, errNoLocation, Redirects, false, "it redirects, but does not say where to"},
		{live, live, &nameError{"shop.example", nil}, NoName, false, "shop.example has no address"},
		{live, live, name(dns.KindServFail), NoName, true, "the address of shop.example cannot be found: " + errors.Unwrap(name(dns.KindServFail)).Error()},
		{live, live, name(dns.KindTooLarge), NoName, false, ""},
		{live, live, op(errors.New("tls: no")), BadTLS, false, ""},
		{live, live, errEncoding, BadContent, false, "the content is compressed in a way that was not asked for"},
		{live, live, op(os.ErrDeadlineExceeded), Slow, true, ""},
		{live, live, op(syscall.ECONNREFUSED), NoServer, true, "dial tcp: connection refused"},
		{live, live, contentError{gzip.ErrChecksum}, BadContent, false, "the content cannot be read: gzip: invalid checksum"},
		{live, live, contentError{io.ErrUnexpectedEOF}, BadContent, true, ""},
		{live, live, io.EOF, BadContent, true, ""},
		{live, live, errors.New(strings.Repeat("x", maxError+1)), BadContent, true, strings.Repeat("x", maxError) + "..."},
		{live, live, errors.New("\u202e"), BadContent, true, `"\u202e"`},
	} {
		want := tt.text
		if want == "" {
			want = tt.err.Error()
		}
		e := explain(tt.caller, tt.ctx, u, tt.err)
		if e.Result != tt.want || e.Temporary != tt.temporary || e.URL != u.String() || e.Err.Error() != want || e.Error() != "webfetch: https://shop.example/a: "+want {
			t.Errorf("%v: %+v, want %s, %t, %s", tt.err, e, tt.want, tt.temporary, want)
		}
		if tt.want == BadAddress != errors.Is(e, ErrAddress) && tt.caller != stopped {
			t.Errorf("%v is lost", tt.err)
		}
	}
}

// TestContent has responses with the largest content, with an octet more, and with a broken compression.
func TestContent(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("hello"))
	_ = z.Close()
	gz := packed.String()
	n := int64(len(gz))
	for _, tt := range []struct {
		encodings    []string
		body         string
		length, most int64
		want         string
		err          error
	}{
		{nil, "abc", 3, 3, "abc", nil}, {nil, "abc", -1, 3, "abc", nil}, {nil, "abc", -1, 2, "", errTooLong}, {nil, "", 4, 3, "", errTooLong},
		{nil, "", 0, 0, "", nil}, {[]string{"Identity"}, "abc", 3, 3, "abc", nil},
		{[]string{"gzip"}, gz, n, n, "hello", nil}, {[]string{"GZip"}, gz, -1, n, "hello", nil}, {[]string{"gzip"}, gz, -1, n - 1, "", errTooLong},
		{[]string{"gzip"}, gz[:n-1], -1, n, "", io.ErrUnexpectedEOF}, {[]string{"gzip"}, "hello, this is not compressed", -1, 100, "", gzip.ErrHeader},
		{[]string{"gzip"}, "", -1, n, "", io.EOF},
		{[]string{"br"}, "abc", 3, 3, "", errEncoding}, {[]string{"gzip", "gzip"}, gz, n, n, "", errEncoding}, {[]string{"identity", "gzip"}, gz, n, n, "", errEncoding},
	} {
		got, err := content(&http.Response{Header: http.Header{"Content-Encoding": tt.encodings}, ContentLength: tt.length,
			Body: io.NopCloser(strings.NewReader(tt.body))}, tt.most)
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q %q of %d: %q, %v", tt.encodings, tt.body, tt.most, got, err)
		}
		if c := (contentError{}); err != nil && !errors.Is(tt.err, errEncoding) && tt.length < 0 && !errors.As(err, &c) {
			t.Errorf("%q: %v is not an error of the content", tt.body, err)
		}
	}
}

// TestKinds: every kind has a bound, and every result a word of its own.
func TestKinds(t *testing.T) {
	want := map[Kind]int64{Picture: 64 << 10, Certificate: 64 << 10, CRL: 10 << 20}
	for _, k := range Kinds {
		if k.limit() != want[k] {
			t.Errorf("%s: %d", k, k.limit())
		}
		delete(want, k)
	}
	if len(want) != 0 || len(Kinds) != 3 {
		t.Errorf("%v are missing in %v", want, Kinds)
	}
	if r := slices.Sorted(slices.Values(Results)); len(slices.Compact(r)) != 12 {
		t.Errorf("%q", r)
	}
}

// TestDial has names with several addresses, and says which of them are tried.
func TestDial(t *testing.T) {
	broken, later := errors.New("broken"), errors.New("later")
	guarded := fmt.Errorf("%w: guarded", ErrAddress)
	servFail := &dns.Error{Kind: dns.KindServFail}
	for _, tt := range []struct {
		a, aaaa string
		failing dns.Type // what DNS cannot answer
		answers []error  // of the connections
		want    string   // the connections
		err     error
	}{
		{"192.0.2.1", "2001:db8::1", 0, []error{nil}, "192.0.2.1:443", nil},
		{"192.0.2.1", "2001:db8::1", 0, []error{broken, nil}, "192.0.2.1:443 [2001:db8::1]:443", nil},
		{"192.0.2.1", "2001:db8::1", 0, []error{broken, later}, "192.0.2.1:443 [2001:db8::1]:443", broken},
		{"192.0.2.1 192.0.2.2 192.0.2.3", "", 0, []error{broken, guarded, later}, "192.0.2.1:443 192.0.2.2:443 192.0.2.3:443", guarded},
		{"192.0.2.1 192.0.2.2", "", 0, []error{guarded, nil}, "192.0.2.1:443 192.0.2.2:443", nil},
		{"192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5", "", 0, []error{broken, broken, broken, later, nil},
			"192.0.2.1:443 192.0.2.2:443 192.0.2.3:443 192.0.2.4:443", broken},
		{"", "::ffff:192.0.2.1", 0, nil, "", ErrAddress},
		{"192.0.2.1", "::ffff:192.0.2.1", 0, []error{nil}, "192.0.2.1:443", nil},
		{"", "2001:db8::1", dns.TypeA, []error{nil}, "[2001:db8::1]:443", nil},
		{"192.0.2.1", "", dns.TypeAAAA, []error{nil}, "192.0.2.1:443", nil},
		{"", "", dns.TypeA, nil, "", servFail}, {"", "", dns.TypeAAAA, nil, "", servFail}, {"", "", 0, nil, "", nil},
	} {
		c := New(Options{Resolver: nameserver.Func(func(_ context.Context, _ dns.Name, typ dns.Type) (answer dns.Answer, err error) {
			if typ == tt.failing {
				return answer, servFail
			}
			for _, s := range strings.Fields(map[dns.Type]string{dns.TypeA: tt.a, dns.TypeAAAA: tt.aaaa}[typ]) {
				answer.Records = append(answer.Records, dns.Record{Addr: netip.MustParseAddr(s)})
			}
			return answer, nil
		})})
		var tried []string
		near, far := net.Pipe()
		c.connect = func(_ context.Context, network, address string) (net.Conn, error) {
			tried = append(tried, address)
			if err := tt.answers[len(tried)-1]; err != nil || network != "tcp" {
				return nil, err
			}
			return near, nil
		}
		conn, err := c.dial(t.Context(), "tcp", "shop.example:443")
		none := (*nameError)(nil)
		if got := strings.Join(tried, " "); got != tt.want || (conn == near) != (err == nil) || !errors.Is(err, tt.err) && !errors.As(err, &none) {
			t.Errorf("%s %s: tried %s, %v", tt.a, tt.aaaa, got, err)
		}
		if tt.a+tt.aaaa == "" && (!errors.As(err, &none) || none.name != "shop.example" || (none.err == nil) != (tt.failing == 0)) {
			t.Errorf("no address: %v", err)
		}
		_, _ = near.Close(), far.Close()
	}
}

// TestDialEnds: no further address is tried after the time has ended, and an address without a port is none.
func TestDialEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := New(Options{HTTPS: 1443, HTTP: 1080, Resolver: nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) {
		return dns.Answer{Records: []dns.Record{{Addr: netip.MustParseAddr("192.0.2.1")}}}, nil
	})})
	var tried []string
	c.connect = func(ctx context.Context, _, address string) (net.Conn, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a connection without a deadline")
		}
		tried = append(tried, address)
		cancel()
		return nil, io.EOF
	}
	for _, tt := range []struct {
		address string
		err     error
	}{{"shop.example:80", io.EOF}, {"shop.example:443", errSlowHeader}} {
		if _, err := c.dial(ctx, "tcp", tt.address); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.address, err, tt.err)
		}
	}
	if _, err := c.dial(t.Context(), "tcp", "shop.example:443"); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if want := []string{"192.0.2.1:1080", "192.0.2.1:1443", "192.0.2.1:1443"}; !slices.Equal(tried, want) {
		t.Errorf("tried %q, want %q", tried, want)
	}
	if _, err := c.dial(t.Context(), "tcp", "shop.example"); err == nil || err.Error() != "address shop.example: missing port in address" {
		t.Error(err)
	}
}
