package policy

import (
	"net/netip"
	"slices"
	"strings"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
)

// answer is whether a condition holds. Unknown is what a temporary failure
// leaves: it would hold, or not, had the answer come.
type answer int

const (
	no answer = iota
	unknown
	yes
)

func answered(b bool) answer {
	if b {
		return yes
	}
	return no
}

// match compares a message with a rule's conditions.
func (w *Conditions) match(e *msgauth.Evaluation) answer {
	all := yes
	for _, key := range []struct {
		set  bool
		test func(*Conditions, *msgauth.Evaluation) answer
	}{
		// What costs least, and excludes most, comes first.
		{len(w.Author) > 0, (*Conditions).author},
		{len(w.Client) > 0, (*Conditions).client},
		{len(w.DMARC) > 0, (*Conditions).dmarc},
		{len(w.Published) > 0, (*Conditions).published},
		{len(w.SPF) > 0, (*Conditions).spf},
		{len(w.Traits) > 0, (*Conditions).traits},
		{len(w.ClientName) > 0, (*Conditions).clientName},
		{len(w.DKIM) > 0, (*Conditions).dkim},
		{len(w.ARCSealer) > 0, (*Conditions).arcSealer},
	} {
		if key.set {
			all = min(all, key.test(w, e))
		}
		if all == no {
			return no
		}
	}
	return all
}

func (w *Conditions) author(e *msgauth.Evaluation) answer {
	return answered(matchesAny(w.Author, e.From.AuthorDomain))
}

func (w *Conditions) client(e *msgauth.Evaluation) answer {
	addr := e.Session.Client.Unmap().WithZone("")
	return answered(slices.ContainsFunc(w.Client, func(n netip.Prefix) bool { return n.Contains(addr) }))
}

// clientName: the client chooses its reverse name, and by a name server of its
// own whether there is an answer; what it cannot choose is that the name has
// its address.
func (w *Conditions) clientName(e *msgauth.Evaluation) answer {
	switch e.IPRev.Status {
	case iprev.Pass:
		return answered(matchesAny(w.ClientName, e.IPRev.Name))
	case iprev.TempError:
		if len(e.IPRev.Names) == 0 {
			return unknown
		}
		for _, n := range e.IPRev.Names {
			if matchesAny(w.ClientName, n) {
				return unknown
			}
		}
	}
	return no
}

func (w *Conditions) dkim(e *msgauth.Evaluation) answer {
	best := no
	for _, s := range e.DKIM {
		switch {
		case s.Result == dkim.Pass && matchesAny(w.DKIM, s.Domain):
			return yes
		case s.Result == dkim.TempError && (s.Domain == "" || matchesAny(w.DKIM, s.Domain)):
			best = unknown // without a domain: a stage of ours failed
		}
	}
	return best
}

func (w *Conditions) arcSealer(e *msgauth.Evaluation) answer {
	return vouched(e, func(sealer dns.Name) bool { return matchesAny(w.ARCSealer, sealer) })
}

func (w *Conditions) spf(e *msgauth.Evaluation) answer {
	switch {
	case !matchesAny(w.SPF, e.MailFrom.Domain):
		return no
	case e.MailFrom.Result == spf.TempError:
		return unknown
	}
	return answered(e.MailFrom.Result == spf.Pass)
}

func (w *Conditions) published(e *msgauth.Evaluation) answer {
	p := e.DMARC.PolicyPublished
	switch {
	case p != "":
	case e.DMARC.Result == dmarc.ResultNone:
		p = Absent
	case e.DMARC.Result == dmarc.ResultTempError:
		return unknown
	}
	return answered(slices.Contains(w.Published, p))
}

func (w *Conditions) dmarc(e *msgauth.Evaluation) answer {
	return answered(slices.Contains(w.DMARC, e.DMARC.Result))
}

func (w *Conditions) traits(e *msgauth.Evaluation) answer {
	return answered(slices.ContainsFunc(w.Traits, func(t Trait) bool { return hasTrait(e.Traits, t) }))
}

func hasTrait(t msgauth.Traits, which Trait) bool {
	switch which {
	case TraitList:
		return t.List
	case TraitBulk:
		return t.Bulk
	case TraitRewrittenFrom:
		return t.RewrittenFrom
	case TraitForwarded:
		return t.Forwarded
	case TraitSRS:
		return t.SRS
	case TraitARC:
		return t.ARC
	case TraitBrokenAuthorSignature:
		return t.BrokenAuthorSignature
	case TraitThirdPartySignature:
		return t.ThirdPartySignature
	case TraitListSignature:
		return t.ListSignature
	}
	return false
}

// vouched reports whether the newest seal of a valid chain is by a sealer that
// is trusted (RFC 8617 §7.2.1) and does not itself say that the message failed
// DMARC there: then it vouches for nothing. A chain that did not validate
// because a key did not come, or because of a bug of ours, leaves it open.
func vouched(e *msgauth.Evaluation, trusted func(sealer dns.Name) bool) answer {
	if slices.ContainsFunc(e.Panics, func(p msgauth.Panic) bool { return p.Component == msgauth.ARC }) {
		return unknown
	}
	newest, ok := newestSet(e)
	switch {
	case !ok || !trusted(newest.Sealer) || reportsFail(newest.AuthResults):
		return no
	case e.ARC.Status == arc.Pass:
		return yes
	case strings.HasPrefix(string(e.ARC.Signature), "dns_"), e.ARC.Signature == dkim.ReasonInternal:
		return unknown // RFC 8617 §5.2.1 calls it permanent; it is no reason to lose mail
	}
	return no
}

func newestSet(e *msgauth.Evaluation) (arc.Set, bool) {
	if len(e.ARC.Sets) == 0 {
		return arc.Set{}, false
	}
	return e.ARC.Sets[len(e.ARC.Sets)-1], true
}
