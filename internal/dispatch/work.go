package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/report/aggregate"
	"sekimori/internal/report/destination"
)

// backoff is how long to wait after each failure; the last value is for all further ones.
var backoff = [...]time.Duration{15 * time.Minute, time.Hour, 4 * time.Hour, 12 * time.Hour}

// leastTries is how often a report is tried, even if the next window has closed already. Otherwise a
// daemon that was down for two days would send nothing of that time.
const leastTries = 2

// run is the work on one job under one lease.
type run struct {
	*Dispatcher
	job report.Job
	// stop ends when the dispatcher is told to stop, and when the lease is lost. work ends Drain later,
	// and when the lease is lost. A transaction with the MTA runs under work.
	stop, work context.Context
	lose       func()
	// have has the deliveries by report.Target of their addresses.
	have map[string]report.Delivery
	// asked says that an operator wants the report sent now, and resend that it was done before.
	asked, resend bool
	decision      destination.Decision
	// turnAt is when the first destination that was put off has its turn; zero if none was.
	turnAt time.Time
	last   map[dns.Name]time.Time // when the last mail was sent to the destinations of each owner
}

var errLeaseLost = fmt.Errorf("dispatch: %w", report.ErrLost)

// work works on a claimed job until it is done or put off. It returns the outcome that is stored, and
// an error if none could be stored.
func (d *Dispatcher) work(ctx context.Context, job report.Job) (report.Outcome, error) {
	return d.workOn(ctx, &run{Dispatcher: d, job: job})
}

func (d *Dispatcher) workOn(ctx context.Context, r *run) (report.Outcome, error) {
	job := r.job
	var lease sync.WaitGroup
	defer lease.Wait() // after the deferred calls below, which end it
	stop, endStop := context.WithCancelCause(ctx)
	defer endStop(nil)
	work, endWork := context.WithCancelCause(context.WithoutCancel(ctx))
	defer endWork(nil)
	r.stop, r.work, r.have, r.last = stop, work, map[string]report.Delivery{}, map[dns.Name]time.Time{}
	r.lose = func() { endStop(errLeaseLost); endWork(errLeaseLost) }
	defer context.AfterFunc(ctx, func() {
		sleep(work, d.o.Drain)
		endWork(context.Cause(ctx))
	})()
	lease.Go(r.keepLease)

	outcome, err := r.do()
	if len(r.last) == 0 {
		d.trouble.unused()
	}
	if lost(err) || lost(context.Cause(work)) {
		d.o.Log.Warn("the lease of a report was lost; another sender goes on with it", "domain", job.Policy.Domain, "job", job.ID)
		return report.Outcome{}, errLeaseLost
	}
	now := d.now()
	switch {
	case ctx.Err() != nil && outcome.Word == "":
		outcome = report.Outcome{Again: now, Reason: "interrupted because the daemon stopped"}
	case errors.Is(err, aggregate.ErrNoRows):
		outcome = report.Outcome{Word: report.Failed, Reason: "none of its messages was kept, so there is nothing to report"}
	case err != nil:
		d.o.Log.Error("a report could not be made", "domain", job.Policy.Domain, "job", job.ID, "error", err)
		outcome = r.later("it could not be made: " + err.Error())
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	err = d.o.Store.Finish(finish, job, outcome)
	switch {
	case lost(err):
		d.o.Log.Warn("the lease of a report was lost; another sender goes on with it", "domain", job.Policy.Domain, "job", job.ID)
	case err != nil:
		d.storeFailed(err)
	default:
		d.finished(r, outcome)
	}
	return outcome, err
}

func lost(err error) bool { return errors.Is(err, report.ErrLost) }

// finished logs and counts the outcome of a job.
func (d *Dispatcher) finished(r *run, o report.Outcome) {
	if o.Word == "" {
		d.putOff(o.Again, !r.turnAt.IsZero())
		d.o.Log.Debug("a report is put off", "domain", r.job.Policy.Domain, "job", r.job.ID, "until", o.Again, "reason", o.Reason)
		return
	}
	words := map[report.Word]bool{}
	if r.decision.Word != "" && r.decision.Word != report.Waiting {
		words[r.decision.Word] = true
	}
	for _, x := range r.decision.Destinations {
		if x.Word != "" && x.Word != report.Waiting {
			words[x.Word] = true
		}
	}
	for _, w := range report.Withheld {
		if words[w] {
			d.o.Events.Withheld(w)
		}
	}
	level := slog.LevelDebug // a withheld report is in the metrics and in the list of reports
	if final(o.Word) {
		level = slog.LevelInfo
	}
	d.o.Log.Log(r.work, level, "a report is done", "domain", r.job.Policy.Domain, "report_id", r.job.ReportID, "outcome", o.Word, "reason", o.Reason)
}

// keepLease renews the lease until the work ends. If the lease is lost, or could not be renewed until
// it ran out, the work stops.
func (r *run) keepLease() {
	until := r.job.LeaseUntil
	t := time.NewTicker(leaseTime / 3)
	defer t.Stop()
	for {
		select {
		case <-r.work.Done():
			return
		case <-t.C:
		}
		now := r.now()
		err := r.o.Store.Renew(r.work, r.job, now.Add(leaseTime))
		switch {
		case err == nil:
			until = now.Add(leaseTime)
		case lost(err) || !now.Before(until):
			r.lose()
			return
		}
	}
}

// do decides, builds and sends.
func (r *run) do() (report.Outcome, error) {
	old, err := r.o.Store.Deliveries(r.stop, r.job.ID)
	if err != nil {
		return report.Outcome{}, err
	}
	for _, v := range old {
		r.have[report.Target(v.Address)] = v
	}
	if err := r.begin(); err != nil {
		return report.Outcome{}, err
	}
	if r.decision, err = r.decide(r.stop, r.job, false); err != nil {
		return report.Outcome{}, err
	}
	if err := r.note(); err != nil {
		return report.Outcome{}, err
	}
	ready, release := r.ready()
	defer release()
	if len(ready) > 0 {
		if err := r.send(ready); err != nil {
			return report.Outcome{}, err
		}
	}
	return r.outcome()
}

// decide applies the rules to a job.
func (d *Dispatcher) decide(ctx context.Context, job report.Job, all bool) (destination.Decision, error) {
	now := d.now()
	seen, err := d.o.Store.Seen(ctx, job.Policy.Domain, report.DayOf(now))
	if err != nil {
		return destination.Decision{}, err
	}
	return destination.Decide(ctx, d.o.Resolver, d.o.Settings,
		destination.Facts{Job: job, Seen: seen, Suppression: d.o.Store.Suppression, All: all}, now)
}

// final reports whether nothing more is tried for a delivery.
func final(w report.Word) bool { return w == report.Sent || w == report.Refused || w == report.Failed }

// note writes down what was decided about each destination. Destinations without a usable address are
// not kept: a record can have a hundred of them.
func (r *run) note() error {
	now := r.now()
	current := map[string]bool{}
	for _, x := range r.decision.Destinations {
		if x.Address == "" || x.Word == report.WithheldUnusable {
			continue
		}
		target := report.Target(x.Address)
		current[target] = true
		if x.NoServer {
			if err := r.suppressDomain(x, now); err != nil {
				return err
			}
		}
		v := r.have[target]
		word := x.Word
		if word == "" {
			word = report.Waiting
		}
		if final(v.Word) || v.Word == word && v.Detail == x.Detail {
			continue
		}
		v.Job, v.Address, v.Detail = r.job.ID, x.Address, x.Detail
		if v.Word != word {
			v.Word, v.At = word, now
		}
		if err := r.store(v); err != nil {
			return err
		}
	}
	if r.decision.Word == report.Waiting {
		return nil
	}
	// What waits for a destination that is not in the record any more is over.
	word, detail := r.decision.Word, r.decision.Reason
	if word == "" {
		word, detail = report.WithheldNotRequested, "the record no longer has this destination"
	}
	return r.end(func(target string) bool { return !current[target] }, word, detail)
}

// store writes a delivery.
func (r *run) store(v report.Delivery) error { return r.storeIn(r.work, v) }

func (r *run) storeIn(ctx context.Context, v report.Delivery) error {
	id, err := r.o.Store.SetDelivery(ctx, v)
	if err != nil {
		return err
	}
	v.ID = id
	r.have[report.Target(v.Address)] = v
	return nil
}

// suppressDomain spares the next reports the questions about a domain without a mail server.
func (r *run) suppressDomain(x destination.Destination, now time.Time) error {
	target := report.DomainTarget(x.Address)
	s, err := r.o.Store.Suppression(r.work, target)
	if err != nil && !errors.Is(err, report.ErrUnknown) {
		return err
	}
	if s.Suppressed(now) {
		return nil
	}
	return r.o.Store.Suppress(r.work, report.Suppression{Target: target, Since: now, Until: now.Add(report.SuppressFirst), Strikes: s.Strikes,
		Reason: x.Detail, By: report.ByRefusal, Window: r.job.Window.Begin})
}

// deadline is when the next window closes. Then nothing is tried any more.
func deadline(j report.Job) time.Time {
	return time.Unix(j.Window.End+1+(j.Window.End+1-j.Window.Begin), 0).UTC().Add(report.Grace)
}

// next returns when to try again after that many tries, or false if it is over.
func (r *run) next(tries int) (time.Time, bool) {
	at := r.now().Add(backoff[min(max(tries, 1), len(backoff))-1])
	return at, tries < leastTries || !at.After(deadline(r.job))
}

// later is the outcome after a failure that has nothing to do with a destination.
func (r *run) later(reason string) report.Outcome {
	at, again := r.next(r.job.Tries + 1)
	if !again {
		return report.Outcome{Word: report.Failed, Reason: reason + "; given up, because the next window is over"}
	}
	return report.Outcome{Again: at, Reason: reason}
}

// end gives the waiting deliveries for which over is true their last word.
func (r *run) end(over func(target string) bool, word report.Word, detail string) error {
	for target, v := range r.have {
		if v.Word != report.Waiting || !over(target) {
			continue
		}
		v.Word, v.Detail, v.At, v.NextTry = word, detail, r.now(), time.Time{}
		if err := r.store(v); err != nil {
			return err
		}
		if word == report.Failed {
			r.o.Events.Sent(word)
		}
	}
	return nil
}

// outcome sums up what was decided and what became of the deliveries.
func (r *run) outcome() (report.Outcome, error) {
	if !r.turnAt.IsZero() {
		return report.Outcome{Again: r.turnAt, Reason: "waits for its turn, so that a destination does not get too many mails at once"}, nil
	}
	if r.stop.Err() != nil {
		return report.Outcome{Again: r.now(), Reason: "interrupted because the daemon stopped"}, nil
	}
	var o report.Outcome // of the destinations that could not be looked up
	unknown := map[string]bool{}
	for _, x := range r.decision.Destinations {
		if x.Word == report.Waiting {
			unknown[report.Target(x.Address)] = true
			o.Reason = x.Detail
		}
	}
	whole := r.decision.Word == report.Waiting // nothing can be sent before a lookup succeeds
	if whole {
		o.Reason = r.decision.Reason
	}
	if whole || len(unknown) > 0 {
		if o = r.later(o.Reason); o.Word != "" {
			if err := r.end(func(target string) bool { return whole || unknown[target] }, report.Failed, o.Reason); err != nil {
				return o, err
			}
		}
		if whole && o.Word == "" {
			return o, nil
		}
	}
	count := map[report.Word]int{}
	last := report.Delivery{}
	for target, v := range r.have {
		count[v.Word]++
		switch {
		case v.Word == report.Waiting && !unknown[target]:
			if o.Again.IsZero() || v.NextTry.Before(o.Again) {
				o = report.Outcome{Again: v.NextTry, Reason: "will be tried again: " + v.Reply}
			}
		case v.Word == report.Refused, v.Word == report.Failed && last.Word != report.Refused:
			last = v
		}
	}
	switch {
	case count[report.Waiting] > 0:
		return o, nil
	case count[report.Sent] > 0:
		return report.Outcome{Word: report.Sent, Reason: fmt.Sprintf("sent to %d of %d destinations", count[report.Sent], len(r.have))}, nil
	case last.Word != "":
		return report.Outcome{Word: last.Word, Reason: first(last.Reply, last.Detail)}, nil
	case o.Word != "":
		return o, nil
	}
	return report.Outcome{Word: r.decision.Word, Reason: r.decision.Reason}, nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
