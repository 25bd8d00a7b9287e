package app

import (
	"net/netip"
	"slices"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/trait"
)

// TestWatch checks that the key "watch" reaches the verifier and the metrics.
func TestWatch(t *testing.T) {
	cfg := config.Default()
	cfg.Watch = []config.Watch{{Name: "banks", Domains: []config.Pattern{"bank.example"}, Names: []string{"First Bank"}, Lookalikes: true}}
	v, err := NewVerifier(cfg, nameserver.Zone(t, ""), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := v.Connect(t.Context(), msgauth.Session{Client: netip.MustParseAddr("192.0.2.1")})
	defer c.Close()
	m := c.Begin(msgauth.Session{}, msgauth.Envelope{})
	m.EndOfHeader(message.Header{{Name: "From", Value: " First Bank <a@evil.test>"}})
	e := m.Finish(t.Context(), msgauth.Envelope{})
	if e.Watch == nil || e.Watch.List != "banks" || !e.Has(trait.Lookalike) {
		t.Errorf("%+v", e.Watch)
	}
	if got := watchNames(cfg); !slices.Equal(got, []string{"banks"}) {
		t.Errorf("names %v", got)
	}
	cfg.Watch[0].Domains = nil
	cfg.Watch[0].Names = []string{"x"}
	if _, err := NewVerifier(cfg, nameserver.Zone(t, ""), 0, nil); err == nil {
		t.Error("a name of one letter is watched")
	}
}
