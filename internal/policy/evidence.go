package policy

import (
	"cmp"
	"slices"

	"sekimori/internal/arc"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// evidence lists traits of a failing message. The list "spoofing" has the signs
// of a direct spoof. The list "indirect" has the signs of indirect mail and of
// the author's own mail. The learned signs are in them only if they are used.
func evidence(e *msgauth.Evaluation, c Config) (spoofing, indirect []trait.Trait) {
	spoofing, indirect = shown(e, trait.Of(trait.Spoofing)), shown(e, trait.Of(trait.Indirect, trait.Author))
	if c.Learned != LearnedUse {
		spoofing, indirect = slices.DeleteFunc(spoofing, trait.Trait.IsLearned), slices.DeleteFunc(indirect, trait.Trait.IsLearned)
	}
	if len(spoofing) == 0 {
		spoofing = nil
	}
	if len(indirect) == 0 {
		indirect = nil
	}
	return spoofing, indirect
}

// isSpoof reports whether the signs of spoofing outweigh those of indirect mail.
// One sign that is not weak is enough. That practically all mail of the author
// is signed and this message is not, has two other explanations: somebody
// handed the message on and removed the signature, or the author sent it
// without. So that sign counts only if nobody else vouches for having handed it
// on, and if it comes from a network that is not the author's.
func isSpoof(e *msgauth.Evaluation, spoofing []trait.Trait) bool {
	for _, t := range spoofing {
		switch {
		case t.IsWeak():
		case t == trait.UnsignedUnlikeUsual && (e.Has(trait.KnownSource) || handedOn(e)):
		default:
			return true
		}
	}
	return false
}

// handedOn reports whether a domain that is not the author's authenticated: by
// a signature, by SPF, or by an ARC chain. A list that removes signatures, and
// a forwarder, practically always do.
func handedOn(e *msgauth.Evaluation) bool {
	return e.Has(trait.ThirdPartySignature) || e.Has(trait.ListSignature) || e.ARC.Status == arc.Pass ||
		e.MailFrom.Result == spf.Pass && !e.MailFrom.Domain.Under(e.AuthorScope())
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

// LearnedEffect returns what the learned signs do to the verdict on a message,
// or would do if they were used: 1 if they make it harsher, -1 if milder, and 0
// if they change nothing.
func LearnedEffect(e *msgauth.Evaluation, c Config) int {
	if len(shown(e, trait.Learned())) == 0 {
		return 0
	}
	c.Learned = LearnedUse
	with := Decide(e, c)
	c.Learned = LearnedOff
	return cmp.Compare(rank(with.Action), rank(Decide(e, c).Action))
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
