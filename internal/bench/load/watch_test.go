package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

func TestWatch(t *testing.T) {
	var asked atomic.Int64
	enough := make(chan struct{})
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		fmt.Fprintf(w, "# TYPE go_goroutines gauge\ngo_goroutines %d\n# TYPE process_open_fds gauge\nprocess_open_fds 7\n"+
			"# TYPE sekimori_sessions_inflight gauge\nsekimori_sessions_inflight 3\n", n)
		if n == 3 {
			close(enough)
		}
	}))
	defer metrics.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-enough; cancel() }()
	samples, err := Watch(ctx, metrics.URL, time.Millisecond, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) < 4 { // three samples under load and one after it
		t.Fatalf("%d samples", len(samples))
	}
	for i, s := range samples {
		if s.Goroutines != float64(i+1) || s.Descriptors != 7 || s.Sessions != 3 {
			t.Errorf("sample %d: %+v", i, s)
		}
	}
}

func TestWatchFails(t *testing.T) {
	for want, answer := range map[string]func(http.ResponseWriter){
		"load: metrics: URL: 404 Not Found": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"load: metrics: URL: text format":   func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") },
	} {
		metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		samples, err := Watch(t.Context(), metrics.URL, time.Hour, 0)
		if want := strings.Replace(want, "URL", metrics.URL, 1); samples != nil || err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, %v, want %s", samples, err, want)
		}
		metrics.Close()
		if _, err := Watch(t.Context(), metrics.URL, time.Hour, 0); err == nil || !strings.HasPrefix(err.Error(), "load: metrics: Get ") {
			t.Error(err)
		}
	}
	if _, err := Watch(t.Context(), "http://[::1", time.Hour, 0); err == nil || !strings.HasPrefix(err.Error(), "load: metrics: parse ") {
		t.Error(err)
	}
	// The read after the end of the load fails.
	ctx, cancel := context.WithCancel(t.Context())
	first := true
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !first {
			w.WriteHeader(http.StatusNotFound)
		}
		first = false
		cancel()
	}))
	defer metrics.Close()
	if samples, err := Watch(ctx, metrics.URL, time.Hour, 20*time.Millisecond); len(samples) != 2 || err == nil || samples[1].Seconds < 0.02 || samples[0].Seconds <= 0 {
		t.Errorf("%+v, %v", samples, err)
	}
}

// TestSample checks each value of a sample, in each type that a server may give it.
func TestSample(t *testing.T) {
	for _, typ := range []string{"gauge", "counter", "untyped"} {
		metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i, name := range []string{"go_goroutines", "process_open_fds", "process_resident_memory_bytes", "go_memstats_heap_alloc_bytes", "sekimori_sessions_inflight"} {
				fmt.Fprintf(w, "# TYPE %s %s\n%s %d\n", name, typ, name, i+1)
			}
		}))
		if s, err := readSample(metrics.URL); err != nil || s != (Sample{0, 1, 2, 3, 4, 5}) {
			t.Errorf("%s: %+v, %v", typ, s, err)
		}
		metrics.Close()
	}
	if v := value(&dto.MetricFamily{}); v != 0 {
		t.Errorf("a family without values: %v", v)
	}
}
