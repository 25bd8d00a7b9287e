package collect

import (
	"context"
	"errors"
	"time"

	"sekimori/internal/report"
)

// sayLost is the shortest time between two log records about lost rows.
const sayLost = time.Minute

// GatherTime is how long a collector leaves its queue alone once it is empty. Without it, each message would
// wake a goroutine, and at the rates of real mail that costs more than adding the message up.
const GatherTime = 50 * time.Millisecond

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
			if o.content != nil {
				*o.content = content{} // so that it keeps no strings and lists in memory
				c.contents.Put(o.content)
			}
			if len(c.queue) == 0 {
				time.Sleep(GatherTime)
			}
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
		if country := c.settings.Load().Country; country != nil {
			o.entry.Country = country(o.entry.Client)
		}
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
		c.batches <- b
	}
}

// write writes the batches that it gets.
func (c *Collector) write() {
	for b := range c.batches {
		c.writer.Write(b)
		c.writing.Store(0)
		c.busy.Store(false)
		select {
		case c.idle <- struct{}{}:
		default:
		}
	}
}

var errNotOpen = errors.New("collect: the store is not open yet")

// toStore adds a batch to the store.
func (c *Collector) toStore(ctx context.Context, b report.Batch) error {
	s := c.o.Store()
	if s == nil {
		return errNotOpen
	}
	return s.Add(ctx, c.o.Now().UTC(), b)
}

// drop counts the messages of a batch that can be written nowhere.
func (c *Collector) drop(b report.Batch, err error) {
	c.o.Log.Error("report rows lost", "reason", "the daemon stops, and the store does not take them", "rows", rowsOf(b),
		"ledger_messages", b.Ledger.Messages(), "error", err)
	c.lose(messagesOf(b))
	c.counts.LedgerDropped.Add(b.Ledger.Messages())
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
