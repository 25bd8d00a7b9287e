package load

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bench/traffic"
	"sekimori/internal/milter/client"
)

func TestHistogram(t *testing.T) {
	var empty histogram
	if q := empty.quantile(0.5); q != 0 {
		t.Errorf("the median of nothing is %v", q)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var a, b histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(rng.ExpFloat64() * float64(3*time.Millisecond))
		all = append(all, d)
		if i%2 == 0 {
			a.add(d)
		} else {
			b.add(d)
		}
	}
	a.merge(&b)
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.95, 0.99, 1} {
		want := all[int(math.Ceil(q*10_000))-1]
		if got := a.quantile(q); float64(got) < float64(want)*0.98 || float64(got) > float64(want)*1.02 {
			t.Errorf("quantile %g: %v, want %v", q, got, want)
		}
	}
	var one histogram
	one.add(5)
	if q := one.quantile(0); q != 5 {
		t.Errorf("the least of 5 ns is %v", q)
	}
	if a.max != all[len(all)-1] {
		t.Errorf("max %v", a.max)
	}
}

// TestBuckets checks that larger values never have lower bucket numbers, and that the middle of a
// value's bucket is close to the value.
func TestBuckets(t *testing.T) {
	last := -1
	for _, ns := range []uint64{0, 1, 63, 64, 65, 127, 128, 129, 1000, 1_000_000, 123_456_789, 1 << 40, 1<<63 - 1} {
		i := bucket(ns)
		if i < last || i >= len(histogram{}.counts) {
			t.Errorf("%d is in bucket %d after %d", ns, i, last)
		}
		last = i
		if m := uint64(middle(i)); m > ns+ns/64+1 || m+ns/64+1 < ns {
			t.Errorf("%d is in bucket %d around %d", ns, i, m)
		}
	}
}

func TestProcesses(t *testing.T) {
	child := exec.Command("sh", "-c", "sleep 60 & echo; wait")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	all := descendants([]int{child.Process.Pid, child.Process.Pid})
	if len(all) != 2 || all[0] != child.Process.Pid {
		t.Errorf("%v: a shell and its sleep are two", all)
	}
	for _, pid := range slices.Backward(all) {
		p, err := os.FindProcess(pid)
		if err == nil {
			_ = p.Kill()
		}
	}
	_ = child.Wait()
	if _, err := sampleProcesses([]int{child.Process.Pid}); err == nil {
		t.Error("a process that ended is measured")
	}
	u, err := sampleProcesses([]int{os.Getpid()})
	if err != nil || u.peak < u.rss || u.rss < 1<<20 {
		t.Errorf("%+v %v", u, err)
	}
	later, err := sampleProcesses([]int{os.Getpid()})
	if err != nil || later.cpu <= u.cpu || later.cpu-u.cpu > time.Second {
		t.Errorf("%v after %v: the work of one sample, which is far below 10 ms, must show", later.cpu, u.cpu)
	}
}

func TestSummary(t *testing.T) {
	tally := newTally()
	good := traffic.Outcome{DKIM: "pass", SPF: "pass", DMARC: "pass", Action: traffic.Deliver}
	bad := good
	bad.DKIM = "fail"
	for i := range 100 {
		tally.messages++
		tally.eom.add(time.Duration(i+1) * time.Millisecond)
		got := good
		if i%10 == 0 {
			got = bad
		}
		tally.count(good, got, CheckAll)
	}
	r := newSummary(tally, used{
		time: 2 * time.Second, server: usage{cpu: 500 * time.Millisecond, calls: 300, peak: 7e6, rss: 6e6}, queries: 25, measured: true,
	}, Options{})
	if r.PerSecond != 50 || r.DNSPerMessage != 0.25 || r.Mismatches != 10 || r.OK() || r.Server.CPUPerMessage != 5 || r.Server.CallsPerMessage != 3 || r.Server.PeakBytes != 7e6 {
		t.Errorf("%+v %+v", r, r.Server)
	}
	if l := r.EndOfMessage; l.P50 < 49 || l.P50 > 51 || l.P95 < 93 || l.P95 > 97 || l.Max != 100 {
		t.Errorf("%+v", l)
	}
	if len(r.Verdicts) != 2 || r.Verdicts[0].Messages != 90 || !r.Verdicts[0].OK || r.Verdicts[1].OK {
		t.Errorf("%+v", r.Verdicts)
	}
}

// TestSummaryPrinted checks every value of a summary, and its text.
func TestSummaryPrinted(t *testing.T) {
	ms := time.Millisecond
	good := traffic.Outcome{DKIM: "pass", SPF: "pass", DMARC: "pass", Action: traffic.Deliver}
	bad := traffic.Outcome{Action: traffic.Reject}
	a, b := newTally(), newTally()
	a.messages, a.errors, a.err, b.messages, b.errors, b.err, a.unsent = 3, 1, errors.New("first"), 1, 2, errors.New("second"), 9
	for x, by := range map[*tally]time.Duration{a: ms, b: 3 * ms} {
		x.eom.add(by)
		x.message.add(10 * by)
		x.session.add(100 * by)
		x.late.add(1000 * by)
		x.count(good, good, CheckAll)
		x.count(good, bad, CheckAll)
	}
	a.count(bad, bad, CheckAll)
	a.count(good, good, CheckAll)
	a.merge(b)
	none := newTally()
	none.merge(a)
	if !errors.Is(none.err, a.err) || none.errors != 3 {
		t.Errorf("%+v", none)
	}
	a.merge(newTally())
	watched := newSummary(newTally(), used{time: time.Second, measured: true, server: usage{cpu: ms, peak: 7e6, rss: 5e6}}, Options{})
	watched.Samples = []Sample{{1, 2, 3, 4e6, 5e6, 6}}
	for _, tt := range []struct {
		r    *Summary
		want string
	}{
		{newSummary(newTally(), used{time: time.Second, queries: 4}, Options{}), `messages        0 in 1.00 s  0/s
end of message  p50 0.00 ms  p95 0.00 ms  p99 0.00 ms  max 0.00 ms
message         p50 0.00 ms  p95 0.00 ms  p99 0.00 ms  max 0.00 ms
session         p50 0.00 ms  p95 0.00 ms  p99 0.00 ms  max 0.00 ms
DNS             4 queries    4.000/message
errors          0            
unexpected      0
`},
		{newSummary(a, used{time: 2 * time.Second, queries: 6, measured: true, server: usage{cpu: 8 * ms, peak: 7e6, rss: 5e6, calls: 10, switches: 2}}, Options{Rate: 0.5}), `messages        4 in 2.00 s               2/s
end of message  p50 1.00 ms               p95 3.00 ms     p99 3.00 ms     max 3.00 ms
message         p50 10.03 ms              p95 30.00 ms    p99 30.00 ms    max 30.00 ms
session         p50 100.14 ms             p95 299.89 ms   p99 299.89 ms   max 300.00 ms
began late      p50 1002.44 ms            p95 3000.00 ms  p99 3000.00 ms  max 3000.00 ms
schedule        0.5/s                     9 not sent
server          2.000 ms CPU/message      peak 7.0 MB  now 5.0 MB
                2.5 system calls/message  0.5 context switches/message
DNS             6 queries                 1.500/message
errors          3                         second
unexpected      2
  3             dkim=pass spf=pass dmarc=pass deliver
  2             dkim=- spf=- dmarc=- reject  UNEXPECTED, wanted dkim=pass spf=pass dmarc=pass deliver
  1             dkim=- spf=- dmarc=- reject
`},
		{watched, `messages        0 in 1.00 s           0/s
end of message  p50 0.00 ms           p95 0.00 ms  p99 0.00 ms  max 0.00 ms
message         p50 0.00 ms           p95 0.00 ms  p99 0.00 ms  max 0.00 ms
session         p50 0.00 ms           p95 0.00 ms  p99 0.00 ms  max 0.00 ms
server          1.000 ms CPU/message  peak 7.0 MB  now 5.0 MB
DNS             0 queries             0.000/message
errors          0                     
unexpected      0
time            goroutines  descriptors  memory  heap    sessions
1 s             2           3            4.0 MB  5.0 MB  6
`},
	} {
		var out strings.Builder
		if err := tt.r.Print(&out); err != nil || out.String() != tt.want {
			t.Errorf("%v\n%s\nwant\n%s", err, out.String(), tt.want)
		}
	}
}

// TestOK has a row for each thing that makes a run bad.
func TestOK(t *testing.T) {
	for _, tt := range []struct {
		r    Summary
		want bool
	}{
		{Summary{Messages: 1}, true}, {Summary{}, false}, {Summary{Messages: 1, Errors: 1}, false}, {Summary{Messages: 1, Mismatches: 1}, false},
		{Summary{Messages: 1, Schedule: &Schedule{}}, true}, {Summary{Messages: 1, Schedule: &Schedule{Unsent: 1}}, false},
	} {
		if got := tt.r.OK(); got != tt.want {
			t.Errorf("%+v: %v", tt.r, got)
		}
	}
}

// TestStatFields checks how a file of /proc is read.
func TestStatFields(t *testing.T) {
	const rest = "S 7 3 4 5 6 7 8 9 10 11 12 13"
	for text, want := range map[string]string{
		"5 (a) " + rest: rest, "5 (a b) (c) " + rest + " 14": rest + " 14", "5 (a) " + strings.TrimSuffix(rest, " 13"): "", "": "", rest: rest,
	} {
		name := t.TempDir() + "/stat"
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := statFields(name)
		if got := strings.Join(f, " "); got != want || (err == nil) != (want != "") || err != nil && err.Error() != "load: process: "+name+" is too short" {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	if _, err := statFields("/proc/none"); err == nil || !strings.HasPrefix(err.Error(), "load: process: open /proc/none: ") {
		t.Error(err)
	}
}

// TestProcessMemory compares the memory of a process that sleeps with what /proc says.
func TestProcessMemory(t *testing.T) {
	children := []*exec.Cmd{exec.Command("cat"), exec.Command("cat")}
	var pids []int
	var want usage
	for _, c := range children {
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// It waits for the next line once it has given back the first one.
		if _, err := io.WriteString(in, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, c.Process.Pid)
	}
	for _, pid := range pids {
		u, err := sampleProcess(pid)
		b, err2 := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		kB := func(name string) int64 {
			_, after, _ := strings.Cut(string(b), name+":")
			n, _ := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
			return n << 10
		}
		if err != nil || err2 != nil || u.peak != kB("VmHWM") || u.rss != kB("VmRSS") || u.rss == 0 || u.cpu <= 0 {
			t.Errorf("%+v, %v, %v\n%s", u, err, err2, b)
		}
		want.peak, want.rss, want.cpu = want.peak+u.peak, want.rss+u.rss, want.cpu+u.cpu
	}
	if u, err := sampleProcesses(pids); err != nil || u.peak != want.peak || u.rss != want.rss || u.cpu < want.cpu {
		t.Errorf("%+v, %v, want %+v", u, err, want)
	}
	for _, c := range children {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	if u, err := sampleProcess(pids[0]); u != (usage{}) || err == nil || !strings.HasPrefix(err.Error(), "load: CPU time of process "+strconv.Itoa(pids[0])+": ") {
		t.Errorf("%+v, %v", u, err)
	}
	if u, err := sampleProcesses(nil); u != (usage{}) || err != nil {
		t.Errorf("of no process: %+v, %v", u, err)
	}
}

// TestSafe checks which outcomes CheckSafe accepts if the message is a spoof.
func TestSafe(t *testing.T) {
	spoof := traffic.Outcome{DKIM: "none", SPF: "pass", DMARC: "fail", Action: traffic.Reject}
	for _, tc := range []struct {
		why  string
		got  traffic.Outcome
		safe bool
	}{
		{"refused", traffic.Outcome{Action: traffic.Reject}, true},
		{"its policy could not be had", traffic.Outcome{DKIM: "none", SPF: "pass", DMARC: "temperror", Action: traffic.Deliver}, true},
		{"a false pass", traffic.Outcome{DKIM: "none", SPF: "pass", DMARC: "pass", Action: traffic.Deliver}, false},
		{"a signature out of nowhere", traffic.Outcome{DKIM: "pass", SPF: "pass", DMARC: "fail", Action: traffic.Reject}, false},
	} {
		if got := meets(tc.got, spoof, CheckSafe); got != tc.safe {
			t.Errorf("%s: %v", tc.why, got)
		}
	}
	if held := (traffic.Outcome{Action: traffic.Quarantine}); !meets(traffic.Outcome{Action: traffic.Deliver}, held, CheckReplies) {
		t.Error("a client sees no difference between a message on hold and others")
	}
	if meets(traffic.Outcome{SPF: "pass"}, traffic.Outcome{SPF: "fail", DMARC: "fail"}, CheckSafe) {
		t.Error("SPF passed where it should fail")
	}
}

// TestMeets has a row for each term of meets and safe. An outcome is "DKIM SPF DMARC action".
func TestMeets(t *testing.T) {
	parse := func(text string) traffic.Outcome {
		f := strings.Split(strings.ReplaceAll(text, "-", ""), " ")
		return traffic.Outcome{DKIM: f[0], SPF: f[1], DMARC: f[2], Action: traffic.Action(f[3])}
	}
	const good, spoof = "pass pass pass deliver", "none fail fail reject"
	for _, tt := range []struct {
		check     Check
		want, got string
		meets     bool
	}{
		{CheckAll, good, good, true}, {CheckAll, spoof, "- - - reject", true}, {CheckAll, good, "pass pass pass reject", false},
		{CheckAll, good, "fail pass pass deliver", false}, {CheckAll, good, "pass fail pass deliver", false}, {CheckAll, good, "pass pass fail deliver", false},
		{CheckResults, good, "- pass pass deliver", false}, {CheckResults, good, "pass - pass deliver", false}, {CheckResults, good, "pass pass - deliver", false},
		{CheckResults, good, "- pass pass reject", true}, {CheckResults, good, "pass - pass reject", true}, {CheckResults, good, "pass pass - reject", true},
		{CheckResults, spoof, "pass - - reject", false},
		{CheckSafe, spoof, "none fail pass deliver", false}, {CheckSafe, "pass fail none deliver", "pass none pass deliver", true},
		{CheckSafe, spoof, "pass fail fail reject", false}, {CheckSafe, spoof, "none pass fail reject", false}, {CheckSafe, spoof, "none fail fail deliver", true},
		{CheckSafe, good, "none none none tempfail", true}, {CheckSafe, good, "none none none quarantine", false}, {CheckSafe, good, good, true},
		{CheckReplies, "- - - reject", "- - - reject", true}, {CheckReplies, "- - - reject", "- - - deliver", false},
		{CheckReplies, "- - - quarantine", "- - - deliver", true}, {CheckReplies, "- - - quarantine", "- - - reject", false},
		{CheckReplies, "- - - quarantine", "- - - quarantine", true}, {CheckReplies, "- - - deliver", "- - - quarantine", false},
		{CheckNone, good, spoof, true},
	} {
		if got := meets(parse(tt.got), parse(tt.want), tt.check); got != tt.meets {
			t.Errorf("%s: %s for %s: %v", tt.check, tt.got, tt.want, got)
		}
	}
}

func TestOutcome(t *testing.T) {
	field := func(v string) client.Modification {
		return client.Modification{Kind: client.InsertHeader, Name: "authentication-results", Value: v}
	}
	hold := client.Modification{Kind: client.Quarantine, Value: "held"}
	goOn := client.Action{Kind: client.Continue}
	for _, tc := range []struct {
		why    string
		action client.Action
		mods   []client.Modification
		want   traffic.Outcome
	}{
		{"two milters, two fields", goOn, []client.Modification{
			field(" mx; dkim=fail\n header.d=a.example;\n dkim=pass header.d=b.example"), field("mx; dmarc=pass; spf=softfail"),
		}, traffic.Outcome{DKIM: "pass", SPF: "softfail", DMARC: "pass", Action: traffic.Deliver}},
		{"no pass: the first counts", goOn, []client.Modification{field("mx; dkim=fail; dkim=neutral")}, traffic.Outcome{DKIM: "fail", Action: traffic.Deliver}},
		{"held", goOn, []client.Modification{hold}, traffic.Outcome{Action: traffic.Quarantine}},
		{"refused after all", client.Action{Kind: client.Custom, Code: 550}, []client.Modification{hold}, traffic.Outcome{Action: traffic.Reject}},
		{"deferred", client.Action{Kind: client.Custom, Code: 451}, nil, traffic.Outcome{Action: traffic.Tempfail}},
		{"put off", client.Action{Kind: client.Tempfail}, []client.Modification{hold}, traffic.Outcome{Action: traffic.Tempfail}},
		{"refused", client.Action{Kind: client.Reject}, nil, traffic.Outcome{Action: traffic.Reject}},
		{"thrown away", client.Action{Kind: client.Discard}, []client.Modification{hold}, traffic.Outcome{Action: traffic.Discard}},
		{"added below", goOn, []client.Modification{{Kind: client.AddHeader, Name: "Authentication-Results", Value: "mx; spf=fail"}},
			traffic.Outcome{SPF: "fail", Action: traffic.Deliver}},
		{"changed", goOn, []client.Modification{{Kind: client.ChangeHeader, Name: "Authentication-Results", Value: "mx; spf=fail"}},
			traffic.Outcome{Action: traffic.Deliver}},
		{"not to be read", goOn, []client.Modification{field("mx; =")}, traffic.Outcome{DKIM: "unreadable", Action: traffic.Deliver}},
		{"another field", goOn, []client.Modification{{Kind: client.AddHeader, Name: "X-Spam", Value: "dmarc=pass"}}, traffic.Outcome{Action: traffic.Deliver}},
	} {
		if got := outcome(tc.action, tc.mods); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.why, got, tc.want)
		}
	}
	want := traffic.Outcome{DKIM: "pass", SPF: "pass", DMARC: "pass", Action: traffic.Deliver}
	for _, tc := range []struct {
		why   string
		got   traffic.Outcome
		check Check
		meets bool
	}{
		{"the same", want, CheckAll, true},
		{"no results where it was delivered", traffic.Outcome{Action: traffic.Deliver}, CheckAll, false},
		{"another action", traffic.Outcome{DKIM: "pass", SPF: "pass", DMARC: "pass", Action: traffic.Quarantine}, CheckAll, false},
		{"another action does not matter", traffic.Outcome{DKIM: "pass", SPF: "pass", DMARC: "pass", Action: traffic.Quarantine}, CheckResults, true},
		{"refused: results are not shown", traffic.Outcome{Action: traffic.Reject}, CheckResults, true},
		{"under faults a result may be missing", traffic.Outcome{DKIM: "temperror", SPF: "temperror", DMARC: "temperror", Action: traffic.Deliver}, CheckSafe, true},
		{"under faults a message may have to come again", traffic.Outcome{Action: traffic.Tempfail}, CheckSafe, true},
		{"mail that passes is refused", traffic.Outcome{Action: traffic.Reject}, CheckSafe, false},
		{"mail that passes is held", traffic.Outcome{DKIM: "pass", SPF: "pass", DMARC: "pass", Action: traffic.Quarantine}, CheckSafe, false},
		{"a wrong result", traffic.Outcome{DKIM: "fail", SPF: "pass", DMARC: "pass", Action: traffic.Deliver}, CheckResults, false},
		{"accepted by an MTA", traffic.Outcome{Action: traffic.Deliver}, CheckReplies, true},
		{"refused by an MTA", traffic.Outcome{Action: traffic.Reject}, CheckReplies, false},
		{"anything", traffic.Outcome{Action: traffic.Discard}, CheckNone, true},
	} {
		if got := meets(tc.got, want, tc.check); got != tc.meets {
			t.Errorf("%s: %v", tc.why, got)
		}
	}
}
