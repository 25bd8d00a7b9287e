package config

import (
	"slices"
	"testing"

	"sekimori/internal/dns"
)

// TestMaxClasses: as many classes as are allowed, and their names.
func TestMaxClasses(t *testing.T) {
	c, err := Parse("x", []byte("mode: monitor\nstats: {classes: ["+manyClasses(MaxClasses)+"]}\n"))
	if err != nil || len(c.Stats.Suffixes()) != MaxClasses {
		t.Errorf("%v", err)
	}
	s := Stats{Classes: []string{".CO.jp", "go.jp", "jp", "日本"}}
	if got := s.Suffixes(); !slices.Equal(got, []dns.Name{"co.jp", "go.jp", "jp", "xn--wgv71a"}) {
		t.Errorf("%q", got)
	}
}
