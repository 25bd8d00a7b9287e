package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bench/load"
	"sekimori/internal/bench/traffic"
)

// golden compares a text with a file of testdata. UPDATE=peers writes the file anew; read the difference.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if os.Getenv("UPDATE") == "peers" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil { //nolint:gosec // everybody may read it
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s", file, got)
	}
}

// TestCases compares every case, because another mail or another number of connections is another measurement.
func TestCases(t *testing.T) {
	var b strings.Builder
	for _, c := range cases() {
		o := c.corpus
		mixes := ""
		for _, m := range []traffic.Mix{o.Sizes, o.Signatures, o.SPF, o.Policies, o.Outcomes} {
			mixes += " " + m.String()
		}
		fmt.Fprintf(&b, "%s: %s\n    %d connections, %d messages, %g/s for %s, warm-up %d, DNS %s, client %s, installed %t, Postfix %t\n", c.id, c.name, c.connections, c.messages,
			c.rate, c.duration, c.warmup, c.delay, c.roundTrip, c.asInstalled, c.postfix)
		fmt.Fprintf(&b, "    seed %d, %d messages, %d a connection, %d domains, Zipf %g, subdomains %d, TTL %s,%s\n", o.Seed, o.Messages, o.PerSession, o.Domains, o.Zipf,
			o.Subdomains, o.TTL, mixes)
	}
	golden(t, "cases.txt", b.String())
}

// TestReport compares whole reports: sekimori ahead, sekimori behind in everything, and sekimori not measured.
func TestReport(t *testing.T) {
	summary := func(x float64, server bool) *load.Summary {
		s := &load.Summary{Messages: 10, PerSecond: 100 * x, EndOfMessage: load.Latency{P50: 2 * x}, Message: load.Latency{P50: 3 * x}, Mismatches: 1, Errors: 2, DNSPerMessage: 4 * x}
		if server {
			s.Server = &load.Server{CPUPerMessage: 5 * x, PeakBytes: int64(6e6 * x)}
		}
		return s
	}
	unsent := func(n int64) *load.Summary {
		s := summary(0.5, true)
		s.Schedule = &load.Schedule{Unsent: n}
		return s
	}
	faster := summary(1, true)
	faster.PerSecond = 151
	all := []station{{name: "sekimori", role: ours}, {name: storeName, role: more}, {name: "other", role: peer}, {name: "faster", role: peer},
		{name: nothingName, role: floor}, {name: noMilterName, role: floor}}
	needs, rounds := cryptography{rsa: 2, ed25519: 3, megabytes: 0.5}, []floors{{0.03, 0.05, 0.5}, {0.05, 0.07, 0.7}}
	one := func(name string, list ...*load.Summary) map[string][]*load.Summary {
		return map[string][]*load.Summary{name: list}
	}
	ahead := one("sekimori", summary(1, true), summary(2, true), summary(1.5, true))
	ahead[storeName], ahead["other"], ahead["faster"] = []*load.Summary{summary(1, true), summary(1.2, true)}, []*load.Summary{summary(1.5, true)}, []*load.Summary{faster}
	ahead[nothingName], ahead[noMilterName] = []*load.Summary{summary(0.1, true)}, []*load.Summary{summary(0.05, false)}
	kept := one("sekimori", summary(1, true))
	kept["other"], kept["faster"] = []*load.Summary{unsent(0)}, []*load.Summary{unsent(2), unsent(1)}
	r := report{Machine: "a machine", Absent: []string{"One is absent.", "Another is absent."}, Cases: []caseResult{
		newCaseResult(benchCase{name: "as fast as possible"}, needs, rounds, all, ahead),
		newCaseResult(benchCase{name: "at a rate", rate: 50}, needs, rounds, all, kept),
		newCaseResult(benchCase{name: "others only"}, needs, rounds, all, one("other", summary(1, true))),
		newCaseResult(benchCase{name: "the floor only"}, needs, rounds, all, one(nothingName, summary(1, true))),
		newCaseResult(benchCase{name: "nobody"}, needs, nil, all, nil),
	}}
	var text, doc, indented bytes.Buffer
	if err := errors.Join(r.write(&text, false), r.write(&doc, true), json.Indent(&indented, doc.Bytes(), "", " ")); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.md", text.String())
	golden(t, "report.json", indented.String())
	text.Reset()
	if err := (report{Machine: "a machine", Cases: r.Cases[2:]}).write(&text, false); err != nil || !strings.HasSuffix(text.String(), " |\n\nNo other verifier leads in any value.\n") {
		t.Errorf("%v: %s", err, &text)
	}
	for _, asJSON := range []bool{false, true} {
		if err := r.write(full{}, asJSON); !errors.Is(err, errFull) {
			t.Errorf("JSON %t: %v", asJSON, err)
		}
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestFloorOfMessage checks the time that the cryptography of a message takes.
func TestFloorOfMessage(t *testing.T) {
	f := floors{RSAVerify: 2, Ed25519Verify: 3, SHAMegabyte: 5}
	for _, tt := range []struct {
		needs cryptography
		want  float64
	}{{cryptography{}, 0}, {cryptography{rsa: 1}, 2}, {cryptography{ed25519: 1}, 3}, {cryptography{megabytes: 1}, 5}, {cryptography{5, 2, 0.5}, 18.5}} {
		if got := f.of(tt.needs); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%+v: %g, want %g", tt.needs, got, tt.want)
		}
	}
}

// TestPerCall measures a function that takes some 2 ms of CPU time, and waits longer than that.
func TestPerCall(t *testing.T) {
	var took []float64
	got := perCall(func() {
		begin := threadTime()
		for threadTime()-begin < 2*time.Millisecond {
		}
		took = append(took, float64(threadTime()-begin)/float64(time.Millisecond))
		time.Sleep(10 * time.Millisecond)
	})
	if got < slices.Min(took) || got > 2*slices.Max(took) {
		t.Errorf("%g ms a call, want one of %g", got, took)
	}
}

// TestPrimitives checks that what is measured is a signature that verifies: a wrong one is refused sooner.
func TestPrimitives(t *testing.T) {
	p, err := newPrimitives()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.verify(); err != nil || p.public.N.BitLen() != 2048 || len(p.big) != 1_000_000 {
		t.Errorf("%v, RSA of %d bits, %d octets", err, p.public.N.BitLen(), len(p.big))
	}
}

// TestOtherConfigurations compares the configurations of the other verifiers. Programs of their names that end at once
// stand for them.
func TestOtherConfigurations(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"opendkim", "opendmarc", "rspamd", "unshare"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho \"$(basename \"$0\")\" \"$@\"\n"), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var b strings.Builder
	for _, tt := range []struct {
		name  string
		start func(context.Context, place) (*processes, error)
		p     place
	}{
		{"opendkim and opendmarc", startOpen, place{dns: "127.0.0.9:53"}},
		{"rspamd", startRspamd, place{dns: "127.0.0.9:5353"}},
		{"rspamd as installed, on TCP", startRspamd, place{dns: "127.0.0.9:53", tcp: true, asInstalled: true}},
		{"sekimori", startSekimori, place{dns: "127.0.0.9:53"}},
		{"sekimori with a store, as installed, on TCP", startWithStore, place{dns: "127.0.0.9:53", tcp: true, asInstalled: true}},
	} {
		tt.p.dir, tt.p.binary, tt.p.ports = t.TempDir(), filepath.Join(bin, "rspamd"), []int{1, 2, 3, 4}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := tt.start(ctx, tt.p)
		if err == nil || !strings.Contains(err.Error(), " does not answer: context canceled") {
			t.Errorf("%s: %v", tt.name, err)
		}
		fmt.Fprintf(&b, "== %s\n", tt.name)
		files, err := os.ReadDir(tt.p.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasPrefix(f.Name(), "output") { // the program may have been stopped before it said anything
				continue
			}
			text, err := os.ReadFile(filepath.Join(tt.p.dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "-- %s\n%s", f.Name(), strings.ReplaceAll(string(text), tt.p.dir, "DIR"))
		}
	}
	golden(t, "configurations.txt", b.String())
	for _, dns := range []string{"127.0.0.9:5353", "127.0.0.9"} {
		if _, err := startOpen(t.Context(), place{dns: dns, dir: t.TempDir()}); err == nil || err.Error() != "opendmarc finds a name server only at port 53, not at "+dns {
			t.Errorf("%s: %v", dns, err)
		}
	}
}

// TestWants has every form of the flag -stations.
func TestWants(t *testing.T) {
	for words, want := range map[string]string{"": "sekimori, sekimori with a store, opendkim+opendmarc, rspamd, milter that does nothing, no milter",
		"sekimori": "sekimori, sekimori with a store", "rspamd,opendkim": "opendkim+opendmarc, rspamd", "store": "sekimori with a store", "x": ""} {
		var got []string
		for _, st := range stations() {
			if (settings{stations: words}).wants(st) {
				got = append(got, st.name)
			}
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q", words, got)
		}
	}
}

// TestInstalled checks that a station whose programs are not there, or may not be used, is left out with a sentence.
func TestInstalled(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	alone := []string{"sekimori 0", "sekimori with a store 1", "milter that does nothing 3", "no milter 3"}
	compare := func(wanted, missing []string) {
		t.Helper()
		here, absent := installed()
		var names []string
		for _, st := range here {
			names = append(names, fmt.Sprintf("%s %d", st.name, st.role))
		}
		if !slices.Equal(names, wanted) || !slices.Equal(absent, missing) {
			t.Errorf("%q, %q", names, absent)
		}
	}
	compare(alone, []string{`opendkim+opendmarc was not measured: exec: "opendkim": executable file not found in $PATH.`,
		`rspamd was not measured: exec: "rspamd": executable file not found in $PATH.`})
	for _, name := range []string{"opendkim", "opendmarc", "unshare", "mount", "rspamd"} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	if os.Geteuid() != 0 {
		compare(alone, []string{"opendkim+opendmarc was not measured: it needs root.", "rspamd was not measured: it needs root."})
		return
	}
	compare(slices.Insert(slices.Clone(alone), 2, "opendkim+opendmarc 2", "rspamd 2"), nil)
	if err := os.Remove(filepath.Join(bin, "mount")); err != nil {
		t.Fatal(err)
	}
	compare(slices.Insert(slices.Clone(alone), 2, "rspamd 2"), []string{`opendkim+opendmarc was not measured: exec: "mount": executable file not found in $PATH.`})
}

// TestRunEnds checks what a run says that does not begin, or that is interrupted.
func TestRunEnds(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		s             settings
		failed, words string // in the error and in the output
	}{
		{settings{cases: "unknown"}, `no case "unknown"`, ""},
		{settings{cases: "warm", dns: "192.0.2.1:53"}, "not a loopback address", ""},
		{settings{cases: "warm", dns: "127.0.0.77:5359", rounds: 1, binary: "/nonexistent", stations: "does nothing"}, "context canceled",
			"The run ended early, in the case \"2 KB, one RSA-2048, warm, 64 connections\".\n"},
	} {
		var out, progress bytes.Buffer
		err := run(cancelled, tt.s, &out, &progress)
		if (err == nil) != (tt.failed == "") || err != nil && !strings.Contains(err.Error(), tt.failed) || !strings.Contains(out.String(), tt.words) || (out.Len() > 0) != (tt.words != "") {
			t.Errorf("%+v: %v\n%s", tt.s, err, &out)
		}
		if want := map[bool]string{true: "round 1: warm: milter that does nothing\n"}[tt.s.stations == "does nothing"]; progress.String() != want {
			t.Errorf("%+v: progress %q", tt.s, &progress)
		}
	}
}

// TestPlace checks where a station is started, and that measure says what went wrong.
func TestPlace(t *testing.T) {
	o := plain()
	o.Messages, o.Domains = 1, 1
	corpus, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	busy, err := traffic.Serve(corpus.Zone, traffic.DNSOptions{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	const free = "127.0.0.78:5358"
	stopped := errors.New("stopped here")
	for name, tt := range map[string]struct {
		s    settings
		c    benchCase
		want string // tcp and asInstalled of the place, or the error
	}{
		"unix":         {settings{dns: free}, benchCase{}, "false false"},
		"tcp":          {settings{dns: free, tcp: true}, benchCase{}, "true false"},
		"postfix":      {settings{dns: free}, benchCase{postfix: true}, "true false"},
		"installed":    {settings{dns: free}, benchCase{asInstalled: true}, "false true"},
		"taken":        {settings{dns: busy.Addr()}, benchCase{}, "address already in use"},
		"folder there": {settings{dns: free, binary: "there"}, benchCase{}, "file exists"},
	} {
		dir := filepath.Join(t.TempDir(), "m")
		tt.s.binary += "binary"
		if tt.s.binary != "binary" {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		_, err := measure(t.Context(), tt.s, tt.c, corpus, station{start: func(_ context.Context, p place) (*processes, error) {
			if got = fmt.Sprint(p.tcp, p.asInstalled); p.dir != dir || p.dns != free || p.binary != "binary" || len(slices.Compact(slices.Sorted(slices.Values(p.ports)))) != 4 {
				t.Errorf("%s: %+v", name, p)
			}
			return nil, stopped
		}}, dir)
		if started := errors.Is(err, stopped); err == nil || started && got != tt.want || !started && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tt.want)
		}
	}
	if c := (benchCase{postfix: true}); c.impossible() == "" {
		_, err := measure(t.Context(), settings{dns: free}, c, corpus, station{start: func(_ context.Context, p place) (*processes, error) {
			return &processes{}, os.WriteFile(filepath.Join(p.dir, "postfix"), nil, 0o600)
		}}, filepath.Join(t.TempDir(), "m"))
		if err == nil || !strings.HasSuffix(err.Error(), "/m/postfix: not a directory") {
			t.Errorf("a file in place of Postfix's folder: %v", err)
		}
	}
	for _, address := range []string{"nowhere", "inet:192.0.2.1:1"} {
		_, err := measure(t.Context(), settings{dns: free}, benchCase{}, corpus, station{start: func(context.Context, place) (*processes, error) {
			return &processes{addresses: []string{address, "unix:/x"}}, nil
		}}, filepath.Join(t.TempDir(), "m"))
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(address, "inet:")[:7]) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := freePorts("192.0.2.1"); err == nil {
		t.Error("ports of another host")
	}
	ours, libmilter, rspamd := place{dir: "/d", dns: "127.0.0.9:53", ports: []int{1, 2, 3, 4}}.address(1)
	if got := ours + ", " + libmilter + ", " + rspamd; got != "unix:/d/milter1.sock, local:/d/milter1.sock, /d/milter1.sock mode=0600" {
		t.Error(got)
	}
	ours, libmilter, rspamd = place{dns: "127.0.0.9:53", ports: []int{1, 2, 3, 4}, tcp: true}.address(1)
	if got := ours + ", " + libmilter + ", " + rspamd; got != "inet:127.0.0.9:2, inet:2@127.0.0.9, 127.0.0.9:2" {
		t.Error(got)
	}
}

// TestStart starts programs that cannot run, and one that can beside one that cannot.
func TestStart(t *testing.T) {
	dir := t.TempDir()
	script := []string{"sh", "-c", "trap 'touch \"" + dir + "/stopped\"; exit' TERM; touch \"" + dir + "/started\"; while :; do sleep 0.01; done"}
	if _, err := start(t.Context(), place{dir: filepath.Join(dir, "gone")}, nil, script); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	p, err := start(t.Context(), place{dir: dir}, nil, script)
	if err != nil || len(p.pids()) != 1 {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
			break
		}
	}
	p.stop()
	if _, err := os.Stat(filepath.Join(dir, "stopped")); err != nil {
		t.Errorf("the program was not asked to stop: %v", err)
	}
	if _, err := start(t.Context(), place{dir: dir}, nil, []string{"sleep", "600"}, []string{"/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no second program: %v", err)
	}
	if _, err := start(t.Context(), place{dir: dir}, []string{"nowhere"}, []string{"sleep", "600"}); err == nil || !strings.Contains(err.Error(), "nowhere does not answer: ") {
		t.Errorf("an address that is none: %v", err)
	}
	for argv, want := range map[string]string{"true": "", "echo words; exit 3": "sh -c echo words; exit 3: exit status 3\nwords\n"} {
		if err := command(t.Context(), "sh", "-c", argv); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v", argv, err)
		}
	}
}

// TestRun measures the milter that does nothing, in two rounds, and checks what is reported, also of a run that is
// interrupted and of one that finds no room.
func TestRun(t *testing.T) {
	s := settings{cases: "warm", dns: "127.0.0.79:5359", rounds: 2, duration: 10 * time.Millisecond, binary: "/nonexistent", stations: nothingName, json: true}
	var out, progress bytes.Buffer
	if err := run(t.Context(), s, &out, &progress); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || len(r.Cases) != 1 || len(r.Cases[0].Results) != 1 {
		t.Fatalf("%v: %s", err, &out)
	}
	c := r.Cases[0]
	if got := c.Results[0]; got.Station != nothingName || got.EOM.Median <= 0 || got.Rate.Median <= 0 || got.Unexpected != 0 {
		t.Errorf("%+v", got)
	}
	if f := c.Floors; c.Name != cases()[0].name || f.RSAVerify <= 0 || f.Ed25519Verify <= 0 || f.SHAMegabyte <= 0 || c.Floor <= c.Cryptography {
		t.Errorf("%+v", c)
	}
	if want := "round 1: warm: " + nothingName + "\nround 2: warm: " + nothingName + "\n"; progress.String() != want {
		t.Errorf("progress %q", &progress)
	}

	ctx, cancel := context.WithCancel(t.Context())
	stations, _ := installed()
	stations = slices.DeleteFunc(stations, func(st station) bool { return st.name != nothingName })
	start := stations[0].start
	stations[0].start = func(ctx context.Context, at place) (*processes, error) {
		defer cancel()
		return start(ctx, at)
	}
	if c, err := measureCase(ctx, s, cases()[0], stations, t.TempDir(), io.Discard); !errors.Is(err, context.Canceled) || c.Name != "" {
		t.Errorf("interrupted: %v, %+v", err, c)
	}

	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	out.Reset()
	if err := run(t.Context(), s, &out, io.Discard); !errors.Is(err, os.ErrNotExist) || out.Len() > 0 {
		t.Errorf("without a directory: %v, %s", err, &out)
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("PATH", "")
	s.binary = ""
	if err := run(t.Context(), s, &out, io.Discard); !errors.Is(err, exec.ErrNotFound) || out.Len() > 0 {
		t.Errorf("without go: %v, %s", err, &out)
	}
}
