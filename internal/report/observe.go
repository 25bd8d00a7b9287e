package report

import (
	"cmp"
	"slices"
	"strings"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// Unknown stands for a domain or a selector that a message does not have, and for a domain that Reduce
// left out.
const Unknown = "unknown"

const (
	// maxSignatures is how many signatures a row has. It is as many as are verified by default. The
	// bound of §3.1.3 is 100, but the sender chooses the number, and each signature makes the row longer.
	maxSignatures = 10
	// maxObservation bounds the octets of an Observation with all its strings, because a queue holds
	// thousands of them. An ordinary one has less than half of it.
	maxObservation = 2048
	// fixedOctets and signatureOctets are what an Observation and one of its signatures take without
	// their strings.
	fixedOctets     = 512
	signatureOctets = 64
)

// Options say how much a row tells, and what Observe needs to know that is not in the Evaluation.
type Options struct {
	// EnvelopeTo fills in Row.EnvelopeTo, if all recipients have the same domain. It tells outsiders
	// who of this site's users gets mail.
	EnvelopeTo bool
	// AboutReports and Spam are the fields of the same names in Observation.
	AboutReports, Spam bool
}

// Observe returns what the reports count of a message. ok is false if no report may or need count it:
// the author's domain does not ask for reports, the message was put off or not evaluated, none of its
// recipients agreed, or the client's address is not known.
//
// e is only read, and the Observation shares no memory with it. So it keeps nothing of the message
// alive.
func Observe(e *msgauth.Evaluation, v policy.Verdict, o Options) (obs Observation, ok bool) {
	d := &e.DMARC
	if !final(&v) || !v.Consent.Reportable() || !asks(d.Record) || !e.Session.Client.IsValid() {
		return Observation{}, false
	}
	done := disposition(&v)
	obs = Observation{
		Time:   e.Time.UTC(),
		Policy: published(d),
		Row: Row{
			Source: e.Session.Client.Unmap().WithZone(""),
			DKIM:   d.AlignedDKIM, SPF: d.AlignedSPF,
			Reasons:      reasons(d, &v, done),
			HeaderFrom:   d.AuthorDomain,
			EnvelopeFrom: envelopeFrom(&e.MailFrom),
			AuthSPF:      spfResult(&e.MailFrom),
			Disposition:  done,
			Count:        1,
		},
		AboutReports: o.AboutReports,
		Spam:         o.Spam,
		Accepted:     done == None,
	}
	if d.Result == dmarc.ResultPass {
		obs.Row.Disposition = None
		if d.PolicyPublished.Enforces() {
			obs.Row.Disposition = Pass
		}
	}
	if o.EnvelopeTo {
		obs.Row.EnvelopeTo = commonDomain(e.Envelope.Recipients)
	}
	obs.Row.AuthDKIM = signatures(e, maxObservation-obs.size())
	obs.Incomplete = !obs.Row.waitedForAll()
	obs.detach()
	return obs, true
}

// final reports whether the message will not come again because of this verdict.
func final(v *policy.Verdict) bool {
	switch v.Applied {
	case policy.Accept, policy.Tag, policy.Quarantine, policy.Reject:
		return true
	}
	return false
}

// asks reports whether a record applies and asks for reports by mail. Whether an address can be used is
// found out later (see package report/destination).
func asks(r *dmarc.Record) bool {
	const mail = "mailto:"
	return r != nil && slices.ContainsFunc(r.RUA, func(uri string) bool {
		return len(uri) > len(mail) && strings.EqualFold(uri[:len(mail)], mail)
	})
}

// disposition returns what was done with the message. In monitor mode, and if a recipient opted out,
// nothing was done, although the verdict has another Disposition. A message that the label calls
// quarantined is quarantined, also if the MTA holds nothing.
func disposition(v *policy.Verdict) Disposition {
	switch {
	case v.Applied == policy.Reject:
		return Reject
	case v.Action == policy.Quarantine && v.Enforced:
		return Quarantine
	}
	return None
}

// published returns the policy with the effective values of its tags (RFC 9989 §4.7). A record without
// a valid policy stands for p=none (RFC 9989 §4.10.1).
func published(d *dmarc.Evaluation) Policy {
	r := d.Record
	p := Policy{
		Domain: d.PolicyDomain, P: dmarc.PolicyNone, SP: dmarc.PolicyNone, NP: dmarc.PolicyNone,
		ADKIM: r.ADKIM, ASPF: r.ASPF, FO: strings.Join(r.FO, ":"), Testing: r.Test, Method: d.Method, Invalid: strings.Join(r.Invalid, ", "),
	}
	if r.PolicyValid() {
		p.P = word(r.P)
		p.SP = word(cmp.Or(r.SP, r.P))
		p.NP = word(cmp.Or(r.NP, r.SP, r.P))
	}
	return p
}

// word returns the constant that p equals. p itself may be a part of the record's text.
func word(p dmarc.Policy) dmarc.Policy {
	switch p {
	case dmarc.PolicyReject:
		return dmarc.PolicyReject
	case dmarc.PolicyQuarantine:
		return dmarc.PolicyQuarantine
	}
	return dmarc.PolicyNone
}

func envelopeFrom(c *spf.Check) dns.Name {
	switch {
	case c.NullSender:
		return ""
	case c.Domain == "":
		return Unknown
	}
	return c.Domain
}

func spfResult(c *spf.Check) SPFResult {
	r := SPFResult{Domain: Unknown, Result: string(cmp.Or(c.Result, spf.None)), Human: string(c.Reason)}
	if c.Reason == spf.ReasonTimeLimit || c.Reason == spf.ReasonDNSBudget {
		r.Human = notWaited
	}
	if c.Domain != "" {
		r.Domain = string(c.Domain)
	}
	return r
}

// notWaited is the human_result of a temporary error whose cause is not the domain's DNS: this host
// stopped waiting for it.
const notWaited = "not waited for"

func keyHuman(s *dkim.Signature) string {
	if s.NotWaited {
		return notWaited
	}
	return string(s.Reason)
}

// waitedForAll reports whether no result of the row is missing because this host stopped waiting.
func (r *Row) waitedForAll() bool {
	return r.AuthSPF.Human != notWaited && !slices.ContainsFunc(r.AuthDKIM, func(s DKIMResult) bool { return s.Human == notWaited })
}

// commonDomain returns the domain of the recipients, or "" if they have several or none.
func commonDomain(recipients []string) (common dns.Name) {
	for _, r := range recipients {
		path, err := mailaddr.ParsePath(r)
		if err != nil || path.Domain == "" || common != "" && path.Domain != common {
			return ""
		}
		common = path.Domain
	}
	return common
}

// The order of signatures in a row (§3.1.3). A signature of the author's domain that failed says more
// than one of a stranger, so it comes first among those that failed.
const (
	alignedStrict = iota
	alignedRelaxed
	otherPass
	authorsFail
	otherFail
)

type ranked struct {
	rank int
	DKIMResult
}

func (a ranked) compare(b ranked) int {
	return cmp.Or(a.rank-b.rank, cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Selector, b.Selector),
		cmp.Compare(a.Result, b.Result), cmp.Compare(a.Human, b.Human))
}

// signatures returns the results of the signatures that were tried: each once, in an order that does
// not depend on the message, and as many as fit into room. Those that are left out are the last ones.
func signatures(e *msgauth.Evaluation, room int) []DKIMResult {
	var few [4]ranked
	all := few[:0]
	for i := range e.DKIM {
		s := &e.DKIM[i]
		if s.Domain == "" || s.Reason == dkim.ReasonTooManySignatures {
			continue // without a domain it cannot be reported; and one too many was not tried
		}
		all = append(all, ranked{rankOf(&e.DMARC, s), DKIMResult{
			Domain: s.Domain, Selector: cmp.Or(s.Selector, Unknown), Result: string(s.Result), Human: keyHuman(s),
		}})
	}
	slices.SortFunc(all, ranked.compare)
	all = slices.Compact(all)
	all = all[:min(len(all), maxSignatures)]
	for i := range all {
		if room -= all[i].size(); room < 0 {
			all = all[:i]
			break
		}
	}
	if len(all) == 0 {
		return nil
	}
	out := make([]DKIMResult, len(all))
	for i := range all {
		out[i] = all[i].DKIMResult
	}
	return out
}

func rankOf(d *dmarc.Evaluation, s *dkim.Signature) int {
	own := s.Domain == d.AuthorDomain
	if s.Result != dkim.Pass {
		if own {
			return authorsFail
		}
		return otherFail
	}
	if own {
		return alignedStrict
	}
	for i := range d.Alignments {
		if a := &d.Alignments[i]; a.Mechanism == dmarc.DKIM && a.Domain == s.Domain && a.Aligned {
			return alignedRelaxed
		}
	}
	return otherPass
}

// detach copies the strings that may lie in the memory of the message or of an answer from DNS. The
// other strings are constants.
func (o *Observation) detach() {
	p, r := &o.Policy, &o.Row
	all := [7 + 2*maxSignatures]*string{
		(*string)(&p.Domain), &p.FO, &p.Invalid,
		(*string)(&r.HeaderFrom), (*string)(&r.EnvelopeFrom), (*string)(&r.EnvelopeTo), &r.AuthSPF.Domain,
	}
	count := 7
	for i := range r.AuthDKIM {
		all[count], all[count+1] = (*string)(&r.AuthDKIM[i].Domain), &r.AuthDKIM[i].Selector
		count += 2
	}
	n := 0
	for _, s := range all[:count] {
		n += len(*s)
	}
	var copied strings.Builder // one piece of memory for all
	copied.Grow(n)
	for _, s := range all[:count] {
		copied.WriteString(*s)
	}
	rest := copied.String()
	for _, s := range all[:count] {
		*s, rest = rest[:len(*s)], rest[len(*s):]
	}
}

// size returns the octets that the Observation takes, without its signatures.
func (o *Observation) size() int {
	p, r := &o.Policy, &o.Row
	return fixedOctets + len(p.Domain) + len(p.FO) + len(p.Invalid) +
		len(r.HeaderFrom) + len(r.EnvelopeFrom) + len(r.EnvelopeTo) + len(r.AuthSPF.Domain)
}

func (r *DKIMResult) size() int { return signatureOctets + len(r.Domain) + len(r.Selector) }
