package policy

import (
	"net/netip"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/trait"
)

func TestConditionsString(t *testing.T) {
	for _, tt := range []struct {
		reason string
		c      Conditions
		want   string
	}{
		{"nothing is set", Conditions{}, ""},
		{"one key", Conditions{DKIM: []Pattern{"a.example"}}, "dkim: a.example"},
		{"in the order of the documentation", Conditions{
			Traits: []trait.Trait{trait.List}, DMARC: []dmarc.Result{dmarc.ResultFail}, Published: []dmarc.Policy{Absent, dmarc.PolicyNone},
			Author: []Pattern{".b.example"}, SPF: []Pattern{"c.example"}, ARCSealer: []Pattern{"d.example"}, ClientName: []Pattern{"e.example"},
			Client: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		},
			"client: 192.0.2.0/24 2001:db8::/32; client_name: e.example; arc_sealer: d.example; spf: c.example; " +
				"author: .b.example; published: absent none; dmarc: fail; traits: list"},
	} {
		if got := tt.c.String(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

// TestWantsAll checks that WantsAll is true only for rules that can apply to a
// message that passes DMARC, and that compare a result for which such a message
// does not wait.
func TestWantsAll(t *testing.T) {
	name := []Pattern{"a.example"}
	for _, tt := range []struct {
		reason string
		when   []Conditions
		want   bool
	}{
		{"no rule", nil, false},
		{"conditions that are known without waiting", []Conditions{{Author: name}, {Client: nil}}, false},
		{"every message waits for its ARC chain", []Conditions{{ARCSealer: name}}, false},
		{"another signature", []Conditions{{Author: name}, {DKIM: name}}, true},
		{"the client's name", []Conditions{{ClientName: name}}, true},
		{"SPF of the envelope", []Conditions{{SPF: name}}, true},
		{"traits tell of signatures", []Conditions{{Traits: []trait.Trait{trait.ListSignature}}}, true},
		{"the policy, which np may change", []Conditions{{Published: []dmarc.Policy{dmarc.PolicyReject}}}, true},
		{"only where DMARC fails", []Conditions{{DKIM: name, DMARC: []dmarc.Result{dmarc.ResultFail}}}, false},
		{"where DMARC fails or passes", []Conditions{{DKIM: name, DMARC: []dmarc.Result{dmarc.ResultFail, dmarc.ResultPass}}}, true},
	} {
		var c Config
		for _, w := range tt.when {
			c.Rules = append(c.Rules, Rule{When: w})
		}
		if got := c.WantsAll(); got != tt.want {
			t.Errorf("%s: %v", tt.reason, got)
		}
	}
}
