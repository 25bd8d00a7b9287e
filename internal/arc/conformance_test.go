package arc

import (
	"context"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/testkit/signer"
	"sekimori/internal/testkit/suites"
)

// validate verifies the chain of a whole message.
func validate(tb testing.TB, eml string, r dns.Resolver, o dkim.Options) Result {
	tb.Helper()
	h, body := signer.Split([]byte(eml))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	m := dkim.NewVerifier(h, dkim.Options{}).Message()
	defer m.Close()
	v := NewVerifier(m, o)
	v.Start(ctx, r)
	if _, err := m.Write(body); err != nil {
		tb.Fatal(err)
	}
	return v.Finish(ctx)
}

// TestConformance runs the chain validation cases of ValiMail's suite.
func TestConformance(t *testing.T) {
	cases := suites.ARC(t)
	passed := 0
	for _, c := range cases {
		z, err := suites.Zone(c.Zone)
		if err != nil {
			t.Fatal(err)
		}
		r := validate(t, string(c.Raw), z, dkim.Options{Now: time.Unix(1795000000, 0)})
		if string(r.Status) != c.Expect {
			t.Errorf("%s: %+v, want %s (%s)", c.ID, r, c.Expect, c.Description)
			continue
		}
		passed++
	}
	suites.Log(t, "arc/arc-validation in process", passed, len(cases), "")
}
