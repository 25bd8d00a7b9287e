package app

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/geo"
	"sekimori/internal/testkit/countries"
)

// TestCountries reads files of countries, good ones and others.
func TestCountries(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg := config.Default()
	if f, err := Countries(cfg); f != nil || err != nil {
		t.Errorf("without a file: %v", err)
	}
	networks := map[string]string{"192.0.2.0/24": "JP"}
	cfg.Geo.Country = write("good.mmdb", countries.File(networks, countries.Options{}))
	f, err := Countries(cfg)
	if err != nil || f(netip.MustParseAddr("192.0.2.1")) != "JP" {
		t.Fatal(err)
	}
	large := write("large.mmdb", nil)
	if err := os.Truncate(large, geo.MaxFile+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		large:                    "it has more than 134217728 octets",
		write("empty.mmdb", nil): "it is not a file of the MaxMind DB format",
		write("asn.mmdb", countries.File(networks, countries.Options{Path: []string{"asn"}})): "has no countries; name one that has",
		filepath.Join(dir, "none.mmdb"): "no such file",
		dir:                             "not a regular file",
	} {
		cfg.Geo.Country = path
		if _, err := Countries(cfg); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "app: geo.country: ") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if err := Check(cfg); err == nil || !strings.Contains(err.Error(), "geo.country: ") || strings.Contains(err.Error(), "app: ") {
			t.Errorf("check of %s: %v", path, err)
		}
	}
	if err := os.Truncate(large, geo.MaxFile); err != nil {
		t.Fatal(err)
	}
	cfg.Geo.Country = large
	if _, err := Countries(cfg); err == nil || strings.Contains(err.Error(), "more than") {
		t.Errorf("a file at the limit: %v", err)
	}
}
