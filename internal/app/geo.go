package app

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"sekimori/internal/config"
	"sekimori/internal/geo"
)

// Countries reads the configured file of countries into memory. It returns nil if none is configured. If the file
// turns out to be damaged later, the log says so once.
func Countries(cfg *config.Config, log *slog.Logger) (func(netip.Addr) string, error) {
	path := cfg.Geo.Country
	if path == "" {
		return nil, nil
	}
	data, err := config.ReadFile(path, geo.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("app: geo.country: %w", err)
	}
	c, err := geo.Parse(data, func(err error) {
		log.Error("the file of countries is damaged: clients in the damaged part have no country", "file", path, "error", err)
	})
	if err != nil {
		return nil, fmt.Errorf("app: geo.country: %s: %s", path, strings.TrimPrefix(err.Error(), "geo: "))
	}
	return c.Country, nil
}
