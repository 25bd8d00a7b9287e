package policy

import (
	"sekimori/internal/msgauth"
	"sekimori/internal/trait"
)

// evidence lists the traits of a failing message: those that speak for a direct
// spoof, and those that speak for indirect mail or for the author.
func evidence(e *msgauth.Evaluation) (spoofing, indirect []trait.Trait) {
	return shown(e, trait.Of(trait.Spoofing)), shown(e, trait.Of(trait.Indirect, trait.Author))
}

// shown returns those of the traits that the message has, nil if it has none.
func shown(e *msgauth.Evaluation, traits []trait.Trait) (out []trait.Trait) {
	for _, t := range traits {
		if e.Has(t) {
			out = append(out, t)
		}
	}
	return out
}

// indirectComment is for the reader of a DMARC report, who learns from it that
// local policy was milder than the published one.
func indirectComment(indirect []trait.Trait) string {
	for _, t := range indirect {
		if t.Side() == trait.Indirect {
			return "looks like indirect mail"
		}
	}
	return "may be the author's own mail"
}
