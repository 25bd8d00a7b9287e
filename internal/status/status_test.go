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
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"sekimori/internal/blind"
	"sekimori/internal/dmarc"
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/telemetry"
)

var started = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// registry has the daemon's own series, with something in them.
func registry(t *testing.T) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewRegistry()
	telemetry.RegisterRuntime(reg, "v1")
	m := telemetry.New(reg)
	m.ConfigLoaded("abc", policy.Monitor, started)
	m.Decided(&judge.Decision{Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
	e := &msgauth.Evaluation{MailFrom: spf.Check{Result: spf.SoftFail}, HELO: spf.Check{Result: spf.Pass}, DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, PolicyPublished: dmarc.PolicyReject}}
	for range 3 {
		m.Decided(&judge.Decision{Evaluation: e, Verdict: policy.Verdict{Action: policy.Reject, Override: &policy.Override{Type: policy.OverrideLocalPolicy}}}, 20*time.Millisecond)
	}
	m.Panicked(telemetry.PanicMilter)
	watch := blind.New(slog.New(slog.DiscardHandler))
	telemetry.RegisterBlind(reg, watch)
	for range 200 {
		watch.Empty(false)
	}
	watch.Negotiated(&net.TCPAddr{}, &net.TCPAddr{}, []blind.Lack{blind.LackLeadingSpace})
	watch.ForgedLeft(&net.TCPAddr{}, "4Q")
	m.Sessions().SessionStarted()
	queries := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sekimori_dns_queries_total", Help: "h"}, []string{"type", "result"})
	hits := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sekimori_dns_cache_hits_total", Help: "h"}, []string{"kind"})
	up := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sekimori_dns_upstream_up", Help: "h"}, []string{"server"})
	rtt := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sekimori_dns_upstream_rtt_seconds", Help: "h"}, []string{"server"})
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sekimori_dns_upstream_info", Help: "h"}, []string{"server", "address"})
	info.WithLabelValues("2", "192.0.2.53:53").Set(1)
	reg.MustRegister(queries, hits, up, rtt, info)
	up.WithLabelValues("10").Set(0)
	up.WithLabelValues("2").Set(1)
	rtt.WithLabelValues("2").Set(.004)
	m.RulesLoaded([]policy.Rule{{ID: "forwarder-1"}})
	for _, a := range []policy.Action{policy.Reject, policy.Reject, policy.Accept} {
		m.Decided(&judge.Decision{Shadow: &judge.Comparison{Live: policy.Verdict{Action: policy.Accept}, Candidate: policy.Verdict{Action: a}}}, 0)
	}
	queries.WithLabelValues("A", "noerror").Add(4)
	queries.WithLabelValues("TXT", "noerror").Add(5)
	hits.WithLabelValues("positive").Add(7)
	return reg
}

func options(t *testing.T) Options {
	return Options{
		Gatherer: registry(t), Started: started, Ready: func() error { return errors.New("not taking messages") },
		Limits: func() Limits { return Limits{MaxSessions: 10, Recipients: 5} },
		Now:    func() time.Time { return started.Add(90 * time.Minute) },
	}
}

func TestCollect(t *testing.T) {
	s, err := Collect(options(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"version", s.Version, "v1"},
		{"blind", fmt.Sprint(s.Blind), "[nothing_evaluated]"},
		{"MTAs lack", s.MTALacks["leading_space"], int64(1)},
		{"uptime", s.Uptime, 90 * time.Minute},
		{"why it takes no messages", s.NotReady, "not taking messages"},
		{"mode", s.Mode, "monitor"},
		{"configuration", s.Config, Config{Hash: "abc", Loaded: started, LastReloadOK: true}},
		{"sessions", s.Sessions.InFlight, 1},
		{"limits", s.Limits.MaxSessions, 10},
		{"rejected", s.Messages["reject"], int64(3)},
		{"skipped", s.Messages["skip"], int64(1)},
		{"waits", s.Wait.Count, int64(3)},
		{"deviations", s.Deviations["local_policy"], int64(3)},
		{"queries of every type", s.DNS.Queries["noerror"], int64(9)},
		{"SPF of MAIL FROM", s.Results.SPFMailFrom["softfail"], int64(3)},
		{"SPF of HELO alone", s.Results.SPFHELO["softfail"], int64(0)},
		{"SPF of HELO", s.Results.SPFHELO["pass"], int64(3)},
		{"messages without a signature", s.Results.DKIM["none"], int64(3)},
		{"DMARC", s.Results.DMARC["fail"], int64(3)},
		{"published policies", s.Results.Published["reject"], int64(3)},
		{"DNS servers in their order", s.DNS.Servers, []Server{{"2", "192.0.2.53:53", true, .004}, {"10", "", false, 0}}},
		{"hits", s.DNS.Cache.Hits, int64(7)},
		{"what should be zero and is not", s.Trouble, []Series{{"panics", map[string]string{"component": "milter"}, 1}, {"forged_results_left", nil, 1}}},
		{"rules, also those that never hit", s.Rules, []Series{{"override_rule_hits", map[string]string{"rule": "forwarder-1"}, 0}}},
		{"shadow", s.Shadow, []Series{
			{"shadow", map[string]string{"live": "accept", "shadow": "accept"}, 1}, {"shadow", map[string]string{"live": "accept", "shadow": "reject"}, 2},
		}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) && (reflect.TypeOf(tt.want).Kind() != reflect.Int || reflect.ValueOf(tt.got).Int() != reflect.ValueOf(tt.want).Int()) {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
	if s.Wait.Mean < .019 || s.Wait.Mean > .021 {
		t.Errorf("mean wait %v", s.Wait.Mean)
	}
}

func TestText(t *testing.T) {
	s, err := Collect(options(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Config.LastReloadOK = false
	s.Version = "v1\x1b[2J"
	var b strings.Builder
	if err := s.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"v1\x1b[2J", mode monitor, not taking messages, up 1h30m0s`, "abc, loaded 2026-11-22T10:00:00Z; THE NEWEST FILE WAS REFUSED",
		"1 of 10;", "3 reject, 1 skip", "20ms on average", "3 local_policy", "9 noerror", "3 softfail", "192.0.2.53:53 up, 4ms; 10 silent", "100 % (7 of 7) hits",
		"panics component=milter: 1", "cannot see     nothing_evaluated\n", "MTAs lack      1 leading_space\n", "override_rule_hits rule=forwarder-1: 0", "shadow live=accept shadow=reject: 2",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &b)
		}
	}
	b.Reset()
	if err := new(Status).Text(&b); err != nil || !strings.Contains(b.String(), "shadow differs none") || !strings.Contains(b.String(), "no hits") {
		t.Errorf("of nothing: %v\n%s", err, &b)
	}
}

type broken struct{}

func (broken) Gather() ([]*dto.MetricFamily, error) { return nil, errors.New("boom") }

func TestHandler(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		code int
		want string
	}{
		{options(t), 200, `{"name":"shadow","labels":{"live":"accept","shadow":"reject"},"value":2}]`},
		{Options{Gatherer: broken{}}, 500, `"error":"status: boom"`},
		{Options{Gatherer: prometheus.NewRegistry()}, 200, `"trouble":[],"blind":[],"mta_lacks":{},"rules":[],"shadow":[]`},
	} {
		w := httptest.NewRecorder()
		Handler(tt.o).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/status", http.NoBody))
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %s, want %d with %s", w.Code, w.Body, tt.code, tt.want)
		}
	}
}
