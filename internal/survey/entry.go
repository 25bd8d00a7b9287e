// Package survey looks at a list of domains and says how many of them publish SPF, DMARC and BIMI, and
// how. It judges each domain as "sekimori check" does, by the daemon's own evaluators. It asks at most a
// given number of DNS questions a second, and it can go on after an interruption.
package survey

import (
	"slices"

	"sekimori/internal/dmarc"
	"sekimori/internal/domaincheck"
)

// Entry is what the survey keeps about one domain. It is a line of the file of a survey.
type Entry struct {
	Domain  string             `json:"domain"`
	Missing bool               `json:"missing,omitempty"` // the domain does not exist
	Mail    domaincheck.Mail   `json:"mail,omitempty"`    // mx, null or none
	SPF     string             `json:"spf,omitempty"`     // what SPF says of a stranger: fail, softfail, neutral or pass; or broken
	Own     bool               `json:"own,omitempty"`     // the domain has a usable DMARC record of its own
	Bad     bool               `json:"bad,omitempty"`     // the domain has a DMARC record of its own that receivers do not use
	Parent  bool               `json:"parent,omitempty"`  // a usable DMARC record of a domain above applies
	P       string             `json:"p,omitempty"`       // the tags of the domain's own record
	SP      string             `json:"sp,omitempty"`
	NP      string             `json:"np,omitempty"`
	Testing bool               `json:"t,omitempty"`
	RUA     bool               `json:"rua,omitempty"`
	RUF     bool               `json:"ruf,omitempty"`
	Policy  string             `json:"policy,omitempty"` // what receivers are asked to do, by whichever record
	BIMI    bool               `json:"bimi,omitempty"`
	Faults  []domaincheck.Word `json:"faults,omitempty"` // without repetitions, those that only say that nothing is there left out
	Unknown []string           `json:"unknown,omitempty"`
}

// newEntry makes the entry of a domain.
func newEntry(f domaincheck.Facts) Entry {
	d := &f.DMARC
	e := Entry{Domain: string(f.Domain), Missing: !f.Exists, Mail: f.Mail, BIMI: f.BIMI.Published, SPF: f.SPF.All, Policy: d.Policy, Unknown: f.Unknown}
	for _, fault := range f.Faults {
		if fault.Grade != domaincheck.Missing && !slices.Contains(e.Faults, fault.Word) {
			e.Faults = append(e.Faults, fault.Word)
		}
		if fault.Subject == "spf" && fault.Grade == domaincheck.Broken {
			e.SPF = broken
		}
	}
	author := d.Source == string(dmarc.SourceAuthor)
	e.Own, e.Parent = author && d.Usable, !author && d.Usable
	e.Bad = author && !d.Usable || slices.ContainsFunc(e.Faults, func(w domaincheck.Word) bool { return slices.Contains(discarded, w) })
	if e.Own {
		e.P, e.SP, e.NP, e.Testing, e.RUA, e.RUF = d.P, d.SP, d.NP, d.Testing, d.RUA, d.RUF
		if slices.Contains(e.Faults, domaincheck.DMARCInvalidPolicy) {
			e.P, e.SP, e.NP = string(dmarc.PolicyNone), "", "" // the record counts as p=none (RFC 9989 section 4.10.1)
		}
	}
	return e
}

// broken is the value of Entry.SPF for a record that receivers cannot use.
const broken = "broken"

// discarded are the faults of a DMARC record that receivers treat as if it were not there.
var discarded = []domaincheck.Word{domaincheck.DMARCNotARecord, domaincheck.DMARCMultiple, domaincheck.DMARCMalformed, domaincheck.DMARCUnusableDNS}
