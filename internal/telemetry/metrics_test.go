package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// message returns an evaluation. Each text in it that a sender can choose and that the
// log shows contains `mark`.
func message(mark string, bits int) *msgauth.Evaluation {
	return &msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr("192.0.2.1"), HELO: mark, ClientName: mark},
		Envelope: msgauth.Envelope{QueueID: "4Q", MailFrom: "<" + mark + "@evil.example>", Recipients: []string{mark}, Size: 100},
		From:     author.From{AuthorDomain: "bank.example"},
		IPRev:    iprev.Result{Status: iprev.Fail},
		HELO:     spf.Check{Identity: spf.HELO, Result: spf.None},
		MailFrom: spf.Check{Identity: spf.MailFrom, Result: spf.PermError, Domain: "evil.example", Mechanism: mark},
		DKIM: []dkim.Signature{
			{Result: dkim.PermError, Reason: dkim.ReasonAlgorithm, Algorithm: mark, Selector: mark, Domain: "evil.example", KeyBits: bits},
			{Result: dkim.Pass, Algorithm: "rsa-sha256", KeyBits: 2048, Domain: "evil.example"},
		},
		ARC: arc.Result{Status: arc.None},
		DMARC: dmarc.Evaluation{
			Result: dmarc.ResultFail, PolicyDomain: "bank.example", PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject,
		},
		Cost: map[msgauth.Mechanism]msgauth.Cost{
			msgauth.SPF: {Lookups: 3, Ahead: 5, Unneeded: 2, Exceeded: 2, NoRoom: 1, DNS: time.Second, Elapsed: time.Second},
		},
		Panics: []msgauth.Panic{{Component: msgauth.ARC, Value: "boom", Stack: "stack"}},
	}
}

// decided returns the decision with this evaluation and this verdict.
func decided(e *msgauth.Evaluation, v policy.Verdict) *judge.Decision {
	return &judge.Decision{Session: e.Session, Envelope: e.Envelope, Evaluation: e, Verdict: v}
}

var rejected = policy.Verdict{
	Action: policy.Reject, Applied: policy.Reject, Enforced: true, Reason: policy.ReasonReject, Disposition: dmarc.PolicyReject,
	Evidence: []string{"SPF fail of the author's own domain"}, ID: "ABCDEFGH",
	Override: &policy.Override{Type: policy.OverrideLocalPolicy, Comment: "for the test"},
}

// value returns the value of a counter or gauge. If there is no such series, the test
// fails.
func value(t *testing.T, reg *prometheus.Registry, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			same := 0
			for _, l := range m.GetLabel() {
				if labels[l.GetName()] == l.GetValue() {
					same++
				}
			}
			if same == len(labels) && same == len(m.GetLabel()) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Errorf("no series %s%v", name, labels)
	return -1
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	m.Decided(decided(message("x", 0), rejected), 20*time.Millisecond)
	m.Decided(&judge.Decision{Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
	m.ConfigLoaded("old", policy.Monitor, time.Unix(1, 0))
	m.ConfigLoaded("new", policy.Enforce, time.Unix(2, 0))
	s := m.Sessions()
	s.SessionStarted()
	s.SessionStarted()
	s.SessionEnded(milter.EndTimeout)
	s.Panic("x", nil)
	for _, tt := range []struct {
		name   string
		labels map[string]string
		want   float64
	}{
		{"sekimori_messages_total", map[string]string{"verdict": "reject"}, 1},
		{"sekimori_messages_total", map[string]string{"verdict": "skip"}, 1},
		{"sekimori_messages_total", map[string]string{"verdict": "quarantine"}, 0},
		{"sekimori_message_wait_seconds", nil, 1},
		{"sekimori_stage_duration_seconds", map[string]string{"stage": "spf"}, 1},
		{"sekimori_dmarc_total", map[string]string{"result": "fail", "policy": "reject", "disposition": "reject"}, 1},
		{"sekimori_dmarc_override_total", map[string]string{"reason": "local_policy"}, 1},
		{"sekimori_dmarc_override_total", map[string]string{"reason": "trusted_forwarder"}, 0},
		{"sekimori_dmarc_aligned_total", map[string]string{"by": "neither"}, 1},
		{"sekimori_iprev_dmarc_total", map[string]string{"iprev": "fail", "dmarc": "fail"}, 1},
		{"sekimori_spf_total", map[string]string{"identity": "mailfrom", "result": "permerror"}, 1},
		{"sekimori_spf_total", map[string]string{"identity": "helo", "result": "softfail"}, 0},
		{"sekimori_dkim_signatures_total", map[string]string{"result": "pass", "algorithm": "rsa-sha256", "key_bits": "2048"}, 1},
		{"sekimori_dkim_signatures_total", map[string]string{"result": "permerror", "algorithm": "other", "key_bits": ""}, 1},
		{"sekimori_dkim_reason_total", map[string]string{"reason": "algorithm"}, 1},
		{"sekimori_dns_budget_exceeded_total", map[string]string{"mechanism": "spf"}, 2},
		{"sekimori_spf_ahead_total", map[string]string{"use": "needed"}, 3},
		{"sekimori_spf_ahead_total", map[string]string{"use": "unneeded"}, 2},
		{"sekimori_dns_no_room_total", map[string]string{"mechanism": "spf"}, 1},
		{"sekimori_dns_no_room_total", map[string]string{"mechanism": "dkim"}, 0},
		{"sekimori_panics_total", map[string]string{"component": "arc"}, 1},
		{"sekimori_panics_total", map[string]string{"component": "milter"}, 1},
		{"sekimori_panics_total", map[string]string{"component": "dmarc"}, 0},
		{"sekimori_sessions_inflight", nil, 1},
		{"sekimori_sessions_total", map[string]string{"end": "timeout"}, 1},
		{"sekimori_sessions_total", map[string]string{"end": "drain"}, 0},
		{"sekimori_protocol_errors_total", map[string]string{"kind": "empty_frame"}, 0},
		{"sekimori_config_hash_info", map[string]string{"hash": "new"}, 1},
		{"sekimori_enforcement_mode_info", map[string]string{"mode": "enforce"}, 1},
		{"sekimori_config_last_reload_success_timestamp_seconds", nil, 2},
	} {
		if got := value(t, reg, tt.name, tt.labels); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
}

// TestWhatIsCounted compares all series that a message changes.
func TestWhatIsCounted(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*msgauth.Evaluation)
		want   string // those that are not of every message
	}{
		"nothing": {func(*msgauth.Evaluation) {}, "client_unknown_total=1 dkim_signatures_total   none=1 dmarc_total  absent =1 iprev_dmarc_total  =1"},
		"pass": {func(e *msgauth.Evaluation) {
			e.Session.Client = netip.MustParseAddr("192.0.2.1")
			e.DMARC = dmarc.Evaluation{Result: dmarc.ResultPass, PolicyPublished: dmarc.PolicyReject, AlignedSPF: true, AlignedDKIM: true}
			e.DKIM = []dkim.Signature{{Result: dkim.Pass, Reason: "r", Algorithm: "ed25519-sha256", KeyBits: 256}}
			e.IPRev.Status = iprev.Pass
		}, "dkim_signatures_total ed25519-sha256 256 pass=1 dmarc_aligned_total both=1 dmarc_total  reject pass=1 iprev_dmarc_total pass pass=1 iprev_total pass=1"},
		"by SPF": {func(e *msgauth.Evaluation) {
			e.DMARC = dmarc.Evaluation{Result: dmarc.ResultFail, AlignedSPF: true}
			e.DKIM = []dkim.Signature{{Result: dkim.Policy, Reason: "r"}, {Result: dkim.Fail}}
		}, "client_unknown_total=1 dkim_reason_total r=1 dkim_signatures_total other  fail=1 dkim_signatures_total other  policy=1 dmarc_aligned_total spf=1 " +
			"dmarc_total  absent fail=1 iprev_dmarc_total fail =1"},
		"by DKIM": {func(e *msgauth.Evaluation) {
			e.DMARC = dmarc.Evaluation{Result: dmarc.ResultPass, AlignedDKIM: true}
			e.Session.RelayLine = msgauth.RelayRead
			e.Cost = map[msgauth.Mechanism]msgauth.Cost{msgauth.DKIM: {}}
			e.Session.TLSVersion = "TLSv1.3"
		}, "client_unknown_total=1 dkim_signatures_total   none=1 dmarc_aligned_total dkim=1 dmarc_total  absent pass=1 iprev_dmarc_total pass =1 " +
			"messages_tls_total TLSv1.3=1 relay_clients_total read=1 stage_duration_seconds dkim=1"},
		"neither": {func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultPermError }, "client_unknown_total=1 dkim_signatures_total   none=1 dmarc_total  absent permerror=1 " +
			"iprev_dmarc_total permerror =1"},
	} {
		reg := prometheus.NewRegistry()
		m := New(reg)
		e := &msgauth.Evaluation{HELO: spf.Check{Result: spf.Fail}, MailFrom: spf.Check{Result: spf.SoftFail}, ARC: arc.Result{Status: arc.Fail}}
		tt.change(e)
		m.Decided(decided(e, policy.Verdict{Action: policy.Accept, Applied: policy.Accept}), time.Millisecond)
		all := shown(t, reg)
		for _, always := range []string{
			"messages_total accept", "message_wait_seconds", "message_duration_seconds", "stage_duration_seconds eom", "message_bytes", "spf_total helo fail",
			"spf_total mailfrom softfail", "arc_total fail",
		} {
			if all[always] != 1 {
				t.Errorf("%s: %s is %v", name, always, all[always])
			}
			delete(all, always)
		}
		var got []string
		for series, n := range all {
			if n != 0 && series != "iprev_total " && series != "messages_tls_total none" {
				got = append(got, fmt.Sprintf("%s=%v", series, n))
			}
		}
		slices.Sort(got)
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tt.want)
		}
	}
}

// TestCounts checks the numbers of the status page.
func TestCounts(t *testing.T) {
	m := New(prometheus.NewRegistry())
	m.Decided(decided(message("x", 0), rejected), 20*time.Millisecond)
	c := m.Counts()
	for name, got := range map[string]int64{
		"verdict": c.Messages["reject"], "wait": c.EndOfMessage.Count, "mailfrom": c.SPFMailFrom["permerror"], "helo": c.SPFHELO["none"],
		"dkim pass": c.DKIM["pass"], "dkim permerror": c.DKIM["permerror"], "dmarc": c.DMARC["fail"], "published": c.Published["reject"], "arc": c.ARC["none"],
		"iprev": c.IPRev["fail"], "override": c.Overrides["local_policy"], "panics": c.Panics["arc"],
	} {
		if got != 1 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if c.BudgetExceeded["spf"] != 2 || c.SPFMailFrom["none"] != 0 || c.SPFHELO["permerror"] != 0 {
		t.Errorf("%+v", c)
	}
}

// TestStrangersCannotGrowSeries checks that messages with different texts do not create new
// series, and that no text of a message becomes a label value.
func TestStrangersCannotGrowSeries(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	count := func() (n int) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.GetMetric())
			for _, metric := range f.GetMetric() {
				for _, l := range metric.GetLabel() {
					if strings.Contains(l.GetValue(), "hostile") {
						t.Fatalf("%s has the label %s=%q", f.GetName(), l.GetName(), l.GetValue())
					}
				}
			}
		}
		return n
	}
	sizes := []int{0, 1, 512, 1023, 1025, 3000, 8192, 1 << 20}
	for _, bits := range sizes {
		m.Decided(decided(message("hostile", bits), rejected), time.Millisecond)
	}
	before := count()
	for i := range 200 {
		m.Decided(decided(message(fmt.Sprintf("hostile%d", i), sizes[i%len(sizes)]), rejected), time.Millisecond)
	}
	if after := count(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

// TestRecord checks that each message gives one line of valid JSON of limited length, even
// if the sender writes long text, line ends and JSON.
func TestRecord(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	hostile := "\"}\n{\"msg\":\"evaluated\"}\x00\xff" + strings.Repeat("x", 10000)
	e := message(hostile, 0)
	e.FromError = &author.Error{Kind: author.KindAmbiguous}
	e.Panics = nil
	e.Session.Relay, e.Session.RelayLine = netip.MustParseAddr("192.0.2.9"), msgauth.RelayLines[0]
	e.DMARC.AlignedSPF = true
	v := rejected
	v.Missing = []policy.Missing{{What: policy.MissingWhats[0], Cause: policy.CauseBudget}}
	v.Spoofing, v.Indirect, v.Learned = []trait.Trait{trait.AuthorSPFFail, trait.IPRevFail}, []trait.Trait{trait.KnownSource}, []trait.Trait{trait.UnknownSource}
	v.Rule, v.Would, v.Consent = "r1", policy.Quarantine, policy.Consent{In: 2, Out: 3}
	Records{Log: log}.Decided(decided(e, v), 5*time.Millisecond)
	Records{Log: log}.Decided(&judge.Decision{Session: e.Session, Envelope: e.Envelope, Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 || out.Len() > 8192 {
		t.Fatalf("%d lines of %d octets", len(lines), out.Len())
	}
	var r map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &r); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"msg": "evaluated", "queue_id": "4Q", "verdict": "reject", "reason": "dmarc_reject", "id": "ABCDEFGH",
		"override": "local_policy", "evidence": "SPF fail of the author's own domain", "duration_seconds": 0.005, "dns_seconds": 1.0, "recipients": 1.0,
		"relay_ip": "192.0.2.9", "relay_line": string(msgauth.RelayLines[0]), "not_decided": v.Missing[0].String(), "spoofing": "author_spf_fail iprev_fail",
		"indirect": "known_source", "learned": "unknown_source", "rule": "r1", "would": "quarantine", "consent_in": 2.0, "consent_out": 3.0,
		"applied": "reject", "enforced": true, "disposition": "reject", "override_comment": "for the test", "aligned_spf": true, "aligned_dkim": false,
	} {
		if r[key] != want {
			t.Errorf("%s is %v, want %v", key, r[key], want)
		}
	}
	if !strings.HasPrefix(strings.TrimPrefix(lines[0], "{"), `"time":`) || strings.Index(lines[0], `"queue_id"`) > strings.Index(lines[0], `"client_ip"`) {
		t.Error("the queue id is not first")
	}
}

// TestUnknownClient checks that the log has the client_ip "unknown" if the MTA did not know
// the client's address.
func TestUnknownClient(t *testing.T) {
	var out bytes.Buffer
	e := message("x", 0)
	e.Session.Client = netip.Addr{}
	Records{Log: slog.New(slog.NewJSONHandler(&out, nil))}.Decided(decided(e, rejected), 0)
	if !strings.Contains(out.String(), `"client_ip":"unknown"`) || !strings.Contains(out.String(), `"msg":"panic"`) {
		t.Errorf("records: %s", out.String())
	}
}
