package aggregate

import (
	"compress/gzip"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"runtime"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// many makes rows of which each has another address and another envelope domain, as a report on a
// domain that is forged by a botnet has.
func many(n int) iter.Seq2[report.Row, error] {
	return func(yield func(report.Row, error) bool) {
		r := passed()
		r.Disposition, r.DKIM, r.SPF, r.Count = report.Reject, false, false, 1
		for i := range n {
			r.Source = netip.AddrFrom4([4]byte{byte(i>>16) ^ 0x5b, byte(i >> 8), byte(i), byte(i * 7)})
			r.EnvelopeFrom = dns.Name(fmt.Sprintf("h%x.example", i*2654435761))
			r.AuthSPF.Domain, r.AuthSPF.Result = string(r.EnvelopeFrom), "softfail"
			if !yield(r, nil) {
				return
			}
		}
	}
}

// BenchmarkReport writes reports of 10⁴ and 10⁶ rows, compressed. The target for 10⁶ rows is 4.6 s. The
// parts "xml" and "gzip" are what it consists of: on a busy machine, their ratio is what to compare.
func BenchmarkReport(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			var size counter
			for b.Loop() {
				size = 0
				if err := WriteGzip(&size, usual(), many(n)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/row")
			b.ReportMetric(float64(size)/float64(n), "octets/row")
		})
	}
	b.Run("xml", func(b *testing.B) {
		var size counter
		for b.Loop() {
			size = 0
			if err := WriteXML(&size, usual(), many(100_000)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/row")
		b.ReportMetric(float64(size)/100_000, "octets/row")
	})
	b.Run("gzip", func(b *testing.B) {
		z, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
		if err != nil {
			b.Fatal(err)
		}
		var block []byte
		collect := writerFunc(func(p []byte) { block = append(block, p...) })
		if err := WriteXML(collect, usual(), many(10_000)); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			z.Reset(io.Discard)
			_, _ = z.Write(block)
			_ = z.Close()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/row")
	})
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// TestFlatMemory checks that the memory does not grow with the number of rows: at no time while
// 300,000 rows are written does the heap have more than a few MiB, and a row costs no allocation that stays.
func TestFlatMemory(t *testing.T) {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	n := 0
	watched := func(yield func(report.Row, error) bool) {
		for r, err := range many(300_000) {
			if n++; n%50_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
			if !yield(r, err) {
				return
			}
		}
	}
	if err := WriteGzip(io.Discard, usual(), watched); err != nil {
		t.Fatal(err)
	}
	if most > before.HeapAlloc+4<<20 {
		t.Errorf("the heap grew from %d to %d octets", before.HeapAlloc, most)
	}
}
