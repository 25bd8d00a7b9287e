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
	unsent                int64 // messages that were due and could not be sent
	eom, message, session histogram
	late                  histogram // time from when a message was due until it began
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
	t.late.merge(&o.late)
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
	// the time from MAIL to that answer. Session is the time from connecting to QUIT. With a rate,
	// Message and Session begin when the message was due.
	EndOfMessage Latency `json:"end_of_message"`
	Message      Latency `json:"message"`
	Session      Latency `json:"session"`
	// Schedule is nil if there was no rate.
	Schedule *Schedule `json:"schedule,omitempty"`
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

// Schedule says how well a run with a rate kept its schedule.
type Schedule struct {
	Rate float64 `json:"rate"` // messages a second that should have been sent
	// Late is the time from when a message was due until it began. If it is more than a few
	// milliseconds, all connections were busy, or this host has too little processor time.
	Late   Latency `json:"late"`
	Unsent int64   `json:"unsent"` // messages that were due before the run ended and were not sent
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
	// The system calls and context switches of a message are 0 if they were not counted.
	CallsPerMessage    float64 `json:"system_calls_per_message,omitempty"`
	SwitchesPerMessage float64 `json:"context_switches_per_message,omitempty"`
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

func newSummary(t *tally, u used, o Options) *Summary {
	messages := float64(max(t.messages, 1))
	r := &Summary{
		Messages: t.messages, Seconds: u.time.Seconds(), PerSecond: float64(t.messages) / u.time.Seconds(),
		EndOfMessage: latency(&t.eom), Message: latency(&t.message), Session: latency(&t.session),
		DNSQueries: u.queries, DNSPerMessage: float64(u.queries) / messages, Errors: t.errors,
	}
	if t.err != nil {
		r.LastError = t.err.Error()
	}
	if o.Rate > 0 {
		r.Schedule = &Schedule{Rate: o.Rate, Late: latency(&t.late), Unsent: t.unsent}
	}
	if u.measured {
		r.Server = &Server{
			CPUSeconds: u.server.cpu.Seconds(), CPUPerMessage: milliseconds(u.server.cpu) / messages,
			CallsPerMessage: float64(u.server.calls) / messages, SwitchesPerMessage: float64(u.server.switches) / messages,
			PeakBytes: u.server.peak, RSSBytes: u.server.rss,
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

// OK reports whether there were messages, all outcomes were accepted by the check, no session
// failed, and every message that was due was sent.
func (r *Summary) OK() bool {
	return r.Errors == 0 && r.Mismatches == 0 && r.Messages > 0 && (r.Schedule == nil || r.Schedule.Unsent == 0)
}

// Print writes the summary as text.
func (r *Summary) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(tw, format+"\n", args...) }
	row("messages\t%d in %.2f s\t%.0f/s", r.Messages, r.Seconds, r.PerSecond)
	times := func(name string, l Latency) {
		row("%s\tp50 %.2f ms\tp95 %.2f ms\tp99 %.2f ms\tmax %.2f ms", name, l.P50, l.P95, l.P99, l.Max)
	}
	times("end of message", r.EndOfMessage)
	times("message", r.Message)
	times("session", r.Session)
	if s := r.Schedule; s != nil {
		times("began late", s.Late)
		row("schedule\t%g/s\t%d not sent", s.Rate, s.Unsent)
	}
	if s := r.Server; s != nil {
		row("server\t%.3f ms CPU/message\tpeak %.1f MB\tnow %.1f MB", s.CPUPerMessage, float64(s.PeakBytes)/1e6, float64(s.RSSBytes)/1e6)
		if s.CallsPerMessage > 0 {
			row("\t%.1f system calls/message\t%.1f context switches/message", s.CallsPerMessage, s.SwitchesPerMessage)
		}
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
