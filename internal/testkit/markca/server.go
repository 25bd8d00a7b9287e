package markca

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Serve serves HTTPS on loopback with a certificate for the host names, which a CA of its own issued. It
// returns the address and a pool with that CA. The CA is none for marks. The server stops when the test
// ends.
func (ca *CA) Serve(tb testing.TB, handler http.Handler, hosts ...string) (address string, roots *x509.CertPool) {
	tb.Helper()
	rootKey, key := newKey(tb), newKey(tb)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Web Root"}, NotBefore: ca.Now.AddDate(-1, 0, 0),
		NotAfter: ca.Now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	root = ca.sign(tb, root, root, rootKey, rootKey)
	leaf := ca.sign(tb, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "web"}, NotBefore: root.NotBefore,
		NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: hosts}, root, key, rootKey)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair(leaf, key)}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	tb.Cleanup(server.Close)
	roots = x509.NewCertPool()
	roots.AddCert(root)
	return server.Listener.Addr().String(), roots
}

func pair(leaf *x509.Certificate, key *ecdsa.PrivateKey) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}
