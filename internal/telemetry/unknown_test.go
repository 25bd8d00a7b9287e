package telemetry

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// TestUnknownClients checks that there is at most one warning a day, and that each message
// with an unknown client is counted.
func TestUnknownClients(t *testing.T) {
	var out bytes.Buffer
	u := &UnknownClients{Log: slog.New(slog.NewJSONHandler(&out, nil))}
	reg := prometheus.NewRegistry()
	m := New(reg)
	if got := value(t, reg, "sekimori_client_unknown_total", nil); got != 0 {
		t.Errorf("the series begins at %v", got)
	}
	day := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	warnings, counted := 0, 0
	for _, tt := range []struct {
		after   time.Duration
		client  string // IP address of the client; "" means that the MTA does not know it
		unknown bool
		warns   bool
	}{
		{0, "203.0.113.1", false, false},
		{1 * time.Minute, "172.17.0.1", true, true},
		{2 * time.Minute, "172.17.0.1", true, false},
		{23 * time.Hour, "", true, false},
		{24*time.Hour + 1*time.Minute, "", true, true},
		{25 * time.Hour, "fe80::1", true, false},
	} {
		e := message("x", 2048)
		e.Time, e.Session.Client = day.Add(tt.after), netip.Addr{}
		if tt.client != "" {
			e.Session.Client = netip.MustParseAddr(tt.client)
		}
		u.Decided(decided(e, rejected), 0)
		m.Decided(decided(e, rejected), 0)
		if tt.warns {
			warnings++
		}
		if tt.unknown {
			counted++
		}
		if got := strings.Count(out.String(), `"level":"WARN"`); got != warnings {
			t.Errorf("%v, %q: %d warnings, want %d", tt.after, tt.client, got, warnings)
		}
		if got := value(t, reg, "sekimori_client_unknown_total", nil); got != float64(counted) {
			t.Errorf("%v, %q: %v counted, want %d", tt.after, tt.client, got, counted)
		}
	}
	if !strings.Contains(out.String(), `"client_ip":"172.17.0.1"`) || !strings.Contains(out.String(), "trusted.networks") {
		t.Errorf("the warning does not say which client, or what to do: %s", out.String())
	}
	// If a relay does not name the client, the warning says so. The messages are counted by what the
	// relay's field told.
	out.Reset()
	warnings = 1
	for _, line := range []msgauth.RelayLine{msgauth.RelayUnreadable, msgauth.RelayPrivate, msgauth.RelayRead, msgauth.RelayRead} {
		e := message("x", 2048)
		e.Time = day.Add(72 * time.Hour)
		e.Session.Relay, e.Session.RelayLine = netip.MustParseAddr("192.0.2.7"), line
		if line != msgauth.RelayRead {
			e.Session.Client = netip.Addr{}
		}
		u.Decided(decided(e, rejected), 0)
		m.Decided(decided(e, rejected), 0)
	}
	for line, want := range map[string]float64{"unreadable": 1, "private": 1, "read": 2} {
		if got := value(t, reg, "sekimori_relay_clients_total", map[string]string{"result": line}); got != want {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
	}
	for _, want := range []string{`"relay_ip":"192.0.2.7"`, `"relay_line":"unreadable"`, "Received field"} {
		if !strings.Contains(out.String(), want) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("the warning lacks %s: %s", want, out.String())
		}
	}
	u.Decided(&judge.Decision{Verdict: policy.Verdict{}}, 0)
	if got := strings.Count(out.String(), "\n"); got != warnings {
		t.Errorf("a message that is not evaluated warns")
	}
}
