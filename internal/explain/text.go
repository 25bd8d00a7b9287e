package explain

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/printable"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// Section is one part of an explanation, with a title.
type Section struct {
	Title string // "" in the first section, which explains the verdict
	Lines []Line
}

// Line is one statement of an explanation. Its text is printable ASCII; other characters
// are quoted. The exception is the line that shows our Authentication-Results field,
// which may hold line ends and letters in UTF-8.
type Line struct {
	Depth int // depth of indentation, from 0
	Text  string
}

// Text writes the explanation as lines for a person to read: first the Summary, then the
// Sections.
func (r *Explanation) Text(out io.Writer) error {
	var b strings.Builder
	b.WriteString(r.Summary + "\n")
	for _, s := range r.Sections() {
		if s.Title != "" {
			b.WriteString("\n" + s.Title + "\n")
		}
		for _, l := range s.Lines {
			b.WriteString(strings.Repeat("  ", l.Depth+1) + l.Text + "\n")
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// Sections returns all parts of the explanation except the Summary.
func (r *Explanation) Sections() []Section {
	p := &printer{sections: []Section{{}}}
	r.verdict(p)
	if r.Evaluation == nil {
		r.notEvaluated(p)
	} else {
		r.author(p)
		r.spf(p)
		r.dkim(p)
		r.arc(p)
		r.dmarc(p)
		r.bimi(p)
	}
	if len(r.Lookups) > 0 {
		r.lookups(p)
	}
	if len(r.Edits) > 0 {
		r.edits(p)
	}
	if r.AuthenticationResults != "" {
		p.section("Header field")
		text := authres.FieldName + ":" + printable.Text(strings.ReplaceAll(r.AuthenticationResults, "\r\n", "\n"))
		s := &p.sections[len(p.sections)-1]
		s.Lines = append(s.Lines, Line{Text: text})
	}
	return p.sections
}

// Summary returns one line with the verdict and the reason.
func Summary(v policy.Verdict) string {
	return fmt.Sprintf("%s, because %s (%s)", strings.ToUpper(string(v.Action)), reasonText(v.Reason), v.Reason)
}

// printer collects the lines of all sections. Text that a sender wrote passes through
// printable.Value, so no control character reaches a terminal.
type printer struct{ sections []Section }

func (p *printer) section(title string) { p.sections = append(p.sections, Section{Title: title}) }

func (p *printer) line(depth int, format string, args ...any) {
	s := &p.sections[len(p.sections)-1]
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = printable.Value(a)
		case dns.Name: // an SPF macro can produce a name with any octets
			args[i] = printable.Value(string(a))
		case netip.Addr:
			args[i] = printable.Value(a.String())
		}
	}
	s.Lines = append(s.Lines, Line{Depth: depth, Text: fmt.Sprintf(format, args...)})
}

// took rounds how long a decision took to milliseconds, and one that took less than one to microseconds.
func took(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

func (r *Explanation) verdict(p *printer) {
	v := r.Verdict
	if !r.Decided.IsZero() {
		p.line(0, "decided %s, in %s", r.Decided.Format(time.RFC3339), took(r.Took))
	}
	if r.TimeSource != "" && r.Evaluation != nil {
		p.line(0, "judged as of %s, %s", r.Evaluation.Time.UTC().Format(time.RFC3339), printable.Value(r.TimeSource))
	}
	if v.Action != v.Applied {
		why := "quarantine is by header only"
		if !v.Enforced {
			why = "mode " + string(r.Mode) + " acts on nothing"
		}
		p.line(0, "applied as %s: %s", v.Applied, why)
	}
	if v.Reply.Code != 0 {
		p.line(0, "reply: %s", v.Reply)
	}
	if v.Override != nil {
		p.line(0, "override %s: %s", v.Override.Type, v.Override.Comment)
	}
	if v.Rule != "" {
		p.line(0, "rule: %s", v.Rule)
	}
	for _, side := range []struct {
		name  string
		signs []trait.Trait
	}{{"a direct spoof", v.Spoofing}, {"indirect mail", v.Indirect}} {
		for _, sign := range side.signs {
			p.line(0, "evidence for %s: %s", side.name, sign)
		}
	}
	for _, sign := range v.Learned {
		if !slices.Contains(v.Spoofing, sign) && !slices.Contains(v.Indirect, sign) {
			p.line(0, "learned, and only observed (policy.learned): %s", sign)
		}
	}
	for _, m := range v.Missing {
		p.line(0, "missing: %s (%s)", missingText(m.What), m.Cause)
	}
	for _, e := range v.Evidence {
		p.line(0, "evidence: %s", printable.Value(e))
	}
	if v.ID != "" {
		p.line(0, "id: %s", printable.Value(v.ID))
	}
	r.shadow(p)
	if r.Truncated {
		p.line(0, "long values and lists below were cut")
	}
}

// shadow prints the verdict of the candidate policy. If the consent of the recipients
// changed the verdict of the policy in effect, it also prints the verdict that this
// policy would otherwise have given.
func (r *Explanation) shadow(p *printer) {
	if r.Shadow == nil {
		return
	}
	p.line(0, "candidate policy (shadow): %s", Summary(r.Shadow.Candidate))
	if live := r.Shadow.Live; live.Action != r.Verdict.Action || live.Reason != r.Verdict.Reason {
		p.line(0, "policy in effect, if all recipients had consented: %s", Summary(live))
	}
}

func (r *Explanation) notEvaluated(p *printer) {
	p.section("Message")
	if r.Session != nil && r.Envelope != nil {
		p.envelope(*r.Session, *r.Envelope)
	}
	p.line(0, "it was not evaluated")
}

// relayWords says what the Received field of a relay told about the client.
var relayWords = map[msgauth.RelayLine]string{
	msgauth.RelayRead:       "its Received field names the client",
	msgauth.RelayUnreadable: "the topmost Received field does not name the client, or is not this relay's",
	msgauth.RelayPrivate:    "its Received field names a host of the site as the client",
}

func (p *printer) envelope(s msgauth.Session, e msgauth.Envelope) {
	sender := printable.Value("<" + strings.Trim(e.MailFrom, "<>") + ">")
	if s.Client.IsValid() {
		p.line(0, "client %s, helo %s, mail from %s", s.Client, printable.Value(s.HELO), sender)
	} else {
		p.line(0, "no client address, mail from %s", sender)
	}
	if s.Relay.IsValid() {
		p.line(0, "relay %s: %s", s.Relay, relayWords[s.RelayLine])
	}
	if e.QueueID != "" {
		p.line(0, "queue id %s, %d recipients, %d octets", printable.Value(e.QueueID), len(e.Recipients), e.Size)
	}
	if s.Authenticated != "" {
		p.line(0, "logged in as %s", printable.Value(s.Authenticated))
	}
}

func (r *Explanation) author(p *printer) {
	e := r.Evaluation
	p.section("Message")
	p.envelope(e.Session, e.Envelope)
	if e.FromError != nil {
		p.line(0, "author: none: %s", printable.Value(e.FromError.Text()))
		return
	}
	p.line(0, "author domain %s", printable.Value(string(e.From.AuthorDomain)))
	for _, m := range e.From.Mailboxes {
		p.line(1, "%s %s", printable.Value(m.DisplayName), printable.Value(m.String()))
	}
	for _, note := range e.From.Notes {
		p.line(0, "note: %s", note.Text())
	}
	p.line(0, "iprev %s %s", e.IPRev.Status, printable.Value(string(e.IPRev.Name)))
	p.line(0, "traits: %s", e.Traits)
	if w := e.Watch; w != nil {
		what := "is watched by the list " + w.List
		if w.Lookalike != "" {
			what = fmt.Sprintf("looks like %s of the list %s, by its %s", printable.Value(w.Of), w.List, w.Lookalike)
		}
		p.line(0, "the author %s", what)
	}
}

func (r *Explanation) spf(p *printer) {
	for _, c := range []spf.Check{r.Evaluation.MailFrom, r.Evaluation.HELO} {
		p.section("SPF of " + string(c.Identity))
		p.line(0, "%s for %s", c.Result, printable.Value(string(c.Domain)))
		if c.NullSender {
			p.line(0, "null sender: the HELO name is checked")
		}
		if c.Problem != "" {
			p.line(0, "problem: %s", printable.Value(c.Problem))
		}
		if c.Mechanism != "" {
			p.line(0, "matched: %s", printable.Value(c.Mechanism))
		}
		for _, s := range c.Trace {
			p.line(s.Depth+1, "%s %s: %s %s", s.Domain, printable.Value(s.Term), s.Outcome, printable.Value(s.Detail))
		}
		if c.Explanation != "" {
			p.line(0, "explanation: %s", printable.Value(c.Explanation))
		}
		p.line(0, "%d of %d terms with lookups, %d of %d void lookups", c.Lookups, spf.MaxLookups, c.VoidLookups, spf.MaxVoidLookups)
	}
}

func (r *Explanation) dkim(p *printer) {
	p.section("DKIM")
	if len(r.Evaluation.DKIM) == 0 {
		p.line(0, "none: the message has no signature")
	}
	for i, s := range r.Evaluation.DKIM {
		p.line(0, "signature %d: %s%s", i+1, s.Result, withReason(s))
		p.line(1, "d=%s s=%s i=%s a=%s c=%s", s.Domain, s.Selector, s.Identity, s.Algorithm, s.Canonicalization)
		p.line(1, "signed fields: %s", printable.Value(strings.Join(s.SignedHeaders, ":")))
		if s.Ahead {
			p.line(1, "t=%d is ahead of our clock", *s.Timestamp)
		}
		if s.KeyBits > 0 {
			p.line(1, "key: %d-bit %s, testing=%t", s.KeyBits, s.KeyType, s.Testing)
		}
		if s.BodyLength != nil {
			p.line(1, "l=%d, %d octets not covered", *s.BodyLength, s.Uncovered)
		}
	}
}

func withReason(s dkim.Signature) string {
	if s.Reason == "" {
		return ""
	}
	return ", " + string(s.Reason) + " " + printable.Value(s.Detail)
}

func (r *Explanation) arc(p *printer) {
	a := r.Evaluation.ARC
	p.section("ARC")
	if a.Status == arc.NotEvaluated {
		p.line(0, "not evaluated")
	} else {
		p.line(0, "%s", a.Status)
	}
	if a.Reason != "" {
		p.line(0, "%s %s %s", a.Reason, a.Signature, printable.Value(a.Detail))
	}
	for _, s := range a.Sets {
		p.line(1, "i=%d sealed by %s (s=%s, cv=%s), message signature by %s passes=%t",
			s.Instance, s.Sealer, s.Selector, s.CV, s.MessageDomain, s.MessagePass)
		p.line(2, "%s", printable.Value(s.AuthResults))
	}
}

func (r *Explanation) dmarc(p *printer) {
	d := r.Evaluation.DMARC
	p.section("DMARC")
	p.line(0, "%s (%s)", d.Result, d.Reason)
	for _, s := range d.Trace {
		found := string(s.Found)
		if s.Error != nil {
			found += ": " + printable.Value(s.Error.Error())
		}
		if s.PSD != "" {
			found += ", psd=" + s.PSD
		}
		p.line(1, "%s %s (%s): %s", printable.Value(string(s.Name)), s.Type, s.Purpose, found)
	}
	if d.PolicyDomain != "" {
		p.line(0, "policy of %s: %s by tag %s, asks for %s after t=", d.PolicyDomain, d.PolicyPublished, d.Tag, d.Disposition)
		if d.Record != nil { // the record is nil if package recent cut the decision
			p.line(0, "record: %s", printable.Value(d.Record.Raw))
		}
	}
	if d.Enforcing != "" {
		p.line(0, "an answer is missing, but if the message fails, the policy is %s", d.Enforcing)
	}
	if d.OrganizationalDomain != "" {
		p.line(0, "organizational domain %s", d.OrganizationalDomain)
	}
	for _, a := range d.Alignments {
		p.line(0, "%s %s %s: aligned=%t (%s)", a.Mechanism, a.Domain, a.State, a.Aligned, a.Mode)
	}
}
