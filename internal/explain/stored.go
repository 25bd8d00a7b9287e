package explain

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/received"
)

// Stored is a stored message, with what is known about how it was received. If TrustedHosts
// is not empty, client and sender are taken from the Received fields that these hosts
// wrote. Otherwise the fields Client and HELO describe the client.
type Stored struct {
	Message []byte // header and body, with line ends CRLF or LF
	Client  netip.Addr
	HELO    string
	// MailFrom is the envelope sender; "" is the null sender. If MailFrom is nil and there
	// are TrustedHosts, the sender is taken from the Return-Path or Received field. If
	// neither names a sender, the null sender is used.
	MailFrom     *string
	Recipients   []string
	Login        string // user name, if the client logged in
	TrustedHosts []dns.Name
	// Time is the time that the checks use as the current time. If it is zero, they use the
	// time of receipt in a Received field, or the real time if no Received field has a date.
	Time time.Time
}

// Judge lets j decide on the message, and explains the decision. trace must be the
// resolver of j's verifier, because Judge takes the lookups from `trace`.
func (o *Stored) Judge(ctx context.Context, j *judge.Judge, trace *dns.Trace) (*Explanation, error) {
	header, body := message.Parse(o.Message)
	m, source, err := o.find(header, j.Trusts)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	c := j.Open(ctx, m)
	c.Write(body)
	d := c.Finish(ctx)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	x := &Explanation{
		Summary: Summary(d.Verdict), Evaluation: d.Evaluation, Verdict: d.Verdict, Mode: j.Policy.Mode,
		Shadow: d.Shadow, Edits: d.Edits, TimeSource: source, Lookups: trace.Lookups(),
	}
	if d.Evaluation != nil {
		// A message that is refused has no edits, so the field is not taken from d.Edits.
		x.AuthenticationResults = label.Text(&j.Label, j.Label.AuthServID, d.Evaluation, d.Verdict)
		return x, nil
	}
	x.Session, x.Envelope = &m.Session, &m.Envelope
	for _, e := range d.Edits {
		if e.Kind == label.Insert && e.Name == authres.FieldName {
			x.AuthenticationResults = e.Value
		}
	}
	return x, nil
}

// find returns the message as the MTA received it. `source` says in words which time the
// checks use as the current time. If no time is known, m.Time is zero, and `source` says
// "now" and why.
func (o *Stored) find(h message.Header, trusted func(netip.Addr) bool) (m judge.Message, source string, err error) {
	m = judge.Message{
		Session:  msgauth.Session{Client: o.Client.Unmap(), HELO: o.HELO},
		Envelope: msgauth.Envelope{Recipients: o.Recipients}, Header: h, Whole: true,
	}
	if o.MailFrom != nil {
		m.Envelope.MailFrom = *o.MailFrom
	}
	by, dated := received.TimeOf(h, m.Session.Client)
	if len(o.TrustedHosts) > 0 {
		t, err := received.Origin{TrustedHosts: o.TrustedHosts, MailFrom: o.MailFrom}.Find(h, "", trusted)
		if err != nil {
			return m, "", err
		}
		m = judge.Message{Session: t.Session, Envelope: t.Envelope, Header: t.Header, Whole: true, Internal: t.Internal}
		if len(o.Recipients) > 0 {
			m.Envelope.Recipients = o.Recipients
		}
		by.By, by.Date, dated = t.By, t.Time, !t.Time.IsZero()
	}
	if o.Login != "" {
		m.Session.Authenticated = o.Login
	}
	switch {
	case !o.Time.IsZero():
		m.Time, source = o.Time, "as was asked for"
	case dated:
		m.Time, source = by.Date, "when "+string(by.By)+" received it"
	default:
		source = "now, because no Received field has a date"
	}
	return m, source, nil
}
