package spf

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/suites"
)

func TestConformance(t *testing.T) {
	for _, s := range suites.SPFShared {
		t.Run(s.Name, func(t *testing.T) { runSuite(t, s, s.Name) })
	}
}

// TestConformanceOpenSPF runs the suites of openspf.org that are part of the Go
// module blitiri.com.ar/go/spf. The go command downloads this module for the
// tests, so this test can run in every clone.
func TestConformanceOpenSPF(t *testing.T) {
	for _, s := range suites.SPFOfModule {
		runSuite(t, s, s.Name+" of the module,")
	}
}

func runSuite(t *testing.T, s suites.SPFSuite, name string) {
	t.Helper()
	passed, total, wrong := 0, 0, 0
	for _, sc := range s.Scenarios(t) {
		z, err := suites.Zone(sc.Zone)
		if err != nil {
			t.Fatalf("%s: %v", sc.ID, err)
		}
		for _, test := range sc.Tests {
			total++
			test, corrected := test.Corrected()
			switch ok := runRow(t, z, sc.ID, test); {
			case corrected:
				wrong++
			case ok:
				passed++
			}
		}
	}
	excluded := ""
	if wrong > 0 {
		excluded = fmt.Sprintf("excluded %d: lax mode of pyspf; the RFC says neutral, and so do we", wrong)
	}
	suites.Log(t, "spf/"+name+" in process", passed, total, excluded)
	if total != s.Total {
		t.Errorf("%s has %d rows, want %d", name, total, s.Total)
	}
}

func runRow(t *testing.T, z *zone.Zone, scenario string, test suites.SPFTest) bool {
	t.Helper()
	args := Args{IP: netip.MustParseAddr(test.IP), HELO: test.HELO, MailFrom: test.MailFrom, Receiver: "receiver.example", Now: time.Unix(1700000000, 0)}
	checks := []Check{CheckMailFrom(t.Context(), z, args)}
	if test.MailFrom == "" { // CheckHELO must give the same result
		checks = append(checks, CheckHELO(t.Context(), z, args))
	}
	ok := true
	for _, c := range checks {
		if !slices.Contains(test.Expect, string(c.Result)) {
			t.Errorf("%s %s: %s, want %v (%s)\n%+v", scenario, test.ID, c.Result, test.Expect, c.Problem, c.Trace)
			ok = false
		}
		if test.Explanation != nil {
			explanation := *test.Explanation
			if explanation == "DEFAULT" {
				explanation = ""
			}
			if c.Result == Fail && c.Explanation != explanation {
				t.Errorf("%s %s: explanation %q, want %q\n%+v", scenario, test.ID, c.Explanation, explanation, c.Trace)
				ok = false
			}
		}
	}
	return ok
}
