package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"sekimori/internal/policy"
)

// family returns the metric with this name and no labels.
func family(t *testing.T, reg *prometheus.Registry, name string) *dto.MetricFamily {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

// examples returns the queue ids of the exemplars of the wait histogram, in the order of the
// buckets. It reads them from the text that a scrape in the OpenMetrics format gets.
func examples(t *testing.T, reg *prometheus.Registry) []string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	r.Header.Set("Accept", "application/openmetrics-text")
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
	var ids []string
	for line := range strings.Lines(w.Body.String()) {
		if _, mark, found := strings.Cut(line, `# {queue_id="`); found && strings.HasPrefix(line, "sekimori_message_wait_seconds_bucket{") {
			id, _, _ := strings.Cut(mark, `"}`)
			ids = append(ids, id)
		}
	}
	return ids
}

// TestWaitUnderBothNames checks that the old name of the histogram shows what the new one shows.
func TestWaitUnderBothNames(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	for _, took := range []time.Duration{time.Millisecond, 3 * time.Second, time.Minute} {
		m.Decided(decided(message("x", 0), rejected), took)
	}
	now, old := family(t, reg, "sekimori_message_wait_seconds"), family(t, reg, "sekimori_message_duration_seconds")
	h := now.GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 3 || len(h.GetBucket()) < len(durationBuckets) || len(h.GetPositiveSpan()) == 0 {
		t.Errorf("the histogram is %v", h)
	}
	if old.GetType() != dto.MetricType_HISTOGRAM || old.GetMetric()[0].String() != now.GetMetric()[0].String() {
		t.Errorf("under the old name %v, want %v", old, now)
	}
	if !strings.Contains(old.GetHelp(), now.GetName()) {
		t.Errorf("the help of the old name does not say the new one: %s", old.GetHelp())
	}
}

// TestExemplars checks that a scrape shows the queue id of a message in each bucket. A bucket's
// exemplar changes only from one second to the next.
func TestExemplars(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	start := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		after time.Duration
		took  time.Duration
		id    string
		want  string
	}{
		{0, time.Millisecond, "4FAST", "4FAST"},
		{0, 3 * time.Second, "4SLOW", "4FAST 4SLOW"},
		{0, time.Minute, "4LONGEST", "4FAST 4SLOW 4LONGEST"},
		{999 * time.Millisecond, time.Millisecond, "4SAMESECOND", "4FAST 4SLOW 4LONGEST"},
		{999 * time.Millisecond, 20 * time.Millisecond, "4OTHERBUCKET", "4FAST 4OTHERBUCKET 4SLOW 4LONGEST"},
		{time.Second, time.Millisecond, "4NEXTSECOND", "4NEXTSECOND 4OTHERBUCKET 4SLOW 4LONGEST"},
		{2 * time.Second, time.Millisecond, "", "4NEXTSECOND 4OTHERBUCKET 4SLOW 4LONGEST"},
		{2 * time.Second, time.Millisecond, "4AFTER", "4AFTER 4OTHERBUCKET 4SLOW 4LONGEST"},
	} {
		e := message("x", 0)
		e.Envelope.QueueID, e.Time = tt.id, start.Add(tt.after)
		m.Decided(decided(e, rejected), tt.took)
		if got := strings.Join(examples(t, reg), " "); got != tt.want {
			t.Errorf("after %s: exemplars %q, want %q", tt.id, got, tt.want)
		}
	}
	if got := value(t, reg, "sekimori_message_wait_seconds", nil); got != 8 {
		t.Errorf("%v messages counted, want 8", got)
	}
}

// TestExemplarOfMasked checks that log.privacy leaves the queue id in the exemplar, as it does in the log.
func TestExemplarOfMasked(t *testing.T) {
	reg := prometheus.NewRegistry()
	Masker{To: New(reg)}.Decided(decided(message("x", 0), rejected), time.Millisecond)
	if got := examples(t, reg); len(got) != 1 || got[0] != "4Q" {
		t.Errorf("exemplars %q", got)
	}
}

// FuzzExemplar checks that no queue id, whatever the MTA says, makes the client library panic, and
// that the message is counted in any case.
func FuzzExemplar(f *testing.F) {
	for _, id := range []string{
		"4ZpH8P2Yk7z1Q", "w3Q0abcd012345", "", " ", "a b", "\x00", "\x7f", "\xff", "é", `"} 1`, "}\n# EOF",
		strings.Repeat("x", maxMarkBytes), strings.Repeat("x", maxMarkBytes+1), strings.Repeat("x", 200),
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		reg := prometheus.NewRegistry()
		m := New(reg)
		e := message("x", 0)
		e.Envelope.QueueID = id
		m.Decided(decided(e, policy.Verdict{Action: policy.Accept}), time.Millisecond)
		if got := value(t, reg, "sekimori_message_wait_seconds", nil); got != 1 {
			t.Errorf("%v messages counted", got)
		}
		if got, want := len(examples(t, reg)) == 1, marks(id); got != want {
			t.Errorf("exemplar %v, want %v", got, want)
		}
	})
}

// BenchmarkWait measures an observation without an exemplar and with one.
func BenchmarkWait(b *testing.B) {
	for name, step := range map[string]time.Duration{"plain": 0, "exemplar": time.Second} {
		b.Run(name, func(b *testing.B) {
			w, at := newWaits(builder{prometheus.NewRegistry()}), time.Unix(0, 0)
			b.ReportAllocs()
			for b.Loop() {
				w.observe(time.Millisecond, "4ZpH8P2Yk7z1Q", at)
				at = at.Add(step)
			}
		})
	}
}
