package collect

import (
	"context"
	"errors"
	"time"

	"sekimori/internal/report"
)

const (
	// addTimeout is how long the store may take for a batch before the batch goes to the spool.
	addTimeout = 15 * time.Second
	// patientTimeout is how long it may take for a batch that has no other place: with 5 s a statement,
	// a batch takes most of a minute.
	patientTimeout = 3 * time.Minute
	// firstPause and lastPause are between two tries of a store that fails.
	firstPause, lastPause = time.Second, 30 * time.Second
	// sayLost is the shortest time between two log records about lost rows.
	sayLost = time.Minute
)

// add adds up what is in the queue, until the queue is closed. It hands a batch to the writer when it
// is time. As long as the writer is busy, rows stay in the table.
func (c *Collector) add() {
	defer close(c.batches)
	t := newTable()
	tick := time.NewTicker(c.o.Every)
	defer tick.Stop()
	lost := lossLog{c: c, said: c.o.Now().Add(-sayLost)}
	for {
		c.counts.Pending.Store(int64(t.rows) + c.writing.Load())
		due := false
		select {
		case o, open := <-c.queue:
			if !open {
				c.flushAll(t)
				c.counts.Pending.Store(0)
				lost.say(c.o.Now().Add(sayLost))
				return
			}
			c.take(t, o)
			if !t.full() {
				continue
			}
		case <-c.idle:
			due = t.full()
		case <-tick.C:
			due = true
			lost.say(c.o.Now())
		}
		if due || t.full() {
			c.offer(t)
		}
	}
}

func (c *Collector) take(t *table, o observed) {
	c.octets.Add(-o.octets)
	now := c.o.Now()
	for _, d := range o.wrote {
		t.sight(report.Sighting{Domain: d, Day: report.DayOf(now), Kind: report.SeenWrote})
	}
	if o.entry != nil {
		w, _ := report.WindowFor(o.entry.Time, now, 24*time.Hour)
		if !t.ledger.Add(o.entry, report.DayOf(time.Unix(w.Begin, 0))) {
			c.counts.LedgerDropped.Add(1)
		}
	}
	if o.obs == nil {
		return
	}
	ok, late := t.add(o.obs, now, c.settings.Load())
	if late {
		c.counts.Late.Add(1)
	}
	if !ok {
		c.lose(1)
	}
}

// lose counts messages for which there is no room.
func (c *Collector) lose(messages int64) {
	if c.o.Spool != nil {
		c.counts.LostSpool.Add(messages)
	} else {
		c.counts.LostCap.Add(messages)
	}
}

// offer hands a batch to the writer, if the writer is idle.
func (c *Collector) offer(t *table) {
	if c.busy.Load() {
		return
	}
	b, ok := t.take(c.o.Now(), c.settings.Load())
	if !ok {
		return
	}
	c.busy.Store(true)
	c.writing.Store(int64(rowsOf(b)))
	c.batches <- b
}

// flushAll hands everything to the writer, at the end.
func (c *Collector) flushAll(t *table) {
	for {
		b, ok := t.take(c.o.Now(), c.settings.Load())
		if !ok {
			return
		}
		c.writing.Store(int64(rowsOf(b)))
		c.batches <- b
	}
}

// write writes the batches that it gets.
func (c *Collector) write() {
	for b := range c.batches {
		c.writeOne(b)
		c.writing.Store(0)
		c.busy.Store(false)
		select {
		case c.idle <- struct{}{}:
		default:
		}
	}
}

// writeOne writes a batch to the store or to the spool. If neither takes it, writeOne tries until
// Stop's time is over.
func (c *Collector) writeOne(b report.Batch) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if c.spooled(b) {
			return
		}
		timeout := patientTimeout
		if c.o.Spool != nil && !c.o.Spool.Full() {
			timeout = addTimeout
		}
		err := c.store(b, timeout)
		if err == nil {
			return
		}
		if c.o.Spool != nil && c.spool(b) {
			return
		}
		if !c.wait(pause) {
			c.o.Log.Error("report rows lost", "reason", "the daemon stops, and the store does not take them", "rows", rowsOf(b),
				"ledger_messages", b.Ledger.Messages(), "error", err)
			c.lose(messagesOf(b))
			c.counts.LedgerDropped.Add(b.Ledger.Messages())
			return
		}
	}
}

// spooled puts the batch into the spool if other batches wait there: the oldest must come first, so
// that its window is still open.
func (c *Collector) spooled(b report.Batch) bool {
	return c.o.Spool != nil && c.o.Spool.Len() > 0 && c.spool(b)
}

func (c *Collector) spool(b report.Batch) bool {
	if err := c.o.Spool.Put(b); err != nil {
		if !errors.Is(err, errFull) {
			c.o.Log.Warn("the spool of reports cannot be written", "error", err)
		}
		return false
	}
	c.counts.Spooled.Add(int64(rowsOf(b)))
	return true
}

var errNotOpen = errors.New("collect: the store is not open yet")

// store adds the batch to the store.
func (c *Collector) store(b report.Batch, timeout time.Duration) error {
	s, err := c.o.Store(), errNotOpen
	if s != nil {
		ctx, cancel := context.WithTimeout(c.stop, timeout)
		err = s.Add(ctx, c.o.Now().UTC(), b)
		cancel()
	}
	if err != nil {
		c.counts.Failures.Add(1)
		if !c.counts.Failing.Swap(true) {
			c.o.Log.Warn("the store takes no rows of reports", "error", err, "spool", c.o.Spool != nil)
		}
		return err
	}
	c.counts.Stored.Add(int64(rowsOf(b)))
	if c.counts.Failing.Swap(false) {
		c.o.Log.Info("the store takes rows of reports again")
	}
	return nil
}

// drain brings the batches of the spool to the store, the oldest first.
func (c *Collector) drain() {
	for pause := firstPause; ; {
		b, name, err := c.o.Spool.Oldest()
		switch {
		case errors.Is(err, errTorn):
			c.counts.Torn.Add(1)
			c.o.Log.Error("a file of the spool cannot be read and was set aside", "error", err)
			continue
		case err != nil:
			c.o.Log.Warn("the spool of reports cannot be read", "error", err)
		case name == "":
			pause = firstPause
			if !c.awaitSpool() {
				return
			}
			continue
		case c.store(b, patientTimeout) == nil:
			pause = firstPause
			if err = c.o.Spool.Remove(name); err == nil {
				continue
			}
			c.o.Log.Warn("a file of the spool cannot be removed", "error", err)
		}
		if !c.wait(pause) {
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// awaitSpool waits until there is something in the spool. It returns false when Stop's time is over.
func (c *Collector) awaitSpool() bool {
	select {
	case <-c.o.Spool.Added():
		return true
	case <-c.stop.Done():
		return false
	}
}

// wait waits, and returns false when Stop's time is over.
func (c *Collector) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.stop.Done():
		return false
	}
}

// lossLog writes a record about lost rows at most once in sayLost.
type lossLog struct {
	c                *Collector
	said             time.Time
	queue, spool, up int64
}

func (l *lossLog) say(now time.Time) {
	n := &l.c.counts
	queue, spool, up := n.LostQueue.Load(), n.LostSpool.Load(), n.LostCap.Load()
	if now.Sub(l.said) < sayLost || queue == l.queue && spool == l.spool && up == l.up {
		return
	}
	l.c.o.Log.Error("report rows lost", "queue", queue-l.queue, "spool", spool-l.spool, "cap", up-l.up, "messages_in_all", n.Lost())
	l.said, l.queue, l.spool, l.up = now, queue, spool, up
}

func rowsOf(b report.Batch) (n int) {
	for i := range b.Tallies {
		n += len(b.Tallies[i].Rows)
	}
	return n
}

func messagesOf(b report.Batch) (n int64) {
	for i := range b.Tallies {
		for j := range b.Tallies[i].Rows {
			n += b.Tallies[i].Rows[j].Count
		}
	}
	return n
}
