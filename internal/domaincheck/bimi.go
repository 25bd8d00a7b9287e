package domaincheck

import (
	"strings"

	"sekimori/internal/dns"
)

// BIMI is the assertion record of a domain, at the selector "default".
type BIMI struct {
	Published bool   `json:"published"`
	Record    string `json:"record,omitempty"`
	Declined  bool   `json:"declined,omitempty"` // the record says that the domain takes no part
}

// bimi looks at the record. It looks only whether there is one.
func (l *looker) bimi() {
	name, err := l.domain.Prepend("default._bimi")
	if err != nil {
		return
	}
	answer, err := l.resolver.Lookup(l.ctx, name, dns.TypeTXT)
	if err != nil {
		l.unknown("BIMI record of "+string(l.domain), err)
		return
	}
	n := 0
	for _, r := range answer.Records {
		if isBIMI(r.Text) {
			n++
			l.facts.BIMI.Published, l.facts.BIMI.Record = true, r.Text
		}
	}
	d := &l.facts.DMARC
	switch {
	case n > 1:
		l.facts.BIMI.Record = ""
		l.add(BIMIMultiple, "there are %d BIMI records at %s", n, name)
	case n == 0:
		if text, ok := looksLike(answer, "v=bimi1", isBIMI); ok {
			l.add(BIMINotARecord, "this text at %s is meant to be a BIMI record: %s", name, shown(text))
		}
	case d.Policy == "" || d.Policy == "none" || d.SP == "none" || d.Testing:
		l.add(BIMINotEnforcing, "there is a BIMI record, and the DMARC policy does not enforce")
	}
}

// isBIMI reports whether a text is an assertion record: it begins with the version, in this case.
func isBIMI(text string) bool {
	first, _, _ := strings.Cut(text, ";")
	name, value, ok := strings.Cut(first, "=")
	return ok && strings.TrimSpace(name) == "v" && strings.TrimSpace(value) == "BIMI1"
}
