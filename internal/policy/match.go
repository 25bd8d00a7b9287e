package policy

import (
	"net/netip"
	"slices"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
)

// answer says whether a condition holds. The answers unknown and noSlot leave
// the condition open: it may hold or not, because a DNS answer is missing or an
// evaluator panicked. noSlot means that the DNS answer is missing because all
// our lookup slots were in use; unknown means any other cause.
type answer int

const (
	no answer = iota
	noSlot
	unknown
	yes
)

// open reports whether it is not known whether the condition holds.
func (a answer) open() bool { return a == unknown || a == noSlot }

// either returns the answer to "a or b".
func either(a, b answer) answer {
	if a.open() && b.open() {
		return min(a, b) // noSlot counts more: the temporary refusal that may follow from it does not depend on policy.temperror
	}
	return max(a, b)
}

func answered(b bool) answer {
	if b {
		return yes
	}
	return no
}

// match says whether all conditions that are set hold for the message.
func (w *Conditions) match(e *msgauth.Evaluation) answer {
	all := yes
	for _, key := range []struct {
		set  bool
		test func(*Conditions, *msgauth.Evaluation) answer
	}{
		// The order is for speed: conditions that are cheap or exclude most
		// messages come first.
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
	addr := clientOf(e)
	return answered(slices.ContainsFunc(w.Client, func(n netip.Prefix) bool { return n.Contains(addr) }))
}

// clientOf returns the client's address in the form in which networks contain it.
func clientOf(e *msgauth.Evaluation) netip.Addr { return e.Session.Client.Unmap().WithZone("") }

// clientName compares the client's verified name. If the name could not be
// verified, the condition normally does not hold, because the client's own name
// server could suppress the answer. The condition is left open only if we are
// the cause: no lookup slot was free, or iprev panicked.
func (w *Conditions) clientName(e *msgauth.Evaluation) answer {
	if e.IPRev.Status == iprev.Pass {
		return answered(matchesAny(w.ClientName, e.IPRev.Name))
	}
	cause := nameCause(e)
	mayMatch := func(n dns.Name) bool { return matchesAny(w.ClientName, n) }
	if cause != "" && (len(e.IPRev.Names) == 0 || slices.ContainsFunc(e.IPRev.Names, mayMatch)) {
		return unsure(cause)
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
			best = either(best, unsure(keyCause(s.Reason))) // a signature without a domain means that the whole DKIM evaluation failed
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
		return unsure(spfCause(e))
	}
	return answered(e.MailFrom.Result == spf.Pass)
}

func (w *Conditions) published(e *msgauth.Evaluation) answer {
	p := e.DMARC.PolicyPublished
	switch {
	case p != "":
	case e.DMARC.Result == dmarc.ResultNone:
		p = Absent
	case e.DMARC.Result == dmarc.ResultTempError && e.DMARC.DNSError != nil:
		return unsure(e.DMARC.DNSError.Kind)
	case e.DMARC.Result == dmarc.ResultTempError:
		return unknown
	}
	return answered(slices.Contains(w.Published, p))
}

func (w *Conditions) dmarc(e *msgauth.Evaluation) answer {
	return answered(slices.Contains(w.DMARC, e.DMARC.Result))
}

func (w *Conditions) traits(e *msgauth.Evaluation) answer {
	return answered(slices.ContainsFunc(w.Traits, e.Has))
}

// vouched says whether a sealer vouches for the message (RFC 8617 §7.2.1). Only
// a sealer for which `trusted` returns true counts. It vouches if it made the
// newest seal of a valid chain, and its own results do not say that the message
// failed DMARC. The answer is open if the DNS lookup of a key failed, or a bug
// of ours kept the chain from being validated. It is "no" if a key does not
// exist, or if the lookup found an alias loop or a record that is too large.
func vouched(e *msgauth.Evaluation, trusted func(sealer dns.Name) bool) answer {
	if panicked(e, msgauth.ARC) {
		return unknown
	}
	newest, ok := newestSet(e)
	switch cause := chainCause(e); {
	case !ok || !trusted(newest.Sealer) || reportsFail(newest.AuthResults):
		return no
	case e.ARC.Status == arc.Pass:
		return yes
	case cause != "":
		return unsure(cause)
	}
	return no
}

// newestSet returns the newest set of the ARC chain, or false if there is no
// chain.
func newestSet(e *msgauth.Evaluation) (arc.Set, bool) {
	if len(e.ARC.Sets) == 0 {
		return arc.Set{}, false
	}
	return e.ARC.Sets[len(e.ARC.Sets)-1], true
}
