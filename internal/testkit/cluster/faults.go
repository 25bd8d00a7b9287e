package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Slow makes every statement that inserts into one of the tables wait first, as if the server were
// busy. A duration of 0 ends that.
func (c *Cluster) Slow(t testing.TB, database string, wait time.Duration, tables ...string) {
	t.Helper()
	for _, table := range tables {
		statements := "DROP TRIGGER IF EXISTS slow ON " + table
		if wait > 0 {
			statements = fmt.Sprintf(`CREATE OR REPLACE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN PERFORM pg_sleep(tg_argv[0]::float); RETURN NULL; END $$;
				CREATE OR REPLACE TRIGGER slow BEFORE INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.slow('%f')`, table, wait.Seconds())
		}
		c.SQL(t, database, statements)
	}
}

// SmallDatabase creates a database on a file system of the given number of MiB, and returns its URL
// and the directory of the file system. A test fills the disk by a file in that directory. The test
// is skipped where it may not mount a file system.
func (c *Cluster) SmallDatabase(t testing.TB, mib int) (rawURL, dir string) {
	t.Helper()
	if c.credential == nil {
		t.Skipf("only root can mount a small file system")
	}
	dir = filepath.Join(c.dir, "small")
	check(t, os.Mkdir(dir, 0o755))
	options := fmt.Sprintf("size=%dm,uid=%d,gid=%d,mode=700", mib, c.credential.Uid, c.credential.Gid)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "none", dir).CombinedOutput(); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v: %s", err, out)
	}
	c.SQL(t, "postgres", "CREATE TABLESPACE small LOCATION '"+dir+"'")
	return c.create(t, "small", " TABLESPACE small"), dir
}

// CA returns the file with the certificate that a client must trust. It is the one that the server
// shows for its address.
func (c *Cluster) CA() string { return filepath.Join(c.dir, "cert.pem") }

// certify makes the server's key and certificate.
func (c *Cluster) certify(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "PostgreSQL of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.ParseIP(c.host)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		path := filepath.Join(c.dir, name)
		check(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
		if c.credential != nil {
			check(t, os.Chown(path, int(c.credential.Uid), int(c.credential.Gid)))
		}
	}
}
