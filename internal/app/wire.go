package app

import (
	"fmt"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/config"
	"sekimori/internal/consent"
	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/lookalike"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// NewVerifier makes the configured verifier. It uses r for DNS. grace becomes
// msgauth.Options.Grace. marks knows the marks of authors; nil means that none are fetched.
func NewVerifier(cfg *config.Config, r dns.Resolver, grace time.Duration, marks bimi.Indicators) (*msgauth.Verifier, error) {
	o := msgauth.Options{
		Budget: time.Duration(cfg.DNS.MessageBudget),
		Grace:  grace, LookAhead: true, SPFAhead: cfg.DNS.SPFAhead,
		DKIM: dkim.Options{
			MaxSignatures: cfg.DKIM.MaxSignatures, MinRSABits: cfg.DKIM.MinRSABits,
			BodyLength: cfg.DKIM.BodyLength, Skew: skew(cfg.DKIM.ClockSkew),
		},
	}
	// If the authserv-id is not a host name, o.Receiver stays empty, and the SPF macro %{r} is
	// "unknown".
	o.Receiver, _ = dns.ParseHostname(cfg.ServID())
	var err error
	if o.DMARC, err = Discovery(cfg); err != nil {
		return nil, err
	}
	if o.Watch, err = lookalike.New(cfg.WatchLists()); err != nil {
		return nil, fmt.Errorf("app: watch: %w", err)
	}
	markOptions(&o, cfg, marks)
	return msgauth.NewVerifier(r, o), nil
}

// watchNames returns the names of the watch lists.
func watchNames(cfg *config.Config) (out []string) {
	for _, w := range cfg.Watch {
		out = append(out, w.Name)
	}
	return out
}

// skew converts the configured dkim.clock_skew to dkim.Options.Skew. In the configuration, 0
// means no tolerance. In dkim.Options, a negative value means no tolerance, and 0 means the
// default.
func skew(configured config.Duration) time.Duration {
	if configured == 0 {
		return -1
	}
	return time.Duration(configured)
}

// Policy returns the configured policy, including the rules in the files that it names. The
// error of a file with mistakes is a *config.Error, or several of them joined.
func Policy(cfg *config.Config) (policy.Config, error) {
	rules, err := cfg.Rules(config.LoadRules)
	if err != nil {
		return policy.Config{}, err
	}
	return rules.Policy, nil
}

// NewJudge makes the configured judge for stored messages. It uses r for DNS. No client waits
// for a reply, so the judge may wait for every result as long as dns.message_budget allows. Call
// end when the judge is not needed any more.
func NewJudge(cfg *config.Config, r dns.Resolver) (j *judge.Judge, end func(), err error) {
	verifier, err := NewVerifier(cfg, r, time.Duration(cfg.DNS.MessageBudget), nil)
	if err != nil {
		return nil, nil, err
	}
	rules, err := Policy(cfg)
	if err != nil {
		return nil, nil, err
	}
	shadow, err := Shadow(cfg)
	if err != nil {
		return nil, nil, err
	}
	j = newJudge(cfg, verifier, rules, shadow)
	j.Label.AuthServID = cfg.ServID() // no MTA sends its name, so the configured name or the name of this host is used
	if !cfg.Policy.Recipients.Asked() {
		return j, func() {}, nil
	}
	d, err := consent.New(consentOptions(cfg.Policy.Recipients))
	if err != nil {
		return nil, nil, fmt.Errorf("app: policy.recipients: %w", err)
	}
	askRecipients(j, d, cfg.Policy.Recipients)
	j.Split = false // a stored message has no RCPT at which recipients could be refused
	return j, d.Close, nil
}

// newJudge makes the judge of a configuration. This judge does not ask for the consent of
// recipients until askRecipients is called.
func newJudge(cfg *config.Config, v *msgauth.Verifier, rules policy.Config, shadow *policy.Config) *judge.Judge {
	j := &judge.Judge{
		Verifier: v, Policy: rules, Shadow: shadow, Label: labels(cfg),
		Trusted: cfg.Trusted.Contains, TrustAuthenticated: cfg.Trusted.Authenticated, Relays: relays(cfg.Trusted.Relays),
		MaxFields: cfg.Limits.HeaderFields, MaxHeaderBytes: int(cfg.Limits.HeaderBytes),
	}
	forReports(j, cfg)
	return j
}

func relays(list []config.Relay) (out []judge.Relay) {
	for _, r := range list {
		relay := judge.Relay{Network: r.Network.Prefix}
		for _, by := range r.By {
			relay.By = append(relay.By, policy.Pattern(by))
		}
		out = append(out, relay)
	}
	return out
}

// labels returns the settings of the fields that the daemon writes into messages.
func labels(cfg *config.Config) label.Settings {
	h := cfg.Headers
	return label.Settings{
		Names: label.Names{AuthServID: cfg.AuthservID, HostName: config.HostName(), Aliases: cfg.AuthservIDAlso},
		Style: h.Style, MailFrom: h.MailFrom,
		ReceivedSPF: h.ReceivedSPF, Verdict: h.Verdict, Subject: h.Subject, Mark: cfg.BIMI.Header,
	}
}

// Shadow returns the policy of the candidate configuration (key shadow), or nil if there is no
// candidate.
func Shadow(cfg *config.Config) (*policy.Config, error) {
	if cfg.Shadow == "" {
		return nil, nil
	}
	candidate, err := config.LoadCandidate(cfg.Shadow)
	if err != nil {
		return nil, err
	}
	p, err := Policy(candidate)
	if err != nil {
		return nil, err
	}
	p.Mode = cfg.Mode // so that the verdicts differ only where the rules do
	return &p, nil
}

// Warnings returns an error that names the rules which have no effect, for example because they
// expired. Such rules do not keep the daemon from starting. It returns nil if there are no such
// rules, and an error of another kind if the rules cannot be read.
func Warnings(cfg *config.Config, now time.Time) error {
	rules, err := cfg.Rules(config.LoadRules)
	if err != nil {
		return err
	}
	return rules.Warnings(now)
}

func limits(cfg *config.Config) milter.Limits {
	l := cfg.Limits
	return milter.Limits{
		MaxSessions: l.MaxSessions, IdleTimeout: time.Duration(l.IdleTimeout),
		MaxHeaderFields: l.HeaderFields, MaxHeaderBytes: int(l.HeaderBytes), MaxRecipients: l.Recipients,
		Memory: int64(l.Memory),
	}
}
