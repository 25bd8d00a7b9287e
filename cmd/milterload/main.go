// Command milterload sends mail to milters that verify mail, in the way Postfix does, and
// measures what the work costs the milters.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/traffic"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // a message was not answered as expected, or the run failed
	exitUsage  = 2
)

// errUnexpected is the error of a run in which messages were not sent, or not answered as expected.
var errUnexpected = errors.New("not every message was sent and answered as expected")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand(&settings{corpus: traffic.Default(), settle: settle})
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	var failed failure
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &failed):
		fmt.Fprintln(stderr, "milterload:", err)
		return exitFailed
	default:
		fmt.Fprintln(stderr, "milterload:", err)
		return exitUsage
	}
}

// failure is an error of the run (exit code 1). All other errors mean that the flags are wrong
// (exit code 2).
type failure struct{ error }

const long = `Put milters that verify mail under load as Postfix would, and measure what that
costs them: messages a second, how long the MTA waits, CPU and memory of the
milters, DNS queries, and whether every verdict was right.

The mail is made from a seed: the same flags give the same messages, octet for
octet. milterload itself serves the DNS zone of the mail at --dns (keys, SPF,
DMARC, reverse names; clients from 198.18.0.0/15). Configure the milter to ask
that address and no other, and to trust no network but 127.0.0.1. For sekimori:

    dns: {servers: ["127.0.0.1:5354"]}

    milterload --milter inet:127.0.0.1:8891 --dns 127.0.0.1:5354 \
        --pid $(pidof sekimori) --connections 64 --duration 30s --warmup 5000

To size a host, look at "CPU/message" with your own mix of sizes and
signatures. If you need messages/s, run milterload on other cores (taskset).

With --rate, messages are sent at fixed times, whether earlier ones have been
answered or not, and their times are measured from then. So a pause of the
milter shows in every message that had to wait for it.

With --idle, milterload sends no mail. It prints how much memory one more
connection takes that waits for its client.

    milterload --milter inet:127.0.0.1:8891 --dns 127.0.0.1:5354 \
        --pid $(pidof sekimori) --idle 5000

A mix is a list of kinds with weights, such as rsa=70,none=30; a single kind
needs no weight. With several --milter, each message goes through all of them in turn,
as with several smtpd_milters. With --mta, the mail goes by SMTP to a real MTA,
which asks the milter; --pid is the milter's process.

Exit codes: 0 if every message was answered as expected (with --rate: and sent),
1 if not, 2 for wrong use.`

// settings are the values of the flags.
type settings struct {
	milters []string
	mta     string
	remote  bool
	json    bool
	watch   string        // address of the metrics of the milter under test
	every   time.Duration // time between two samples of the metrics
	settle  time.Duration // time between the end of the load and the last sample
	idle    int
	check   string
	corpus  traffic.Options
	dns     traffic.DNSOptions
	run     load.Options
}

func newCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use: "milterload", Short: "Put milters under load", Long: long, Args: cobra.NoArgs,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.execute(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&s.milters, "milter", []string{"inet:127.0.0.1:8891"},
		"milter to send to: inet:HOST:PORT or unix:/PATH; repeat for a chain")
	f.StringVar(&s.mta, "mta", "", "send by SMTP to this MTA instead (HOST:PORT), which asks the milter; with Postfix set "+
		"smtpd_upstream_proxy_protocol=haproxy, because milterload says there which client it plays")
	f.BoolVar(&s.remote, "allow-remote", false, "send to, or serve DNS at, an address that is not loopback")
	f.IntVar(&s.run.Connections, "connections", 16, "connections at a time")
	f.IntVar(&s.corpus.PerSession, "per-session", s.corpus.PerSession, "messages on one connection")
	f.IntVar(&s.run.Messages, "messages", 0, "messages to send; 0 goes through the corpus once, or until --duration")
	f.DurationVar(&s.run.Duration, "duration", 0, "end after this time; 0 for no limit")
	f.Float64Var(&s.run.Rate, "rate", 0, "messages a second, sent at fixed times; 0 sends as fast as the milter answers")
	f.IntVar(&s.run.Warmup, "warmup", 0, "messages sent before measuring begins, for no longer than three times --duration")
	f.DurationVar(&s.run.Timeout, "timeout", 30*time.Second, "how long the MTA waits for one answer")
	f.DurationVar(&s.run.RoundTrip, "smtp-rtt", 0, "time between two commands of an SMTP client; 0 sends a message in one burst")
	f.IntSliceVar(&s.run.PIDs, "pid", nil, "processes whose CPU and memory is reported, with their descendants")
	f.BoolVar(&s.run.SystemCalls, "syscalls", false, "count system calls and context switches of --pid (by perf, as root; takes CPU time)")
	f.StringVar(&s.watch, "watch", "", "address of the milter's metrics (http://127.0.0.1:8892/metrics): goroutines, descriptors and "+
		"memory are sampled, and once more 15 s after the load")
	f.DurationVar(&s.every, "watch-every", time.Minute, "time between samples of --watch")
	f.IntVar(&s.idle, "idle", 0, "send no mail, but open this many connections that say HELO and nothing more, and print the memory of "+
		"--pid for each")
	f.StringVar(&s.check, "check", string(load.CheckAll), "what is expected: all (as sekimori's defaults act), results (DKIM, SPF, "+
		"DMARC), safe (under faults: no false pass, no false reject), replies (accepted, deferred or refused) or none")
	f.BoolVar(&s.json, "json", false, "print the summary as JSON")

	f.Uint64Var(&s.corpus.Seed, "seed", s.corpus.Seed, "seed of the corpus")
	f.IntVar(&s.corpus.Messages, "corpus", s.corpus.Messages, "distinct messages")
	f.IntVar(&s.corpus.Domains, "domains", s.corpus.Domains, "domains that send mail")
	f.Float64Var(&s.corpus.Zipf, "zipf", s.corpus.Zipf,
		"how much few domains dominate: 0 takes them in turn (nothing cached if there are enough)")
	f.Var(&s.corpus.Sizes, "sizes", "message sizes, as 2KB or 5MB")
	f.Var(&s.corpus.Signatures, "signatures", "DKIM signatures: none, rsa, ed25519, two (both), five (rsa)")
	f.Var(&s.corpus.SPF, "spf", "DNS lookups of SPF records, 0 to 10 includes below each other, or terms (a mx include include, and an include below)")
	f.Var(&s.corpus.Policies, "policies", "DMARC policies: none, quarantine, reject, absent")
	f.Var(&s.corpus.Outcomes, "outcomes", "pass, fail (broken signature, SPF fail), spoof (a stranger's envelope)")
	f.IntVar(&s.corpus.Subdomains, "subdomains", s.corpus.Subdomains,
		"percentage of messages whose author is at a subdomain without a policy of its own")

	f.StringVar(&s.dns.Addr, "dns", "127.0.0.1:5354", "where the zone is served, over UDP and TCP")
	f.DurationVar(&s.dns.Delay, "dns-delay", 0, "delay of every DNS answer")
	f.Float64Var(&s.dns.Loss, "dns-loss", 0, "share of DNS questions over UDP without an answer, 0 to 1")
	f.Var(&s.dns.Faults, "dns-faults", "faults of DNS answers: none, servfail, refused, silent, truncate, close, garbage, wrongid, "+
		"wrongquestion, flood")
	f.DurationVar(&s.corpus.TTL, "dns-ttl", s.corpus.TTL, "TTL of every DNS record")
	return cmd
}

// prepare sets the options of the run from the flags and checks them.
func (s *settings) prepare(ctx context.Context) error {
	s.run.Check, s.dns.Seed = load.Check(s.check), s.corpus.Seed
	var err error
	if s.mta != "" {
		s.run.MTA, err = load.ParseTarget(ctx, s.mta, s.remote)
		s.milters = nil
		if s.run.Check == load.CheckAll { // the default
			s.run.Check = load.CheckReplies
		}
	}
	for _, m := range s.milters {
		t, e := load.ParseTarget(ctx, m, s.remote)
		s.run.Milters = append(s.run.Milters, t)
		err = errors.Join(err, e)
	}
	if s.idle != 0 {
		err = errors.Join(err, load.CheckIdle(s.idle, s.run))
	}
	if s.every <= 0 {
		err = errors.Join(err, errors.New("--watch-every must be positive"))
	}
	return errors.Join(err, load.CheckDNSAddr(s.dns.Addr, s.remote), s.run.Validate(), s.dns.Validate(), s.corpus.Validate())
}

func (s *settings) execute(ctx context.Context, out io.Writer) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	corpus, err := traffic.New(s.corpus)
	if err != nil {
		return failure{err}
	}
	server, err := traffic.Serve(corpus.Zone, s.dns)
	if err != nil {
		return failure{err}
	}
	defer func() { _ = server.Close() }()
	if s.idle != 0 {
		summary, err := load.Idle(ctx, corpus, s.idle, s.run)
		if err != nil {
			return failure{err}
		}
		if err := show(out, summary, s.json); err != nil {
			return failure{err}
		}
		return nil
	}
	s.run.Queries = server.Queries
	summary, err := s.measure(ctx, corpus)
	if err != nil {
		return failure{err}
	}
	if err := show(out, summary, s.json); err != nil {
		return failure{err}
	}
	if !summary.OK() {
		return failure{errUnexpected}
	}
	return nil
}

// settle is longer than a DNS lookup usually takes, because lookups may still run when the load ends.
const settle = 15 * time.Second

// measure runs the load. With --watch it also samples the metrics of the milter.
func (s *settings) measure(ctx context.Context, corpus *traffic.Corpus) (*load.Summary, error) {
	if s.watch == "" {
		return load.Run(ctx, corpus, s.run)
	}
	watching, end := context.WithCancel(ctx)
	defer end()
	var samples []load.Sample
	var watchErr error
	var work sync.WaitGroup
	work.Go(func() { samples, watchErr = load.Watch(watching, s.watch, s.every, s.settle) })
	summary, err := load.Run(ctx, corpus, s.run)
	end()
	work.Wait()
	if err := errors.Join(err, watchErr); err != nil {
		return nil, err
	}
	summary.Samples = samples
	return summary, nil
}

// summary is the result of a run, which can print itself.
type summary interface{ Print(w io.Writer) error }

func show(out io.Writer, r summary, asJSON bool) error {
	if !asJSON {
		return r.Print(out)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
