package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
	"sekimori/internal/testkit/logs"
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

// TestServersChanged: the log says which servers are asked after a change of resolv.conf, and why not the new ones.
func TestServersChanged(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want map[string]any
	}{
		{nil, map[string]any{"level": "INFO", "msg": "DNS servers changed", "file": resolver.ResolvConf, "servers": []any{"192.0.2.53:53"}}},
		{errStep, map[string]any{"level": "WARN", "msg": "DNS servers stay as they are", "file": resolver.ResolvConf, "error": errStep.Error(), "servers": []any{"192.0.2.53:53"}}},
	} {
		log := &logs.Buffer{}
		a := newApp(options(log))
		a.log = slog.New(slog.NewJSONHandler(log, nil))
		a.serversChanged([]string{"192.0.2.53:53"}, tt.err)
		got := log.Records(t, "")
		if len(got) == 1 {
			delete(got[0], "time")
		}
		if len(got) != 1 || !reflect.DeepEqual(got[0], tt.want) {
			t.Errorf("%v, want %v", got, tt.want)
		}
	}
}
