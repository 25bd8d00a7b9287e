package telemetry

import (
	"slices"
	"strings"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// stars is written in place of a text that identifies a person.
const stars = "***"

// maskLocalPart replaces the local part of an address by stars. The address may have angle
// brackets and a source route. "<>" and "" are returned unchanged.
func maskLocalPart(address string) string {
	inner := strings.TrimSuffix(strings.TrimPrefix(address, "<"), ">")
	if inner == "" {
		return address
	}
	hidden := stars
	if at := strings.LastIndexByte(inner, '@'); at >= 0 {
		hidden += inner[at:]
	}
	if strings.HasPrefix(address, "<") {
		hidden = "<" + hidden
	}
	if strings.HasSuffix(address, ">") {
		hidden += ">"
	}
	return hidden
}

// maskText replaces the local parts of all addresses in a text, for example in an error
// that quotes a header field. A local part is the text between an "@" and the nearest
// white space, bracket, quote or separator on the left of the "@".
func maskText(s string) string {
	var b strings.Builder
	for {
		at := strings.IndexByte(s, '@')
		if at < 0 {
			b.WriteString(s)
			return b.String()
		}
		begin := strings.LastIndexAny(s[:at], " \t<>()\"'`,;:") + 1
		b.WriteString(s[:begin] + stars + "@")
		s = s[at+1:]
	}
}

// Masker is an observer. It masks each decision and passes the result to the observer
// `To`.
type Masker struct {
	To interface {
		Decided(d *judge.Decision, took time.Duration)
	}
}

// Decided implements filter.Observer.
func (m Masker) Decided(d *judge.Decision, took time.Duration) { m.To.Decided(Masked(d), took) }

// Masked returns a copy of d in which stars replace the local parts of addresses and the
// user names of logins. Display names, and texts of SPF that can hold a local part, are
// removed. The copy has no edits, because an edit can hold the Subject. d is not changed.
func Masked(d *judge.Decision) *judge.Decision {
	out := *d
	out.Session, out.Envelope = maskedSession(d.Session), maskedEnvelope(d.Envelope)
	out.Verdict, out.Edits = maskedVerdict(d.Verdict), nil
	if d.Shadow != nil {
		out.Shadow = &judge.Comparison{Live: maskedVerdict(d.Shadow.Live), Candidate: maskedVerdict(d.Shadow.Candidate)}
	}
	if d.Evaluation != nil {
		out.Evaluation = maskedEvaluation(d.Evaluation)
	}
	return &out
}

func maskedEvaluation(e *msgauth.Evaluation) *msgauth.Evaluation {
	shown := *e
	shown.Session, shown.Envelope = maskedSession(e.Session), maskedEnvelope(e.Envelope)
	if e.FromError != nil {
		fromError := *e.FromError
		fromError.Detail = maskText(fromError.Detail)
		shown.FromError = &fromError
	}
	shown.From.Mailboxes = slices.Clone(e.From.Mailboxes)
	for i := range shown.From.Mailboxes {
		shown.From.Mailboxes[i].Local, shown.From.Mailboxes[i].DisplayName = stars, ""
	}
	shown.HELO, shown.MailFrom = maskedCheck(e.HELO), maskedCheck(e.MailFrom)
	shown.BIMI = maskedMark(e.BIMI)
	shown.DKIM = slices.Clone(e.DKIM)
	for i := range shown.DKIM {
		shown.DKIM[i].Identity = maskLocalPart(shown.DKIM[i].Identity)
	}
	return &shown
}

// maskedCheck also removes Explanation and Trace, because a macro such as %{l} may have
// written the local part into them (RFC 7208 §7.2).
func maskedCheck(c spf.Check) spf.Check {
	c.Sender, c.Problem = maskLocalPart(c.Sender), maskText(c.Problem)
	c.Explanation, c.Trace = "", nil
	return c
}

func maskedSession(s msgauth.Session) msgauth.Session {
	s.Authenticated = maskLocalPart(s.Authenticated)
	return s
}

func maskedEnvelope(e msgauth.Envelope) msgauth.Envelope {
	e.MailFrom = maskLocalPart(e.MailFrom)
	recipients := make([]string, len(e.Recipients))
	for i, r := range e.Recipients {
		recipients[i] = maskLocalPart(r)
	}
	e.Recipients = recipients
	return e
}

func maskedVerdict(v policy.Verdict) policy.Verdict {
	v.Evidence = slices.Clone(v.Evidence)
	for i, s := range v.Evidence {
		v.Evidence[i] = maskText(s)
	}
	if v.Override != nil {
		o := *v.Override
		o.Comment = maskText(o.Comment)
		v.Override = &o
	}
	return v
}
