package telemetry

import (
	"log/slog"
	"maps"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/collect"
	"sekimori/internal/farm"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/indicators"
	"sekimori/internal/judge"
	"sekimori/internal/learn"
	"sekimori/internal/ledger"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/topology"
	"sekimori/internal/webfetch"
)

// shown returns the value of every series, by its name and the values of its labels.
func shown(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()[len(namespace)+1:]
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// numbered gives the counts 1, 2, 3 and so on, so that none can stand for another.
func numbered(counts ...*atomic.Int64) {
	for i, c := range counts {
		c.Store(int64(i) + 1)
	}
}

// TestRegistered: each series shows its own count, and none is absent.
func TestRegistered(t *testing.T) {
	var kept archive.Counts
	numbered(&kept.Queued, &kept.Stored, &kept.Spooled, &kept.LostQueue, &kept.LostStop, &kept.LostLarge, &kept.Dropped,
		&kept.Torn, &kept.Octets, &kept.Days)
	var counts collect.Counts
	numbered(&counts.LedgerDropped, &counts.Harsher, &counts.Milder, &counts.Queued, &counts.Dropped, &counts.Incomplete, &counts.Stored, &counts.Spooled,
		&counts.LostQueue, &counts.LostSpool, &counts.LostCap, &counts.Late, &counts.Torn, &counts.Pending)
	usual := &learn.Cache{}
	numbered(&usual.Counts.Unsigned, &usual.Counts.UnknownNet, &usual.Counts.KnownNet, &usual.Counts.Hits, &usual.Counts.Misses, &usual.Counts.Failures)
	var marks indicators.Counts
	numbered(&marks.Hits, &marks.Misses, &marks.Stale, &marks.Evictions, &marks.Dropped, &marks.Entries, &marks.Octets)
	spool, err := collect.OpenSpool(t.TempDir(), 77)
	if err != nil {
		t.Fatal(err)
	}
	files, err := collect.OpenFiles(t.TempDir(), 1<<10, collect.Codec[history.Batch]{Encode: func(*history.Batch) []byte { return make([]byte, 9) }})
	if err == nil {
		err = files.Put(history.Batch{})
	}
	if err != nil {
		t.Fatal(err)
	}
	withoutLedger := map[string]float64{"learned_signs_total unsigned_unlike_usual": 0, "learned_authors": 0}
	for _, k := range ledger.Kinds {
		withoutLedger["sender_breakages "+string(k)] = 0
	}
	fetched, problems := map[string]float64{}, map[string]float64{"transactions_without_message_total": 0, "forged_results_left_total": 0}
	for i, k := range webfetch.Kinds {
		for j, r := range webfetch.Results {
			fetched["webfetch_total "+string(k)+" "+string(r)] = float64(i*len(webfetch.Results) + j)
		}
	}
	for _, k := range topology.Kinds {
		problems["topology_problem "+string(k)] = 0
	}
	for _, l := range topology.Lacks {
		problems["mta_lacks_total "+string(l)] = 0
	}
	for name, tt := range map[string]struct {
		register func(prometheus.Registerer)
		all      bool // want has every series
		want     map[string]float64
	}{
		"history": {func(r prometheus.Registerer) { RegisterHistory(r, &kept, nil) }, true, map[string]float64{
			"history_records_total queued": 1, "history_records_total stored": 2, "history_records_total spooled": 3, "history_records_total dropped": 4 + 5 + 6,
			"history_lost_total queue": 4, "history_lost_total stop": 5, "history_lost_total large": 6, "history_days_dropped_total": 7,
			"history_spool_torn_total": 8, "history_bytes": 9, "history_days": 10, "history_spool_bytes": 0,
		}},
		"history with a spool": {func(r prometheus.Registerer) { RegisterHistory(r, &kept, files) }, false,
			map[string]float64{"history_spool_bytes": float64(files.Octets())}},
		"collect with a spool": {func(r prometheus.Registerer) { RegisterCollect(r, &counts, spool) }, false,
			map[string]float64{"report_spool_bytes": float64(spool.Octets()), "report_spool_limit_bytes": 77}},
		"ledger": {func(r prometheus.Registerer) { RegisterLedger(r, &counts, usual, nil) }, false, map[string]float64{
			"ledger_messages_dropped_total": 1, "learned_verdicts_total harsher": 2, "learned_verdicts_total milder": 3,
			"learned_signs_total unsigned_unlike_usual": 1, "learned_signs_total unknown_source": 2, "learned_signs_total known_source": 3,
			"learned_lookups_total known": 4, "learned_lookups_total not_yet": 5, "learned_store_failures_total": 6,
		}},
		"no ledger": {func(r prometheus.Registerer) { RegisterLedger(r, &counts, nil, nil) }, false, withoutLedger},
		"collect": {func(r prometheus.Registerer) { RegisterCollect(r, &counts, nil) }, true, map[string]float64{
			"report_observations_total queued": 4, "report_observations_total dropped": 5, "report_observations_incomplete_total": 6,
			"report_rows_total stored": 7, "report_rows_total spooled": 8, "report_rows_total dropped": 9 + 10 + 11, "report_rows_lost_total queue": 9,
			"report_rows_lost_total spool": 10, "report_rows_lost_total cap": 11, "report_rows_lost_total late": 12, "report_spool_torn_total": 13,
			"report_rows_pending": 14, "report_spool_bytes": 0, "report_spool_limit_bytes": 0,
		}},
		"marks": {func(r prometheus.Registerer) {
			RegisterMarks(r, &marks, func() (root, certificate time.Time) { return time.Unix(8, 0), time.Time{} })
		}, true, map[string]float64{
			"webfetch_cache_hits_total": 1, "webfetch_cache_misses_total": 2, "webfetch_cache_stale_total": 3, "webfetch_cache_evictions_total": 4,
			"webfetch_dropped_total": 5, "webfetch_cache_entries": 6, "webfetch_cache_bytes": 7, "bimi_root_end_timestamp_seconds": 8,
			"bimi_certificate_end_timestamp_seconds": 0,
		}},
		"certificate": {func(r prometheus.Registerer) {
			RegisterMarks(r, &marks, func() (root, certificate time.Time) { return time.Time{}, time.Unix(9, 0) })
		}, false, map[string]float64{"bimi_root_end_timestamp_seconds": 0, "bimi_certificate_end_timestamp_seconds": 9}},
		"farm": {func(r prometheus.Registerer) {
			NewFarm(r).Seen(farm.View{Hosts: make([]farm.Shown, 4), Stale: 3, Twins: 2, Configurations: 5})
		}, true, map[string]float64{"farm_hosts": 4, "farm_hosts_stale": 3, "farm_hosts_same_name": 2, "farm_configurations": 5, "farm_heartbeat_up": 1}},
		"no store": {func(r prometheus.Registerer) { NewFarm(r) }, true,
			map[string]float64{"farm_hosts": 0, "farm_hosts_stale": 0, "farm_hosts_same_name": 0, "farm_configurations": 0, "farm_heartbeat_up": 1}},
		"no heartbeat": {func(r prometheus.Registerer) { NewFarm(r).Failed() }, false, map[string]float64{"farm_heartbeat_up": 0}},
		"heartbeat again": {func(r prometheus.Registerer) {
			f := NewFarm(r)
			f.Failed()
			f.Seen(farm.View{})
		}, false, map[string]float64{"farm_heartbeat_up": 1}},
		"web": {func(r prometheus.Registerer) {
			w := NewWeb(r)
			for i, k := range webfetch.Kinds {
				for j, result := range webfetch.Results {
					for range i*len(webfetch.Results) + j {
						w.Fetched(k, result)
					}
				}
			}
		}, true, fetched},
		"topology": {func(r prometheus.Registerer) { RegisterTopology(r, topology.New(slog.New(slog.DiscardHandler))) }, true, problems},
		"memory":   {func(r prometheus.Registerer) { RegisterReserved(r, func() int64 { return 3 }) }, true, map[string]float64{"memory_reserved_bytes": 3}},
		"limits": {func(r prometheus.Registerer) { New(r).LimitsLoaded(3, 4) }, false,
			map[string]float64{"sessions_limit": 3, "memory_limit_bytes": 4}},
		"reload": {func(r prometheus.Registerer) {
			m := New(r)
			m.ConfigLoaded("h", policy.Enforce, time.Unix(2, 0))
			m.ReloadFailed()
		}, false, map[string]float64{"config_last_reload_successful": 0, "config_last_reload_success_timestamp_seconds": 2}},
		"sessions": {func(r prometheus.Registerer) {
			s := New(r).Sessions()
			s.SessionRejected(milter.RejectReasons()[0])
			s.ProtocolError(milter.ErrorKinds()[0])
			s.Oversize(milter.OversizeMemory)
		}, false, map[string]float64{
			"sessions_rejected_total " + string(milter.RejectReasons()[0]): 1, "protocol_errors_total " + string(milter.ErrorKinds()[0]): 1,
			"oversize_total " + milter.OversizeMemory: 1,
		}},
		"probes": {func(r prometheus.Registerer) {
			p := Probes{New(r)}
			p.Decided(&judge.Decision{Verdict: policy.Verdict{Action: policy.Accept}}, 0)
			p.Decided(&judge.Decision{Verdict: policy.Verdict{Action: policy.Reject}, Evaluation: message("x", 0)}, 0)
		}, false, map[string]float64{
			"probe_messages_total accept": 1, "probe_messages_total reject": 1, "probe_messages_total quarantine": 0, "messages_total reject": 0,
			"panics_total arc": 1,
		}},
		"held": {func(r prometheus.Registerer) {
			m := New(r)
			m.Decided(&judge.Decision{Verdict: policy.Verdict{Action: policy.Quarantine, Applied: policy.Quarantine}}, 0)
			m.Decided(&judge.Decision{Verdict: policy.Verdict{Action: policy.Quarantine, Applied: policy.Accept}}, 0)
			m.Decided(&judge.Decision{Verdict: rejected}, 0)
		}, false, map[string]float64{"messages_held_total": 1, "messages_total quarantine": 2, "messages_total reject": 1}},
	} {
		reg := prometheus.NewPedanticRegistry()
		tt.register(reg)
		got := shown(t, reg)
		for series, n := range tt.want {
			if v, there := got[series]; !there || v != n {
				t.Errorf("%s: %s is %v, %v, want %v", name, series, v, there, n)
			}
		}
		if tt.all && !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestFromTheStart: an alert cannot evaluate a series that is absent, so those with fixed labels exist from the start.
func TestFromTheStart(t *testing.T) {
	reg := prometheus.NewRegistry()
	New(reg)
	NewReports(reg)
	mechanisms := len(msgauth.Mechanisms())
	for name, want := range map[string]int{
		"messages_total": len(policy.Actions), "probe_messages_total": len(policy.Actions), "messages_tls_total": len(tlsVersions) + 2,
		"dmarc_override_total": len(policy.OverrideTypes), "temperror_total": len(policy.MissingWhats), "panics_total": mechanisms + 3,
		"dns_budget_exceeded_total": mechanisms, "dns_no_room_total": mechanisms, "spf_ahead_total": 2, "consent_lookups_total": 1,
		"relay_clients_total": len(msgauth.RelayLines), "protocol_errors_total": len(milter.ErrorKinds()),
		"sessions_rejected_total": len(milter.RejectReasons()), "oversize_total": 6, "spf_total": 2 * len(spfResults), "sessions_total": len(milter.Ends()),
		"arc_total": 4, "iprev_total": 4, "dmarc_aligned_total": 4, "reports_sent_total": 3, "failure_reports_total": 4,
		"reports_withheld_total": len(report.Withheld), "report_bounces_total": len(bounceKinds), "report_store_duration_seconds": len(storeOps),
		"author_domains": len(publishedPolicies), "bimi_removed_total": 3,
	} {
		if got := len(family(t, reg, namespace+"_"+name).GetMetric()); got != want {
			t.Errorf("%s: %d series, want %d", name, got, want)
		}
	}
}

// TestLabels: what a sender can choose gives one of few values.
func TestLabels(t *testing.T) {
	for bits, want := range map[int]string{
		0: "", 1: "below_1024", 256: "256", 257: "below_1024", 1023: "below_1024", 1024: "1024", 1025: "other", 1536: "1536", 2048: "2048", 3072: "3072",
		4096: "4096", 4097: "other",
	} {
		if got := bitsLabel(bits); got != want {
			t.Errorf("%d bits: %q, want %q", bits, got, want)
		}
	}
	for id, want := range map[string]bool{"": false, "4Q": true, "a b": false, "!": true, "~": true, strings.Repeat("x", maxMarkBytes): true, strings.Repeat("x", maxMarkBytes+1): false, "\x7f": false, "\xff": false} {
		if marks(id) != want {
			t.Errorf("the queue id %q marks: %v", id, !want)
		}
	}
}

// TestRevision: the commit is one of several settings of a build, and some builds know none.
func TestRevision(t *testing.T) {
	for _, tt := range []struct {
		settings []debug.BuildSetting
		ok       bool
		want     string
	}{
		{[]debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "x"}}, true, "abc"},
		{[]debug.BuildSetting{{Key: "vcs", Value: "git"}}, true, ""},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}, false, ""},
	} {
		if got := revision(&debug.BuildInfo{Settings: tt.settings}, tt.ok); got != tt.want {
			t.Errorf("%v, %v: %q", tt.settings, tt.ok, got)
		}
	}
}

// TestRegisterRuntime checks the series of the program and its process.
func TestRegisterRuntime(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	RegisterRuntime(reg, "1.2.3")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]string{}
	for _, f := range families {
		there[f.GetName()] = f.String()
	}
	for _, name := range []string{"sekimori_build_info", "go_gc_heap_live_bytes", "go_cpu_classes_gc_total_cpu_seconds_total", "process_cpu_seconds_total"} {
		if there[name] == "" {
			t.Errorf("%s is not there", name)
		}
	}
	for _, want := range []string{`"1.2.3"`, `"` + runtime.Version() + `"`, `"` + Revision() + `"`, "value:1}"} {
		if !strings.Contains(strings.ReplaceAll(there["sekimori_build_info"], " ", ""), want) {
			t.Errorf("%s: no %s", there["sekimori_build_info"], want)
		}
	}
}
