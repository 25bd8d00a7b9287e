package load

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pace runs a phase with connections that each take one message after another. answer is called
// with the number of the message and takes as long as the server needs for it. For each message,
// pace returns the time from when it was due until it was answered, in the order of the due times.
func pace(s *schedule, connections int, answer func(n int)) []time.Duration {
	var mu sync.Mutex
	begin := s.begin
	took := map[int]time.Duration{}
	var work sync.WaitGroup
	for range connections {
		work.Go(func() {
			for {
				due, ok := s.next()
				if !ok {
					return
				}
				n := int((due.Sub(begin) + time.Millisecond) / (10 * time.Millisecond)) // all tests here send 100 a second
				answer(n)
				mu.Lock()
				took[n] = time.Since(due)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	out := make([]time.Duration, 0, len(took))
	for n := range len(took) {
		out = append(out, took[n])
	}
	return out
}

func TestScheduleKeepsItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(t.Context(), 1<<40, time.Second, 100)
		took := pace(s, 3, func(int) { time.Sleep(time.Millisecond) })
		if len(took) != 100 || s.unsent() != 0 || time.Since(s.begin) != 991*time.Millisecond {
			t.Errorf("%d messages, %d unsent, %v", len(took), s.unsent(), time.Since(s.begin))
		}
		for n, d := range took {
			if d != time.Millisecond {
				t.Errorf("message %d took %v", n, d)
			}
		}
	})
}

// TestPauseShowsInEveryMessage checks that a pause of the server adds to the times of all messages
// that were due during the pause, although there is only one connection.
func TestPauseShowsInEveryMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(t.Context(), 100, 0, 100)
		took := pace(s, 1, func(n int) {
			if n == 0 {
				time.Sleep(200 * time.Millisecond)
			}
		})
		if len(took) != 100 || s.unsent() != 0 {
			t.Fatalf("%d messages, %d unsent", len(took), s.unsent())
		}
		for n, d := range took {
			if want := max(200*time.Millisecond-time.Duration(n)*10*time.Millisecond, 0); d != want {
				t.Errorf("message %d took %v, want %v", n, d, want)
			}
		}
	})
}

func TestUnsentMessagesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(t.Context(), 1<<40, time.Second, 100)
		took := pace(s, 2, func(int) { time.Sleep(100 * time.Millisecond) }) // at most 20 a second
		if len(took) != 20 || s.unsent() != 80 {
			t.Errorf("%d messages, %d unsent", len(took), s.unsent())
		}
	})
}

func TestScheduleEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 55*time.Millisecond)
		defer cancel()
		s := newSchedule(ctx, 1000, time.Minute, 100)
		took := pace(s, 10, func(int) {})
		if len(took) != 6 || s.unsent() != 0 || time.Since(s.begin) != 55*time.Millisecond {
			t.Errorf("%d messages, %d unsent after %v", len(took), s.unsent(), time.Since(s.begin))
		}
	})
}

func TestScheduleWithoutRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule(t.Context(), 30, time.Second, 0)
		n := 0
		for ; n < 100; n++ {
			due, ok := s.next()
			if !ok {
				break
			}
			if time.Since(due) != 0 {
				t.Errorf("message %d was due %v ago", n, time.Since(due))
			}
			time.Sleep(time.Millisecond)
		}
		if n != 30 || s.unsent() != 0 || s.begun.Load() != 30 {
			t.Errorf("%d messages, %d unsent", n, s.unsent())
		}
		s = newSchedule(t.Context(), 30, 5*time.Millisecond, 0)
		for n = 0; n < 100; n++ {
			if _, ok := s.next(); !ok {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if n != 5 {
			t.Errorf("%d messages of 1 ms in 5 ms", n)
		}
	})
}

// TestRate sends messages at a rate to a milter that answers at once.
func TestRate(t *testing.T) {
	o := small()
	o.Messages, o.PerSession = 30, 3
	corpus := newCorpus(t, o)
	r, err := Run(t.Context(), corpus, Options{
		Milters: []Target{fakeMilter(t, nil)}, Connections: 4, Check: CheckNone, Rate: 1000, Duration: 20 * time.Second, Messages: 60,
		PIDs: []int{os.Getpid()},
	})
	if err != nil || !r.OK() || r.Messages != 60 || r.Schedule.Rate != 1000 || r.Seconds < 0.059 {
		t.Fatalf("%v %+v", err, r)
	}
	if r.Schedule.Late.Max <= 0 || r.Message.Max < r.EndOfMessage.P50 || r.Server.CPUPerMessage <= 0 || r.Server.CallsPerMessage != 0 {
		t.Errorf("%+v %+v %+v", r, r.Schedule, r.Server)
	}
	var out strings.Builder
	if err := r.Print(&out); err != nil || !strings.Contains(out.String(), "began late") || !strings.Contains(out.String(), "0 not sent") {
		t.Errorf("%v\n%s", err, &out)
	}
	r.Schedule.Unsent = 1
	if r.OK() {
		t.Error("a run that did not keep its schedule is good")
	}
}

func TestRateThatCannotBeKept(t *testing.T) {
	o := small()
	o.Messages = 8
	corpus := newCorpus(t, o)
	r, err := Run(t.Context(), corpus, Options{
		Milters: []Target{fakeMilter(t, nil)}, Connections: 1, Check: CheckNone, Rate: 10_000, Duration: 100 * time.Millisecond,
		RoundTrip: 5 * time.Millisecond,
	})
	// A message is timed from when it was due, so the one that began last took at least as long as it was late.
	if err != nil || r.OK() || r.Schedule.Unsent < 900 || r.Messages+r.Schedule.Unsent > 1001 || r.Message.Max < r.Schedule.Late.Max {
		t.Errorf("%v %+v %+v", err, r, r.Schedule)
	}
}

// TestSystemCalls counts the system calls of this process. Most containers forbid perf, so the test
// is skipped there even with CI=true; the next test needs no perf.
func TestSystemCalls(t *testing.T) {
	o := small()
	o.Messages = 40
	corpus := newCorpus(t, o)
	r, err := Run(t.Context(), corpus, Options{
		Milters: []Target{fakeMilter(t, nil)}, Connections: 1, Check: CheckNone, PIDs: []int{os.Getpid()}, SystemCalls: true,
	})
	if err != nil {
		t.Skipf("system calls cannot be counted here: %v", err)
	}
	if r.Server.CallsPerMessage < 2 || r.Server.SwitchesPerMessage < 0 {
		t.Errorf("%+v", r.Server)
	}
}

func TestCallsAreReadFromPerf(t *testing.T) {
	path := os.Getenv("PATH")
	for _, tc := range []struct {
		why, script     string
		calls, switches int64
		fails           bool
	}{
		{"both", "echo '12,,raw_syscalls:sys_enter,1,100.00,,'; echo '3,,context-switches,1,100.00,,'", 12, 3, false},
		{"a warning before", "echo 'a warning, of perf, here'; echo '12,,raw_syscalls:sys_enter,1,100.00,,'", 12, 0, false},
		{"counted before", "echo '12,,raw_syscalls:sys_enter,1,100.00,,'; echo '3,,context-switches,'; echo '<not counted>,,raw_syscalls:sys_enter,0'; echo '9,,other'; echo '8,'", 12, 3, false},
		{"not counted", "echo '<not counted>,,raw_syscalls:sys_enter,0,0.00,,'", 0, 0, true},
		{"nothing", "exit 1", 0, 0, true},
	} {
		dir := t.TempDir()
		// The real perf answers each command in the same way, and prints when it is interrupted.
		script := fmt.Sprintf("#!/bin/sh\nend() { { %s; } >&2; exit 0; }\ntrap end INT\nwhile read -r command <&3; do echo ack >&4; done\n", tc.script)
		if err := os.WriteFile(dir+"/perf", []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+":"+path)
		c, err := countCalls(t.Context(), []int{os.Getpid()})
		if err != nil {
			t.Fatal(err)
		}
		calls, switches, err := c.stop()
		if (err != nil) != tc.fails || calls != tc.calls || switches != tc.switches {
			t.Errorf("%s: %d %d %v", tc.why, calls, switches, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if m, err := startMeter(t.Context(), Options{SystemCalls: true, PIDs: []int{os.Getpid()}}); m != nil || err == nil || !strings.HasPrefix(err.Error(), "load: perf counts the system calls (apt-get install linux-perf): ") {
		t.Errorf("system calls are counted without perf: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/perf", []byte("#!/bin/sh\necho 'no permission' >&2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+path)
	if _, err := countCalls(t.Context(), []int{os.Getpid()}); err == nil || !strings.Contains(err.Error(), "no permission") {
		t.Errorf("perf that is not allowed to count: %v", err)
	}
}

// TestMeterFails checks that perf is ended if the processes cannot be measured, and that its own error is told too.
func TestMeterFails(t *testing.T) {
	child := exec.Command("true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	gone := child.Process.Pid
	path := os.Getenv("PATH")
	for printed, told := range map[string]bool{"12,,raw_syscalls:sys_enter,1": false, "no permission": true} {
		dir := t.TempDir()
		script := "#!/bin/sh\nend() { echo '" + printed + "' >&2; exit 0; }\ntrap end INT\nwhile read -r command <&3; do echo ack >&4; done\n"
		if err := os.WriteFile(dir+"/perf", []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+":"+path)
		m, err := startMeter(t.Context(), Options{SystemCalls: true, PIDs: []int{gone}})
		check := func(err error) {
			t.Helper()
			want := fmt.Sprintf("load: CPU time of process %d: invalid argument", gone)
			if told {
				want += "\nload: perf counted no system calls (it needs root): no permission"
			}
			if err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", printed, err, want)
			}
		}
		if check(err); m != nil {
			t.Errorf("%s: a meter", printed)
		}
		if m, err = startMeter(t.Context(), Options{SystemCalls: true, PIDs: []int{os.Getpid()}}); err != nil {
			t.Fatal(err)
		}
		m.o.PIDs = []int{gone}
		_, err = m.stop()
		check(err)
	}
}
