package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/submit"
)

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
