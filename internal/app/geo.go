package app

import (
	"fmt"
	"net/netip"
	"strings"

	"sekimori/internal/config"
	"sekimori/internal/geo"
)

// Countries reads the configured file of countries. It returns nil if none is configured.
func Countries(cfg *config.Config) (func(netip.Addr) string, error) {
	path := cfg.Geo.Country
	if path == "" {
		return nil, nil
	}
	data, err := config.ReadFile(path, geo.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("app: geo.country: %w", err)
	}
	c, err := geo.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("app: geo.country: %s: %s", path, strings.TrimPrefix(err.Error(), "geo: "))
	}
	return c.Country, nil
}
