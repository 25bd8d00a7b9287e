package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/collect"
	"sekimori/internal/farm"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
)

// RegisterHistory registers the series about decisions that are kept in the store. spool may be nil.
func RegisterHistory(reg prometheus.Registerer, c *archive.Counts, spool *collect.Files[history.Batch]) {
	counter := func(name, help, label, value string, n func() int64) {
		o := prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
		if label != "" {
			o.ConstLabels = prometheus.Labels{label: value}
		}
		reg.MustRegister(prometheus.NewCounterFunc(o, func() float64 { return float64(n()) }))
	}
	gauge := func(name, help string, n func() int64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help},
			func() float64 { return float64(n()) }))
	}
	const records, lost = "history_records_total", "history_lost_total"
	const ofRecords = "Decisions for the history by where they went."
	counter(records, ofRecords, "result", "queued", c.Queued.Load)
	counter(records, ofRecords, "result", "stored", c.Stored.Load)
	counter(records, ofRecords, "result", "spooled", c.Spooled.Load)
	counter(records, ofRecords, "result", "dropped", c.Lost)
	const ofLost = "Decisions that are not in the history, by the reason."
	counter(lost, ofLost, "reason", "queue", c.LostQueue.Load)
	counter(lost, ofLost, "reason", "stop", c.LostStop.Load)
	counter(lost, ofLost, "reason", "large", c.LostLarge.Load)
	counter("history_days_dropped_total", "Days that went because the history was larger than history.size.", "", "", c.Dropped.Load)
	counter("history_spool_torn_total", "Files of the spool of the history that could not be read and were set aside.", "", "", c.Torn.Load)
	gauge("history_bytes", "Size of the history in the store, approximately, as of the last look.", c.Octets.Load)
	gauge("history_days", "Days in the history, as of the last look.", c.Days.Load)
	used := func() int64 { return 0 }
	if spool != nil {
		used = spool.Octets
	}
	gauge("history_spool_bytes", "Size of the spool of the history.", used)
}

// Farm shows the hosts that share the store. Its series exist from the start, also without a store.
type Farm struct{ hosts, stale, twins, configurations, up prometheus.Gauge }

// NewFarm registers the series.
func NewFarm(reg prometheus.Registerer) *Farm {
	b := builder{reg}
	f := &Farm{
		hosts:          b.gauge("farm_hosts", "Daemons that share the store, also stale ones; 0 without a store."),
		stale:          b.gauge("farm_hosts_stale", "Daemons that share the store and whose heartbeats stopped."),
		twins:          b.gauge("farm_hosts_same_name", "Daemons that share the store and have the same host name as another one."),
		configurations: b.gauge("farm_configurations", "Different configurations of the daemons that share the store."),
		up:             b.gauge("farm_heartbeat_up", "Whether the last heartbeat reached the store; 1 also without a store."),
	}
	f.up.Set(1)
	return f
}

// Seen shows what was read from the store.
func (f *Farm) Seen(v farm.View) {
	f.hosts.Set(float64(len(v.Hosts)))
	f.stale.Set(float64(v.Stale))
	f.twins.Set(float64(v.Twins))
	f.configurations.Set(float64(v.Configurations))
	f.up.Set(1)
}

// Failed says that a heartbeat did not reach the store.
func (f *Farm) Failed() { f.up.Set(0) }
