package explain

import (
	"fmt"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/policy"
)

// maxShownValue is how many octets of a field's value are shown. BIMI-Indicator has up to 59,000.
const maxShownValue = 4 << 10

// bimi prints every check of the author's mark, in order.
func (r *Explanation) bimi(p *printer) {
	b := policy.Mark(r.Evaluation, &r.Verdict)
	if b == nil {
		return
	}
	p.section("BIMI")
	if b.Reason == "" {
		p.line(0, "%s", b.Result)
	} else {
		p.line(0, "%s (%s)", b.Result, b.Reason)
	}
	for _, c := range b.Checks {
		p.line(1, "%s", checkText(c))
	}
	if b.Evidence != "" {
		p.line(0, "certificate at %s", b.Evidence)
	}
	if b.Location != "" {
		p.line(0, "picture at %s", b.Location)
	}
	if b.Result != bimi.Pass {
		return
	}
	p.line(0, "mark %s of %s, found at %s._bimi.%s, authority %s", b.Hash, b.Owner, b.Selector, b.Domain, b.Authority)
	if b.NotAfter != nil {
		p.line(0, "%s, certified by %s, serial number %s, until %s", string(b.MarkType), b.Issuer, b.Serial, b.NotAfter.UTC().Format(time.DateOnly))
	}
}

func checkText(c bimi.Check) string {
	word := "ok"
	if !c.OK {
		word = "no"
	}
	if c.Detail == "" {
		return fmt.Sprintf("%s: %s", c.Word, word)
	}
	return fmt.Sprintf("%s: %s, %s", c.Word, word, c.Detail)
}
