package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
)

// failing is a store of which one method fails.
type failing struct {
	report.Store
	method string
	after  int // how many calls do not fail
	err    error
	calls  int // of the method
}

func (f *failing) fail(method string) error {
	if method != f.method {
		return nil
	}
	if f.calls++; f.calls <= f.after {
		return nil
	}
	return f.err
}

func (f *failing) Deliveries(ctx context.Context, job int64) ([]report.Delivery, error) {
	if err := f.fail("Deliveries"); err != nil {
		return nil, err
	}
	return f.Store.Deliveries(ctx, job)
}

func (f *failing) Delivery(ctx context.Context, id int64) (report.Delivery, error) {
	if err := f.fail("Delivery"); err != nil {
		return report.Delivery{}, err
	}
	return f.Store.Delivery(ctx, id)
}

func (f *failing) Seen(ctx context.Context, d dns.Name, day report.Day) (report.Seen, error) {
	if err := f.fail("Seen"); err != nil {
		return report.Seen{}, err
	}
	return f.Store.Seen(ctx, d, day)
}

func (f *failing) SetDelivery(ctx context.Context, d report.Delivery) (int64, error) {
	if err := f.fail("SetDelivery"); err != nil {
		return 0, err
	}
	return f.Store.SetDelivery(ctx, d)
}

func (f *failing) SetReportID(ctx context.Context, j report.Job, id string) (string, error) {
	if err := f.fail("SetReportID"); err != nil {
		return "", err
	}
	return f.Store.SetReportID(ctx, j, id)
}

func (f *failing) Secret(ctx context.Context) ([]byte, error) {
	if err := f.fail("Secret"); err != nil {
		return nil, err
	}
	return f.Store.Secret(ctx)
}

func (f *failing) Rows(ctx context.Context, job int64) iter.Seq2[report.Row, error] {
	if err := f.fail("Rows"); err != nil {
		return func(yield func(report.Row, error) bool) { yield(report.Row{}, err) }
	}
	return f.Store.Rows(ctx, job)
}

func (f *failing) Renew(ctx context.Context, j report.Job, until time.Time) error {
	if err := f.fail("Renew"); err != nil {
		return err
	}
	return f.Store.Renew(ctx, j, until)
}

func (f *failing) Finish(ctx context.Context, j report.Job, o report.Outcome) error {
	if err := f.fail("Finish"); err != nil {
		return err
	}
	return f.Store.Finish(ctx, j, o)
}

func (f *failing) Claim(ctx context.Context, now time.Time, owner string, lease time.Duration) (report.Job, error) {
	if err := f.fail("Claim"); err != nil {
		return report.Job{}, err
	}
	return f.Store.Claim(ctx, now, owner, lease)
}

func (f *failing) Suppressions(ctx context.Context) ([]report.Suppression, error) {
	if err := f.fail("Suppressions"); err != nil {
		return nil, err
	}
	return f.Store.Suppressions(ctx)
}

func (f *failing) Suppression(ctx context.Context, target string) (report.Suppression, error) {
	if err := f.fail("Suppression"); err != nil {
		return report.Suppression{}, err
	}
	return f.Store.Suppression(ctx, target)
}

func (f *failing) Suppress(ctx context.Context, s report.Suppression) error {
	if err := f.fail("Suppress"); err != nil {
		return err
	}
	return f.Store.Suppress(ctx, s)
}

func (f *failing) Unsuppress(ctx context.Context, target string) error {
	if err := f.fail("Unsuppress"); err != nil {
		return err
	}
	return f.Store.Unsuppress(ctx, target)
}

func (f *failing) Expire(ctx context.Context, now time.Time, keep time.Duration) error {
	if err := f.fail("Expire"); err != nil {
		return err
	}
	return f.Store.Expire(ctx, now, keep)
}

// logger writes records without their time.
func logger(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// TestStoreFailsInTheMiddle checks what becomes of a report if one method of the store fails while it is worked on,
// and if the store says that the lease is lost. It must never count as sent or given up, and no second mail may
// leave under a lost lease.
func TestStoreFailsInTheMiddle(t *testing.T) {
	for _, tt := range []struct {
		method string
		after  int
		mails  int    // that left
		tried  string // why the outcome says that it could not be made; "": the error does not matter
	}{
		{"Deliveries", 0, 0, "disk full"}, {"Seen", 0, 0, "disk full"}, {"SetDelivery", 0, 0, "disk full"}, {"SetReportID", 0, 0, "disk full"},
		{"Secret", 0, 0, "disk full"}, {"Rows", 0, 0, "dispatch: disk full"}, {"Renew", 0, 0, "disk full"}, {"SetDelivery", 1, 1, "disk full"},
		{"Suppression", 0, 0, "destination: disk full"}, {"Suppression", 2, 1, "disk full"}, {"Delivery", 0, 1, ""},
	} {
		for _, broken := range []error{errBroken, report.ErrLost} {
			t.Run(fmt.Sprint(tt.method, tt.after, broken == report.ErrLost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var b bytes.Buffer
					w := newWorld(t, domainZone("shop.example", "mailto:rua@shop.example"))
					w.add(yesterday(), "shop.example")
					time.Sleep(time.Hour)
					o := w.options("a")
					o.Log, o.Store = logger(&b), &failing{Store: w.store, method: tt.method, after: tt.after, err: broken}
					d, err := New(o)
					if err != nil {
						t.Fatal(err)
					}
					job, err := w.store.Claim(t.Context(), time.Now(), "a", leaseTime)
					if err != nil {
						t.Fatal(err)
					}
					got, err := d.work(t.Context(), job)
					var want report.Outcome
					var wantErr error
					text := ""
					switch {
					case tt.tried == "":
						want = report.Outcome{Word: report.Sent, Reason: "sent to 1 of 1 destinations"}
						text = "level=INFO msg=\"a report is done\" domain=shop.example report_id=%id outcome=sent reason=\"sent to 1 of 1 destinations\"\n"
					case broken == report.ErrLost:
						wantErr = errLeaseLost
						text = "level=WARN msg=\"the lease of a report was lost; another sender goes on with it\" domain=shop.example job=1\n"
					default:
						want = report.Outcome{Again: time.Now().UTC().Add(backoff[0]), Reason: "it could not be made: " + tt.tried}
						text = "level=ERROR msg=\"a report could not be made\" domain=shop.example job=1 error=" + quoted(tt.tried) + "\n"
					}
					if got != want || !errors.Is(err, wantErr) || len(w.mta.taken()) != tt.mails {
						t.Errorf("%+v, %v, %d mails; want %+v, %v, %d", got, err, len(w.mta.taken()), want, wantErr, tt.mails)
					}
					stored := w.job(report.Filter{})
					if text = strings.Replace(text, "%id", stored.ReportID, 1); b.String() != text {
						t.Errorf("logged %s, want %s", &b, text)
					}
					if (stored.State == report.StateClaimed) != (wantErr != nil) || stored.Outcome != got.Word || stored.Reason != got.Reason {
						t.Errorf("stored %+v", stored)
					}
				})
			})
		}
	}
}

func quoted(s string) string {
	if strings.Contains(s, " ") {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// lone returns a run that no lease guards, with a job of yesterday and the given deliveries of it.
func (w *world) lone(d *Dispatcher, decision destination.Decision, all ...report.Delivery) *run {
	w.t.Helper()
	w.add(yesterday(), "shop.example")
	r := &run{Dispatcher: d, job: w.job(report.Filter{}), stop: w.t.Context(), work: w.t.Context(), decision: decision, have: map[string]report.Delivery{}, last: map[dns.Name]time.Time{}}
	for _, v := range all {
		v.Job = r.job.ID
		if err := r.store(v); err != nil {
			w.t.Fatal(err)
		}
	}
	return r
}

// TestOutcome checks how the results of several destinations become one.
func TestOutcome(t *testing.T) {
	const waiting, sent, refused, failed = report.Waiting, report.Sent, report.Refused, report.Failed
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // in a bubble
	v := func(address string, w report.Word, reply string, next time.Duration) report.Delivery {
		out := report.Delivery{Address: address, Word: w, Reply: reply, Detail: "detail of " + address}
		if next > 0 {
			out.NextTry = now.Add(next)
		}
		return out
	}
	unknown := []destination.Destination{{Address: "X@shop.example", Word: waiting, Detail: "timeout"}}
	later := now.Add(backoff[0])
	const over = "; given up, because the next window is over"
	for _, tt := range []struct {
		name     string
		decision destination.Decision
		all      []report.Delivery
		change   func(*run)
		late     bool // the next window is over, and the report was tried twice
		want     report.Outcome
		given    string // the deliveries that are given up
	}{
		{name: "nothing is known", decision: destination.Decision{Word: waiting, Reason: "servfail"}, want: report.Outcome{Again: later, Reason: "servfail"}},
		{name: "nothing is known until the end", decision: destination.Decision{Word: waiting, Reason: "servfail"}, late: true,
			all:  []report.Delivery{v("a@b.example", waiting, "", 0), v("c@d.example", sent, "", 0), v("e@f.example", report.WithheldSuppressed, "", 0)},
			want: report.Outcome{Word: sent, Reason: "sent to 1 of 3 destinations"}, given: "a@b.example"},
		{name: "nothing is known until the end, and nothing was sent", decision: destination.Decision{Word: waiting, Reason: "servfail"}, late: true,
			want: report.Outcome{Word: failed, Reason: "servfail" + over}},
		{name: "one is not known", decision: destination.Decision{Destinations: unknown}, all: []report.Delivery{v("x@shop.example", waiting, "", time.Hour), v("c@d.example", sent, "", 0)},
			want: report.Outcome{Again: later, Reason: "timeout"}},
		{name: "one is not known until the end", decision: destination.Decision{Destinations: unknown}, late: true,
			all:  []report.Delivery{v("x@shop.example", waiting, "", time.Hour), v("c@d.example", waiting, "450", time.Hour), v("e@f.example", sent, "", 0)},
			want: report.Outcome{Again: now.Add(time.Hour), Reason: "will be tried again: 450"}, given: "x@shop.example"},
		{name: "the one that is not known comes first", decision: destination.Decision{Destinations: unknown},
			all:  []report.Delivery{v("x@shop.example", waiting, "", 0), v("c@d.example", waiting, "450", backoff[0])},
			want: report.Outcome{Again: later, Reason: "timeout"}},
		{name: "the other comes first", decision: destination.Decision{Destinations: unknown},
			all:  []report.Delivery{v("x@shop.example", waiting, "", 0), v("c@d.example", waiting, "450", backoff[0]-1)},
			want: report.Outcome{Again: later.Add(-1), Reason: "will be tried again: 450"}},
		{name: "the first of two", all: []report.Delivery{v("a@b.example", waiting, "450 a", 2*time.Hour), v("c@d.example", waiting, "450 c", time.Hour)},
			want: report.Outcome{Again: now.Add(time.Hour), Reason: "will be tried again: 450 c"}},
		{name: "all were sent", all: []report.Delivery{v("a@b.example", sent, "250", 0), v("c@d.example", sent, "250", 0)}, want: report.Outcome{Word: sent, Reason: "sent to 2 of 2 destinations"}},
		{name: "refused", all: []report.Delivery{v("a@b.example", refused, "550 no", 0)}, want: report.Outcome{Word: refused, Reason: "550 no"}},
		{name: "refused and failed", all: []report.Delivery{v("a@b.example", refused, "550 no", 0), v("c@d.example", failed, "450", 0)}, want: report.Outcome{Word: refused, Reason: "550 no"}},
		{name: "failed without a reply", all: []report.Delivery{v("a@b.example", failed, "", 0)}, want: report.Outcome{Word: failed, Reason: "detail of a@b.example"}},
		{name: "withheld", decision: destination.Decision{Word: report.WithheldSpam, Reason: "all was spam"}, all: []report.Delivery{v("a@b.example", report.WithheldSpam, "", 0)},
			want: report.Outcome{Word: report.WithheldSpam, Reason: "all was spam"}},
		{name: "stopped", all: []report.Delivery{v("a@b.example", sent, "", 0)}, change: func(r *run) {
			var end context.CancelFunc
			r.stop, end = context.WithCancel(r.stop)
			end()
		}, want: report.Outcome{Again: now, Reason: "interrupted because the daemon stopped"}},
		{name: "no turn", all: []report.Delivery{v("a@b.example", sent, "", 0)}, change: func(r *run) { r.turnAt = now.Add(7) },
			want: report.Outcome{Again: now.Add(7), Reason: "waits for its turn, so that a destination does not get too many mails at once"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "")
			r := w.lone(w.dispatcher("a"), tt.decision, tt.all...)
			if tt.late {
				r.job.Window.Begin -= 2 * 86400
				r.job.Window.End -= 2 * 86400
				r.job.Tries = 1
			}
			if tt.change != nil {
				tt.change(r)
			}
			got, err := r.outcome()
			if err != nil || got != tt.want {
				t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
			}
			given := ""
			for address, v := range w.deliveries(r.job) {
				i := slices.IndexFunc(tt.all, func(x report.Delivery) bool { return x.Address == address })
				if v.Word == failed && tt.all[i].Word != failed {
					given += address
					if v.Detail != strings.TrimSpace(got.Reason) && !strings.HasSuffix(v.Detail, over) || !v.At.Equal(now) || !v.NextTry.IsZero() {
						t.Errorf("%s: %+v", tt.name, v)
					}
				}
			}
			if given != tt.given || w.count["sent failed"] != len(strings.Fields(given)) {
				t.Errorf("%s: given up %s, want %s; counted %v", tt.name, given, tt.given, w.count)
			}
		})
	}
}

// TestNext checks when a report is tried again, and when it is over.
func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "")
		r := w.lone(w.dispatcher("a"), destination.Decision{})
		end := time.Unix(r.job.Window.End+1, 0).Add(24*time.Hour + report.Grace)
		if got := deadline(r.job); !got.Equal(end) {
			t.Errorf("the deadline is %v, want %v", got, end)
		}
		for tries, want := range []time.Duration{15 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 12 * time.Hour, 12 * time.Hour} {
			if at, again := r.next(tries); at.Sub(time.Now()) != want || !again {
				t.Errorf("%d tries: in %v, again %t", tries, at.Sub(time.Now()), again)
			}
		}
		for _, before := range []time.Duration{1, 0, -1} { // at a third try in an hour
			time.Sleep(time.Until(end.Add(-time.Hour - before)))
			for tries, want := range []bool{true, true, before >= 0} {
				if _, again := r.next(tries); again != want {
					t.Errorf("%d tries, %v before the end: again %t", tries, before, again)
				}
			}
		}
	})
}
