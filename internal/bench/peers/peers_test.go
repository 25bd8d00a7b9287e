package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/traffic"
)

// TestMain makes the test program the milter that does nothing if startNothing started it.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == nothingFlag {
		exit(serveNothing(os.Args[2]))
	}
	os.Exit(m.Run())
}

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
	summary := func(cpu, eom, rate, peak float64, wrong int64) *load.Summary {
		return &load.Summary{
			Messages: 10, PerSecond: rate, EndOfMessage: load.Latency{P50: eom}, Mismatches: wrong,
			Server: &load.Server{CPUPerMessage: cpu, PeakBytes: int64(peak * 1e6)},
		}
	}
	late := summary(0.5, 1, 500, 1, 0)
	late.Schedule = &load.Schedule{Rate: 1000, Unsent: 7}
	all := []station{{name: "sekimori", role: ours}, {name: "slow", role: peer}, {name: "late", role: peer}, {name: nothingName, role: floor}}
	c := newCaseResult(benchCase{name: "case"}, cryptography{rsa: 2, ed25519: 1, megabytes: 0.5}, []floors{{0.03, 0.05, 0.5}, {0.04, 0.06, 0.6}, {0.2, 0.3, 9}},
		all, map[string][]*load.Summary{
			"sekimori":  {summary(0.8, 2, 100, 30, 0), summary(1.2, 4, 100, 30, 0), summary(1, 3, 100, 30, 0)},
			"slow":      {summary(2, 1.5, 90, 10, 1), summary(6, 1.5, 90, 10, 0), summary(4, 1.5, 90, 10, 0)},
			"late":      {late},
			nothingName: {summary(0.06, 1, 900, 9, 0)},
		})
	if math.Abs(c.Cryptography-0.44) > 1e-9 || math.Abs(c.Floor-0.5) > 1e-9 || len(c.Results) != 4 {
		t.Errorf("%+v", c)
	}
	var out bytes.Buffer
	if err := (report{Machine: "machine", Absent: []string{"rspamd was not measured."}, Cases: []caseResult{c}}).print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"machine\n", "rspamd was not measured.",
		"| case | sekimori | 1.000 (0.800–1.200) | 1.00 | 2.00 | 3.00 (2.00–4.00) | 1.00 | 100 | 30 | 0.00 | 0 of 30 |",
		"|  | slow | 4.000 (2.000–6.000) | 4.00 | 8.00 | 1.50 (1.50–1.50) | 0.50 | 90 | 10 | 0.00 | 1 of 30 |",
		"0 of 10, 7 not sent in time |", "| | cryptography alone: RSA-2048 0.0400, SHA-256 of 1 MB 0.600 | 0.440 | 0.44 |",
		"case: slow has end of message p50 1.5 ms, sekimori 3 ms (× 0.50)", "case: slow has peak memory 10 MB, sekimori 30 MB (× 0.33)",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
	if n := strings.Count(out.String(), "\n- "); n != 2 {
		t.Errorf("%d values in which a peer leads:\n%s", n, &out)
	}
}

func TestFloorsAreMeasured(t *testing.T) {
	p, err := newPrimitives()
	if err != nil {
		t.Fatal(err)
	}
	if f := p.measure(); f.RSAVerify <= 0 || f.SHAMegabyte <= 0 || f.Ed25519Verify <= 0 {
		t.Errorf("%+v", f)
	}
}

func TestNeeds(t *testing.T) {
	for kind, want := range map[string]cryptography{"none": {0, 0, 0.002}, "rsa": {1, 0, 0.002}, "two": {1, 1, 0.002}, "five": {5, 0, 0.002}} {
		o := plain()
		o.Messages, o.Domains, o.Signatures = 2, 2, one(kind)
		c, err := traffic.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := needs(c); got.rsa != want.rsa || got.ed25519 != want.ed25519 || got.megabytes < 0.0005 || got.megabytes > 0.003 {
			t.Errorf("%s: %+v", kind, got)
		}
	}
}

func TestCasesAreValid(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases() {
		if seen[c.name] || seen[c.id] || c.connections == 0 {
			t.Errorf("%s: twice, or without connections", c.name)
		}
		seen[c.name], seen[c.id] = true, true
		if err := c.corpus.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestChosen(t *testing.T) {
	for ids, want := range map[string]string{"warm": "warm", "rate*": "rate50 rate200 rate1000", "5mb,single": "5mb single"} {
		list, err := chosen(ids)
		var got []string
		for _, c := range list {
			got = append(got, c.id)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v", ids, got, err)
		}
	}
	if list, err := chosen(""); err != nil || len(list) != len(cases()) {
		t.Errorf("all: %d, %v", len(list), err)
	}
	for _, ids := range []string{"war", "warm,", "x*"} {
		if _, err := chosen(ids); err == nil || !strings.Contains(err.Error(), "rate200") {
			t.Errorf("%q: %v", ids, err)
		}
	}
}

// TestMeasure measures the real daemon, the milter that does nothing, and those other verifiers
// that are installed.
func TestMeasure(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs daemons")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) { // Postfix runs as another user
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "sekimori")
	if err := command(t.Context(), "go", "build", "-o", binary, "sekimori/cmd/sekimori"); err != nil {
		t.Fatal(err)
	}
	// opendmarc needs port 53. So the test uses an address that depends on its process id.
	s := settings{dns: fmt.Sprintf("127.78.%d.%d:53", os.Getpid()>>8&0xff, os.Getpid()&0xff), binary: binary, duration: 20 * time.Second}
	if os.Geteuid() != 0 {
		s.dns = "127.0.0.78:5359"
	}
	c := cases()[0]
	c.corpus.Domains, c.corpus.Messages, c.connections, c.warmup, c.messages = 5, 20, 2, 0, 20
	corpus, err := traffic.New(c.corpus)
	if err != nil {
		t.Fatal(err)
	}
	stations, _ := installed()
	for name, change := range map[string]func(*settings, *benchCase){
		"unix":    func(*settings, *benchCase) {},
		"tcp":     func(s *settings, c *benchCase) { s.tcp, c.asInstalled = true, true },
		"postfix": func(_ *settings, c *benchCase) { c.postfix, c.rate = true, 100 },
	} {
		s, c := s, c
		change(&s, &c)
		if why := c.impossible(); why != "" {
			if os.Getenv("CI") == "true" {
				t.Errorf("%s: %s", name, why)
			}
			t.Logf("%s is skipped: %s", name, why)
			continue
		}
		for i, st := range stations {
			if st.name == noMilterName && !c.postfix {
				continue
			}
			r, err := measure(t.Context(), s, c, corpus, st, filepath.Join(dir, fmt.Sprintf("%s%d", name, i)))
			if err != nil {
				t.Errorf("%s: %s: %v", name, st.name, err)
				continue
			}
			if !r.OK() || r.Messages != 20 || st.name != noMilterName && r.Server.PeakBytes == 0 {
				t.Errorf("%s: %s: %+v", name, st.name, r)
			}
		}
	}
}
