package dispatch

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/report/destination"
)

func TestEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:Rua@shop.example"))
		e := NewEcho(w.store, nil)
		for day, want := range []report.Word{report.Sent, report.Sent, report.WithheldSuppressed} {
			window := yesterday()
			w.add(window, "shop.example")
			w.run(time.Hour, w.dispatcher("a"))
			if j := w.job(report.Filter{Window: window.Begin}); j.Outcome != want {
				t.Fatalf("day %d: %+v", day, j)
			}
			if want != report.Sent {
				break
			}
			mails := w.mta.taken()
			local, _, _ := strings.Cut(mails[len(mails)-1].from, "@")
			token, _ := report.BounceTokenOf("dmarc-bounce", local)
			id, err := e.Known(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the MTA brings it twice
				if err := e.Failed(t.Context(), id, "5.2.2", "552 5.2.2 mailbox full"); err != nil {
					t.Fatal(err)
				}
			}
			s, err := w.store.Suppression(t.Context(), "rua@shop.example")
			if err != nil || s.Strikes != day+1 || s.By != report.ByBounce || s.Suppressed(time.Now()) != (day == 1) {
				t.Errorf("day %d: %+v, %v", day, s, err)
			}
			if v, err := w.store.Delivery(t.Context(), id); err != nil || !v.Bounced || v.Word != report.Refused || v.Reply != "552 5.2.2 mailbox full" {
				t.Errorf("day %d: %+v, %v", day, v, err)
			}
			time.Sleep(23 * time.Hour)
		}
	})
}

// TestEchoUnknown checks tokens that are not ours, and that they cost nothing.
func TestEchoUnknown(t *testing.T) {
	w := newWorld(t, "")
	e := NewEcho(w.store, nil)
	for _, token := range []string{"", "1-aaaaaaaaaa", report.BounceToken([]byte("another secret"), 1), report.BounceToken([]byte("secret"), 999)} {
		if id, err := e.Known(t.Context(), token); !errors.Is(err, report.ErrUnknown) {
			t.Errorf("%q: %d, %v", token, id, err)
		}
	}
	if err := e.Failed(t.Context(), 999, "5.1.1", "x"); !errors.Is(err, report.ErrUnknown) {
		t.Error(err)
	}
	if all, _ := w.store.Suppressions(t.Context()); len(all) != 0 {
		t.Errorf("suppressed: %+v", all)
	}
}

// TestFastBounce has a bounce that is in the store before the result of the submission.
func TestFastBounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		w.add(yesterday(), "shop.example")
		e := NewEcho(w.store, nil)
		w.mta.after = func(string) {
			if err := e.Failed(t.Context(), 1, "5.1.1", "550 5.1.1 no such user"); err != nil {
				t.Error(err)
			}
		}
		w.run(time.Hour, w.dispatcher("a"))
		v := w.deliveries(w.job(report.Filter{}))["rua@shop.example"]
		s, err := w.store.Suppression(t.Context(), "rua@shop.example")
		if !v.Bounced || v.Word != report.Refused || v.Tries != 1 || v.Reply != "550 5.1.1 no such user" || err != nil || !s.Suppressed(time.Now()) || !s.Sent.IsZero() {
			t.Errorf("delivery %+v, suppression %+v, %v", v, s, err)
		}
	})
}

// TestEchoOfFailureReports checks the deliveries that are not in the store: those of failure reports.
func TestEchoOfFailureReports(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	secret := []byte("secret")
	for _, tt := range []struct {
		name     string
		failures func(int64) (string, bool)
		known    bool
	}{
		{"there are none", nil, false}, {"gone", func(int64) (string, bool) { return "a@b.example", false }, false},
		{"known", func(id int64) (string, bool) { return "A@b.example", id == FirstFailure }, true},
	} {
		m := &memory{suppression: map[string]report.Suppression{}}
		e := NewEcho(m, func() time.Time { return now })
		e.Failures = tt.failures
		id, err := e.Known(t.Context(), report.BounceToken(secret, FirstFailure))
		if tt.known && (id != FirstFailure || err != nil) || !tt.known && !errors.Is(err, report.ErrUnknown) {
			t.Errorf("%s: %d, %v", tt.name, id, err)
		}
		if _, err := e.Known(t.Context(), report.BounceToken(secret, FirstFailure-1)); !errors.Is(err, report.ErrUnknown) {
			t.Errorf("%s: the last delivery of a store: %v", tt.name, err)
		}
		err = e.Failed(t.Context(), FirstFailure, "5.2.2", "552 full")
		if tt.known != (err == nil) || !tt.known && (!errors.Is(err, report.ErrUnknown) || err.Error() != "dispatch: delivery 4611686018427387904: report: not found") {
			t.Errorf("%s: %v", tt.name, err)
		}
		var want report.Suppression
		if tt.known {
			want = report.Suppression{Target: "a@b.example", Since: now, Strikes: 1, Reason: "552 full", By: report.ByBounce, Window: now.Truncate(24 * time.Hour).Unix()}
		}
		if got := m.suppression["a@b.example"]; got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

// TestEchoFails checks that each failure of the store is told, so that the MTA brings the notification again, and
// that the second time counts once.
func TestEchoFails(t *testing.T) {
	for _, tt := range []struct {
		method string
		want   string
		struck bool
	}{
		{"Secret", "dispatch: disk full", false}, {"Delivery", "dispatch: delivery 1: disk full", false}, {"Suppression", "dispatch: disk full", false},
		{"Suppress", "dispatch: disk full", false}, {"SetDelivery", "dispatch: disk full", true},
	} {
		w := newWorld(t, "")
		r := w.lone(w.dispatcher("a"), destination.Decision{}, report.Delivery{Address: "a@b.example", Word: report.Sent})
		m := w.store.(*memory)
		store := &failing{Store: m, method: tt.method, err: errBroken}
		e := NewEcho(store, nil)
		if id, err := e.Known(t.Context(), report.BounceToken([]byte("secret"), 1)); id != map[bool]int64{true: 1}[err == nil] || (tt.method == "Secret" || tt.method == "Delivery") != (err != nil) || err != nil && err.Error() != tt.want {
			t.Errorf("%s: known: %d, %v", tt.method, id, err)
		}
		e.Failures = func(int64) (string, bool) { return "c@d.example", true }
		if err := e.Failed(t.Context(), FirstFailure, "5.2.2", "552 full"); strings.HasPrefix(tt.method, "Supp") != (err != nil) || err != nil && err.Error() != tt.want {
			t.Errorf("%s: a failure report: %v", tt.method, err)
		}
		if tt.method != "Secret" {
			if err := e.Failed(t.Context(), 1, "5.2.2", "552 full"); err == nil || err.Error() != tt.want || m.suppression["a@b.example"].Strikes != map[bool]int{true: 1}[tt.struck] {
				t.Errorf("%s: %v, %+v", tt.method, err, m.suppression)
			}
		}
		if w.deliveries(r.job)["a@b.example"].Bounced {
			t.Errorf("%s: it counts as bounced", tt.method)
		}
		store.method = ""
		for range 2 {
			if id, err := e.Known(t.Context(), report.BounceToken([]byte("secret"), 1)); id != 1 || err != nil {
				t.Errorf("%s, then: %d, %v", tt.method, id, err)
			}
			if err := e.Failed(t.Context(), 1, "5.2.2", "552 full"); err != nil || m.suppression["a@b.example"].Strikes != 1 {
				t.Errorf("%s, then: %v, %+v", tt.method, err, m.suppression)
			}
		}
		store.method, store.calls = "Secret", 0
		if _, err := e.Known(t.Context(), "1-aaaaaaaaaa"); !errors.Is(err, report.ErrUnknown) || store.calls != 0 {
			t.Errorf("%s: the secret is read %d times, %v", tt.method, store.calls, err)
		}
	}
}
