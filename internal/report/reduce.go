package report

import (
	"strings"

	"sekimori/internal/dns"
)

// Reduced returns the row without what a forger can make up without end: failed signatures of other
// domains, and the domain of MAIL FROM. A forger could otherwise give a domain any number of rows. When
// a job has nine tenths of [Batch.MaxRows], a store reduces the rows that are new to it, and when the
// job has all of them, it counts the messages of new rows as lost. The counts of known rows go on.
func (r Row) Reduced() Row {
	var kept []DKIMResult
	for _, x := range r.AuthDKIM {
		if x.Result == "pass" || related(x.Domain, r.HeaderFrom) {
			kept = append(kept, x)
		}
	}
	r.AuthDKIM = kept
	if !r.SPF {
		if r.EnvelopeFrom != "" { // the null path stays what it is
			r.EnvelopeFrom = Unknown
		}
		r.AuthSPF = SPFResult{Domain: Unknown, Result: r.AuthSPF.Result}
	}
	return r
}

// related reports whether one of the domains is the other or below it.
func related(a, b dns.Name) bool {
	return a == b || strings.HasSuffix(string(a), "."+string(b)) || strings.HasSuffix(string(b), "."+string(a))
}

// Takes says whether a window with so many jobs may get one more, if its owner has so many of them. If not,
// owner says that it is the owner who has too many. Once a window is half full, an owner gets only a hundredth,
// so that a few owners cannot fill it with names that they made up.
func (b Batch) Takes(jobs, owned int64) (ok, owner bool) {
	most := b.MaxOwned
	if b.MaxJobs > 0 && jobs >= b.MaxJobs/2 {
		most = max(most/100, 1)
	}
	switch {
	case b.MaxOwned > 0 && owned >= most:
		return false, true
	case b.MaxJobs > 0 && jobs >= b.MaxJobs:
		return false, false
	}
	return true, false
}

// RowLimit says what a store does with a row that is new to a job with so many rows: take it, take it
// reduced, or count its messages as lost.
func (b Batch) RowLimit(rows int64) (take, reduce bool) {
	if b.MaxRows <= 0 {
		return true, false
	}
	return rows < b.MaxRows, rows >= b.MaxRows-b.MaxRows/10
}
