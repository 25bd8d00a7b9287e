package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/arc"
	"sekimori/internal/dmarc"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/readout"
	"sekimori/internal/resolver"
	"sekimori/internal/resolver/upstream"
	"sekimori/internal/spf"
	"sekimori/internal/telemetry"
	"sekimori/internal/topology"
)

var started = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// options returns options in which each number has a value of its own.
func options() Options {
	m := telemetry.New(prometheus.NewRegistry())
	m.RulesLoaded([]policy.Rule{{ID: "forwarder-1"}})
	m.Decided(&judge.Decision{Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
	for _, candidate := range []policy.Action{policy.Reject, policy.Reject, policy.Accept} {
		m.Decided(&judge.Decision{
			Evaluation: &msgauth.Evaluation{
				MailFrom: spf.Check{Result: spf.SoftFail}, HELO: spf.Check{Result: spf.Pass}, IPRev: iprev.Result{Status: iprev.Fail}, ARC: arc.Result{Status: arc.Pass},
				DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, PolicyPublished: dmarc.PolicyReject},
				Cost:  map[msgauth.Mechanism]msgauth.Cost{msgauth.SPF: {Exceeded: 2}},
			},
			Verdict: policy.Verdict{Action: policy.Reject, Override: &policy.Override{Type: policy.OverrideLocalPolicy}},
			Shadow:  &judge.Comparison{Live: policy.Verdict{Action: policy.Accept}, Candidate: policy.Verdict{Action: candidate}},
		}, 20*time.Millisecond)
	}
	m.Panicked(telemetry.PanicMilter)
	sessions := m.Sessions()
	sessions.SessionStarted()
	sessions.SessionStarted()
	sessions.SessionEnded(milter.Ends()[0])
	sessions.SessionRejected(milter.RejectReasons()[0])
	sessions.ProtocolError(milter.ErrorKinds()[0])
	sessions.Oversize(milter.OversizeHeaderBytes)
	watch := topology.New(slog.New(slog.DiscardHandler))
	for range 200 {
		watch.Empty(false)
	}
	watch.Negotiated(&net.TCPAddr{}, &net.TCPAddr{}, []topology.Lack{topology.LackLeadingSpace})
	watch.ForgedLeft(&net.TCPAddr{}, "4Q")
	return Options{
		Version: "v1", Revision: "c0ffee", Started: started, Ready: func() error { return errors.New("not taking messages") },
		Running: func() (policy.Mode, Config) {
			return policy.Monitor, Config{Hash: "abc", Loaded: started, LastReloadOK: true}
		},
		Limits:   func() Limits { return Limits{MaxSessions: 10, Recipients: 5} },
		Messages: m.Counts, Topology: watch, LogDropped: func() int { return 4 },
		DNS: func() resolver.Counts {
			return resolver.Counts{
				Counts: upstream.Counts{
					Queries: map[upstream.Result]int64{upstream.ResultNoError: 9}, Time: readout.Timing{Count: 4, Seconds: 2, P50: .3, P99: .9},
					Servers: []upstream.Standing{{Address: "192.0.2.53:53", Up: true, RTT: 4 * time.Millisecond}, {Address: "192.0.2.54:53"}},
				},
				Hits: 7, Misses: 1, Stale: 2, Evictions: 3, Entries: 5, Bytes: 600,
			}
		},
		Now: func() time.Time { return started.Add(90 * time.Minute) },
	}
}

// TestCollect checks that each number appears in the right field of Status.
func TestCollect(t *testing.T) {
	s := Collect(options())
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"program", []string{s.Version, s.Revision, s.GoVersion}, []string{"v1", "c0ffee", runtime.Version()}},
		{"topology", s.Topology, []string{"nothing_evaluated"}},
		{"MTAs lack", s.MTALacks["leading_space"], int64(1)},
		{"uptime", s.Uptime, 90 * time.Minute},
		{"why it takes no messages", s.NotReady, "not taking messages"},
		{"mode", s.Mode, "monitor"},
		{"configuration", s.Config, Config{Hash: "abc", Loaded: started, LastReloadOK: true}},
		{"sessions", s.Sessions.InFlight, int64(1)},
		{"sessions that ended", s.Sessions.Ended[string(milter.Ends()[0])], int64(1)},
		{"sessions turned away", s.Sessions.Rejected[string(milter.RejectReasons()[0])], int64(1)},
		{"limits", s.Limits, Limits{MaxSessions: 10, Recipients: 5}},
		{"rejected", s.Messages["reject"], int64(3)},
		{"skipped", s.Messages["skip"], int64(1)},
		{"waits", s.Wait.Count, int64(3)},
		{"the mean of the waits", s.Wait.Mean, .02},
		{"the quantiles of the waits", s.Wait.P50 > .019 && s.Wait.P50 < .021 && s.Wait.P99 == s.Wait.P50, true},
		{"memory", s.Memory > 1<<20 && s.Memory < 1<<40, true},
		{"deviations", s.Deviations["local_policy"], int64(3)},
		{"SPF of MAIL FROM", s.Results.SPFMailFrom["softfail"], int64(3)},
		{"SPF of HELO alone", s.Results.SPFHELO["softfail"], int64(0)},
		{"SPF of HELO", s.Results.SPFHELO["pass"], int64(3)},
		{"messages without a signature", s.Results.DKIM["none"], int64(3)},
		{"DMARC", s.Results.DMARC["fail"], int64(3)},
		{"published policies", s.Results.Published["reject"], int64(3)},
		{"ARC", s.Results.ARC["pass"], int64(3)},
		{"reverse names", s.Results.IPRev["fail"], int64(3)},
		{"DNS", s.DNS, DNS{
			Servers: []Server{{"0", "192.0.2.53:53", true, .004}, {"1", "192.0.2.54:53", false, 0}}, Queries: map[string]int64{"noerror": 9}, Time: Timing{4, .5, .3, .9},
			BudgetExceeded: s.DNS.BudgetExceeded, Cache: Cache{Hits: 7, Misses: 1, Stale: 2, Evictions: 3, Entries: 5, Bytes: 600},
		}},
		{"lookups over budget", s.DNS.BudgetExceeded["spf"], int64(6)},
		{"counters that should be zero", fmt.Sprint(s.Trouble),
			fmt.Sprintf("[panics component=milter: 1 protocol_errors kind=%s: 1 oversize what=header_bytes: 1 log_records_dropped: 4 forged_results_left: 1]",
				milter.ErrorKinds()[0])},
		{"rules, also rules without a hit", fmt.Sprint(s.Rules), "[override_rule_hits rule=forwarder-1: 0]"},
		{"shadow", fmt.Sprint(s.Shadow), "[shadow live=accept shadow=accept: 1 shadow live=accept shadow=reject: 2]"},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	s := Collect(options())
	s.Config.LastReloadOK = false
	s.Version = "v1\x1b[2J"
	var b strings.Builder
	if err := s.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"v1\x1b[2J", mode monitor, not taking messages, up 1h30m0s`, "abc, loaded 2026-11-22T10:00:00Z; THE NEWEST FILE WAS REFUSED",
		"1 of 10;", "3 reject, 1 skip", "20ms on average at end of message, p50 ", ", 3 messages\nmemory ", " MiB\n", "3 local_policy", "9 noerror; 500ms on average; over budget: 6 spf", "3 softfail",
		"192.0.2.53:53 up, 4ms; 192.0.2.54:53 silent", "87 % (7 of 8) hits",
		"panics component=milter: 1", "set-up         nothing_evaluated\n", "MTAs lack      1 leading_space\n", "override_rule_hits rule=forwarder-1: 0",
		"shadow live=accept shadow=reject: 2",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &b)
		}
	}
	if s := Collect(Options{Topology: topology.New(slog.New(slog.DiscardHandler))}); len(s.Trouble) != 0 {
		t.Errorf("trouble of a daemon that has seen nothing: %v", s.Trouble)
	}
	b.Reset()
	if err := new(Status).Text(&b); err != nil || !strings.Contains(b.String(), "shadow differs none") || !strings.Contains(b.String(), "no hits") {
		t.Errorf("of nothing: %v\n%s", err, &b)
	}
}

// TestSetUp checks the line about the set-up: the daemon cannot verify anything while no DNS server
// answers.
func TestSetUp(t *testing.T) {
	up, silent := Server{Up: true}, Server{}
	for _, tt := range []struct {
		topology []string
		servers  []Server
		want     string
	}{
		{nil, nil, "no problem"},
		{nil, []Server{silent, up}, "no problem"},
		{nil, []Server{silent, silent}, "no DNS server answers"},
		{[]string{"one_client", "clock_off"}, []Server{silent}, "one_client, clock_off; no DNS server answers"},
	} {
		if got := setUp(&Status{Topology: tt.topology, DNS: DNS{Servers: tt.servers}}); got != tt.want {
			t.Errorf("%v: %q", tt, got)
		}
	}
}

func TestHandler(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(func() *Status { return Collect(options()) }).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/status", http.NoBody))
	if want := `{"name":"shadow","labels":{"live":"accept","shadow":"reject"},"value":2}]`; w.Code != 200 || !strings.Contains(w.Body.String(), want) {
		t.Errorf("%d %s lacks %s", w.Code, w.Body, want)
	}
	var back Status
	if err := json.Unmarshal(w.Body.Bytes(), &back); err != nil || back.Messages["reject"] != 3 {
		t.Errorf("%v: %+v", err, back)
	}
}
