package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"sekimori/internal/clock"
	"sekimori/internal/history"
	"sekimori/internal/judge"
	"sekimori/internal/recent"
)

const (
	// expireEvery is the time between two looks for days that are too old or too large.
	expireEvery = 10 * time.Minute
	// expireTime is how long the store may take for it.
	expireTime = 2 * time.Minute
)

// write packs and writes what it gets.
func (k *Keeper) write() {
	for sealed := range k.batches {
		size := 0
		for _, s := range sealed {
			size += len(s)
		}
		if b := k.pack(sealed); len(b.Blocks) > 0 {
			k.writer.Write(b)
		}
		k.gathered.Add(-int64(size))
		k.busy.Store(false)
		select {
		case k.idle <- struct{}{}:
		default:
		}
	}
}

// pack makes a batch.
func (k *Keeper) pack(sealed []string) history.Batch {
	p := packing{packer: k.packer, recipients: k.settings.Load().Recipients, batch: history.Batch{ID: rand.Text(), Host: k.o.Host}}
	for _, s := range sealed {
		if !p.add(k.sealer.Open(s)) {
			k.counts.LostLarge.Add(1)
		}
	}
	p.end()
	return p.batch
}

// Made is a decision and when it was made.
type Made struct {
	Decision *judge.Decision
	At       time.Time
}

// Pack makes the batch of a host, without recipients, as a Keeper writes it. It is for those who fill a store
// without a daemon.
func Pack(id, host string, all []Made) (history.Batch, error) {
	packer, err := history.NewPacker()
	if err != nil {
		return history.Batch{}, err
	}
	p, sealer := packing{packer: packer, batch: history.Batch{ID: id, Host: host}}, recent.NewSealer()
	for _, m := range all {
		if !p.add(sealer.Open(sealer.Seal(m.Decision, m.At, 0))) {
			return history.Batch{}, errors.New("archive: a decision is too large")
		}
	}
	p.end()
	return p.batch, nil
}

// packing makes a batch. A block has the records of one day.
type packing struct {
	packer     *history.Packer
	recipients bool
	batch      history.Batch
	rows       []history.Row
	lines      bytes.Buffer
}

// add adds an entry. It returns false if the entry is too large.
func (p *packing) add(e *recent.Entry) bool {
	if !p.recipients {
		forget(e)
	}
	shorten(e)
	if len(p.rows) > 0 && history.DayOf(p.rows[0].Time) != history.DayOf(e.Time) {
		p.end()
	}
	before := p.lines.Len()
	if err := json.NewEncoder(&p.lines).Encode(e); err != nil || !history.Fits(p.lines.Len()-before) {
		p.lines.Truncate(before)
		return false
	}
	p.rows = append(p.rows, rowOf(e))
	if len(p.rows) == history.MaxBlockRows || p.lines.Len() >= history.MaxBlockSize {
		p.end()
	}
	return true
}

// end ends the block.
func (p *packing) end() {
	if len(p.rows) > 0 {
		p.batch.Blocks = append(p.batch.Blocks, history.Block{Rows: p.rows, Data: p.packer.Pack(p.lines.Bytes())})
	}
	p.rows = nil
	p.lines.Reset()
}

// forget removes the recipients from an entry.
func forget(e *recent.Entry) {
	if e.Evaluation != nil {
		e.Evaluation.Envelope.Recipients = nil
	}
	if e.Envelope != nil {
		e.Envelope.Recipients = nil
	}
}

// maxSignatureText is how many characters of the value of a signature are kept, enough to tell the
// signatures of a message apart. The whole value is half of a packed record, and explains nothing.
const maxSignatureText = 16

// shorten cuts the values of signatures, and rounds durations down to microseconds: the digits below are
// noise, which zstd cannot shorten.
func shorten(e *recent.Entry) {
	e.Took = e.Took.Truncate(time.Microsecond)
	if e.Evaluation == nil {
		return
	}
	e.Evaluation.Wait = e.Evaluation.Wait.Truncate(time.Microsecond)
	for m, c := range e.Evaluation.Cost {
		c.DNS, c.Elapsed = c.DNS.Truncate(time.Microsecond), c.Elapsed.Truncate(time.Microsecond)
		e.Evaluation.Cost[m] = c
	}
	for i := range e.Evaluation.DKIM {
		if s := &e.Evaluation.DKIM[i]; len(s.B) > maxSignatureText {
			s.B = s.B[:maxSignatureText]
		}
	}
}

// rowOf returns the row of an entry.
func rowOf(e *recent.Entry) history.Row {
	h := e.Head()
	r := history.Row{Time: e.Time.UTC(), Hint: history.HintOf(h.AuthorDomain, recent.SenderDomain(h.Sender), recent.BarePath(h.Sender))}
	for _, k := range []history.KeyIn{
		history.IDKey(h.ID), history.QueueKey(h.QueueID), history.AuthorKey(h.AuthorDomain), senderKey(h.Sender), history.ClientKey(h.Client),
		history.OutcomeKey(h.Action, h.Reason),
	} {
		r.Keys[k.Column] = k.Key
	}
	return r
}

// senderKey returns the key of an envelope sender.
func senderKey(path string) history.KeyIn { return history.SenderKey(recent.SenderDomain(path)) }

var errNotOpen = errors.New("history: the store is not open yet")

// toStore adds a batch to the store.
func (k *Keeper) toStore(ctx context.Context, b history.Batch) error {
	s := k.o.Store()
	if s == nil {
		return errNotOpen
	}
	return s.AddHistory(ctx, k.o.Now().UTC(), b)
}

// drop counts a batch that can be written nowhere.
func (k *Keeper) drop(b history.Batch, err error) {
	k.o.Log.Error("decisions were not kept in the history", "reason", "the daemon stops, and the store does not take them", "decisions", b.Len(), "error", err)
	k.counts.LostStop.Add(int64(b.Len()))
}

// expire removes what is too old or too large, until Stop, if the clock can be trusted.
func (k *Keeper) expire() {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	var watch clock.Watch
	for {
		k.expireOnce(watch.Even(k.o.Now()) >= clock.Trusted)
		select {
		case <-tick.C:
		case <-k.stop.Done():
			return
		}
	}
}

// expireOnce only looks how much there is, if it may not remove anything.
func (k *Keeper) expireOnce(may bool) {
	store, s := k.o.Store(), k.settings.Load()
	if store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(k.stop, expireTime)
	defer cancel()
	keep, size := s.Keep, s.Size
	if !may || k.o.May != nil && !k.o.May(ctx) { // the clock was changed lately, or another daemon removes days
		keep, size = forever, 1<<62
	}
	left, err := store.ExpireHistory(ctx, k.o.Now().UTC(), keep, size)
	if err != nil {
		if ctx.Err() == nil {
			k.o.Log.Warn("old decisions cannot be removed from the history", "error", err)
		}
		return
	}
	k.counts.Octets.Store(left.Octets)
	k.counts.Days.Store(int64(left.Days))
	if left.Dropped > 0 {
		k.counts.Dropped.Add(int64(left.Dropped))
		k.o.Log.Warn("the history was larger than history.size, so its oldest days went", "days", left.Dropped)
	}
}

// forever is longer than any day is kept.
const forever = 100 * 365 * 24 * time.Hour
