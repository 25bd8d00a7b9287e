// Package failures sends failure reports (RFC 9991) on single messages. It takes incidents without
// ever blocking, asks for each whether its domain is established and who agreed to get such reports,
// and merges what is too much. A failure report is worth little after a while, so the store keeps only
// how many were sent, and nothing is tried again.
package failures

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"sekimori/internal/dispatch"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
	"sekimori/internal/printable"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/report/failure"
	"sekimori/internal/submit"
)

const (
	// maxQueued is the number of incidents that wait. Each has a few KiB.
	maxQueued = 1000
	// maxKnown is the number of domains whose answer is remembered, and maxKnownTime for how long.
	maxKnown     = 10000
	maxKnownTime = time.Hour
	// maxAddresses is the number of reports whose bounces are recognized: those of several days.
	maxAddresses = 5000
	// dueTime is how often merged incidents are looked at.
	dueTime = 5 * time.Minute
	// maxDecide and maxSubmit are the times for the lookups and for handing a mail to the MTA.
	maxDecide = 30 * time.Second
	maxSubmit = 2 * time.Minute
)

// Options says which failure reports are sent, and how.
type Options struct {
	Store    report.Store
	Resolver dns.Resolver
	Submit   dispatch.Submitter
	Identity dispatch.Identity
	Settings destination.Settings // with Send for failure reports
	Domains  []policy.Pattern     // the policy domains that get failure reports; empty means all
	// PerDomain and Total are the most reports a day.
	PerDomain, Total int
	Sign             func(mail func(io.Writer) error) (string, error) // as in dispatch.Options
	Now              func() time.Time                                 // nil is time.Now
	Log              *slog.Logger                                     // nil discards
	// Memory is what the Sender before this one remembered. nil means that there was none.
	Memory *Memory
	// Sent and Withheld are called as in dispatch.Events, Withheld at most once in maxKnownTime for a
	// domain. Dropped is called for an incident that no report counts: too many waited, the reports of
	// the day were used up, or nothing could be found out about its domain. All may be nil.
	Sent, Withheld func(report.Word)
	Dropped        func()
}

// Sender sends failure reports. Its methods are safe for concurrent use.
type Sender struct {
	o     Options
	queue chan failure.Incident
	known map[dns.Name]decision // used by Run only
}

// Memory is what outlives a Sender when the configuration is read again: how many reports were sent, and
// to whom. Its methods are safe for concurrent use.
type Memory struct {
	mu        sync.Mutex
	limiter   *failure.Limiter
	addresses map[int64]string // by delivery
	order     []int64          // the keys of addresses, the oldest first
	next      int64
}

// NewMemory returns a Memory that has seen no report.
func NewMemory() *Memory {
	return &Memory{limiter: failure.NewLimiter(0, 0), addresses: map[int64]string{}, next: firstDelivery()}
}

// decision is what was decided about a domain.
type decision struct {
	word report.Word // "" if it gets reports
	at   time.Time
}

// New returns a Sender. The options must be complete, as for dispatch.New.
func New(o Options) (*Sender, error) {
	if o.Store == nil || o.Resolver == nil || o.Submit == nil || o.Identity.Domain == "" {
		return nil, errors.New("failures: store, resolver, submitter and identity are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Sent == nil {
		o.Sent = func(report.Word) {}
	}
	if o.Withheld == nil {
		o.Withheld = func(report.Word) {}
	}
	if o.Dropped == nil {
		o.Dropped = func() {}
	}
	if o.Memory == nil {
		o.Memory = NewMemory()
	}
	id := o.Identity
	o.Settings.Own = append(slices.Clone(o.Settings.Own), id.From+"@"+string(id.Domain), id.Bounce+"@"+string(id.Domain))
	return &Sender{o: o, queue: make(chan failure.Incident, maxQueued), known: map[dns.Name]decision{}}, nil
}

// firstDelivery returns a random id. The processes of a farm must not use the same ids: a bounce may
// come to another one than the one that sent the report.
func firstDelivery() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return dispatch.FirstFailure + int64(binary.BigEndian.Uint64(b[:])>>3)
}

// Offer takes an incident, or drops it if too many wait. It never blocks.
func (s *Sender) Offer(i failure.Incident) {
	select {
	case s.queue <- i:
	default:
		s.o.Dropped()
	}
}

// Run sends reports until ctx ends. What waits then is forgotten, and so is what a Sender before this one
// had merged: it was observed under other settings.
func (s *Sender) Run(ctx context.Context) {
	s.o.Memory.resume(s.o.PerDomain, s.o.Total)
	due := time.NewTicker(dueTime)
	defer due.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case i := <-s.queue:
			if !s.wanted(ctx, i.PolicyDomain) {
				continue
			}
			r, ready, dropped := s.o.Memory.add(s.o.Now(), i)
			switch {
			case ready:
				s.send(ctx, r)
			case dropped:
				s.o.Dropped()
			}
		case <-due.C:
			for _, r := range s.o.Memory.due(s.o.Now()) {
				s.send(ctx, r)
			}
		}
	}
}

// wanted reports whether the domain gets failure reports, as far as that was found out within
// maxKnownTime. It is asked before the limiter, because otherwise domains that get no report would use
// up the reports of the day.
func (s *Sender) wanted(ctx context.Context, domain dns.Name) bool {
	if len(s.o.Domains) > 0 && !slices.ContainsFunc(s.o.Domains, func(p policy.Pattern) bool { return p.Matches(domain) }) {
		return false
	}
	now := s.o.Now()
	if d, ok := s.known[domain]; ok && now.Sub(d.at).Abs() < maxKnownTime {
		return d.word == ""
	}
	d, ok := s.decide(ctx, domain)
	if !ok {
		return false
	}
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[domain] = decision{d.Word, now}
	switch d.Word {
	case "":
	case report.Waiting: // a lookup failed
		s.o.Dropped()
	default:
		s.o.Withheld(d.Word)
	}
	return d.Word == ""
}

// decide applies the rules for aggregate reports to a domain, with ruf in place of rua.
func (s *Sender) decide(ctx context.Context, domain dns.Name) (destination.Decision, bool) {
	limited, cancel := context.WithTimeout(ctx, maxDecide)
	defer cancel()
	now := s.o.Now().UTC()
	seen, err := s.o.Store.Seen(limited, domain, report.DayOf(now))
	if err == nil {
		job := report.Job{Policy: report.Policy{Domain: domain}, Messages: 1, Causes: 1}
		var d destination.Decision
		if d, err = destination.Decide(limited, s.o.Resolver, s.o.Settings,
			destination.Facts{Kind: destination.Failure, Job: job, Seen: seen, Suppression: s.o.Store.Suppression}, now); err == nil {
			return d, true
		}
	}
	s.drop(ctx, domain, err)
	return destination.Decision{}, false
}

// drop notes that an incident is lost, unless it is because Run ends.
func (s *Sender) drop(ctx context.Context, domain dns.Name, err error) {
	if ctx.Err() != nil {
		return
	}
	s.o.Dropped()
	s.o.Log.Warn("a failure report is dropped", "domain", domain, "error", err)
}

// send sends one report to every destination of the record as it is now.
func (s *Sender) send(ctx context.Context, r failure.Ready) {
	d, ok := s.decide(ctx, r.Incident.PolicyDomain)
	if !ok || d.Word != "" {
		return
	}
	secret, err := s.o.Store.Secret(ctx)
	allowed := false
	if err == nil {
		allowed, err = s.allowed(ctx, r.Incident.PolicyDomain)
	}
	if err != nil {
		s.drop(ctx, r.Incident.PolicyDomain, err)
		return
	}
	if !allowed {
		s.o.Memory.giveBack(s.o.Now(), r)
		return
	}
	for _, x := range d.Destinations {
		if x.Word != "" {
			continue
		}
		if err := s.submit(ctx, r, x.Address, secret); err != nil {
			s.o.Log.Warn("a failure report was not sent", "domain", r.Incident.PolicyDomain, "error", err)
		}
	}
}

// allowed counts a report against the limits of the farm: another host may have sent one.
func (s *Sender) allowed(ctx context.Context, domain dns.Name) (bool, error) {
	now := s.o.Now().UTC()
	for _, l := range []struct {
		name string
		most int
	}{{fmt.Sprintf("failure reports on %s, hour %d", domain, now.Hour()), 1}, {"failure reports on " + string(domain), s.o.PerDomain}, {"failure reports", s.o.Total}} {
		ok, err := s.o.Store.Allow(ctx, report.DayOf(now), l.name, int64(l.most))
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (s *Sender) submit(ctx context.Context, r failure.Ready, to string, secret []byte) error {
	// A transaction that has begun may end after the daemon was told to stop.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxSubmit)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		drained := time.AfterFunc(dispatch.DefaultDrain, cancel)
		<-work.Done()
		drained.Stop()
	})()
	id, now := s.o.Identity, s.o.Now().UTC()
	var mail bytes.Buffer // a few KiB
	err := failure.Write(&mail, &failure.Mail{
		Incident: r.Incident, Incidents: r.Incidents, MessageID: strings.ToLower(rand.Text()) + "@" + string(id.Domain),
		FromName: id.Organization + " DMARC reports", From: id.From + "@" + string(id.Domain), To: to, Date: now,
		UserAgent: strings.ReplaceAll(id.Generator, " ", "/"), Organization: id.Organization, Contact: id.Contact,
	})
	write := func(w io.Writer) error {
		_, err := w.Write(mail.Bytes())
		return err
	}
	signature := ""
	if err == nil && s.o.Sign != nil {
		signature, err = s.o.Sign(write)
	}
	if err != nil {
		s.o.Sent(report.Failed)
		return err
	}
	delivery := s.o.Memory.remember(to)
	result, err := s.o.Submit.Submit(work, submit.Envelope{
		From: report.BounceLocal(id.Bounce, report.BounceToken(secret, delivery)) + "@" + string(id.Domain), To: to,
		Size: int64(len(signature) + mail.Len()), SMTPUTF8: !printable.IsASCII(to),
	}, func(w io.Writer) error {
		if _, err := io.WriteString(w, signature); err != nil {
			return err
		}
		return write(w)
	})
	if err != nil {
		s.o.Sent(report.Failed)
		return err
	}
	switch result.Kind {
	case submit.Sent:
		s.o.Sent(report.Sent)
	case submit.Refused:
		s.o.Sent(report.Refused)
	default:
		s.o.Sent(report.Failed)
	}
	return dispatch.Learn(work, s.o.Store, to, result, now.Truncate(24*time.Hour).Unix(), now)
}

func (m *Memory) resume(perDomain, total int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limiter.Resume(perDomain, total)
}

// add returns a report that may be sent now, or says that no report will count the incident.
func (m *Memory) add(now time.Time, i failure.Incident) (r failure.Ready, ready, dropped bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.limiter.Dropped()
	r, ready = m.limiter.Add(now, i)
	return r, ready, m.limiter.Dropped() > before
}

// giveBack takes back a report that the farm's limits do not allow now.
func (m *Memory) giveBack(now time.Time, r failure.Ready) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limiter.Return(now, r)
}

func (m *Memory) due(now time.Time) []failure.Ready {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.limiter.Due(now)
}

// remember gives a mail a delivery id, so that its bounce is recognized.
func (m *Memory) remember(address string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	m.addresses[m.next] = address
	m.order = append(m.order, m.next)
	if len(m.order) > maxAddresses {
		delete(m.addresses, m.order[0])
		m.order = m.order[1:]
	}
	return m.next
}

// Address returns the address of a report that this process sent. It is what dispatch.Echo asks for.
func (m *Memory) Address(delivery int64) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.addresses[delivery]
	return a, ok
}
