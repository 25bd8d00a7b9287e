package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"sekimori/internal/spf"
)

const namespace = "sekimori_"

// trouble are the families of which every count is worth a look.
var trouble = []string{"panics_total", "protocol_errors_total", "oversize_total", "log_records_dropped_total", "forged_results_left_total"}

// families are the daemon's own series by name, without the namespace.
type families map[string][]*dto.Metric

// Collect reads the metrics.
func Collect(o Options) (*Status, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	all, err := o.Gatherer.Gather()
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	f := families{}
	for _, family := range all {
		if name, ours := strings.CutPrefix(family.GetName(), namespace); ours {
			f[name] = family.GetMetric()
		}
	}
	build := f.labels("build_info")
	s := &Status{
		Version: build["version"], Revision: build["revision"], GoVersion: build["goversion"],
		Started: o.Started, Uptime: o.Now().Sub(o.Started),
		Mode: f.labels("enforcement_mode_info")["mode"],
		Config: Config{
			Hash:         f.labels("config_hash_info")["hash"],
			Loaded:       time.Unix(f.sum("config_last_reload_success_timestamp_seconds"), 0).UTC(),
			LastReloadOK: f.sum("config_last_reload_successful") == 1,
		},
		Sessions:   Sessions{InFlight: f.sum("sessions_inflight"), Ended: f.by("sessions_total", "end"), Rejected: f.by("sessions_rejected_total", "reason")},
		Messages:   f.by("messages_total", "verdict"),
		Wait:       f.timing("message_duration_seconds"),
		Deviations: f.by("dmarc_override_total", "reason"),
		Results:    f.results(),
		DNS:        f.dns(),
		Trouble:    f.nonZero(trouble...),
		Blind:      f.holding("blind", "what"),
		MTALacks:   f.by("mta_lacks_total", "what"),
		Rules:      f.withPrefix("override"),
		Shadow:     f.withPrefix("shadow"),
	}
	if o.Limits != nil {
		s.Limits = o.Limits()
	}
	if o.Ready != nil {
		if err := o.Ready(); err != nil {
			s.NotReady = err.Error()
		}
	}
	return s, nil
}

func (f families) results() Results {
	return Results{
		SPFMailFrom: f.where("identity", string(spf.MailFrom)).by("spf_total", "result"),
		SPFHELO:     f.where("identity", string(spf.HELO)).by("spf_total", "result"),
		DKIM:        f.by("dkim_signatures_total", "result"),
		DMARC:       f.by("dmarc_total", "result"),
		Published:   f.by("dmarc_total", "policy"),
		ARC:         f.by("arc_total", "result"),
		IPRev:       f.by("iprev_total", "result"),
	}
}

func (f families) dns() DNS {
	return DNS{
		Servers: f.servers(),
		Queries: f.by("dns_queries_total", "result"), Time: f.timing("dns_query_duration_seconds"),
		BudgetExceeded: f.by("dns_budget_exceeded_total", "mechanism"),
		Cache: Cache{
			Hits: f.sum("dns_cache_hits_total"), Misses: f.sum("dns_cache_misses_total"), Stale: f.sum("dns_cache_stale_total"),
			Evictions: f.sum("dns_cache_evictions_total"), Entries: f.sum("dns_cache_entries"), Bytes: f.sum("dns_cache_bytes"),
		},
	}
}

// servers are in the order of the configuration.
func (f families) servers() []Server {
	out := []Server{}
	for _, m := range f["dns_upstream_up"] {
		place := labelsOf(m)["server"]
		s := Server{Place: place, Up: value(m) == 1}
		for _, rtt := range f["dns_upstream_rtt_seconds"] {
			if labelsOf(rtt)["server"] == place {
				s.RTT = rtt.GetGauge().GetValue()
			}
		}
		s.Address = f.where("server", place).labels("dns_upstream_info")["address"]
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Server) int {
		return cmp.Or(cmp.Compare(len(a.Place), len(b.Place)), cmp.Compare(a.Place, b.Place)) // as numbers
	})
	return out
}

// where leaves the series with this label.
func (f families) where(label, want string) families {
	out := families{}
	for name, list := range f {
		for _, m := range list {
			if labelsOf(m)[label] == want {
				out[name] = append(out[name], m)
			}
		}
	}
	return out
}

// value is a counter's or a gauge's.
func value(m *dto.Metric) int64 {
	return int64(m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue())
}

func labelsOf(m *dto.Metric) map[string]string {
	if len(m.GetLabel()) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

func (f families) sum(name string) (n int64) {
	for _, m := range f[name] {
		n += value(m)
	}
	return n
}

// by sums a family by one of its labels.
func (f families) by(name, label string) map[string]int64 {
	out := map[string]int64{}
	for _, m := range f[name] {
		out[labelsOf(m)[label]] += value(m)
	}
	return out
}

// holding lists the values of a label for which a gauge is not zero.
func (f families) holding(name, label string) []string {
	out := []string{}
	for _, m := range f[name] {
		if value(m) != 0 {
			out = append(out, labelsOf(m)[label])
		}
	}
	slices.Sort(out)
	return out
}

// labels returns those of an info series: of its one series that is 1.
func (f families) labels(name string) map[string]string {
	for _, m := range f[name] {
		if value(m) == 1 {
			return labelsOf(m)
		}
	}
	return nil
}

func (f families) timing(name string) (t Timing) {
	total := 0.0
	for _, m := range f[name] {
		t.Count += int64(m.GetHistogram().GetSampleCount()) //nolint:gosec // a count of messages
		total += m.GetHistogram().GetSampleSum()
	}
	if t.Count > 0 {
		t.Mean = total / float64(t.Count)
	}
	return t
}

// nonZero lists the series of the families that are not zero.
func (f families) nonZero(names ...string) []Series {
	out := []Series{}
	for _, name := range names {
		for _, m := range f[name] {
			if v := value(m); v != 0 {
				out = append(out, Series{Name: strings.TrimSuffix(name, "_total"), Labels: labelsOf(m), Value: v})
			}
		}
	}
	return out
}

// withPrefix lists the series, also zero ones, of every family of that prefix.
func (f families) withPrefix(prefix string) []Series {
	var names []string
	for name := range f {
		if strings.HasPrefix(name, prefix+"_") || strings.HasPrefix(name, prefix+"s_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := []Series{}
	for _, name := range names {
		for _, m := range f[name] {
			if m.GetHistogram() == nil {
				out = append(out, Series{Name: strings.TrimSuffix(name, "_total"), Labels: labelsOf(m), Value: value(m)})
			}
		}
	}
	return out
}
