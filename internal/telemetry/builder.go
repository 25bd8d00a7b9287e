package telemetry

import (
	"regexp"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// nativeFactor is the ratio of the limits of two neighbouring buckets of a native
// histogram. Each histogram has native buckets in addition to its classic buckets.
const nativeFactor = 1.1

// maxNativeBuckets limits the number of buckets, and so the memory, of one native
// histogram.
const maxNativeBuckets = 160

// builder creates series and registers them with reg.
type builder struct{ reg prometheus.Registerer }

// counters creates counters with one label.
func (b builder) counters(name, help, label string) *counters[string] {
	v := b.counterVec(name, help, label)
	return newSeries(func(value string) prometheus.Counter { return v.WithLabelValues(value) })
}

func (b builder) counters2(name, help string, labels ...string) *counters[[2]string] {
	v := b.counterVec(name, help, labels...)
	return newSeries(func(values [2]string) prometheus.Counter { return v.WithLabelValues(values[:]...) })
}

func (b builder) counters3(name, help string, labels ...string) *counters[[3]string] {
	v := b.counterVec(name, help, labels...)
	return newSeries(func(values [3]string) prometheus.Counter { return v.WithLabelValues(values[:]...) })
}

func (b builder) counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	b.reg.MustRegister(v)
	return v
}

func (b builder) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	b.reg.MustRegister(c)
	return c
}

func (b builder) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	b.reg.MustRegister(g)
	return g
}

func (b builder) gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	b.reg.MustRegister(v)
	return v
}

func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: maxNativeBuckets,
	}
}

func (b builder) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(histogramOpts(name, help, buckets))
	b.reg.MustRegister(h)
	return h
}

// alias exposes a metric under a second name too, so that a name can be replaced without
// an interruption. It costs nothing until the metric is scraped.
func (b builder) alias(m prometheus.Metric, name, help string) {
	b.reg.MustRegister(renamed{m, prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, nil, nil)})
}

// renamed is a metric under another name. It is a collector of only itself.
type renamed struct {
	prometheus.Metric
	desc *prometheus.Desc
}

// Desc implements prometheus.Metric.
func (r renamed) Desc() *prometheus.Desc { return r.desc }

// Describe implements prometheus.Collector.
func (r renamed) Describe(to chan<- *prometheus.Desc) { to <- r.desc }

// Collect implements prometheus.Collector.
func (r renamed) Collect(to chan<- prometheus.Metric) { to <- r }

// histograms creates histograms of durations with one label.
func (b builder) histograms(name, help, label string) *series[string, prometheus.Observer] {
	v := prometheus.NewHistogramVec(histogramOpts(name, help, durationBuckets), []string{label})
	b.reg.MustRegister(v)
	return newSeries(func(value string) prometheus.Observer { return v.WithLabelValues(value) })
}

// RegisterRuntime registers the series build_info, and the collectors for the Go runtime
// and the process.
func RegisterRuntime(reg prometheus.Registerer, version string) {
	info := builder{reg}.gaugeVec("build_info", "Version of the running program.", "version", "goversion", "revision")
	info.WithLabelValues(version, runtime.Version(), Revision()).Set(1)
	goRuntime := collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{
		// These are the memory that is live after a garbage collection, and the CPU time
		// that garbage collections take.
		Matcher: regexp.MustCompile("^(/gc/heap/live:bytes|/cpu/classes/gc/total:cpu-seconds)$"),
	}))
	reg.MustRegister(goRuntime, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Revision returns the commit from which the program was built. It returns "" if the build
// did not know the commit.
func Revision() string { return revision(debug.ReadBuildInfo()) }

func revision(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
