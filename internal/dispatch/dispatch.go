// Package dispatch sends DMARC aggregate reports. It claims jobs of the store, decides to whom each
// goes, builds the report, hands one mail for each destination to the MTA, and writes down what became
// of it. Several senders can work on one store: a job belongs to the sender that holds its lease.
package dispatch

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/submit"
)

const (
	// maxWorkers is the number of jobs that are worked on at a time. A destination holds one of them at
	// most, however slowly its mail is taken.
	maxWorkers = 16
	// leaseTime is how long a claim lasts without renewal. After a kill, another sender goes on then.
	leaseTime = 5 * time.Minute
	// pollTime is how often the store is asked for jobs when none was due.
	pollTime = 5 * time.Second
	// turnTime is pollTime while jobs wait for their turn.
	turnTime = time.Second
	// finishTime is the time for writing to the store after the dispatcher was told to stop.
	finishTime = 5 * time.Second
)

// The defaults of Options.
const (
	DefaultRate        = 10
	DefaultRatePerHost = 1
	DefaultDrain       = 20 * time.Second
	DefaultKeep        = 72 * time.Hour
)

// Submitter hands a mail to the MTA. It is a [submit.Submitter] except in tests.
type Submitter interface {
	Submit(ctx context.Context, e submit.Envelope, body func(io.Writer) error) (submit.Result, error)
}

// Identity is who sends the reports.
type Identity struct {
	Organization string   // org_name
	Domain       dns.Name // of From and of the return path
	From         string   // local part of From
	Bounce       string   // local part of the return path, before "+" and the token
	Contact      string   // mail address for questions
	ContactInfo  string   // a web page or another text, or ""
	Generator    string   // such as "sekimori 1.2.3"
}

// Options says how reports are sent.
type Options struct {
	Store    report.Store
	Resolver dns.Resolver
	Submit   Submitter
	Identity Identity
	// Settings are the rules. New adds the addresses of Identity to Settings.Own.
	Settings destination.Settings
	// Sign returns the DKIM-Signature field of a mail, with CR LF at its end. The function mail writes
	// the mail and can be called several times. nil means that the MTA signs.
	Sign func(mail func(io.Writer) error) (string, error)
	// Owner names this process in claims. It must be unique: another process with the same name would
	// hold the same leases.
	Owner string
	// Rate is the number of mails a second, in total, and RatePerHost to the destinations below one
	// registered domain.
	// 0 means the default.
	Rate, RatePerHost float64
	Keep              time.Duration // how long a job is kept after it is done; 0 means DefaultKeep
	// Drain is how long a transaction may take after Run was told to stop. 0 means DefaultDrain.
	Drain  time.Duration
	Dir    string           // of the temporary files; "" is that of the system
	Now    func() time.Time // nil is time.Now
	Log    *slog.Logger     // nil discards
	Events Events
}

// Events are called when something is counted. Each may be nil. They must not block.
type Events struct {
	Sent       func(result report.Word) // Sent, Refused or Failed, once for each destination
	Withheld   func(reason report.Word) // a word of report.Withheld, at most once for each job and word
	Built      func(time.Duration)      // a report was built
	Suppressed func(destinations int)   // how many are suppressed now; once an hour
	Claimed    func(error)              // the outcome of asking the store for work; nil also if there was none
}

// Dispatcher sends reports. Its methods are safe for concurrent use.
type Dispatcher struct {
	o        Options
	total    pace
	hosts    hosts
	trouble  trouble
	mu       sync.Mutex
	soonest  time.Time // when the first of the jobs that were put off is due again; zero if none is known
	turns    time.Time // until when jobs were put off because of the pace
	complain time.Time // when trouble with the store was logged last
}

// New checks the options.
func New(o Options) (*Dispatcher, error) {
	if o.Store == nil || o.Resolver == nil || o.Submit == nil || o.Owner == "" {
		return nil, errors.New("dispatch: store, resolver, submitter and owner are needed")
	}
	id := o.Identity
	if id.Organization == "" || id.Domain == "" || id.From == "" || id.Bounce == "" || id.Contact == "" {
		return nil, errors.New("dispatch: organization, domain, from, bounce and contact are needed")
	}
	for _, d := range []struct {
		value *float64
		or    float64
	}{{&o.Rate, DefaultRate}, {&o.RatePerHost, DefaultRatePerHost}} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Drain <= 0 {
		o.Drain = DefaultDrain
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Events = o.Events.complete()
	o.Settings.Own = append(append([]string(nil), o.Settings.Own...), id.From+"@"+string(id.Domain), id.Bounce+"@"+string(id.Domain))
	return &Dispatcher{
		o:     o,
		total: pace{gap: time.Duration(float64(time.Second) / o.Rate)},
		hosts: hosts{gap: time.Duration(float64(time.Second) / o.RatePerHost), all: map[dns.Name]*host{}},
	}, nil
}

// complete replaces functions that are nil.
func (e Events) complete() Events {
	if e.Sent == nil {
		e.Sent = func(report.Word) {}
	}
	if e.Withheld == nil {
		e.Withheld = func(report.Word) {}
	}
	if e.Built == nil {
		e.Built = func(time.Duration) {}
	}
	if e.Suppressed == nil {
		e.Suppressed = func(int) {}
	}
	if e.Claimed == nil {
		e.Claimed = func(error) {}
	}
	return e
}

// Run sends reports until ctx ends. Then the transactions under way may end within Drain, the leases
// are given back, and Run returns.
func (d *Dispatcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { d.housekeeping(ctx) })
	slots := make(chan struct{}, maxWorkers)
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		job, wait, ok := d.claim(ctx)
		if !ok {
			<-slots
			sleep(ctx, wait)
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			_, _ = d.work(ctx, job) // it is logged
		})
	}
	wg.Wait()
}

func (d *Dispatcher) now() time.Time { return d.o.Now().UTC() }

// claim asks the store for a job. If there is none, wait says when to ask again.
func (d *Dispatcher) claim(ctx context.Context) (job report.Job, wait time.Duration, ok bool) {
	now := d.now()
	if wait = d.trouble.wait(now); wait > 0 {
		return job, wait, false
	}
	job, err := d.o.Store.Claim(ctx, now, d.o.Owner, leaseTime)
	if err != nil {
		d.trouble.unused()
	}
	switch {
	case err == nil:
		d.o.Events.Claimed(nil)
		return job, 0, true
	case errors.Is(err, report.ErrNone):
		d.o.Events.Claimed(nil)
		return job, d.idle(now), false
	case ctx.Err() == nil:
		d.o.Events.Claimed(err)
		d.storeFailed(err)
	}
	return job, pollTime, false
}

// idle returns how long to wait when no job is due: until the first that was put off, but not longer
// than pollTime. While jobs wait for their turn, one is due every second or so.
func (d *Dispatcher) idle(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	most := pollTime
	if now.Before(d.turns) {
		most = turnTime
	}
	wait := d.soonest.Sub(now)
	if wait <= 0 {
		d.soonest = time.Time{}
		return most
	}
	return min(wait, most)
}

// putOff notes when a job is due again. turn says that it waits for the pace of a destination.
func (d *Dispatcher) putOff(at time.Time, turn bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.soonest.IsZero() || at.Before(d.soonest) {
		d.soonest = at
	}
	if turn && at.After(d.turns) {
		d.turns = at
	}
}

// storeFailed logs trouble with the store, at most once a minute.
func (d *Dispatcher) storeFailed(err error) {
	d.mu.Lock()
	now := d.o.Now()
	again := now.Sub(d.complain) >= time.Minute || now.Before(d.complain)
	if again {
		d.complain = now
	}
	d.mu.Unlock()
	if again {
		d.o.Log.Error("reports cannot be sent: the store fails", "error", err)
	}
}

// sleep waits, and returns earlier if ctx ends.
func sleep(ctx context.Context, wait time.Duration) {
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// unique returns the random part of a Report-ID: 80 bits.
func unique() string { return strings.ToLower(rand.Text()[:16]) }
