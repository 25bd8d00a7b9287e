package console

import (
	"cmp"
	"slices"
	"time"

	"sekimori/internal/policy"
	"sekimori/internal/recent"
)

// topRows is how many authors and clients are shown.
const topRows = 8

// unaccepted says who wrote and who sent the remembered messages that were not simply accepted.
type unaccepted struct {
	Count   int64     // of these messages
	Of      int64     // of all that are remembered
	Since   time.Time // the oldest that is remembered
	Authors []tally
	Clients []tally
}

// tally is how many messages one author domain or client has.
type tally struct {
	Word  string
	Count int64
}

// unaccepted counts what the daemon remembers. It is nil if that is nothing.
func (c *Console) unaccepted() *unaccepted {
	ring := c.o.Decisions()
	if ring == nil {
		return nil
	}
	var f unaccepted
	authors, clients := map[string]int64{}, map[string]int64{}
	ring.Find(func(h *recent.Head) bool {
		f.Of++
		f.Since = h.Time // the newest come first
		if h.Action != policy.Accept && h.Action != policy.Skip {
			f.Count++
			authors[string(h.AuthorDomain)]++
			if h.Client.IsValid() {
				clients[h.Client.Unmap().String()]++
			}
		}
		return false // the head says all
	}, 0)
	if f.Of == 0 {
		return nil
	}
	f.Authors, f.Clients = topOf(authors), topOf(clients)
	return &f
}

// topOf returns the words with the largest counts.
func topOf(counts map[string]int64) []tally {
	all := make([]tally, 0, len(counts))
	for word, n := range counts {
		all = append(all, tally{word, n})
	}
	slices.SortFunc(all, func(a, b tally) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Word, b.Word)) })
	return all[:min(len(all), topRows)]
}
