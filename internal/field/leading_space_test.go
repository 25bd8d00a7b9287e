package field

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/nameserver"
)

// leadingSpace is the kind of the cases that TestLeadingSpaceCases plays.
const leadingSpace = "leading-space"

// TestLeadingSpaceCases plays an MTA that does not offer SMFIP_HDR_LEADSPC, such as Postfix with
// milter_protocol = 2. Such an MTA removes the first space of every header value before it passes
// the value to the milter.
func TestLeadingSpaceCases(t *testing.T) {
	played := 0
	for _, c := range append(load(t, own), loadShared(t)...) {
		if c.Run != "milter" || c.Kind != leadingSpace && c.TwinOf != leadingSpace {
			continue
		}
		played++
		t.Run(c.Name, func(t *testing.T) {
			verdict, label := c.playWithoutLeadingSpace(t)
			wanted := c.Verdict
			if wanted == nil {
				wanted = []string{"accept", "tag", "quarantine"}
			}
			if !slices.Contains(wanted, verdict) {
				t.Errorf("%s, want one of %q: %s\n%s", verdict, wanted, c.Why, label)
			}
			for _, w := range c.LabelContains {
				if verdict != "reject" && !strings.Contains(label, w) {
					t.Errorf("the label lacks %q: %s\n%s", w, c.Why, label)
				}
			}
			for _, w := range append(c.LabelLacks, "dkim=fail") {
				if strings.Contains(label, w) && !slices.Contains(c.LabelContains, w) {
					t.Errorf("the label has %q: %s\n%s", w, c.Why, label)
				}
			}
		})
	}
	if played < 5 {
		t.Errorf("only %d cases", played)
	}
}

// playWithoutLeadingSpace sends the message of the case as an MTA that does not offer
// SMFIP_HDR_LEADSPC. It returns the verdict, and the text of all Authentication-Results fields.
func (c *Case) playWithoutLeadingSpace(t *testing.T) (verdict, label string) {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	zoneText := read("zone.txt")
	server := nameserver.Serve(t, zoneText, nameserver.Options{})
	cfg := daemon.Config(server.Addr())
	cfg.AuthservID, cfg.Mode = "mx.test", policy.Enforce
	d := daemon.Start(t, cfg)
	m, err := client.Dial("tcp", d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	must := func(_ client.Action, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	offer := client.PostfixOffer()
	offer.Protocol &^= 1 << 20 // SMFIP_HDR_LEADSPC
	if _, err := m.Negotiate(offer); err != nil {
		t.Fatal(err)
	}
	must(m.Connect("unknown", netip.AddrPortFrom(netip.MustParseAddr(c.Session.IP), 2525)))
	must(m.Helo(c.Session.HELO))
	res, err := m.SendMessage(client.Envelope{From: "<" + c.Session.MailFrom + ">", To: []string{"<taro@y.example>"}, QueueID: "4Q"}, []byte(read("message.eml")))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case res.Action.Kind == client.Custom && res.Action.Code/100 == 5:
		verdict = "reject"
	case !res.Action.Delivers():
		t.Errorf("the answer is %s", res.Action)
	case slices.ContainsFunc(res.Modifications, func(m client.Modification) bool { return m.Kind == client.Quarantine }):
		verdict = "quarantine"
	default:
		verdict = "accept" // the verdict could also be tag, which the client cannot tell from accept
	}
	header, _ := client.Split([]byte(read("message.eml")))
	for _, f := range client.Apply(header, res.Modifications) {
		if strings.EqualFold(f.Name, authres.FieldName) {
			label += strings.Join(strings.Fields(f.Value), " ")
		}
	}
	return verdict, label
}
