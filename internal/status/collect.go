package status

import (
	"cmp"
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/policy"
	"sekimori/internal/readout"
	"sekimori/internal/resolver"
	"sekimori/internal/telemetry"
	"sekimori/internal/topology"
)

// Options say where Collect gets the numbers. Each function may be called at any time. If a
// function is nil, its numbers are zero.
type Options struct {
	Version  string
	Revision string // the commit from which the program was built
	Started  time.Time
	// Running returns the mode and the configuration in effect.
	Running func() (policy.Mode, Config)
	// Limits returns the limits in effect.
	Limits func() Limits
	// Ready returns nil if the daemon accepts messages and MTAs can find each of its
	// sockets. Otherwise it returns the reason.
	Ready      func() error
	Listen     func() []string // returns the milter addresses
	Messages   func() telemetry.Counts
	DNS        func() resolver.Counts
	LogDropped func() int       // returns the number of records that the log has lost
	Topology   *topology.Watch  // may be nil
	Reports    func() *Reports  // returns nil if the daemon has no store, or has not read it yet
	Marks      func() *Marks    // returns nil if bimi.enabled is false
	Now        func() time.Time // nil means time.Now
}

// Collect reads the numbers of all parts of the daemon.
func Collect(o Options) *Status {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Status{
		Version: o.Version, Revision: o.Revision, GoVersion: runtime.Version(),
		Started: o.Started, Uptime: o.Now().Sub(o.Started), Memory: memory(), Limits: call(o.Limits),
		Listen: call(o.Listen),
	}
	if o.Running != nil {
		var mode policy.Mode
		mode, s.Config = o.Running()
		s.Mode = string(mode)
	}
	if o.Ready != nil {
		if err := o.Ready(); err != nil {
			s.NotReady = err.Error()
		}
	}
	m := call(o.Messages)
	s.Messages, s.Wait, s.Deviations = m.Messages, timing(m.EndOfMessage), m.Overrides
	s.Sessions = Sessions{InFlight: m.SessionsInFlight, Ended: m.SessionsEnded, Rejected: m.SessionsRejected}
	s.Results = Results{
		SPFMailFrom: m.SPFMailFrom, SPFHELO: m.SPFHELO, DKIM: m.DKIM, DMARC: m.DMARC, Published: m.Published, ARC: m.ARC, IPRev: m.IPRev,
	}
	s.Rules, s.Shadow = rules(m.RuleHits), shadow(m.Shadow)
	s.DNS = dnsHealth(call(o.DNS))
	s.DNS.BudgetExceeded = m.BudgetExceeded
	s.Reports, s.Marks = call(o.Reports), call(o.Marks)
	s.Topology, s.MTALacks = problems(o.Topology)
	s.Trouble = troubles(&m, call(o.LogDropped), o.Topology)
	return s
}

// call returns f(), or the zero value of T if f is nil.
func call[T any](f func() T) (zero T) {
	if f == nil {
		return zero
	}
	return f()
}

// memory returns the memory that the Go runtime has from the operating system and has not given
// back, in octets.
func memory() int64 {
	all := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(all)
	return int64(all[0].Value.Uint64() - all[1].Value.Uint64()) //nolint:gosec // a number of octets
}

func timing(t readout.Timing) Timing {
	if t.Count == 0 {
		return Timing{}
	}
	return Timing{Count: t.Count, Mean: t.Seconds / float64(t.Count), P50: t.P50, P99: t.P99}
}

func dnsHealth(c resolver.Counts) DNS {
	d := DNS{
		Servers: []Server{}, Queries: map[string]int64{}, Time: timing(c.Time),
		Cache: Cache{Hits: c.Hits, Misses: c.Misses, Stale: c.Stale, Evictions: c.Evictions, Entries: c.Entries, Bytes: c.Bytes},
	}
	for result, n := range c.Queries {
		d.Queries[string(result)] = n
	}
	for place, one := range c.Servers {
		d.Servers = append(d.Servers, Server{Place: strconv.Itoa(place), Address: one.Address, Up: one.Up, RTT: one.RTT.Seconds()})
	}
	return d
}

// problems returns the problems of the set-up around the daemon (see
// topology.Kind). It also returns, for each feature, the number of MTA connections that did
// not offer the feature.
func problems(w *topology.Watch) (kinds []string, lacks map[string]int64) {
	kinds, lacks = []string{}, map[string]int64{}
	if w == nil {
		return kinds, lacks
	}
	for _, k := range topology.Kinds {
		if w.Holds(k) {
			kinds = append(kinds, string(k))
		}
	}
	slices.Sort(kinds)
	for _, l := range topology.Lacks {
		lacks[string(l)] = w.Lacking(l)
	}
	return kinds, lacks
}

// troubles lists the counters that are zero in a healthy daemon, and are not zero now.
func troubles(m *telemetry.Counts, dropped int, w *topology.Watch) []Series {
	out := []Series{}
	for _, family := range []struct {
		name, label string
		counts      map[string]int64
	}{{"panics", "component", m.Panics}, {"protocol_errors", "kind", m.ProtocolErrors}, {"oversize", "what", m.Oversize}} {
		for _, value := range slices.Sorted(maps.Keys(family.counts)) {
			if n := family.counts[value]; n != 0 {
				out = append(out, Series{Name: family.name, Labels: map[string]string{family.label: value}, Value: n})
			}
		}
	}
	if dropped != 0 {
		out = append(out, Series{Name: "log_records_dropped", Value: int64(dropped)})
	}
	if w != nil && w.Forged() != 0 {
		out = append(out, Series{Name: "forged_results_left", Value: w.Forged()})
	}
	return out
}

// rules returns one series for each rule with its number of hits, even if that number is
// zero.
func rules(hits map[string]int64) []Series {
	out := []Series{}
	for _, id := range slices.Sorted(maps.Keys(hits)) {
		out = append(out, Series{Name: "override_rule_hits", Labels: map[string]string{"rule": id}, Value: hits[id]})
	}
	return out
}

func shadow(verdicts map[[2]string]int64) []Series {
	pairs := slices.SortedFunc(maps.Keys(verdicts), func(a, b [2]string) int {
		return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1]))
	})
	out := []Series{}
	for _, p := range pairs {
		out = append(out, Series{Name: "shadow", Labels: map[string]string{"live": p[0], "shadow": p[1]}, Value: verdicts[p]})
	}
	return out
}
