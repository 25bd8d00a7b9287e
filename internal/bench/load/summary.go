package load

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sekimori/internal/bench/traffic"
)

// tally is what one worker has counted and measured.
type tally struct {
	messages, errors      int64
	err                   error // the error of the last session that failed
	eom, message, session histogram
	verdicts              map[pair]int64
}

// pair is an expected outcome and a real outcome. ok says whether the real outcome is accepted by
// the check.
type pair struct {
	want, got traffic.Outcome
	ok        bool
}

func newTally() *tally { return &tally{verdicts: map[pair]int64{}} }

func (t *tally) count(want, got traffic.Outcome, check Check) {
	t.verdicts[pair{want, got, meets(got, want, check)}]++
}

func (t *tally) merge(o *tally) {
	t.messages += o.messages
	t.errors += o.errors
	if o.err != nil {
		t.err = o.err
	}
	t.eom.merge(&o.eom)
	t.message.merge(&o.message)
	t.session.merge(&o.session)
	for p, n := range o.verdicts {
		t.verdicts[p] += n
	}
}

// Summary has the measurements of a run.
type Summary struct {
	Messages  int64   `json:"messages"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"messages_per_second"`
	// EndOfMessage is how long the MTA waited for the answer to the end of the message. Message is
	// the time from MAIL to that answer. Session is the time from connecting to QUIT.
	EndOfMessage Latency `json:"end_of_message"`
	Message      Latency `json:"message"`
	Session      Latency `json:"session"`
	// Server is nil if Options.PIDs was empty.
	Server *Server `json:"server,omitempty"`
	// DNSQueries is the number of questions that the name server received during the measurement.
	DNSQueries    int64   `json:"dns_queries"`
	DNSPerMessage float64 `json:"dns_queries_per_message"`

	Errors     int64     `json:"errors"` // sessions that ended in an error
	LastError  string    `json:"last_error,omitempty"`
	Mismatches int64     `json:"mismatches"` // messages with an outcome that is not accepted
	Verdicts   []Verdict `json:"verdicts"`   // the most frequent pair of outcomes first
	// Samples are the values that Watch read. The last one was read after the load had ended. There
	// are none if Watch did not run.
	Samples []Sample `json:"samples,omitempty"`
}

// Latency has quantiles of a distribution of times, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Server is what the server processes used during the run.
type Server struct {
	CPUSeconds    float64 `json:"cpu_seconds"`
	CPUPerMessage float64 `json:"cpu_per_message_ms"`
	// PeakBytes is the sum of the peak memory (VmHWM) of all processes. A peak counts from the
	// start of its process. Memory that several processes share is counted once for each of them.
	PeakBytes int64 `json:"peak_memory_bytes"`
	RSSBytes  int64 `json:"memory_bytes"` // at the end of the run
}

// Verdict is the number of messages with the same expected and real outcome.
type Verdict struct {
	Want     traffic.Outcome `json:"want"`
	Got      traffic.Outcome `json:"got"`
	Messages int64           `json:"messages"`
	OK       bool            `json:"ok"`
}

func newSummary(t *tally, took time.Duration, before, after usage, queries int64, o Options) *Summary {
	r := &Summary{
		Messages: t.messages, Seconds: took.Seconds(), PerSecond: float64(t.messages) / took.Seconds(),
		EndOfMessage: latency(&t.eom), Message: latency(&t.message), Session: latency(&t.session),
		DNSQueries: queries, DNSPerMessage: float64(queries) / float64(max(t.messages, 1)), Errors: t.errors,
	}
	if t.err != nil {
		r.LastError = t.err.Error()
	}
	if len(o.PIDs) > 0 {
		cpu := after.cpu - before.cpu
		r.Server = &Server{
			CPUSeconds: cpu.Seconds(), CPUPerMessage: milliseconds(cpu) / float64(max(t.messages, 1)),
			PeakBytes: after.peak, RSSBytes: after.rss,
		}
	}
	for p, n := range t.verdicts {
		r.Verdicts = append(r.Verdicts, Verdict{p.want, p.got, n, p.ok})
		if !p.ok {
			r.Mismatches += n
		}
	}
	slices.SortFunc(r.Verdicts, func(a, b Verdict) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), strings.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	return r
}

func latency(h *histogram) Latency {
	return Latency{milliseconds(h.quantile(0.5)), milliseconds(h.quantile(0.95)), milliseconds(h.quantile(0.99)), milliseconds(h.max)}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// OK reports whether there were messages, all outcomes were accepted by the check and no session
// failed.
func (r *Summary) OK() bool { return r.Errors == 0 && r.Mismatches == 0 && r.Messages > 0 }

// Print writes the summary as text.
func (r *Summary) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(tw, format+"\n", args...) }
	row("messages\t%d in %.2f s\t%.0f/s", r.Messages, r.Seconds, r.PerSecond)
	for _, l := range []struct {
		name string
		l    Latency
	}{{"end of message", r.EndOfMessage}, {"message", r.Message}, {"session", r.Session}} {
		row("%s\tp50 %.2f ms\tp95 %.2f ms\tp99 %.2f ms\tmax %.2f ms", l.name, l.l.P50, l.l.P95, l.l.P99, l.l.Max)
	}
	if s := r.Server; s != nil {
		row("server\t%.3f ms CPU/message\tpeak %.1f MB\tnow %.1f MB", s.CPUPerMessage, float64(s.PeakBytes)/1e6, float64(s.RSSBytes)/1e6)
	}
	row("DNS\t%d queries\t%.3f/message", r.DNSQueries, r.DNSPerMessage)
	row("errors\t%d\t%s", r.Errors, r.LastError)
	row("unexpected\t%d", r.Mismatches)
	for _, v := range r.Verdicts {
		if v.OK {
			row("  %d\t%s", v.Messages, v.Got)
		} else {
			row("  %d\t%s\tUNEXPECTED, wanted %s", v.Messages, v.Got, v.Want)
		}
	}
	if len(r.Samples) > 0 {
		row("time\tgoroutines\tdescriptors\tmemory\theap\tsessions")
	}
	for _, x := range r.Samples {
		row("%.0f s\t%.0f\t%.0f\t%.1f MB\t%.1f MB\t%.0f", x.Seconds, x.Goroutines, x.Descriptors, x.RSSBytes/1e6, x.HeapBytes/1e6, x.Sessions)
	}
	return tw.Flush()
}
