package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// silenceTimeout is how long tests over real sockets wait if no answer may come. longTimeout is how
// long they wait if an answer must come, however slow the machine is.
const (
	silenceTimeout = 30 * time.Millisecond
	longTimeout    = 30 * time.Second
)

// TestResolver looks names up through the cache, the client, a real socket and the metrics.
func TestResolver(t *testing.T) {
	s := nameserver.Serve(t, "a.example 60 A 192.0.2.1\n! f.example A servfail", nameserver.Options{})
	m := nameserver.NewSeries()
	cfg := Config{Cache: cacheDefaults()}
	cfg.Client = ClientConfig{Servers: []string{s.Addr()}, Timeout: longTimeout}
	r, err := New(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := r.Servers(); len(got) != 1 || got[0] != s.Addr() {
		t.Errorf("servers %q", got)
	}
	for i, cached := range []bool{false, true, false} {
		if i == 2 {
			r.Purge()
		}
		a, err := r.Lookup(t.Context(), "a.example", dns.TypeA)
		if err != nil || a.Cached != cached || len(a.Records) != 1 || a.Server != s.Addr() {
			t.Errorf("lookup %d: %+v, %v", i, a, err)
		}
	}
	for range 2 {
		if got := nameserver.Show(r.Lookup(t.Context(), "f.example", dns.TypeA)); got != "servfail" {
			t.Errorf("got %s", got)
		}
	}
	m.Expect(t, map[string]float64{
		"queries A noerror": 2, "queries A servfail": 1, "query_duration_seconds": 3,
		"cache_misses positive": 2, "cache_misses failure": 1, "cache_hits positive": 1, "cache_hits failure": 1,
		"cache_entries": 2,
	})
	if b := m.Values(t)["cache_bytes"]; b < 2*storeOverhead {
		t.Errorf("%v octets", b)
	}
}

// TestResolverReload: a reload replaces the Resolver and continues to use the same series.
func TestResolverReload(t *testing.T) {
	s := nameserver.Serve(t, "a.example 60 A 192.0.2.1", nameserver.Options{})
	m := testMetrics(t)
	cfg := Config{Cache: cacheDefaults()}
	cfg.Client = ClientConfig{Servers: []string{s.Addr()}, Timeout: longTimeout}
	for range 2 {
		r, err := NewWithMetrics(cfg, m.Metrics)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Lookup(t.Context(), "a.example", dns.TypeA); err != nil {
			t.Error(err)
		}
		r.Close()
	}
	m.Expect(t, map[string]float64{"queries A noerror": 2, "cache_misses positive": 2, "cache_entries": 1})
}

func TestResolverErrors(t *testing.T) {
	cfg := Config{Cache: cacheDefaults()}
	cfg.Client.Servers = []string{"not an address"}
	if _, err := New(cfg, prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "not an address") {
		t.Errorf("error %v", err)
	}
	m := testMetrics(t)
	cfg.Client.Servers = []string{"192.0.2.1"}
	if r, err := New(cfg, m); r != nil || err == nil || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("series registered twice: %v, %v", r, err)
	}
	cfg.Client.Servers = []string{"not an address"}
	r, err := NewWithMetrics(Config{Cache: cacheDefaults(), Client: ClientConfig{Servers: []string{"192.0.2.1"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if with, err := r.With(cfg.Client); with != nil || err == nil || !strings.Contains(err.Error(), "not an address") {
		t.Errorf("%v, error %v", with, err)
	}
}

// TestResolverTells: a panic of the client is told to the function that the cache has, the metrics can show a
// Resolver again that is not the newest, and after Close nothing is asked.
func TestResolverTells(t *testing.T) {
	m := testMetrics(t)
	told := make(chan any, 1)
	cfg := Config{Cache: cacheDefaults(), Client: ClientConfig{
		Servers: []string{"192.0.2.1"}, Dial: func(context.Context, string, string) (net.Conn, error) { panic("boom") },
	}}
	cfg.Cache.OnPanic = func(p any) { told <- p }
	r, err := NewWithMetrics(cfg, m.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := nameserver.Show(r.Lookup(t.Context(), "x.example", dns.TypeA)); got != "malformed" || <-told != "boom" {
		t.Errorf("got %s", got)
	}
	newer, err := NewWithMetrics(cfg, m.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Close()
	if n := m.Values(t)["cache_entries"]; n != 0 {
		t.Errorf("%v entries, want 0", n)
	}
	r.Show()
	if n := m.Values(t)["cache_entries"]; n != 1 {
		t.Errorf("%v entries, want 1", n)
	}
	r.Close()
	if _, err := r.Lookup(t.Context(), "y.example", dns.TypeA); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestServersFromResolvConf: the function ServersFromResolvConf of this package gives the same
// results as that of package upstream.
func TestServersFromResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver 192.0.2.1\nnameserver 192.0.2.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	servers, err := ServersFromResolvConf(path)
	if want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53")}; err != nil || !slices.Equal(servers, want) {
		t.Errorf("%v, %v", servers, err)
	}
	if _, err := ServersFromResolvConf(path + ".absent"); err == nil || !strings.HasPrefix(err.Error(), "resolver: ") {
		t.Errorf("error %v", err)
	}
}
