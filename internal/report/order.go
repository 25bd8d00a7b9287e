package report

import "cmp"

// Compare orders sightings as Batch.Seen wants them.
func (s Sighting) Compare(t Sighting) int {
	return cmp.Or(cmp.Compare(s.Domain, t.Domain), cmp.Compare(s.Day, t.Day), cmp.Compare(s.Kind, t.Kind))
}
