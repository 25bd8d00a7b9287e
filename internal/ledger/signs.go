package ledger

import (
	"slices"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/msgauth"
	"sekimori/internal/trait"
)

// Signs returns the learned signs of a message of this author domain. Only a message that fails DMARC has
// any.
func (u *Usual) Signs(e *msgauth.Evaluation) []trait.Trait { return u.signs(e, e.Session.Unknown()) }

func (u *Usual) signs(e *msgauth.Evaluation, unknownClient bool) (signs []trait.Trait) {
	if e.DMARC.Result != dmarc.ResultFail {
		return nil
	}
	if u.AlwaysSigns() && !hasSignature(e) {
		signs = append(make([]trait.Trait, 0, 2), trait.UnsignedUnlikeUsual)
	}
	if unknownClient {
		return signs
	}
	switch days, known := u.Network(e.Session.Client); {
	case days >= LeastSourceDays:
		signs = append(signs, trait.KnownSource)
	case !known && u.KnowsNetworks():
		signs = append(signs, trait.UnknownSource)
	}
	return signs
}

// hasSignature reports whether the message has a signature of the author, or one that cannot be read well
// enough to say whose it is. Whether it verifies does not matter: a signature that somebody broke on the
// way was there when the author sent the message.
func hasSignature(e *msgauth.Evaluation) bool {
	if len(e.DKIM) == 0 {
		return false
	}
	author := e.From.AuthorDomain
	owner := suffix.Owner(author)
	return slices.ContainsFunc(e.DKIM, func(s dkim.Signature) bool {
		return s.Domain == "" || related(s.Domain, author) || owner != "" && s.Domain.Under(owner)
	})
}

// related reports whether one of the names is the other or below it.
func related(a, b dns.Name) bool { return a.Under(b) || b.Under(a) }
