package logs

import (
	"fmt"
	"log/slog"
	"sekimori/internal/testkit/recorder"
	"strings"
	"sync"
	"testing"
)

func TestRecords(t *testing.T) {
	for _, tt := range []struct {
		name, log, msg string
		want           int
		fails          string
	}{
		{"nothing yet", "", "", 0, ""},
		{"one of two", "{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n", "a", 1, ""},
		{"all", "{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n", "", 2, ""},
		{"text", "{\"msg\":\"a\"}\npanic: x\n", "a", 0, "not a JSON object"},
		{"two records in a line", "{\"msg\":\"a\"} {\"msg\":\"b\"}\n", "a", 0, "not a JSON object"},
		{"not an object", "\"a\"\n", "a", 0, "not a JSON object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Buffer
			fmt.Fprint(&b, tt.log)
			var got []map[string]any
			said := recorder.Run(t, func(tb testing.TB) { got = b.Records(tb, tt.msg) })
			if len(got) != tt.want || !strings.Contains(said, tt.fails) || (tt.fails == "") != (said == "") {
				t.Errorf("%v, %q", got, said)
			}
		})
	}
}

// TestReadWhileWritten reads a log while it is being written. The race detector can then find
// unprotected access. The test also checks that no record is missing.
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
