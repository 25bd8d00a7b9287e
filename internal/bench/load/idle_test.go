package load

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bench/traffic"
)

func TestIdle(t *testing.T) {
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
