// Package explain says how a stored message would be judged and why, with the
// daemon's own code: every lookup with its answer, every SPF term, each
// signature, the tree walk, the verdict.
package explain

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/dns/dnstest"
	"sekimori/internal/explanation"
	"sekimori/internal/filter"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Options say what to explain.
type Options struct {
	Message    []byte // as stored, line ends CRLF or LF
	Client     netip.Addr
	HELO       string
	MailFrom   string // "" for the null reverse-path
	Recipients []string
	Config     *config.Config
	// Zone answers instead of the network, if not nil.
	Zone dns.Resolver
}

// Report is what explain prints, as JSON or as text.
type Report = explanation.Report

// ParseZone reads a zone file: master-file lines, and lines "! owner type
// fault" for servers that misbehave.
func ParseZone(name string, text []byte) (dns.Resolver, error) {
	zone, err := dnstest.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("explain: zone %s: %w", name, err)
	}
	return zone, nil
}

// Run evaluates the message and decides on it.
func Run(ctx context.Context, o Options) (*Report, error) {
	resolver := o.Zone
	if resolver == nil {
		r, err := app.NewResolver(o.Config, nil, nil)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		resolver = r
	}
	trace := dns.NewTrace(resolver)
	// Nobody else waits here: all results may take the whole budget.
	verifier, err := app.NewVerifier(o.Config, trace, time.Duration(o.Config.DNS.MessageBudget))
	if err != nil {
		return nil, err
	}
	session := msgauth.Session{Client: o.Client.Unmap(), HELO: o.HELO}
	envelope := msgauth.Envelope{MailFrom: o.MailFrom, Recipients: o.Recipients}
	connection := verifier.Connect(ctx, session)
	defer connection.Close()
	if o.HELO != "" {
		connection.Helo(o.HELO)
	}
	check := connection.Begin(session, envelope)
	defer check.Close()
	header, body := message.Parse(o.Message)
	check.EndOfHeader(header)
	if _, err := check.Write(body); err != nil {
		return nil, fmt.Errorf("explain: body: %w", err)
	}
	e := check.Finish(ctx, envelope)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	rules, err := app.Policy(o.Config)
	if err != nil {
		return nil, err
	}
	verdict := policy.Decide(e, rules)
	return &Report{
		Summary: explanation.Summary(verdict), Evaluation: e, Verdict: verdict, Mode: rules.Mode,
		AuthenticationResults: filter.Label(labelled(o.Config), e, verdict).Format(),
		Lookups:               trace.Lookups(),
	}, nil
}

func labelled(c *config.Config) filter.LabelOptions {
	return filter.LabelOptions{AuthServID: c.AuthservID, Style: filter.Style(c.Headers.Style), MailFrom: filter.ShowMailFrom(c.Headers.MailFrom)}
}
