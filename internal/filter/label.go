package filter

import (
	"fmt"
	"strconv"

	"sekimori/internal/arc"
	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// Label returns the Authentication-Results field for a message. The package
// authres quotes and bounds whatever the sender wrote.
func Label(authServID string, e *msgauth.Evaluation, v policy.Verdict) authres.Field {
	f := authres.Field{AuthServID: authServID}
	f.Results = append(f.Results, spfResult(e))
	f.Results = append(f.Results, dkimResults(e.DKIM)...)
	f.Results = append(f.Results, dmarcResult(e, v), arcResult(e), iprevResult(e))
	return f
}

func property(ptype authres.PType, name, value string) authres.Property {
	return authres.Property{Type: ptype, Name: name, Value: value}
}

// spfResult shows the identity checked: MAIL FROM, or HELO where the return
// path is null (RFC 7208 §2.4, RFC 8601 §2.7.2).
func spfResult(e *msgauth.Evaluation) authres.Result {
	r := authres.Result{Method: "spf", Value: string(e.MailFrom.Result)}
	switch {
	case e.MailFrom.NullSender:
		r.Properties = append(r.Properties, property(authres.PTypeSMTP, "helo", e.Session.HELO))
	case e.MailFrom.Sender != "":
		r.Properties = append(r.Properties, property(authres.PTypeSMTP, "mailfrom", e.MailFrom.Sender))
	default:
		r.Properties = append(r.Properties, property(authres.PTypeSMTP, "mailfrom", e.Envelope.MailFrom))
	}
	switch e.MailFrom.Result {
	case spf.TempError, spf.PermError:
		r.Reason = string(e.MailFrom.Reason)
	}
	return r
}

func dkimResults(signatures []dkim.Signature) []authres.Result {
	if len(signatures) == 0 {
		return []authres.Result{{Method: "dkim", Value: string(dkim.None)}}
	}
	all := make([]string, len(signatures))
	for i, s := range signatures {
		all[i] = s.B
	}
	prefixes := authres.SignaturePrefixes(all) // RFC 6008 §4
	out := make([]authres.Result, 0, len(signatures))
	for i, s := range signatures {
		r := authres.Result{Method: "dkim", Value: string(s.Result), Reason: string(s.Reason)}
		if s.KeyBits > 0 {
			r.Comment = fmt.Sprintf("%d-bit %s", s.KeyBits, s.KeyType)
		}
		if s.Testing {
			r.Comment = join(r.Comment, "testing")
		}
		if s.Uncovered > 0 {
			r.Comment = join(r.Comment, strconv.FormatInt(s.Uncovered, 10)+" octets not covered")
		}
		for _, p := range []authres.Property{
			property(authres.PTypeHeader, "d", string(s.Domain)),
			property(authres.PTypeHeader, "i", s.Identity),
			property(authres.PTypeHeader, "s", s.Selector),
			property(authres.PTypeHeader, "a", s.Algorithm),
			property(authres.PTypeHeader, "b", prefixes[i]),
		} {
			if p.Value != "" {
				r.Properties = append(r.Properties, p)
			}
		}
		out = append(out, r)
	}
	return out
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// dmarcResult: policy.dmarc is the policy that applies after its options, such
// as t=y (RFC 9989 §9.1); the comment is our verdict where it does something.
func dmarcResult(e *msgauth.Evaluation, v policy.Verdict) authres.Result {
	r := authres.Result{Method: "dmarc", Value: string(e.DMARC.Result)}
	if v.Action != policy.Accept || v.Override != nil {
		r.Comment = verdictComment(v)
	}
	if e.FromError != nil {
		r.Reason = string(e.FromError.Kind)
	}
	if d := e.From.AuthorDomain; d != "" {
		r.Properties = append(r.Properties, property(authres.PTypeHeader, "from", string(d)))
	}
	if e.DMARC.PolicyPublished != "" {
		r.Properties = append(r.Properties, property(authres.PTypePolicy, "dmarc", string(e.DMARC.Disposition)))
	}
	return r
}

func verdictComment(v policy.Verdict) string {
	s := string(v.Action) + ": " + string(v.Reason)
	if !v.Enforced && v.Action != v.Applied {
		s = "monitor, would " + s
	}
	if v.Override != nil {
		s += ", override " + string(v.Override.Type) + ": " + v.Override.Comment
	}
	return s
}

func arcResult(e *msgauth.Evaluation) authres.Result {
	r := authres.Result{Method: "arc", Value: string(e.ARC.Status)}
	if e.ARC.Status == arc.Pass {
		if e.Session.Client.IsValid() {
			r.Properties = append(r.Properties, property(authres.PTypeSMTP, "remote-ip", e.Session.Client.String()))
		}
		r.Properties = append(r.Properties, property(authres.PTypeHeader, "oldest-pass", strconv.Itoa(e.ARC.OldestPass)))
	}
	return r
}

func iprevResult(e *msgauth.Evaluation) authres.Result {
	r := authres.Result{Method: "iprev", Value: string(e.IPRev.Status)}
	if e.Session.Client.IsValid() {
		r.Properties = append(r.Properties, property(authres.PTypePolicy, "iprev", e.Session.Client.String()))
	}
	return r
}
