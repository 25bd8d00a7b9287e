package label

import (
	"fmt"
	"slices"
	"strconv"

	"sekimori/internal/arc"
	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// field builds the Authentication-Results field of a message and formats it into l.text. id
// is the authserv-id. The next call overwrites the returned results. Package authres limits
// the length of the field.
func (l *Writer) field(s *Settings, id string, e *msgauth.Evaluation, v policy.Verdict) authres.Field {
	n := max(len(e.DKIM), 1)
	l.results = slices.Grow(l.results[:0], otherResults+n)
	l.properties = slices.Grow(l.properties[:0], otherProperties+n*signatureProperties)
	utf8OK := internationalized(e)
	l.spf(e, s.MailFrom, utf8OK)
	l.dkim(e.DKIM, utf8OK)
	if s.Style == "" || s.Style == StyleOwn {
		l.dmarc(e, v, utf8OK)
	} else {
		l.result(s.Style.dmarc(e, v, utf8OK))
	}
	l.arc(e)
	l.iprev(e)
	f := authres.Field{AuthServID: id, Results: l.results, UTF8: utf8OK}
	if l.long(&f) && len(e.DKIM) > 0 {
		l.fit(&f, e)
	}
	return f
}

// signatureProperties is the largest number of properties of one signature. otherProperties
// and otherResults are the largest numbers of properties and of results for spf, dmarc, arc
// and iprev together.
const (
	signatureProperties = 5
	otherProperties     = 6
	otherResults        = 4
)

func (l *Writer) result(r authres.Result) { l.results = append(l.results, r) }

// property adds a property to the last result. If value is "", it does nothing.
func (l *Writer) property(ptype authres.PType, name, value string) {
	if value == "" {
		return
	}
	l.properties = append(l.properties, authres.Property{Type: ptype, Name: name, Value: value})
	r, end := &l.results[len(l.results)-1], len(l.properties)
	r.Properties = l.properties[end-len(r.Properties)-1 : end : end]
}

// spf adds the result of SPF, with MAIL FROM as its property. If MAIL FROM is "<>", the
// property is the HELO name (RFC 7208 §2.4, RFC 8601 §2.7.2).
func (l *Writer) spf(e *msgauth.Evaluation, show ShowMailFrom, utf8OK bool) {
	r := authres.Result{Method: "spf", Value: string(e.MailFrom.Result)}
	switch e.MailFrom.Result {
	case spf.TempError, spf.PermError:
		r.Reason = string(e.MailFrom.Reason)
	case spf.None:
		switch e.MailFrom.Reason {
		case spf.ReasonPrivateClient, spf.ReasonNoAddress: // SPF cannot be checked because of the client's address
			r.Reason = string(e.MailFrom.Reason)
		}
	}
	l.result(r)
	if e.MailFrom.NullSender {
		l.property(authres.PTypeSMTP, "helo", heloText(e.Session.HELO, utf8OK))
	} else {
		l.property(authres.PTypeSMTP, "mailfrom", senderText(e, show, utf8OK))
	}
}

func (l *Writer) dkim(signatures []dkim.Signature, utf8OK bool) {
	if len(signatures) == 0 {
		l.result(authres.Result{Method: "dkim", Value: string(dkim.None)})
		return
	}
	all := make([]string, len(signatures))
	for i := range signatures {
		all[i] = signatures[i].B
	}
	prefixes := authres.SignaturePrefixes(all) // short beginnings of b= that differ (RFC 6008 §4)
	for i := range signatures {
		s := &signatures[i]
		l.result(authres.Result{Method: "dkim", Value: string(s.Result), Reason: string(s.Reason), Comment: signatureComment(s)})
		for _, p := range [signatureProperties]struct{ name, value string }{
			{"d", domainText(s.Domain, utf8OK)}, {"i", identityText(s.Identity, utf8OK)}, {"s", s.Selector}, {"a", s.Algorithm}, {"b", prefixes[i]},
		} {
			l.property(authres.PTypeHeader, p.name, p.value)
		}
	}
}

func signatureComment(s *dkim.Signature) string {
	comment := ""
	if s.KeyBits > 0 {
		comment = strconv.Itoa(s.KeyBits) + "-bit " + s.KeyType
	}
	if s.Testing {
		comment = join(comment, "testing")
	}
	if s.Ahead {
		comment = join(comment, "timestamp ahead of our clock")
	}
	if s.Uncovered > 0 {
		comment = join(comment, strconv.FormatInt(s.Uncovered, 10)+" octets not covered")
	}
	return comment
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// dmarc adds the result of DMARC. The property policy.dmarc is the policy that applies
// after options such as t=y (RFC 9989 §9.1). The comment holds our verdict, unless the
// message is simply accepted.
func (l *Writer) dmarc(e *msgauth.Evaluation, v policy.Verdict, utf8OK bool) {
	r := authres.Result{Method: "dmarc", Value: string(e.DMARC.Result)}
	if v.Action != policy.Accept || v.Override != nil || v.Would != "" || v.Rule != "" || len(v.Missing) > 0 {
		r.Comment = verdictComment(v)
	}
	for _, note := range e.From.Notes {
		r.Comment = join(r.Comment, note.Text())
	}
	if e.Watch != nil && e.Watch.Lookalike != "" {
		r.Comment = join(r.Comment, "lookalike: "+e.Watch.List)
	}
	if e.FromError != nil {
		r.Reason = string(e.FromError.Kind)
	}
	l.result(r)
	l.property(authres.PTypeHeader, "from", domainText(e.From.AuthorDomain, utf8OK))
	if e.DMARC.PolicyPublished != "" {
		l.property(authres.PTypePolicy, "dmarc", string(e.DMARC.Disposition))
	}
}

func verdictComment(v policy.Verdict) string {
	s := string(v.Action) + ": " + string(v.Reason)
	switch {
	case v.Would != "":
		s = consentComment(v)
	case !v.Enforced && v.Action != v.Applied:
		s = "monitor, would " + s
	}
	switch {
	case v.Would != "" && v.Rule == "":
	case v.Override != nil:
		s += ", override " + string(v.Override.Type) + ": " + v.Override.Comment
	case v.Rule != "":
		s += ", rule " + v.Rule
	}
	return s + missingComment(v.Missing) + signsComment("spoofing", v.Spoofing) + signsComment("indirect", v.Indirect) + learnedComment(v)
}

// learnedComment lists the learned signs that are only observed. Those that are used are among the others.
func learnedComment(v policy.Verdict) string {
	for _, t := range v.Learned {
		if slices.Contains(v.Spoofing, t) || slices.Contains(v.Indirect, t) {
			return ""
		}
	}
	return signsComment("learned", v.Learned)
}

// consentComment says which verdict the recipients of each class would get, or that all
// recipients opted out.
func consentComment(v policy.Verdict) string {
	if v.Consent.Mixed() {
		return fmt.Sprintf("mixed recipients: %s where consented, %s where opted out, %[2]s for all: %[3]s", v.Would, v.Action, v.Reason)
	}
	return fmt.Sprintf("opted out, would %s: %s", v.Would, v.Reason)
}

// missingComment lists the answers that were missing when the message was decided on.
func missingComment(missing []policy.Missing) string {
	if len(missing) == 0 {
		return ""
	}
	s := ", not decided: " + missing[0].String()
	for _, m := range missing[1:] {
		s += ", " + m.String()
	}
	return s
}

// signsComment lists the traits of the message that are signs of spoofing or signs of
// indirect mail. side is "spoofing" or "indirect".
func signsComment(side string, signs []trait.Trait) string {
	if len(signs) == 0 {
		return ""
	}
	s := ", " + side + ":"
	for _, sign := range signs {
		s += " " + string(sign)
	}
	return s
}

func (l *Writer) arc(e *msgauth.Evaluation) {
	if e.ARC.Status == arc.NotEvaluated {
		return // no result is written, because "none" and "fail" would both be untrue
	}
	l.result(authres.Result{Method: "arc", Value: string(e.ARC.Status)})
	if e.ARC.Status != arc.Pass {
		return
	}
	if e.Session.Client.IsValid() {
		l.property(authres.PTypeSMTP, "remote-ip", e.Session.Client.String())
	}
	l.property(authres.PTypeHeader, "oldest-pass", strconv.Itoa(e.ARC.OldestPass))
}

func (l *Writer) iprev(e *msgauth.Evaluation) {
	l.result(authres.Result{Method: "iprev", Value: string(e.IPRev.Status)})
	if e.Session.Client.IsValid() {
		l.property(authres.PTypePolicy, "iprev", e.Session.Client.String())
	}
}

// receivedSPF returns the value of the Received-SPF field (RFC 7208 §9.1).
func receivedSPF(show ShowMailFrom, id string, e *msgauth.Evaluation) string {
	c := e.MailFrom
	utf8OK := internationalized(e)
	r := authres.ReceivedSPF{
		Result: string(c.Result), ClientIP: e.Session.Client, HELO: heloText(e.Session.HELO, utf8OK),
		EnvelopeFrom: senderText(e, show, utf8OK), NullSender: c.NullSender, Identity: string(c.Identity),
		Mechanism: c.Mechanism, Receiver: id, UTF8: utf8OK,
	}
	if c.NullSender {
		r.EnvelopeFrom, r.Identity = "", string(spf.HELO)
	}
	if c.Result == spf.TempError || c.Result == spf.PermError {
		r.Problem = string(c.Reason)
	}
	return authres.FormatReceivedSPF(r)
}
