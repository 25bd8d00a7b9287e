package policy

import (
	"sekimori/internal/msgauth"
	"sekimori/internal/trait"
)

// evidence lists traits of a failing message. The list "spoofing" has the signs
// of a direct spoof. The list "indirect" has the signs of indirect mail and of
// the author's own mail.
func evidence(e *msgauth.Evaluation) (spoofing, indirect []trait.Trait) {
	return shown(e, trait.Of(trait.Spoofing)), shown(e, trait.Of(trait.Indirect, trait.Author))
}

// shown returns the traits of the list that the message has, or nil.
func shown(e *msgauth.Evaluation, traits []trait.Trait) (out []trait.Trait) {
	for _, t := range traits {
		if e.Has(t) {
			out = append(out, t)
		}
	}
	return out
}

// indirectComment returns the comment of an override. It tells the reader of a
// DMARC report why we were milder than the published policy.
func indirectComment(indirect []trait.Trait) string {
	for _, t := range indirect {
		if t.Side() == trait.Indirect {
			return "looks like indirect mail"
		}
	}
	return "may be the author's own mail"
}
