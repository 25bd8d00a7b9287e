package app

import (
	"bytes"
	"log/slog"
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
	cfg, quiet := config.Default(), slog.New(slog.DiscardHandler)
	if f, err := Countries(cfg, quiet); f != nil || err != nil {
		t.Errorf("without a file: %v", err)
	}
	networks := map[string]string{"192.0.2.0/24": "JP"}
	cfg.Geo.Country = write("good.mmdb", countries.File(networks, countries.Options{}))
	f, err := Countries(cfg, quiet)
	if err != nil || f(netip.MustParseAddr("192.0.2.1")) != "JP" {
		t.Fatal(err)
	}
	// The file is in memory: what becomes of it on disk changes nothing.
	if err := os.Truncate(cfg.Geo.Country, 10); err != nil {
		t.Fatal(err)
	}
	if got := f(netip.MustParseAddr("192.0.2.1")); got != "JP" {
		t.Errorf("after the file was cut: %q", got)
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
		if _, err := Countries(cfg, quiet); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "app: geo.country: ") {
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
	if _, err := Countries(cfg, quiet); err == nil || strings.Contains(err.Error(), "more than") {
		t.Errorf("a file at the limit: %v", err)
	}
}

// TestDamagedCountries: a file that is damaged behind its beginning gives unknown countries and one log record.
func TestDamagedCountries(t *testing.T) {
	cfg := config.Default()
	cfg.Geo.Country = filepath.Join(t.TempDir(), "damaged.mmdb")
	good := countries.File(map[string]string{"192.0.2.0/24": "JP", "198.51.100.0/24": "US"}, countries.Options{})
	for i := range good {
		data := bytes.Clone(good)
		data[i] ^= 0xff
		if err := os.WriteFile(cfg.Geo.Country, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		f, err := Countries(cfg, slog.New(slog.NewTextHandler(&text, nil)))
		if err != nil {
			continue
		}
		for range 3 {
			f(netip.MustParseAddr("192.0.2.1"))
			f(netip.MustParseAddr("198.51.100.1"))
		}
		if lines := strings.Count(text.String(), "\n"); lines == 1 && strings.Contains(text.String(), "the file of countries is damaged") {
			return
		} else if lines > 1 {
			t.Fatalf("%d lines:\n%s", lines, text.String())
		}
	}
	t.Error("no damage was reported")
}
