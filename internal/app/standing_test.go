package app

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/status"
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

// brokenStore has no summary.
type brokenStore struct{ report.Store }

func (brokenStore) Summary(context.Context, time.Time) (report.Summary, error) {
	return report.Summary{}, errors.New("no disk")
}
