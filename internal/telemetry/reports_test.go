package telemetry

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/collect"
	"sekimori/internal/report"
)

// storeStub is a store whose Add and Claim return an error.
type storeStub struct {
	report.Store
	err error
}

func (f *storeStub) Add(context.Context, time.Time, report.Batch) error { return f.err }

func (f *storeStub) Claim(context.Context, time.Time, string, time.Duration) (report.Job, error) {
	return report.Job{}, f.err
}

// TestStoreUp: an answer of the store is no failure, and a call that was cancelled says nothing.
func TestStoreUp(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := NewReports(reg)
	f := &storeStub{}
	s := r.Store(f)
	for _, tt := range []struct {
		err  error
		want float64
	}{
		{nil, 1}, {errors.New("disk full"), 0}, {context.Canceled, 0}, {report.ErrNone, 1}, {context.Canceled, 1}, {context.DeadlineExceeded, 0},
		{report.ErrLost, 1},
	} {
		f.err = tt.err
		if err := s.Add(t.Context(), time.Now(), report.Batch{}); !errors.Is(err, tt.err) {
			t.Errorf("Add returns %v, want %v", err, tt.err)
		}
		if got := value(t, reg, "sekimori_report_store_up", nil); got != tt.want {
			t.Errorf("%v: up is %v, want %v", tt.err, got, tt.want)
		}
	}
	f.err = report.ErrNone
	if _, err := s.Claim(t.Context(), time.Now(), "", 0); !errors.Is(err, report.ErrNone) {
		t.Error(err)
	}
}

// answers is a store whose measured calls all return err.
type answers struct {
	storeStub
}

func (f *answers) Renew(context.Context, report.Job, time.Time) error       { return f.err }
func (f *answers) Finish(context.Context, report.Job, report.Outcome) error { return f.err }
func (f *answers) SetDelivery(context.Context, report.Delivery) (int64, error) {
	return 7, f.err
}
func (f *answers) Expire(context.Context, time.Time, time.Duration) error { return f.err }

// TestStoreCalls: each call hands on what the store says, is measured under its own name, and says whether the store works.
func TestStoreCalls(t *testing.T) {
	full := errors.New("disk full")
	for op, call := range map[string]func(report.Store) error{
		"add":   func(s report.Store) error { return s.Add(t.Context(), time.Now(), report.Batch{}) },
		"renew": func(s report.Store) error { return s.Renew(t.Context(), report.Job{}, time.Now()) },
		"claim": func(s report.Store) error {
			_, err := s.Claim(t.Context(), time.Now(), "", 0)
			return err
		},
		"finish": func(s report.Store) error { return s.Finish(t.Context(), report.Job{}, report.Outcome{}) },
		"set_delivery": func(s report.Store) error {
			id, err := s.SetDelivery(t.Context(), report.Delivery{})
			if id != 7 {
				t.Errorf("the id is %d", id)
			}
			return err
		},
		"expire": func(s report.Store) error { return s.Expire(t.Context(), time.Now(), 0) },
	} {
		reg := prometheus.NewRegistry()
		f := &answers{}
		s := NewReports(reg).Store(f)
		for _, err := range []error{full, nil, report.ErrUnknown} {
			f.err = err
			if got := call(s); !errors.Is(got, err) {
				t.Errorf("%s returns %v, want %v", op, got, err)
			}
			up := value(t, reg, "sekimori_report_store_up", nil)
			if (up == 0) != errors.Is(err, full) {
				t.Errorf("%s, %v: up is %v", op, err, up)
			}
		}
		for _, other := range storeOps {
			want := 0.0
			if other == op {
				want = 3
			}
			if got := value(t, reg, "sekimori_report_store_duration_seconds", map[string]string{"op": other}); got != want {
				t.Errorf("%s is measured %v times as %s", op, got, other)
			}
		}
	}
}

func TestReports(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := NewReports(reg)
	var counts collect.Counts
	RegisterCollect(reg, &counts, nil)
	counts.Queued.Add(5)
	counts.Incomplete.Add(6)
	counts.LostQueue.Add(1)
	counts.LostCap.Add(2)
	counts.Late.Add(4)
	r.Sent(report.Refused)
	r.Withheld(report.WithheldNever)
	r.Bounced("failed")
	r.Built(time.Second)
	r.Suppressed(3)
	now := time.Now()
	r.Failure(report.Sent)
	r.FailureDropped()
	r.FailureDropped()
	r.Oldest(now.Add(-27*time.Hour), now)
	for _, tt := range []struct {
		name   string
		labels map[string]string
		want   float64
	}{
		{"report_observations_total", map[string]string{"result": "queued"}, 5},
		{"report_observations_incomplete_total", nil, 6},
		{"report_rows_total", map[string]string{"result": "dropped"}, 3},
		{"report_rows_lost_total", map[string]string{"reason": "queue"}, 1},
		{"report_rows_lost_total", map[string]string{"reason": "cap"}, 2},
		{"report_rows_lost_total", map[string]string{"reason": "late"}, 4},
		{"report_rows_lost_total", map[string]string{"reason": "spool"}, 0},
		{"reports_sent_total", map[string]string{"result": "refused"}, 1},
		{"reports_sent_total", map[string]string{"result": "sent"}, 0},
		{"failure_reports_total", map[string]string{"result": "sent"}, 1},
		{"failure_reports_total", map[string]string{"result": "refused"}, 0},
		{"failure_reports_total", map[string]string{"result": "dropped"}, 2},
		{"reports_withheld_total", map[string]string{"reason": "never"}, 1},
		{"reports_withheld_total", map[string]string{"reason": "unverified"}, 0},
		{"report_bounces_total", map[string]string{"kind": "failed"}, 1},
		{"report_bounces_total", map[string]string{"kind": "unknown_token"}, 0},
		{"report_suppressed_destinations", nil, 3},
		{"report_oldest_pending_seconds", nil, 27 * 3600},
		{"report_spool_bytes", nil, 0},
	} {
		if got := value(t, reg, namespace+"_"+tt.name, tt.labels); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
	r.Oldest(time.Time{}, now)
	if got := value(t, reg, "sekimori_report_oldest_pending_seconds", nil); got != 0 {
		t.Errorf("nothing waits, but the oldest waits for %v s", got)
	}
	r.Oldest(now.Add(time.Hour), now) // is not due yet
	if got := value(t, reg, "sekimori_report_oldest_pending_seconds", nil); got != 0 {
		t.Errorf("nothing is due, but the oldest waits for %v s", got)
	}
	for _, want := range []float64{1, 0, 1} { // the first is what it begins with
		if got := value(t, reg, "sekimori_report_identity_aligned", nil); got != want {
			t.Errorf("aligned is %v, want %v", got, want)
		}
		r.Aligned(want == 0)
	}
}
