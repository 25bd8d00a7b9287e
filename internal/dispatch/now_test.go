package dispatch

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/submit"
)

// fileName returns the name of the attachment.
func (m mail) fileName() string {
	return regexp.MustCompile(`filename="?[^"\r\n]+`).FindString(m.text)
}

// TestSendNow sends a report before its time and again after it was done, on the store in memory and on
// a real one: the same id and file name, to all its destinations.
func TestSendNow(t *testing.T) {
	for _, name := range []string{"memory", "sqlite"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sekimori.db")
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, domainZone("shop.example", "mailto:a@shop.example,mailto:b@in.shop.example")+"in.shop.example MX 10 mx.shop.example\n")
				if name == "sqlite" {
					s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					w.store = s
				}
				w.add(dayWindow(time.Now()), "shop.example")
				id := w.job(report.Filter{}).ID
				d := w.dispatcher("operator")
				if _, err := d.Send(t.Context(), id); !errors.Is(err, report.ErrNone) || len(w.mta.tried()) > 0 {
					t.Fatalf("an open window: %v", err)
				}
				time.Sleep(25 * time.Hour)
				refuse := true
				w.mta.answer = func(_ context.Context, to string) (submit.Result, error) {
					if left := time.Until(w.job(report.Filter{}).LeaseUntil); left > leaseTime || left < leaseTime-time.Minute {
						t.Errorf("the lease lasts %v", left)
					}
					if refuse && to == "b@in.shop.example" {
						return submit.Result{Kind: submit.Refused, Code: 554, Reply: "554 5.7.1 no"}, nil
					}
					return submit.Result{}, nil
				}
				var all []mail
				for range 2 {
					o, err := d.Send(t.Context(), id)
					if err != nil || o.Word != report.Sent {
						t.Fatalf("%+v, %v", o, err)
					}
					if j := w.job(report.Filter{}); j.State != report.StateDone || j.Outcome != report.Sent || j.Reason != o.Reason || j.Tries != 1 {
						t.Errorf("%+v", j)
					}
					all, refuse = w.mta.taken(), false
				}
				if len(all) != 3 || all[0].to != "a@shop.example" || all[1].to != "a@shop.example" || all[2].to != "b@in.shop.example" {
					t.Fatalf("mails %+v", all)
				}
				for _, m := range all {
					if m.id() != w.job(report.Filter{}).ReportID || m.fileName() == "" || m.fileName() != all[0].fileName() {
						t.Errorf("id %q, file %q; the first was %q, %q", m.id(), m.fileName(), all[0].id(), all[0].fileName())
					}
				}
				if all[1].from != all[0].from {
					t.Errorf("return paths %s and %s", all[0].from, all[1].from)
				}
				w.run(time.Hour, w.dispatcher("daemon"))
				if n := len(w.mta.taken()); n != 3 {
					t.Errorf("the daemon sent it too: %d mails", n)
				}
			})
		})
	}
}

// TestSendNowPutOff sends a report that the MTA put off, before the time of its next attempt. What an
// earlier attempt sent already is not sent twice. After it was done the rules apply again.
func TestSendNowPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:a@shop.example,mailto:b@in.shop.example")+"in.shop.example MX 10 mx.shop.example\n")
		w.add(yesterday(), "shop.example")
		busy := true
		w.mta.answer = func(_ context.Context, to string) (submit.Result, error) {
			if busy && to == "b@in.shop.example" {
				return submit.Result{Kind: submit.Temporary, Code: 450, Reply: "450 later"}, nil
			}
			return submit.Result{}, nil
		}
		w.run(16*time.Minute, w.dispatcher("daemon"))
		id := w.job(report.Filter{}).ID
		if j := w.job(report.Filter{}); j.State != report.StateDue || len(w.mta.tried()) != 2 {
			t.Fatalf("%+v", j)
		}
		d := w.dispatcher("operator")
		if o, err := d.Send(t.Context(), id); err != nil || o.Word != "" || o.Again.IsZero() || len(w.mta.tried()) != 3 {
			t.Fatalf("%+v, %v", o, err)
		}
		busy = false
		if o, err := d.Send(t.Context(), id); err != nil || o.Word != report.Sent || len(w.mta.taken()) != 2 {
			t.Fatalf("%+v, %v, %+v", o, err, w.mta.taken())
		}
		s := report.Suppression{Target: "@shop.example", Since: time.Now(), Until: time.Now().Add(time.Hour), By: report.ByOperator}
		if err := w.store.Suppress(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		s.Target = "@in.shop.example"
		if err := w.store.Suppress(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if o, err := d.Send(t.Context(), id); err != nil || o.Word != report.WithheldSuppressed || len(w.mta.taken()) != 2 {
			t.Fatalf("%+v, %v, %+v", o, err, w.mta.taken())
		}
	})
}

// TestSendNowBusy checks what an operator hears while the daemon has the report.
func TestSendNowBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		w.add(yesterday(), "shop.example")
		time.Sleep(time.Hour)
		id := w.job(report.Filter{}).ID
		if _, err := w.store.ClaimJob(t.Context(), time.Now(), id, "daemon", time.Hour); err != nil {
			t.Fatal(err)
		}
		d := w.dispatcher("operator")
		if _, err := d.Send(t.Context(), id); !errors.Is(err, report.ErrLost) {
			t.Errorf("a job of the daemon: %v", err)
		}
		if _, err := d.Send(t.Context(), id+1); !errors.Is(err, report.ErrUnknown) {
			t.Errorf("no such job: %v", err)
		}
		for range troubleAfter {
			d.trouble.report(true, d.now())
		}
		if _, err := d.Send(t.Context(), id); !errors.Is(err, ErrTrouble) {
			t.Errorf("an MTA that is down: %v", err)
		}
	})
}

// TestBegin checks which deliveries the wish of an operator makes ready.
func TestBegin(t *testing.T) {
	old, now := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, word := range []report.Word{report.Waiting, report.Sent, report.Refused, report.Failed, report.WithheldSpam} {
		for _, tt := range []struct{ asked, resend bool }{{false, false}, {true, false}, {true, true}} {
			before := report.Delivery{Address: "a@b.example", Word: word, Detail: "d", Tries: 3, NextTry: old, Reply: "r", At: old, Bounced: true}
			for _, fails := range []bool{false, true} {
				w := newWorld(t, "")
				o := w.options("a")
				o.Now = func() time.Time { return now }
				store := &failing{Store: w.store, after: 1, err: errBroken}
				o.Store = store
				d, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				r := w.lone(d, destination.Decision{}, before)
				r.asked, r.resend = tt.asked, tt.resend
				before.ID, before.Job = 1, r.job.ID
				if store.calls = 1; fails {
					store.method = "SetDelivery"
				}
				want, stored, failed := before, before, false
				if tt.asked {
					want.NextTry = time.Time{}
				}
				if tt.resend && final(word) {
					if failed = fails; !fails {
						want = report.Delivery{ID: 1, Job: r.job.ID, Address: "a@b.example", Word: report.Waiting, Detail: "d", At: now}
						stored = want
					}
				}
				if err := r.begin(); errors.Is(err, errBroken) != failed {
					t.Errorf("%s %+v: %v", word, tt, err)
				}
				if got := r.have["a@b.example"]; got != want {
					t.Errorf("%s %+v: %+v, want %+v", word, tt, got, want)
				}
				got := w.deliveries(r.job)["a@b.example"]
				if got.Window = stored.Window; got != stored { // the store fills it in
					t.Errorf("%s %+v: stored %+v, want %+v", word, tt, got, stored)
				}
			}
		}
	}
}

// TestSendNowProbe checks that a report that cannot be claimed does not use up the one that may be tried while the MTA
// is in trouble.
func TestSendNowProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "")
		d := w.dispatcher("operator")
		for range troubleAfter {
			d.trouble.report(true, d.now())
		}
		time.Sleep(troubleFirst)
		for range 2 {
			if o, err := d.Send(t.Context(), 7); !errors.Is(err, report.ErrUnknown) || err.Error() != "dispatch: report: not found" || o != (report.Outcome{}) {
				t.Errorf("%+v, %v", o, err)
			}
		}
	})
}
