package resolver

import (
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// upstreamMetrics are the series about the servers asked. A server is named by
// its place in the configuration, from 0: a label holds no address.
type upstreamMetrics struct {
	hedges *prometheus.CounterVec
	probes *prometheus.CounterVec
	tcp    *prometheus.CounterVec
	edns   prometheus.Counter
	tls    *prometheus.CounterVec
	up     *prometheus.Desc
	rtt    *prometheus.Desc
	client atomic.Pointer[Client] // the one whose servers are shown
}

// Label values.
const (
	wonFirst, wonSecond, wonNone = "first", "second", "none"
	probeAnswered, probeSilent   = "answered", "silent"
	connOpened, connFailed       = "opened", "failed"
)

func newUpstreamMetrics() *upstreamMetrics {
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sekimori", Subsystem: "dns", Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value) // and it starts at 0
		}
		return v
	}
	return &upstreamMetrics{
		hedges: vec("hedges_total", "Queries put to a second server because the first was slow, by the server whose answer came first.",
			"winner", wonFirst, wonSecond, wonNone),
		probes: vec("probes_total", "Questions that only asked whether a server is there.", "result", probeAnswered, probeSilent),
		tcp: vec("tcp_fallbacks_total", "Queries put again over TCP: the answer did not fit, its question came back in other letters, or too many packets were no answer.",
			"reason", reasonTruncated, reasonCase, reasonFlood),
		edns: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "sekimori", Subsystem: "dns", Name: "edns_fallbacks_total",
			Help: "Times a server was found not to know EDNS, which is then remembered for a while.",
		}),
		tls: vec("tls_connections_total", "Connections to servers that are asked over TLS; failed counts certificates that are not valid, too.",
			"result", connOpened, connFailed),
		up: prometheus.NewDesc("sekimori_dns_upstream_up",
			"Whether the server at this place of dns.servers (or resolv.conf), from 0, is asked: 0 after it answered neither a query nor a probe.", []string{"server"}, nil),
		rtt: prometheus.NewDesc("sekimori_dns_upstream_rtt_seconds",
			"Smoothed time that a good answer of the server takes; 0 before the first.", []string{"server"}, nil),
	}
}

func (m *upstreamMetrics) register(reg prometheus.Registerer) error {
	return errors.Join(reg.Register(m.hedges), reg.Register(m.probes), reg.Register(m.tcp), reg.Register(m.edns), reg.Register(m.tls), reg.Register(m))
}

// Describe implements prometheus.Collector.
func (m *upstreamMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.up
	ch <- m.rtt
}

// Collect implements prometheus.Collector. A reload may have changed the
// number of servers.
func (m *upstreamMetrics) Collect(ch chan<- prometheus.Metric) {
	c := m.client.Load()
	if c == nil {
		return
	}
	for i, s := range c.servers {
		at, srtt := s.health.standing()
		up := 1.0
		if at == standingDown {
			up = 0
		}
		label := strconv.Itoa(i)
		ch <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, up, label)
		ch <- prometheus.MustNewConstMetric(m.rtt, prometheus.GaugeValue, srtt.Seconds(), label)
	}
}

func (m *Metrics) watchUpstreams(c *Client) {
	if m != nil {
		m.upstream.client.Store(c)
	}
}

func (m *Metrics) hedged(answered, bySecond bool) {
	if m == nil {
		return
	}
	winner := wonFirst
	switch {
	case !answered:
		winner = wonNone
	case bySecond:
		winner = wonSecond
	}
	m.upstream.hedges.WithLabelValues(winner).Inc()
}

func (m *Metrics) probed(answered bool) {
	if m == nil {
		return
	}
	result := probeSilent
	if answered {
		result = probeAnswered
	}
	m.upstream.probes.WithLabelValues(result).Inc()
}

func (m *Metrics) overTCP(reason string) {
	if m != nil {
		m.upstream.tcp.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) withoutEDNS() {
	if m != nil {
		m.upstream.edns.Inc()
	}
}

func (m *Metrics) connected(ok bool) {
	if m == nil {
		return
	}
	result := connFailed
	if ok {
		result = connOpened
	}
	m.upstream.tls.WithLabelValues(result).Inc()
}
