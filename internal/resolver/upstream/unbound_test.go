package upstream

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

const unboundConf = `
server:
	interface: 127.0.0.1@%[1]d
	port: %[1]d
	do-daemonize: no
	chroot: ""
	username: ""
	directory: "%[2]s"
	pidfile: ""
	use-syslog: no
	logfile: ""
	verbosity: 1
	module-config: "iterator"
	do-not-query-localhost: no
	access-control: 127.0.0.0/8 allow
	num-threads: 1
	do-ip6: no
	max-udp-size: 1232
	outbound-msg-retry: 1
	local-zone: "2.0.192.in-addr.arpa." nodefault
%[4]s
remote-control:
	control-enable: no
forward-zone:
	name: "."
	forward-addr: 127.0.0.1@%[3]s
`

// startUnbound runs the recursive resolver Unbound, which sends its queries to s, and returns the
// address of Unbound. more is added to its configuration.
func startUnbound(t *testing.T, s *nameserver.Server, more string) string {
	t.Helper()
	path, err := exec.LookPath("unbound")
	if err != nil {
		path = "/usr/sbin/unbound"
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("unbound is not installed; CI must have it: ", err)
		}
		t.Skip("unbound is not installed (apt-get install unbound): ", err)
	}
	dir := t.TempDir()
	port := freePort(t)
	_, upstream, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, unboundConf, port, dir, upstream, strings.ReplaceAll(more, "PORT", strconv.Itoa(port))), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "-d", "-c", conf)
	cmd.WaitDelay = 5 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	started := make(chan bool, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "start of service") {
				started <- true
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	select {
	case <-started:
	case <-done:
		t.Fatal("unbound ended at once")
	case <-time.After(longTimeout):
		t.Fatal("unbound did not start")
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// freePort returns a port that was free for UDP and TCP a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	s, err := zone.NewServer(zone.New(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBehindUnbound: the client gets correct answers from Unbound, which many hosts run.
func TestBehindUnbound(t *testing.T) {
	fill := strings.Repeat("k", 255)
	s := nameserver.Serve(t, fmt.Sprintf(`
example.com 900 SOA ns hostmaster 1 2 3 4 120
example.com A 192.0.2.1
example.com AAAA 2001:db8::1
example.com MX 10 mail.example.com
null.example.com MX 0 .
example.com TXT "v=spf1 " "-all"
1.2.0.192.in-addr.arpa PTR mail.example.com
big._domainkey.example.com TXT "v=DKIM1; p=" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s"
octets.example.com TXT "\000\128\255\"\\;"
odd\200\"\\x.example.com TXT "odd"
c1.example.com CNAME c2.example.com
c2.example.com CNAME c3.example.com
c3.example.com CNAME c4.example.com
c4.example.com TXT "end of the chain"
gone.example.com CNAME nothing.example.com
l1.example.com CNAME l2.example.com
l2.example.com CNAME l1.example.com
a.deep.example.com A 192.0.2.2
! fail.example.com * servfail
! refused.example.com * refused
`, fill), nameserver.Options{})
	c, err := NewClient(ClientConfig{Servers: []string{startUnbound(t, s, "")}, Timeout: longTimeout})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cases := []struct {
		name   dns.Name
		typ    dns.Type
		want   string
		reason string
	}{
		{"example.com", dns.TypeA, "NOERROR example.com 192.0.2.1", ""},
		{"example.com", dns.TypeAAAA, "NOERROR example.com 2001:db8::1", ""},
		{"example.com", dns.TypeMX, "NOERROR example.com 10:mail.example.com", ""},
		{"null.example.com", dns.TypeMX, "NOERROR null.example.com 0:", "null MX (RFC 7505)"},
		{"example.com", dns.TypeTXT, `NOERROR example.com "v=spf1 -all"`, ""},
		{"1.2.0.192.in-addr.arpa", dns.TypePTR, "NOERROR 1.2.0.192.in-addr.arpa mail.example.com", ""},
		{"big._domainkey.example.com", dns.TypeTXT, `NOERROR big._domainkey.example.com "v=DKIM1; p=` + strings.Repeat(fill, 8) + `"`, "over TCP"},
		{"octets.example.com", dns.TypeTXT, `NOERROR octets.example.com "\x00\x80\xff\"\\;"`, "raw octets"},
		{"odd\xc8\"\\x.example.com", dns.TypeTXT, "NOERROR odd\xc8\"\\x.example.com \"odd\"", "odd octets in the name"},
		{"c1.example.com", dns.TypeTXT, `NOERROR c4.example.com "end of the chain"`, "chain"},
		{"gone.example.com", dns.TypeTXT, "NXDOMAIN nothing.example.com", "dangling alias"},
		{"l1.example.com", dns.TypeTXT, "servfail", "loop"},
		{"nope.example.com", dns.TypeA, "NXDOMAIN nope.example.com", ""},
		{"deep.example.com", dns.TypeA, "NOERROR deep.example.com", "empty non-terminal"},
		{"example.com", dns.TypePTR, "NOERROR example.com", "NODATA"},
		{"fail.example.com", dns.TypeA, "servfail", ""},
		{"refused.example.com", dns.TypeA, "servfail", "unbound does not pass REFUSED on"},
	}
	for _, tt := range cases {
		a, err := c.Lookup(t.Context(), tt.name, tt.typ)
		got := strings.Replace(nameserver.Show(a, err), " "+a.TTL.String(), "", 1)
		if got != tt.want {
			t.Errorf("%q %s: got %s, want %s (%s)", tt.name, tt.typ, got, tt.want, tt.reason)
		}
		if err == nil && (a.TTL <= 0 || a.TTL > 5*time.Minute) {
			t.Errorf("%q %s: TTL %s", tt.name, tt.typ, a.TTL)
		}
	}
}

// TestBehindUnboundTLS: the client sends many queries to Unbound over few TLS connections.
func TestBehindUnboundTLS(t *testing.T) {
	var z strings.Builder
	const names = 40
	for i := range names {
		fmt.Fprintf(&z, "n%d.example.com A 192.0.2.%d\n", i, i)
	}
	cert, roots := certificate(t, "dns.example")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"key.pem": {Type: "PRIVATE KEY", Bytes: key}, "cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr := startUnbound(t, nameserver.Serve(t, z.String(), nameserver.Options{}),
		fmt.Sprintf("\ttls-port: PORT\n\ttls-service-key: %q\n\ttls-service-pem: %q\n", filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")))
	m := testMetrics(t)
	c, err := NewClient(ClientConfig{Servers: []string{"tls://" + addr + "#dns.example"}, RootCAs: roots, Timeout: longTimeout, Metrics: m.Metrics})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var wg sync.WaitGroup
	for i := range names {
		wg.Go(func() {
			a, err := c.Lookup(t.Context(), dns.Name(fmt.Sprintf("n%d.example.com", i)), dns.TypeA)
			if err != nil || len(a.Records) != 1 || a.Records[0].Addr.As4()[3] != byte(i) {
				t.Errorf("n%d: %s", i, nameserver.Show(a, err))
			}
		})
	}
	wg.Wait()
	if n := m.Values(t)["tls_connections opened"]; n < 1 || n > 3 { // Unbound may close a connection early
		t.Errorf("%v connections for %d queries", n, names)
	}
}
