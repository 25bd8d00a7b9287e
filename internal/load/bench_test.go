package load

import (
	"context"
	"io"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/config"
)

// BenchmarkMessage is one message through the whole daemon, everything cached,
// over a unix socket; allocations include the client's, about 90.
func BenchmarkMessage(b *testing.B) {
	o := DefaultCorpus()
	o.Messages, o.PerSession, o.Domains, o.Subdomains = 1000, 100, 10, 0
	o.SPF, o.Policies, o.Outcomes = Mix{{"1", 1}}, Mix{{"reject", 1}}, Mix{{"pass", 1}}
	for _, bc := range []struct{ name, size, signatures string }{
		{"2KB/rsa", "2KB", "rsa"}, {"2KB/none", "2KB", "none"}, {"200KB/rsa", "200KB", "rsa"}, {"200KB/five", "200KB", "five"}, {"5MB/rsa", "5MB", "rsa"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			o := o
			o.Sizes, o.Signatures = Mix{{bc.size, 1}}, Mix{{bc.signatures, 1}}
			benchmark(b, o)
		})
	}
}

func benchmark(b *testing.B, o CorpusOptions) {
	keys, err := testKeys()
	if err != nil {
		b.Fatal(err)
	}
	corpus, err := generate(o, keys)
	if err != nil {
		b.Fatal(err)
	}
	server, err := Serve(corpus.Zone, DNSOptions{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	cfg := config.Default()
	address := "unix:" + filepath.Join(b.TempDir(), "s")
	cfg.Listen = []config.Listener{{Address: address}}
	cfg.AuthservID, cfg.Admin.Listen = "mx.load.example", ""
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
	a, err := app.New(cfg, app.Options{Version: "bench", Log: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	a.Start()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		a.Stop(ctx)
	}()
	target, err := ParseTarget(b.Context(), address, false)
	if err != nil {
		b.Fatal(err)
	}
	r := &runner{corpus: corpus, o: Options{Milters: []Target{target}, Connections: 2, Check: CheckAll}}
	r.phase(b.Context(), int64(min(corpus.Messages(), 200)), 0)
	b.ReportAllocs()
	b.ResetTimer()
	t := r.phase(b.Context(), int64(b.N), 0)
	b.StopTimer()
	if t.err != nil || t.messages != int64(b.N) {
		b.Errorf("%d of %d messages: %v", t.messages, b.N, t.err)
	}
	for p, n := range t.verdicts {
		if !p.ok {
			b.Errorf("%d messages: %s, wanted %s", n, p.got, p.want)
		}
	}
}
