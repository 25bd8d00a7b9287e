package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/collect"
	"sekimori/internal/report"
)

// buildBuckets are the bucket limits for the time in which a report is built, in seconds. Most have a
// few rows; one with a million rows takes a minute at most.
var buildBuckets = []float64{.001, .01, .1, 1, 5, 10, 30, 60, 120}

// Reports counts what becomes of DMARC reports. Its series exist from the start, because an alert
// cannot evaluate a series that is absent.
type Reports struct {
	sent, withheld, bounces *counters[string]
	failures                *counters[string]
	suppressed, oldest, up  prometheus.Gauge
	aligned                 prometheus.Gauge
	build                   prometheus.Histogram
	store                   *series[string, prometheus.Observer]
}

// failureDropped is the value of the label result of failure_reports_total that is not a report.Word.
const failureDropped = "dropped"

// The values of the label kind of report_bounces_total.
var bounceKinds = []string{"failed", "other", "unknown_token"}

// storeOps are the values of the label op of report_store_duration_seconds.
var storeOps = []string{"add", "claim", "renew", "finish", "set_delivery", "expire"}

// NewReports registers the series about what is sent and about the store.
func NewReports(reg prometheus.Registerer) *Reports {
	b := builder{reg}
	r := &Reports{
		sent:       b.counters("reports_sent_total", "Report mails by what became of them.", "result"),
		withheld:   b.counters("reports_withheld_total", "Reports that were not sent, by the reason.", "reason"),
		failures:   b.counters("failure_reports_total", "Failure reports by what became of them; dropped: messages that no report counts.", "result"),
		bounces:    b.counters("report_bounces_total", "Messages to the bounce address.", "kind"),
		suppressed: b.gauge("report_suppressed_destinations", "Destinations that get no report now, because reports came back."),
		oldest:     b.gauge("report_oldest_pending_seconds", "For how long the report that has waited longest could have been sent; 0 if none waits."),
		up:         b.gauge("report_store_up", "Whether the store worked when it was last used; 1 also without a store."),
		aligned:    b.gauge("report_identity_aligned", "0 if the last check found that mail of report.domain does not pass DMARC, else 1."),
		build:      b.histogram("report_build_duration_seconds", "Time to build a report.", buildBuckets),
		store:      b.histograms("report_store_duration_seconds", "Time of the calls of the store.", "op"),
	}
	for _, w := range []report.Word{report.Sent, report.Refused, report.Failed} {
		r.sent.with(string(w))
		r.failures.with(string(w))
	}
	r.failures.with(failureDropped)
	for _, w := range report.Withheld {
		r.withheld.with(string(w))
	}
	for _, k := range bounceKinds {
		r.bounces.with(k)
	}
	for _, op := range storeOps {
		r.store.with(op)
	}
	r.up.Set(1)
	r.aligned.Set(1)
	return r
}

// Sent counts a mail to a destination.
func (r *Reports) Sent(result report.Word) { r.sent.with(string(result)).Inc() }

// Failure counts a failure report to a destination. It also counts with Sent.
func (r *Reports) Failure(result report.Word) { r.failures.with(string(result)).Inc() }

// FailureDropped counts a message that no failure report counts.
func (r *Reports) FailureDropped() { r.failures.with(failureDropped).Inc() }

// Withheld counts a report that was not sent to a destination.
func (r *Reports) Withheld(reason report.Word) { r.withheld.with(string(reason)).Inc() }

// Bounced counts a message to the bounce address.
func (r *Reports) Bounced(kind string) { r.bounces.with(kind).Inc() }

// Built records how long it took to build a report.
func (r *Reports) Built(took time.Duration) { r.build.Observe(took.Seconds()) }

// Suppressed sets the number of destinations that get no report now.
func (r *Reports) Suppressed(n int) { r.suppressed.Set(float64(n)) }

// Aligned says whether report mail passes DMARC.
func (r *Reports) Aligned(yes bool) { r.aligned.Set(number(yes)) }

// Oldest says when the report that has waited longest could have been sent; zero if none waits.
func (r *Reports) Oldest(at, now time.Time) {
	var waits time.Duration
	if !at.IsZero() {
		waits = max(0, now.Sub(at))
	}
	r.oldest.Set(waits.Seconds())
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// RegisterCollect registers the series about the messages that are counted for reports. spool may be
// nil.
func RegisterCollect(reg prometheus.Registerer, c *collect.Counts, spool *collect.Spool) {
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
	const observations, rows, lost = "report_observations_total", "report_rows_total", "report_rows_lost_total"
	const ofObservations = "Messages that count in a DMARC report, by whether the queue took them."
	counter(observations, ofObservations, "result", "queued", c.Queued.Load)
	counter(observations, ofObservations, "result", "dropped", c.Dropped.Load)
	counter("report_observations_incomplete_total", "Messages whose row lacks a result, because it was not waited for long enough.", "", "", c.Incomplete.Load)
	const ofRows = "Rows of DMARC reports by where they went; dropped counts messages without a row."
	counter(rows, ofRows, "result", "stored", c.Stored.Load)
	counter(rows, ofRows, "result", "spooled", c.Spooled.Load)
	counter(rows, ofRows, "result", "dropped", c.Lost)
	const ofLost = "Messages that no row counts, by the reason; late: counted in a later window than their own."
	counter(lost, ofLost, "reason", "queue", c.LostQueue.Load)
	counter(lost, ofLost, "reason", "spool", c.LostSpool.Load)
	counter(lost, ofLost, "reason", "cap", c.LostCap.Load)
	counter(lost, ofLost, "reason", "late", c.Late.Load)
	counter("report_spool_torn_total", "Files of the spool that could not be read and were set aside.", "", "", c.Torn.Load)
	gauge("report_rows_pending", "Rows in memory that neither the store nor the spool has.", c.Pending.Load)
	used, limit := func() int64 { return 0 }, func() int64 { return 0 }
	if spool != nil {
		used, limit = spool.Octets, spool.Limit
	}
	gauge("report_spool_bytes", "Size of the spool.", used)
	gauge("report_spool_limit_bytes", "store.spool.size, if there is a spool, else 0.", limit)
}

// Store returns s with its calls measured.
func (r *Reports) Store(s report.Store) report.Store { return measured{s, r} }

// measured is a store that measures its calls. Those that it does not name are not measured.
type measured struct {
	report.Store
	r *Reports
}

// done records a call. An error that is an answer of a store that works is no failure, and neither is
// a call that was cancelled.
func (m measured) done(op string, began time.Time, err error) error {
	m.r.store.with(op).Observe(time.Since(began).Seconds())
	switch {
	case errors.Is(err, context.Canceled):
	case err == nil, errors.Is(err, report.ErrNone), errors.Is(err, report.ErrLost), errors.Is(err, report.ErrUnknown):
		m.r.up.Set(1)
	default:
		m.r.up.Set(0)
	}
	return err
}

func (m measured) Add(ctx context.Context, now time.Time, b report.Batch) error {
	began := time.Now()
	return m.done("add", began, m.Store.Add(ctx, now, b))
}

func (m measured) Claim(ctx context.Context, now time.Time, owner string, lease time.Duration) (report.Job, error) {
	began := time.Now()
	j, err := m.Store.Claim(ctx, now, owner, lease)
	return j, m.done("claim", began, err)
}

func (m measured) Renew(ctx context.Context, j report.Job, until time.Time) error {
	began := time.Now()
	return m.done("renew", began, m.Store.Renew(ctx, j, until))
}

func (m measured) Finish(ctx context.Context, j report.Job, o report.Outcome) error {
	began := time.Now()
	return m.done("finish", began, m.Store.Finish(ctx, j, o))
}

func (m measured) SetDelivery(ctx context.Context, d report.Delivery) (int64, error) {
	began := time.Now()
	id, err := m.Store.SetDelivery(ctx, d)
	return id, m.done("set_delivery", began, err)
}

func (m measured) Expire(ctx context.Context, now time.Time, keep time.Duration) error {
	began := time.Now()
	return m.done("expire", began, m.Store.Expire(ctx, now, keep))
}
