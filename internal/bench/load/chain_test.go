package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/bench/traffic"
	"sekimori/internal/milter/client"
)

// frame is a milter's answer.
func frame(text string) string { return fmt.Sprintf("\x00\x00\x00%c%s", len(text), text) }

// playChain runs one session with one message through milters with these scripts, over pipes. It returns the frames that
// each of them heard, without the macros. A milter waits a second before it answers the end of the message.
func playChain(scripts []map[byte]string, body []byte, roundTrip time.Duration) (heard []string, got traffic.Outcome, wait time.Duration, err error) {
	heard = make([]string, len(scripts))
	c := &chain{}
	var work sync.WaitGroup
	for i, script := range scripts {
		near, far := net.Pipe()
		work.Go(func() {
			play(far, script, func(cmd byte, data []byte) {
				switch cmd {
				case 'D':
					return
				case 'B':
					data = fmt.Append(nil, len(data))
				case 'E':
					time.Sleep(time.Second)
				}
				heard[i] += fmt.Sprintf("%c%s|", cmd, strings.ReplaceAll(strings.TrimSuffix(string(data), "\x00"), "\x00", ","))
			})
		})
		m := client.New(near)
		m.Buffer()
		c.targets = append(c.targets, Target{text: fmt.Sprintf("m%d", i)})
		c.links = append(c.links, link{Client: m, roundTrip: roundTrip})
	}
	m := &traffic.Message{
		Envelope: client.Envelope{From: "<a@a.example>", To: []string{"<b@b.example>", "<c@b.example>"}, QueueID: "4L1"},
		Header:   []client.Field{{Name: "From", Value: " a@a.example"}}, Body: body,
	}
	if err = c.begin(traffic.Session{Client: netip.MustParseAddr("192.0.2.7"), Name: "mail.a.example"}); err == nil {
		got, wait, err = c.send(m)
	}
	err = errors.Join(err, c.quit())
	c.close()
	work.Wait()
	return heard, got, wait, err
}

// TestChainFrames checks what two milters hear, depending on what they answer, and when an error comes of it.
func TestChainFrames(t *testing.T) {
	const (
		begin   = "Cmail.a.example,4b\xa4192.0.2.7|Hmail.a.example|"
		to      = "M<a@a.example>|R<b@b.example>|R<c@b.example>|T|"
		content = to + "LFrom,a@a.example|N|B4|E|"
		edited  = to + "LX-A,1|LFrom,a@a.example|N|B4|E|"
	)
	edit := frame("i\x00\x00\x00\x00X-A\x00 1\x00") + frame("c")
	for _, tt := range []struct {
		why           string
		first, second map[byte]string
		want, second2 string
		action        traffic.Action
		wait          time.Duration
		err           string
	}{
		{"both go on", nil, nil, begin + content + "A|Q|", begin + content + "A|Q|", traffic.Deliver, 2 * time.Second, ""},
		{"the second sees the edits of the first", map[byte]string{'E': edit}, nil, begin + content + "A|Q|", begin + edited + "A|Q|", traffic.Deliver, 2 * time.Second, ""},
		{"the first refuses", map[byte]string{'E': frame("r")}, nil, begin + content + "A|Q|", begin + "Q|", traffic.Reject, time.Second, ""},
		{"the second refuses", nil, map[byte]string{'R': frame("t")}, begin + content + "A|Q|", begin + "M<a@a.example>|R<b@b.example>|A|Q|", traffic.Tempfail, time.Second, ""},
		{"the first accepts the message", map[byte]string{'N': frame("a")}, nil, begin + to + "LFrom,a@a.example|N|A|Q|", begin + content + "A|Q|", traffic.Deliver, time.Second, ""},
		{"the first accepts the client", map[byte]string{'C': frame("a")}, nil, "Cmail.a.example,4b\xa4192.0.2.7|Q|", begin + content + "A|Q|", traffic.Deliver, time.Second, ""},
		{"the first accepts the name", map[byte]string{'H': frame("a")}, nil, begin + "Q|", begin + content + "A|Q|", traffic.Deliver, time.Second, ""},
		{"the second refuses the client", nil, map[byte]string{'H': frame("r")}, begin + "Q|", begin + "Q|", "", 0, "load: m1: the client was refused: reject"},
		{"the first says nonsense of the client", map[byte]string{'C': frame("?")}, nil, "Cmail.a.example,4b\xa4192.0.2.7|Q|", "Q|", "", 0, "load: m0: client: malformed"},
		{"the second says nonsense", nil, map[byte]string{'M': frame("?")}, begin + content + "A|Q|", begin + "M<a@a.example>|Q|", "", time.Second, "load: m1: client: malformed"},
		{"nonsense of a recipient", map[byte]string{'R': frame("?")}, nil, begin + "M<a@a.example>|R<b@b.example>|Q|", begin + "Q|", "", 0, "load: m0: client: malformed"},
		{"nonsense of DATA", map[byte]string{'T': frame("?")}, nil, begin + to + "Q|", begin + "Q|", "", 0, "load: m0: client: malformed"},
		{"nonsense of a field", map[byte]string{'L': frame("?")}, nil, begin + to + "LFrom,a@a.example|Q|", begin + "Q|", "", 0, "load: m0: client: malformed"},
		{"nonsense of the header", map[byte]string{'N': frame("?")}, nil, begin + to + "LFrom,a@a.example|N|Q|", begin + "Q|", "", 0, "load: m0: client: malformed"},
		{"nonsense of the body", map[byte]string{'B': frame("?")}, nil, begin + to + "LFrom,a@a.example|N|B4|Q|", begin + "Q|", "", 0, "load: m0: client: malformed"},
		{"nonsense at the end", map[byte]string{'E': frame("?")}, nil, begin + content + "Q|", begin + "Q|", "", time.Second, "load: m0: client: malformed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			heard, got, wait, err := playChain([]map[byte]string{tt.first, tt.second}, []byte("body"), 0)
			if !slices.Equal(heard, []string{tt.want, tt.second2}) {
				t.Errorf("%s: heard %q\nwant %q %q", tt.why, heard, tt.want, tt.second2)
			}
			if got != (traffic.Outcome{Action: tt.action}) || wait != tt.wait || (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("%s: %s after %v, %v", tt.why, got, wait, err)
			}
		})
	}
}

// TestChainPauses checks after which commands the client waits, and the parts of a body.
func TestChainPauses(t *testing.T) {
	for _, tt := range []struct {
		size  int
		parts string
	}{{0, ""}, {1, "B1|"}, {bodyChunk, "B65535|"}, {bodyChunk + 1, "B65535|B1|"}, {2 * bodyChunk, "B65535|B65535|"}} {
		for _, roundTrip := range []time.Duration{0, time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				heard, _, wait, err := playChain([]map[byte]string{nil}, make([]byte, tt.size), roundTrip)
				// The client waits after CONNECT, HELO, MAIL, twice RCPT, and DATA.
				if took := time.Since(begin); err != nil || wait != time.Second || took != 6*roundTrip+time.Second {
					t.Errorf("%d octets, %v: took %v, %v, %v", tt.size, roundTrip, took, wait, err)
				}
				if _, parts, _ := strings.Cut(heard[0], "N|"); parts != tt.parts+"E|A|Q|" {
					t.Errorf("%d octets: %s", tt.size, parts)
				}
			})
		}
	}
	heard, got, _, err := playChain([]map[byte]string{{'B': frame("s")}}, make([]byte, 2*bodyChunk), 0)
	if _, parts, _ := strings.Cut(heard[0], "N|"); err != nil || parts != "B65535|E|A|Q|" || got.Action != traffic.Deliver {
		t.Errorf("a milter that wants no more of the body: %s, %s, %v", parts, got, err)
	}
}

// TestChainMacros checks the macros of a session and of a message.
func TestChainMacros(t *testing.T) {
	var heard []string
	var mu sync.Mutex
	o := small()
	o.Messages, o.PerSession = 2, 2
	corpus := newCorpus(t, o)
	target := heardMilter(t, nil, func(cmd byte, data []byte) {
		if cmd == 'D' {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, strings.ReplaceAll(strings.TrimSuffix(string(data), "\x00"), "\x00", ","))
		}
	})
	if _, err := Run(t.Context(), corpus, Options{Milters: []Target{target}, Connections: 1, Check: CheckNone}); err != nil {
		t.Fatal(err)
	}
	s := corpus.Sessions[0]
	all := strings.Join(heard, "\n")
	for want, times := range map[string]int{
		"Cj,mx.example,{daemon_name},smtpd,{daemon_addr},127.0.0.1,v,Postfix 3.7.11,_," + s.Name + " [" + s.Client.String() + "]": 1,
		"Ei," + s.Messages[0].Envelope.QueueID: 1, "Ei," + s.Messages[1].Envelope.QueueID: 1,
	} {
		if n := strings.Count(all, want); n != times {
			t.Errorf("%d times %s in\n%s", n, want, all)
		}
	}
}

// TestDialFails checks that the error names the milter, and that no connection is left open.
func TestDialFails(t *testing.T) {
	bad := map[byte]string{'O': frame("?")}
	good := fakeMilter(t, nil) // it waits at the end of the test until its connections are closed
	broken, gone := fakeMilter(t, bad), Target{network: "unix", address: t.TempDir() + "/none", text: "unix:none"}
	for why, tt := range map[string]struct {
		targets []Target
		want    string
	}{
		"the second answers nonsense": {[]Target{good, broken}, "load: " + broken.String() + ": client: malformed"},
		"the second is gone":          {[]Target{good, gone}, "load: dial unix " + gone.address + ": connect: no such file or directory"},
	} {
		if c, err := dial(tt.targets, time.Minute, 0); c != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v", why, err)
		}
		if c, err := dialIdle(tt.targets[1], time.Minute); c != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s, idle: %v", why, err)
		}
		if err := Probe(tt.targets[1], time.Minute); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s, probe: %v", why, err)
		}
	}
	for timeout, want := range map[time.Duration]time.Duration{0: client.DefaultTimeout, time.Hour: time.Hour} {
		c, err := dial([]Target{good}, timeout, time.Second)
		if err != nil || c.links[0].Timeout != want || c.links[0].roundTrip != time.Second {
			t.Errorf("timeout %v: %+v, %v", timeout, c, err)
		}
		idle, err := dialIdle(good, timeout)
		if err != nil || idle.links[0].Timeout != want {
			t.Errorf("timeout %v: %+v, %v", timeout, idle, err)
		}
		c.close()
		idle.close()
	}
	if err := Probe(good, time.Minute); err != nil {
		t.Error(err)
	}
}

// counted returns a milter that counts its sessions, by the name of the client.
func counted(t *testing.T, script map[byte]string, heard func(n int)) (Target, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var names []string
	target := heardMilter(t, script, func(cmd byte, data []byte) {
		if cmd == 'C' {
			name, _, _ := strings.Cut(string(data), "\x00")
			mu.Lock()
			defer mu.Unlock()
			names = append(names, name)
			heard(len(names))
		}
	})
	return target, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(names)
	}
}

// TestRunSends checks how many sessions of the corpus are sent, and which.
func TestRunSends(t *testing.T) {
	o := small()
	o.Messages, o.PerSession, o.Domains, o.Zipf, o.Outcomes, o.Sizes = 4, 1, 4, 0, mix("pass"), mix("2KB")
	corpus := newCorpus(t, o)
	for _, tt := range []struct {
		why              string
		warmup, messages int
		want             string
		measured         int64
	}{
		{"the corpus once", 0, 0, "0123", 4},
		{"fewer", 0, 2, "01", 2},
		{"more", 0, 6, "012301", 6},
		{"after a warm-up", 3, 2, "01230", 2},
	} {
		target, names := counted(t, nil, func(int) {})
		r, err := Run(t.Context(), corpus, Options{Milters: []Target{target}, Connections: 1, Check: CheckNone, Warmup: tt.warmup, Messages: tt.messages})
		if err != nil || r.Messages != tt.measured {
			t.Fatalf("%s: %+v, %v", tt.why, r, err)
		}
		var got strings.Builder
		for _, n := range names() {
			fmt.Fprint(&got, slices.IndexFunc(corpus.Sessions, func(s traffic.Session) bool { return s.Name == n }))
		}
		if got.String() != tt.want {
			t.Errorf("%s: sessions %s, want %s", tt.why, got.String(), tt.want)
		}
	}
	// With a duration, the corpus is repeated until the time is over or the run is interrupted.
	ctx, cancel := context.WithCancel(t.Context())
	target, _ := counted(t, nil, func(n int) {
		if n == 10 {
			cancel()
		}
	})
	if r, err := Run(ctx, corpus, Options{Milters: []Target{target}, Connections: 1, Check: CheckNone, Duration: time.Hour}); err != nil || r.Messages != 10 {
		t.Errorf("until the end: %+v, %v", r, err)
	}
	if r, err := Run(ctx, corpus, Options{Milters: []Target{target}, Connections: 1, Check: CheckNone, Warmup: 1}); err != nil || r == nil || r.Messages != 0 {
		t.Errorf("after the end: %+v, %v", r, err)
	}
	target, _ = counted(t, nil, func(int) {})
	if r, err := Run(t.Context(), corpus, Options{Milters: []Target{target}, Connections: 1, Check: CheckNone, Warmup: 1 << 40, Duration: time.Millisecond, Messages: 1}); err != nil || r == nil {
		t.Errorf("a warm-up without end: %+v, %v", r, err)
	}
}

// TestPhaseCounts checks what two connections count together.
func TestPhaseCounts(t *testing.T) {
	o := small()
	o.Messages, o.PerSession = 12, 3
	corpus := newCorpus(t, o)
	target, names := counted(t, nil, func(int) {})
	r := &runner{corpus: corpus, o: Options{Milters: []Target{target}, Connections: 2, Check: CheckNone}}
	sum := r.phase(t.Context(), 12, 0, 1000)
	if n := len(names()); sum.messages != 12 || sum.errors != 0 || sum.err != nil || sum.unsent != 0 || sum.eom.total != 12 || sum.message.total != 12 ||
		sum.late.total != 12 || sum.session.total != uint64(n) || n < 4 {
		t.Errorf("%d sessions, %d messages, %d errors, %d, %d, %d, %d", n, sum.messages, sum.errors, sum.eom.total, sum.message.total, sum.late.total, sum.session.total)
	}
	target, names = counted(t, map[byte]string{'C': frame("r")}, func(int) {})
	r.o.Milters = []Target{target}
	sum = r.phase(t.Context(), 1000, 0, 0)
	if n := len(names()); n != 2*maxFailures || sum.errors != int64(n) || sum.messages != 0 || sum.session.total != 0 || sum.late.total != uint64(n) ||
		sum.err == nil || !strings.Contains(sum.err.Error(), "the client was refused") {
		t.Errorf("%d sessions, %d errors, %d messages, %v", n, sum.errors, sum.messages, sum.err)
	}
}

// TestRunMeasures checks from when a message and a session are timed, and what is told of questions and processes.
func TestRunMeasures(t *testing.T) {
	o := small()
	o.Messages, o.PerSession = 1, 1
	corpus := newCorpus(t, o)
	asked := int64(0)
	options := Options{
		Milters: []Target{fakeMilter(t, nil)}, Connections: 1, Check: CheckNone, RoundTrip: 10 * time.Millisecond,
		Queries: func() int64 { asked += 7; return asked },
	}
	r, err := Run(t.Context(), corpus, options)
	if err != nil || r.Message.Max < 30 || r.Session.Max-r.Message.Max < 20 || r.EndOfMessage.Max > r.Message.Max || r.DNSQueries != 7 || r.Server != nil || r.Schedule != nil {
		t.Errorf("%+v, %v", r, err)
	}
	options.Queries = nil
	if r, err := Run(t.Context(), corpus, options); err != nil || r.DNSQueries != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}
	options.PIDs = []int{child.Process.Pid}
	options.Queries = func() int64 { asked++; return asked }
	asked = 0
	options.Queries = func() int64 {
		if asked++; asked == 2 { // the run asks at its begin and at its end
			end()
		}
		return asked
	}
	if r, err := Run(t.Context(), corpus, options); r != nil || err == nil || !strings.HasSuffix(err.Error(), "(did a server end?)") {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := Run(t.Context(), corpus, options); r != nil || err == nil || strings.Contains(err.Error(), "(did") || !errors.Is(err, os.ErrProcessDone) && !strings.Contains(err.Error(), "process") {
		t.Errorf("%+v, %v", r, err)
	}
}
