package filter

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/judge"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/topology"
)

// TestRelayIsNoProxy checks that a relay in a private network is not taken for a proxy that hides
// the clients, and that its messages are judged for their clients.
func TestRelayIsNoProxy(t *testing.T) {
	for _, relays := range [][]judge.Relay{nil, {{Network: netip.MustParsePrefix("10.9.0.0/16")}}} {
		var log logs.Buffer
		watch := topology.New(slog.New(slog.NewTextHandler(&log, nil)))
		addr, _ := serveWatched(t, nameserver.Zone(t, zoneText), judge.Judge{Relays: relays}, milter.Limits{}, watch)
		for i := range 101 {
			s := open(t, addr, "10.9.0.1", "relay.example", client.PostfixOffer())
			// Only the reply to a message shows that the server has seen the client of this session.
			field := "Received: from h.example (unknown [192.0.2.1]) by relay.example (Postfix) with ESMTP id X\n"
			res, h := s.send("<a@bank.example>", field+fmt.Sprintf(mail, "bank.example"))
			if passes := strings.Contains(ours(t, h), "dmarc=pass"); i == 0 && (!res.Action.Delivers() || passes != (relays != nil)) {
				t.Errorf("relays %v: dmarc=pass is %t", relays, passes)
			}
			if err := s.c.Quit(); err != nil {
				t.Fatal(err)
			}
		}
		if warned := strings.Contains(log.String(), "private_clients"); warned != (relays == nil) {
			t.Errorf("relays %v: a warning of private clients: %t", relays, warned)
		}
	}
}
