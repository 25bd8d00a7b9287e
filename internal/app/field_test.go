package app

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/web"
)

// session sends one message in an SMTP session from ip. o is what the MTA offers in the milter
// negotiation.
func session(t *testing.T, a *App, ip string, o client.Offer, env client.Envelope, raw []byte) client.Result {
	t.Helper()
	c, err := client.Dial("tcp", a.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Negotiate(o); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Connect("[unknown]", netip.AddrPortFrom(netip.MustParseAddr(ip), 25)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Helo("x.y.example"); err != nil {
		t.Fatal(err)
	}
	res, err := c.SendMessage(env, raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	return res
}

// warned returns a word for each log record whose message is msg: the value of its key "kind",
// or of its key "what" if it has no "kind". The words are separated by spaces. Each record must
// be a warning.
func warned(t *testing.T, log *logs.Buffer, msg string) string {
	t.Helper()
	var kinds []string
	for _, r := range log.Records(t, msg) {
		if r["level"] != "WARN" {
			t.Errorf("%v", r)
		}
		if r["kind"] == nil {
			r["kind"] = r["what"]
		}
		kinds = append(kinds, fmt.Sprint(r["kind"]))
	}
	return strings.Join(kinds, " ")
}

// TestFieldNegotiationAndTopology plays the case negotiation-and-topology (see package field).
// If the configuration or the MTA hides the clients or a part of the messages from the daemon,
// the daemon warns once for each cause, and the status page and a metric show it.
func TestFieldNegotiationAndTopology(t *testing.T) {
	whole := client.PostfixOffer()
	public := func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }
	bare := client.Offer{Version: 6, Actions: 1, Protocol: 0xfffff}
	for _, tc := range []struct {
		why     string
		trusted string // a trusted network in addition to the defaults
		ip      func(i int) string
		offer   client.Offer
		seen    string // the kind of the problem, as the daemon's warning names it
		series  string
		date    string // the field Date of every message, or ""
		lacks   string // the features that the MTA does not offer, as the warnings of the daemon name them
	}{
		{"one private address", "", func(int) string { return "172.17.0.1" }, whole, "private_clients", `sekimori_topology_problem{kind="private_clients"} 1`, "", ""},
		{"one private IPv6 address", "", func(int) string { return "fd00::1" }, whole, "private_clients", `sekimori_topology_problem{kind="private_clients"} 1`, "", ""},
		{"everybody is trusted", "0.0.0.0/0", public, whole, "all_trusted", `sekimori_topology_problem{kind="all_trusted"} 1`, "", ""},
		{"a proxy on this host", "", func(int) string { return "127.0.0.1" }, whole, "all_trusted", `sekimori_topology_problem{kind="all_trusted"} 1`, "", ""},
		{"public clients", "", public, whole, "", `sekimori_topology_problem{kind="private_clients"} 0`, "", ""},
		{"a clock that is wrong", "", public, whole, "clock_off", `sekimori_topology_problem{kind="clock_off"} 1`,
			"Date: Thu, 1 Jan 2015 00:00:00 +0000\r\n", ""},
		{"an MTA that can do little", "", public, bare, "", `sekimori_mta_lacks_total{what="leading_space"} 200`, "",
			"change_header quarantine leading_space macros"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Log.Level = "warn"
			if tc.trusted != "" {
				cfg.Trusted.Networks = append(cfg.Trusted.Networks, config.Network{Prefix: netip.MustParsePrefix(tc.trusted)})
			}
			a, log, stop := running(t, cfg)
			raw := "From: x@evil.example\r\n" + tc.date + "\r\nx\r\n"
			for i := range 200 {
				session(t, a, tc.ip(i), tc.offer, client.Envelope{From: "<x@evil.example>", To: []string{"<r@here.example>"}}, []byte(raw))
			}
			if got := web.Get(t, "http://"+a.AdminAddr()+"/metrics"); !strings.Contains(got, tc.series+"\n") {
				t.Errorf("metrics lack %s", tc.series)
			}
			shown := strings.ReplaceAll(`"topology":["`+tc.seen+`"]`, `""`, "")
			if got := web.Get(t, "http://"+a.AdminAddr()+StatusPath); !strings.Contains(got, shown) {
				t.Errorf("status lacks %s", shown)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if got := warned(t, log, "the set-up around the daemon has a problem"); got != tc.seen {
				t.Errorf("warned of %q", got)
			}
			if got := warned(t, log, "the MTA does not offer all that is needed"); got != tc.lacks {
				t.Errorf("warned of %q", got)
			}
		})
	}
}

// TestFieldMilterNoLeadingSpace plays the case milter-no-leading-space (see package field): an
// MTA of milter protocol 6 that does not offer SMFIP_HDR_LEADSPC removes the space before each
// value, which breaks signatures. A message whose signature is broken in this way must be
// delivered and not labelled dkim=fail.
func TestFieldMilterNoLeadingSpace(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "field", "milter-no-leading-space")
	raw, err := os.ReadFile(filepath.Join(dir, "message.eml"))
	if err != nil {
		t.Skip("shared/field is not beside the clone")
	}
	z, err := os.ReadFile(filepath.Join(dir, "zone.txt"))
	if err != nil {
		t.Fatal(err)
	}
	server := nameserver.Serve(t, string(z), nameserver.Options{})
	cfg := testConfig(t)
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
	a, log, stop := running(t, cfg)
	env := client.Envelope{From: "<u@a.example>", To: []string{"<taro@y.example>"}}
	without := client.PostfixOffer()
	without.Protocol &^= 1 << 20
	for range 2 {
		res := session(t, a, "192.0.2.99", without, env, raw)
		if !res.Action.Delivers() || strings.Contains(res.Modifications[len(res.Modifications)-1].Value, "dkim=fail") {
			t.Errorf("without leading spaces: %s, %+v", res.Action, res.Modifications)
		}
	}
	res := session(t, a, "192.0.2.99", client.PostfixOffer(), env, raw)
	if !res.Action.Delivers() || !strings.Contains(res.Modifications[len(res.Modifications)-1].Value, "dkim=pass") {
		t.Errorf("with them: %s, %+v", res.Action, res.Modifications)
	}
	// These two spoofed messages must be refused: one has no signature, and the other one has a
	// changed body.
	_, unsigned, _ := strings.Cut(string(raw), "A==\r\n")
	for why, twin := range map[string]string{"unsigned": unsigned, "changed": strings.Replace(string(raw), "hello", "hullo", 1)} {
		if res := session(t, a, "192.0.2.99", without, env, []byte(twin)); res.Action.Code != 550 || twin == string(raw) || twin == "" {
			t.Errorf("%s: %s, %+v", why, res.Action, res.Modifications)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := warned(t, log, "the MTA does not offer all that is needed"); got != "leading_space" {
		t.Errorf("warned of %q", got)
	}
}
