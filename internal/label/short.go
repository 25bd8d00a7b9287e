package label

import (
	"bytes"
	"slices"
	"strconv"

	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
)

// maxLabel is the length to which a long field is shortened, in octets with its name.
// opendmarc does not read a field of more than about 990 octets, so a sender could
// hide our results from opendmarc behind many signatures that fail.
const maxLabel = 900

// long formats the field into l.text and reports whether it is over maxLabel.
func (l *Writer) long(f *authres.Field) bool {
	l.text = f.AppendFormat(l.text[:0])
	return len(authres.FieldName)+len(":")+len(l.text) > maxLabel
}

// fit shortens the results of signatures that DMARC did not use, until the field is
// within maxLabel or nothing is left to shorten. Results of signatures that passed
// stay, in a shorter form. The others are then left out, from the last one on, and
// only counted.
func (l *Writer) fit(f *authres.Field, e *msgauth.Evaluation) {
	const first = 1 // index of the first signature's result; the result of SPF has 0
	unused := make([]bool, len(e.DKIM))
	for i := range unused {
		unused[i] = !decisive(&e.DKIM[i], &e.DMARC)
	}
	each := func(passed bool, do func(r *authres.Result)) {
		for i := range e.DKIM {
			if unused[i] && (e.DKIM[i].Result == dkim.Pass) == passed {
				do(&f.Results[first+i])
			}
		}
	}
	brief := func(r *authres.Result) { r.Comment = ""; keep(r, "d", "s", "b") }
	briefer := func(r *authres.Result) { r.Reason = ""; keep(r, "d", "b") }
	for _, step := range []func(){
		func() { each(false, brief) },
		func() { each(false, briefer) },
		func() { each(true, brief) },
	} {
		if step(); !l.long(f) {
			return
		}
	}
	// How much shorter the field gets is estimated from its text, so that it need not
	// be formatted for each signature that is left out. Only our results have a
	// semicolon before them.
	parts := bytes.Split(l.text, []byte(";"))
	over := len(authres.FieldName) + len(":") + len(l.text) - maxLabel
	left := len(e.DKIM)
	for i := left - 1; i > 0; i-- {
		if over <= 0 && !l.long(f) {
			return
		}
		if unused[i] && e.DKIM[i].Result != dkim.Pass {
			over -= len(parts[min(1+first+i, len(parts)-1)]) + len(";")
			f.Results = slices.Delete(f.Results, first+i, first+i+1)
			left--
			f.Results[first+left-1].EndComment = strconv.Itoa(len(e.DKIM)-left) + " more did not pass"
		}
	}
	l.text = f.AppendFormat(l.text[:0])
}

// decisive reports whether DMARC used the signature: it is aligned, and it passed or
// could have passed.
func decisive(s *dkim.Signature, d *dmarc.Evaluation) bool {
	for i := range d.Alignments {
		a := &d.Alignments[i]
		if a.Mechanism == dmarc.DKIM && a.Aligned && a.Domain == s.Domain && string(a.State) == string(s.Result) {
			return true
		}
	}
	return false
}

// keep drops all properties but those with these names.
func keep(r *authres.Result, names ...string) {
	r.Properties = slices.DeleteFunc(r.Properties, func(p authres.Property) bool { return !slices.Contains(names, p.Name) })
}
