package policy

import (
	"sekimori/internal/msgauth"
	"sekimori/internal/trait"
)

// evidence lists the traits of a failing message: those that speak for a direct
// spoof, and those that speak for indirect mail or for the author.
func evidence(e *msgauth.Evaluation) (spoofing, indirect []trait.Trait) {
	for _, t := range trait.All() {
		switch side := t.Side(); {
		case side == trait.Neither || !e.Has(t):
		case side == trait.Spoofing:
			spoofing = append(spoofing, t)
		default:
			indirect = append(indirect, t)
		}
	}
	return spoofing, indirect
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
