package postgres

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
	"sekimori/internal/testkit/cluster"
)

// BenchmarkStore measures what reports.md §10 has figures for. The server waits for the disk at each
// commit, as in production.
func BenchmarkStore(b *testing.B) {
	c := cluster.Start(b, cluster.Options{Durable: true})
	storetest.Benchmark(b, opener(c))
	b.Run("FourWriters", func(b *testing.B) { benchmarkWriters(b, c) })
}

// benchmarkWriters adds batches of 20,000 rows from four daemons. All have the same 100 jobs; half of the
// rows are those of the other daemons too, and a quarter is new in each batch.
func benchmarkWriters(b *testing.B, c *cluster.Cluster) {
	const writers, domains, common, own, fresh = 4, 100, 100, 50, 50
	rawURL := c.Database(b)
	batch := func(w, n int) report.Batch {
		tallies := make([]report.Tally, domains)
		for d := range tallies {
			rows := storetest.Rows(0, common)
			first := common + w*own
			rows = append(rows, storetest.Rows(first, first+own)...)
			first = 10_000 + (n*writers+w)*fresh
			rows = append(rows, storetest.Rows(first, first+fresh)...)
			slices.SortFunc(rows, func(a, b report.Row) int { return a.Key().Compare(b.Key()) })
			tallies[d] = storetest.Tally(storetest.Policy(fmt.Sprintf("d%d.example", d)), storetest.Day(0), rows)
		}
		return storetest.Batch(fmt.Sprint(w, "/", n), tallies...)
	}
	const perBatch = domains * (common + own + fresh)
	stores := make([]*Store, writers)
	for w := range stores {
		stores[w] = open1(b, rawURL)
		if err := stores[w].Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	for b.Loop() {
		b.StopTimer()
		batches := make([]report.Batch, writers)
		for w := range batches {
			batches[w] = batch(w, n)
		}
		n++
		b.StartTimer()
		var wg sync.WaitGroup
		var failed atomic.Bool
		for w := range stores {
			wg.Go(func() {
				if err := stores[w].Add(b.Context(), storetest.Noon(), batches[w]); err != nil {
					b.Error(err)
					failed.Store(true)
				}
			})
		}
		wg.Wait()
		if failed.Load() {
			return
		}
	}
	b.ReportMetric(float64(n*writers*perBatch)/b.Elapsed().Seconds(), "rows/s")
}
