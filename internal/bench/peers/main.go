// Command peers compares the speed of sekimori with two other verifiers: opendkim together with
// opendmarc, and rspamd with only its modules for SPF, DKIM and DMARC. These are the versions that
// Debian packages. All of them get the same mail and the same DNS zone, one after the other, in
// several rounds. A milter that does nothing gets the same mail. Its CPU time and that of the
// cryptography alone, measured in the same minute, are the floor: no verifier can need less. Some
// cases send the mail through a private Postfix. The command prints medians, spreads and ratios as
// Markdown.
//
// The command needs root. opendmarc takes the address of its name server only from resolv.conf.
// Therefore the zone is served on port 53 of a loopback address, and opendmarc runs in a private
// mount namespace whose resolv.conf has that address. The command changes nothing outside of its
// own temporary directory. Verifiers that are not installed are left out, and the output says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/postfix"
	"sekimori/internal/bench/traffic"
)

// settings are the command-line flags.
type settings struct {
	rounds   int
	duration time.Duration
	dns      string
	tcp      bool
	binary   string
	cases    string
	stations string
	json     bool
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == nothingFlag {
		exit(serveNothing(os.Args[2]))
	}
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "number of rounds")
	flag.DurationVar(&s.duration, "duration", time.Second,
		"length of one measurement (some cases take longer); the warm-up before it takes at most three times as long")
	flag.StringVar(&s.dns, "dns", "127.0.0.77:53", "loopback address at which the zone is served; opendmarc needs port 53")
	flag.BoolVar(&s.tcp, "tcp", false, "milters on TCP instead of unix sockets")
	flag.StringVar(&s.binary, "sekimori", "", "the daemon; built here if empty")
	flag.StringVar(&s.cases, "cases", "", "run only these cases, as warm,rate*; an unknown one lists all")
	flag.StringVar(&s.stations, "stations", "", "measure only verifiers whose name contains one of these words, as sekimori,rspamd")
	flag.BoolVar(&s.json, "json", false, "print the results as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, s, os.Stdout, os.Stderr)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, s settings, out, progress io.Writer) error {
	list, err := chosen(s.cases)
	if err != nil {
		return err
	}
	if err := load.CheckDNSAddr(s.dns, false); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // Postfix runs as another user
		return err
	}
	if s.binary == "" {
		s.binary = filepath.Join(dir, "sekimori")
		if err := command(ctx, "go", "build", "-trimpath", "-o", s.binary, "sekimori/cmd/sekimori"); err != nil {
			return err
		}
	}
	r := report{}
	stations, absent := installed()
	r.Absent = absent
	stations = slices.DeleteFunc(stations, func(st station) bool { return !s.wants(st) })
	r.Machine = machine(ctx, stations)
	for _, c := range list {
		if why := c.impossible(); why != "" {
			r.Absent = append(r.Absent, fmt.Sprintf("%s: not measured, because %s.", c.name, why))
			continue
		}
		result, err := measureCase(ctx, s, c, stations, dir, progress)
		if err != nil {
			r.Absent = append(r.Absent, fmt.Sprintf("The run ended early, in the case \"%s\".", c.name))
			return errors.Join(err, r.write(out, s.json)) // what was measured so far may have taken an hour
		}
		r.Cases = append(r.Cases, result)
	}
	return r.write(out, s.json)
}

// wants reports whether the flag -stations selects a station.
func (s settings) wants(st station) bool {
	return s.stations == "" || slices.ContainsFunc(strings.Split(s.stations, ","), func(word string) bool { return strings.Contains(st.name, word) })
}

// impossible says why a case cannot be measured on this host, or returns "".
func (c benchCase) impossible() string {
	if !c.postfix {
		return ""
	}
	if _, err := exec.LookPath(postfix.Master); err != nil {
		return "Postfix is not installed"
	}
	if os.Geteuid() != 0 {
		return "Postfix needs root"
	}
	return ""
}

// measureCase measures all stations in one case, in several rounds.
func measureCase(ctx context.Context, s settings, c benchCase, stations []station, dir string, progress io.Writer) (caseResult, error) {
	corpus, err := traffic.New(c.corpus)
	if err != nil {
		return caseResult{}, err
	}
	alone, err := newPrimitives()
	if err != nil {
		return caseResult{}, err
	}
	var rounds []floors
	summaries := map[string][]*load.Summary{}
	for round := range s.rounds {
		rounds = append(rounds, alone.measure())
		for _, st := range stations {
			if st.name == noMilterName && !c.postfix {
				continue
			}
			fmt.Fprintf(progress, "round %d: %s: %s\n", round+1, c.id, st.name)
			r, err := measure(ctx, s, c, corpus, st, filepath.Join(dir, fmt.Sprintf("m%d", time.Now().UnixNano())))
			if err != nil {
				return caseResult{}, fmt.Errorf("%s: %s: %w", c.name, st.name, err)
			}
			if ctx.Err() != nil { // the run was interrupted, so the values are wrong
				return caseResult{}, ctx.Err()
			}
			summaries[st.name] = append(summaries[st.name], r)
		}
	}
	return newCaseResult(c, needs(corpus), rounds, stations, summaries), nil
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
	at := place{dir: dir, dns: s.dns, binary: s.binary, tcp: s.tcp || c.postfix, asInstalled: c.asInstalled}
	if at.ports, err = freePorts(at.host()); err != nil {
		return nil, err
	}
	p, err := st.start(ctx, at)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	o := load.Options{
		Connections: c.connections, Messages: c.messages, Duration: max(s.duration, c.duration), Rate: c.rate, Warmup: c.warmup,
		Timeout: 30 * time.Second, Check: load.CheckResults, PIDs: p.pids(), Queries: server.Queries, RoundTrip: c.roundTrip,
	}
	if st.role == floor {
		o.Check = load.CheckNone
	}
	if c.postfix {
		m, err := startMTA(ctx, at, p.addresses)
		if err != nil {
			return nil, err
		}
		defer m.stop()
		o.MTA, o.Check = m.target, load.CheckReplies
		return load.Run(ctx, corpus, o)
	}
	for _, address := range p.addresses {
		t, e := load.ParseTarget(ctx, address, false)
		o.Milters, err = append(o.Milters, t), errors.Join(err, e)
	}
	if err != nil {
		return nil, err
	}
	return load.Run(ctx, corpus, o)
}
