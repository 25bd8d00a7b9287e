package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/bench/traffic"
)

func TestIdle(t *testing.T) {
	t.Parallel()
	o := small()
	o.Messages = 8
	corpus := newCorpus(t, o)
	target := start(t, serve(t, corpus.Zone, traffic.DNSOptions{}))
	options := Options{Milters: []Target{target}, PIDs: []int{os.Getpid()}, Timeout: 20 * time.Second}
	r, err := Idle(t.Context(), corpus, 100, options)
	if err != nil {
		t.Fatal(err)
	}
	if r.Connections != 100 || r.Before == 0 || r.After == 0 || r.PerConnection != float64(r.After-r.Before)/100 {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil || !strings.Contains(out.String(), "per connection") {
		t.Errorf("%s %v", &out, err)
	}
	if data, err := json.Marshal(r); err != nil || !bytes.Contains(data, []byte(`"rss_per_connection":`)) {
		t.Errorf("%s %v", data, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Idle(ended, corpus, 100, options); err == nil {
		t.Error("an end is no result")
	}
}

func TestIdleFails(t *testing.T) {
	corpus := newCorpus(t, small())
	nobody, err := ParseTarget(t.Context(), "inet:127.0.0.1:1", false)
	if err != nil {
		t.Fatal(err)
	}
	one, self := []Target{nobody}, []int{os.Getpid()}
	for _, tc := range []struct {
		why  string
		n    int
		o    Options
		want string
	}{
		{"no milter there", 1, Options{Milters: one, PIDs: self}, "refused"},
		{"no process to look at", 1, Options{Milters: one}, "its processes"},
		{"a chain has no memory of its own", 1, Options{Milters: []Target{nobody, nobody}, PIDs: self}, "one milter"},
		{"none", 0, Options{Milters: one, PIDs: self}, "0 idle connections"},
		{"more than there are ports", maxIdle + 1, Options{Milters: one, PIDs: self}, "1 to 20000"},
	} {
		if _, err := Idle(t.Context(), corpus, tc.n, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.why, err)
		}
	}
}

// TestIdleConnections checks whom the milter hears of, and that the connections stay open until the end.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	o := small()
	o.Messages, o.PerSession, o.Domains, o.Zipf, o.Outcomes = 3, 1, 3, 0, mix("pass")
	corpus := newCorpus(t, o)
	var mu sync.Mutex
	counts := map[string]int{}
	ended := make(chan struct{})
	target := heardMilter(t, nil, func(cmd byte, data []byte) {
		name, _, _ := strings.Cut(string(data), "\x00")
		mu.Lock()
		defer mu.Unlock()
		if cmd == 'Q' {
			if counts["Q"]++; counts["Q"] == idleWarmup+5 {
				close(ended)
			}
			return
		}
		if counts["Q"] > 0 {
			t.Errorf("%c after the first QUIT", cmd)
		}
		if cmd != 'D' && cmd != 'O' {
			counts[string(cmd)+name]++
		}
	})
	if _, err := Idle(t.Context(), corpus, 5, Options{Milters: []Target{target}, PIDs: []int{os.Getpid()}}); err != nil {
		t.Fatal(err)
	}
	<-ended
	mu.Lock()
	defer mu.Unlock()
	for i, want := range []int{69, 68, 68} { // 205 in turn
		if name := corpus.Sessions[i].Name; counts["C"+name] != want || counts["H"+name] != want {
			t.Errorf("%s: %d, %d, want %d", name, counts["C"+name], counts["H"+name], want)
		}
	}
	if len(counts) != 7 {
		t.Errorf("%v", counts)
	}
}

// TestIdleEnds checks that an interrupt, or a refusal, after the first measurement is no result.
func TestIdleEnds(t *testing.T) {
	t.Parallel()
	o := small()
	o.Messages = 8
	corpus := newCorpus(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	target, names := counted(t, nil, func(n int) {
		if n == idleWarmup+1 {
			cancel()
		}
	})
	if r, err := Idle(ctx, corpus, 100, Options{Milters: []Target{target}, PIDs: []int{os.Getpid()}}); r != nil || !errors.Is(err, context.Canceled) || len(names()) != idleWarmup+1 {
		t.Errorf("%+v, %v after %d connections", r, err, len(names()))
	}
	target, names = counted(t, map[byte]string{'H': frame("r")}, func(int) {})
	want := "load: " + target.String() + ": the client was refused: reject"
	if r, err := Idle(t.Context(), corpus, 100, Options{Milters: []Target{target}, PIDs: []int{os.Getpid()}}); r != nil || err == nil || err.Error() != want || len(names()) != 1 {
		t.Errorf("%+v, %v, want %s", r, err, want)
	}
}

func TestIdlePrinted(t *testing.T) {
	var out bytes.Buffer
	want := "idle connections  7\nmemory before     1.0 MB\nmemory after      2.5 MB\nper connection    3.4 KB\n"
	if err := (&IdleSummary{7, 1e6, 2.5e6, 3400}).Print(&out); err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, &out)
	}
}

// TestCheckIdle has each bound and the first value beyond it.
func TestCheckIdle(t *testing.T) {
	one, two := []Target{{}}, []Target{{}, {}}
	for _, tt := range []struct {
		n    int
		o    Options
		want bool
	}{
		{1, Options{Milters: one, PIDs: []int{1}}, true}, {maxIdle, Options{Milters: one, PIDs: []int{1}}, true},
		{0, Options{Milters: one, PIDs: []int{1}}, false}, {maxIdle + 1, Options{Milters: one, PIDs: []int{1}}, false},
		{1, Options{Milters: two, PIDs: []int{1}}, false}, {1, Options{PIDs: []int{1}}, false}, {1, Options{Milters: one}, false},
	} {
		if err := CheckIdle(tt.n, tt.o); (err == nil) != tt.want {
			t.Errorf("%d, %+v: %v", tt.n, tt.o, err)
		}
	}
}
