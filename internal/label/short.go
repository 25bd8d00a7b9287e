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

// maxLabel is the length to which fit tries to shorten a long field, in octets, including
// the field name. opendmarc does not read a field that is longer than about 990 octets. A
// sender could add many signatures that fail, and so hide our results from opendmarc.
const maxLabel = 900

// long formats the field into l.text and reports whether it is over maxLabel.
func (l *Writer) long(f *authres.Field) bool {
	l.text = f.AppendFormat(l.text[:0])
	return len(authres.FieldName)+len(":")+len(l.text) > maxLabel
}

// fit shortens the field f, and stops as soon as the field is within maxLabel. The results
// of signatures that DMARC used stay as they are. Of the other signatures, first the
// results that did not pass get a shorter form, and then the results that passed. Finally
// results that did not pass are left out, beginning with the last signature, and the field
// says how many were left out.
func (l *Writer) fit(f *authres.Field, e *msgauth.Evaluation) {
	const first = 1 // index of the first signature's result in f.Results; index 0 is SPF
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
	// The new length is first estimated from the text of each result, because it would be
	// slow to format the whole field again for each result that is left out. Semicolons
	// stand only before results, so the split finds the results.
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

// decisive reports whether DMARC used the signature s: the signature's domain is aligned,
// and the signature passed or could have passed if there had been no temporary error.
func decisive(s *dkim.Signature, d *dmarc.Evaluation) bool {
	for i := range d.Alignments {
		a := &d.Alignments[i]
		if a.Mechanism == dmarc.DKIM && a.Aligned && a.Domain == s.Domain && string(a.State) == string(s.Result) {
			return true
		}
	}
	return false
}

// keep removes all properties except those with the given names.
func keep(r *authres.Result, names ...string) {
	r.Properties = slices.DeleteFunc(r.Properties, func(p authres.Property) bool { return !slices.Contains(names, p.Name) })
}
