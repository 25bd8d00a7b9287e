// Package website serves web sites on loopback, for tests of what the daemon fetches. For tests only.
package website

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Server is a web server that answers https and http until the test ends.
type Server struct {
	Addr        netip.Addr
	HTTPS, HTTP uint16         // the ports
	Roots       *x509.CertPool // for the certificate of https
}

// Serve starts a server whose certificate is for the given names. The handler gets the requests of both
// protocols. It may hijack its connection, because only HTTP/1.1 is spoken.
func Serve(tb testing.TB, h http.Handler, names ...string) *Server {
	tb.Helper()
	cert, roots := Certificate(tb, names...)
	s := &Server{Addr: netip.MustParseAddr("127.0.0.1"), Roots: roots}
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}}
	listen := func() (net.Listener, uint16) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		return l, netip.MustParseAddrPort(l.Addr().String()).Port()
	}
	secure, port := listen()
	plain, plainPort := listen()
	s.HTTPS, s.HTTP = port, plainPort
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.ServeTLS(secure, "", "") })
	serving.Go(func() { _ = server.Serve(plain) })
	tb.Cleanup(func() {
		_ = server.Close()
		serving.Wait() // a Serve that had not begun closes its listener now
	})
	return s
}

// Certificate makes a certificate for names, and the pool with its root.
func Certificate(tb testing.TB, names ...string) (tls.Certificate, *x509.CertPool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}
