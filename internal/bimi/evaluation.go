package bimi

import (
	"slices"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/dns"
)

// Evaluation is what is known of the author's mark for one message. It does not change once the
// message was evaluated.
type Evaluation struct {
	Result Result `json:"result"`
	Reason string `json:"reason,omitempty"` // one of a fixed list of words; "" if Result is Pass
	// Domain and Selector are where the record was found. They are "" if there is none.
	Domain       dns.Name   `json:"domain,omitempty"`
	Organization dns.Name   `json:"organization,omitempty"` // the Organizational Domain of the author
	Selector     string     `json:"selector,omitempty"`
	LocalPart    string     `json:"local_part,omitempty"` // the selector made of the author's local part, if its record was asked for
	Location     string     `json:"location,omitempty"`   // l= of the record
	Evidence     string     `json:"evidence,omitempty"`   // a= of the record
	Preference   Preference `json:"preference,omitempty"`
	Authority    Authority  `json:"authority,omitempty"`

	// The next fields describe the mark if Result is Pass. All but Hash are of its certificate.
	Hash     string     `json:"hash,omitempty"` // see Mark.Hash
	MarkType MarkType   `json:"mark_type,omitempty"`
	Owner    string     `json:"owner,omitempty"`
	Issuer   string     `json:"issuer,omitempty"`
	Serial   string     `json:"serial,omitempty"`
	NotAfter *time.Time `json:"not_after,omitempty"`

	// Checks has everything that was looked at, in order. The last one decided if Result is not Pass.
	Checks []Check `json:"checks"`

	// Mark is nil unless Result is Pass. It is shared by all messages that show it. A kept decision
	// has no Mark, but Hash says which one it was.
	Mark *Mark `json:"-"`
}

// usualChecks is the first capacity of Evaluation.Checks.
const usualChecks = 12

func (e *Evaluation) good(word, detail string) {
	e.Checks = append(e.Checks, Check{Word: word, OK: true, Detail: detail})
}

// end sets the result of e, and the check that led to it.
func (e *Evaluation) end(result Result, reason, word, detail string) {
	e.Result, e.Reason = result, reason
	e.Checks = append(e.Checks, Check{Word: word, Detail: detail})
}

// Unfinished returns the Evaluation of a message whose evaluation did not end: reason is ReasonTime or
// ReasonInternal.
func Unfinished(reason string) *Evaluation {
	e := &Evaluation{}
	e.end(TempError, reason, "dns", "not finished within the message's time")
	return e
}

// Query returns the question to an [Indicators]. ok is false if e has a result already.
func (e *Evaluation) Query() (q Query, ok bool) {
	if e.Result != "" {
		return Query{}, false
	}
	return Query{Domain: e.Domain, Selector: e.Selector, Organization: e.Organization, Location: e.Location, Evidence: e.Evidence}, true
}

// Answered sets the result of e, which a had for its Query.
func (e *Evaluation) Answered(a Answer, o Options) {
	e.Result, e.Reason, e.Authority = a.Result, a.Reason, a.Authority
	e.Checks = append(e.Checks, a.Checks...)
	switch {
	case a.Result != Pass:
		if e.Reason == "" {
			e.Reason = ReasonInternal
		}
		return
	case a.Mark == nil:
		e.Authority = AuthorityNone
		e.end(TempError, ReasonInternal, "mark", "the mark is missing")
		return
	case o.RequireCertificate && (!a.Mark.Certified || a.Authority != AuthorityPass):
		// An Indicators must not say this. The check is here because a mark without a certificate
		// may be that of any brand.
		e.end(None, ReasonNoCertificate, "certificate", "no mark certificate vouches for the mark")
		return
	}
	m := a.Mark
	e.Reason, e.Mark, e.Hash = "", m, m.Hash()
	if m.Certified {
		e.MarkType, e.Owner, e.Issuer, e.Serial = MarkType(m.Type), m.Owner, m.Issuer, m.Serial
		if !m.NotAfter.IsZero() {
			end := m.NotAfter
			e.NotAfter = &end
		}
	}
}

// Withheld returns a copy of e for a message that must not show the mark, because of its verdict.
func (e *Evaluation) Withheld() *Evaluation {
	held := *e
	held.Checks = slices.Clip(held.Checks)
	held.Mark, held.Hash, held.Authority = nil, "", AuthorityNone
	held.end(Skipped, ReasonVerdict, "verdict", "the message was not accepted for its DMARC pass alone")
	return &held
}

// AuthResult returns the result for Authentication-Results. withURI says whether it has the address of
// the certificate, withHash whether the message gets a BIMI-Indicator.
func (e *Evaluation) AuthResult(withURI, withHash bool) authres.Result {
	r := authres.Result{Method: "bimi", Value: string(e.Result), Comment: e.Reason}
	if e.Result == Declined {
		r.Comment = ""
	}
	add := func(ptype authres.PType, name, value string) {
		if value != "" {
			r.Properties = append(r.Properties, authres.Property{Type: ptype, Name: name, Value: value})
		}
	}
	if e.Result != Pass {
		if e.Authority == AuthorityFail {
			add(authres.PTypePolicy, "authority", string(e.Authority))
		}
		return r
	}
	r.Properties = make([]authres.Property, 0, 5)
	if slices.Contains(MarkTypes(), e.MarkType) {
		r.Comment = string(e.MarkType)
	}
	add(authres.PTypeHeader, "d", string(e.Domain))
	add(authres.PTypeHeader, "selector", e.Selector)
	add(authres.PTypePolicy, "authority", string(e.Authority))
	if withURI {
		add(authres.PTypePolicy, "authority-uri", e.Evidence)
	}
	if withHash {
		add(authres.PTypePolicy, "indicator-hash", e.Hash)
	}
	return r
}
