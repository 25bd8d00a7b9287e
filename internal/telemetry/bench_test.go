package telemetry

import (
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// benchMessage returns the evaluation and the verdict of an ordinary message.
func benchMessage() (*msgauth.Evaluation, policy.Verdict) {
	e := message("mail.example.com", 2048)
	e.Panics, e.DKIM = nil, e.DKIM[1:]
	for _, m := range msgauth.Mechanisms() {
		e.Cost[m] = msgauth.Cost{Lookups: 1, DNS: time.Millisecond, Elapsed: 2 * time.Millisecond}
	}
	return e, policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Enforced: true, Reason: "dmarc_pass", Disposition: "none", ID: "ABCDEFGH"}
}

func BenchmarkRecord(b *testing.B) {
	for _, format := range []string{"json", "text"} {
		b.Run(format, func(b *testing.B) {
			log, err := NewLogger(io.Discard, format, "info")
			if err != nil {
				b.Fatal(err)
			}
			e, v := benchMessage()
			r := Records{Log: log}
			b.ReportAllocs()
			for b.Loop() {
				r.Decided(decided(e, v), time.Millisecond)
			}
		})
	}
}

func BenchmarkMetrics(b *testing.B) {
	m := New(prometheus.NewRegistry())
	e, v := benchMessage()
	b.ReportAllocs()
	for b.Loop() {
		m.Decided(decided(e, v), time.Millisecond)
	}
}
