package upstream

import (
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
)

// Result says how a query to a server ended. It is a label value of the metrics.
type Result string

// The results. ResultTimeout counts all queries without an answer, also those to an unreachable
// server. ResultMalformed also counts answers that exceed a bound, alias loops, and packets that do
// not answer any question.
const (
	ResultNoError   Result = "noerror"
	ResultNoData    Result = "nodata"
	ResultNXDomain  Result = "nxdomain"
	ResultServFail  Result = "servfail"
	ResultRefused   Result = "refused"
	ResultTimeout   Result = "timeout"
	ResultMalformed Result = "malformed"
)

// results lists every Result.
var results = [...]Result{ResultNoError, ResultNoData, ResultNXDomain, ResultServFail, ResultRefused, ResultTimeout, ResultMalformed}

// countedTypes are the types that have series of their own. The type 0 stands for all other types.
var countedTypes = [...]dns.Type{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypePTR, dns.TypeCNAME, 0}

// Metrics holds the series about the servers. A nil *Metrics counts nothing.
type Metrics struct {
	queries  *prometheus.CounterVec
	counters map[counted]prometheus.Counter // the counters of queries; it takes longer to find one by its labels
	duration prometheus.Histogram
	hedges   *prometheus.CounterVec
	probes   *prometheus.CounterVec
	tcp      *prometheus.CounterVec
	edns     prometheus.Counter
	tls      *prometheus.CounterVec
	standing standings
}

// counted is a type, or 0 for all types without series of their own, and a result.
type counted struct {
	typ dns.Type
	Result
}

// Label values.
const (
	wonFirst, wonSecond, wonNone = "first", "second", "none"
	probeAnswered, probeSilent   = "answered", "silent"
	connOpened, connFailed       = "opened", "failed"
)

// NewMetrics registers the series with reg. A reload makes a new Client, but the Metrics stay the
// same.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sekimori", Subsystem: "dns", Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value) // the series starts at 0
		}
		return v
	}
	m := &Metrics{
		counters: map[counted]prometheus.Counter{},
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "sekimori", Subsystem: "dns", Name: "queries_total", Help: "Queries to DNS servers by their result.",
		}, []string{"type", "result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "sekimori", Subsystem: "dns", Name: "query_duration_seconds",
			Help:    "Time one query to one server took, whatever its result.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5}, NativeHistogramBucketFactor: 1.1,
			NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}),
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
		standing: standings{
			info: prometheus.NewDesc("sekimori_dns_upstream_info",
				"The address of the server at this place of dns.servers (or resolv.conf), from 0.", []string{"server", "address"}, nil),
			up: prometheus.NewDesc("sekimori_dns_upstream_up",
				"Whether the server at this place of dns.servers (or resolv.conf), from 0, is asked: 0 after it answered neither a query nor a probe.", []string{"server"}, nil),
			rtt: prometheus.NewDesc("sekimori_dns_upstream_rtt_seconds",
				"Smoothed time that a good answer of the server takes; 0 before the first.", []string{"server"}, nil),
		},
	}
	m.startAtZero()
	return m, errors.Join(reg.Register(m.queries), reg.Register(m.duration), reg.Register(m.hedges), reg.Register(m.probes),
		reg.Register(m.tcp), reg.Register(m.edns), reg.Register(m.tls), reg.Register(&m.standing))
}

// startAtZero creates every series of queries at 0, so that rates see the first event.
func (m *Metrics) startAtZero() {
	for _, t := range countedTypes {
		for _, r := range results {
			m.counters[counted{t, r}] = m.queries.WithLabelValues(typeLabel(t), string(r))
		}
	}
}

// standings are the series about each server of a Client. The label of a server is its index in the
// configuration, from 0. If the address of a server changes, its series therefore goes on. The
// series "info" has the address for each index.
type standings struct {
	info   *prometheus.Desc
	up     *prometheus.Desc
	rtt    *prometheus.Desc
	client atomic.Pointer[Client] // the Client whose servers are shown
}

// Describe implements prometheus.Collector.
func (s *standings) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.info
	ch <- s.up
	ch <- s.rtt
}

// Collect implements prometheus.Collector. The number of servers may differ each time,
// because a reload may change it.
func (s *standings) Collect(ch chan<- prometheus.Metric) {
	c := s.client.Load()
	if c == nil {
		return
	}
	for i, server := range c.list() {
		at, srtt := server.health.standing()
		up := 1.0
		if at == standingDown {
			up = 0
		}
		label := strconv.Itoa(i)
		ch <- prometheus.MustNewConstMetric(s.info, prometheus.GaugeValue, 1, label, server.shown)
		ch <- prometheus.MustNewConstMetric(s.up, prometheus.GaugeValue, up, label)
		ch <- prometheus.MustNewConstMetric(s.rtt, prometheus.GaugeValue, srtt.Seconds(), label)
	}
}

// watch makes the series show c's servers.
func (m *Metrics) watch(c *Client) {
	if m != nil {
		m.standing.client.Store(c)
	}
}

// query counts one query or one ignored packet. took is 0 for an ignored packet.
func (m *Metrics) query(t dns.Type, r Result, took time.Duration) {
	if m == nil {
		return
	}
	if !slices.Contains(countedTypes[:], t) {
		t = 0
	}
	m.counters[counted{t, r}].Inc()
	if took > 0 {
		m.duration.Observe(took.Seconds())
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
	m.hedges.WithLabelValues(winner).Inc()
}

func (m *Metrics) probed(answered bool) {
	if m == nil {
		return
	}
	result := probeSilent
	if answered {
		result = probeAnswered
	}
	m.probes.WithLabelValues(result).Inc()
}

func (m *Metrics) overTCP(reason string) {
	if m != nil {
		m.tcp.WithLabelValues(reason).Inc()
	}
}

func (m *Metrics) withoutEDNS() {
	if m != nil {
		m.edns.Inc()
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
	m.tls.WithLabelValues(result).Inc()
}

// typeLabel returns the label value for an element of countedTypes.
func typeLabel(t dns.Type) string {
	if t == 0 {
		return "other"
	}
	return t.String()
}

func resultOf(r dnswire.Reply, err *dns.Error) Result {
	if err != nil {
		switch err.Kind {
		case dns.KindTimeout, dns.KindNetwork:
			return ResultTimeout
		case dns.KindRefused:
			return ResultRefused
		case dns.KindMalformed, dns.KindLoop, dns.KindTooLarge:
			return ResultMalformed
		}
		return ResultServFail
	}
	switch {
	case r.Answer.Status == dns.NXDomain:
		return ResultNXDomain
	case r.Answer.Void() && !r.Follow:
		return ResultNoData
	}
	return ResultNoError
}
