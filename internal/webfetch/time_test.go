package webfetch

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/website"
)

// inMemory returns a client whose connections lead to answer, with the time of the caller's bubble.
func inMemory(t *testing.T, cert tls.Certificate, o Options, answer func(conn net.Conn, r *http.Request, gone <-chan struct{})) *Client {
	t.Helper()
	o.Resolver = nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		return dns.Answer{Records: []dns.Record{{Addr: netip.MustParseAddr("192.0.1.1")}}}, nil
	})
	o.Done = listed(t)
	c := New(o)
	c.connect = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			conn := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{cert}})
			defer far.Close()
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err != nil {
				return
			}
			// The client's end of TLS must be read, or closing would wait for it.
			gone := make(chan struct{})
			go func() { _, _ = io.Copy(io.Discard, conn); close(gone) }()
			answer(conn, r, gone)
		}()
		return near, nil
	}
	return c
}

// TestTimes has servers that are slow. The time is that of a bubble.
func TestTimes(t *testing.T) {
	cert, roots := website.Certificate(t, "shop.example")
	trickle := func(conn net.Conn, text string, every time.Duration) {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
			time.Sleep(every)
		}
	}
	for _, c := range []struct {
		name   string
		answer func(net.Conn, *http.Request, <-chan struct{})
		want   Result
		after  time.Duration
	}{
		{"at once", func(conn net.Conn, _ *http.Request, _ <-chan struct{}) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
		}, OK, 0},
		{"just in time", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) {
			time.Sleep(maxHeaderTime - time.Millisecond)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
			time.Sleep(maxTime - maxHeaderTime)
			io.WriteString(conn, "a")
		}, OK, maxTime - time.Millisecond},
		{"no header", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) { <-gone }, Slow, maxHeaderTime},
		{"header by and by", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			trickle(conn, "A: b\r\n", 100*time.Millisecond)
		}, Slow, maxHeaderTime},
		{"interim responses without end", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) {
			trickle(conn, "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", 100*time.Millisecond)
		}, Slow, maxHeaderTime},
		{"no body", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
			<-gone
		}, Slow, maxTime},
		{"body by and by", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			trickle(conn, "1\r\na\r\n", 100*time.Millisecond)
		}, Slow, maxTime},
		{"endless body", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			trickle(conn, "aaaaaaaaaaaaaaaa", 0)
		}, TooLarge, 0},
		{"endless chunk extension", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=")
			trickle(conn, "aaaaaaaaaaaaaaaa", 0)
		}, BadContent, 0},
		{"endless trailer", func(conn net.Conn, _ *http.Request, gone <-chan struct{}) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n0\r\n")
			trickle(conn, "A: aaaaaaaaaaaaaaaa\r\n", 0)
		}, BadContent, 0},
		{"ends early", func(conn net.Conn, _ *http.Request, _ <-chan struct{}) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na")
		}, BadContent, 0},
		{"not HTTP", func(conn net.Conn, _ *http.Request, _ <-chan struct{}) {
			io.WriteString(conn, "220 mail.example ESMTP\r\n")
		}, BadContent, 0},
		{"nothing", func(net.Conn, *http.Request, <-chan struct{}) {}, BadContent, 0},
		{"redirects slowly", func(conn net.Conn, r *http.Request, _ <-chan struct{}) {
			time.Sleep(maxHeaderTime - time.Second)
			fmt.Fprintf(conn, "HTTP/1.1 302 Found\r\nLocation: /x%s\r\nContent-Length: 0\r\n\r\n", r.URL.Path)
		}, Slow, maxTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := inMemory(t, cert, Options{Roots: roots}, c.answer)
				began := time.Now()
				_, err := client.Fetch(t.Context(), Picture, "https://shop.example/")
				if took := time.Since(began); result(err) != c.want || took != c.after {
					t.Errorf("%v after %s, want %s after %s", err, took, c.want, c.after)
				}
				time.Sleep(time.Minute) // until the server has noticed
			})
		})
	}
}

// TestSilentServer has a server that takes connections and says nothing, not even for TLS.
func TestSilentServer(t *testing.T) {
	_, roots := website.Certificate(t, "shop.example")
	synctest.Test(t, func(t *testing.T) {
		client := inMemory(t, tls.Certificate{}, Options{Roots: roots}, nil)
		client.connect = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return near, nil
		}
		began := time.Now()
		_, err := client.Fetch(t.Context(), Picture, "https://shop.example/")
		if took := time.Since(began); result(err) != Slow || took != maxHeaderTime {
			t.Errorf("%v after %s", err, took)
		}
		time.Sleep(time.Minute)
	})
}

// TestSilentDNS has name servers that do not answer.
func TestSilentDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := New(Options{Resolver: nameserver.Func(func(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
			<-ctx.Done()
			return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
		})})
		began := time.Now()
		_, err := client.Fetch(t.Context(), Picture, "https://shop.example/")
		if took := time.Since(began); result(err) != Slow || took != maxHeaderTime {
			t.Errorf("%v after %s", err, took)
		}
		time.Sleep(time.Minute)
	})
}
