// Package collect counts messages for DMARC reports and for the ledger. It takes what every message
// tells (report.Observation, ledger.Entry) from a bounded queue, adds up equal rows, and writes them to
// the store in batches. A message never waits: if the queue is full, its observation is dropped and counted.
//
//	Decided -> queue -> one goroutine adds up -> one goroutine writes -> store
//	                                                     |  store away
//	                                                     v
//	                                                   spool -> a third goroutine drains it -> store
//
// Only PostgreSQL has a spool. Without one, rows stay in memory while the store fails, up to a limit.
package collect

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/judge"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
)

const (
	// maxQueue is the number of observations that wait to be added up: three seconds of 5,000
	// messages a second.
	maxQueue = 16384
	// maxQueueOctets is their size. Senders choose how long an observation is.
	maxQueueOctets = 16 << 20
	// maxUnfinished is how many messages wait for results that come after their reply, as many as in
	// package msgauth.
	maxUnfinished = 256
	// maxWritten is how many domains of one message's recipients are remembered as written to.
	maxWritten = 20
)

// Settings are what a reload of the configuration can change.
type Settings struct {
	Interval     time.Duration // length of a window; a divisor of 24 h
	Spread       time.Duration
	Organization string
	MaxRows      int64 // of a job
	EnvelopeTo   bool
	// Correspondents says that the domains to which authenticated users write are remembered.
	Correspondents bool
	Domain         dns.Name // of our report mail, or ""
	// Group is the group of this host in the ledger, and MaxDomains how many rows a day may have there.
	Group      string
	MaxDomains int64
	// Country returns the country of a client, or ledger.UnknownCountry. nil counts no countries. It is
	// called in the background.
	Country func(netip.Addr) string
}

// Options are what a Collector needs.
type Options struct {
	// Store returns the store, or nil as long as it is not open. It must not block.
	Store func() report.Store
	// Spool takes batches while the store fails. It may be nil.
	Spool *Spool
	// Every is the time between two writes.
	Every time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Collector is a filter.Observer. Its methods may be called by several goroutines at a time.
type Collector struct {
	o        Options
	settings atomic.Pointer[Settings]
	owners   *suffix.Memory
	counts   Counts

	unfinished chan *judge.Decision // messages with a Whole
	queue      chan observed
	contents   sync.Pool    // each *content that is free
	octets     atomic.Int64 // of the observations in the queue
	// closing guards closed and ended. Who sends to a channel holds it shared, so that nothing is sent
	// after Stop has closed the channel.
	closing sync.RWMutex
	closed  bool // unfinished is
	ended   bool // the queue is

	batches                chan report.Batch // to the writer; taken one at a time
	idle                   chan struct{}     // from the writer, after each batch
	busy                   atomic.Bool       // the writer has a batch
	writing                atomic.Int64      // rows of that batch
	writer                 *Writer[report.Batch]
	waiter, adder, written sync.WaitGroup
}

// content has room for what is told of a message. It is used again for other messages.
type content struct {
	obs   report.Observation
	entry ledger.Entry
}

// observed is an element of the queue: a message, of which obs or entry is set or both, or wrote.
type observed struct {
	content *content // where obs and entry point to
	obs     *report.Observation
	entry   *ledger.Entry
	wrote   []dns.Name // domains to which a user of ours wrote
	octets  int64
}

// New returns a Collector that runs in the background until Stop.
func New(o Options, s Settings) *Collector {
	c := &Collector{o: o, owners: suffix.NewMemory(), unfinished: make(chan *judge.Decision, maxUnfinished), queue: make(chan observed, maxQueue), batches: make(chan report.Batch), idle: make(chan struct{}, 1)}
	c.Set(s)
	c.writer = NewWriter(WriterOptions[report.Batch]{
		Name: "reports", Add: c.toStore, Spool: o.Spool, Rows: rowsOf, Lost: c.drop, Counts: &c.counts.Written, Log: o.Log,
	})
	c.waiter.Go(c.await)
	c.adder.Go(c.add)
	c.written.Go(c.write)
	return c
}

// Set changes the settings. What is in the queue is added up by the new settings.
func (c *Collector) Set(s Settings) { c.settings.Store(&s) }

// Counts returns what has been counted since the start.
func (c *Collector) Counts() *Counts { return &c.counts }

// Decided takes the observation of a message. It never blocks, and starts no goroutine.
func (c *Collector) Decided(d *judge.Decision, _ time.Duration) {
	s := c.settings.Load()
	if d.Evaluation == nil {
		if s.Correspondents && d.Skipped == policy.ReasonAuthenticated {
			c.wrote(d, s)
		}
		return
	}
	switch d.Learned {
	case ledger.Harsher:
		c.counts.Harsher.Add(1)
	case ledger.Milder:
		c.counts.Milder.Add(1)
	}
	if d.Whole == nil || !c.later(d) {
		c.observe(d, d.Evaluation)
	}
}

// observe takes the observation of a message with this Evaluation, for a report and for the ledger.
func (c *Collector) observe(d *judge.Decision, e *msgauth.Evaluation) {
	m, reused := c.contents.Get().(*content)
	if !reused {
		m = new(content)
	}
	o := observed{content: m}
	if obs, ok := report.Observe(e, d.Verdict, report.Options{
		EnvelopeTo: c.settings.Load().EnvelopeTo, AboutReports: d.AboutReports, Spam: d.Spam,
	}); ok {
		if obs.Incomplete {
			c.counts.Incomplete.Add(1)
		}
		m.obs, o.obs, o.octets = obs, &m.obs, size(&obs)
	}
	if entry, ok := ledger.Observe(e, &d.Verdict, d.Learned, c.owners.Owner); ok {
		m.entry, o.entry = entry, &m.entry
		o.octets += entryOctets
	}
	if o.octets > 0 {
		c.put(o)
	} else {
		c.contents.Put(m)
	}
}

// later hands a message to await. It returns false if no more messages can wait; the row then says of
// the missing results that nobody waited for them.
func (c *Collector) later(d *judge.Decision) bool {
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.closed {
		return false
	}
	select {
	case c.unfinished <- d:
		return true
	default:
		return false
	}
}

// await observes the messages whose results come after their reply. All of them are waited for at the
// same time in package msgauth, for 2 s at most, so it does not matter that they are taken here one
// after the other.
func (c *Collector) await() {
	for d := range c.unfinished {
		c.observe(d, d.Whole.Wait(c.writer.stop))
	}
}

// wrote takes the domains of the recipients of a user's message. Neither bounces nor our report mail
// count: a report must not establish the domain that it is sent to.
func (c *Collector) wrote(d *judge.Decision, s *Settings) {
	from, err := mailaddr.ParsePath(d.Envelope.MailFrom)
	if err != nil || from.Domain == "" || s.Domain != "" && from.Domain == s.Domain {
		return
	}
	var to []dns.Name
	for _, r := range d.Envelope.Recipients {
		path, err := mailaddr.ParsePath(r)
		if err != nil || path.Domain == "" {
			continue
		}
		to = append(to, dns.Name(strings.Clone(string(path.Domain))))
		if owner := suffix.Owner(path.Domain); owner != "" && owner != path.Domain {
			to = append(to, dns.Name(strings.Clone(string(owner)))) // whose policy a subdomain has
		}
		if len(to) >= maxWritten {
			break
		}
	}
	if len(to) > 0 {
		c.put(observed{wrote: to, octets: maxWritten * 64})
	}
}

func (c *Collector) put(o observed) {
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.ended || c.octets.Add(o.octets) > maxQueueOctets {
		c.refuse(o, !c.ended)
		return
	}
	select {
	case c.queue <- o:
		if o.obs != nil {
			c.counts.Queued.Add(1)
		}
	default:
		c.refuse(o, true)
	}
}

// refuse counts an observation that does not fit. A user's correspondents are not counted: nothing is
// wrong in a report without them.
func (c *Collector) refuse(o observed, taken bool) {
	if taken {
		c.octets.Add(-o.octets)
	}
	if o.obs != nil {
		c.counts.Dropped.Add(1)
		c.counts.LostQueue.Add(1)
	}
	if o.entry != nil {
		c.counts.LedgerDropped.Add(1)
	}
}

// Stop takes no more observations, writes what is there, and ends. When ctx ends, what could not be
// written is counted as lost. With a spool, what the store does not take is in the spool then.
func (c *Collector) Stop(ctx context.Context) {
	c.closing.Lock()
	stopped := c.closed
	c.closed = true
	if !stopped {
		close(c.unfinished)
	}
	c.closing.Unlock()
	if stopped {
		return
	}
	free := context.AfterFunc(ctx, c.writer.GiveUp)
	defer free()
	c.waiter.Wait()
	c.closing.Lock()
	c.ended = true
	close(c.queue)
	c.closing.Unlock()
	c.adder.Wait()
	c.written.Wait()
	c.writer.Close()
}

const (
	// fixedOctets is about what an observation takes without its strings.
	fixedOctets = 700
	// entryOctets is about what an entry of the ledger takes, with its names.
	entryOctets = 700
)

// size returns about how much memory an observation takes, in octets.
func size(o *report.Observation) int64 {
	return fixedOctets + int64(len(o.Policy.Domain)+len(o.Policy.FO)+len(o.Policy.Invalid)) + textSize(&o.Row)
}

// textSize returns the octets of what differs in length between rows.
func textSize(r *report.Row) int64 {
	n := len(r.HeaderFrom) + len(r.EnvelopeFrom) + len(r.EnvelopeTo) + len(r.AuthSPF.Domain) + 32*len(r.Reasons)
	for i := range r.AuthDKIM {
		n += 64 + len(r.AuthDKIM[i].Domain) + len(r.AuthDKIM[i].Selector)
	}
	return int64(n)
}
