package label

import (
	"sekimori/internal/authres"
	"sekimori/internal/bimi"
)

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

// The fields that hand a mark on.
const (
	LocationField   = "BIMI-Location"
	IndicatorField  = "BIMI-Indicator"
	PreferenceField = "BIMI-Logo-Preference"
)

const (
	// maxIndicator is how many octets BIMI-Indicator has at most, with its name. Postfix cuts a field
	// at 60,000 octets without a word, and a picture that was cut is broken.
	maxIndicator = 59_000
	// maxMarkURI is how many octets a URI in BIMI-Location has at most. It cannot be folded, and a line
	// of a message has at most 998 octets (RFC 5322 §2.1.1).
	maxMarkURI = 900
)

// markText returns the value of the Authentication-Results field with the result of BIMI. It is a field
// of its own, because SpamAssassin 4.0 skips a whole field that has a method which it does not know, and
// bimi is not registered. The address of the certificate is left out if the field would be over maxLabel
// with it. BIMI-Location has the address, too.
func markText(s *Settings, id string, b *bimi.Evaluation) string {
	_, indicator := markFields(s.Mark, b)
	f := authres.Field{AuthServID: id, Results: []authres.Result{b.AuthResult(true, indicator)}}
	text := f.Format()
	if len(authres.FieldName)+len(":")+len(text) > maxLabel {
		f.Results[0] = b.AuthResult(false, indicator)
		text = f.Format()
	}
	return text
}

// markFields says which of the two fields a message with the mark gets.
func markFields(which MarkFields, b *bimi.Evaluation) (location, indicator bool) {
	location, indicator = which != MarkIndicator, which != MarkLocation
	fits := b.Mark != nil && len(IndicatorField)+len(":")+len(b.Mark.Indicator()) <= maxIndicator
	return location, indicator && fits
}

// insertMark inserts the fields that hand the mark on. They are above Authentication-Results.
func (l *Writer) insertMark(s *Settings, b *bimi.Evaluation) {
	if b == nil || b.Result != bimi.Pass || b.Mark == nil {
		return
	}
	location, indicator := markFields(s.Mark, b)
	if location {
		if value := locationText(b); value != "" {
			l.insert(LocationField, value)
		} else {
			location = false
		}
	}
	if indicator {
		l.insert(IndicatorField, b.Mark.Indicator())
	}
	if (location || indicator) && b.Preference != "" {
		l.insert(PreferenceField, " avp="+string(b.Preference))
	}
}

// locationText returns the value of BIMI-Location, or "" if there is nothing to say. The certificate is
// named only if it vouches for the mark, and the picture only if it is the one that was checked.
func locationText(b *bimi.Evaluation) string {
	const fold = "\r\n "
	text := " v=BIMI1"
	line := len(LocationField) + len(":") + len(text)
	add := func(tag, uri string) {
		if uri == "" || len(uri) > maxMarkURI {
			return
		}
		item := tag + uri
		text += ";"
		if line += len("; ") + len(item); line > foldAt {
			text += fold
			line = len(" ") + len(item)
		} else {
			text += " "
		}
		text += item
	}
	before := len(text)
	if b.Mark.Certified && b.Authority == bimi.AuthorityPass {
		add("a=", b.Evidence)
	}
	if b.Mark.Same {
		add("l=", b.Location)
	}
	if len(text) == before {
		return ""
	}
	return text
}

// foldAt is how many octets a line of BIMI-Location has, where a URI can be put on a line of its own.
const foldAt = 76
