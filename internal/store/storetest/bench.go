package storetest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/report"
)

// Benchmark runs the benchmarks that reports.md §10 has figures for.
func Benchmark(b *testing.B, open Open) {
	b.Run("AddNew", func(b *testing.B) { benchmarkAdd(b, open(b), true) })
	b.Run("AddKnown", func(b *testing.B) { benchmarkAdd(b, open(b), false) })
	b.Run("Claim", func(b *testing.B) { benchmarkClaim(b, open(b)) })
	b.Run("Million", func(b *testing.B) { benchmarkMillion(b, open(b)) })
}

// benchmarkAdd adds batches of 5,000 rows in 20 jobs, as a busy daemon does.
func benchmarkAdd(b *testing.B, s report.Store, fresh bool) {
	const size, domains = 250, 20
	batch := func(first int) report.Batch {
		tallies := make([]report.Tally, domains)
		for i := range tallies {
			tallies[i] = Tally(Policy(fmt.Sprintf("d%d.example", i)), Day(0), Rows(first, first+size))
		}
		return Batch("", tallies...)
	}
	known := batch(0)
	n, spent := 0, time.Duration(0)
	for b.Loop() {
		next := known
		if fresh {
			b.StopTimer()
			next = batch(n * size)
			b.StartTimer()
		}
		next.ID = fmt.Sprint(n)
		begin := processor(b)
		if err := s.Add(b.Context(), Noon(), next); err != nil {
			b.Fatal(err)
		}
		spent += processor(b) - begin
		n++
	}
	b.ReportMetric(float64(n*size*domains)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(n*size*domains)/spent.Seconds(), "rows/cpu-s") // of this process; the same on a busy machine
}

// processor returns the CPU time of this process.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchmarkClaim claims and finishes jobs, of which 100,000 wait.
func benchmarkClaim(b *testing.B, s report.Store) {
	waiting := 100_000
	if testing.Short() {
		waiting = 10_000
	}
	for i := 0; i < waiting; i += 10_000 {
		tallies := make([]report.Tally, 10_000)
		for n := range tallies {
			tallies[n] = Tally(Policy(fmt.Sprintf("d%d.example", i+n)), Day(0), Rows(n, n+1))
		}
		if err := s.Add(b.Context(), Noon(), Batch(fmt.Sprint(i), tallies...)); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := s.Claim(b.Context(), closed(Day(0)), "x", time.Hour); err != nil { // closes the windows
		b.Fatal(err)
	}
	for b.Loop() {
		j, err := s.Claim(b.Context(), closed(Day(0)), "x", time.Hour)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Finish(b.Context(), j, report.Outcome{Word: report.Sent}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// benchmarkMillion reads the rows of one job with 10⁶ rows. It fails if the process grows by more than
// 64 MiB.
func benchmarkMillion(b *testing.B, s report.Store) {
	number, size := 1_000_000, 20_000
	if testing.Short() {
		number = 40_000
	}
	begin := time.Now()
	for n := 0; n < number; n += size {
		if err := s.Add(b.Context(), Noon(), Batch(fmt.Sprint(n), Tally(Policy("shop.example"), Day(0), Rows(n, n+size)))); err != nil {
			b.Fatal(err)
		}
	}
	added := time.Since(begin)
	all, err := s.Jobs(b.Context(), report.Filter{})
	if err != nil {
		b.Fatal(err)
	}
	before, peak, begun := memory(b), int64(0), processor(b)
	for b.Loop() {
		n := 0
		for _, err := range s.Rows(b.Context(), all[0].ID) {
			if err != nil {
				b.Fatal(err)
			}
			if n++; n%10_000 == 0 {
				peak = max(peak, memory(b)-before)
			}
		}
		if n != number {
			b.Fatalf("%d rows", n)
		}
	}
	b.ReportMetric(float64(number*b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(number*b.N)/(processor(b)-begun).Seconds(), "rows/cpu-s")
	b.ReportMetric(float64(number)/added.Seconds(), "added/s")
	b.ReportMetric(float64(peak)/(1<<20), "MiB")
	if peak > 64<<20 {
		b.Errorf("reading rows took %d MiB", peak>>20)
	}
}

// memory returns the resident memory of this process, in octets.
func memory(b *testing.B) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("the memory of this process can only be read on Linux: ", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		b.Fatal("no VmRSS")
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib << 10
}
