package app

import (
	"strings"
	"testing"

	"sekimori/internal/config"
)

func TestNameAdvice(t *testing.T) {
	for _, tc := range []struct {
		id, host string
		want     string // "": no advice
	}{
		{"mx.example.jp", "mx1", ""},
		{"", "mx1.full.example", ""},
		{"mx1", "mx1.full.example", `authserv_id: "mx1" has no dot`},
		{"", "mx1", `authserv_id: not given, and the name of this host, "mx1", has no dot`},
		{"", "", "authserv_id: this host has no name"},
	} {
		if got := nameAdvice(tc.id, tc.host); !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") {
			t.Errorf("%q on %q: %q", tc.id, tc.host, got)
		}
	}
	cfg := config.Default()
	if cfg.AuthservID = "mx1"; len(Advice(cfg)) != 1 {
		t.Error(Advice(cfg))
	}
}

func TestAdminAdvice(t *testing.T) {
	for _, tt := range []struct {
		listen, web string
		warned      bool
	}{
		{"", "", false}, {"127.0.0.1:8892", "", false}, {"[::1]:8892", "", false}, {"localhost:8892", "", false},
		{":8892", "", true}, {"0.0.0.0:8892", "", true}, {"192.0.2.1:8892", "", true}, {"[::]:8892", "", true}, {"mx.example:8892", "", true},
		{"0.0.0.0:8892", "/etc/sekimori/web.yaml", false},
	} {
		cfg := config.Default()
		cfg.AuthservID, cfg.Admin.Listen, cfg.Admin.WebConfig = "mx.example.jp", tt.listen, tt.web
		got := Advice(cfg)
		if (len(got) == 1) != tt.warned || tt.warned && !strings.Contains(got[0], "admin.listen: whoever reaches "+tt.listen) {
			t.Errorf("%q, %q: %q", tt.listen, tt.web, got)
		}
	}
}

// TestAdviceAtStart checks that the daemon logs its advice once when it starts.
func TestAdviceAtStart(t *testing.T) {
	cfg := testConfig(t)
	cfg.AuthservID = "mx1"
	_, log, stop := running(t, cfg)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := log.Records(t, "configuration"); len(got) != 1 || got[0]["level"] != "WARN" || !strings.Contains(got[0]["advice"].(string), `"mx1" has no dot`) {
		t.Error(got)
	}
}
