package ledger

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"sekimori/internal/distinct"
	"sekimori/internal/dmarc"
)

// AuthorSketch says how many different Organizational Domains wrote on a day, by published policy. A
// store keeps one for each day and policy, merged over all hosts.
type AuthorSketch struct {
	Day       Day
	Policy    dmarc.Policy
	Registers []byte // distinct.Registers octets
}

// Sketches returns a sketch for each day and policy of the rows, in ascending order. secret is that of
// the store: the hosts of a farm must agree on it, and nobody else may choose domains by their hashes.
func Sketches(secret []byte, rows []Row) (all []AuthorSketch) {
	type key struct {
		day    Day
		policy dmarc.Policy
	}
	places := map[key]int{}
	var input []byte
	for i := range rows {
		r := &rows[i]
		k := key{r.Day, r.Policy}
		at, ok := places[k]
		if !ok {
			at = len(all)
			places[k] = at
			all = append(all, AuthorSketch{r.Day, r.Policy, make([]byte, distinct.Registers)})
		}
		input = append(append(input[:0], secret...), r.Domain...)
		sum := sha256.Sum256(input)
		distinct.Raise(all[at].Registers, binary.BigEndian.Uint64(sum[:]))
	}
	slices.SortFunc(all, func(a, b AuthorSketch) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Policy, b.Policy)) })
	return all
}

// Merge adds what a store has of the same day and policy. It reports whether the sketch has more than what
// is stored, which may be damaged.
func (s *AuthorSketch) Merge(stored []byte) (more bool) {
	if len(stored) != len(s.Registers) {
		return true
	}
	distinct.Merge(s.Registers, stored)
	return !bytes.Equal(s.Registers, stored)
}

// Prune removes what is too old to be kept, and returns the messages that are dropped with it.
func (d *Delta) Prune(today Day) (dropped int64) {
	d.Rows = keep(d.Rows, func(r *Row) bool {
		if r.Day <= today-KeepDays {
			dropped += r.Messages
			return false
		}
		return true
	})
	d.Authors = keep(d.Authors, func(a *Author) bool { return a.Day > today-KeepSources })
	d.Sources = keep(d.Sources, func(s *Source) bool { return s.Last > today-KeepSources })
	d.Totals = keep(d.Totals, func(t *Total) bool { return t.Day > today-KeepDays })
	d.Figures = keep(d.Figures, func(f *Figure) bool { return f.Day > today-KeepDays })
	d.Dropped = keep(d.Dropped, func(x *Dropped) bool { return x.Day > today-KeepDays })
	return dropped
}

// keep returns the elements that are wanted, and leaves the slice itself as it is.
func keep[T any](all []T, wanted func(*T) bool) []T {
	out := all[:0:0]
	for i := range all {
		if wanted(&all[i]) {
			out = append(out, all[i])
		}
	}
	return out
}

// Gather merges a stored sketch into those of its policy. A damaged one is left out.
func Gather(all map[dmarc.Policy][]byte, policy dmarc.Policy, stored []byte) {
	if len(stored) != distinct.Registers {
		return
	}
	if all[policy] == nil {
		all[policy] = make([]byte, distinct.Registers)
	}
	distinct.Merge(all[policy], stored)
}

// Estimates returns about how many values each of the sketches has seen.
func Estimates(all map[dmarc.Policy][]byte) map[dmarc.Policy]float64 {
	out := make(map[dmarc.Policy]float64, len(all))
	for p, registers := range all {
		out[p] = distinct.Estimate(registers)
	}
	return out
}
