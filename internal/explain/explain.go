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
	"sekimori/internal/filter"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
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

// Report is what explain prints as JSON.
type Report struct {
	// Summary is the one line that decided first, for people.
	Summary string         `json:"summary"`
	Verdict policy.Verdict `json:"verdict"`
	Mode    policy.Mode    `json:"mode"`
	// Evaluation is every fact found; absent for a message that was not
	// evaluated, of which Session and Envelope tell.
	Evaluation *msgauth.Evaluation `json:"evaluation,omitempty"`
	Session    *msgauth.Session    `json:"session,omitempty"`
	Envelope   *msgauth.Envelope   `json:"envelope,omitempty"`
	// AuthenticationResults is the value of the field the message gets; only
	// of a message file.
	AuthenticationResults string `json:"authentication_results,omitempty"`
	// Lookups are in order of completion, different stages overlap; only of a
	// message file.
	Lookups []dns.Lookup `json:"lookups,omitempty"`
	// Decided is when the running daemon decided; only of a message looked up
	// there, as are the two below.
	Decided time.Time `json:"decided,omitzero"`
	// Took is how long end of message took there.
	Took time.Duration `json:"took_ns,omitempty"`
	// Truncated says that the daemon did not remember all of it.
	Truncated bool `json:"truncated,omitempty"`
}

// FromDecision reports on a message that the running daemon remembers.
func FromDecision(d *recent.Decision) *Report {
	return &Report{
		Summary: summary(d.Verdict), Verdict: d.Verdict, Mode: d.Mode,
		Evaluation: d.Evaluation, Session: d.Session, Envelope: d.Envelope,
		Decided: d.Time, Took: d.Took, Truncated: d.Truncated,
	}
}

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
		Summary: summary(verdict), Evaluation: e, Verdict: verdict, Mode: rules.Mode,
		AuthenticationResults: filter.StyledLabel(filter.Style(o.Config.Headers.Style), o.Config.AuthservID, e, verdict).Format(),
		Lookups:               trace.Lookups(),
	}, nil
}
