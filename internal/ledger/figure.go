package ledger

import "cmp"

// Figure counts the messages of a day and group by one word of a list. No word is a part of a message, so
// a day has few figures: at most some hundred by reason, and a few for each country.
type Figure struct {
	Day      Day        `json:"day"`
	Group    string     `json:"group"`
	Kind     FigureKind `json:"kind"`
	Word     string     `json:"word"`   // by Kind: a policy.Reason, or a country
	Result   string     `json:"result"` // by Kind: a policy.Action, or a Standing
	Messages int64      `json:"messages"`
}

// FigureKind says what the words of a Figure are.
type FigureKind string

// The kinds of figures.
const (
	ByReason  FigureKind = "reason"  // why messages got their verdict; the Result is what was done with them
	ByCountry FigureKind = "country" // of the client; the Result is a Standing
)

// Compare orders figures as a [Delta] wants them.
func (f *Figure) Compare(o *Figure) int {
	return cmp.Or(cmp.Compare(f.Day, o.Day), cmp.Compare(f.Group, o.Group), cmp.Compare(f.Kind, o.Kind), cmp.Compare(f.Word, o.Word),
		cmp.Compare(f.Result, o.Result))
}

// UnknownCountry is the country of a client that the file of countries does not know. ISO 3166 gives this
// code to nobody.
const UnknownCountry = "ZZ"

// CountryWord returns the code of a country as a figure has it: two upper-case letters, or UnknownCountry.
// A file of countries may hold anything.
func CountryWord(code string) string {
	if len(code) != 2 || !upper(code[0]) || !upper(code[1]) {
		return UnknownCountry
	}
	return code
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }

// The standings of a message: how it authenticates, in one word.
const (
	StandingPass    = "pass"    // DMARC passes
	StandingFail    = "fail"    // DMARC fails
	StandingOther   = "other"   // no DMARC record, or its result is not known
	StandingNothing = "nothing" // neither an SPF record nor a signature, whatever DMARC says
)

// Standing returns the standing of the messages of a total.
func (t *Total) Standing() string {
	switch {
	case t.Unauthenticated():
		return StandingNothing
	case t.DMARC == "pass":
		return StandingPass
	case t.DMARC == "fail":
		return StandingFail
	}
	return StandingOther
}

// Unauthenticated reports whether the messages carry nothing that could authenticate them: their envelope
// sender's domain has no SPF record, and they have no signature. A DMARC record alone authenticates nothing.
func (t *Total) Unauthenticated() bool { return t.SPF == "none" && t.DKIM == "none" }
