package report

import (
	"cmp"
	"slices"
)

// Compare orders sightings as Batch.Seen wants them.
func (s Sighting) Compare(t Sighting) int {
	return cmp.Or(cmp.Compare(s.Domain, t.Domain), cmp.Compare(s.Day, t.Day), cmp.Compare(s.Kind, t.Kind))
}

// SortTallies brings tallies into the order that Batch.Tallies wants.
func SortTallies(all []Tally) {
	sortBy(all, func(t *Tally) PolicyID { return t.Policy.ID() }, func(a, b keyed[PolicyID, Tally]) int {
		return cmp.Or(a.key.Compare(b.key), cmp.Compare(a.value.Window.Begin, b.value.Window.Begin))
	})
}

// SortRows brings rows into the order that Tally.Rows wants.
func SortRows(all []Row) {
	sortBy(all, func(r *Row) Key { return r.Key() }, func(a, b keyed[Key, Row]) int { return a.key.Compare(b.key) })
}

type keyed[K, V any] struct {
	key   K
	value V
}

// sortBy sorts values by keys that are computed once for each value.
func sortBy[K, V any](all []V, key func(*V) K, compare func(a, b keyed[K, V]) int) {
	pairs := make([]keyed[K, V], len(all))
	for i := range all {
		pairs[i] = keyed[K, V]{key(&all[i]), all[i]}
	}
	slices.SortFunc(pairs, compare)
	for i := range pairs {
		all[i] = pairs[i].value
	}
}
