package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/traffic"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(tc.values); got != tc.want {
			t.Errorf("%v: %v", tc.values, got)
		}
	}
}

func TestTable(t *testing.T) {
	summary := func(cpu, eom float64, wrong int64) *load.Summary {
		return &load.Summary{
			Messages: 10, PerSecond: 100, EndOfMessage: load.Latency{P50: eom}, Mismatches: wrong,
			Server: &load.Server{CPUPerMessage: cpu, PeakBytes: 30e6},
		}
	}
	results := []result{
		summarize("case", "sekimori", []*load.Summary{summary(0.1, 2, 0), summary(0.3, 4, 0), summary(0.2, 3, 0)}),
		summarize("case", "peer", []*load.Summary{summary(1, 6, 1), summary(3, 6, 0), summary(2, 6, 0)}),
	}
	if results[0].CPU != 0.2 || results[1].Unexpected != 1 || results[1].Messages != 30 {
		t.Errorf("%+v", results)
	}
	var out bytes.Buffer
	if err := printTable(&out, "machine", floors{RSAVerify: 0.03, SHA5MB: 3}, results); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0.0300 ms", "| case | sekimori | 0.200 | 1.0 | 3.00 |", "|  | peer | 2.000 | 10.0 | 6.00 |", "1 of 30"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, &out)
		}
	}
}

func TestFloorsAreMeasured(t *testing.T) {
	if f := measureFloors(); f.RSAVerify <= 0 || f.SHA5MB <= 0 {
		t.Errorf("%+v", f)
	}
}

func TestCasesAreValid(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases() {
		if seen[c.name] || c.connections == 0 {
			t.Errorf("%s: twice, or without connections", c.name)
		}
		seen[c.name] = true
		if err := c.corpus.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestMeasure measures the real daemon, and those other verifiers that are installed.
func TestMeasure(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs daemons")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "sekimori")
	if err := command(t.Context(), "go", "build", "-o", binary, "sekimori/cmd/sekimori"); err != nil {
		t.Fatal(err)
	}
	c := cases()[0]
	c.corpus.Messages, c.connections, c.warmup, c.messages = 20, 2, 0, 20
	corpus, err := traffic.New(c.corpus)
	if err != nil {
		t.Fatal(err)
	}
	for _, tcp := range []bool{false, true} {
		for _, st := range installed(io.Discard) {
			// opendmarc needs port 53. So the test uses an address that depends on its process id.
			s := settings{dns: fmt.Sprintf("127.78.%d.%d:53", os.Getpid()>>8&0xff, os.Getpid()&0xff), binary: binary, duration: 20 * time.Second, tcp: tcp}
			if os.Geteuid() != 0 {
				s.dns = "127.0.0.78:5359"
			}
			work := filepath.Join(dir, "at-"+st.name)
			if tcp {
				work += "-tcp"
			}
			r, err := measure(t.Context(), s, c, corpus, st, work)
			if err != nil {
				t.Errorf("%s: %v", st.name, err)
				continue
			}
			if !r.OK() || r.Messages != 20 || r.Server.PeakBytes == 0 {
				t.Errorf("%s: %+v", st.name, r)
			}
		}
	}
}
