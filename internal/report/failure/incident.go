package failure

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// Options says how messages are observed.
type Options struct {
	// Key is the secret with which local parts are encoded. Equal local parts have equal codes as
	// long as the key stays the same. Without a key all codes are equal.
	Key        []byte
	AuthServID string // authserv-id of our Authentication-Results
	Subject    bool   // keep the Subject (report.failure.subject)
}

// Incident is what a failure report says about one message. It has at most a few KiB, nothing of the
// body, and no recipient.
type Incident struct {
	PolicyDomain dns.Name // where the record was found
	Reported     dns.Name // the Author Domain
	Source       netip.Addr
	Arrival      time.Time
	Results      string     // value of Authentication-Results
	NotAligned   []string   // "dkim", "spf": the mechanisms that did not give an aligned pass
	Delivery     string     // a word of RFC 6591 §3.2.2
	Signature    *Signature // the first aligned signature that failed, nil if there is none
	SPF          *SPFRecord // the record that failed for an aligned domain, nil if there is none
	Header       []message.Field
}

// Signature is a DKIM signature.
type Signature struct {
	Domain   dns.Name
	Identity string // i=, with a code as its local part
	Selector string
}

// SPFRecord is an SPF record.
type SPFRecord struct {
	Domain dns.Name
	Text   string
}

const (
	// maxRecipients bounds the search for recipients in what is kept. A message to more recipients is
	// not reported.
	maxRecipients = 100
	// maxSignatures is how many DKIM-Signature fields and DKIM results are kept.
	maxSignatures = 5
	// maxValue bounds a value that is kept, in octets, so that a line has less than 998 (RFC 5322
	// §2.1.1). SPF records and the tags of signatures are shorter.
	maxValue = 900
	// maxField bounds a field of the header that is kept, in octets.
	maxField = 2048
	// maxAuthors is how many mailboxes of From are kept.
	maxAuthors = 5
)

// Observe returns what a failure report may say about a message, and whether there may be one at all
// (§4): the message fails DMARC; its fate here is final; the record has a ruf, does not belong to a
// public suffix, and asks for reports on such failures by fo=0 or fo=1; every recipient consented; and
// the message is not a report itself, nor about reports as report.Marks finds it.
func Observe(e *msgauth.Evaluation, v policy.Verdict, h message.Header, aboutReports bool, o Options) (Incident, bool) {
	rec := e.DMARC.Record
	if e.DMARC.Result != dmarc.ResultFail || rec == nil || len(rec.RUF) == 0 || rec.PSD == "y" || !wanted(rec.FO) {
		return Incident{}, false
	}
	if v.Applied == policy.Skip || v.Applied == policy.TempFail || v.Consent.Out > 0 || len(e.Envelope.Recipients) > maxRecipients || aboutReports || isReport(h) {
		return Incident{}, false
	}
	r := newRedactor(o.Key, e.Envelope.Recipients, e.DMARC.PolicyDomain)
	i := Incident{
		PolicyDomain: e.DMARC.PolicyDomain, Reported: e.DMARC.AuthorDomain,
		Source: e.Session.Client, Arrival: e.Time, Results: results(e, r, o.AuthServID), Delivery: delivery(v.Applied), Header: r.header(e, h, o.Subject),
	}
	if !e.DMARC.AlignedDKIM {
		i.NotAligned = append(i.NotAligned, "dkim")
	}
	if !e.DMARC.AlignedSPF {
		i.NotAligned = append(i.NotAligned, "spf")
	}
	for k := range e.DKIM {
		if s := &e.DKIM[k]; s.Result != dkim.Pass && aligns(e, dmarc.DKIM, s.Domain) {
			i.Signature = &Signature{Domain: r.name(s.Domain), Identity: r.identity(s.Identity), Selector: r.text(s.Selector)}
			break
		}
	}
	if m := &e.MailFrom; m.Result != spf.Pass && m.Record != "" && aligns(e, dmarc.SPF, m.Domain) {
		i.SPF = &SPFRecord{Domain: r.name(m.Domain), Text: r.text(m.Record)}
	}
	return i, true
}

// wanted reports whether fo asks for a report if DMARC fails. The values d and s ask for reports on
// each mechanism; such reports are not sent.
func wanted(fo []string) bool {
	return len(fo) == 0 || slices.Contains(fo, "0") || slices.Contains(fo, "1")
}

// isReport reports whether a message is itself a report of some kind. A report on it could lead to
// another one, without end (RFC 6591 §5).
func isReport(h message.Header) bool {
	for value := range h.All("Content-Type") {
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(message.Unfold(value))), "multipart/report") {
			return true
		}
	}
	return false
}

// aligns reports whether a domain aligns with the Author Domain. DMARC itself compares only
// identifiers that passed, so for the others the Organizational Domain of the author must do: in
// relaxed mode, a domain below it aligns.
func aligns(e *msgauth.Evaluation, by dmarc.Mechanism, domain dns.Name) bool {
	if domain == "" || domain == e.DMARC.AuthorDomain {
		return domain != ""
	}
	return e.DMARC.Record.Mode(by) == dmarc.Relaxed && domain.Under(e.AuthorScope())
}

// delivery returns the word for what was done (RFC 6591 §3.2.2).
func delivery(a policy.Action) string {
	switch a {
	case policy.Reject:
		return "reject"
	case policy.Quarantine:
		return "policy" // not delivered to the inbox, because authentication failed
	}
	return "delivered"
}

// results returns the value of an Authentication-Results field. It names domains only.
func results(e *msgauth.Evaluation, r *redactor, id string) string {
	f := authres.Field{AuthServID: id}
	f.Results = append(f.Results, authres.Result{Method: "dmarc", Value: string(e.DMARC.Result),
		Properties: properties(authres.PTypeHeader, "from", string(e.DMARC.AuthorDomain))})
	identity, sender := "mailfrom", e.MailFrom.Domain
	if e.MailFrom.NullSender {
		identity = "helo"
	}
	f.Results = append(f.Results, authres.Result{Method: "spf", Value: string(e.MailFrom.Result), Properties: properties(authres.PTypeSMTP, identity, string(r.name(sender)))})
	if len(e.DKIM) == 0 {
		f.Results = append(f.Results, authres.Result{Method: "dkim", Value: string(dkim.None)})
	}
	for k := range e.DKIM[:min(len(e.DKIM), maxSignatures)] {
		s := &e.DKIM[k]
		f.Results = append(f.Results, authres.Result{Method: "dkim", Value: string(s.Result), Reason: string(s.Reason),
			Properties: append(properties(authres.PTypeHeader, "d", string(r.name(s.Domain))), properties(authres.PTypeHeader, "s", r.text(s.Selector))...)})
	}
	return strings.TrimSpace(message.Unfold(string(f.AppendFormat(nil))))
}

// properties returns one property. If it has no value, it is not written.
func properties(t authres.PType, name string, value string) []authres.Property {
	return []authres.Property{{Type: t, Name: name, Value: value}}
}
