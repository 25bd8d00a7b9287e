package dispatch

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/submit"
)

func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example,mailto:x@esp.example,mailto:y@other.example")+`
shop.example._report._dmarc.esp.example TXT "v=DMARC1"
esp.example MX 10 mx.esp.example
`)
		w.add(yesterday(), "shop.example")
		d := w.dispatcher("a")
		w.run(time.Hour, d)

		mails := w.mta.taken()
		j := w.job(report.Filter{})
		if len(mails) != 2 || mails[0].to != "rua@shop.example" || mails[1].to != "x@esp.example" {
			t.Fatalf("mails: %+v", mails)
		}
		if j.State != report.StateDone || j.Outcome != report.Sent || j.Reason != "sent to 2 of 3 destinations" || !strings.HasSuffix(j.ReportID, "@dmarc.isp.example") {
			t.Errorf("job %+v", j)
		}
		secret, err := w.store.Secret(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		deliveries := w.deliveries(j)
		for _, m := range mails {
			v := deliveries[m.to]
			if v.Word != report.Sent || v.Tries != 1 || v.Reply != "250 2.0.0 Ok: queued as 4711" {
				t.Errorf("delivery %+v", v)
			}
			local, domain, _ := strings.Cut(m.from, "@")
			token, ok := report.BounceTokenOf("dmarc-bounce", local)
			if id, good := report.ParseBounceToken(secret, token); !ok || !good || id != v.ID || domain != "dmarc.isp.example" {
				t.Errorf("return path %s for delivery %d", m.from, v.ID)
			}
			if m.id() != j.ReportID || !strings.Contains(m.xml(t), "<report_id>"+j.ReportID+"</report_id>") {
				t.Errorf("Message-ID %q, Report-ID %q, %s", m.id(), j.ReportID, m.xml(t))
			}
			for _, want := range []string{"<org_name>Example ISP</org_name>", "<error>1 external destinations in rua have not agreed</error>", "<count>5</count>"} {
				if !strings.Contains(m.xml(t), want) {
					t.Errorf("%s: no %s", m.xml(t), want)
				}
			}
			if closed := time.Unix(j.Window.End+1, 0).Add(report.Grace); m.at.Before(closed) || m.at.After(closed.Add(pollTime+maxPatience)) {
				t.Errorf("sent at %v, the window closed at %v", m.at, closed)
			}
		}
		if v := deliveries["y@other.example"]; v.Word != report.WithheldUnverified || v.Detail == "" {
			t.Errorf("delivery %+v", v)
		}
		if want := map[string]int{"sent sent": 2, "withheld unverified": 1, "built": 1}; !reflect.DeepEqual(w.count, want) {
			t.Errorf("counted %v, want %v", w.count, want)
		}
		if left, _ := os.ReadDir(d.o.Dir); len(left) != 0 {
			t.Errorf("files left: %v", left)
		}
	})
}

func TestWithheld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@esp.example"))
		w.add(yesterday(), "shop.example", "gone.example")
		w.run(time.Hour, w.dispatcher("a"))
		for domain, want := range map[string]report.Word{"shop.example": report.WithheldUnverified, "gone.example": report.WithheldNotRequested} {
			all, _ := w.store.Jobs(t.Context(), report.Filter{})
			for _, j := range all {
				if string(j.Policy.Domain) == domain && (j.State != report.StateDone || j.Outcome != want || j.Reason == "" || j.ReportID != "") {
					t.Errorf("%s: %+v", domain, j)
				}
			}
		}
		if len(w.mta.tried()) != 0 {
			t.Error("mail was tried")
		}
		if want := map[string]int{"withheld unverified": 1, "withheld not_requested": 1}; !reflect.DeepEqual(w.count, want) {
			t.Errorf("counted %v", w.count)
		}
	})
}

// TestClock sets the clock back and forward by a day. No window may be reported twice, and none may be
// left out.
func TestClock(t *testing.T) {
	for _, shift := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		t.Run(shift.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
				var offset atomic.Int64
				o := w.options("a")
				o.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
				d, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				windows := []report.Window{}
				for day := range 6 {
					window := dayWindow(time.Now().Add(time.Duration(day) * 24 * time.Hour))
					windows = append(windows, window)
					w.add(window, "shop.example")
				}
				w.runNowAndThen(60*time.Hour, d)
				offset.Store(int64(shift))
				w.runNowAndThen(8*24*time.Hour, d)
				seen := map[string]int{}
				for _, m := range w.mta.taken() {
					seen[m.id()]++
				}
				for _, window := range windows {
					j, err := w.store.Jobs(t.Context(), report.Filter{Window: window.Begin})
					if err != nil || len(j) > 1 || len(j) == 1 && (j[0].Outcome != report.Sent || seen[j[0].ReportID] != 1) {
						t.Errorf("%+v, %v", j, err)
					}
				}
				if len(seen) != len(windows) || len(w.mta.taken()) != len(windows) {
					t.Errorf("%d mails with %d ids for %d windows", len(w.mta.taken()), len(seen), len(windows))
				}
			})
		})
	}
}

// TestHostileRecord checks a record with a hundred destinations.
func TestHostileRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rua := `mailto:a%0d%0aBcc:v@bank.example," "mailto:c@shop.example?bcc=v@bank.example`
		for i := range 98 {
			rua += fmt.Sprintf(`," "mailto:u%d@shop.example`, i)
		}
		w := newWorld(t, domainZone("shop.example", rua))
		w.add(yesterday(), "shop.example")
		w.run(time.Hour, w.dispatcher("a"))
		j := w.job(report.Filter{})
		if n := len(w.mta.taken()); n != 5 || len(w.deliveries(j)) != 5 {
			t.Errorf("%d mails, %d deliveries", n, len(w.deliveries(j)))
		}
		for _, m := range w.mta.taken() {
			if !strings.HasSuffix(m.to, "@shop.example") || strings.Contains(m.text, "bank.example") {
				t.Errorf("%s: %s", m.to, m.text)
			}
		}
		if w.count["withheld unusable"] != 1 {
			t.Errorf("counted %v", w.count)
		}
	})
}

// TestRecordChanges checks a destination that waits for its next try when the record drops it.
func TestRecordChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:a@shop.example"))
		w.add(yesterday(), "shop.example")
		w.mta.answer = func(context.Context, string) (submit.Result, error) {
			return submit.Result{Kind: submit.Temporary, Code: 450, Reply: "450 later"}, nil
		}
		w.run(report.Grace+time.Minute, w.dispatcher("a"))
		w.zone = newWorld(t, domainZone("shop.example", "mailto:b@shop.example")).zone
		w.mta.answer = nil
		w.run(time.Hour, w.dispatcher("b"))
		j := w.job(report.Filter{})
		all := w.deliveries(j)
		if all["a@shop.example"].Word != report.WithheldNotRequested || all["b@shop.example"].Word != report.Sent || j.Outcome != report.Sent {
			t.Errorf("%+v, %+v", all, j)
		}
	})
}

// TestPreview checks what the commands show, and that it changes nothing in the store.
func TestPreview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		w.add(dayWindow(time.Now()), "shop.example")
		d := w.dispatcher("a")
		before := w.job(report.Filter{})
		decision, err := d.Explain(t.Context(), before)
		if err != nil || len(decision.Destinations) != 1 || decision.Word != "" || len(decision.Rules) != len(report.Withheld) {
			t.Errorf("%+v, %v", decision, err)
		}
		var x, m strings.Builder
		if err := d.WriteXML(t.Context(), &x, before); err != nil || !strings.Contains(x.String(), "<domain>shop.example</domain>") {
			t.Errorf("%v: %s", err, x.String())
		}
		if err := d.WriteMail(t.Context(), &m, before, "me@isp.example"); err != nil || !strings.Contains(m.String(), "To: <me@isp.example>\r\n") {
			t.Errorf("%v: %s", err, m.String())
		}
		if r, err := d.Copy(t.Context(), before, "me@isp.example"); err != nil || r.Kind != submit.Sent {
			t.Errorf("%+v, %v", r, err)
		}
		if all := w.mta.taken(); len(all) != 1 || all[0].to != "me@isp.example" || all[0].from != "dmarc-bounce@dmarc.isp.example" {
			t.Errorf("%+v", all)
		}
		if after := w.job(report.Filter{}); !reflect.DeepEqual(before, after) || len(w.deliveries(after)) != 0 {
			t.Errorf("before %+v, after %+v", before, after)
		}
		if n := w.drain(d); n != 0 {
			t.Errorf("%d due", n)
		}
		time.Sleep(25 * time.Hour)
		if n := w.drain(d); n != 1 || w.job(report.Filter{}).Outcome != report.Sent {
			t.Errorf("%d due, job %+v", n, w.job(report.Filter{}))
		}
	})
}

// TestSign checks that a signature stands before the mail, and that it was made of the same mail.
func TestSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		w.add(yesterday(), "shop.example")
		var signed strings.Builder
		o := w.options("a")
		o.Sign = func(mail func(io.Writer) error) (string, error) {
			signed.Reset()
			return "DKIM-Signature: v=1\r\n", mail(&signed)
		}
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.run(time.Hour, d)
		if all := w.mta.taken(); len(all) != 1 || all[0].text != "DKIM-Signature: v=1\r\n"+signed.String() {
			t.Errorf("%+v, signed %q", all, signed.String())
		}
	})
}

// TestSigner signs a real mail, and one that cannot be read.
func TestSigner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		signer := Signer("dmarc.isp.example", "s1", key)
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		w.add(yesterday(), "shop.example")
		o := w.options("a")
		o.Sign = signer
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.run(time.Hour, d)
		all := w.mta.taken()
		if len(all) != 1 || !strings.HasPrefix(all[0].text, "DKIM-Signature: ") || !strings.Contains(all[0].text, "d=dmarc.isp.example;") {
			t.Errorf("%+v", all)
		}
		if _, err := signer(func(io.Writer) error { return errBroken }); !errors.Is(err, errBroken) {
			t.Errorf("got %v", err)
		}
	})
}

// TestOnSQLite plays four days on a real store: a report to two destinations, of which one refuses it
// twice; bounces; the end of the suppression; and what is kept.
func TestOnSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sekimori.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w := newWorldOn(t, domainZone("shop.example", "mailto:Rua@shop.example,mailto:b@in.shop.example")+"in.shop.example MX 10 mx.shop.example\n", s)
		w.mta.answer = func(_ context.Context, to string) (submit.Result, error) {
			if to == "Rua@shop.example" && len(w.mta.tried()) < 4 {
				return submit.Result{Kind: submit.Refused, Code: 552, Enhanced: "5.2.2", Reply: "552 5.2.2 mailbox full"}, nil
			}
			return submit.Result{}, nil
		}
		e := NewEcho(s, nil)
		for day := range 4 {
			window := yesterday()
			w.add(window, "shop.example")
			w.run(17*time.Minute, w.dispatcher("a"), w.dispatcher("b"))
			j := w.job(report.Filter{Window: window.Begin})
			all := w.deliveries(j)
			word := report.Refused
			if day >= 2 {
				word = report.WithheldSuppressed
			}
			if j.Outcome != report.Sent || all["Rua@shop.example"].Word != word || all["b@in.shop.example"].Word != report.Sent {
				t.Errorf("day %d: %+v, %+v", day, j, all)
			}
			if day == 0 {
				id := all["b@in.shop.example"].ID
				if err := e.Failed(t.Context(), id, "5.2.2", "552 5.2.2 full"); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(24*time.Hour - 17*time.Minute)
		}
		x, err := s.Suppression(t.Context(), "rua@shop.example")
		if err != nil || x.Strikes != 2 || !x.Suppressed(time.Now()) {
			t.Errorf("%+v, %v", x, err)
		}
		if x, err = s.Suppression(t.Context(), "b@in.shop.example"); err != nil || x.Strikes != 1 || x.Sent.IsZero() {
			t.Errorf("%+v, %v", x, err)
		}
		if n := len(w.mta.taken()); n != 4 {
			t.Errorf("%d mails", n)
		}
		time.Sleep(5 * 24 * time.Hour)
		w.run(time.Minute, w.dispatcher("a"))
		if _, err = s.Suppression(t.Context(), "b@in.shop.example"); !errors.Is(err, report.ErrUnknown) {
			t.Errorf("the strike is not forgotten: %v", err)
		}
		for _, v := range w.deliveries(w.job(report.Filter{Window: yesterday().Begin - 6*86400})) {
			if _, err := s.Delivery(t.Context(), v.ID); err != nil {
				t.Errorf("a bounce on day 5 does not find its delivery: %v", err)
			}
		}
		time.Sleep(2 * 24 * time.Hour)
		w.run(time.Minute, w.dispatcher("a"))
		if left, err := s.Jobs(t.Context(), report.Filter{}); err != nil || len(left) != 0 {
			t.Errorf("%d jobs left after a week, %v", len(left), err)
		}
	})
}

// TestNew checks what New refuses, and what it puts for an option that was not given.
func TestNew(t *testing.T) {
	for _, change := range []func(*Options){
		func(o *Options) { o.Store = nil }, func(o *Options) { o.Resolver = nil }, func(o *Options) { o.Submit = nil }, func(o *Options) { o.Owner = "" },
		func(o *Options) { o.Identity.Domain = "" }, func(o *Options) { o.Identity.Contact = "" }, func(o *Options) { o.Identity.Bounce = "" },
		func(o *Options) { o.Identity.Organization = "" }, func(o *Options) { o.Identity.From = "" },
	} {
		o := newWorld(t, "").options("a")
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("accepted: %+v", o)
		}
	}
	for _, tt := range []struct {
		rate, perHost float64
		keep, drain   time.Duration
		want          string
	}{
		{0, 0, 0, 0, "100ms 1s 72h0m0s 20s"}, {-1, -1, -1, -1, "100ms 1s 72h0m0s 20s"}, {0.5, 0.25, 1, 2, "2s 4s 1ns 2ns"},
	} {
		o := newWorld(t, "").options("a")
		o.Rate, o.RatePerHost, o.Keep, o.Drain, o.Events, o.Settings.Own = tt.rate, tt.perHost, tt.keep, tt.drain, Events{}, []string{"us@isp.example"}
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(d.total.gap, d.hosts.gap, d.o.Keep, d.o.Drain); got != strings.ReplaceAll(tt.want, "  ", " ") {
			t.Errorf("%+v: %s", tt, got)
		}
		if want := []string{"us@isp.example", "noreply@dmarc.isp.example", "dmarc-bounce@dmarc.isp.example"}; !slices.Equal(d.o.Settings.Own, want) || len(o.Settings.Own) != 1 {
			t.Errorf("own addresses %q", d.o.Settings.Own)
		}
		if time.Since(d.now()) > time.Minute || d.now().Location() != time.UTC {
			t.Errorf("now is %v", d.now())
		}
		d.o.Events.Sent("")
		d.o.Events.Withheld("")
		d.o.Events.Built(0)
		d.o.Events.Suppressed(0)
		d.o.Events.Claimed(nil)
		d.o.Log.Info("nowhere")
	}
}

// TestNothingToReport checks a report whose rows are all gone, and one that is stopped before it is decided.
func TestNothingToReport(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rows    bool
		stopped bool
		want    report.Outcome
	}{
		{"no rows", false, false, report.Outcome{Word: report.Failed, Reason: "none of its messages was kept, so there is nothing to report"}},
		{"stopped", true, true, report.Outcome{Again: time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC), Reason: "interrupted because the daemon stopped"}},
		{"no rows, and stopped", false, true, report.Outcome{Again: time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC), Reason: "interrupted because the daemon stopped"}},
	} {
		synctest.Test(t, func(t *testing.T) { // it begins at midnight
			w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
			w.add(yesterday(), "shop.example")
			time.Sleep(time.Hour)
			if !tt.rows {
				w.store.(*memory).rows[1] = nil
			}
			d := w.dispatcher("a")
			job, err := w.store.Claim(t.Context(), time.Now(), "a", leaseTime)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if tt.stopped {
				cancel()
			}
			got, err := d.work(ctx, job)
			if j := w.job(report.Filter{}); err != nil || got != tt.want || j.Outcome != tt.want.Word || len(w.mta.tried()) != 0 {
				t.Errorf("%s: %+v, %v; %+v", tt.name, got, err, j)
			}
			cancel()
		})
	}
}
