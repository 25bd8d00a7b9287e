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
	"strings"
	"sync"
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

// TestTwoSenders checks that several senders on one store send each report once.
func TestTwoSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, domains := "", []string{}
		for i := range 40 {
			domain := fmt.Sprintf("d%d.example", i)
			domains = append(domains, domain)
			text += domainZone(domain, "mailto:rua@"+domain)
		}
		w := newWorld(t, text)
		w.mta.answer = func(ctx context.Context, _ string) (submit.Result, error) {
			sleep(ctx, time.Second)
			return submit.Result{}, nil
		}
		w.add(yesterday(), domains...)
		w.run(time.Hour, w.dispatcher("a"), w.dispatcher("b"), w.dispatcher("c"))
		seen := map[string]int{}
		for _, m := range w.mta.taken() {
			seen[m.to]++
		}
		for _, domain := range domains {
			if n := seen["rua@"+domain]; n != 1 {
				t.Errorf("%s got %d reports", domain, n)
			}
		}
	})
}

// faulty is a store that fails for one sender.
type faulty struct {
	report.Store
	broken atomic.Bool // every method that this type has fails
}

var errBroken = errors.New("disk full")

func (f *faulty) Renew(ctx context.Context, j report.Job, until time.Time) error {
	if f.broken.Load() {
		return errBroken
	}
	return f.Store.Renew(ctx, j, until)
}

func (f *faulty) SetDelivery(ctx context.Context, d report.Delivery) (int64, error) {
	if f.broken.Load() {
		return 0, errBroken
	}
	return f.Store.SetDelivery(ctx, d)
}

func (f *faulty) Finish(ctx context.Context, j report.Job, o report.Outcome) error {
	if f.broken.Load() {
		return errBroken
	}
	return f.Store.Finish(ctx, j, o)
}

func (f *faulty) Claim(ctx context.Context, now time.Time, owner string, lease time.Duration) (report.Job, error) {
	if f.broken.Load() {
		return report.Job{}, errBroken
	}
	return f.Store.Claim(ctx, now, owner, lease)
}

// TestLeaseLost has a sender that hangs before DATA while it cannot reach the store. Another sender
// sends the report. When the first goes on, it finds its lease gone and stops.
func TestLeaseLost(t *testing.T) {
	for _, c := range []struct {
		why  string
		deaf bool // the MTA's dialogue goes on although the sender gave up, as after a SIGSTOP
	}{{"the sender notices by its clock", false}, {"the sender notices before DATA", true}} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
				w.add(yesterday(), "shop.example")
				broken := &faulty{Store: w.store}
				o := w.options("a")
				o.Store = broken
				hanging := &mta{answer: func(ctx context.Context, _ string) (submit.Result, error) {
					broken.broken.Store(true)
					if c.deaf {
						ctx = t.Context()
					}
					sleep(ctx, 2*leaseTime)
					broken.broken.Store(false)
					return submit.Result{}, ctx.Err()
				}}
				o.Submit = hanging
				a, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				wg.Go(func() { w.run(time.Hour, a) })
				time.Sleep(report.Grace + 30*time.Second) // a has claimed the job
				wg.Go(func() { w.run(time.Hour, w.dispatcher("b")) })
				wg.Wait()
				if len(hanging.tried()) == 0 || len(hanging.taken()) != 0 || len(w.mta.taken()) != 1 {
					t.Errorf("the first sender tried %d times and sent %d, the second sent %d", len(hanging.tried()), len(hanging.taken()), len(w.mta.taken()))
				}
				if j := w.job(report.Filter{}); j.State != report.StateDone || j.Outcome != report.Sent || j.ReportID != w.mta.taken()[0].id() {
					t.Errorf("job %+v", j)
				}
			})
		})
	}
}

// TestKilledAfterDATA has a sender that can write nothing any more once the MTA has the mail. The
// report is sent again, with the same id.
func TestKilledAfterDATA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		w.add(yesterday(), "shop.example")
		broken := &faulty{Store: w.store}
		w.mta.after = func(string) { broken.broken.Store(len(w.mta.taken()) == 1) }
		o := w.options("a")
		o.Store = broken
		a, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.run(report.Grace+time.Minute, a)
		if j := w.job(report.Filter{}); len(w.mta.taken()) != 1 || j.State != report.StateClaimed {
			t.Fatalf("%d mails, job %+v", len(w.mta.taken()), j)
		}
		w.run(time.Hour, w.dispatcher("b"))
		mails := w.mta.taken()
		if len(mails) != 2 || mails[0].id() == "" || mails[0].id() != mails[1].id() || mails[0].from != mails[1].from || mails[0].xml(t) != mails[1].xml(t) {
			t.Errorf("%d mails: %+v", len(mails), mails)
		}
		if j := w.job(report.Filter{}); j.Outcome != report.Sent || j.ReportID != mails[0].id() {
			t.Errorf("job %+v", j)
		}
	})
}

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

// TestStop stops the dispatcher in the middle of a transaction.
func TestStop(t *testing.T) {
	for _, c := range []struct {
		why   string
		takes time.Duration
		sent  bool
	}{{"a transaction that ends in time", 10 * time.Second, true}, {"one that does not", time.Hour, false}} {
		t.Run(c.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, domainZone("shop.example", "mailto:a@shop.example,mailto:b@in.shop.example")+"in.shop.example MX 10 mx.shop.example")
				w.add(yesterday(), "shop.example")
				ctx, cancel := context.WithCancel(t.Context())
				var stopped time.Time
				w.mta.answer = func(ctx context.Context, _ string) (submit.Result, error) {
					cancel()
					stopped = time.Now()
					sleep(ctx, c.takes)
					if ctx.Err() != nil {
						return submit.Result{Kind: submit.Temporary}, ctx.Err()
					}
					return submit.Result{}, nil
				}
				d := w.dispatcher("a")
				d.Run(ctx)
				if long := time.Since(stopped); long != min(c.takes, DefaultDrain) {
					t.Errorf("Run returned after %v", long)
				}
				j := w.job(report.Filter{})
				v := w.deliveries(j)["a@shop.example"]
				if j.State != report.StateDue || j.ReportID == "" || (v.Word == report.Sent) != c.sent || len(w.mta.tried()) != 1 {
					t.Errorf("job %+v, delivery %+v, %d tries", j, v, len(w.mta.tried()))
				}
				w.mta.answer = nil
				w.run(time.Minute, w.dispatcher("b"))
				want := 2
				if c.sent {
					want = 1
				}
				if n := len(w.mta.tried()) - 1; n != want || w.job(report.Filter{}).Outcome != report.Sent {
					t.Errorf("%d tries afterwards, want %d; job %+v", n, want, w.job(report.Filter{}))
				}
			})
		})
	}
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

// TestStoreFails checks that the dispatcher goes on when the store does.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		w.add(yesterday(), "shop.example")
		broken := &faulty{Store: w.store}
		broken.broken.Store(true)
		o := w.options("a")
		o.Store = broken
		failed := 0
		o.Events.Claimed = func(err error) {
			if err != nil {
				failed++
			}
		}
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Hour)
			broken.broken.Store(false)
		}()
		w.run(2*time.Hour, d)
		if w.job(report.Filter{}).Outcome != report.Sent || failed == 0 {
			t.Errorf("job %+v, %d failures", w.job(report.Filter{}), failed)
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
		if n, err := d.Drain(t.Context()); n != 0 || err != nil {
			t.Errorf("%d due, %v", n, err)
		}
		time.Sleep(25 * time.Hour)
		if n, err := d.Drain(t.Context()); n != 1 || err != nil || w.job(report.Filter{}).Outcome != report.Sent {
			t.Errorf("%d due, %v, job %+v", n, err, w.job(report.Filter{}))
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
		if left, err := s.Jobs(t.Context(), report.Filter{}); err != nil || len(left) != 0 {
			t.Errorf("%d jobs left after a week, %v", len(left), err)
		}
	})
}

// TestOwnTimes checks that a destination that failed is not tried before its time, although the job is
// claimed again because the daemon stopped before the next destination.
func TestOwnTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:a@shop.example,mailto:b@in.shop.example")+"in.shop.example MX 10 mx.shop.example")
		w.add(yesterday(), "shop.example")
		ctx, cancel := context.WithCancel(t.Context())
		w.mta.answer = func(context.Context, string) (submit.Result, error) {
			cancel()
			return submit.Result{Kind: submit.Temporary, Code: 450, Reply: "450 later"}, nil
		}
		w.dispatcher("a").Run(ctx)
		w.mta.answer = nil
		w.run(time.Hour, w.dispatcher("b"))
		all := w.mta.tried()
		if len(all) != 3 || all[1].to != "b@in.shop.example" || all[1].at.Sub(all[0].at) > time.Minute || all[2].to != "a@shop.example" || all[2].at.Sub(all[0].at) < 15*time.Minute {
			t.Errorf("%+v", all)
		}
	})
}

// TestTakenAfterTheLease has an MTA that takes the mail when the lease is lost already. Nobody sends the
// report again, because it is written down all the same.
func TestTakenAfterTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
		w.add(yesterday(), "shop.example")
		deaf := &faulty{Store: w.store}
		o := w.options("a")
		o.Store = deaf
		w.mta.after = func(string) {
			deaf.broken.Store(true)
			time.Sleep(2 * leaseTime)
			deaf.broken.Store(false)
		}
		a, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.run(2*time.Hour, a)
		if n := len(w.mta.taken()); n != 1 || w.job(report.Filter{}).Outcome != report.Sent {
			t.Errorf("%d mails, %+v", n, w.job(report.Filter{}))
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, change := range []func(*Options){
		func(o *Options) { o.Store = nil }, func(o *Options) { o.Resolver = nil }, func(o *Options) { o.Submit = nil }, func(o *Options) { o.Owner = "" },
		func(o *Options) { o.Identity.Domain = "" }, func(o *Options) { o.Identity.Contact = "" }, func(o *Options) { o.Identity.Bounce = "" },
	} {
		o := newWorld(t, "").options("a")
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("accepted: %+v", o)
		}
	}
}
