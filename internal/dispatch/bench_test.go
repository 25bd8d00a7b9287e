package dispatch

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/submit"
)

// sink takes every mail.
type sink struct{ n chan struct{} }

func (s sink) Submit(_ context.Context, e submit.Envelope, body func(io.Writer) error) (submit.Result, error) {
	if err := e.Check(); err != nil {
		return submit.Result{Kind: submit.Temporary}, err
	}
	if err := body(io.Discard); err != nil {
		return submit.Result{Kind: submit.Temporary}, err
	}
	s.n <- struct{}{}
	return submit.Result{Kind: submit.Sent, Reply: "250 ok"}, nil
}

// BenchmarkReports sends small reports of many domains, each to a destination of its own, from an SQLite
// file, without the limits of the rate. It measures everything but DNS and the MTA.
func BenchmarkReports(b *testing.B) {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "sekimori.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var text strings.Builder
	window := dayWindow(time.Now().Add(-48 * time.Hour))
	batch := report.Batch{ID: "1", Current: window}
	for i := range b.N {
		domain := fmt.Sprintf("d%07d.example", i)
		text.WriteString(domainZone(domain, "mailto:rua@"+domain))
		batch.Tallies = append(batch.Tallies, report.Tally{Policy: report.Policy{Domain: dns.Name(domain), P: "none"}, Window: window, SendAt: time.Unix(window.End, 0).Add(time.Hour),
			Rows: []report.Row{{HeaderFrom: dns.Name(domain), AuthSPF: report.SPFResult{Domain: domain, Result: "pass"}, Count: 1}}, Causes: 1})
	}
	z, err := zone.Parse(text.String())
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Add(b.Context(), time.Unix(window.Begin+1, 0), batch); err != nil {
		b.Fatal(err)
	}
	done := sink{make(chan struct{}, b.N)}
	d, err := New(Options{Store: s, Resolver: z, Submit: done, Owner: "a", Rate: 1e9, RatePerHost: 1e9, Dir: b.TempDir(),
		Identity: Identity{Organization: "Example ISP", Domain: "dmarc.isp.example", From: "noreply", Bounce: "dmarc-bounce", Contact: "postmaster@isp.example"},
		Settings: destination.Settings{Send: true, Always: []string{".example"}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ResetTimer()
	go d.Run(ctx)
	for range b.N {
		<-done.n
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
}
