// Package explain says how a stored message would be judged and why, with the
// daemon's own code: every lookup with its answer, every SPF term, each
// signature, the tree walk, the verdict.
package explain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/explanation"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/received"
)

// Options say what to explain. The client is Client, or the one that the
// Received fields of TrustedHosts name.
type Options struct {
	Message []byte // as stored, line ends CRLF or LF
	Client  netip.Addr
	HELO    string
	// MailFrom is the envelope sender, "" for the null reverse-path; nil: as the
	// Return-Path or the Received field has it, and null without either.
	MailFrom     *string
	Recipients   []string
	Login        string // of a client that logged in
	TrustedHosts []dns.Name
	// Time is when the message is judged; zero: when it was received.
	Time   time.Time
	Config *config.Config
	// Zone answers instead of the network, if not nil.
	Zone dns.Resolver
}

// Report is what explain prints, as JSON or as text.
type Report = explanation.Report

// ParseZone reads a zone file: master-file lines, and lines "! owner type
// fault" for servers that misbehave.
func ParseZone(name string, text []byte) (dns.Resolver, error) {
	z, err := zone.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("explain: zone %s: %w", name, err)
	}
	return z, nil
}

// Run evaluates the message and decides on it.
func Run(ctx context.Context, o Options) (*Report, error) {
	report, _, err := Decide(ctx, o)
	return report, err
}

// Decide is Run, and returns also the decision that the report is about.
func Decide(ctx context.Context, o Options) (*Report, *judge.Decision, error) {
	header, body := message.Parse(o.Message)
	m, source, err := o.find(header)
	if err != nil {
		return nil, nil, fmt.Errorf("explain: %w", err)
	}
	resolver := o.Zone
	if resolver == nil {
		r, err := app.NewResolver(o.Config, nil, nil)
		if err != nil {
			return nil, nil, err
		}
		defer r.Close()
		resolver = r
	}
	trace := dns.NewTrace(resolver)
	j, end, err := app.NewJudge(o.Config, trace)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	c := j.Open(ctx, m)
	c.Write(body)
	d := c.Finish(ctx)
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("explain: %w", err)
	}
	report := &Report{
		Summary: explanation.Summary(d.Verdict), Evaluation: d.Evaluation, Verdict: d.Verdict, Mode: j.Policy.Mode,
		TimeSource: source, Lookups: trace.Lookups(),
	}
	if d.Evaluation != nil {
		report.AuthenticationResults = label.Text(&j.Label, j.Label.AuthServID, d.Evaluation, d.Verdict)
	} else {
		report.Session, report.Envelope = &m.Session, &m.Envelope
		// In monitor mode a message over a limit is labelled too.
		for _, e := range d.Edits {
			if e.Kind == label.Insert && e.Name == authres.FieldName {
				report.AuthenticationResults = e.Value
			}
		}
	}
	return report, &d, nil
}

// find returns what the MTA knew of the message, and where its time is from.
func (o *Options) find(h message.Header) (m judge.Message, source string, err error) {
	m = judge.Message{
		Session:  msgauth.Session{Client: o.Client.Unmap(), HELO: o.HELO},
		Envelope: msgauth.Envelope{Recipients: o.Recipients}, Header: h, Whole: true,
	}
	if o.MailFrom != nil {
		m.Envelope.MailFrom = *o.MailFrom
	}
	by, dated := received.TimeOf(h, m.Session.Client)
	if len(o.TrustedHosts) > 0 {
		t, err := received.Origin{TrustedHosts: o.TrustedHosts, MailFrom: o.MailFrom}.Find(h, "", o.Config.Trusted.Contains)
		if err != nil {
			return m, "", err
		}
		if !t.Session.Client.IsValid() && !t.Internal {
			return m, "", errors.New("the trusted hosts name no client")
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
