package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// TestSelf plays the known messages to private daemons with different configurations.
func TestSelf(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   string
		says   string
	}{
		{"default", func(*config.Config) {}, "pass=delivered oversize=rejected spoof=rejected forged=delivered silent=delivered", ""},
		{"monitor", func(c *config.Config) { c.Mode = policy.Monitor }, "pass=delivered oversize=delivered spoof=delivered forged=delivered silent=delivered", ""},
		{"thresholds", func(c *config.Config) {
			c.Policy.Reject, c.Policy.TempErrorUnknown = policy.RejectQuarantine, policy.TempFail
		},
			"pass=delivered oversize=rejected spoof=held forged=delivered silent=deferred", ""},
		{"another limit", func(c *config.Config) { c.Limits.HeaderFields = 30 }, "pass=delivered oversize=rejected spoof=rejected forged=delivered silent=delivered", ""},
		{"the bank is trusted", func(c *config.Config) { trust(c, "192.0.2.0/24") },
			"pass=delivered oversize=delivered spoof=rejected forged=delivered silent=delivered", "192.0.2.10 is in trusted.networks"},
		{"sockets that this user cannot open", func(c *config.Config) {
			c.Listen = []config.Listener{{Address: "systemd:milter"}, {Address: "unix:/nonexistent/x"}}
		}, "pass=delivered oversize=rejected spoof=rejected forged=delivered silent=delivered", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.AuthservID = "mx.example.jp"
			tt.change(cfg)
			r, err := Self(t.Context(), Options{Config: cfg})
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK || fates(r) != tt.want || !strings.Contains(problems(r), tt.says) {
				t.Errorf("ok %v: %s\n%s", r.OK, fates(r), problems(r))
			}
			for _, p := range r.Plays {
				if p.Name == "forged" && (len(p.Came.Results) != 1 || p.Came.Foreign != 1 || p.From != "Accounts <pay@hobby.example>") {
					t.Errorf("forged: %+v", p)
				}
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	bad := config.Default()
	bad.Shadow = "/nonexistent.yaml"
	if _, err := Self(t.Context(), Options{Config: bad}); err == nil || !strings.Contains(err.Error(), "the private daemon does not start") {
		t.Errorf("a configuration with which no daemon starts: %v", err)
	}
}

// TestPrivateEnds checks that nothing of the private daemon is left when it was stopped.
func TestPrivateEnds(t *testing.T) {
	z := nameserver.Zone(t, zoneText)
	socket := filepath.Join(t.TempDir(), "s")
	cfg, stop, err := startPrivate(config.Default(), z, socket)
	if err != nil {
		t.Fatal(err)
	}
	answers := func() string {
		out := ""
		for _, at := range []Target{{"unix", socket}, {"tcp", cfg.DNS.Servers[0].String()}} {
			if conn, err := at.dial(t.Context()); err == nil {
				out += at.Network + " "
				conn.Close()
			}
		}
		return out
	}
	if got := answers(); got != "unix tcp " || cfg.Admin.Listen != "" || cfg.DNS.Timeout != config.Duration(selfTimeout) || cfg.DNS.MessageBudget != config.Duration(selfBudget) || cfg.DNS.Hedge != 0 {
		t.Errorf("answers at %q, %+v", got, cfg.DNS)
	}
	if stop(); answers() != "" {
		t.Errorf("after the end it answers at %q", answers())
	}
}

// TestKnownResult checks that a result which does not follow from the zone is a problem.
func TestKnownResult(t *testing.T) {
	old := selfResults["spoof"]
	selfResults["spoof"] = "pass"
	defer func() { selfResults["spoof"] = old }()
	r, err := Self(t.Context(), Options{Config: config.Default()})
	if err != nil || r.OK || !strings.Contains(problems(r), "The DMARC result is fail, but the zone means pass.") {
		t.Errorf("%v: %s", err, problems(r))
	}
}
