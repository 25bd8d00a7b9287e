package resolver

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// TestHostileServers: with servers that lie, delay, truncate, flood and close, every lookup ends in
// time and leaves no goroutine behind. (synctest.Test fails if a goroutine is left.)
func TestHostileServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // the scripted servers may still be writing
		m := testMetrics(t)
		cfg := Config{Cache: cacheDefaults()}
		cfg.Cache.Size = 128 << 10
		cfg.Client = ClientConfig{Servers: nameserver.HostileServers(), Hedge: 300 * time.Millisecond}
		cfg.Client.Dial, _ = nameserver.Hostile(t).Dialer()
		r, err := NewWithMetrics(cfg, m.Metrics)
		if err != nil {
			t.Fatal(err)
		}
		nameserver.AskHostile(t, r)
		time.Sleep(time.Minute)
		if len(r.cache.flights) != 0 || r.cache.prefetches != 0 {
			t.Errorf("%d questions, %d prefetches under way", len(r.cache.flights), r.cache.prefetches)
		}
		if b := m.Values(t)["cache_bytes"]; b > 128<<10 {
			t.Errorf("%v octets in the cache", b)
		}
		r.Close()
	})
}

// TestNothingLeaks: with servers behind real sockets, a closed Resolver leaves no descriptors and
// no goroutines behind.
func TestNothingLeaks(t *testing.T) {
	s := nameserver.Serve(t, `
*.ok.example A 192.0.2.1
! *.silent.example A timeout
! *.garbage.example A garbage
! *.id.example A wrongid
! *.tc.example A truncate-tcp
*.tc.example A 192.0.2.1
*.slow.example A 192.0.2.1
! *.slow.example A delay=20ms
`, nameserver.Options{})
	before := runtime.NumGoroutine()
	files := descriptors(t)
	cfg := Config{Cache: cacheDefaults()}
	cfg.Client = ClientConfig{Servers: []string{s.Addr(), s.Addr()}, Timeout: silenceTimeout, Hedge: silenceTimeout / 3}
	r, err := NewWithMetrics(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 10 {
		for _, zoneText := range []string{"ok", "silent", "garbage", "id", "tc", "slow"} {
			wg.Go(func() { _, _ = r.Lookup(t.Context(), dns.Name(fmt.Sprintf("n%d.%s.example", i, zoneText)), dns.TypeA) })
		}
	}
	wg.Wait()
	r.Close()
	// The server ends its side of a connection a moment after the client. It may also still have
	// packets to read.
	leaks := func() bool { return runtime.NumGoroutine() > before || descriptors(t) > files }
	for deadline := time.Now().Add(longTimeout); leaks(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines became %d, %d descriptors %d", before, runtime.NumGoroutine(), files, descriptors(t))
		}
	}
}

// descriptors returns the number of open files of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
