package explanation

import (
	"fmt"
	"io"
	"net/netip"
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

// Section is a part of an explanation.
type Section struct {
	Title string // "" for the first, which is about the verdict itself
	Lines []Line
}

// Line is one statement. It is printable ASCII: what a stranger wrote otherwise
// is quoted. Only our header field has line ends, and letters in UTF-8 where the
// message came with some.
type Line struct {
	Depth int // how far it is indented, from 0
	Text  string
}

// Text writes the report for people: the one line that decided first, then
// what led to it.
func (r *Report) Text(out io.Writer) error {
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

// Sections returns what led to the Summary.
func (r *Report) Sections() []Section {
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
	}
	if len(r.Lookups) > 0 {
		r.lookups(p)
	}
	if r.AuthenticationResults != "" {
		p.section("Header field")
		text := authres.FieldName + ":" + printable.Text(strings.ReplaceAll(r.AuthenticationResults, "\r\n", "\n"))
		s := &p.sections[len(p.sections)-1]
		s.Lines = append(s.Lines, Line{Text: text})
	}
	return p.sections
}

// Summary says in one line what was decided and by which rule.
func Summary(v policy.Verdict) string {
	return fmt.Sprintf("%s, because %s (%s)", strings.ToUpper(string(v.Action)), reasonText(v.Reason), v.Reason)
}

// printer collects lines. Everything a stranger wrote goes through printable.Value, so
// that no control octet reaches the terminal.
type printer struct{ sections []Section }

func (p *printer) section(title string) { p.sections = append(p.sections, Section{Title: title}) }

func (p *printer) line(depth int, format string, args ...any) {
	s := &p.sections[len(p.sections)-1]
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = printable.Value(a)
		case dns.Name: // of any octets, where a macro of SPF made it
			args[i] = printable.Value(string(a))
		case netip.Addr:
			args[i] = printable.Value(a.String())
		}
	}
	s.Lines = append(s.Lines, Line{Depth: depth, Text: fmt.Sprintf(format, args...)})
}

func (r *Report) verdict(p *printer) {
	v := r.Verdict
	if !r.Decided.IsZero() {
		p.line(0, "decided %s, in %s", r.Decided.Format(time.RFC3339), r.Took.Round(time.Millisecond))
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
	for _, m := range v.Missing {
		p.line(0, "missing: %s (%s)", missingText(m.What), m.Cause)
	}
	for _, e := range v.Evidence {
		p.line(0, "evidence: %s", printable.Value(e))
	}
	if v.ID != "" {
		p.line(0, "id: %s", printable.Value(v.ID))
	}
	if r.Truncated {
		p.line(0, "long values and lists below were cut")
	}
}

func (r *Report) notEvaluated(p *printer) {
	p.section("Message")
	if r.Session != nil && r.Envelope != nil {
		p.envelope(*r.Session, *r.Envelope)
	}
	p.line(0, "it was not evaluated")
}

func (p *printer) envelope(s msgauth.Session, e msgauth.Envelope) {
	sender := printable.Value("<" + strings.Trim(e.MailFrom, "<>") + ">")
	if s.Client.IsValid() {
		p.line(0, "client %s, helo %s, mail from %s", s.Client, printable.Value(s.HELO), sender)
	} else {
		p.line(0, "no client address, mail from %s", sender)
	}
	if e.QueueID != "" {
		p.line(0, "queue id %s, %d recipients, %d octets", printable.Value(e.QueueID), len(e.Recipients), e.Size)
	}
	if s.Authenticated != "" {
		p.line(0, "logged in as %s", printable.Value(s.Authenticated))
	}
}

// reasonText says a reason in a sentence's words.
func reasonText(r policy.Reason) string {
	switch r {
	case policy.ReasonAligned:
		return "an identifier of the author's domain authenticated"
	case policy.ReasonOtherName:
		return "an identifier of the author's domain authenticated, but the display name is an address of another domain"
	case policy.ReasonReject:
		return "nothing of the author's domain authenticated and its policy is reject"
	case policy.ReasonIndirect:
		return "the policy is reject, but the message looks like indirect mail"
	case policy.ReasonLocalReject:
		return "the policy is reject, which is quarantined here"
	case policy.ReasonQuarantine:
		return "nothing of the author's domain authenticated and its policy is quarantine"
	case policy.ReasonForwarder:
		return "nothing of the author's domain authenticated, but a trusted forwarder vouches for the message"
	case policy.ReasonNone:
		return "nothing of the author's domain authenticated, but its policy asks for nothing"
	case policy.ReasonNoPolicy:
		return "the author's domain has no DMARC policy and nothing authenticated"
	case policy.ReasonPassNoPolicy:
		return "the author's domain has no DMARC policy and something authenticated"
	case policy.ReasonSPFFail:
		return "the author's domain has no DMARC policy and SPF says fail"
	case policy.ReasonTempError:
		return "it is not decided: an answer that was needed did not come"
	case policy.ReasonRule:
		return "a rule of policy.overrides says so"
	case policy.ReasonUndecided:
		return "an answer did not come that a milder rule depends on"
	case policy.ReasonRamp:
		return "policy.ramp enforces only a share of the messages that fail"
	case policy.ReasonInvalidFrom:
		return "the From header field names no author that every reader sees"
	case policy.ReasonNamelessBounce:
		return "the From header field holds no address, as in many notifications, and the sender is null"
	case policy.ReasonTrusted:
		return "the client is in a trusted network"
	case policy.ReasonAuthenticated:
		return "the client logged in"
	case policy.ReasonOversize:
		return "the message is over a limit, so that an author could hide in what was not looked at"
	case policy.ReasonForged:
		return "the message carries a result in our name, which the MTA lets nobody delete"
	case policy.ReasonUnlabelled:
		return "the MTA lets no header field be added"
	}
	return string(r)
}

// missingText says which answer did not come.
func missingText(what policy.MissingWhat) string {
	switch what {
	case policy.MissingPolicy:
		return "the author's DMARC record"
	case policy.MissingExistence:
		return "whether the author's domain exists"
	case policy.MissingAlignment:
		return "whether an identifier aligns"
	case policy.MissingSPF:
		return "SPF of the envelope's domain"
	case policy.MissingDKIM:
		return "the key of a signature"
	case policy.MissingARC:
		return "a key of the ARC chain"
	case policy.MissingName:
		return "the client's name"
	}
	return string(what)
}

func (r *Report) author(p *printer) {
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
}

func (r *Report) spf(p *printer) {
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

func (r *Report) dkim(p *printer) {
	p.section("DKIM")
	if len(r.Evaluation.DKIM) == 0 {
		p.line(0, "none: the message has no signature")
	}
	for i, s := range r.Evaluation.DKIM {
		p.line(0, "signature %d: %s%s", i+1, s.Result, withReason(s))
		p.line(1, "d=%s s=%s i=%s a=%s c=%s", printable.Value(string(s.Domain)), printable.Value(s.Selector), printable.Value(s.Identity), printable.Value(s.Algorithm), printable.Value(s.Canonicalization))
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

func (r *Report) arc(p *printer) {
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
		p.line(1, "i=%d sealed by %s (s=%s, cv=%s), message signature by %s passes=%t", s.Instance, s.Sealer, printable.Value(s.Selector), printable.Value(s.CV), s.MessageDomain, s.MessagePass)
		p.line(2, "%s", printable.Value(s.AuthResults))
	}
}

func (r *Report) dmarc(p *printer) {
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
		if d.Record != nil { // package recent cuts what is too large
			p.line(0, "record: %s", printable.Value(d.Record.Raw))
		}
	}
	if d.Enforcing != "" {
		p.line(0, "known in spite of what is missing: if it fails, the policy is %s", d.Enforcing)
	}
	if d.OrganizationalDomain != "" {
		p.line(0, "organizational domain %s", d.OrganizationalDomain)
	}
	for _, a := range d.Alignments {
		p.line(0, "%s %s %s: aligned=%t (%s)", a.Mechanism, a.Domain, a.State, a.Aligned, a.Mode)
	}
}

func (r *Report) lookups(p *printer) {
	p.section("DNS lookups, in order of completion")
	for _, l := range r.Lookups {
		p.line(0, "%s %s: %s", printable.Value(string(l.Name)), l.Type, answerText(l))
	}
}

func answerText(l dns.Lookup) string {
	if l.Answer == nil {
		return printable.Value(l.Error)
	}
	a := l.Answer
	if len(a.Records) == 0 {
		if a.Status == dns.NoError {
			return "NODATA"
		}
		return a.Status.String()
	}
	parts := make([]string, 0, len(a.Records))
	for _, rec := range a.Records {
		switch a.Type {
		case dns.TypeA, dns.TypeAAAA:
			parts = append(parts, rec.Addr.String())
		case dns.TypeTXT:
			parts = append(parts, printable.Quoted(rec.Text, len(rec.Text)))
		case dns.TypeMX:
			parts = append(parts, fmt.Sprintf("%d %s", rec.Preference, printable.Value(string(rec.Host))))
		default:
			parts = append(parts, printable.Value(string(rec.Host)))
		}
	}
	return strings.Join(parts, ", ")
}
