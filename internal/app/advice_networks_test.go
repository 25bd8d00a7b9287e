package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/config"
)

func TestNetworkAdvice(t *testing.T) {
	for text, wide := range map[string]bool{
		"0.0.0.0/0": true, "0.0.0.0/1": true, "128.0.0.0/1": true, "192.0.0.0/7": true, "10.0.0.0/7": true,
		"::/0": true, "2000::/3": true, "2001:c000::/18": true, "f000::/4": true, "::/1": true,
		"10.0.0.0/8": false, "127.0.0.0/8": false, "192.0.2.1": false, "172.16.0.0/12": false, "100.64.0.0/10": false,
		"fc00::/7": false, "fd00::/8": false, "fe80::/10": false, "2001:e000::/19": false, "2001:db8::/32": false, "::1": false,
	} {
		var n config.Network
		if err := n.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		got := networkAdvice([]config.Network{n})
		if (len(got) > 0) != wide || wide && !strings.HasPrefix(got[0], "trusted.networks[0]: "+text+" is wider than /") {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestRelayAdvice(t *testing.T) {
	for _, tt := range []struct{ network, want string }{
		{"192.0.2.7", ""},
		{"10.9.0.1", "trusted.relays[0]: 10.9.0.1 is in trusted.networks"},
		{"10.8.0.0/15", ""}, // only a part of it is trusted
		{"0.0.0.0/0", "trusted.relays[0]: 0.0.0.0/0 is wider than /8"},
		{"2000::/3", "trusted.relays[0]: 2000::/3 is wider than /19"},
	} {
		trusted := config.Trusted{Networks: make([]config.Network, 1), Relays: make([]config.Relay, 1)}
		for text, n := range map[string]*config.Network{"10.9.0.0/16": &trusted.Networks[0], tt.network: &trusted.Relays[0].Network} {
			if err := n.UnmarshalText([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		got := relayAdvice(trusted)
		if (len(got) > 0) != (tt.want != "") || len(got) > 1 || tt.want != "" && !strings.HasPrefix(got[0], tt.want) {
			t.Errorf("%s: %q", tt.network, got)
		}
	}
}

func TestServerAdvice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for text, empty := range map[string]bool{"": true, "search x.example\n": true, "nameserver 127.0.0.1\n": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := serverAdvice(config.DNS{}, path)
		if (len(got) > 0) != empty || empty && !strings.Contains(got[0], path+" names no server") {
			t.Errorf("%q: %q", text, got)
		}
		if got := serverAdvice(config.DNS{Servers: make([]config.Server, 1)}, path); got != nil {
			t.Errorf("%q, with servers of its own: %q", text, got)
		}
	}
}

// TestCheckServers checks that "config check" refuses a resolv.conf with which the daemon would
// not start.
func TestCheckServers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for _, text := range []string{"", "nameserver bogus\n", "nameserver 192.0.2.1\nnameserver bogus\n"} {
		if text != "" { // for "" the file does not exist
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkDNS(config.DNS{}, path); err == nil || !strings.Contains(err.Error(), path) || !strings.HasSuffix(err.Error(), "name your resolvers there") {
			t.Errorf("%q: %v", text, err)
		}
		if err := checkDNS(config.DNS{Servers: make([]config.Server, 1)}, path); err != nil {
			t.Errorf("%q, with servers of its own: %v", text, err)
		}
	}
}

// TestNetworkAdviceAtStart checks that the daemon logs the warning of networkAdvice when it
// starts.
func TestNetworkAdviceAtStart(t *testing.T) {
	cfg := testConfig(t)
	cfg.Trusted.Networks = append([]config.Network{}, cfg.Trusted.Networks...)
	cfg.Trusted.Networks = append(cfg.Trusted.Networks, config.Network{})
	if err := cfg.Trusted.Networks[len(cfg.Trusted.Networks)-1].UnmarshalText([]byte("0.0.0.0/0")); err != nil {
		t.Fatal(err)
	}
	_, log, stop := running(t, cfg)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "trusted.networks[2]: 0.0.0.0/0 is wider") || !strings.Contains(text, `"level":"WARN"`) {
		t.Error(text)
	}
}
