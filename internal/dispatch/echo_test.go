package dispatch

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/report"
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
