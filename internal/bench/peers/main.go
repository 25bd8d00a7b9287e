// Command peers compares the speed of sekimori with two other verifiers: opendkim together with
// opendmarc, and rspamd with only its modules for SPF, DKIM and DMARC. These are the versions that
// Debian packages. All of them get the same mail and the same DNS zone, one after the other, in
// several rounds. The command prints medians and ratios as a Markdown table.
//
// The command needs root. opendmarc takes the address of its name server only from resolv.conf.
// Therefore the zone is served on port 53 of a loopback address, and opendmarc runs in a private
// mount namespace whose resolv.conf has that address. The command changes nothing outside of its
// own temporary directory. Verifiers that are not installed are left out.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/traffic"
)

// settings are the command-line flags.
type settings struct {
	rounds   int
	duration time.Duration
	dns      string
	tcp      bool
	binary   string
	only     string
	json     bool
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 3, "number of rounds")
	flag.DurationVar(&s.duration, "duration", time.Second,
		"length of one measurement; the warm-up before it takes at most three times as long")
	flag.StringVar(&s.dns, "dns", "127.0.0.77:53", "loopback address at which the zone is served; opendmarc needs port 53")
	flag.BoolVar(&s.tcp, "tcp", false, "milters on TCP instead of unix sockets")
	flag.StringVar(&s.binary, "sekimori", "", "the daemon; built here if empty")
	flag.StringVar(&s.only, "case", "", "run only the cases whose name contains this")
	flag.BoolVar(&s.json, "json", false, "print the medians as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, s, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, out, progress io.Writer) error {
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.binary == "" {
		s.binary = filepath.Join(dir, "sekimori")
		if err := command(ctx, "go", "build", "-trimpath", "-o", s.binary, "sekimori/cmd/sekimori"); err != nil {
			return err
		}
	}
	if err := load.CheckDNSAddr(s.dns, false); err != nil {
		return err
	}
	stations := installed(progress)
	fl := measureFloors()
	var results []result
	for _, c := range cases() {
		if !strings.Contains(c.name, s.only) {
			continue
		}
		corpus, err := traffic.New(c.corpus)
		if err != nil {
			return err
		}
		byStation := make([][]*load.Summary, len(stations))
		for round := range s.rounds {
			for i, st := range stations {
				fmt.Fprintf(progress, "round %d: %s: %s\n", round+1, c.name, st.name)
				r, err := measure(ctx, s, c, corpus, st, filepath.Join(dir, fmt.Sprintf("%s-%d", st.name, time.Now().UnixNano())))
				if err != nil {
					return fmt.Errorf("%s: %s: %w", c.name, st.name, err)
				}
				byStation[i] = append(byStation[i], r)
			}
		}
		for i, st := range stations {
			results = append(results, summarize(c.name, st.name, byStation[i]))
		}
	}
	if s.json {
		return json.NewEncoder(out).Encode(map[string]any{"floors": fl, "results": results})
	}
	return printTable(out, machine(ctx, stations), fl, results)
}

// measure starts the verifier of a station and a name server, sends the mail of the case, and stops
// both.
func measure(ctx context.Context, s settings, c benchCase, corpus *traffic.Corpus, st station, dir string) (*load.Summary, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	server, err := traffic.Serve(corpus.Zone, traffic.DNSOptions{Addr: s.dns, Delay: c.delay})
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Close() }()
	at := place{dir: dir, dns: s.dns, binary: s.binary}
	if s.tcp {
		if at.ports, err = freePorts(); err != nil {
			return nil, err
		}
	}
	p, err := st.start(ctx, at)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	o := load.Options{
		Connections: c.connections, Messages: c.messages, Duration: s.duration, Warmup: c.warmup,
		Timeout: 30 * time.Second, Check: load.CheckResults, PIDs: p.pids(), Queries: server.Queries, RoundTrip: c.roundTrip,
	}
	for _, address := range p.addresses {
		t, err := load.ParseTarget(ctx, address, false)
		if err != nil {
			return nil, err
		}
		o.Milters = append(o.Milters, t)
	}
	return load.Run(ctx, corpus, o)
}
