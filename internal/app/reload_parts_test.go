package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/web"
)

// TestReloadOfListeners checks that after a reload new addresses answer, removed addresses do
// not, and unchanged addresses still do. Open sessions go on, even at a removed address.
func TestReloadOfListeners(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	listen := func(names ...string) (out []config.Listener) {
		for _, n := range names {
			out = append(out, config.Listener{Address: "unix:" + path(n)})
		}
		return out
	}
	cfg := testConfig(t)
	cfg.Listen = listen("stays", "goes")
	a, _, stop := running(t, cfg)
	session := func(name string) *client.Client {
		t.Helper()
		c, err := mta.Dial("unix", path(name), mta.Peer{Name: "mail.bank.example", Addr: netip.MustParseAddrPort("192.0.2.1:25")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	open := map[string]*client.Client{"stays": session("stays"), "goes": session("goes")}
	if err := a.Reload(with(cfg, func(c *config.Config) { c.Listen = listen("comes", "stays") })); err != nil {
		t.Fatal(err)
	}
	open["comes"] = session("comes")
	open["stays, anew"] = session("stays")
	if _, err := net.Dial("unix", path("goes")); err == nil {
		t.Error("the removed address still answers")
	}
	for name, c := range open {
		res, err := c.SendMessage(client.Envelope{From: "<a@bank.example>", To: []string{"<r@here.example>"}}, []byte("From: a@bank.example\r\n\r\nx\r\n"))
		if err != nil || len(res.Modifications) != 1 {
			t.Errorf("a message by %s: %+v, %v", name, res, err)
		}
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestReloadOfAdmin checks that reloads can move the admin address, turn it off and turn it on
// again.
func TestReloadOfAdmin(t *testing.T) {
	cfg := testConfig(t)
	a, _, stop := running(t, cfg)
	first := a.AdminAddr()
	if err := a.Reload(with(cfg, func(c *config.Config) { c.Admin.Listen = "localhost:0" })); err != nil {
		t.Fatal(err)
	}
	second := a.AdminAddr()
	if second == first || web.Get(t, "http://"+second+"/readyz") != "ready\n" {
		t.Errorf("moved from %s to %s", first, second)
	}
	if err := a.Reload(with(cfg, func(c *config.Config) { c.Admin.Listen = "" })); err != nil {
		t.Fatal(err)
	}
	a.retiring.Wait()
	for _, old := range []string{first, second} {
		if c, err := net.Dial("tcp", old); err == nil {
			c.Close()
			t.Errorf("%s still answers", old)
		}
	}
	if err := a.Reload(with(cfg)); err != nil {
		t.Fatal(err)
	}
	if web.Get(t, "http://"+a.AdminAddr()+"/readyz") != "ready\n" {
		t.Error("the admin address did not come back")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestReloadOfDNS checks that a reload keeps the contents of the cache if only the server
// changes, and that the cache is empty after the reload if the settings of the cache or
// dns.trust_ad change.
func TestReloadOfDNS(t *testing.T) {
	cfg := testConfig(t)
	a, _, stop := running(t, cfg)
	send(t, a, "<a@bank.example>")
	other := nameserver.Serve(t, strings.ReplaceAll(zoneText, "192.0.2.1", "192.0.2.99"), nameserver.Options{})
	server := func(c *config.Config) {
		c.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(other.Addr())}}
	}
	for _, tt := range []struct {
		why    string
		change func(*config.Config)
		code   int
	}{
		{"the cached record still permits the client", server, 0},
		{"dns.trust_ad changed: the cache is empty, and the new record does not permit the client", func(c *config.Config) { server(c); c.DNS.TrustAD = true }, 550},
		{"the cache changed alone: it is empty, and the first server permits the client", func(c *config.Config) { c.DNS.TrustAD = true; c.DNS.Cache.Size *= 2 }, 0},
	} {
		if err := a.Reload(with(cfg, tt.change)); err != nil {
			t.Fatal(err)
		}
		if res := send(t, a, "<a@bank.example>"); res.Action.Code != tt.code {
			t.Errorf("%s: %+v", tt.why, res)
		}
	}
	a.retiring.Wait() // wait until the replaced generations are closed
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestReloadUnderLoad checks that while reload follows reload, each message is handled by one
// configuration from beginning to end.
func TestReloadUnderLoad(t *testing.T) {
	cfg := testConfig(t)
	a, _, stop := running(t, cfg)
	watching := with(cfg, monitor, func(c *config.Config) { c.AuthservID = "monitor.example" })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[string]int{}
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				res := send(t, a, "<x@evil.example>")
				outcome := res.Action.String()
				for _, m := range res.Modifications {
					outcome = strings.Fields(m.Value)[0]
				}
				outcome = strings.Split(outcome, " (")[0]
				mu.Lock()
				outcomes[outcome]++
				mu.Unlock()
			}
		})
	}
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		seen := 0
		for _, n := range outcomes {
			seen += n
		}
		return len(outcomes) >= 2 && seen >= 50
	}
	for i := 0; i < 40 || !enough() && i < 4000; i++ {
		load := watching
		if i%2 == 1 {
			load = with(cfg)
		}
		if err := a.Reload(load); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	t.Log(outcomes)
	const refused = "550 5.7.1 Email rejected per DMARC policy for bank.example"
	if len(outcomes) != 2 || outcomes[refused] == 0 || outcomes["monitor.example;"] == 0 {
		t.Errorf("outcomes %v, want only %q and a label of monitor.example", outcomes, refused)
	}
}

// TestFailedListenerEndsTheDaemon checks that Run returns the error of a listener that fails.
// Only a restart can open the listener again.
func TestFailedListenerEndsTheDaemon(t *testing.T) {
	a, err := New(testConfig(t), options(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(t.Context()) }()
	_ = a.Addrs()
	a.mu.Lock()
	l := a.sockets[0].listeners[0]
	a.mu.Unlock()
	_ = l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("run: %v", err)
	}
}

// TestMemoryAllotted checks that MemoryAllotted is called for each configuration that comes into
// effect.
func TestMemoryAllotted(t *testing.T) {
	var got []int64
	cfg := testConfig(t)
	cfg.Limits.Memory, cfg.DNS.Cache.Size = 300<<20, 50<<20
	a, _, stop := running(t, cfg, func(o *Options) { o.MemoryAllotted = func(octets int64) { got = append(got, octets) } })
	if err := a.Reload(with(cfg, func(c *config.Config) { c.Limits.Memory = 0 })); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if want := []int64{300<<20 + 50<<20 + ownMemory, 0}; !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
}
