package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sekimori/internal/report"
)

// ErrTrouble means that nothing was tried, because the MTA took none of the last mails.
var ErrTrouble = errors.New("dispatch: the mail server took none of the last mails, so nothing was tried")

// Send sends one report now, because an operator asks for it: by the same rules as Run, but before its
// time, or again. A report that was done keeps its id and goes again to every destination that the
// rules leave. It returns the outcome; its Word is "" if the report waits. The error is that of
// [report.Store.ClaimJob] if the job could not be claimed, report.ErrLost also if the lease was lost.
func (d *Dispatcher) Send(ctx context.Context, id int64) (report.Outcome, error) {
	now := d.now()
	if d.trouble.wait(now) > 0 {
		return report.Outcome{}, ErrTrouble
	}
	job, err := d.o.Store.ClaimJob(ctx, now, id, d.o.Owner, leaseTime)
	if err != nil {
		d.trouble.unused()
		return report.Outcome{}, fmt.Errorf("dispatch: %w", err)
	}
	r := &run{Dispatcher: d, job: job, asked: true, resend: job.Outcome != ""}
	r.job.Outcome = ""
	return d.workOn(ctx, r)
}

// begin makes the deliveries ready for the wish of an operator. Those of a report that was done wait
// again. That is stored, so that another sender goes on if this one is killed.
func (r *run) begin() error {
	for target, v := range r.have {
		if r.asked {
			v.NextTry = time.Time{} // the operator does not wait
			r.have[target] = v
		}
		if !r.resend || !final(v.Word) {
			continue
		}
		v.Word, v.Tries, v.Reply, v.Bounced, v.At = report.Waiting, 0, "", false, r.now()
		if err := r.store(v); err != nil {
			return err
		}
	}
	return nil
}
