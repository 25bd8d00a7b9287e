package resolver

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
)

// responderVar is the variable of the environment that makes the test program a DNS server.
const responderVar = "SEKIMORI_BENCH_RESPONDER"

func TestMain(m *testing.M) {
	if os.Getenv(responderVar) != "" {
		respond()
		return
	}
	os.Exit(m.Run())
}

// respond answers every query with the same TXT record until the other end of the standard input is
// closed. It is a program of its own, so that its CPU time is not part of the measurement.
func respond() {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = conn.SetReadBuffer(4 << 20)
	fmt.Println(conn.LocalAddr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	text := "v=spf1 ip4:192.0.2.0/24 include:one.example include:two.example -all"
	record := []byte{0xc0, 12, 0, 16, 0, 1, 0, 0, 14, 16, 0, byte(len(text) + 1), byte(len(text))}
	record = append(record, text...)
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			continue
		}
		opt := append([]byte(nil), buf[n-11:n]...)
		buf[2] |= 0x80
		binary.BigEndian.PutUint16(buf[6:], 1)
		answer := append(append(buf[:n-11], record...), opt...)
		_, _ = conn.WriteToUDPAddrPort(answer, from)
	}
}

// startResponder starts respond in a process of its own and returns its address.
func startResponder(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), responderVar+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// cpuTime returns the CPU time of this process in user and system mode.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkQuery measures the CPU time that one query to a server on loopback takes, without the
// time of the server. Several lookups run at the same time, as under load. No question is asked
// twice, so the cache never has the answer.
func BenchmarkQuery(b *testing.B) {
	for _, lookups := range []int{1, 64} {
		b.Run(fmt.Sprint("client/lookups=", lookups), func(b *testing.B) { benchQuery(b, benchResolver(b).client, lookups) })
		b.Run(fmt.Sprint("cache/lookups=", lookups), func(b *testing.B) { benchQuery(b, benchResolver(b), lookups) })
	}
}

func benchResolver(b *testing.B) *Resolver {
	cfg := Config{Client: ClientConfig{Servers: []string{startResponder(b)}, Timeout: 10 * time.Second}, Cache: cacheDefaults()}
	r, err := New(cfg, prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.Close)
	return r
}

func benchQuery(b *testing.B, r dns.Resolver, lookups int) {
	names := make([]dns.Name, b.N)
	for i := range names {
		names[i] = dns.Name(fmt.Sprintf("s%d._domainkey.a.example", i))
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	begin := cpuTime(b)
	for range lookups {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < b.N; i = next.Add(1) - 1 {
				if _, err := r.Lookup(context.Background(), names[i], dns.TypeTXT); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(0, "ns/op")
}
