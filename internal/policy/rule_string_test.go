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
