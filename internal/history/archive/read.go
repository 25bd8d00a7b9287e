package archive

import (
	"context"
	"encoding/json"
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
	// maxBlocks is how many blocks are in memory during a search. Those of several hosts take turns.
	maxBlocks = 8
	// maxFound is the size of the records that a search returns, in octets of JSON.
	maxFound = 4 << 20
	// searchTime is how long a search may take.
	searchTime = 8 * time.Second
)

// Reader finds decisions in the store. It is safe for concurrent use.
type Reader struct {
	store    func() history.Store
	unpacker *history.Unpacker
}

// NewReader returns a Reader. The function store returns nil if there is no store.
func NewReader(store func() history.Store) (*Reader, error) {
	u, err := history.NewUnpacker()
	if err != nil {
		return nil, err
	}
	return &Reader{store, u}, nil
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
	limit, blocks := q.Limit, blocks{r: r, store: s}
	examined, size := 0, 0
	for q.Limit = min(page, limit+1); ; q.Limit = page {
		hits, err := s.FindHistory(ctx, q)
		if err != nil {
			return f, err
		}
		for i := range hits {
			h := &hits[i]
			if len(f.Entries) == limit || examined == maxExamined || size > maxFound {
				f.More = true
				return f, nil
			}
			examined++
			f.Next = h.Time.Add(time.Millisecond) // the store rounds times down
			record, host, err := blocks.record(ctx, *h)
			if err != nil {
				return f, err
			}
			e := new(recent.Entry)
			if record == nil || json.Unmarshal(record, e) != nil {
				continue // it expired just now, or is damaged
			}
			if head := e.Head(); match(&head) {
				e.Host = host
				f.Entries = append(f.Entries, e)
				f.Next = e.Time
				size += len(record)
			}
		}
		if len(hits) < q.Limit {
			return f, nil
		}
		q.After = &hits[len(hits)-1]
	}
}

// blocks has the blocks that were read last.
type blocks struct {
	r     *Reader
	store history.Store
	last  []block // the last one read is the last
}

type block struct {
	id      history.BlockID
	host    string
	records [][]byte
}

// record returns the record of a hit, or nil if it is no longer there.
func (b *blocks) record(ctx context.Context, h history.Hit) (record []byte, host string, err error) {
	for i := range b.last {
		if b.last[i].id == h.Block {
			return b.last[i].at(h.Index), b.last[i].host, nil
		}
	}
	host, data, err := b.store.HistoryBlock(ctx, h.Block)
	if err != nil {
		return nil, "", err
	}
	one := block{id: h.Block, host: host}
	if data != nil {
		// A damaged block has no records. The search goes on, because others may be what is looked for.
		one.records, _ = b.r.unpacker.Unpack(data)
	}
	if len(b.last) == maxBlocks {
		b.last = b.last[1:]
	}
	b.last = append(b.last, one)
	return one.at(h.Index), host, nil
}

func (b *block) at(index int) []byte {
	if index >= len(b.records) {
		return nil
	}
	return b.records[index]
}
