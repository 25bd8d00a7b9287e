package app

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/report"
	"sekimori/internal/status"
	"sekimori/internal/telemetry"
	"sekimori/internal/testkit/web"
)

// TestReportsStanding checks that the status of a daemon with a store says how the reports stand.
func TestReportsStanding(t *testing.T) {
	cfg, _ := storeConfig(t)
	a, _, stop := running(t, cfg)
	defer stop()
	for end := time.Now().Add(10 * time.Second); a.reportsStanding() == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the store was not read")
		}
	}
	var s status.Status
	if err := json.Unmarshal([]byte(web.Get(t, "http://"+a.AdminAddr()+StatusPath)), &s); err != nil {
		t.Fatal(err)
	}
	if s.Reports == nil || s.Reports.Error != "" || s.Reports.Sending || s.Reports.Read.IsZero() {
		t.Errorf("%+v", s.Reports)
	}
	if page := web.Get(t, "http://"+a.AdminAddr()+"/reports"); !strings.Contains(page, "Nothing was counted yet") {
		t.Error(page)
	}
	before := a.standing.Load()
	a.kept.store = brokenStore{a.kept.store}
	if r := a.readReports(t.Context()); r.Error != "no disk" || !r.Read.Equal(before.Read) {
		t.Errorf("of a store that fails: %+v, want the error and the time of the last answer, %v", r, before.Read)
	}
}

// TestReadReports: the last answer of the store stays, with the error, if the store answers only half of the question.
func TestReadReports(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	a := newApp(Options{Now: func() time.Time { return now }})
	reg := prometheus.NewRegistry()
	a.reports = telemetry.NewReports(reg)
	f := &standingStore{}
	a.kept.store = f
	one := []report.Suppression{{Target: "a@b.example", Until: now.Add(time.Hour)}}
	for i, tt := range []struct {
		f      standingStore
		error  string
		read   time.Time
		known  int // suppressions
		oldest float64
	}{
		{standingStore{summaryFails: errors.New("no summary")}, "no summary", now, 0, 0},
		{standingStore{listFails: errors.New("no list")}, "no list", now.Add(time.Minute), 0, 0},
		{standingStore{oldest: now, list: one}, "", now.Add(2 * time.Minute), 1, 120},
		{standingStore{listFails: errors.New("no list")}, "no list", now.Add(2 * time.Minute), 1, 120},
		{standingStore{summaryFails: errors.New("no summary"), list: one}, "no summary", now.Add(2 * time.Minute), 1, 120},
		{standingStore{}, "", now.Add(5 * time.Minute), 0, 0},
	} {
		*f = tt.f
		r := a.readReports(t.Context())
		if got := gauge(t, reg, "sekimori_report_oldest_pending_seconds"); r.Error != tt.error || !r.Read.Equal(tt.read) || len(r.Suppressions) != tt.known || got != tt.oldest {
			t.Errorf("%d: %+v, oldest %v", i, r, got)
		}
		if tt.error == "" {
			a.standing.Store(r)
		}
		now = now.Add(time.Minute)
	}
}

// standingStore answers how the reports stand, or fails.
type standingStore struct {
	report.Store
	summaryFails, listFails error
	oldest                  time.Time
	list                    []report.Suppression
}

func (f *standingStore) Summary(context.Context, time.Time) (report.Summary, error) {
	return report.Summary{Oldest: f.oldest}, f.summaryFails
}

func (f *standingStore) Suppressions(context.Context) ([]report.Suppression, error) {
	return f.list, f.listFails
}

// brokenStore has no summary.
type brokenStore struct{ report.Store }

func (brokenStore) Summary(context.Context, time.Time) (report.Summary, error) {
	return report.Summary{}, errors.New("no disk")
}
