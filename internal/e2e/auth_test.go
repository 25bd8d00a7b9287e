package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
)

// serveAuth listens at path and plays Dovecot's authentication server for Postfix. It implements
// only the commands that Postfix sends, and accepts every PLAIN login as user "alice".
func serveAuth(path string) (net.Listener, error) {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go authenticate(conn)
		}
	}()
	return ln, nil
}

func authenticate(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprint(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00000000000000000000000000000000\nDONE\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if args := strings.Split(lines.Text(), "\t"); args[0] == "AUTH" && len(args) > 1 {
			_, _ = fmt.Fprintf(conn, "OK\t%s\tuser=alice\n", args[1])
		}
	}
}

// serveSASL listens at path and plays saslauthd for Sendmail. A query is four strings (login,
// password, service, realm), each preceded by its length. serveSASL accepts every login: the answer
// is "OK", also preceded by its length.
func serveSASL(path string) (net.Listener, error) {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(patience))
				for range 4 { // login, password, service, realm
					var size [2]byte
					if _, err := io.ReadFull(conn, size[:]); err != nil {
						return
					}
					if _, err := io.CopyN(io.Discard, conn, int64(size[0])<<8|int64(size[1])); err != nil {
						return
					}
				}
				_, _ = conn.Write([]byte("\x00\x02OK"))
			}()
		}
	}()
	return ln, nil
}

// makeCertificate writes a self-signed certificate for STARTTLS.
func makeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
