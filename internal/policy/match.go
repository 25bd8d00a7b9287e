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

// answer is whether a condition holds. Unknown is what a temporary failure
// leaves: it would hold, or not, had the answer come; noRoom is the same for
// want of our own room.
type answer int

const (
	no answer = iota
	noRoom
	unknown
	yes
)

// open reports an answer that a failure leaves open.
func (a answer) open() bool { return a == unknown || a == noRoom }

// either is the answer where one of two findings is enough.
func either(a, b answer) answer {
	if a.open() && b.open() {
		return min(a, b) // want of room is told
	}
	return max(a, b)
}

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
// own whether there is an answer, so that no answer is not a match; what it cannot
// choose is that the name has its address. Only what is our own doing leaves it
// open.
func (w *Conditions) clientName(e *msgauth.Evaluation) answer {
	if e.IPRev.Status == iprev.Pass {
		return answered(matchesAny(w.ClientName, e.IPRev.Name))
	}
	cause := nameCause(e)
	if cause != "" && (len(e.IPRev.Names) == 0 || slices.ContainsFunc(e.IPRev.Names, func(n dns.Name) bool { return matchesAny(w.ClientName, n) })) {
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
			best = either(best, unsure(keyCause(s.Reason))) // without a domain: a stage of ours failed
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

// vouched reports whether the newest seal of a valid chain is by a sealer that
// is trusted (RFC 8617 §7.2.1) and does not itself say that the message failed
// DMARC there: then it vouches for nothing. A chain that did not validate
// because a key did not come, or because of a bug of ours, leaves it open.
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

func newestSet(e *msgauth.Evaluation) (arc.Set, bool) {
	if len(e.ARC.Sets) == 0 {
		return arc.Set{}, false
	}
	return e.ARC.Sets[len(e.ARC.Sets)-1], true
}
