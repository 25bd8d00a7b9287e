package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/submit"
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
			t.Run(fmt.Sprint(tt.method, tt.after, errors.Is(broken, report.ErrLost)), func(t *testing.T) {
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
					case errors.Is(broken, report.ErrLost):
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

// TestEndFails checks that a destination that could not be given up is an error, and not the end of the report.
func TestEndFails(t *testing.T) {
	for _, word := range []report.Word{report.Waiting, ""} {
		w := newWorld(t, "")
		store := &failing{Store: w.store, method: "SetDelivery", after: 1, err: errBroken}
		o := w.options("a")
		o.Store = store
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		r := w.lone(d, destination.Decision{Word: word}, report.Delivery{Address: "a@b.example", Word: report.Waiting})
		if word == "" {
			err = r.note() // the record has no destination any more
		} else {
			r.job.Tries, r.job.Window = 1, report.Window{Begin: 1, End: 86400} // long over
			_, err = r.outcome()
		}
		if !errors.Is(err, errBroken) || len(w.count) != 0 || w.deliveries(r.job)["a@b.example"].Word != report.Waiting {
			t.Errorf("%q: %v, counted %v", word, err, w.count)
		}
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
			if at, again := r.next(tries); time.Until(at) != want || !again {
				t.Errorf("%d tries: in %v, again %t", tries, time.Until(at), again)
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

// TestNote checks what is stored about each destination of the record, and about those that are gone from it.
func TestNote(t *testing.T) {
	const waiting, unverified = report.Waiting, report.WithheldUnverified
	old := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // in a bubble
	for _, tt := range []struct {
		name     string
		decision destination.Decision
		have     report.Delivery // of a@b.example; without Word there is none
		want     report.Delivery // without Word there is none
		writes   int
	}{
		{"new", destination.Decision{Destinations: []destination.Destination{{Address: "A@b.example"}}}, report.Delivery{}, report.Delivery{Address: "A@b.example", Word: waiting, At: at}, 1},
		{"withheld", destination.Decision{Destinations: []destination.Destination{{Address: "a@b.example", Word: unverified, Detail: "no"}}}, report.Delivery{},
			report.Delivery{Address: "a@b.example", Word: unverified, Detail: "no", At: at}, 1},
		{"unusable", destination.Decision{Destinations: []destination.Destination{{Address: "a@b.example", Word: report.WithheldUnusable}}}, report.Delivery{}, report.Delivery{}, 0},
		{"no address", destination.Decision{Destinations: []destination.Destination{{URI: "http://x"}}}, report.Delivery{}, report.Delivery{}, 0},
		{"as before", destination.Decision{Destinations: []destination.Destination{{Address: "a@b.example", Word: unverified, Detail: "no"}}}, report.Delivery{Word: unverified, Detail: "no", At: old},
			report.Delivery{Word: unverified, Detail: "no", At: old}, 0},
		{"another detail", destination.Decision{Destinations: []destination.Destination{{Address: "a@b.example", Word: unverified, Detail: "no"}}}, report.Delivery{Word: unverified, Detail: "never", At: old},
			report.Delivery{Word: unverified, Detail: "no", At: old}, 1},
		{"waits again", destination.Decision{Destinations: []destination.Destination{{Address: "a@b.example"}}}, report.Delivery{Word: unverified, Tries: 3, At: old},
			report.Delivery{Word: waiting, Tries: 3, At: at}, 1},
		{"sent before", destination.Decision{Destinations: []destination.Destination{{Address: "a@b.example", Word: unverified}}}, report.Delivery{Word: report.Sent, At: old}, report.Delivery{Word: report.Sent, At: old}, 0},
		{"refused before", destination.Decision{Destinations: []destination.Destination{{Address: "a@b.example"}}}, report.Delivery{Word: report.Refused, At: old}, report.Delivery{Word: report.Refused, At: old}, 0},
		{"failed before", destination.Decision{Destinations: []destination.Destination{{Address: "a@b.example"}}}, report.Delivery{Word: report.Failed, At: old}, report.Delivery{Word: report.Failed, At: old}, 0},
		{"gone from the record", destination.Decision{}, report.Delivery{Word: waiting, NextTry: at, At: old},
			report.Delivery{Word: report.WithheldNotRequested, Detail: "the record no longer has this destination", At: at}, 1},
		{"gone with the record", destination.Decision{Word: report.WithheldSpam, Reason: "spam"}, report.Delivery{Word: waiting, At: old}, report.Delivery{Word: report.WithheldSpam, Detail: "spam", At: at}, 1},
		{"not known whether it is gone", destination.Decision{Word: waiting}, report.Delivery{Word: waiting, At: old}, report.Delivery{Word: waiting, At: old}, 0},
		{"gone and sent", destination.Decision{}, report.Delivery{Word: report.Sent, At: old}, report.Delivery{Word: report.Sent, At: old}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "")
			r := w.lone(w.dispatcher("a"), tt.decision)
			for _, v := range []*report.Delivery{&tt.have, &tt.want} {
				if v.Word == "" {
					continue
				}
				if v.Job, v.ID, v.Window = r.job.ID, 1, r.job.Window; v.Address == "" {
					v.Address = "a@b.example"
				}
			}
			if tt.have.Word != "" {
				if err := r.store(tt.have); err != nil {
					t.Fatal(err)
				}
			}
			store := &failing{Store: w.store, method: "SetDelivery", after: 99}
			r.o.Store = store
			if err := r.note(); err != nil || store.calls != tt.writes {
				t.Errorf("%s: %v, %d writes, want %d", tt.name, err, store.calls, tt.writes)
			}
			var got report.Delivery
			if all, _ := w.store.Deliveries(t.Context(), r.job.ID); len(all) == 1 {
				got = all[0]
			}
			kept := r.have["a@b.example"]
			if kept.Window = got.Window; got != tt.want || kept != got {
				t.Errorf("%s: stored %+v, want %+v, at hand %+v", tt.name, got, tt.want, kept)
			}
		})
	}
}

// TestSuppressDomain checks that a domain without a mail server is suppressed, unless it is already, and that
// errors of the store are told.
func TestSuppressDomain(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	x := destination.Destination{Address: "a@Shop.example", Detail: "null MX", NoServer: true}
	for _, tt := range []struct {
		name  string
		old   report.Suppression
		fails string
		want  report.Suppression
	}{
		{"new", report.Suppression{}, "", report.Suppression{Target: "@shop.example", Since: now, Until: now.Add(report.SuppressFirst), Reason: "null MX", By: report.ByRefusal, Window: 5}},
		{"with strikes", report.Suppression{Target: "@shop.example", Strikes: 3, Until: now}, "",
			report.Suppression{Target: "@shop.example", Since: now, Until: now.Add(report.SuppressFirst), Strikes: 3, Reason: "null MX", By: report.ByRefusal, Window: 5}},
		{"suppressed", report.Suppression{Target: "@shop.example", Until: now.Add(1)}, "", report.Suppression{Target: "@shop.example", Until: now.Add(1)}},
		{"not known", report.Suppression{}, "Suppression", report.Suppression{}},
		{"not stored", report.Suppression{}, "Suppress", report.Suppression{}},
	} {
		w := newWorld(t, "")
		store := w.store.(*memory)
		if tt.old.Target != "" {
			store.suppression[tt.old.Target] = tt.old
		}
		o := w.options("a")
		o.Now, o.Store = func() time.Time { return now }, &failing{Store: w.store, method: tt.fails, err: errBroken}
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		r := w.lone(d, destination.Decision{Destinations: []destination.Destination{x}})
		r.job.Window.Begin = 5
		if err := r.note(); (err != nil) != (tt.fails != "") || err != nil && !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := store.suppression["@shop.example"]; got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestLearn checks what the MTA's answer says about a destination.
func TestLearn(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	taken := submit.Result{Kind: submit.Sent, Code: 250}
	refused := func(code int, enhanced string) submit.Result {
		return submit.Result{Kind: submit.Refused, Code: code, Enhanced: enhanced, Reply: "no"}
	}
	old := report.Suppression{Target: "a@b.example", Strikes: 1, Window: 3, Since: now, Reason: "before", By: report.ByBounce}
	cleared := old
	cleared.Sent = now
	struck := report.Suppression{Target: "a@b.example", Strikes: 1, Window: 7, Since: now, Reason: "no", By: report.ByRefusal}
	none := report.Suppression{Target: "a@b.example"}
	for _, tt := range []struct {
		name   string
		old    report.Suppression
		result submit.Result
		fails  string
		want   report.Suppression
	}{
		{"taken, not known", report.Suppression{}, taken, "", report.Suppression{}}, {"taken after a strike", old, taken, "", cleared}, {"taken again", cleared, taken, "", cleared},
		{"taken without a strike", none, taken, "", none}, {"later", old, submit.Result{Kind: submit.Temporary, Code: 550}, "", old},
		{"550", report.Suppression{}, refused(550, ""), "", struck}, {"551", report.Suppression{}, refused(551, ""), "", struck}, {"553", report.Suppression{}, refused(553, ""), "", struck},
		{"552", report.Suppression{}, refused(552, ""), "", report.Suppression{}}, {"554", report.Suppression{}, refused(554, ""), "", report.Suppression{}},
		{"5.1.9", report.Suppression{}, refused(554, "5.1.9"), "", struck}, {"5.2.1", report.Suppression{}, refused(554, "5.2.1"), "", struck}, {"5.4.4", report.Suppression{}, refused(554, "5.4.4"), "", struck},
		{"5.3.1", report.Suppression{}, refused(550, "5.3.1"), "", report.Suppression{}}, {"5.7.1", report.Suppression{}, refused(550, "5.7.1"), "", report.Suppression{}},
		{"5.10.1", report.Suppression{}, refused(550, "5.10.1"), "", report.Suppression{}},
		{"not known", old, taken, "Suppression", old}, {"refused, not known", old, refused(550, ""), "Suppression", old}, {"not stored", old, taken, "Suppress", old},
		{"later, and nobody asks", old, submit.Result{Kind: submit.Temporary}, "no Suppression", old},
	} {
		store := &memory{suppression: map[string]report.Suppression{}}
		if tt.old.Target != "" {
			store.suppression[tt.old.Target] = tt.old
		}
		err := Learn(t.Context(), &failing{Store: store, method: strings.TrimPrefix(tt.fails, "no "), err: errBroken}, "A@b.example", tt.result, 7, now)
		if want := tt.fails == "Suppression" || tt.fails == "Suppress"; (err != nil) != want || want && !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := store.suppression["a@b.example"]; got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestClaim checks when the store is asked for work again.
func TestClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var asked []error
		w := newWorld(t, "")
		store := &failing{Store: w.store, err: errBroken}
		o := w.options("a")
		o.Store, o.Log, o.Events.Claimed = store, logger(&b), func(err error) { asked = append(asked, err) }
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		claim := func(name string, want time.Duration, events ...error) {
			t.Helper()
			asked = nil
			if _, wait, ok := d.claim(t.Context()); ok || wait != want || !slices.Equal(asked, events) {
				t.Errorf("%s: wait %v, want %v, ok %t, told %v", name, wait, want, ok, asked)
			}
		}
		claim("nothing to do", pollTime, nil)
		d.putOff(time.Now().Add(time.Hour), false)
		claim("one in an hour", pollTime, nil)
		d.putOff(time.Now().Add(3*time.Second), false)
		d.putOff(time.Now().Add(4*time.Second), false)
		claim("one soon", 3*time.Second, nil)
		time.Sleep(3 * time.Second)
		claim("it is due", pollTime, nil)
		if !d.soonest.IsZero() {
			t.Errorf("still waits for %v", d.soonest)
		}
		d.putOff(time.Now().Add(10*time.Second), true)
		d.putOff(time.Now().Add(8*time.Second), true)
		claim("some wait for their turn", turnTime, nil)
		time.Sleep(8*time.Second - turnTime/2)
		claim("the first has its turn soon", turnTime/2, nil)
		time.Sleep(turnTime/2 + 1)
		claim("the second is not forgotten", turnTime, nil)
		time.Sleep(2*time.Second - 1)
		claim("all had their turn", pollTime, nil)
		for range troubleAfter {
			d.trouble.report(true, d.now())
		}
		claim("the MTA is down", troubleFirst)
		time.Sleep(troubleFirst)
		claim("no job for the probe", pollTime, nil)
		claim("still none", pollTime, nil)
		d.trouble.report(false, d.now())
		store.method = "Claim"
		claim("the store fails", pollTime, errBroken)
		if want := "level=ERROR msg=\"reports cannot be sent: the store fails\" error=\"disk full\"\n"; b.String() != want {
			t.Errorf("logged %s", &b)
		}
		said := time.Now()
		for _, tt := range []struct {
			after time.Duration // the first record
			logs  int
		}{{time.Minute - 1, 1}, {time.Minute, 2}, {2*time.Minute - 1, 2}, {time.Minute - 1, 3}, {2*time.Minute - 2, 3}} {
			d.o.Now = func() time.Time { return said.Add(tt.after) }
			if d.storeFailed(errBroken); strings.Count(b.String(), "\n") != tt.logs {
				t.Errorf("%v later: %d records, want %d", tt.after, strings.Count(b.String(), "\n"), tt.logs)
			}
		}
		d.o.Now = time.Now
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		asked = nil
		if _, wait, ok := d.claim(ended); ok || wait != pollTime || len(asked) != 0 {
			t.Errorf("after the end: %v, %t, %v", wait, ok, asked)
		}
		w.add(yesterday(), "shop.example")
		time.Sleep(time.Hour)
		store.method, asked = "", nil
		if job, wait, ok := d.claim(t.Context()); !ok || wait != 0 || job.ID != 1 || !slices.Equal(asked, []error{nil}) || time.Until(job.LeaseUntil) != leaseTime {
			t.Errorf("%+v, %v, %t, %v", job, wait, ok, asked)
		}
	})
}

// TestKeepLease checks when a lease counts as lost: when the store says so, or when it could not be renewed until it
// ran out.
func TestKeepLease(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		after int // renewals that are good
		lost  time.Duration
	}{
		{"renewed", nil, 0, 0}, {"lost at once", report.ErrLost, 0, leaseTime / 3}, {"lost later", report.ErrLost, 2, leaseTime},
		{"the store is away", errBroken, 0, leaseTime}, {"the store goes away", errBroken, 2, 2*leaseTime/3 + leaseTime},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "")
			store := &failing{Store: w.store, method: "Renew", after: tt.after, err: tt.err}
			o := w.options("a")
			o.Store = store
			d, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			w.add(yesterday(), "shop.example")
			time.Sleep(time.Hour)
			job, err := w.store.Claim(t.Context(), time.Now(), "a", leaseTime)
			if err != nil {
				t.Fatal(err)
			}
			work, end := context.WithTimeout(t.Context(), 10*leaseTime)
			defer end()
			begin, lost := time.Now(), time.Duration(0)
			r := &run{Dispatcher: d, job: job, work: work, lose: func() { lost = time.Since(begin) }}
			r.keepLease()
			if lost != tt.lost {
				t.Errorf("%s: lost after %v, want %v", tt.name, lost, tt.lost)
			}
			if until := w.job(report.Filter{}).LeaseUntil; tt.err == nil && until.Sub(begin) <= 10*leaseTime {
				t.Errorf("%s: until %v", tt.name, until.Sub(begin))
			}
		})
	}
}

// TestSubmit checks what is written down about each answer of the MTA, and what counts as trouble with it.
func TestSubmit(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // in a bubble
	for _, tt := range []struct {
		name    string
		result  submit.Result
		err     error
		tries   int
		want    report.Delivery
		trouble int
	}{
		{"taken", submit.Result{Kind: submit.Sent, Code: 250, Reply: "250 ok"}, nil, 0, report.Delivery{Word: report.Sent, Tries: 1, Reply: "250 ok"}, 0},
		{"refused", submit.Result{Kind: submit.Refused, Code: 554, Reply: "554 no"}, nil, 1, report.Delivery{Word: report.Refused, Tries: 2, Reply: "554 no"}, 0},
		{"later", submit.Result{Kind: submit.Temporary, Code: 450, Reply: "450 later"}, nil, 0, report.Delivery{Word: report.Waiting, Tries: 1, Reply: "450 later", NextTry: now.Add(backoff[0])}, 0},
		{"the second time", submit.Result{Kind: submit.Temporary, Code: 450, Reply: "450 later"}, nil, 1, report.Delivery{Word: report.Waiting, Tries: 2, Reply: "450 later", NextTry: now.Add(backoff[1])}, 0},
		{"421", submit.Result{Kind: submit.Temporary, Code: 421, Reply: "421 closing"}, nil, 0, report.Delivery{Word: report.Waiting, Tries: 1, Reply: "421 closing", NextTry: now.Add(backoff[0])}, 2},
		{"no answer", submit.Result{Kind: submit.Temporary, Reply: "no route"}, nil, 0, report.Delivery{Word: report.Waiting, Tries: 1, Reply: "no route", NextTry: now.Add(backoff[0])}, 2},
		{"an error", submit.Result{}, errBroken, 0, report.Delivery{Word: report.Waiting, Tries: 1, Reply: "disk full", NextTry: now.Add(backoff[0])}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "")
			w.mta.answer = func(context.Context, string) (submit.Result, error) { return tt.result, tt.err }
			d := w.dispatcher("a")
			r := w.lone(d, destination.Decision{}, report.Delivery{Address: "a@b.example", Word: report.Waiting, Tries: tt.tries, NextTry: now.Add(-1), Reply: "old"})
			d.trouble.report(true, now)
			f, err := d.build(t.Context(), d.preview(r.job), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := r.submit(turn{Destination: destination.Destination{Address: "A@b.example"}}, f, []byte("secret")); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			got := w.deliveries(r.job)["a@b.example"]
			tt.want.ID, tt.want.Job, tt.want.Address, tt.want.At, tt.want.Window = 1, r.job.ID, "a@b.example", now, r.job.Window
			if got != tt.want || d.trouble.row != tt.trouble {
				t.Errorf("%s: %+v, want %+v, %d failures", tt.name, got, tt.want, d.trouble.row)
			}
			want := map[string]int{"built": 1}
			if final(tt.want.Word) {
				want["sent "+string(tt.want.Word)]++
			}
			if !maps.Equal(w.count, want) {
				t.Errorf("%s: counted %v", tt.name, w.count)
			}
		})
	}
}

// TestSubmitEnvelope checks what the MTA is given, and that what cannot be made is not given to it.
func TestSubmitEnvelope(t *testing.T) {
	w := newWorld(t, "")
	var got []submit.Envelope
	o := w.options("a")
	o.Submit = submitFunc(func(e submit.Envelope) (submit.Result, error) {
		e.Check = nil
		got = append(got, e)
		return submit.Result{Kind: submit.Sent}, nil
	})
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	addresses := []string{"a@b.example", "ü@b.example"}
	r := w.lone(d, destination.Decision{}, report.Delivery{Address: addresses[0]}, report.Delivery{Address: addresses[1]})
	f, err := d.build(t.Context(), d.preview(r.job), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, address := range addresses {
		if err := r.submit(turn{Destination: destination.Destination{Address: address}}, f, []byte("secret")); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		write, _, err := d.mail(f, address)
		if err != nil || write(&b) != nil {
			t.Fatal(err)
		}
		want := submit.Envelope{From: report.BounceLocal("dmarc-bounce", report.BounceToken([]byte("secret"), int64(i+1))) + "@dmarc.isp.example", To: address, ID: "1",
			Size: int64(b.Len()), SMTPUTF8: i == 1}
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("%+v, want %+v", got[i], want)
		}
		if _, err := d.Copy(t.Context(), r.job, address); err != nil {
			t.Error(err)
		}
		if copied := got[len(got)-1]; copied.From != "dmarc-bounce@dmarc.isp.example" || copied.To != address || copied.SMTPUTF8 != (i == 1) || copied.ID != "" || copied.Size < 1000 {
			t.Errorf("copied: %+v", copied)
		}
		got = got[:len(got)-1]
	}
}

type submitFunc func(submit.Envelope) (submit.Result, error)

func (f submitFunc) Submit(_ context.Context, e submit.Envelope, _ func(io.Writer) error) (submit.Result, error) {
	return f(e)
}

// TestCannotBeMade checks that no command takes a report for sent or written that could not be made.
func TestCannotBeMade(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Options)
		xml    bool // the XML can be written
		want   string
	}{
		{"no folder", func(o *Options) { o.Dir = "/absent" }, true, "dispatch: temporary file: open /absent/"},
		{"rows", func(o *Options) { o.Store = &failing{Store: o.Store, method: "Rows", err: errBroken} }, false, "disk full"},
		{"signature", func(o *Options) { o.Sign = func(func(io.Writer) error) (string, error) { return "", errBroken } }, true, "dispatch: DKIM signature: disk full"},
		{"MTA", func(o *Options) {
			o.Submit = submitFunc(func(submit.Envelope) (submit.Result, error) { return submit.Result{Kind: submit.Sent}, errBroken })
		}, true, "dispatch: disk full"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "shop.example MX 10 mx.shop.example\n"+domainZone("shop.example", "mailto:rua@shop.example"))
			o := w.options("a")
			tt.change(&o)
			d, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			w.add(yesterday(), "shop.example")
			job := w.job(report.Filter{})
			var b bytes.Buffer
			if err := d.WriteXML(t.Context(), &b, job); (err == nil) != tt.xml || !tt.xml && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: XML: %v", tt.name, err)
			}
			b.Reset()
			if err := d.WriteMail(t.Context(), &b, job, "me@isp.example"); tt.name != "MTA" && (err == nil || !strings.Contains(err.Error(), tt.want) || b.Len() > 0) {
				t.Errorf("%s: mail: %v, %d octets", tt.name, err, b.Len())
			}
			r, err := d.Copy(t.Context(), job, "me@isp.example")
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(w.mta.tried()) != 0 || tt.name != "MTA" && r != (submit.Result{}) {
				t.Errorf("%s: copy: %+v, %v", tt.name, r, err)
			}
			time.Sleep(time.Hour)
			if job, err = w.store.Claim(t.Context(), time.Now(), "a", leaseTime); err != nil {
				t.Fatal(err)
			}
			if o, err := d.work(t.Context(), job); err != nil || o.Word != "" || !o.Again.After(time.Now()) || !strings.Contains(o.Reason, strings.TrimPrefix(tt.want, "dispatch: ")) && tt.name == "MTA" {
				t.Errorf("%s: %+v, %v", tt.name, o, err)
			}
			left, err := os.ReadDir(w.options("").Dir)
			if err != nil || len(left) != 0 {
				t.Errorf("%s: files left: %v", tt.name, left)
			}
		})
	}
	// The writer of the mail fails: full.
	w := newWorld(t, "")
	w.add(yesterday(), "shop.example")
	if err := w.dispatcher("a").WriteMail(t.Context(), full{}, w.job(report.Filter{}), "me@isp.example"); !errors.Is(err, errBroken) {
		t.Errorf("a full disk: %v", err)
	}
	o := w.options("a")
	o.Sign = func(func(io.Writer) error) (string, error) { return "DKIM-Signature: v=1\r\n", nil }
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteMail(t.Context(), full{}, w.job(report.Filter{}), "me@isp.example"); !errors.Is(err, errBroken) {
		t.Errorf("a full disk, signed: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errBroken }

// TestNotes checks what the report says about destinations that cannot be used.
func TestNotes(t *testing.T) {
	of := func(words ...report.Word) (out []destination.Destination) {
		for _, w := range words {
			out = append(out, destination.Destination{Word: w})
		}
		return out
	}
	for _, tt := range []struct {
		all  []destination.Destination
		want []string
	}{
		{of("", report.Waiting, report.WithheldSuppressed), nil},
		{of(report.WithheldUnusable, report.WithheldUnusable, ""), []string{"2 destinations in rua cannot be used"}},
		{of(report.WithheldUnverified, report.WithheldUnusable), []string{"1 destinations in rua cannot be used", "1 external destinations in rua have not agreed"}},
	} {
		if got := (&run{decision: destination.Decision{Destinations: tt.all}}).notes(); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %q", tt.all, got)
		}
	}
}

// TestReady checks which destinations get the report now.
func TestReady(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // in a bubble
	x := destination.Destination{Address: "a@shop.example", Host: "shop.example"}
	for _, tt := range []struct {
		name   string
		x      destination.Destination
		word   report.Word // of the decision
		have   report.Delivery
		change func(*run)
		turn   time.Time // when it has its turn, if it is not ready
		ready  bool
	}{
		{"now", x, "", report.Delivery{}, nil, time.Time{}, true},
		{"it waits no longer", x, "", report.Delivery{Word: report.Waiting, NextTry: now}, nil, time.Time{}, true},
		{"it waits", x, "", report.Delivery{Word: report.Waiting, NextTry: now.Add(1)}, nil, time.Time{}, false},
		{"sent", x, "", report.Delivery{Word: report.Sent}, nil, time.Time{}, false}, {"refused", x, "", report.Delivery{Word: report.Refused}, nil, time.Time{}, false},
		{"failed", x, "", report.Delivery{Word: report.Failed}, nil, time.Time{}, false},
		{"withheld there", destination.Destination{Address: "a@shop.example", Word: report.WithheldUnverified}, "", report.Delivery{}, nil, time.Time{}, false},
		{"withheld", x, report.WithheldSpam, report.Delivery{}, nil, time.Time{}, false},
		{"stopped", x, "", report.Delivery{}, func(r *run) {
			var end context.CancelFunc
			r.stop, end = context.WithCancel(r.stop)
			end()
		}, time.Time{}, false},
		{"another has the turn", x, "", report.Delivery{}, func(r *run) { r.hosts.take("shop.example", now, false) }, now.Add(2 * time.Second), false},
		{"another has it, and one more has the next", x, "", report.Delivery{}, func(r *run) {
			r.hosts.take("shop.example", now, false)
			r.turnAt = now.Add(1)
		}, now.Add(1), false},
		{"another has it, and one more has one later", x, "", report.Delivery{}, func(r *run) {
			r.hosts.take("shop.example", now, false)
			r.turnAt = now.Add(time.Hour)
		}, now.Add(2 * time.Second), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "")
			if tt.have.Address = "A@shop.example"; tt.have.Word == "" {
				tt.have.Word = report.Waiting
			}
			r := w.lone(w.dispatcher("a"), destination.Decision{Word: tt.word, Destinations: []destination.Destination{tt.x}}, tt.have)
			if tt.change != nil {
				tt.change(r)
			}
			ready, release := r.ready()
			if (len(ready) == 1) != tt.ready || !r.turnAt.Equal(tt.turn) || tt.ready && (ready[0] != turn{x, "shop.example", now}) {
				t.Errorf("%s: %+v, turn at %v", tt.name, ready, r.turnAt)
			}
			release()
			if h := r.hosts.all["shop.example"]; tt.ready && (h == nil || h.busy) {
				t.Errorf("%s: not released", tt.name)
			}
		})
	}
}

// TestHousekeeping checks how often old data is removed and suppressions are counted, and what an error changes.
func TestHousekeeping(t *testing.T) {
	gone := report.Suppression{Target: "a@b.example", Strikes: 1, Sent: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}
	kept := report.Suppression{Target: "c@d.example", Until: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, tt := range []struct {
		fails   string
		err     error
		expired int
		counted []int
		left    int
		log     string
	}{
		{"", nil, 3, []int{1}, 1, ""},
		{"Suppressions", errBroken, 3, nil, 2, "error=\"disk full\"\n"},
		{"Unsuppress", errBroken, 3, nil, 2, "error=\"disk full\"\n"},
		{"Unsuppress", report.ErrUnknown, 3, []int{1}, 2, ""},
		{"Expire", errBroken, 0, []int{1}, 1, "error=\"disk full\"\n"},
	} {
		synctest.Test(t, func(t *testing.T) { // at midnight
			var b bytes.Buffer
			var counted []int
			w := newWorld(t, "")
			m := w.store.(*memory)
			m.suppression[gone.Target], m.suppression[kept.Target] = gone, kept
			o := w.options("a")
			o.Log, o.Store, o.Events.Suppressed = logger(&b), &failing{Store: m, method: tt.fails, err: tt.err}, func(n int) { counted = append(counted, n) }
			d, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			const rounds = 37 // hours: at the start, at the first noon and at the second
			ctx, cancel := context.WithTimeout(t.Context(), rounds*houseTime-1)
			defer cancel()
			d.housekeeping(ctx)
			if len(m.expired) != tt.expired || len(m.suppression) != tt.left || len(counted) != rounds*len(tt.counted) || len(counted) > 0 && counted[0] != 1 {
				t.Errorf("%s %v: removed at %v, %d suppressions, counted %v", tt.fails, tt.err, m.expired, len(m.suppression), counted)
			}
			if tt.expired > 0 && (m.expired[1].Hour() != expireHour || m.expired[2].Sub(m.expired[1]) != 24*time.Hour) {
				t.Errorf("removed at %v", m.expired)
			}
			if n := strings.Count(b.String(), tt.log); tt.log != "" && n != rounds || tt.log == "" && b.Len() > 0 {
				t.Errorf("%s: logged %s", tt.fails, &b)
			}
		})
	}
	// An error after the end is not told.
	var b bytes.Buffer
	w := newWorld(t, "")
	for _, method := range []string{"Suppressions", "Expire"} {
		ctx, cancel := context.WithCancel(t.Context())
		o := w.options("a")
		o.Log, o.Store = logger(&b), &ending{failing{Store: w.store, method: method, err: errBroken}, cancel}
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if d.housekeeping(ctx); b.Len() > 0 {
			t.Errorf("%s: logged %s", method, &b)
		}
	}
}

// ending ends the dispatcher when its method fails.
type ending struct {
	failing
	end func()
}

func (e *ending) Suppressions(ctx context.Context) ([]report.Suppression, error) {
	if e.method == "Suppressions" {
		e.end()
	}
	return e.failing.Suppressions(ctx)
}

func (e *ending) Expire(ctx context.Context, now time.Time, keep time.Duration) error {
	e.end()
	return e.failing.Expire(ctx, now, keep)
}
