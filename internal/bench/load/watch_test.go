package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
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
	for why, answer := range map[string]func(http.ResponseWriter){
		"no such page": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"not metrics":  func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") },
	} {
		metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		if _, err := Watch(t.Context(), metrics.URL, time.Hour, 0); err == nil {
			t.Errorf("%s: no error", why)
		}
		metrics.Close()
	}
}
