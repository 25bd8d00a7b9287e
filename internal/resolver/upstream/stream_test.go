package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
	"sekimori/internal/testkit/nameserver"
)

// certificate returns a self-signed certificate for names and addresses, and a pool that contains
// it.
func certificate(tb testing.TB, names ...string) (tls.Certificate, *x509.CertPool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	for _, n := range names {
		if ip, err := netip.ParseAddr(n); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
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

// dot plays a DNS server over TLS in memory. It handles each query in a goroutine of its own.
type dot struct {
	t      *testing.T
	config *tls.Config
	// handle answers one query. It may call write at any time and several times. If it returns
	// false, the connection is closed.
	handle func(query []byte, write func([]byte)) (goOn bool)

	mu      sync.Mutex
	dialed  int
	open    int
	queries int
}

func newDoT(t *testing.T, cfg ClientConfig, handle func(query []byte, write func([]byte)) bool) (*dot, *Client) {
	t.Helper()
	cert, roots := certificate(t, "dns.example", "192.0.2.1")
	d := &dot{t: t, config: &tls.Config{Certificates: []tls.Certificate{cert}}, handle: handle}
	if cfg.Servers == nil {
		cfg.Servers = []string{"tls://192.0.2.1#dns.example"}
	}
	cfg.RootCAs, cfg.Dial = roots, d.dial
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return d, c
}

func (d *dot) dial(_ context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" || addr != "192.0.2.1:853" {
		d.t.Errorf("dialed %s %s", network, addr)
	}
	d.mu.Lock()
	d.dialed++
	d.open++
	d.mu.Unlock()
	near, far := net.Pipe()
	go d.serve(far)
	return near, nil
}

func (d *dot) serve(far net.Conn) {
	conn := tls.Server(far, d.config)
	var writing sync.Mutex
	write := func(b []byte) {
		writing.Lock()
		defer writing.Unlock()
		_, _ = conn.Write(nameserver.Framed(b))
	}
	var handlers sync.WaitGroup
	defer func() {
		_ = far.Close()
		handlers.Wait()
		d.mu.Lock()
		d.open--
		d.mu.Unlock()
	}()
	for {
		query, err := readFramed(conn, make([]byte, 2))
		if err != nil {
			return
		}
		d.mu.Lock()
		d.queries++
		d.mu.Unlock()
		handlers.Go(func() {
			if !d.handle(query, write) {
				_ = far.Close()
			}
		})
	}
}

func (d *dot) counts() (dialed, open, queries int) {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dialed, d.open, d.queries
}

// truth returns a correct answer to query: the name servers of the root, or an address for any
// other name.
func truth(t *testing.T, query []byte) []byte {
	if nameserver.QuestionName(query) == "." {
		return nameserver.Respond(t, query, 0, ". NS a.root.example")
	}
	b := nameserver.Respond(t, query, 0, nameserver.QuestionName(query)+" A 192.0.2.1")
	b[3] |= nameserver.BitAuthentic
	return b
}

// TestStreamIDsDiffer: the queries on one connection get different IDs, even if they were packed
// with the same ID.
func TestStreamIDsDiffer(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	st := newStream(near, near)
	defer st.close(errClosed)
	seen := map[string]bool{}
	q, err := dnswire.NewQuestion("x.example", dns.TypeA)
	if err != nil {
		t.Fatal(err)
	}
	for range maxPipelined {
		query := q.Pack(dnswire.Options{})
		query.Packet[0], query.Packet[1] = 0xff, 0xfe // close to the largest ID, so the IDs also wrap around
		if _, _, err := st.register(query); err != nil {
			t.Fatal(err)
		}
		seen[string(query.Packet[:2])] = true
	}
	if len(seen) != maxPipelined {
		t.Errorf("%d IDs for %d queries", len(seen), maxPipelined)
	}
}

// TestStreamEnds: a stream that has ended takes no query, and says why it ended. The time that ends an idle stream is
// not told as the timeout that it is, because nobody waited for an answer.
func TestStreamEnds(t *testing.T) {
	for _, tt := range []struct {
		why   string
		fails error // of each read
		want  error
	}{
		{"the server hangs up", io.EOF, io.EOF},
		{"it was idle", os.ErrDeadlineExceeded, errIdle},
		{"the server resets it", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, syscall.ECONNRESET},
	} {
		near, far := net.Pipe()
		defer far.Close()
		st := newStream(mute{near, tt.fails}, near)
		st.read(func() {})
		q, err := dnswire.NewQuestion("x.example", dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		if _, again, err := st.exchange(t.Context(), q.Pack(dnswire.Options{}), time.Minute); !again || !errors.Is(err, tt.want) {
			t.Errorf("%s: again %t, %v", tt.why, again, err)
		}
	}
}

// TestStreamBreaks: if a query cannot be written, the stream ends at once: a part of the query may have been sent.
func TestStreamBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		st := newStream(deaf{near}, near)
		q, err := dnswire.NewQuestion("x.example", dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		if _, again, err := st.exchange(t.Context(), q.Pack(dnswire.Options{}), time.Minute); again || !errors.Is(err, syscall.EPIPE) || !st.closed() {
			t.Errorf("again %t, %v", again, err)
		}
	})
}

// mute is a connection on which each read fails.
type mute struct {
	net.Conn
	err error
}

func (m mute) Read([]byte) (int, error) { return 0, m.err }
