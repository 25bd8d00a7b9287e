package app

import (
	"net/url"
	"strings"
	"testing"

	"sekimori/internal/admin"
	"sekimori/internal/recent"
	"sekimori/internal/status"
	"sekimori/internal/testkit/web"
)

// TestOneID checks that the ID in the SMTP reply finds the message in the log and in the running
// daemon.
func TestOneID(t *testing.T) {
	a, log, stop := running(t, testConfig(t))
	res := send(t, a, "<x@evil.example>")
	_, id, _ := strings.Cut(res.Action.String(), "bank.example (")
	id, _, found := strings.Cut(id, ")")
	if !found || len(id) != 8 {
		t.Fatalf("no ID in %q", res.Action)
	}
	c, err := admin.NewClient("http://" + a.AdminAddr())
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []url.Values{{"id": {id}}, {"queue_id": {"4QUEUE"}}, {"author": {"bank.example"}, "client": {"192.0.2.1"}}} {
		var answer recent.Answer
		if err := c.Get(t.Context(), DecisionsPath, query, &answer); err != nil || len(answer.Decisions) != 1 {
			t.Fatalf("%v: %+v, %v", query, answer, err)
		}
		d := answer.Decisions[0]
		if d.ID != id || d.Verdict.Reply.Code != 550 || d.Evaluation.MailFrom.Domain != "evil.example" {
			t.Errorf("%v: %+v", query, d)
		}
	}
	var s status.Status
	if err := c.Get(t.Context(), StatusPath, nil, &s); err != nil {
		t.Fatal(err)
	}
	if s.Messages["reject"] != 1 || s.Version != "test" || s.Mode != "enforce" || s.NotReady != "" || s.Limits.MaxSessions != 10000 || s.DNS.Time.Count == 0 {
		t.Errorf("status: %+v", s)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := log.Records(t, "evaluated"); len(got) != 1 || got[0]["id"] != id {
		t.Errorf("log: %v, want id %s", got, id)
	}
}

// TestNothingRemembered checks that with admin.recent 0 no decisions are remembered.
func TestNothingRemembered(t *testing.T) {
	cfg := testConfig(t)
	cfg.Admin.Recent = 0
	a, _, stop := running(t, cfg)
	send(t, a, "<a@bank.example>")
	if got := web.Get(t, "http://"+a.AdminAddr()+DecisionsPath); !strings.Contains(got, "404") {
		t.Errorf("answer %q", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestProfiles checks that profiles are served only if the configuration allows them.
func TestProfiles(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		cfg := testConfig(t)
		cfg.Admin.Pprof = allowed
		a, _, stop := running(t, cfg)
		for _, path := range []string{ProfilePath, ProfilePath + "goroutine?debug=1", ProfilePath + "cmdline"} {
			if got := web.Get(t, "http://"+a.AdminAddr()+path); strings.HasPrefix(got, "404") == allowed {
				t.Errorf("allowed %t: %s answers %.80q", allowed, path, got)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}
