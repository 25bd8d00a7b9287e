package status

import (
	"time"

	"sekimori/internal/printable"
)

// Marks says what is known of the marks of authors (BIMI).
type Marks struct {
	Shown   int        `json:"shown"`   // marks in memory that may be shown
	Refused int        `json:"refused"` // marks in memory that may not, or that could not be fetched
	Roots   []MarkRoot `json:"roots"`   // the one that ends first in front
	// FirstEnd is when the first certificate of a mark in memory ends. It is missing if there is none.
	FirstEnd *time.Time `json:"first_certificate_end,omitempty"`
}

// MarkRoot is a root to which mark certificates may lead.
type MarkRoot struct {
	Name string    `json:"name"`
	Ends time.Time `json:"ends"`
}

// lines writes the lines about marks. m is nil if bimi.enabled is false.
func (m *Marks) lines(line func(label, format string, args ...any)) {
	if m == nil {
		line("marks", "off (bimi.enabled)")
		return
	}
	first := ""
	if m.FirstEnd != nil {
		first = "; the first certificate ends on " + m.FirstEnd.Format(time.DateOnly)
	}
	line("marks", "%d may be shown, %d may not or could not be fetched%s", m.Shown, m.Refused, first)
	for i, r := range m.Roots {
		label := "mark roots"
		if i > 0 {
			label = ""
		}
		line(label, "%s, until %s", printable.Value(r.Name), r.Ends.UTC().Format(time.DateOnly))
	}
}
