package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/collect"
	"sekimori/internal/learn"
	"sekimori/internal/ledger"
)

// RegisterLedger registers the series about the ledger. Without a store, usual and keeper are nil.
func RegisterLedger(reg prometheus.Registerer, c *collect.Counts, usual *learn.Cache, keeper *learn.Keeper) {
	counter := func(name, help string, labels prometheus.Labels, n func() int64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(n()) }))
	}
	counts, known := &learn.Counts{}, func() int { return 0 }
	if usual != nil {
		counts, known = &usual.Counts, usual.Len
	}
	counter("ledger_messages_dropped_total", "Messages that the ledger lacks, because there was no room or their batch was lost.", nil, c.LedgerDropped.Load)
	const ofSigns = "Failing messages by the learned signs that they have."
	counter("learned_signs_total", ofSigns, prometheus.Labels{"sign": "unsigned_unlike_usual"}, counts.Unsigned.Load)
	counter("learned_signs_total", ofSigns, prometheus.Labels{"sign": "unknown_source"}, counts.UnknownNet.Load)
	counter("learned_signs_total", ofSigns, prometheus.Labels{"sign": "known_source"}, counts.KnownNet.Load)
	const ofLookups = "Failing messages by whether it was known what is usual for their author domain."
	counter("learned_lookups_total", ofLookups, prometheus.Labels{"result": "known"}, counts.Hits.Load)
	counter("learned_lookups_total", ofLookups, prometheus.Labels{"result": "not_yet"}, counts.Misses.Load)
	counter("learned_store_failures_total", "Questions about authors that the store did not answer.", nil, counts.Failures.Load)
	const ofVerdicts = "Messages whose verdict the learned signs change, or would change if they were used."
	counter("learned_verdicts_total", ofVerdicts, prometheus.Labels{"verdict": "harsher"}, c.Harsher.Load)
	counter("learned_verdicts_total", ofVerdicts, prometheus.Labels{"verdict": "milder"}, c.Milder.Load)
	gauge := func(name, help string, labels prometheus.Labels, n func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, n))
	}
	gauge("learned_authors", "Author domains of which it is known what is usual.", nil, func() float64 { return float64(known()) })
	for _, k := range ledger.Kinds {
		gauge("sender_breakages", "Senders whose mail stopped to authenticate, by what stopped working.", prometheus.Labels{"kind": string(k)}, func() float64 {
			if keeper == nil {
				return 0
			}
			return float64(keeper.Broken(k))
		})
	}
}
