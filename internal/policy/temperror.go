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

// Missing is an answer that is needed to decide on a message, and that did not
// come. What and Cause are words from fixed lists. They never contain text from
// the message or from DNS.
type Missing struct {
	What  MissingWhat `json:"what"`
	Cause string      `json:"cause"` // one of MissingCauses
}

// String returns the two words as the label and the log show them.
func (m Missing) String() string { return string(m.What) + " " + m.Cause }

// MissingWhat is a word that says which answer is missing.
type MissingWhat string

// The answers that can be missing.
const (
	MissingPolicy    MissingWhat = "policy"    // the DMARC record of the author's domain
	MissingExistence MissingWhat = "existence" // whether the author's domain exists (if not, np= applies)
	MissingAlignment MissingWhat = "alignment" // the Organizational Domain of the author's domain, or of the domain in an identifier
	MissingSPF       MissingWhat = "spf"       // SPF of the domain of MAIL FROM
	MissingDKIM      MissingWhat = "dkim"      // the key of a signature
	MissingARC       MissingWhat = "arc"       // a key of the ARC chain
	MissingName      MissingWhat = "name"      // the verified name of the client (iprev)
)

// MissingWhats lists every MissingWhat.
var MissingWhats = []MissingWhat{MissingPolicy, MissingExistence, MissingAlignment, MissingSPF, MissingDKIM, MissingARC, MissingName}

// Causes that are not one of the kinds of a failed lookup, which
// [sekimori/internal/dns.ErrorKind] lists.
const (
	CauseBudget   = "budget"   // all our lookup slots were in use
	CauseTime     = "time"     // the time limit of the message had passed
	CauseInternal = "internal" // a bug of ours
	causeUnknown  = "unknown"
)

// MissingCauses lists every cause.
var MissingCauses = []string{
	"timeout", "servfail", "refused", "network", "malformed", "canceled", "loop", "too_large", CauseBudget,
	CauseTime, CauseInternal, "query_limit", "walk_limit", causeUnknown,
}

// tempError decides on a message if a missing answer could have made it pass.
// If SPF or DKIM has already authenticated the author's own domain, the message
// is treated as a pass. Otherwise it might have passed, so the harshest
// possible action is a temporary refusal (451).
//
// `enforced` says that the policy that would apply if the message failed is
// known to be quarantine or reject. Then 451 is the default. A spoofer can
// suppress DNS answers, for example by a selector that is an alias for a name
// whose DNS servers do not answer, or by a subdomain without a working name
// server in d= or From. A spoof with a suppressed answer must not be treated
// better than a plain one. If no such policy is known, the default is delivery,
// because 451 would only delay and lose the mail of domains whose DNS is
// broken.
//
// If all our lookup slots were in use, the action is 451 under any
// configuration. A sender who uses up the slots must not gain by it.
func (v *Verdict) tempError(e *msgauth.Evaluation, c Config, enforced bool) {
	if e.DMARC.Result == dmarc.ResultTempError && (e.DMARC.AlignedSPF || e.DMARC.AlignedDKIM) {
		v.pass(e) // the author's own domain passed, so the message cannot fail under any policy
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
		v.Action = Tag // the label must not look like that of a pass, because the message might fail
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

// ours reports whether the answer is missing because all our lookup slots were
// in use.
func (m Missing) ours() bool { return m.Cause == CauseBudget }

// enforced reports whether the policy that would apply if the message failed is
// known to be quarantine or reject.
func enforced(d *dmarc.Evaluation) bool {
	if d.Result == dmarc.ResultTempError {
		return d.Enforcing.Enforces()
	}
	return d.Disposition.Enforces()
}

// missingAnswers collects missing answers without duplicates.
type missingAnswers []Missing

func (all *missingAnswers) add(what MissingWhat, cause string) {
	if !slices.Contains(MissingCauses, cause) {
		cause = causeUnknown
	}
	if m := (Missing{what, cause}); !slices.Contains(*all, m) {
		*all = append(*all, m)
	}
}

// missing lists the missing answers that are needed to decide on the message.
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

// missingForRules lists the missing answers that might decide whether a rule
// matches.
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

// identifiers adds the missing answers of SPF and DKIM, including those for
// domains that do not align.
func (all *missingAnswers) identifiers(e *msgauth.Evaluation) {
	if e.MailFrom.Result == spf.TempError {
		all.add(MissingSPF, spfCause(e))
	}
	all.keys(e, func(*dkim.Signature) bool { return true })
}

// keys adds the missing keys of the signatures for which `of` returns true.
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

// ourCause returns why a stage has no result: it panicked, or the time limit of
// the message had passed.
func ourCause(e *msgauth.Evaluation, stage msgauth.Mechanism) string {
	if panicked(e, stage) {
		return CauseInternal
	}
	return CauseTime
}

// panicked reports whether the stage panicked.
func panicked(e *msgauth.Evaluation, stage msgauth.Mechanism) bool {
	return slices.ContainsFunc(e.Panics, func(p msgauth.Panic) bool { return p.Component == stage })
}

// unsure returns the open answer to a condition: noSlot or unknown, depending
// on why the DNS answer is missing.
func unsure(cause string) answer {
	if cause == CauseBudget {
		return noSlot
	}
	return unknown
}

// nameCause returns why the client's name is not known, if the cause is on our
// side (a panic, or no free lookup slot), otherwise "". A failure of the
// client's own reverse zone does not count: a client must not be able to
// influence the decision by breaking its zone.
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

// chainCause returns why the ARC chain could not be validated, if the DNS
// lookup of a key failed or a bug of ours is the cause, otherwise "".
func chainCause(e *msgauth.Evaluation) string {
	switch {
	case panicked(e, msgauth.ARC), e.ARC.Signature == dkim.ReasonInternal:
		return CauseInternal
	case e.ARC.Status == arc.Pass, !strings.HasPrefix(string(e.ARC.Signature), "dns_"):
		return ""
	}
	// RFC 8617 §5.2.1 calls a DNS failure permanent. We treat a failed lookup
	// of a key as temporary, so that no mail is lost because of it. An alias
	// loop and a record that is too large stay permanent, because they would
	// fail with every resolver.
	switch cause := keyCause(e.ARC.Signature); cause {
	case dns.KindLoop.String(), dns.KindTooLarge.String():
		return ""
	default:
		return cause
	}
}
