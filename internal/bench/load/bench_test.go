package load

import (
	"context"
	"io"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/app"
	"sekimori/internal/bench/traffic"
	"sekimori/internal/config"
)

// BenchmarkMessage sends messages through the whole daemon over a unix socket. All DNS answers are
// in the cache. About 90 of the allocations for each message are made by the test's milter client,
// not by the daemon.
func BenchmarkMessage(b *testing.B) {
	o := warmCorpus()
	for _, bc := range []struct{ name, size, signatures string }{
		{"2KB/rsa", "2KB", "rsa"}, {"2KB/none", "2KB", "none"}, {"200KB/rsa", "200KB", "rsa"}, {"200KB/five", "200KB", "five"}, {"5MB/rsa", "5MB", "rsa"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			o := o
			o.Sizes, o.Signatures = mix(bc.size), mix(bc.signatures)
			benchmark(b, o)
		})
	}
}

// warmCorpus returns options for the simplest mail: messages of 2 KB with one RSA signature, from
// 10 domains.
func warmCorpus() traffic.Options {
	o := traffic.Default()
	o.Messages, o.PerSession, o.Domains, o.Subdomains = 1000, 100, 10, 0
	o.Sizes, o.Signatures = mix("2KB"), mix("rsa")
	o.SPF, o.Policies, o.Outcomes = mix("1"), mix("reject"), mix("pass")
	return o
}

// warmStation starts the whole daemon and sends up to 200 messages, so that the DNS answers are in
// its cache. It returns a runner with two connections to the daemon.
func warmStation(b testing.TB, o traffic.Options) *runner {
	b.Helper()
	keys, err := testKeys()
	if err != nil {
		b.Fatal(err)
	}
	corpus, err := keys.Corpus(o)
	if err != nil {
		b.Fatal(err)
	}
	server, err := traffic.Serve(corpus.Zone, traffic.DNSOptions{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	cfg := config.Default()
	address := "unix:" + filepath.Join(b.TempDir(), "s")
	cfg.Listen = []config.Listener{{Address: address}}
	cfg.AuthservID, cfg.Admin.Listen = "mx.load.example", ""
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
	a, err := app.New(cfg, app.Options{Version: "bench", Log: io.Discard, Now: time.Now, Registry: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	a.Start()
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		a.Stop(ctx)
	})
	target, err := ParseTarget(b.Context(), address, false)
	if err != nil {
		b.Fatal(err)
	}
	r := &runner{corpus: corpus, o: Options{Milters: []Target{target}, Connections: 2, Check: CheckAll}}
	r.phase(b.Context(), int64(min(corpus.Messages(), 200)), 0, 0)
	return r
}

// send sends n messages and checks that each is answered as expected.
func (r *runner) send(b testing.TB, n int) {
	b.Helper()
	t := r.phase(b.Context(), int64(n), 0, 0)
	if t.err != nil || t.messages != int64(n) {
		b.Errorf("%d of %d messages: %v", t.messages, n, t.err)
	}
	for p, n := range t.verdicts {
		if !p.ok {
			b.Errorf("%d messages: %s, wanted %s", n, p.got, p.want)
		}
	}
}

func benchmark(b *testing.B, o traffic.Options) {
	r := warmStation(b, o)
	b.ReportAllocs()
	b.ResetTimer()
	r.send(b, b.N)
	b.StopTimer()
}

// A message of 2 KB with one signature, whose DNS answers are in the cache, may make this many
// allocations. The milter client's allocations (about 90) are included. Measured: 267 allocations
// of 33 KB together. With the race detector, which makes pools drop objects, there were 286
// allocations of 44 KB. Before buffers were reused, there were 702 allocations of 64 KB.
const (
	allowedAllocations = 310
	allowedBytes       = 50 << 10
)

// TestAllocations fails if a message needs more memory than allowed. A change that makes more
// garbage must therefore also change the limits above.
func TestAllocations(t *testing.T) {
	const messages = 500
	o := warmCorpus()
	o.Messages = 200
	r := warmStation(t, o)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.send(t, messages)
	runtime.ReadMemStats(&after)
	n, size := (after.Mallocs-before.Mallocs)/messages, (after.TotalAlloc-before.TotalAlloc)/messages
	if n > allowedAllocations || size > allowedBytes {
		t.Errorf("a message costs %d allocations of %d octets together, want at most %d of %d", n, size, allowedAllocations, allowedBytes)
	}
	t.Logf("a message costs %d allocations of %d octets together", n, size)
}
