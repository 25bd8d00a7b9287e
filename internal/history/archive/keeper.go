// Package archive keeps decisions in the store, and finds them there again: those of the last days, of
// every host that shares the store. It takes each decision from a bounded queue, so that no message
// waits; what does not fit is dropped and counted.
//
//	Decided -> copy -> queue -> one goroutine gathers -> one goroutine packs and writes -> store
//	                                                              |  store away
//	                                                              v
//	                                                     spool -> drained -> store
package archive

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/collect"
	"sekimori/internal/history"
	"sekimori/internal/judge"
	"sekimori/internal/recent"
)

const (
	// maxQueue is the number of copies that wait to be gathered.
	maxQueue = 4096
	// maxGathered is their size with those that were gathered, in octets. They are that many only while
	// the store and the spool take none, or while more decisions come than can be packed. Senders choose
	// how long a decision is.
	maxGathered = 24 << 20
	// flushRecords is the number of records at which a batch is written before its time.
	flushRecords = 2048
	// sayLost is the shortest time between two log records about lost decisions.
	sayLost = time.Minute
)

// Settings are what a reload of the configuration can change.
type Settings struct {
	What history.What
	// Consents says that the consent of recipients is looked up.
	Consents bool
	// Recipients says that the recipients of a message are kept.
	Recipients bool
	// Mask takes out what may not be kept. It is nil if everything may.
	Mask func(*judge.Decision) *judge.Decision
	Keep time.Duration // how long a day is kept after its end
	Size int64         // largest size of all days in the store, in octets
}

// Options are what a Keeper needs.
type Options struct {
	// Store returns the store, or nil as long as it is not open. It must not block.
	Store func() history.Store
	// Spool takes batches while the store fails. It may be nil.
	Spool *collect.Files[history.Batch]
	// Every is the time between two writes.
	Every time.Duration
	Host  string // name of this host
	Now   func() time.Time
	Log   *slog.Logger
	// May reports whether this daemon should remove old days now. It is nil if no other daemon does.
	May func(context.Context) bool
}

// Counts counts what became of the decisions that were to be kept. Those from Octets on may also fall.
type Counts struct {
	Queued atomic.Int64 // decisions that the queue took
	collect.Written
	// Lost counts decisions that are not kept, by the reason: the queue or the memory behind it is
	// full; neither the store nor the spool took them until the daemon stopped; a record is too large.
	LostQueue, LostStop, LostLarge atomic.Int64
	Dropped                        atomic.Int64 // days that went because of the size
	Octets, Days                   atomic.Int64 // in the store, as of the last look
}

// Lost returns how many decisions were lost, for whatever reason.
func (c *Counts) Lost() int64 { return c.LostQueue.Load() + c.LostStop.Load() + c.LostLarge.Load() }

// Keeper is a filter.Observer. Its methods may be called by several goroutines at a time.
type Keeper struct {
	o        Options
	settings atomic.Pointer[Settings]
	counts   Counts
	sealer   *recent.Sealer
	packer   *history.Packer
	accepted atomic.Int64 // messages of which one in history.SampleOf is kept

	queue    chan string
	gathered atomic.Int64 // octets of the queue and of what was gathered
	closing  sync.RWMutex // guards closed; who sends to the queue holds it shared
	closed   bool

	batches chan []string // to the writer; taken one at a time
	idle    chan struct{} // from the writer, after each batch
	busy    atomic.Bool   // the writer has a batch
	writer  *collect.Writer[history.Batch]
	running sync.WaitGroup
	expirer sync.WaitGroup
	stop    context.Context
	end     context.CancelFunc
}

// New returns a Keeper that runs in the background until Stop.
func New(o Options, s Settings) (*Keeper, error) {
	packer, err := history.NewPacker()
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		o: o, sealer: recent.NewSealer(), packer: packer, queue: make(chan string, maxQueue), batches: make(chan []string), idle: make(chan struct{}, 1),
	}
	k.stop, k.end = context.WithCancel(context.Background())
	k.Set(s)
	k.writer = collect.NewWriter(collect.WriterOptions[history.Batch]{
		Name: "the history", Add: k.toStore, Spool: o.Spool, Rows: func(b history.Batch) int { return b.Len() }, Lost: k.drop, Counts: &k.counts.Written, Log: o.Log,
	})
	k.running.Go(k.gather)
	k.running.Go(k.write)
	k.expirer.Go(k.expire)
	return k, nil
}

// Set changes the settings.
func (k *Keeper) Set(s Settings) { k.settings.Store(&s) }

// Counts returns what has been counted since the start.
func (k *Keeper) Counts() *Counts { return &k.counts }

// Decided keeps the decision, if it is one of those that are kept. It never blocks, and starts no
// goroutine.
func (k *Keeper) Decided(d *judge.Decision, took time.Duration) {
	s := k.settings.Load()
	switch s.What.Wants(d.Evaluation, &d.Verdict, s.Consents) {
	case history.Never:
		return
	case history.Sample:
		if (k.accepted.Add(1)-1)%history.SampleOf != 0 {
			return
		}
	case history.Always:
	}
	k.closing.RLock()
	defer k.closing.RUnlock()
	if k.closed {
		return
	}
	if len(k.queue) == maxQueue || k.gathered.Load() > maxGathered { // before the work of copying
		k.counts.LostQueue.Add(1)
		return
	}
	if s.Mask != nil {
		d = s.Mask(d)
	}
	sealed := k.sealer.Seal(d, k.o.Now(), took)
	select {
	case k.queue <- sealed:
		k.gathered.Add(int64(len(sealed)))
		k.counts.Queued.Add(1)
	default:
		k.counts.LostQueue.Add(1)
	}
}

// Stop takes no more decisions, writes what is there, and ends. When ctx ends, what could not be written
// is counted as lost. With a spool, what the store does not take is in the spool then. A second Stop waits for
// the same.
func (k *Keeper) Stop(ctx context.Context) {
	k.closing.Lock()
	if !k.closed {
		k.closed = true
		close(k.queue)
	}
	k.closing.Unlock()
	k.end()
	free := context.AfterFunc(ctx, k.writer.GiveUp)
	defer free()
	k.running.Wait()
	k.writer.Close()
	k.expirer.Wait()
}

// gather gathers what is in the queue, until the queue is closed. It hands it to the writer when it is
// time. As long as the writer is busy, it goes on gathering.
func (k *Keeper) gather() {
	defer close(k.batches)
	var all []string
	// The first is due half a turn late: the rows of reports are written as often, and two bursts of work at
	// the same time leave no processor of two to the messages.
	tick := time.NewTicker(k.o.Every + k.o.Every/2)
	defer tick.Stop()
	lost := lossLog{k: k, said: k.o.Now().Add(-sayLost)}
	for {
		due := false
		select {
		case sealed, open := <-k.queue:
			if !open {
				for part := range chunks(all) {
					k.batches <- part
				}
				lost.say(k.o.Now().Add(sayLost))
				return
			}
			all = append(all, sealed)
			if len(k.queue) == 0 {
				time.Sleep(collect.GatherTime)
			}
		case <-k.idle:
		case <-tick.C:
			tick.Reset(k.o.Every)
			due = true
			lost.say(k.o.Now())
		}
		if n := min(len(all), flushRecords); (due || n == flushRecords) && n > 0 && !k.busy.Load() {
			k.busy.Store(true)
			k.batches <- all[:n:n]
			all = append([]string(nil), all[n:]...)
		}
	}
}

// chunks returns parts of at most flushRecords elements.
func chunks(all []string) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		for len(all) > 0 {
			n := min(len(all), flushRecords)
			if !yield(all[:n]) {
				return
			}
			all = all[n:]
		}
	}
}

// lossLog writes a record about lost decisions at most once in sayLost.
type lossLog struct {
	k    *Keeper
	said time.Time
	lost int64
}

func (l *lossLog) say(now time.Time) {
	if n := l.k.counts.Lost(); n != l.lost && now.Sub(l.said) >= sayLost {
		l.k.o.Log.Warn("decisions were not kept in the history", "decisions", n-l.lost, "in_all", n)
		l.said, l.lost = now, n
	}
}
