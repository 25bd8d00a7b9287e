package label

import (
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// Style says how the dmarc result in Authentication-Results is written. Users' filters that
// were made for another program search for the comment which that program writes. All other
// parts of the field follow RFC 8601 and are the same in every style.
type Style string

// The styles. StyleOpenDMARC and StyleRspamd write what opendmarc 1.4.2 and rspamd 3.4 of
// Debian 12 write. StyleAuthMilt is taken from published messages; authentication_milter
// itself was not run.
const (
	StyleOwn       Style = "sekimori"
	StyleAuthMilt  Style = "authentication_milter" // dmarc=fail (p=reject,d=none) header.from=example.com
	StyleOpenDMARC Style = "opendmarc"             // dmarc=fail (p=reject dis=none) header.from=example.com
	StyleRspamd    Style = "rspamd"                // dmarc=fail reason="No valid SPF, No valid DKIM" header.from=example.com (policy=reject)
)

// Styles lists every style, the default first.
var Styles = []Style{StyleOwn, StyleAuthMilt, StyleOpenDMARC, StyleRspamd}

// dmarc returns the dmarc result in the style s. It does not contain our own comment on the
// verdict.
func (s Style) dmarc(e *msgauth.Evaluation, v policy.Verdict, utf8OK bool) authres.Result {
	r := authres.Result{Method: "dmarc", Value: string(e.DMARC.Result)}
	published := string(e.DMARC.PolicyPublished)
	if published == "" {
		published = string(dmarc.PolicyNone)
	}
	decided := e.DMARC.Result == dmarc.ResultPass || e.DMARC.Result == dmarc.ResultFail
	switch {
	case e.FromError != nil:
		r.Reason = string(e.FromError.Kind)
	case s == StyleAuthMilt:
		r.Comment = "p=" + published + ",d=" + done(v)
	case s == StyleOpenDMARC && (decided || e.DMARC.Result == dmarc.ResultNone):
		r.Comment = "p=" + published + " dis=" + done(v)
	case s == StyleRspamd && e.DMARC.Result == dmarc.ResultPass:
		r.Comment = "policy=" + published
	case s == StyleRspamd && e.DMARC.Result == dmarc.ResultFail:
		r.Reason, r.EndComment = why(e), "policy="+published
	case s == StyleRspamd && e.DMARC.Result == dmarc.ResultNone:
		return r // rspamd writes no header.from for the result none
	case s == StyleRspamd:
		r.EndComment = "policy=" + string(e.DMARC.Result)
	}
	if d := domainText(e.From.AuthorDomain, utf8OK); d != "" {
		r.Properties = []authres.Property{{Type: authres.PTypeHeader, Name: "from", Value: d}}
	}
	return r
}

// done returns our action on a message that is delivered, as a DMARC disposition:
// "quarantine" or "none".
func done(v policy.Verdict) string {
	if v.Enforced && (v.Action == policy.Quarantine || v.Action == policy.Reject) {
		return string(dmarc.PolicyQuarantine)
	}
	return string(dmarc.PolicyNone)
}

// why returns the reason that rspamd writes for the dmarc result fail.
func why(e *msgauth.Evaluation) string {
	say := func(name string, passes bool, by dmarc.Mechanism) string {
		switch {
		case !passes:
			return "No valid " + name
		case e.DMARC.Record.Mode(by) == dmarc.Strict:
			return name + " not aligned (strict)"
		}
		return name + " not aligned (relaxed)"
	}
	signed := false
	for _, s := range e.DKIM {
		signed = signed || s.Result == dkim.Pass
	}
	return strings.Join([]string{say("SPF", e.MailFrom.Result == spf.Pass, dmarc.SPF), say("DKIM", signed, dmarc.DKIM)}, ", ")
}
