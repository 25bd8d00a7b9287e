package archive

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/history"
	"sekimori/internal/recent"
)

const (
	// page is how many hits are asked for at once. Each may be in a block of its own.
	page = 128
	// maxExamined is how many records a search reads. A search for a domain that hardly occurs below a
	// registered domain that occurs often would read all of these; the caller goes on where it ended.
	maxExamined = 5000
	// maxBlocks is how many blocks are read before their records are looked at. Those of several hosts take turns.
	maxBlocks = 8
	// readers is how many of them are read and unpacked at a time. The messages must have the other cores.
	readers = 2
	// maxFound is the size of the records that a search returns, in octets of JSON.
	maxFound = 4 << 20
	// searchTime is how long a search may take.
	searchTime = 8 * time.Second
)

// Reader finds decisions in the store. It is safe for concurrent use.
type Reader struct {
	store    func() history.Store
	unpacker *history.Unpacker
	// examine and found are maxExamined and maxFound, but for tests.
	examine, found int
}

// NewReader returns a Reader. The function store returns nil if there is no store.
func NewReader(store func() history.Store) (*Reader, error) {
	u, err := history.NewUnpacker()
	if err != nil {
		return nil, err
	}
	return &Reader{store, u, maxExamined, maxFound}, nil
}

// Found is the result of a search.
type Found struct {
	Entries []*recent.Entry // the newest first
	// More says that there may be further ones before the time Next, which a search with that time as
	// Until finds.
	More bool
	Next time.Time
}

// Find returns the records that the query selects and for which the function match returns true, at most
// q.Limit.
func (r *Reader) Find(ctx context.Context, q history.Query, match func(*recent.Head) bool) (f Found, err error) {
	s := r.store()
	if s == nil {
		return f, errNotOpen
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	limit := q.Limit
	examined, size := 0, 0
	for q.Limit = min(page, limit+1); ; q.Limit = page {
		hits, err := s.FindHistory(ctx, q)
		if err != nil {
			return f, err
		}
		for rest := hits; len(rest) > 0; {
			n := group(rest, min(limit-len(f.Entries), r.examine-examined))
			if n == 0 || size > r.found {
				f.More = true
				return f, nil
			}
			all, err := r.load(ctx, s, rest[:n])
			if err != nil {
				return f, err
			}
			for i, e := range all {
				if size > r.found {
					break
				}
				examined++
				f.Next = rest[0].Time.Add(time.Millisecond) // the store rounds times down
				rest = rest[1:]
				if all[i].entry == nil {
					continue // it expired just now, or is damaged
				}
				if head := e.entry.Head(); match(&head) {
					f.Entries = append(f.Entries, e.entry)
					f.Next = e.entry.Time
					size += e.size
				}
			}
		}
		if len(hits) < q.Limit {
			return f, nil
		}
		q.After = &hits[len(hits)-1]
	}
}

// group returns how many of the hits are read together: at most `most` and not more than a block can have, in at most
// maxBlocks blocks.
func group(hits []history.Hit, most int) int {
	most = min(most, history.MaxBlockRows)
	var seen []history.BlockID
	for i := range hits[:min(most, len(hits))] {
		if slices.Contains(seen, hits[i].Block) {
			continue
		}
		if len(seen) == maxBlocks {
			return i
		}
		seen = append(seen, hits[i].Block)
	}
	return min(most, len(hits))
}

// loaded is the record of a hit.
type loaded struct {
	entry *recent.Entry // nil if it is no longer there, or is damaged
	size  int           // octets of JSON
}

// load returns the records of hits. Blocks are read and unpacked by some goroutines, because that takes most of the
// time of a search.
func (r *Reader) load(ctx context.Context, s history.Store, hits []history.Hit) ([]loaded, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]loaded, len(hits))
	of := map[history.BlockID][]int{} // the hits of a block
	var todo []history.BlockID
	for i := range hits {
		id := hits[i].Block
		if of[id] == nil {
			todo = append(todo, id)
		}
		of[id] = append(of[id], i)
	}
	var next atomic.Int64
	var work sync.WaitGroup
	for range min(readers, len(todo)) {
		work.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(todo)) && ctx.Err() == nil; n = next.Add(1) - 1 {
				if err := r.block(ctx, s, todo[n], hits, of[todo[n]], out); err != nil {
					cancel(err)
				}
			}
		})
	}
	work.Wait()
	return out, context.Cause(ctx)
}

// block writes the records of some hits in the same block to their places in out.
func (r *Reader) block(ctx context.Context, s history.Store, id history.BlockID, hits []history.Hit, some []int, out []loaded) error {
	host, data, err := s.HistoryBlock(ctx, id)
	if err != nil || data == nil {
		return err
	}
	records, err := r.unpacker.Unpack(data, func(index int) bool {
		return slices.ContainsFunc(some, func(i int) bool { return hits[i].Index == index })
	})
	if err != nil {
		return nil //nolint:nilerr // a damaged block has no records; the search goes on, because others may be what is looked for
	}
	for _, i := range some {
		e := new(recent.Entry)
		if at := hits[i].Index; at < len(records) && json.Unmarshal(records[at], e) == nil {
			e.Host = host
			out[i] = loaded{e, len(records[at])}
		}
	}
	return nil
}
