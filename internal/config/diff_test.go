package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"sekimori/internal/policy"
	"strings"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		why    string
		change func(*Config)
		want   string
	}{
		{"nothing", func(*Config) {}, "[]"},
		{"no list and an empty one are one", func(c *Config) { c.DNS.Servers = []Server{} }, "[]"},
		{"a word", func(c *Config) { c.Mode = policy.Monitor }, "[{mode enforce monitor}]"},
		{"nested, and a unit", func(c *Config) { c.DNS.Cache.Stale = Duration(2 * time.Hour) }, "[{dns.cache.stale 1h 2h}]"},
		{"a list", func(c *Config) { c.Trusted.Networks = []Network{{netip.MustParsePrefix("192.0.2.0/24")}} },
			`[{trusted.networks [127.0.0.0/8, "::1"] [192.0.2.0/24]}]`},
		{"in the reference's order", func(c *Config) { c.Limits.Memory, c.Listen = 0, []Listener{{Address: "unix:/x", Mode: 0o600}} },
			`[{listen ["inet:127.0.0.1:8891"] [{address: unix:/x, mode: "0600"}]} {limits.memory 1GiB "0"}]`},
		{"a secret", func(c *Config) { c.Store.URL = "postgres://u:geheim@h/d" }, `[{store.url "" "postgres://u:***@h/d"}]`},
	} {
		next := Default()
		tt.change(next)
		got := fmt.Sprint(Diff(Default(), next))
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
	}
}

// TestDiffSeesAll checks that Diff finds a change of each key, except for the
// few keys that are named below.
func TestDiffSeesAll(t *testing.T) {
	got := map[string]bool{}
	for _, c := range Diff(Default(), fullConfig()) {
		got[c.Path] = true
	}
	for _, path := range allKeys(reflect.TypeFor[Config](), "") {
		section := false
		for _, other := range allKeys(reflect.TypeFor[Config](), "") {
			section = section || strings.HasPrefix(other, path+".")
		}
		switch {
		case section, got[path], path == "policy.none", path == "policy.overrides",
			path == "policy.recipients", path == "arc.trusted_sealers":
			continue // this is a section, a key that was found, or a key that is not checked
		}
		t.Errorf("%s is not compared", path)
	}
}
