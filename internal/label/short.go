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

// maxLabel is how long the field is where its results allow it, in octets with
// its name: opendmarc does not read one of more than about 990, so a sender
// could hide our results from it behind signatures that fail.
const maxLabel = 900

// long formats the field into l.text and reports whether it is over maxLabel.
func (l *Writer) long(f *authres.Field) bool {
	l.text = f.AppendFormat(l.text[:0])
	return len(authres.FieldName)+len(":")+len(l.text) > maxLabel
}

// fit shortens the results of signatures that DMARC did not use until the field
// is within maxLabel, or nothing more can go. Those that passed are only
// shortened, the others are then left out from the last one on and counted.
func (l *Writer) fit(f *authres.Field, e *msgauth.Evaluation) {
	const first = 1 // of the signatures: the result of SPF stands before them
	spare := make([]bool, len(e.DKIM))
	for i := range spare {
		spare[i] = !decisive(&e.DKIM[i], &e.DMARC)
	}
	each := func(passed bool, do func(r *authres.Result)) {
		for i := range e.DKIM {
			if spare[i] && (e.DKIM[i].Result == dkim.Pass) == passed {
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
	// What goes is guessed from the text, so that it need not be written once for
	// each signature: only a result of ours has a semicolon before it.
	parts := bytes.Split(l.text, []byte(";"))
	over := len(authres.FieldName) + len(":") + len(l.text) - maxLabel
	left := len(e.DKIM)
	for i := left - 1; i > 0; i-- {
		if over <= 0 && !l.long(f) {
			return
		}
		if spare[i] && e.DKIM[i].Result != dkim.Pass {
			over -= len(parts[min(1+first+i, len(parts)-1)]) + len(";")
			f.Results = slices.Delete(f.Results, first+i, first+i+1)
			left--
			f.Results[first+left-1].EndComment = strconv.Itoa(len(e.DKIM)-left) + " more did not pass"
		}
	}
	l.text = f.AppendFormat(l.text[:0])
}

// decisive reports a signature that DMARC used: it is aligned, and passed or
// might have.
func decisive(s *dkim.Signature, d *dmarc.Evaluation) bool {
	for i := range d.Alignments {
		a := &d.Alignments[i]
		if a.Mechanism == dmarc.DKIM && a.Aligned && a.Domain == s.Domain && string(a.State) == string(s.Result) {
			return true
		}
	}
	return false
}

// keep drops the properties of other names.
func keep(r *authres.Result, names ...string) {
	r.Properties = slices.DeleteFunc(r.Properties, func(p authres.Property) bool { return !slices.Contains(names, p.Name) })
}
