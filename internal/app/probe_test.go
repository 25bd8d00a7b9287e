package app

import (
	"maps"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/filter"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/web"
)

// TestProbesAreApart sends the same two messages as an MTA and as a probe. The probe's messages get
// the same answers, but only sekimori_probe_messages_total and the log know of them, and the log
// marks them.
func TestProbesAreApart(t *testing.T) {
	cfg := testConfig(t)
	a, log, stop := running(t, cfg)
	base := "http://" + a.AdminAddr()
	mail := []string{"<a@bank.example>", "<x@evil.example>"}
	var asMTA []client.Result
	for _, from := range mail {
		asMTA = append(asMTA, send(t, a, from))
	}
	before := aboutMail(web.Get(t, base+"/metrics"))
	for i, from := range mail {
		if res := sendProbe(t, a, from); res.Action.Code != asMTA[i].Action.Code || len(res.Modifications) != len(asMTA[i].Modifications) {
			t.Errorf("%s: the probe got %+v, the MTA %+v", from, res, asMTA[i])
		}
	}
	text := web.Get(t, base+"/metrics")
	if after := aboutMail(text); !maps.Equal(before, after) {
		t.Errorf("the series about mail were\n%v, are\n%v", before, after)
	}
	for _, want := range []string{`sekimori_probe_messages_total{verdict="accept"} 1`, `sekimori_probe_messages_total{verdict="reject"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if n := strings.Count(web.Get(t, base+DecisionsPath), `"4PROBE"`); n != 0 {
		t.Errorf("%d recent decisions are a probe's", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, r := range log.Records(t, "evaluated") {
		if r["probe"] == true != (r["queue_id"] == "4PROBE") {
			t.Errorf("marked wrongly: %v", r)
		}
		if r["probe"] == true {
			marked++
		}
	}
	if marked != len(mail) {
		t.Errorf("%d records are marked", marked)
	}
}

// aboutMail returns the series of the metrics that are about messages, except those of probes, and
// their values.
func aboutMail(metrics string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(metrics) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case strings.HasPrefix(name, "#"), !strings.HasPrefix(name, "sekimori_"),
			strings.HasPrefix(name, "sekimori_probe_"), strings.HasPrefix(name, "sekimori_sessions"),
			strings.HasPrefix(name, "sekimori_dns"), strings.HasPrefix(name, "sekimori_memory"):
		default:
			out[name] = value
		}
	}
	return out
}

func sendProbe(t *testing.T, a *App, from string) client.Result {
	t.Helper()
	c, err := client.Dial("tcp", a.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMacro('C', filter.ProbeMacro, "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Connect("mail.bank.example", netip.MustParseAddrPort("192.0.2.1:25")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Helo("mail.bank.example"); err != nil {
		t.Fatal(err)
	}
	res, err := c.SendMessage(client.Envelope{From: from, To: []string{"<r@here.example>"}, QueueID: "4PROBE"},
		[]byte("From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return res
}
