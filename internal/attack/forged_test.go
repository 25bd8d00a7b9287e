package attack

import (
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
)

// TestForgedBehindALimit sends messages that exceed a limit and contain a forged result in our
// name. Such messages are not evaluated. The daemon in enforce mode must refuse them. The daemon in
// monitor mode must delete the forged results.
func TestForgedBehindALimit(t *testing.T) {
	d := start(t, "")
	forged := "Authentication-Results: " + authServID + "; dmarc=pass header.from=bank.example\r\n"
	rest := "From: a@bank.example\r\nSubject: s\r\n\r\nbody\r\n"
	for why, tt := range map[string]struct {
		raw   string
		rcpts int
	}{
		"fields":     {forged + strings.Repeat("X: y\r\n", 2001) + forged + rest, 1},
		"octets":     {strings.Repeat("X: "+strings.Repeat("y", 59_000)+"\r\n", 18) + forged + rest, 1},
		"recipients": {forged + rest, 10_001},
	} {
		env := client.Envelope{From: "<x@attacker.example>"}
		for range tt.rcpts {
			env.To = append(env.To, "<r@here.example>")
		}
		for addr, refused := range map[string]bool{d.Enforce.Addr: true, d.Monitor.Addr: false} {
			c, err := client.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Connect("x", netip.MustParseAddrPort("198.51.100.66:25")); err != nil {
				t.Fatal(err)
			}
			res, err := c.SendMessage(env, []byte(tt.raw))
			if err != nil {
				t.Fatalf("%s: %v", why, err)
			}
			_ = c.Close()
			if res.Action.Delivers() == refused {
				t.Errorf("%s: %s", why, res.Action)
			}
			if refused {
				continue
			}
			header, _ := client.Split([]byte(tt.raw))
			header = client.Apply(header, res.Modifications)
			if got := strings.TrimSpace(header[0].Value); got != authServID+"; none (not evaluated: too large)" {
				t.Errorf("%s: on top %.200q", why, got)
			}
			for _, f := range header[1:] {
				if mta.IsLabel(f, authServID) {
					t.Errorf("%s: left: %.200q", why, f.Value)
				}
			}
		}
	}
}
