package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/traffic"
	"sekimori/internal/config"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/loopback"
)

// How long the daemon waits for DNS. Our server answers at once, but on a busy host even that may take seconds.
const (
	patience   = 30 * time.Second
	impatience = 200 * time.Millisecond // for a server that does not answer
)

// start starts sekimori with the DNS server at the address dns, and returns its milter address.
func start(t *testing.T, dns string, wait time.Duration) string {
	t.Helper()
	cfg := daemon.Config(dns)
	cfg.DNS.Cache = config.Default().DNS.Cache
	cfg.DNS.Timeout, cfg.DNS.MessageBudget = config.Duration(wait), config.Duration(2*wait)
	return "inet:" + daemon.Start(t, cfg).Addr
}

// freeAddr returns a local address that is free for a DNS server.
func freeAddr(t *testing.T) string {
	t.Helper()
	o := traffic.Default()
	o.Messages, o.Domains, o.Signatures = 1, 1, traffic.Mix{{Kind: "none", Weight: 1}}
	o.Sizes = traffic.Mix{{Kind: "2KB", Weight: 1}}
	c, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := traffic.Serve(c.Zone, traffic.DNSOptions{Addr: loopback.Address(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Addr()
}

func TestRun(t *testing.T) {
	dns := freeAddr(t)
	milter, hasty := start(t, dns, patience), start(t, dns, impatience)
	small := []string{"--dns", dns, "--corpus", "20", "--domains", "5", "--sizes", "2KB", "--connections", "2"}
	for _, tc := range []struct {
		why    string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"a good run", append([]string{"--milter", milter}, small...), exitDone, "unexpected", ""},
		{"results that are not there", append([]string{"--milter", hasty, "--dns-loss", "1", "--seed", "3", "--corpus", "1"}, small[:2]...), exitFailed,
			"UNEXPECTED", "not every message"},
		{"no milter there", append([]string{"--milter", "inet:127.0.0.1:1"}, small...), exitFailed, "", "refused"},
		{"another host", []string{"--milter", "inet:192.0.2.1:8891"}, exitUsage, "", "not a loopback address"},
		{"DNS for everybody", []string{"--dns", "0.0.0.0:5354"}, exitUsage, "", "not a loopback address"},
		{"an unknown flag", []string{"--fast"}, exitUsage, "", "unknown flag"},
		{"an argument", []string{"now"}, exitUsage, "", "unknown command"},
		{"an unknown kind", []string{"--signatures", "dsa"}, exitUsage, "", `"dsa" is none of`},
		{"a bad mix", []string{"--sizes", "a=b"}, exitUsage, "", "not a weight"},
		{"idle connections without a process", []string{"--idle", "10"}, exitUsage, "", "its processes"},
		{"idle connections", append([]string{"--milter", milter, "--idle", "10", "--pid", strconv.Itoa(os.Getpid())}, small...), exitDone, "per connection", ""},
		{"a rate", append([]string{"--milter", milter, "--rate", "500"}, small...), exitDone, "0 not sent", ""},
		{"a negative rate", append([]string{"--milter", milter, "--rate", "-1"}, small...), exitUsage, "", "messages a second"},
		{"no MTA there", append([]string{"--mta", "127.0.0.1:1"}, small...), exitFailed, "", "refused"},
		{"an MTA elsewhere", []string{"--mta", "192.0.2.1:25"}, exitUsage, "", "not a loopback address"},
		{"an unknown check", []string{"--check", "most"}, exitUsage, "", "none of all"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), tc.args, &stdout, &stderr)
		if code != tc.code || !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
			t.Errorf("%s: code %d\n%s%s", tc.why, code, &stdout, &stderr)
		}
	}
}

func TestJSON(t *testing.T) {
	dns := freeAddr(t)
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"--milter", start(t, dns, patience), "--dns", dns, "--corpus", "10", "--domains", "5", "--sizes", "2KB", "--json"}, &stdout, &stderr)
	var r load.Summary
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || code != exitDone || r.Messages != 10 || r.EndOfMessage.P50 <= 0 {
		t.Errorf("code %d, %v: %s%s", code, err, &stdout, &stderr)
	}
}

// TestFlags sets every flag to a value of its own, and looks where it went.
func TestFlags(t *testing.T) {
	var got settings
	cmd := newCommand(&got)
	defaults, err := json.Marshal(map[string]any{"milters": got.milters, "every": got.every, "check": got.check, "corpus": got.corpus, "connections": got.run.Connections,
		"timeout": got.run.Timeout, "dns": got.dns.Addr})
	const wanted = `{"check":"all","connections":16,"corpus":{"Seed":0,"Messages":0,"PerSession":0,"Domains":0,"Zipf":0,"TTL":0,"Sizes":null,"Signatures":null,"SPF":null,` +
		`"Policies":null,"Outcomes":null,"Subdomains":0},"dns":"127.0.0.1:5354","every":60000000000,"milters":["inet:127.0.0.1:8891"],"timeout":30000000000}`
	if err != nil || string(defaults) != wanted {
		t.Errorf("%v, the defaults are %s", err, defaults)
	}
	args := strings.Fields("--milter unix:/a --milter unix:/b --mta 127.0.0.1:25 --allow-remote --connections 2 --per-session 3 --messages 4 --duration 5s --rate 6.5" +
		" --warmup 7 --timeout 8s --smtp-rtt 9ms --pid 10,11 --syscalls --watch http://a.example/ --watch-every 12s --idle 13 --check replies --json --seed 14" +
		" --corpus 15 --domains 16 --zipf 1.7 --sizes 2KB=1,20KB=2 --signatures rsa=3 --spf terms --policies absent --outcomes spoof --subdomains 18" +
		" --dns 127.0.0.1:53 --dns-delay 19ms --dns-loss 0.2 --dns-faults servfail --dns-ttl 21s")
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	one := func(kind string, weight int) traffic.Mix { return traffic.Mix{{Kind: kind, Weight: weight}} }
	want := settings{
		milters: []string{"unix:/a", "unix:/b"}, mta: "127.0.0.1:25", remote: true, json: true, watch: "http://a.example/", every: 12 * time.Second, idle: 13, check: "replies",
		corpus: traffic.Options{Seed: 14, Messages: 15, PerSession: 3, Domains: 16, Zipf: 1.7, Sizes: traffic.Mix{{Kind: "2KB", Weight: 1}, {Kind: "20KB", Weight: 2}},
			Signatures: one("rsa", 3), SPF: one("terms", 1), Policies: one("absent", 1), Outcomes: one("spoof", 1), Subdomains: 18, TTL: 21 * time.Second},
		dns: traffic.DNSOptions{Addr: "127.0.0.1:53", Delay: 19 * time.Millisecond, Loss: 0.2, Faults: one("servfail", 1)},
		run: load.Options{Connections: 2, Messages: 4, Duration: 5 * time.Second, Rate: 6.5, Warmup: 7, Timeout: 8 * time.Second, RoundTrip: 9 * time.Millisecond,
			PIDs: []int{10, 11}, SystemCalls: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed && f.Name != "help" {
			t.Errorf("this test does not set --%s", f.Name)
		}
		if f.Usage == "" || !strings.Contains(cmd.UsageString(), "--"+f.Name) {
			t.Errorf("the help says nothing of --%s", f.Name)
		}
	})
}

// TestPrepare checks what the flags ask of a run, and which of them it refuses.
func TestPrepare(t *testing.T) {
	for _, tt := range []struct {
		args    string
		check   load.Check
		milters string
		mta     string
		refused string // all errors, without the domain of the words; "" for none
	}{
		{"", load.CheckAll, "inet:127.0.0.1:8891", "", ""},
		{"--milter inet:127.0.0.1:1 --milter unix:/a", load.CheckAll, "inet:127.0.0.1:1 unix:/a", "", ""},
		{"--check safe", load.CheckSafe, "inet:127.0.0.1:8891", "", ""},
		{"--mta 127.0.0.1:25", load.CheckReplies, "", "127.0.0.1:25", ""},
		{"--mta 127.0.0.1:25 --milter unix:/a --check none", load.CheckNone, "", "127.0.0.1:25", ""},
		{"--allow-remote --milter inet:192.0.2.1:1 --dns 192.0.2.1:53", load.CheckAll, "inet:192.0.2.1:1", "", ""},
		{"--watch-every 1ns", load.CheckAll, "inet:127.0.0.1:8891", "", ""},
		{"--watch-every 0s", "", "", "", "--watch-every must be positive"},
		{"--watch-every -1s --dns 0.0.0.0:53 --milter inet:192.0.2.1:1 --milter unix:/a --milter inet:192.0.2.2:1 --dns-loss 2 --domains 0 --connections 0", "", "", "",
			"--watch-every must be positive, 192.0.2.1, 192.0.2.2, 0.0.0.0, connections, loss, domains"},
		{"--idle -1", "", "", "", "idle"},
	} {
		s := settings{corpus: traffic.Default()}
		if err := newCommand(&s).ParseFlags(append(strings.Fields(tt.args), "--seed", "77")); err != nil {
			t.Fatal(err)
		}
		err := s.prepare(t.Context())
		if tt.refused != "" {
			for word := range strings.SplitSeq(tt.refused, ", ") {
				if err == nil || !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %v, want %s", tt.args, err, word)
				}
			}
			continue
		}
		var milters []string
		for _, m := range s.run.Milters {
			milters = append(milters, m.String())
		}
		if err != nil || s.run.Check != tt.check || strings.Join(milters, " ") != tt.milters || (tt.mta != "") != strings.Contains(s.run.MTA.String(), "127.0.0.1:25") ||
			s.dns.Seed != 77 {
			t.Errorf("%s: %v, %+v", tt.args, err, s)
		}
	}
}

// TestWatch samples metrics during a run, from a page that works and from one that does not.
func TestWatch(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = io.WriteString(w, "go_goroutines 7\n")
		} else {
			http.NotFound(w, r)
		}
	}))
	defer page.Close()
	dns := freeAddr(t)
	args := []string{"--milter", start(t, dns, patience), "--dns", dns, "--corpus", "2", "--domains", "1", "--sizes", "2KB", "--json", "--watch-every", "1h", "--watch"}
	for path, failed := range map[string]bool{"/metrics": false, "/gone": true} {
		s := settings{corpus: traffic.Default(), settle: time.Millisecond}
		if err := newCommand(&s).ParseFlags(append(args, page.URL+path)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := s.execute(t.Context(), &out)
		if failed {
			if f := (failure{}); !errors.As(err, &f) || !strings.Contains(err.Error(), "404") || out.Len() > 0 {
				t.Errorf("%s: %v, %s", path, err, &out)
			}
			continue
		}
		var r load.Summary
		if e := json.Unmarshal(out.Bytes(), &r); err != nil || e != nil || len(r.Samples) != 2 || r.Samples[1].Goroutines != 7 || r.Messages != 2 {
			t.Errorf("%s: %v, %v, %s", path, err, e, &out)
		}
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestFails checks that a run that cannot begin, or whose result cannot be written, is one that failed.
func TestFails(t *testing.T) {
	dns := freeAddr(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	args := []string{"--corpus", "1", "--domains", "1", "--signatures", "none", "--sizes", "2KB", "--milter"}
	milter, self := start(t, dns, patience), strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		name string
		args []string
		out  io.Writer
		want string
	}{
		{"the address of the name server is taken", []string{milter, "--dns", busy.Addr().String()}, io.Discard, "address already in use"},
		{"idle connections to nobody", []string{"inet:127.0.0.1:1", "--dns", dns, "--idle", "1", "--pid", self}, io.Discard, "refused"},
		{"idle connections, and text that cannot be written", []string{milter, "--dns", dns, "--idle", "1", "--pid", self}, full{}, "no space left"},
		{"text that cannot be written", []string{milter, "--dns", dns}, full{}, "no space left"},
		{"JSON that cannot be written", []string{milter, "--dns", dns, "--json"}, full{}, "no space left"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), append(args, tt.args...), tt.out, &stderr); code != exitFailed || !strings.HasPrefix(stderr.String(), "milterload: ") ||
			!strings.Contains(stderr.String(), tt.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", tt.name, code, &stderr)
		}
	}
	var out bytes.Buffer
	if err := show(&out, &load.Summary{}, true); err != nil || !strings.HasPrefix(out.String(), "{\n  \"messages\": 0,\n") {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestHelpDocumentsEveryFlag(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &stdout, &stderr); code != exitDone {
		t.Fatalf("code %d: %s", code, &stderr)
	}
	for _, want := range []string{"--dns-delay", "--dns-loss", "--allow-remote", "--pid", "--json", "--zipf", "--seed", "--smtp-rtt", "--idle", "--rate", "--syscalls", "--mta", "Exit codes"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help lacks %s", want)
		}
	}
}
