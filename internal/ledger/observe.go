package ledger

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// Entry is one message as the ledger counts it. It shares no memory with the message.
type Entry struct {
	Time   time.Time
	Author dns.Name // the domain of From
	Owner  dns.Name // its registered domain, a part of Author; "" if the message has only a Total
	Policy dmarc.Policy
	Result Result
	// DKIM and SPF say that an aligned signature passed, and that SPF passed, aligned.
	DKIM, SPF bool
	Signed    bool // a signature of the Owner or of a domain below it is there
	Applied   policy.Action
	Indirect  bool // it failed, and has signs of indirect mail or of the author's own
	Change    Change
	Client    netip.Addr
	Signers   []Signer // of the Owner or a domain below it, each once, with one of its counts 1
	Sending   Sending  // what SPF said of a return path of the Owner, with one of its counts 1; without Network if it has none
	Example   string   // the explanation id, if it failed
	Total     Total    // without Day and Group
	Reason    policy.Reason
	// Country of the Client, two letters, or [UnknownCountry]; "" if countries are not counted. Whoever
	// adds up sets it, because a message must not wait for it.
	Country string
}

// Result is what became of the author's identity.
type Result uint8

// The results.
const (
	None Result = iota // the author has no DMARC record, and nothing aligned passed
	Pass
	Fail
	TempError
)

// Change says what the learned signs do to a verdict.
type Change int8

// The changes.
const (
	Milder  Change = -1
	Same    Change = 0
	Harsher Change = 1
)

// maxEntrySigners is how many signers of one message count. It is as many as a row has.
const maxEntrySigners = 4

// Observe returns what the ledger counts of a message. ok is false if it counts nothing: the message was
// put off or not evaluated, or none of its recipients agreed.
//
// owner returns the registered domain of a name, or "" (see package dns/suffix). e is only read.
func Observe(e *msgauth.Evaluation, v *policy.Verdict, change Change, owner func(dns.Name) dns.Name) (Entry, bool) {
	switch v.Applied {
	case policy.Accept, policy.Tag, policy.Quarantine, policy.Reject:
	default:
		return Entry{}, false
	}
	if !v.Consent.Reportable() {
		return Entry{}, false
	}
	out := Entry{Time: e.Time, Applied: done(v), Client: e.Session.Client, Total: total(e, v), Reason: v.Reason}
	out.Policy = out.Total.Policy
	author := e.From.AuthorDomain
	if author == "" || e.FromError != nil {
		return out, true
	}
	o := owner(author)
	if o == "" || !Countable(e) || !Publishes(e, o) {
		return out, true
	}
	out.Author = dns.Name(strings.Clone(string(author)))
	out.Owner = out.Author[len(author)-len(o):]
	out.Change = change
	out.judge(e, o)
	if out.Result == Fail {
		out.Example = v.ID
		out.Indirect = len(v.Indirect) > 0
	}
	out.sign(e, o)
	out.send(e, o)
	return out, true
}

// send notes what SPF said of a return path of the author.
func (x *Entry) send(e *msgauth.Evaluation, owner dns.Name) {
	c := &e.MailFrom
	network := NetworkOf(x.Client)
	if c.Domain == "" || !c.Domain.Under(owner) || c.Record == "" || !network.IsValid() {
		return
	}
	s := Sending{Network: network, Record: recordHash(c.Record)}
	switch c.Result {
	case spf.Pass:
		s.Pass = 1
	case spf.Fail, spf.SoftFail, spf.Neutral:
		s.Missed = 1
		if x.Result == Pass && x.DKIM {
			s.Signed = 1
		}
	default:
		return
	}
	x.Sending = s
}

// recordHash returns a hash that tells a record from its next version (FNV-1a).
func recordHash(record string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(record)) // never fails
	return h.Sum32()
}

// judge says what passed. Without a DMARC record, alignment is relaxed.
func (x *Entry) judge(e *msgauth.Evaluation, owner dns.Name) {
	switch e.DMARC.Result {
	case dmarc.ResultPass, dmarc.ResultFail:
		x.DKIM, x.SPF = e.DMARC.AlignedDKIM, e.DMARC.AlignedSPF
		x.Result = Fail
	case dmarc.ResultTempError:
		x.Result = TempError
		return
	default:
		x.SPF = e.MailFrom.Result == spf.Pass && e.MailFrom.Domain.Under(owner)
		for i := range e.DKIM {
			x.DKIM = x.DKIM || e.DKIM[i].Result == dkim.Pass && e.DKIM[i].Domain.Under(owner)
		}
	}
	if x.DKIM || x.SPF {
		x.Result = Pass
	}
}

// sign notes the signatures of the author. One whose key is not published counts only as a signature: a
// forger can write any number of them.
func (x *Entry) sign(e *msgauth.Evaluation, owner dns.Name) {
	for i := range e.DKIM {
		s := &e.DKIM[i]
		if s.Domain == "" || !s.Domain.Under(owner) {
			continue
		}
		x.Signed = true
		if len(x.Signers) == maxEntrySigners || s.Selector == "" || x.has(s) || s.Reason == dkim.ReasonTooManySignatures || s.Result == dkim.TempError {
			continue
		}
		n := Signer{Domain: dns.Name(strings.Clone(string(s.Domain))), Selector: strings.Clone(s.Selector), Fail: 1}
		if s.Result == dkim.Pass {
			n.Pass, n.Fail = 1, 0
		}
		x.Signers = append(x.Signers, n)
	}
}

func (x *Entry) has(s *dkim.Signature) bool {
	for i := range x.Signers {
		if x.Signers[i].Domain == s.Domain && x.Signers[i].Selector == s.Selector {
			return true
		}
	}
	return false
}

// done returns what was done with the message. A quarantine by label is a quarantine.
func done(v *policy.Verdict) policy.Action {
	if v.Action == policy.Quarantine && v.Enforced && v.Applied == policy.Tag {
		return policy.Quarantine
	}
	return v.Applied
}

// total returns the results of a message as words of fixed lists. None of them is a part of the message.
func total(e *msgauth.Evaluation, v *policy.Verdict) Total {
	t := Total{SPF: string(e.MailFrom.Result), DKIM: bestDKIM(e.DKIM), Policy: published(e.DMARC.PolicyPublished), DMARC: string(e.DMARC.Result),
		Applied: string(done(v)), Messages: 1}
	if t.SPF == "" {
		t.SPF = string(spf.None)
	}
	if v.Override != nil {
		t.Override = string(v.Override.Type)
	}
	return t
}

// published returns the constant that p equals. p itself may be a part of a record.
func published(p dmarc.Policy) dmarc.Policy {
	switch p {
	case dmarc.PolicyNone:
		return dmarc.PolicyNone
	case dmarc.PolicyQuarantine:
		return dmarc.PolicyQuarantine
	case dmarc.PolicyReject:
		return dmarc.PolicyReject
	}
	return ""
}

// bestDKIM returns the best result of all signatures.
func bestDKIM(all []dkim.Signature) string {
	order := [...]dkim.Result{dkim.Pass, dkim.TempError, dkim.Policy, dkim.Fail, dkim.PermError, dkim.Neutral}
	best := len(order)
	for i := range all {
		if rank := slices.Index(order[:best], all[i].Result); rank >= 0 {
			best = rank
		}
	}
	if best == len(order) {
		return "none"
	}
	return string(order[best])
}

// Countable reports whether the author's published policy is known, and the domain is not known to be
// missing from DNS. An invented domain must not count as one that writes to us.
func Countable(e *msgauth.Evaluation) bool {
	d := &e.DMARC
	return (d.PolicyPublished != "" || d.Result == dmarc.ResultNone) && (d.AuthorExists == nil || *d.AuthorExists)
}

// Publishes reports whether the evaluation found a DMARC record, an SPF record or a DKIM key at the
// registered domain or at a name below it. Anybody can write any name into From, but not publish there.
func Publishes(e *msgauth.Evaluation, domain dns.Name) bool {
	switch {
	case e.DMARC.Record != nil && e.DMARC.PolicyDomain.Under(domain),
		e.MailFrom.Record != "" && e.MailFrom.Domain.Under(domain),
		e.HELO.Record != "" && e.HELO.Domain.Under(domain):
		return true
	}
	for i := range e.DKIM {
		if s := &e.DKIM[i]; s.KeyBits != 0 && s.Domain.Under(domain) {
			return true
		}
	}
	return false
}
