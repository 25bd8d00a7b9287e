package collect

import "sync/atomic"

// Counts counts what became of the observations. Every field but Pending and Failing only grows.
type Counts struct {
	Queued, Dropped atomic.Int64 // observations that the queue took or refused
	Incomplete      atomic.Int64 // observations with a result for which nobody waited
	Written
	// Lost counts messages that no row counts, by the reason: the queue was full; the spool is full
	// or cannot be written; memory for rows is used up.
	LostQueue, LostSpool, LostCap atomic.Int64
	// LedgerDropped counts messages that are missing in the ledger: there was no room in the queue or in
	// memory, or the batch was lost.
	LedgerDropped atomic.Int64
	// Harsher and Milder count messages whose verdict the learned signs change, or would change.
	Harsher, Milder atomic.Int64
	Late            atomic.Int64 // messages whose time of evaluation cannot be right; they count in the current window

	Pending atomic.Int64 // rows in memory that no store and no spool has
}

// Written counts what a [Writer] did. Every field but the last only grows.
type Written struct {
	// Stored and Spooled count rows of batches that the store or the spool took. Rows of the spool are
	// counted as stored when they are drained.
	Stored, Spooled atomic.Int64
	Torn            atomic.Int64 // files of the spool that cannot be read
	Failures        atomic.Int64 // writes that the store refused
	Failing         atomic.Bool  // the last write to the store failed
}

// Lost returns how many messages were lost, for whatever reason.
func (c *Counts) Lost() int64 { return c.LostQueue.Load() + c.LostSpool.Load() + c.LostCap.Load() }
