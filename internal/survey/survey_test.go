package survey

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/domaincheck"
	"sekimori/internal/resolver"
	"sekimori/internal/testkit/nameserver"
)

// network returns the daemon's resolver with the cache of a survey, which asks the server of the fixture.
func network(tb testing.TB, addr string) *resolver.Resolver {
	tb.Helper()
	return networkOf(tb, addr, MaxCache)
}

// networkOf is network with a cache of so many octets.
func networkOf(tb testing.TB, addr string, cache config.Size) *resolver.Resolver {
	tb.Helper()
	cfg := config.Default()
	cfg.DNS.Cache.Size = cache
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(addr)}}
	cfg.DNS.Timeout = config.Duration(400 * time.Millisecond)
	cfg.DNS.Cache.FailureTTL = config.Duration(50 * time.Millisecond)
	r, err := app.NewResolver(cfg, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close() })
	return r
}

func list(tb testing.TB, names []string) *List {
	tb.Helper()
	l, err := ReadList(strings.NewReader(strings.Join(names, "\n")))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func entries(tb testing.TB, path string) map[string]Entry {
	tb.Helper()
	s, err := OpenState(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	out := map[string]Entry{}
	if _, err := s.read(func(e *Entry) { out[e.Domain] = *e }); err != nil {
		tb.Fatal(err)
	}
	return out
}

func options(r dns.Resolver) Options {
	return Options{Resolver: r, Check: domaincheck.Options{Now: time.Unix(1e9, 0)}, Classes: classes, Rate: 1e6, Pause: 100 * time.Millisecond}
}

// TestTruth surveys 2,000 domains of nine classes, some of which have name servers in trouble. Every
// domain must be judged as it was made.
func TestTruth(t *testing.T) {
	f := newFixture(2000)
	path := filepath.Join(t.TempDir(), "state")
	o := options(network(t, f.serve(t).Addr()))
	var err error
	if o.State, err = OpenState(path); err != nil {
		t.Fatal(err)
	}
	result, err := Run(t.Context(), list(t, f.list), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.State.Close(); err != nil {
		t.Fatal(err)
	}
	got := entries(t, path)
	wrong := 0
	for domain, s := range f.truth {
		e := got[domain]
		if s.unsure {
			if len(e.Unknown) == 0 {
				t.Errorf("%s: %+v, and its servers do not answer\n%s", domain, e, s.zone)
			}
			continue
		}
		if !reflect.DeepEqual(e, s.want) {
			if wrong++; wrong <= 10 {
				t.Errorf("%s: %+v, want %+v\n%s", domain, e, s.want, s.zone)
			}
		}
	}
	t.Logf("%d domains of %d kinds, %d wrong, %d questions", len(f.truth), f.number, wrong, result.Asked)
	checkSums(t, f, result)
}

// TestKinds is TestTruth without a network: two domains of each kind whose servers always answer. A second run on the same
// file asks nothing of what is known.
func TestKinds(t *testing.T) {
	f := newFixture(2 * len(samples()))
	f.list = f.reliable()
	for domain := range f.truth {
		if !slices.Contains(f.list, domain) {
			delete(f.truth, domain)
		}
	}
	path := filepath.Join(t.TempDir(), "state")
	known := f.list[:len(f.list)/2]
	z := nameserver.Zone(t, f.zone)
	var asked sync.Map // domains
	o := options(nameserver.Func(func(ctx context.Context, n dns.Name, typ dns.Type) (dns.Answer, error) {
		asked.Store(string(n), true)
		return z.Lookup(ctx, n, typ)
	}))
	var err error
	if o.State, err = OpenState(path); err != nil {
		t.Fatal(err)
	}
	defer o.State.Close()
	if _, err := OpenState(path); err == nil || !strings.HasPrefix(err.Error(), "survey: "+path+": another run has it open: ") {
		t.Errorf("two runs opened the file: %v", err)
	}
	if first, err := Run(t.Context(), list(t, known), o); err != nil || first.Earlier != 0 || first.All.Counts[Domains] != len(known) {
		t.Fatalf("%v, %v", first, err)
	}
	asked.Clear()
	r, err := Run(t.Context(), list(t, f.list), o)
	if err != nil || r.Earlier != len(known) || r.Asked == 0 {
		t.Fatalf("%v, %v", r, err)
	}
	checkSums(t, f, r)
	for _, domain := range known {
		if _, again := asked.Load(domain); again {
			t.Errorf("%s was asked about again", domain)
		}
	}
	got := map[string]Entry{}
	if _, err := o.State.read(func(e *Entry) { got[e.Domain] = *e }); err != nil {
		t.Fatal(err)
	}
	for domain, s := range f.truth {
		if !reflect.DeepEqual(got[domain], s.want) {
			t.Errorf("%s: %+v, want %+v\n%s", domain, got[domain], s.want, s.zone)
		}
	}
}

// TestUnknownAgain: a domain of the file whose lookups had failed is looked at again, and one that the list lacks does not count.
func TestUnknownAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	content := headerPrefix + `1}
{"domain":"known.example","mail":"mx"}
{"domain":"failed.example","unknown":["mx"]}
{"domain":"other.example","mail":"mx"}
{"domain":"known.example","mail":"mx"}
`
	if err := os.WriteFile(path, []byte(content+`{"domain":"torn.ex`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var added []string
	todo, err := s.replay([]dns.Name{"new.example", "known.example", "failed.example"}, func(e *Entry) { added = append(added, e.Domain) })
	if err != nil || !slices.Equal(todo, []dns.Name{"new.example", "failed.example"}) || !slices.Equal(added, []string{"known.example"}) {
		t.Errorf("to do %q, added %q, %v", todo, added, err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != content {
		t.Errorf("%v, the file is now\n%s", err, raw)
	}
}

// checkSums counts the truth by the words of the handbook, in another way than the program does.
func checkSums(t *testing.T, f *fixture, r *Result) {
	t.Helper()
	for _, class := range append(slices.Clone(r.Classes), r.All) {
		want := map[Measure]int{}
		for domain, s := range f.truth {
			if class.Name != ClassAll && !strings.HasSuffix(domain, "."+class.Name) {
				continue
			}
			e := s.want
			count := func(m Measure, is bool) {
				if is {
					want[m]++
				}
			}
			count(Domains, true)
			count("unknown", s.unsure)
			if s.unsure {
				continue
			}
			count("missing", e.Missing)
			count("null_mx", e.Mail == "null")
			count("no_mx", e.Mail == "none" && !e.Missing)
			count(WithMX, e.Mail == "mx")
			if e.Mail != "mx" {
				continue
			}
			count(SPF, e.SPF != "" && e.SPF != "broken")
			count("spf_broken", e.SPF == "broken")
			count(Measure("spf_"+e.SPF), e.SPF != "" && e.SPF != "broken")
			count(DMARC, e.Own)
			count("dmarc_broken", e.Bad)
			count("enforcing", e.Policy == "reject" || e.Policy == "quarantine")
			count("spf_and_dmarc", e.Own && e.SPF != "" && e.SPF != "broken")
			for tag, value := range map[string]string{"p": e.P, "sp": e.SP, "np": e.NP} {
				count(Measure(tag+"_"+value), value != "")
			}
			count("testing", e.Testing)
			count("rua", e.RUA)
			count("ruf", e.RUF)
			count(BIMI, e.BIMI)
		}
		if !maps.Equal(class.Counts, want) {
			t.Errorf("%s: %v, want %v", class.Name, class.Counts, want)
		}
	}
	if r.All.Counts[Domains] != len(f.truth) || len(r.Classes) != len(classes) {
		t.Errorf("%d domains, %d classes", r.All.Counts[Domains], len(r.Classes))
	}
}

// TestParent checks that a record of a domain above counts as the parent's, and not as the domain's own.
func TestParent(t *testing.T) {
	z := nameserver.Zone(t, `
a.b.jp MX 10 mx.jp
a.b.jp TXT "v=spf1 -all"
_dmarc.b.jp TXT "v=DMARC1; p=reject; sp=quarantine"
`)
	r, err := Run(t.Context(), list(t, []string{"a.b.jp"}), options(z))
	c := r.All.Counts
	if err != nil || c[DMARC] != 0 || c["dmarc_parent"] != 1 || c["enforcing"] != 1 || c["p_reject"] != 0 || c["rua"] != 0 || len(r.Faults) != 0 {
		t.Errorf("%v, error %v", r, err)
	}
}

// TestCache checks that a survey does not need the answers about the domains that are done: a cache that holds a
// fraction of them makes the same result, of hardly more questions.
func TestCache(t *testing.T) {
	f := newFixture(2000)
	f.list = f.reliable() // of servers that fail, some are asked again
	addr := f.serve(t).Addr()
	var results []*Result
	for _, size := range []config.Size{64 << 20, 1 << 20} {
		r, err := Run(t.Context(), list(t, f.list), options(networkOf(t, addr, size)))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d octets: %d questions about %d domains", size, r.Asked, len(f.list))
		results = append(results, r)
	}
	if all, some := results[0].Asked, results[1].Asked; float64(some) > 1.1*float64(all) {
		t.Errorf("%d questions, %d with a large cache", some, all)
	}
	results[0].Asked, results[1].Asked = 0, 0
	if !reflect.DeepEqual(results[0], results[1]) {
		t.Errorf("%v\nwant\n%v", results[1], results[0])
	}
}

func TestReadList(t *testing.T) {
	l, err := ReadList(strings.NewReader("\ufeff# a list\n\nA.example.\n1,b.example\n \"c.example\";x\na.example\nnodot\n日本語.jp\nx..y\n"))
	if want := []dns.Name{"a.example", "b.example", "c.example", "xn--wgv71a119e.jp"}; err != nil || !slices.Equal(l.Domains, want) || !slices.Equal(l.Invalid, []string{"nodot", "x..y"}) {
		t.Errorf("%v, error %v", l, err)
	}
	many := func(n int) io.Reader {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, "%d.example\n", i)
		}
		return &b
	}
	if l, err := readList(many(50), 50); err != nil || len(l.Domains) != 50 {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := readList(many(51), 50); err == nil {
		t.Error("a list beyond the limit was read")
	}
	if _, err := ReadList(strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a line beyond the limit was read")
	}
	if l, err := ReadList(strings.NewReader(strings.Repeat("x\n", 100))); err != nil || len(l.Invalid) != maxInvalid || len(l.Domains) != 0 {
		t.Errorf("%d invalid lines, domains %q, error %v", len(l.Invalid), l.Domains, err)
	}
}

// TestRate checks that a survey keeps to the rate, and that answers from the cache cost nothing.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin := time.Now()
		p := newPaced(nameserver.Func(func(_ context.Context, n dns.Name, typ dns.Type) (dns.Answer, error) {
			at = append(at, time.Since(begin))
			return dns.Answer{Name: n, Type: typ}, nil
		}), 50)
		for range 3 {
			if _, err := p.Lookup(t.Context(), "a.example", dns.TypeA); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // the unused time is not saved up
		for range 2 {
			_, _ = p.Lookup(t.Context(), "a.example", dns.TypeA)
		}
		want := []time.Duration{0, 20 * time.Millisecond, 40 * time.Millisecond, 1040 * time.Millisecond, 1060 * time.Millisecond}
		if !slices.Equal(at, want) || p.asked.Load() != 5 {
			t.Errorf("asked at %v, want %v", at, want)
		}
	})
}

// cached is a resolver that has every answer in its cache.
type cached struct{ dns.Resolver }

func (cached) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	return dns.Answer{Name: name, Type: typ}, true
}

// TestCached: an answer from the cache is not waited for, does not count, and is given after the survey has ended, too.
func TestCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaced(cached{}, 1)
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 3 {
			if a, err := p.Lookup(ctx, "a.example", dns.TypeA); err != nil || a.Name != "a.example" || a.Type != dns.TypeA {
				t.Errorf("%+v, %v", a, err)
			}
		}
		if p.asked.Load() != 0 || time.Since(began) != 0 {
			t.Errorf("%d questions in %s", p.asked.Load(), time.Since(began))
		}
	})
}

// TestEnded: a survey that is ended says how far it came.
func TestEnded(t *testing.T) {
	var questions int64 // about a domain
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := Run(ctx, list(t, []string{"a.example", "b.example"}), options(nameserver.Zone(t, "")))
	if !errors.Is(err, context.Canceled) || err.Error() != "survey: 0 of 2 domains are judged: context canceled" || r.All.Counts[Domains] != 0 {
		t.Errorf("%v, %v", r, err)
	}
	// What was found out when the end came may be wrong because of it, even if nothing failed.
	for fewer, end := range []bool{false, true} {
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		var asked atomic.Int64
		o := options(nameserver.Func(func(_ context.Context, n dns.Name, typ dns.Type) (dns.Answer, error) {
			if asked.Add(1) == questions && end {
				cancel()
			}
			return dns.Answer{Name: n, Type: typ}, nil
		}))
		r, err = Run(ctx, list(t, []string{"a.example"}), o)
		if r.All.Counts[Domains] != 1-fewer || errors.Is(err, context.Canceled) != end {
			t.Errorf("ended by the last question %t: %v, %v", end, r, err)
		}
		questions = r.Asked
	}
}

// TestFaultsOnce: a fault that a domain has twice counts once, and what is only missing is no fault.
func TestFaultsOnce(t *testing.T) {
	fault := func(word domaincheck.Word, subject string, grade domaincheck.Grade) domaincheck.Fault {
		return domaincheck.Fault{Word: word, Subject: subject, Grade: grade}
	}
	for _, tt := range []struct {
		faults []domaincheck.Fault
		want   []domaincheck.Word
		spf    string
	}{
		{[]domaincheck.Fault{fault("a", "dmarc", domaincheck.Broken), fault("b", "spf", domaincheck.Weak), fault("a", "dmarc", domaincheck.Broken)}, []domaincheck.Word{"a", "b"}, "fail"},
		{[]domaincheck.Fault{fault("a", "spf", domaincheck.Missing), fault("b", "spf", domaincheck.Broken)}, []domaincheck.Word{"b"}, broken},
	} {
		e := newEntry(domaincheck.Facts{SPF: domaincheck.SPF{All: "fail"}, Faults: tt.faults})
		if !slices.Equal(e.Faults, tt.want) || e.SPF != tt.spf {
			t.Errorf("%+v: %v, %s", tt.faults, e.Faults, e.SPF)
		}
	}
}

// TestTornHeader: a file whose very first line was not written to its end begins anew.
func TestTornHeader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, []byte(headerPrefix[:9]), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.replay(nil, nil); err != nil {
		t.Error(err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != headerPrefix+"1}\n" {
		t.Errorf("%q, %v", raw, err)
	}
}

// TestFirstFailure: an entry is not kept after one that could not be, and the first reason stays.
func TestFirstFailure(t *testing.T) {
	s, err := OpenState(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &run{o: Options{State: s}, tally: newTally(nil), failed: errFull}
	if r.finish(&Entry{}) || !errors.Is(r.failed, errFull) || r.done != 0 || r.tally.classes[ClassAll].Counts[Domains] != 0 {
		t.Errorf("%+v", r)
	}
}

// TestSync: an entry that could not be written is told although the file could be synced, and the file is synced once a second.
func TestSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, []byte(headerPrefix+"1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := &State{file: file}
	if err := s.keep(&Entry{}); !errors.Is(err, syscall.EBADF) {
		t.Errorf("a file that cannot be written: %v", err)
	}
	if _, err := s.replay(nil, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a file that cannot be cut: %v", err)
	}
	if s, err = OpenState(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for ago, want := range map[time.Duration]bool{-time.Hour: false, syncInterval: true} {
		was := time.Now().Add(-ago)
		s.synced = was
		if err := s.keep(&Entry{}); err != nil || s.synced.Equal(was) == want {
			t.Errorf("synced %s ago: %v, synced at %s", ago, err, s.synced)
		}
	}
}

// TestAskTimeout: a question that nobody answers ends after a while, and one whose survey ended is not asked.
func TestAskTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := newPaced(nameserver.Func(func(ctx context.Context, n dns.Name, typ dns.Type) (dns.Answer, error) {
			<-ctx.Done()
			return dns.Answer{}, ctx.Err()
		}), 50)
		if _, err := p.Lookup(t.Context(), "a.example", dns.TypeA); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != askTimeout {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Lookup(ctx, "a.example", dns.TypeA); err == nil || p.asked.Load() != 1 {
			t.Errorf("%v after %d questions", err, p.asked.Load())
		}
	})
}

// TestResume interrupts a survey, tears the last line of its file, and goes on. Nothing is asked twice
// that was known.
func TestResume(t *testing.T) {
	f := newFixture(300)
	addr := f.serve(t).Addr()
	path := filepath.Join(t.TempDir(), "state")
	whole, err := Run(t.Context(), list(t, f.list), options(network(t, addr)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := options(network(t, addr))
	o.Rate = 2000
	if o.State, err = OpenState(path); err != nil {
		t.Fatal(err)
	}
	o.Progress = func(done, _ int, _ int64) {
		if done == 100 {
			cancel()
		}
	}
	first, err := Run(ctx, list(t, f.list), o)
	if !errors.Is(err, context.Canceled) || first.All.Counts[Domains] < 100 || first.All.Counts[Domains] == 300 {
		t.Fatalf("%v, %d domains", err, first.All.Counts[Domains])
	}
	if _, err := OpenState(path); err == nil {
		t.Error("two runs opened the file")
	}
	if err := o.State.Close(); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(path)
	if err := os.WriteFile(path, raw[:len(raw)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	o = options(network(t, addr))
	if o.State, err = OpenState(path); err != nil {
		t.Fatal(err)
	}
	defer o.State.Close()
	second, err := Run(t.Context(), list(t, f.list), o)
	if err != nil || second.Earlier != first.All.Counts[Domains]-1 {
		t.Errorf("%d domains were known, want %d: %v", second.Earlier, first.All.Counts[Domains]-1, err)
	}
	if second.Asked >= whole.Asked {
		t.Errorf("%d questions, %d without the file", second.Asked, whole.Asked)
	}
	second.Asked, second.Earlier, whole.Asked = 0, 0, 0
	if !reflect.DeepEqual(second, whole) {
		t.Errorf("after the interruption:\n%v\nwant\n%v", second, whole)
	}
	// A third run asks only about the domains whose servers do not answer.
	third, err := Run(t.Context(), list(t, f.list), o)
	if err != nil || third.Earlier != 300-third.All.Counts["unknown"] || !reflect.DeepEqual(third.All, whole.All) {
		t.Errorf("third run: %v, error %v", third, err)
	}
}

// TestKill kills a process in the middle of a survey. At most what was under way may be lost.
func TestKill(t *testing.T) {
	f := newFixture(400)
	addr := f.serve(t).Addr()
	path := filepath.Join(t.TempDir(), "state")
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "SURVEY_STATE="+path, "SURVEY_DNS="+addr)
	cmd.Stdin = strings.NewReader(strings.Join(f.list, "\n"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := 0
	for done < 150 {
		if _, err := fmt.Fscan(out, &done); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	o := options(network(t, addr))
	if o.State, err = OpenState(path); err != nil {
		t.Fatal(err)
	}
	defer o.State.Close()
	r, err := Run(t.Context(), list(t, f.list), o)
	if err != nil || r.Earlier < 150 || r.Earlier == 400 {
		t.Errorf("%d domains were known, want 150 or more: %v", r.Earlier, err)
	}
	checkSums(t, f, r)
}

// TestKilled is the process that TestKill kills.
func TestKilled(t *testing.T) {
	path := os.Getenv("SURVEY_STATE")
	if path == "" {
		t.Skip("only TestKill runs this")
	}
	l, err := ReadList(os.Stdin)
	if err != nil {
		t.Fatal(err)
	}
	o := options(network(t, os.Getenv("SURVEY_DNS")))
	o.Rate = 1000
	whole := os.Getenv("SURVEY_WHOLE") != "" // for BenchmarkMemory
	if whole {
		o.Rate = 1e6
	}
	if o.State, err = OpenState(path); err != nil {
		t.Fatal(err)
	}
	o.Progress = func(done, _ int, _ int64) { fmt.Println(done) }
	if _, err = Run(t.Context(), l, o); err != nil || !whole {
		t.Fatal("it was not killed", err)
	}
	status, _ := os.ReadFile("/proc/self/status")
	fmt.Printf("%s\n", status)
}

// TestStateFile checks what is refused, and that such a file stays as it is.
func TestStateFile(t *testing.T) {
	for _, tt := range []struct{ reason, content, want string }{
		{"another file", "hello\n", "not that of a survey"},
		{"another file without line end", "hello", "not that of a survey"},
		{"other JSON", `{"sekimori_dns_snapshot":1}` + "\n", "not that of a survey"},
		{"a newer version", `{"sekimori_survey":2}` + "\n", "version 2"},
		{"a header with two versions", `{"sekimori_survey":1,"sekimori_survey":"x"}` + "\n", "not that of a survey"},
		{"a header of no version", `{"sekimori_survey":0}` + "\n", "not that of a survey"},
		{"a header that is no JSON", `{"sekimori_survey":1` + "\n", "not that of a survey"},
		{"half a line, and not of a header", `{"sekimori_survex`, "not that of a survey"},
		{"a bad line", `{"sekimori_survey":1}` + "\n{\n{}\n", "line 2"},
		{"a long line", `{"sekimori_survey":1}` + "\n" + strings.Repeat("x", maxStateLine+1) + "\n", "line 2"},
	} {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenState(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.replay([]dns.Name{"a.example"}, func(*Entry) {})
		s.Close()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v", tt.reason, err)
		}
		if raw, _ := os.ReadFile(path); string(raw) != tt.content {
			t.Errorf("%s: the file was changed", tt.reason)
		}
	}
}

// example is a result with every part.
func example(t *testing.T) *Result {
	f := newFixture(450)
	o := options(nameserver.Zone(t, f.zone))
	o.Pause = 0
	r, err := Run(t.Context(), list(t, append(f.list, "x.example", "bad line")), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFormats(t *testing.T) {
	r := example(t)
	var text, rows, page, english bytes.Buffer
	if err := errors.Join(r.Text(&text), r.CSV(&rows), r.HTML(&page, Japanese, time.Unix(1.8e9, 0)), r.HTML(&english, English, time.Unix(1.8e9, 0))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CLASS", "go.jp", "other", "dmarc_not_a_record", `"bad line"`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text has no %q:\n%s", want, text.String())
		}
	}
	records, err := csv.NewReader(&rows).ReadAll()
	if want := 1 + (len(classes)+2)*len(measures) + len(r.Faults); err != nil || len(records) != want {
		t.Errorf("%d rows, want %d: %v", len(records), want, err)
	}
	for _, want := range []string{"送信ドメイン認証", "隔離", "拒否", "なりすまし", `lang="ja"`, "<svg"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %s", want)
		}
	}
	for _, b := range []*bytes.Buffer{&page, &english} {
		for _, never := range []string{"<script", "http://", "https://", "ZgotmplZ", "<no value>", "NaN"} {
			if strings.Contains(b.String(), never) {
				t.Errorf("the page has %s", never)
			}
		}
		wellFormed(t, b.String())
	}
	if dir := os.Getenv("SURVEY_PAGES"); dir != "" { // to look at
		_ = os.WriteFile(filepath.Join(dir, "ja.html"), page.Bytes(), 0o600)
		_ = os.WriteFile(filepath.Join(dir, "en.html"), english.Bytes(), 0o600)
	}
	if err := r.HTML(io.Discard, "fr", time.Time{}); err == nil {
		t.Error("a page in French")
	}
	var back Result
	raw, _ := json.Marshal(r)
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(&back, r) {
		t.Errorf("JSON: %v", err)
	}
}

// wellFormed checks that the charts of a page are well-formed.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	charts := strings.Split(page, "<svg")[1:]
	for _, c := range charts {
		svg, _, _ := strings.Cut("<svg"+c, "</svg>")
		d := xml.NewDecoder(strings.NewReader(svg + "</svg>"))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(charts) != 2 {
		t.Errorf("%d charts", len(charts))
	}
}

// TestHostile checks that names of a list cannot write into the page or the terminal.
func TestHostile(t *testing.T) {
	r := &Result{All: Class{Name: ClassAll, Counts: map[Measure]int{}}, Invalid: []string{"\x1b[31m<script>"},
		Faults: []FaultCount{{Word: domaincheck.SPFSyntax, Domains: 1, Examples: []string{"<script>alert(1)</script>.example"}}}}
	var text, page bytes.Buffer
	if err := errors.Join(r.Text(&text), r.HTML(&page, English, time.Time{})); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "\nFAULT") || strings.Contains(text.String(), "\x1b") || strings.Contains(page.String(), "<script>") {
		t.Error(text.String(), page.String())
	}
}

// TestExamples checks that the examples of a fault are few, and do not depend on the order of the entries.
func TestExamples(t *testing.T) {
	tally := newTally(nil)
	for i := range 3 * maxExamples {
		tally.add(&Entry{Domain: fmt.Sprintf("%02d.example", 3*maxExamples-i), Mail: domaincheck.MailMX, Faults: []domaincheck.Word{domaincheck.SPFSyntax}})
	}
	want := []string{"01.example", "02.example", "03.example", "04.example", "05.example"}
	if got := tally.result().Faults[0]; got.Domains != 3*maxExamples || !slices.Equal(got.Examples, want) {
		t.Errorf("%+v", got)
	}
}

// TestChart: where the parts of a chart are.
func TestChart(t *testing.T) {
	class := func(name string) Class {
		return Class{Name: name, Counts: map[Measure]int{Domains: 10, WithMX: 8, SPF: 6, DMARC: 4, BIMI: 3, "p_none": 1, "p_quarantine": 1, "p_reject": 2}}
	}
	all := []Class{class("a.jp"), class("b.jp"), {Name: "c.jp", Counts: map[Measure]int{}}}
	shown := func(c *chart) (out string) {
		for _, b := range c.Bars {
			out += fmt.Sprintf("%d %q %s %v %d:", b.Y, b.Label, b.Text, b.TextX, b.Base())
			for _, p := range b.Parts {
				out += fmt.Sprintf(" %s %v+%v %q", p.Kind, p.X, p.Width, p.Title)
			}
			out += "\n"
		}
		for _, p := range c.Legend {
			out += fmt.Sprintf("%s %s %v %v, ", p.Kind, p.Title, p.X, p.TextX())
		}
		return out + fmt.Sprint(c.Grid, c.Title, c.Sub, c.Height, c.Bottom(), c.Axis(), c.Total(), c.LabelX())
	}
	const grid = "[{150 0 %} {265 25 %} {380 50 %} {495 75 %} {610 100 %}]"
	for _, tt := range []struct {
		got  *chart
		want string
	}{
		{published(all, words[English]), `28 "a.jp (8)" 75.0 % 501 40: spf 150+345 "spf 75.0 %"
50 "" 50.0 % 386 62: dmarc 150+230 "dmarc 50.0 %"
72 "" 37.5 % 328.5 84: bimi 150+172.5 "bimi 37.5 %"
102 "b.jp (8)" 75.0 % 501 114: spf 150+345 "spf 75.0 %"
`},
		{policies(all, words[English]), `24 "a.jp (8)" 50.0 % 616 36: reject 150+115 "reject 25.0 %" quarantine 265+57.5 "quarantine 12.5 %" none 322.5+57.5 "none 12.5 %" nothing 380+230 "no record 50.0 %"
50 "b.jp (8)" 50.0 % 616 62: reject 150+115 "reject 25.0 %" quarantine 265+57.5 "quarantine 12.5 %" none 322.5+57.5 "none 12.5 %" nothing 380+230 "no record 50.0 %"
76 "c.jp (0)" 0.0 % 616 88: reject 150+0 "reject 0.0 %" quarantine 150+0 "quarantine 0.0 %" none 150+0 "none 0.0 %" nothing 150+460 "no record 100.0 %"
reject reject 150 167, quarantine quarantine 300 317, none none 450 467, nothing no record 600 617, ` + grid + words[English]["policies"] + words[English]["policybase"] + "78 102 116 122 142"},
	} {
		if got := shown(tt.got); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s\nwant\n%s", got, tt.want)
		}
	}
}

// small is a result of a few numbers, to compare as a whole.
func small() *Result {
	c := func(name string) Class {
		return Class{Name: name, Counts: map[Measure]int{Domains: 10, WithMX: 8, "null_mx": 1, SPF: 6, DMARC: 7, "p_none": 1, "p_quarantine": 2, "p_reject": 4, "rua": 3, BIMI: 1}}
	}
	return &Result{All: c(ClassAll), Classes: []Class{c("go.jp"), c(ClassOther)}, Faults: []FaultCount{{domaincheck.SPFSyntax, 2, []string{"a.jp", "b.jp"}}, {domaincheck.SPFPTR, 1, []string{"c.jp"}}}, Invalid: []string{"x y", "z"}}
}

// TestWhole compares each format with what is written.
func TestWhole(t *testing.T) {
	r := small()
	var text, rows bytes.Buffer
	if err := errors.Join(r.Text(&text), r.CSV(&rows)); err != nil {
		t.Fatal(err)
	}
	const head = `CLASS  DOMAINS  MX      NULL MX  SPF     DMARC   NONE    QUARANTINE  REJECT  RUA     BIMI
go.jp  10       80.0 %  10.0 %   75.0 %  87.5 %  14.2 %  28.5 %      57.1 %  42.8 %  12.5 %
other  10       80.0 %  10.0 %   75.0 %  87.5 %  14.2 %  28.5 %      57.1 %  42.8 %  12.5 %
all    10       80.0 %  10.0 %   75.0 %  87.5 %  14.2 %  28.5 %      57.1 %  42.8 %  12.5 %

domains        10                     domains
missing        0   0.0 % of domains   does not exist
`
	const tail = `bimi           1   12.5 % of mx       BIMI

FAULT       DOMAINS  SUCH AS
spf_syntax  2        a.jp b.jp
spf_ptr     1        c.jp

These lines of the list have no domain name, and perhaps others:
  "x y"
  "z"
`
	if got := text.String(); !strings.HasPrefix(got, head) || !strings.HasSuffix(got, tail) || strings.Count(got, "\n") != 4+1+len(measures)+1+3+1+3 {
		t.Errorf("%s", got)
	}
	got := rows.String()
	for _, want := range []string{"class,measure,domains,of,share\ngo.jp,domains,10,,\ngo.jp,missing,0,domains,0.0000\n", "\nall,bimi,1,mx,0.1250\nall,fault:spf_syntax,2,mx,0.2500\nall,fault:spf_ptr,1,mx,0.1250\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	for with, want := range map[int]string{0: "1.0000", 1: "1.0000", 2: "0.5000"} {
		var b bytes.Buffer
		one := &Result{All: Class{Name: ClassAll, Counts: map[Measure]int{WithMX: with}}, Faults: []FaultCount{{domaincheck.SPFSyntax, 1, nil}}}
		if err := one.CSV(&b); err != nil || !strings.HasSuffix(b.String(), "\nall,fault:spf_syntax,1,mx,"+want+"\n") {
			t.Errorf("of %d domains: %v\n%s", with, err, b.String())
		}
	}
	var page bytes.Buffer
	if err := r.HTML(&page, Japanese, time.Unix(1.8e9, 0)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2027-01-15 作成", "<th scope=\"col\">その他</th><th scope=\"col\">全体</th>", "<th scope=\"row\">p=none（監視のみ） <small>[DMARC]</small></th><td>1 <small>14.2 %</small></td>", "<th scope=\"row\">ドメイン数</th><td>10</td>"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	page.Reset()
	if err := r.HTML(&page, English, time.Unix(1.8e9, 0)); err != nil || !strings.Contains(page.String(), `<th scope="row">does not exist <small>[domains]</small></th><td>0 <small>0.0 %</small></td>`) {
		t.Errorf("%v\n%s", err, page.String())
	}
	for _, err := range []error{r.Text(full{}), r.CSV(full{}), r.HTML(full{}, English, time.Time{})} {
		if !errors.Is(err, errFull) {
			t.Errorf("on a full disk: %v", err)
		}
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no room")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestTally: which entries count for what.
func TestTally(t *testing.T) {
	tally := newTally([]dns.Name{"jp", "co.jp", "o.jp"})
	for domain, want := range map[dns.Name]string{"a.co.jp": "co.jp", "a.jp": "jp", "co.jp": "jp", "jp": ClassOther, "a.example": ClassOther, "xco.jp": "jp"} {
		if got := tally.classOf(domain); got != want {
			t.Errorf("%s is of the class %s, want %s", domain, got, want)
		}
	}
	for _, e := range []Entry{
		{Mail: domaincheck.MailMX, Own: true, P: "none", Faults: []domaincheck.Word{domaincheck.SPFPTR, domaincheck.SPFSyntax}},
		{Mail: domaincheck.MailMX, Own: true, P: "reject", Unknown: []string{"x"}, Faults: []domaincheck.Word{domaincheck.SPFSyntax}},
		{Mail: domaincheck.MailMX, P: "reject", Testing: true, RUA: true, RUF: true, Bad: true, Policy: "quarantine", SPF: "fail"},
		{Mail: domaincheck.MailNull, Own: true, SPF: broken, Faults: []domaincheck.Word{domaincheck.SPFSyntax}},
		{Mail: domaincheck.MailNone, Missing: true}, {Mail: domaincheck.MailNone, Unknown: []string{"x"}}, {Mail: domaincheck.MailNone},
		{Mail: domaincheck.MailMX, Own: true, Parent: true, Policy: "reject", SPF: "pass", BIMI: true, Testing: true, RUA: true, RUF: true, SP: "none", NP: "reject"},
		{Mail: domaincheck.MailMX, SPF: broken, Faults: []domaincheck.Word{domaincheck.SPFSyntax}, Policy: "none"},
	} {
		e.Domain = "a.example"
		tally.add(&e)
	}
	r := tally.result()
	got := map[Measure]int{}
	for m, n := range r.All.Counts {
		if n > 0 {
			got[m] = n
		}
	}
	want := map[Measure]int{Domains: 9, "missing": 1, "unknown": 2, "null_mx": 1, "no_mx": 1, WithMX: 4, SPF: 2, "spf_broken": 1, "spf_fail": 1, "spf_pass": 1, DMARC: 2, "dmarc_broken": 1, "dmarc_parent": 1,
		"enforcing": 2, "spf_and_dmarc": 1, "p_none": 1, "sp_none": 1, "np_reject": 1, "testing": 1, "rua": 1, "ruf": 1, BIMI: 1}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if fmt.Sprint(r.Faults) != "[{spf_syntax 2 [a.example a.example]} {spf_ptr 1 [a.example]}]" || len(r.Classes) != 4 || r.Classes[3].Name != ClassOther || r.Classes[3].Counts[Domains] != 9 {
		t.Errorf("%v %v", r.Faults, r.Classes)
	}
	if r := newTally([]dns.Name{"jp"}).result(); len(r.Classes) != 1 { // nothing is of another class
		t.Errorf("%v", r.Classes)
	}
	for suffixes, want := range map[int]string{0: "[]", 1: "[{jp map[]} {other map[]}]"} {
		tally := newTally([]dns.Name{"jp"}[:suffixes])
		for i, words := range [][]domaincheck.Word{{domaincheck.SPFSyntax, domaincheck.SPFPTR, domaincheck.MXAddress}, {domaincheck.SPFSyntax}, {domaincheck.SPFPTR}, {domaincheck.SPFSyntax}} {
			tally.add(&Entry{Domain: fmt.Sprintf("%d.example", i), Mail: domaincheck.MailMX, Faults: words})
		}
		r := tally.result()
		for i := range r.Classes {
			r.Classes[i].Counts = nil
		}
		if got := fmt.Sprint(r.Classes); got != want || fmt.Sprint(r.Faults) != "[{spf_syntax 3 [0.example 1.example 3.example]} {spf_ptr 2 [0.example 2.example]} {mx_is_address 1 [0.example]}]" {
			t.Errorf("%d suffixes: %s, %v", suffixes, got, r.Faults)
		}
	}
	if n := len(Measures()); n != len(measures) || Measures()[0] != Domains || Measures()[n-1] != BIMI {
		t.Errorf("%v", Measures())
	}
	for m, want := range map[Measure]float64{WithMX: 4. / 9, SPF: 0.5, Domains: 0, "no such": 0, "p_reject": 0} {
		if got := r.All.Share(m); got != want {
			t.Errorf("%s: %v", m, got)
		}
	}
	if got := (&Class{Counts: map[Measure]int{SPF: 1}}).Share(SPF); got != 0 { // of no domain with an MX
		t.Error(got)
	}
}

// TestRounds: a domain whose lookups fail is looked at three times, with a pause before each but the first, and one
// that is known once.
func TestRounds(t *testing.T) {
	for _, tt := range []struct {
		fails, unknown int
		took           time.Duration
	}{{0, 0, 0}, {1, 0, 1}, {2, 0, 2}, {3, 1, 2}, {9, 1, 2}} {
		synctest.Test(t, func(t *testing.T) {
			began, left := time.Now(), tt.fails
			o := options(nameserver.Func(func(_ context.Context, n dns.Name, typ dns.Type) (dns.Answer, error) {
				if typ == dns.TypeMX && left > 0 {
					left--
					return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: n, Type: typ}
				}
				return dns.Answer{Name: n, Type: typ}, nil
			}))
			o.Pause, o.Rate = time.Hour, 1e9
			var told []string
			o.Progress = func(done, total int, _ int64) { told = append(told, fmt.Sprint(done, "/", total)) }
			r, err := Run(t.Context(), list(t, []string{"a.example"}), o)
			if err != nil || r.All.Counts["unknown"] != tt.unknown || r.All.Counts[Domains] != 1 || time.Since(began).Round(time.Minute) != tt.took*time.Hour || fmt.Sprint(told) != "[1/1]" {
				t.Errorf("%d failures: %v after %s, %v, told %v", tt.fails, r.All.Counts, time.Since(began), err, told)
			}
		})
	}
}

// TestStateFails: a file that cannot be read or written ends the survey with its name in the error.
func TestStateFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	resolver := nameserver.Func(func(_ context.Context, n dns.Name, typ dns.Type) (dns.Answer, error) {
		return dns.Answer{Name: n, Type: typ}, nil
	})
	for name, flags := range map[string]int{"read": os.O_WRONLY | os.O_CREATE, "written": os.O_RDONLY | os.O_CREATE} {
		file, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		o := options(resolver)
		o.State = &State{file: file}
		if r, err := Run(t.Context(), list(t, []string{"a.example"}), o); r != nil || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("a file that cannot be %s: %v, %v", name, r, err)
		}
		_ = file.Close()
		if err := o.State.Close(); err == nil || !strings.HasPrefix(err.Error(), "survey: ") {
			t.Errorf("closed twice: %v", err)
		}
	}
	s, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	o := options(resolver)
	o.State = s
	o.Progress = func(int, int, int64) { _ = s.file.Close() } // the disk goes away after the first domain
	r, err := Run(t.Context(), list(t, []string{"a.example", "b.example", "c.example"}), o)
	if err == nil || !strings.Contains(err.Error(), path) || r.All.Counts[Domains] != 1 {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := OpenState(filepath.Join(path, "x")); err == nil || !strings.HasPrefix(err.Error(), "survey: ") || strings.Contains(err.Error(), "another run") {
		t.Errorf("below a file: %v", err)
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "0.0 %", 0.12349: "12.3 %", 0.99999: "99.9 %", 1: "100.0 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v: %s", share, got)
		}
	}
}

var update = flag.Bool("update", false, "write the table of measures in deploy/docs/survey.md anew")

// TestHandbook compares the table of measures in the handbook with the code.
func TestHandbook(t *testing.T) {
	const begin, end = "<!-- measures -->\n", "<!-- end of measures -->\n"
	table := "| measure | a share of | |\n|---|---|---|\n"
	for _, m := range measures {
		table += fmt.Sprintf("| `%s` | %s | %s |\n", m.id, m.of, m.en)
	}
	path := filepath.Join("..", "..", "deploy", "docs", "survey.md")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(raw), begin)
	was, after, ok := strings.Cut(rest, end)
	switch {
	case !ok:
		t.Fatal("the handbook has no table of measures")
	case *update:
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	case was != table:
		t.Error("the table of measures is out of date; run go test ./internal/survey -run Handbook -update")
	}
}
