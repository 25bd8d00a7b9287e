package app

import (
	"context"
	"time"

	"sekimori/internal/dispatch"
	"sekimori/internal/dispatch/failures"
	"sekimori/internal/judge"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/report/failure"
)

// secretTime is how long a start or a reload waits for the secret of the store. Without it, the codes
// of local parts in failure reports say nothing at all.
const secretTime = 2 * time.Second

// newFailures makes the sender of failure reports, and lets the judge observe what they say.
func (a *App) newFailures(g *generation, o dispatch.Options) (*failures.Sender, error) {
	f, r := &g.cfg.Report.Failure, a.reports
	o.Settings.Send = true
	var domains []policy.Pattern
	for _, p := range f.Domains {
		domains = append(domains, policy.Pattern(p))
	}
	s, err := failures.New(failures.Options{
		Store: o.Store, Resolver: o.Resolver, Submit: o.Submit, Identity: o.Identity, Settings: o.Settings, Domains: domains,
		PerDomain: f.PerDomain, Total: f.Total, Sign: o.Sign, Now: o.Now, Log: o.Log, Memory: a.kept.failures,
		Sent: func(w report.Word) { r.Sent(w); r.Failure(w) }, Withheld: r.Withheld, Dropped: r.FailureDropped,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), secretTime)
	defer cancel()
	key, err := a.kept.store.Secret(ctx)
	if err != nil {
		a.log.Warn("failure reports do not tell senders apart until the next reload", "error", err)
	}
	g.options.Judge.Failures = &failure.Options{Key: key, AuthServID: g.cfg.ServID(), Subject: f.Subject}
	g.options.Observers = append(g.options.Observers, incidents{s})
	return s, nil
}

// incidents is an observer that hands the messages that failed to the sender of failure reports.
type incidents struct{ to *failures.Sender }

// Decided does not block: if too many incidents wait, the sender drops this one.
func (i incidents) Decided(d *judge.Decision, _ time.Duration) {
	if d.Incident != nil {
		i.to.Offer(*d.Incident)
	}
}
