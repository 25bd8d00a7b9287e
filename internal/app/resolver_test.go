package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// TestCheckHedge checks that dns.hedge without a second server is an error, because it would
// have no effect.
func TestCheckHedge(t *testing.T) {
	for _, c := range []struct{ conf, hedge, want string }{
		{"nameserver 192.0.2.1\n", "50ms", "app: dns.hedge needs two servers; "},
		{"nameserver 192.0.2.1\nnameserver 192.0.2.2\n", "50ms", ""},
		{"nameserver 192.0.2.1\n", "off", ""},
		{"nameserver bogus\n", "50ms", "app: dns.servers is not given: resolver: "},
		{"nameserver bogus\n", "off", "app: dns.servers is not given: resolver: "},
		{"", "off", ""},
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(c.conf), 0o600); err != nil {
			t.Fatal(err)
		}
		var d config.DNS
		if err := d.Hedge.UnmarshalText([]byte(c.hedge)); err != nil {
			t.Fatal(err)
		}
		err := checkDNS(d, path)
		if (err == nil) != (c.want == "") || (err != nil && !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%q, hedge %s: got %v, want %s", c.conf, c.hedge, err, c.want)
		}
	}
	cfg := config.Default()
	cfg.DNS.Hedge = 1
	cfg.DNS.Servers = make([]config.Server, 2)
	if err := Check(cfg); err != nil {
		t.Errorf("two servers of its own: %v, whatever %s says", err, resolver.ResolvConf)
	}
}
