// Package history says what is kept of a decision for days, so that a postmaster can explain it long
// after the daemon forgot it, and on another host: the columns by which it is found, the packed
// records, and the interface of the store. The record of a decision is the JSON that /api/decisions
// shows. Records of the same minute are packed together, because one alone hardly gets smaller.
package history

import (
	"context"
	"slices"
	"time"

	"sekimori/internal/policy"
)

// The limits of a block. A search reads whole blocks, so they must not be large.
const (
	MaxBlockRows = 64      // the index of a record in its block has 6 bits
	MaxBlockSize = 1 << 20 // octets of JSON after which a block takes no further record
	// maxRecord is the largest record, in octets of JSON. Package recent bounds the values of a decision,
	// of which each octet may become six.
	maxRecord = 1 << 20
	// maxUnpacked bounds what is unpacked of a block, in octets.
	maxUnpacked = MaxBlockSize + maxRecord
)

const secondsPerDay = 24 * 60 * 60

// Day is a UTC day, counted from 1970-01-01.
type Day int32

// DayOf returns the day of a time.
func DayOf(t time.Time) Day {
	s := t.Unix()
	d := s / secondsPerDay
	if s%secondsPerDay < 0 {
		d--
	}
	return Day(d)
}

// Begin returns the first moment of the day.
func (d Day) Begin() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// Row is what the columns of the store say about a record.
type Row struct {
	Time time.Time // to the millisecond
	Keys Keys
	Hint Hint
}

// Block has the records of one host and one UTC day, in the order in which they were made.
type Block struct {
	Rows []Row  // 1 to MaxBlockRows
	Data []byte // see [Packer]
}

// Day returns the day of the block.
func (b *Block) Day() Day { return DayOf(b.Rows[0].Time) }

// Batch is what a daemon adds at once.
type Batch struct {
	ID     string // chosen by the daemon at random; a store takes a batch only once
	Host   string // name of the host
	Blocks []Block
}

// Len returns the number of records.
func (b *Batch) Len() (n int) {
	for i := range b.Blocks {
		n += len(b.Blocks[i].Rows)
	}
	return n
}

// Query selects records.
type Query struct {
	// Any has keys of which a record must have at least one. Without any, all records match.
	Any []KeyIn
	// Verdict selects the records with this verdict, Reason those with this reason, and Host those of this host; ""
	// selects all. Records of earlier versions match every Reason.
	Verdict policy.Action
	Reason  policy.Reason
	Host    string
	// From and Until select a time: From <= time < Until. Zero means no limit.
	From, Until time.Time
	// After continues a search behind its last hit; nil begins it.
	After *Hit
	Limit int // at least 1
}

// Outcomes returns the keys in the column ByVerdict that a query for a Reason selects.
func (q *Query) Outcomes() (keys []int32) {
	actions := policy.Actions
	if q.Verdict != "" {
		actions = []policy.Action{q.Verdict}
	}
	for _, a := range actions {
		keys = append(keys, OutcomeKey(a, q.Reason).Key, oldVerdict(a))
	}
	return keys
}

// VerdictHalf returns the upper half of the keys in the column ByVerdict that a query for a Verdict selects.
func (q *Query) VerdictHalf() int32 { return oldVerdict(q.Verdict) >> OutcomeBits }

// RareVerdict reports whether a query asks for nothing but a Verdict, within a time, and for one that an index of
// outcomes has whole. It returns the first and the last of its keys. If there are fewer than [FewOutcomes] such
// rows, it is quicker to read all of them from that index than to look for them among the newest rows.
func (q *Query) RareVerdict() (first, last int32, ok bool) {
	first = q.VerdictHalf() << OutcomeBits
	last, most := first|outcomeReason, MostFrequent()
	return first, last, q.Verdict != "" && q.Reason == "" && len(q.Any) == 0 && (most < first || most > last)
}

// FewOutcomes is the number of rows from which on a search for a verdict looks through the newest rows.
const FewOutcomes = 1000

// KeyIn is a key in one of the columns, and which hints a record may have: those that have the bits of Hint where
// Mask has ones, and 0.
type KeyIn struct {
	Column     Column
	Key        int32
	Mask, Hint Hint
}

// BlockID names a block.
type BlockID struct {
	Day Day
	ID  int64
}

// Hit says where a record is. A key may be that of another text too, so the reader of the record must
// check it, and the Reason.
type Hit struct {
	Time  time.Time
	Block BlockID
	Index int // of the record in its block
}

// Size says how much there is.
type Size struct {
	Octets int64 // on disk, approximately
	Days   int   // with records
	First  Day   // the oldest of them, or 0
	// Dropped is how many days went because of the size.
	Dropped int
}

// Store keeps the history. All methods are safe for concurrent use, also by several processes, if the
// database can be used by several.
type Store interface {
	// AddHistory adds a batch as a whole or not at all. A batch whose ID was added before changes nothing.
	AddHistory(ctx context.Context, now time.Time, b Batch) error
	// FindHistory returns the hits of a query, the newest first. Records that were not made in the order
	// of their time, because the clock was changed, may come in the order in which they were added.
	FindHistory(ctx context.Context, q Query) ([]Hit, error)
	// HistoryBlock returns the name of the host and the data of a block. The data is nil if the block
	// is no longer there.
	HistoryBlock(ctx context.Context, id BlockID) (host string, data []byte, err error)
	// ExpireHistory removes the days that ended more than keep ago, and then the oldest days until the
	// rest takes at most size octets.
	ExpireHistory(ctx context.Context, now time.Time, keep time.Duration, size int64) (Size, error)
}

// Newest sorts hits in descending order, removes duplicates, and cuts the rest to the limit.
func Newest(hits []Hit, limit int, compare func(a, b Hit) int) []Hit {
	slices.SortFunc(hits, func(a, b Hit) int { return compare(b, a) })
	hits = slices.CompactFunc(hits, func(a, b Hit) bool { return compare(a, b) == 0 })
	return hits[:min(len(hits), limit)]
}
