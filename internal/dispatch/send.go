package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report"
	"sekimori/internal/report/aggregate"
	"sekimori/internal/report/destination"
	"sekimori/internal/submit"
)

// turn is a destination whose turn has come.
type turn struct {
	destination.Destination
	owner dns.Name  // whose turn it is
	at    time.Time // when the mail may be sent
}

// ready returns the destinations that get the report now, and takes their turns. release gives the
// turns back.
func (r *run) ready() (ready []turn, release func()) {
	now := r.now()
	taken := map[dns.Name]bool{}
	for _, x := range r.decision.Destinations {
		v := r.have[report.Target(x.Address)]
		if x.Word != "" || r.decision.Word != "" || final(v.Word) || v.NextTry.After(now) || r.stop.Err() != nil {
			continue
		}
		owner := report.Owner(x.Host)
		wait, again, ok := r.hosts.take(owner, now, taken[owner])
		if !ok {
			if r.turnAt.IsZero() || again.Before(r.turnAt) {
				r.turnAt = again
			}
			continue
		}
		taken[owner] = true
		ready = append(ready, turn{x, owner, now.Add(wait)})
	}
	return ready, func() {
		for name := range taken {
			r.hosts.release(name, r.last[name])
		}
	}
}

// send builds the report and hands it to the MTA, once for each destination.
func (r *run) send(ready []turn) error {
	if err := r.identify(r.stop); err != nil {
		return err
	}
	secret, err := r.o.Store.Secret(r.stop)
	if err != nil {
		return err
	}
	f, err := r.build(r.stop, r.job, r.notes())
	if err != nil {
		return err
	}
	defer f.Close()
	for _, t := range ready {
		wait := later(t.at, r.last[t.owner].Add(r.hosts.gap)).Sub(r.now())
		sleep(r.stop, min(wait, maxPatience+r.hosts.gap)) // longer only if the clock was set back
		if !r.total.wait(r.stop, r.now()) {
			return nil
		}
		r.last[t.owner] = r.now()
		if err := r.submit(t, f, secret); err != nil {
			return err
		}
	}
	return nil
}

// identify gives the job its Report-ID, unless it has one. It is stored before the first attempt, so
// every attempt has the same.
func (r *run) identify(ctx context.Context) error {
	if r.job.ReportID != "" {
		return nil
	}
	id := aggregate.NewReportID(unique(), r.job.Window, r.job.Policy.Domain, r.o.Identity.Domain)
	id, err := r.o.Store.SetReportID(ctx, r.job, id)
	if err != nil {
		return err
	}
	r.job.ReportID = id
	return nil
}

// notes says in the report what is wrong with the record's destinations (§3.1.5).
func (r *run) notes() []string {
	var unusable, unverified int
	for _, x := range r.decision.Destinations {
		switch x.Word {
		case report.WithheldUnusable:
			unusable++
		case report.WithheldUnverified:
			unverified++
		}
	}
	var out []string
	if unusable > 0 {
		out = append(out, fmt.Sprintf("%d destinations in rua cannot be used", unusable))
	}
	if unverified > 0 {
		out = append(out, fmt.Sprintf("%d external destinations in rua have not agreed", unverified))
	}
	return out
}

// file is a report that was built, in a temporary file that has no name any more.
type file struct {
	*os.File
	report *aggregate.Report
}

// build writes the compressed report to a temporary file. Its name is removed at once, so that a kill
// leaves nothing behind.
func (d *Dispatcher) build(ctx context.Context, job report.Job, notes []string) (*file, error) {
	begin := d.o.Now()
	f, err := os.CreateTemp(d.o.Dir, "report-*.xml.gz")
	if err != nil {
		return nil, fmt.Errorf("dispatch: temporary file: %w", err)
	}
	os.Remove(f.Name())
	id := d.o.Identity
	a := &aggregate.Report{Job: job, Organization: id.Organization, Contact: id.Contact, ContactInfo: id.ContactInfo, ReportID: job.ReportID,
		Generator: id.Generator, Errors: notes}
	if err := aggregate.WriteGzip(f, a, d.o.Store.Rows(ctx, job.ID)); err != nil {
		f.Close()
		return nil, fmt.Errorf("dispatch: %w", err)
	}
	d.o.Events.Built(d.o.Now().Sub(begin))
	return &file{f, a}, nil
}

// mail returns a function that writes the mail with the report, and the mail's length. The function can
// be called several times, but not at once.
func (d *Dispatcher) mail(f *file, to string) (write func(io.Writer) error, size int64, err error) {
	id := d.o.Identity
	m := &aggregate.Mail{Report: f.report, FromName: id.Organization + " DMARC reports", From: id.From + "@" + string(id.Domain), To: to, Date: d.now()}
	plain := func(w io.Writer) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return aggregate.WriteMail(w, m, f.File)
	}
	signature := ""
	if d.o.Sign != nil {
		if signature, err = d.o.Sign(plain); err != nil {
			return nil, 0, fmt.Errorf("dispatch: DKIM signature: %w", err)
		}
	}
	write = func(w io.Writer) error {
		if _, err := io.WriteString(w, signature); err != nil {
			return err
		}
		return plain(w)
	}
	var n counter
	if err := write(&n); err != nil {
		return nil, 0, err
	}
	return write, int64(n), nil
}

// counter counts what is written to it.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// submit hands the mail to the MTA and writes down what came of it.
func (r *run) submit(t turn, f *file, secret []byte) error {
	v := r.have[report.Target(t.Address)]
	write, size, err := r.mail(f, t.Address)
	if err != nil {
		return err
	}
	id := r.o.Identity
	var leaseErr error
	result, err := r.o.Submit.Submit(r.work, submit.Envelope{
		From: report.BounceLocal(id.Bounce, report.BounceToken(secret, v.ID)) + "@" + string(id.Domain), To: t.Address,
		ID: strconv.FormatInt(r.job.ID, 10), Size: size, SMTPUTF8: !printable.IsASCII(t.Address),
		Check: func() error { // the last moment at which another sender can have the job without two mails
			leaseErr = r.o.Store.Renew(r.work, r.job, r.now().Add(leaseTime))
			return leaseErr
		},
	}, write)
	if err == nil {
		r.trouble.report(result.Kind == submit.Temporary && (result.Code == 0 || result.Code == 421), r.now())
		if result.Kind != submit.Temporary { // true even if the lease was lost meanwhile
			return r.record(v, result)
		}
	}
	switch {
	case leaseErr != nil:
		return leaseErr
	case r.work.Err() != nil:
		return context.Cause(r.work)
	case err != nil:
		result = submit.Result{Kind: submit.Temporary, Reply: err.Error()}
	}
	return r.record(v, result)
}

// record writes down the result of a submission.
func (r *run) record(v report.Delivery, result submit.Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.work), finishTime)
	defer cancel()
	now := r.now()
	v.Tries++
	v.Reply, v.At, v.NextTry = result.Reply, now, time.Time{}
	switch result.Kind {
	case submit.Sent:
		v.Word = report.Sent
	case submit.Refused:
		v.Word = report.Refused
	default:
		at, again := r.next(v.Tries)
		if v.NextTry = at; !again {
			v.Word, v.NextTry = report.Failed, time.Time{}
		}
	}
	if v.Word != report.Waiting {
		r.o.Events.Sent(v.Word)
	}
	if stored, err := r.o.Store.Delivery(ctx, v.ID); err == nil && stored.Bounced { // the bounce was faster than this
		stored.Tries = v.Tries
		return r.storeIn(ctx, stored)
	}
	if err := r.storeIn(ctx, v); err != nil || v.Word == report.Waiting {
		return err
	}
	return Learn(ctx, r.o.Store, v.Address, result, r.job.Window.Begin, now)
}

// Learn changes the entry of a destination after the MTA took or refused a report to it: a refusal is a
// strike, and a success begins the time after which strikes are forgotten. window is the begin of the
// window that the report belongs to.
func Learn(ctx context.Context, store report.Store, address string, result submit.Result, window int64, now time.Time) error {
	refused := result.Kind == submit.Refused
	if result.Kind == submit.Temporary || refused && !aboutDestination(result) {
		return nil
	}
	target := report.Target(address)
	s, err := store.Suppression(ctx, target)
	known := !errors.Is(err, report.ErrUnknown)
	switch {
	case known && err != nil:
		return err
	case refused:
		s.Target = target
		s = s.Strike(report.Failure{Status: result.Enhanced, Reason: result.Reply, By: report.ByRefusal, Window: window}, now)
	case !known || s.Strikes == 0 || !s.Sent.IsZero():
		return nil
	default:
		s.Sent = now
	}
	return store.Suppress(ctx, s)
}

// aboutDestination reports whether a refusal says something about the destination. Other refusals, such
// as 5.7.1 for a host that may not relay, are about this host or this mail. They would suppress every
// destination.
func aboutDestination(r submit.Result) bool {
	if r.Enhanced == "" {
		return r.Code == 550 || r.Code == 551 || r.Code == 553
	}
	return strings.HasPrefix(r.Enhanced, "5.1.") || strings.HasPrefix(r.Enhanced, "5.2.") || strings.HasPrefix(r.Enhanced, "5.4.")
}
