package survey

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manyDomains returns how many domains a benchmark looks at. SEKIMORI_SURVEY_DOMAINS changes it.
func manyDomains(b *testing.B) int {
	b.Helper()
	text := os.Getenv("SEKIMORI_SURVEY_DOMAINS")
	if text == "" {
		return 10_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkMemory makes a survey in a process of its own, and reports the most memory that the process had.
func BenchmarkMemory(b *testing.B) {
	f := newFixture(manyDomains(b))
	addr, in := f.serve(b).Addr(), strings.Join(f.reliable(), "\n")
	for b.Loop() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "SURVEY_STATE="+filepath.Join(b.TempDir(), "state"), "SURVEY_DNS="+addr, "SURVEY_WHOLE=1")
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out[max(0, len(out)-1000):])
		}
		// What the system says of a process that has ended includes the memory of the one that started it.
		_, text, _ := strings.Cut(string(out), "VmHWM:")
		text, _, _ = strings.Cut(text, " kB")
		kb, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(kb/1024, "MiB")
	}
}

// BenchmarkSurvey measures a survey without a limit of the rate. It reports the questions a domain and the memory
// that is in use at the end.
func BenchmarkSurvey(b *testing.B) {
	f := newFixture(manyDomains(b))
	f.list = f.reliable() // servers that never answer would be all that is measured
	addr := f.serve(b).Addr()
	l := list(b, f.list)
	b.ResetTimer()
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r, err := Run(b.Context(), l, options(network(b, addr)))
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(r.Asked)/float64(len(l.Domains)), "questions/domain")
		b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/(1<<20), "MiB")
	}
}

// BenchmarkRate makes the survey that memory.md §5 has a figure for: 10,000 domains, some with servers in
// trouble, at 200 questions a second. It reports how long that takes, and the memory in use after each
// fifth. With -short it is 500 domains at 2,000 questions a second.
func BenchmarkRate(b *testing.B) {
	domains, rate := 10_000, 200.0
	if testing.Short() {
		domains, rate = 500, 2000
	}
	f := newFixture(domains)
	o := options(network(b, f.serve(b).Addr()))
	o.Rate, o.Pause = rate, time.Second
	l := list(b, f.list)
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	for b.Loop() {
		before := heap() // the zone and its server are in this process
		var used []float64
		o.Progress = func(done, total int, _ int64) {
			if done%(domains/5) == 0 {
				used = append(used, heap()-before)
			}
		}
		began := time.Now()
		r, err := Run(b.Context(), l, o)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s")
		b.ReportMetric(float64(r.Asked)/time.Since(began).Seconds(), "questions/s")
		b.ReportMetric(float64(r.Asked)/float64(domains), "questions/domain")
		b.ReportMetric(used[0], "MiB-first-fifth")
		b.ReportMetric(used[len(used)-1], "MiB-end")
		b.Logf("MiB in use after each fifth: %.1f", used)
	}
}
