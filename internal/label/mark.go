package label

// MarkFields says which header fields hand the author's mark on (BIMI).
type MarkFields string

// The values of MarkFields.
const (
	MarkBoth      MarkFields = "both"
	MarkLocation  MarkFields = "location"  // only BIMI-Location, from which a mail client fetches the mark itself
	MarkIndicator MarkFields = "indicator" // only BIMI-Indicator, which holds the mark
)

// MarkFieldsAll lists every value of MarkFields. The first is the default.
var MarkFieldsAll = []MarkFields{MarkBoth, MarkLocation, MarkIndicator}
