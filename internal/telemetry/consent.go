package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/policy"
)

// consentMetrics holds the series about the consent of recipients.
type consentMetrics struct {
	lookups *counters[[2]string]
	mixed   prometheus.Counter
}

func newConsentMetrics(b builder) consentMetrics {
	return consentMetrics{
		lookups: b.counters2("consent_lookups_total",
			"Recipients by where their consent was found and what it is; failed counts as opted out.", "source", "result"),
		mixed: b.counter("consent_mixed_total", "Messages to recipients of both classes, which all got the milder verdict."),
	}
}

// ConsentLookup counts one recipient whose consent was looked up.
func (m *Metrics) ConsentLookup(source, result string) {
	m.consent.lookups.with([2]string{source, result}).Inc()
}

func (m *Metrics) countConsent(c policy.Consent) {
	if !c.Asked() {
		return
	}
	m.stageDuration.with("consent").Observe(c.Elapsed.Seconds())
	if c.Mixed() {
		m.consent.mixed.Inc()
	}
}

// mapMetrics holds the series about list files, which the daemon reads again while it runs.
type mapMetrics struct {
	updated    *prometheus.GaugeVec
	successful *prometheus.GaugeVec
}

func newMapMetrics(b builder) mapMetrics {
	return mapMetrics{
		updated: b.gaugeVec("map_last_update_timestamp_seconds", "Time a list file was last read with success.", "map"),
		successful: b.gaugeVec("map_last_reload_successful",
			"Whether the last reading of a list file succeeded; if not, the one before stays in use.", "map"),
	}
}

// MapLoaded records whether a list file could be read. If the file could not be read,
// err is not nil. `name` becomes a label value, so it must not come from a message.
func (m *Metrics) MapLoaded(name string, at time.Time, err error) {
	if err != nil {
		m.maps.successful.WithLabelValues(name).Set(0)
		return
	}
	m.maps.successful.WithLabelValues(name).Set(1)
	m.maps.updated.WithLabelValues(name).Set(float64(at.Unix()))
}
