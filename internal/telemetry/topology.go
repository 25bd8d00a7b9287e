package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/topology"
)

// RegisterTopology registers the series about the set-up around the daemon (see package topology).
func RegisterTopology(reg prometheus.Registerer, w *topology.Watch) {
	add := func(c prometheus.Collector) { reg.MustRegister(c) }
	for _, k := range topology.Kinds {
		add(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "topology_problem", ConstLabels: prometheus.Labels{"kind": string(k)},
			Help: "1 while the set-up around the daemon has this problem.",
		}, func() float64 {
			if w.Holds(k) {
				return 1
			}
			return 0
		}))
	}
	for _, l := range topology.Lacks {
		add(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Name: "mta_lacks_total", ConstLabels: prometheus.Labels{"what": string(l)},
			Help: "Milter connections of MTAs that do not offer what is needed.",
		}, func() float64 { return float64(w.Lacking(l)) }))
	}
	add(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Name: "transactions_without_message_total",
		Help: "Transactions with an accepted recipient that ended without a message.",
	}, func() float64 { return float64(w.Transactions()) }))
	add(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Name: "forged_results_left_total",
		Help: "Messages in which a result in our name stayed, because the MTA does not allow deleting it.",
	}, func() float64 { return float64(w.Forged()) }))
}
