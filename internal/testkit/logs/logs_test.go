package logs

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// recorder is a test that may fail without failing this one.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestRecords(t *testing.T) {
	for _, tt := range []struct {
		name, log, msg string
		want           int
		fails          string
	}{
		{"nothing yet", "", "", 0, ""},
		{"one of two", "{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n", "a", 1, ""},
		{"all", "{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n", "", 2, ""},
		{"text", "{\"msg\":\"a\"}\npanic: x\n", "a", 0, "no JSON object"},
		{"two records in a line", "{\"msg\":\"a\"} {\"msg\":\"b\"}\n", "a", 0, "no JSON object"},
		{"no object", "\"a\"\n", "a", 0, "no JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Buffer
			fmt.Fprint(&b, tt.log)
			r := &recorder{TB: t}
			var got []map[string]any
			done := make(chan struct{})
			go func() {
				defer close(done)
				got = b.Records(r, tt.msg)
			}()
			<-done
			if len(got) != tt.want || !strings.Contains(r.said, tt.fails) || (tt.fails == "") != (r.said == "") {
				t.Errorf("%v, %q", got, r.said)
			}
		})
	}
}

// TestReadWhileWritten is for the race detector, and counts.
func TestReadWhileWritten(t *testing.T) {
	var b Buffer
	log := slog.New(slog.NewJSONHandler(&b, nil))
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 50 {
				log.Info("a")
				b.Records(t, "a")
			}
		})
	}
	writers.Wait()
	if n := len(b.Records(t, "a")); n != 200 {
		t.Errorf("%d records, want 200", n)
	}
}
