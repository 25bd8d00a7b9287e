package dispatch

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/submit"
)

func TestRetries(t *testing.T) {
	const two = "mailto:rua@shop.example,mailto:b@in.shop.example"
	zone := domainZone("shop.example", two) + "in.shop.example MX 10 mx.shop.example\n"
	soon := []time.Duration{0, 15 * time.Minute, 75 * time.Minute, 75*time.Minute + 4*time.Hour, 75*time.Minute + 16*time.Hour}
	for _, c := range []struct {
		why      string
		result   submit.Result
		fails    int // how often, for rua@shop.example
		tries    []time.Duration
		word     report.Word
		outcome  report.Word
		suppress string // target that is struck
		strikes  int
		until    time.Duration
	}{
		{"452 at RCPT, once", submit.Result{Kind: submit.Temporary, Code: 452, Reply: "452 4.2.2 mailbox full"}, 1, soon[:2], report.Sent, report.Sent, "", 0, 0},
		{"421, twice", submit.Result{Kind: submit.Temporary, Code: 421, Reply: "421 4.3.2 closing"}, 2, soon[:3], report.Sent, report.Sent, "", 0, 0},
		{"452 without end", submit.Result{Kind: submit.Temporary, Code: 452, Reply: "452 4.2.2 mailbox full"}, 99, soon, report.Failed, report.Sent, "", 0, 0},
		{"550 5.1.1", submit.Result{Kind: submit.Refused, Code: 550, Enhanced: "5.1.1", Reply: "550 5.1.1 no such user"}, 99, soon[:1], report.Refused, report.Sent, "rua@shop.example", 1, report.SuppressGone},
		{"550 without more", submit.Result{Kind: submit.Refused, Code: 550, Reply: "550 no"}, 99, soon[:1], report.Refused, report.Sent, "rua@shop.example", 1, 0},
		{"552 5.2.2", submit.Result{Kind: submit.Refused, Code: 552, Enhanced: "5.2.2", Reply: "552 5.2.2 mailbox full"}, 99, soon[:1], report.Refused, report.Sent, "rua@shop.example", 1, 0},
		{"554 5.7.1 is about us", submit.Result{Kind: submit.Refused, Code: 554, Enhanced: "5.7.1", Reply: "554 5.7.1 relay access denied"}, 99, soon[:1], report.Refused, report.Sent, "", 0, 0},
		{"552 5.3.4 is about the mail", submit.Result{Kind: submit.Refused, Code: 552, Enhanced: "5.3.4", Reply: "552 5.3.4 too big"}, 99, soon[:1], report.Refused, report.Sent, "", 0, 0},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, zone)
				w.add(yesterday(), "shop.example")
				n := 0
				w.mta.answer = func(_ context.Context, to string) (submit.Result, error) {
					if to != "rua@shop.example" {
						return submit.Result{}, nil
					}
					if n++; n > c.fails {
						return submit.Result{}, nil
					}
					return c.result, nil
				}
				w.run(30*time.Hour, w.dispatcher("a"))
				var first time.Time
				var tries []time.Duration
				other := 0
				for _, m := range w.mta.tried() {
					if m.to != "rua@shop.example" {
						if other++; m.at.Sub(w.mta.tried()[0].at) > maxPatience {
							t.Error("the other destination was held up")
						}
						continue
					}
					if first.IsZero() {
						first = m.at
					}
					tries = append(tries, m.at.Sub(first))
				}
				if other != 1 || len(tries) != len(c.tries) {
					t.Fatalf("tried after %v, want %v; the other destination %d times", tries, c.tries, other)
				}
				for i := range tries {
					if late := tries[i] - c.tries[i]; late < 0 || late > time.Duration(i)*(pollTime+time.Second) {
						t.Errorf("tried after %v, want %v", tries, c.tries)
					}
				}
				j := w.job(report.Filter{})
				v := w.deliveries(j)["rua@shop.example"]
				if v.Word != c.word || v.Tries != len(c.tries) || j.State != report.StateDone || j.Outcome != c.outcome {
					t.Errorf("delivery %+v, job %+v", v, j)
				}
				for _, m := range w.mta.taken() {
					if m.id() != j.ReportID {
						t.Errorf("id %q, want %q", m.id(), j.ReportID)
					}
				}
				all, err := w.store.Suppressions(t.Context())
				if err != nil || len(all) != c.strikes {
					t.Fatalf("suppressions %+v, %v", all, err)
				}
				for _, s := range all {
					until := time.Duration(0)
					if !s.Until.IsZero() {
						until = s.Until.Sub(first)
					}
					if s.Target != c.suppress || s.Strikes != c.strikes || (until-c.until).Abs() > time.Second || s.By != report.ByRefusal || s.Reason != c.result.Reply {
						t.Errorf("suppression %+v, %v", s, until)
					}
				}
			})
		})
	}
}

// TestRefusedTwice follows a destination over several windows: two refusals suppress it, and a report
// that stays without a bounce clears it.
func TestRefusedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		refuse := true
		w.mta.answer = func(context.Context, string) (submit.Result, error) {
			if refuse {
				return submit.Result{Kind: submit.Refused, Code: 552, Enhanced: "5.2.2", Reply: "552 5.2.2 mailbox full"}, nil
			}
			return submit.Result{}, nil
		}
		var outcomes []report.Word
		for day := range 20 {
			refuse = day < 4
			window := yesterday()
			w.add(window, "shop.example")
			w.runNowAndThen(24*time.Hour, w.dispatcher("a"))
			outcomes = append(outcomes, w.job(report.Filter{Window: window.Begin}).Outcome)
		}
		want := []report.Word{"refused", "refused", "suppressed", "suppressed", "suppressed", "suppressed", "suppressed", "suppressed"}
		for len(want) < 20 {
			want = append(want, "sent")
		}
		if !reflect.DeepEqual(outcomes, want) {
			t.Errorf("outcomes %q, want %q", outcomes, want)
		}
		if all, err := w.store.Suppressions(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("strikes are not forgotten: %+v, %v", all, err)
		}
	})
}

// TestNoServer checks that a domain without a mail server is not asked about for a week.
func TestNoServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, strings.Replace(domainZone("shop.example", "mailto:rua@shop.example"), "10 mx.shop.example", "0 .", 1))
		w.add(yesterday(), "shop.example")
		begin := time.Now()
		w.run(time.Hour, w.dispatcher("a"))
		s, err := w.store.Suppression(t.Context(), "@shop.example")
		if err != nil || !s.Suppressed(begin.Add(7*24*time.Hour)) || s.Suppressed(begin.Add(7*24*time.Hour+time.Hour)) {
			t.Errorf("%+v, %v", s, err)
		}
		if j := w.job(report.Filter{}); j.Outcome != report.WithheldUndeliverable {
			t.Errorf("job %+v", j)
		}
		time.Sleep(23 * time.Hour)
		w.add(yesterday(), "shop.example")
		w.run(time.Hour, w.dispatcher("a"))
		if again, err := w.store.Suppression(t.Context(), "@shop.example"); err != nil || again != s {
			t.Errorf("the entry changed from %+v to %+v, %v", s, again, err)
		}
	})
}

// TestDNSFails checks that a record that cannot be looked up is tried again until the next window is
// over.
func TestDNSFails(t *testing.T) {
	for _, c := range []struct {
		why, fault string
		mends      time.Duration
		want       report.Word
	}{
		{"the record, for an hour", "! _dmarc.shop.example TXT timeout", time.Hour, report.Sent},
		{"the record, for days", "! _dmarc.shop.example TXT timeout", 30 * time.Hour, report.Failed},
		{"the mail server, for an hour", "! shop.example MX servfail", time.Hour, report.Sent},
		{"the mail server, for days", "! shop.example MX servfail", 30 * time.Hour, report.Failed},
	} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good := domainZone("shop.example", "mailto:rua@shop.example")
				w := newWorld(t, good+c.fault)
				mended := newWorld(t, good).zone
				w.add(yesterday(), "shop.example")
				o := w.options("a")
				a, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				w.run(c.mends, a)
				if c.mends < 24*time.Hour {
					o.Resolver = mended
					b, err := New(o)
					if err != nil {
						t.Fatal(err)
					}
					w.run(24*time.Hour, b)
				}
				j := w.job(report.Filter{})
				if j.State != report.StateDone || j.Outcome != c.want {
					t.Errorf("job %+v", j)
				}
				if n := len(w.zone.Queries()); n > 30 {
					t.Errorf("%d queries", n)
				}
				if c.want == report.Failed && !strings.Contains(j.Reason, "could not be looked up") {
					t.Errorf("reason %q", j.Reason)
				}
			})
		})
	}
}

// TestTarpit has a destination that holds each mail for ten minutes. The others do not wait for it.
func TestTarpit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, slow, fast := "tar.example MX 10 mx.tar.example\n", []string{}, []string{}
		for i := range 60 {
			a, b := fmt.Sprintf("a%d.example", i), fmt.Sprintf("b%d.example", i)
			text += domainZone(a, "mailto:rua@tar.example") + a + "._report._dmarc.tar.example TXT \"v=DMARC1\"\n" + domainZone(b, "mailto:rua@"+b)
			slow, fast = append(slow, a), append(fast, b)
		}
		w := newWorld(t, text)
		w.mta.answer = func(ctx context.Context, to string) (submit.Result, error) {
			if to != "rua@tar.example" {
				return submit.Result{}, nil
			}
			sleep(ctx, 10*time.Minute)
			return submit.Result{Kind: submit.Temporary, Reply: "the time for the submission was over"}, nil
		}
		w.add(yesterday(), append(slow, fast...)...)
		w.run(report.Grace+2*time.Minute, w.dispatcher("a"))
		if n := len(w.mta.taken()); n != len(fast) {
			t.Errorf("%d of %d mails to other destinations were sent", n, len(fast))
		}
		if n := len(w.mta.tried()) - len(w.mta.taken()); n != 1 {
			t.Errorf("%d mails at a time for the destination that is slow", n)
		}
	})
}

// TestRate checks both rates, and that jobs that are put off do get their turn.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, domains := "esp.example MX 10 mx.esp.example\n", []string{}
		for i := range 100 {
			domain := fmt.Sprintf("d%d.example", i)
			rua := "mailto:rua@" + domain
			if i%2 == 0 {
				rua = "mailto:rua@esp.example"
			}
			text += domainZone(domain, rua) + domain + "._report._dmarc.esp.example TXT \"v=DMARC1\"\n"
			domains = append(domains, domain)
		}
		w := newWorld(t, text)
		w.add(yesterday(), domains...)
		w.run(time.Hour, w.dispatcher("a"))
		var last, lastESP, firstAt time.Time
		for i, m := range w.mta.taken() {
			if i == 0 {
				firstAt = m.at
			} else if m.at.Sub(last) < 100*time.Millisecond {
				t.Errorf("%v after another mail", m.at.Sub(last))
			}
			if last = m.at; m.to == "rua@esp.example" {
				if !lastESP.IsZero() && m.at.Sub(lastESP) < time.Second-100*time.Millisecond {
					t.Errorf("%v after another mail to the host", m.at.Sub(lastESP))
				}
				lastESP = m.at
			}
		}
		if n, long := len(w.mta.taken()), last.Sub(firstAt); n != 100 || long > 2*time.Minute {
			t.Errorf("%d mails in %v", n, long)
		}
	})
}

// TestOneOwner has destinations on many hosts below one registered domain. A stranger can make them, and let
// their MX records name the servers of a victim. All together they get one mail at a time and one a second. The
// others do not wait for them.
func TestOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, domains := "", []string{}
		for i := range 60 {
			for _, domain := range []string{fmt.Sprintf("n%d.stranger.example", i), fmt.Sprintf("d%d.example", i)} {
				text += strings.ReplaceAll(domainZone(domain, "mailto:rua@"+domain), " mx."+domain, " mx.victim.example")
				domains = append(domains, domain)
			}
		}
		w := newWorld(t, text)
		var now, most atomic.Int64 // mails to the stranger's hosts at a time
		w.mta.answer = func(ctx context.Context, to string) (submit.Result, error) {
			if strings.HasSuffix(to, ".stranger.example") {
				most.Store(max(most.Load(), now.Add(1)))
				sleep(ctx, 300*time.Millisecond)
				now.Add(-1)
			}
			return submit.Result{}, nil
		}
		w.add(yesterday(), domains...)
		w.run(time.Hour, w.dispatcher("a"))
		var first, last time.Time
		stranger, others, long := 0, 0, time.Duration(0)
		for i, m := range w.mta.tried() {
			if i == 0 {
				first = m.at
			}
			if !strings.HasSuffix(m.to, ".stranger.example") {
				others, long = others+1, m.at.Sub(first)
				continue
			}
			if stranger > 0 && m.at.Sub(last) < time.Second-100*time.Millisecond {
				t.Errorf("%v after another mail to the stranger's hosts", m.at.Sub(last))
			}
			stranger, last = stranger+1, m.at
		}
		if stranger != 60 || most.Load() != 1 {
			t.Errorf("%d mails to the stranger's hosts, %d at a time", stranger, most.Load())
		}
		if others != 60 || long > 20*time.Second {
			t.Errorf("%d mails to others in %v", others, long)
		}
	})
}

// TestMTADown checks that an MTA that is down does not cost every job a try.
func TestMTADown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, domains := "", []string{}
		for i := range 300 {
			domain := fmt.Sprintf("d%d.example", i)
			text += domainZone(domain, "mailto:rua@"+domain)
			domains = append(domains, domain)
		}
		w := newWorld(t, text)
		w.add(yesterday(), domains...)
		var down atomic.Bool
		down.Store(true)
		w.mta.answer = func(context.Context, string) (submit.Result, error) {
			if down.Load() {
				return submit.Result{Kind: submit.Temporary, Reply: "connection refused"}, nil
			}
			return submit.Result{}, nil
		}
		go func() {
			time.Sleep(report.Grace + time.Hour)
			down.Store(false)
		}()
		w.run(4*time.Hour, w.dispatcher("a"))
		if n := len(w.mta.taken()); n != len(domains) {
			t.Errorf("%d of %d sent", n, len(domains))
		}
		if n := len(w.mta.tried()) - len(domains); n > 20+2*maxWorkers {
			t.Errorf("%d tries while the MTA was down for an hour", n)
		}
	})
}
