package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/milter"
)

// The label values for components, other than the evaluators, in which a panic can
// occur.
const (
	PanicMilter   = "milter"   // in a callback of a milter session
	PanicResolver = "resolver" // in a DNS query that the cache could not answer
	PanicConsent  = "consent"  // in the lookup of a recipient's consent
	PanicMarks    = "marks"    // in the background work on a mark
)

// RegisterReserved registers a gauge of the memory that is reserved for connections and
// their messages, in octets. limits.memory limits this memory.
func RegisterReserved(reg prometheus.Registerer, reserved func() int64) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "memory_reserved_bytes",
		Help: "Memory reserved for connections and their messages, of limits.memory.",
	}, func() float64 { return float64(reserved()) }))
}

// LimitsLoaded sets the gauges of the limits in effect, which alerts compare with the
// current numbers. sessions is the largest number of milter connections. memory is the
// largest memory of all connections in octets, or 0 if it is not limited.
func (m *Metrics) LimitsLoaded(sessions int, memory int64) {
	m.sessionsLimit.Set(float64(sessions))
	m.memoryLimit.Set(float64(memory))
}

// Panicked counts a panic that was recovered.
func (m *Metrics) Panicked(component string) { m.panics.with(component).Inc() }

// Sessions returns the observer that counts the events of a milter server.
func (m *Metrics) Sessions() milter.Observer {
	return milter.Observer{
		SessionStarted: m.sessionsInflight.Inc,
		SessionEnded: func(end milter.End) {
			m.sessionsInflight.Dec()
			m.sessions.with(string(end)).Inc()
		},
		SessionRejected: func(reason milter.RejectReason) { m.sessionsRejected.with(string(reason)).Inc() },
		ProtocolError:   func(kind milter.ErrorKind) { m.protocolErrors.with(string(kind)).Inc() },
		Oversize:        func(what string) { m.oversize.with(what).Inc() },
		Panic:           func(string, []byte) { m.Panicked(PanicMilter) },
	}
}
