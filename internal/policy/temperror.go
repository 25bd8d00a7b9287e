package policy

import (
	"fmt"
	"slices"
	"strings"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
	"sekimori/internal/spf"
)

// Missing is an answer that did not come and without which a message cannot be
// decided. Both words come from fixed lists, so no text of a stranger is in
// them.
type Missing struct {
	What  MissingWhat `json:"what"`
	Cause string      `json:"cause"` // one of MissingCauses
}

// String returns the words as they stand in the label and the log.
func (m Missing) String() string { return string(m.What) + " " + m.Cause }

// MissingWhat says which answer is missing.
type MissingWhat string

// What can be missing.
const (
	MissingPolicy    MissingWhat = "policy"    // the author's DMARC record
	MissingExistence MissingWhat = "existence" // whether the author's domain exists; np= applies if it does not
	MissingAlignment MissingWhat = "alignment" // the Organizational Domain of an identifier, or of the author
	MissingSPF       MissingWhat = "spf"       // SPF of the envelope's domain
	MissingDKIM      MissingWhat = "dkim"      // a signature's key
	MissingARC       MissingWhat = "arc"       // a key of the chain
	MissingName      MissingWhat = "name"      // the client's name
)

// MissingWhats lists everything that can be missing.
var MissingWhats = []MissingWhat{MissingPolicy, MissingExistence, MissingAlignment, MissingSPF, MissingDKIM, MissingARC, MissingName}

// Causes that are not the kind of a failed lookup ([sekimori/internal/dns.ErrorKind]).
const (
	CauseBudget   = "budget"   // our own lookup slots were taken
	CauseTime     = "time"     // the message's time was over
	CauseInternal = "internal" // a bug of ours
	causeUnknown  = "unknown"
)

// MissingCauses lists every cause.
var MissingCauses = []string{
	"timeout", "servfail", "refused", "network", "malformed", "canceled", "loop", "too_large", CauseBudget,
	CauseTime, CauseInternal, "query_limit", "walk_limit", causeUnknown,
}

// tempError decides on a message for which an answer is missing that could have
// made it pass. So nothing harsher is possible than to ask the client to come
// again. enforced says that the policy which applies if the message fails is
// known and asks for more than a label. Then the default is 451: a spoofer can
// suppress DNS answers (by a selector that is an alias to a dead provider, or
// by a lame subdomain as d= or in From) and must not gain by it over a plain
// spoof. If no such policy is known, 451 would only lose the mail of domains
// whose DNS is broken, so the default is to deliver. If our own lookup slots
// were taken, the answer is 451 whatever the policy: a sender who uses them up
// must gain nothing by it.
func (v *Verdict) tempError(e *msgauth.Evaluation, c Config, enforced bool) {
	if e.DMARC.Result == dmarc.ResultTempError && (e.DMARC.AlignedSPF || e.DMARC.AlignedDKIM) {
		v.pass(e) // the author's own domain passed: under no policy could the message fail
		v.Reason, v.Missing = ReasonTempError, missing(e)
		return
	}
	v.Reason, v.Missing = ReasonTempError, missing(e)
	switch {
	case slices.ContainsFunc(v.Missing, Missing.ours):
		v.Action = TempFail
	case enforced:
		v.Action = c.TempError
	default:
		v.Action = c.TempErrorUnknown
	}
	if v.Action == Accept {
		v.Action = Tag // the message is not decided, so it must not look like a pass
	}
	for _, p := range e.Panics {
		v.Evidence = append(v.Evidence, fmt.Sprintf("internal error in %s", p.Component))
	}
	code := smtp.EnhancedKeyTempError
	if e.MailFrom.Result == spf.TempError {
		code = smtp.EnhancedSPFTempError
	}
	v.Reply = smtp.New(smtp.CodeLocalError, code,
		fmt.Sprintf("Email from %s cannot be authenticated now, try again later (%s)", e.From.AuthorDomain, v.ID))
}

// ours reports whether the answer is missing because our lookup slots were taken.
func (m Missing) ours() bool { return m.Cause == CauseBudget }

// enforced reports whether the policy that applies if the message fails is
// known, and asks for more than a label.
func enforced(d *dmarc.Evaluation) bool {
	if d.Result == dmarc.ResultTempError {
		return d.Enforcing.Enforces()
	}
	return d.Disposition.Enforces()
}

// missingAnswers gathers missing answers, each once.
type missingAnswers []Missing

func (all *missingAnswers) add(what MissingWhat, cause string) {
	if !slices.Contains(MissingCauses, cause) {
		cause = causeUnknown
	}
	if m := (Missing{what, cause}); !slices.Contains(*all, m) {
		*all = append(*all, m)
	}
}

// missing lists the answers without which the message cannot be decided.
func missing(e *msgauth.Evaluation) []Missing {
	var all missingAnswers
	d := &e.DMARC
	switch {
	case d.Result == dmarc.ResultFail:
		all.add(MissingARC, CauseInternal) // see lostSeal
	case d.Result != dmarc.ResultTempError:
		all.identifiers(e)
	case d.Reason == "":
		all.add(MissingPolicy, ourCause(e, msgauth.DMARC))
	case d.Reason == dmarc.ReasonPolicyError:
		all.add(MissingPolicy, d.DNSError.Kind)
	case d.Reason == dmarc.ReasonExistenceError:
		all.add(MissingExistence, d.DNSError.Kind)
	}
	for _, a := range d.Alignments {
		switch {
		case a.Error != nil:
			all.add(MissingAlignment, a.Error.Kind)
		case !a.Aligned || a.State != dmarc.StateTempError:
		case a.Mechanism == dmarc.SPF:
			all.add(MissingSPF, spfCause(e))
		default:
			all.keys(e, func(s *dkim.Signature) bool { return s.Domain == a.Domain || s.Domain == "" })
		}
	}
	return all
}

// missingForRules lists the missing answers that could make a rule match.
func missingForRules(e *msgauth.Evaluation) []Missing {
	var all missingAnswers
	all.identifiers(e)
	if cause := chainCause(e); cause != "" {
		all.add(MissingARC, cause)
	}
	if cause := nameCause(e); cause != "" {
		all.add(MissingName, cause)
	}
	return all
}

// identifiers adds the missing answers about SPF and DKIM, whether their
// domains align or not.
func (all *missingAnswers) identifiers(e *msgauth.Evaluation) {
	if e.MailFrom.Result == spf.TempError {
		all.add(MissingSPF, spfCause(e))
	}
	all.keys(e, func(*dkim.Signature) bool { return true })
}

// keys adds the missing keys of the signatures that of picks.
func (all *missingAnswers) keys(e *msgauth.Evaluation, of func(*dkim.Signature) bool) {
	for i := range e.DKIM {
		if s := &e.DKIM[i]; s.Result == dkim.TempError && of(s) {
			all.add(MissingDKIM, keyCause(s.Reason))
		}
	}
}

// keyCause returns why a key is missing.
func keyCause(r dkim.Reason) string {
	if r == dkim.ReasonInternal {
		return CauseInternal
	}
	cause, _ := strings.CutPrefix(string(r), "dns_")
	return cause
}

// spfCause returns why SPF of MAIL FROM has no result.
func spfCause(e *msgauth.Evaluation) string {
	switch c := &e.MailFrom; {
	case panicked(e, msgauth.SPF):
		return CauseInternal
	case c.Reason == spf.ReasonDNSBudget:
		return CauseBudget
	case c.Reason == spf.ReasonTimeLimit:
		return CauseTime
	case c.Reason == spf.ReasonQueryLimit:
		return "query_limit"
	case c.DNSError != nil:
		return c.DNSError.Kind.String()
	}
	return causeUnknown
}

// ourCause returns why a stage did not end.
func ourCause(e *msgauth.Evaluation, stage msgauth.Mechanism) string {
	if panicked(e, stage) {
		return CauseInternal
	}
	return CauseTime
}

// panicked reports whether the stage ended in a panic.
func panicked(e *msgauth.Evaluation, stage msgauth.Mechanism) bool {
	return slices.ContainsFunc(e.Panics, func(p msgauth.Panic) bool { return p.Component == stage })
}

// unsure returns the answer to a condition that a missing answer leaves open.
func unsure(cause string) answer {
	if cause == CauseBudget {
		return noSlot
	}
	return unknown
}

// nameCause returns why the client's name is not known, if that is because of
// us, else "". The client's own reverse zone decides whether there is an
// answer. It must not decide by that what becomes of mail.
func nameCause(e *msgauth.Evaluation) string {
	switch {
	case e.IPRev.Status != iprev.TempError:
	case panicked(e, msgauth.IPRev):
		return CauseInternal
	case e.IPRev.DNSError != nil && e.IPRev.DNSError.Kind == dns.KindBudget:
		return CauseBudget
	}
	return ""
}

// chainCause returns why a chain that would count could not be validated, "" if
// nothing was missing.
func chainCause(e *msgauth.Evaluation) string {
	switch {
	case panicked(e, msgauth.ARC), e.ARC.Signature == dkim.ReasonInternal:
		return CauseInternal
	case e.ARC.Status == arc.Pass, !strings.HasPrefix(string(e.ARC.Signature), "dns_"):
		return ""
	}
	// RFC 8617 §5.2.1 calls this failure permanent. Mail should not be lost for
	// it, unless what the sealer publishes is of no use to anybody.
	switch cause := keyCause(e.ARC.Signature); cause {
	case dns.KindLoop.String(), dns.KindTooLarge.String():
		return ""
	default:
		return cause
	}
}
