package collect

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/geo"
	"sekimori/internal/judge"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
	"sekimori/internal/testkit/countries"
)

// BenchmarkObservation measures everything from Decided to the batch that the store gets, in CPU time of
// all goroutines, on traffic of which one message in ten is a row of its own. At 5,000 messages a
// second, 4 µs are 2 % of a core. It measures that without and with the countries of the clients.
func BenchmarkObservation(b *testing.B) {
	clients, country := world(b)
	b.Run("Plain", func(b *testing.B) { benchmarkObservation(b, clients, nil) })
	b.Run("Countries", func(b *testing.B) { benchmarkObservation(b, clients, country) })
}

// world returns the addresses of clients, half of them IPv6, and what finds their countries in a file of the size
// of those that are in use.
func world(b *testing.B) (clients []string, country func(netip.Addr) string) {
	b.Helper()
	random := rand.New(rand.NewPCG(17, 7))
	codes := []string{"JP", "US", "DE", "FR", "GB", "CN", "KR", "TW", "BR", "IN"}
	networks := map[string]string{}
	for n := range 200_000 {
		address, prefix := fmt.Sprintf("%d.%d.%d.0", 1+random.IntN(222), random.IntN(256), random.IntN(256)), "/24"
		if n%2 > 0 {
			address, prefix = fmt.Sprintf("2%03x:%x:%x::", random.IntN(1<<12), random.IntN(1<<16), random.IntN(1<<16)), "/48"
		}
		networks[address+prefix] = codes[random.IntN(len(codes))]
		if n%2000 < 2 {
			clients = append(clients, address)
		}
	}
	file := countries.File(networks, countries.Options{})
	c, err := geo.Parse(file, func(err error) { b.Error(err) })
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("a file of %d octets, %d clients", len(file), len(clients))
	for _, a := range clients {
		if c.Country(netip.MustParseAddr(a)) == ledger.UnknownCountry {
			b.Errorf("%s has no country", a)
		}
	}
	return clients, c.Country
}

func benchmarkObservation(b *testing.B, clients []string, country func(netip.Addr) string) {
	m := &memory{}
	with := settings
	with.Country = country
	c := New(Options{Store: func() report.Store { return m }, Every: time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, with)
	var all []*judge.Decision
	for i := range 2000 {
		all = append(all, decision("shop.example", clients[i%len(clients)], time.Now()))
	}
	b.ReportAllocs()
	before := cpu(b)
	n := 0
	for b.Loop() {
		for len(c.queue) > maxQueue/2 {
			time.Sleep(time.Millisecond) // as fast as it is taken; a message would be dropped
		}
		c.Decided(all[n%len(all)], 0)
		n++
	}
	stop(c, time.Minute)
	used := cpu(b) - before
	b.ReportMetric(float64(used.Nanoseconds())/float64(n), "cpu-ns/op")
	b.ReportMetric(100*used.Seconds()/float64(n)*5000, "%core@5000/s")
	if got := m.sum(); got != int64(n) {
		b.Errorf("%d messages counted, %d sent", got, n)
	}
}

// cpu returns the CPU time of the process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
