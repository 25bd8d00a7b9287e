package app

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"sekimori/internal/admin"
	"sekimori/internal/config"
	"sekimori/internal/consent"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/resolver"
)

// NewVerifier makes the configured verifier, which asks r. grace is
// msgauth.Options.Grace.
func NewVerifier(cfg *config.Config, r dns.Resolver, grace time.Duration) (*msgauth.Verifier, error) {
	o := msgauth.Options{
		Budget: time.Duration(cfg.DNS.MessageBudget),
		Grace:  grace, LookAhead: true,
		DKIM: dkim.Options{
			MaxSignatures: cfg.DKIM.MaxSignatures, MinRSABits: cfg.DKIM.MinRSABits,
			BodyLength: cfg.DKIM.BodyLength, Skew: skew(cfg.DKIM.ClockSkew),
		},
		DMARC: dmarc.Options{Method: cfg.DMARC.OrganizationalDomain},
	}
	// The authserv-id may be something else than a host name. Then the SPF macro %{r} is
	// "unknown".
	o.Receiver, _ = dns.ParseHostname(cfg.ServID())
	if o.DMARC.Method == dmarc.PSL {
		file, err := os.Open(cfg.DMARC.PSLFile)
		if err != nil {
			return nil, fmt.Errorf("app: dmarc.psl_file: %w", err)
		}
		defer file.Close()
		if o.DMARC.PSL, err = dmarc.LoadPSL(file); err != nil {
			return nil, fmt.Errorf("app: dmarc.psl_file %s: %w", cfg.DMARC.PSLFile, err)
		}
	}
	return msgauth.NewVerifier(r, o), nil
}

// skew returns the value for dkim.Options.Skew, where 0 means the default and a negative
// value means none. In the configuration 0 means none.
func skew(configured config.Duration) time.Duration {
	if configured == 0 {
		return -1
	}
	return time.Duration(configured)
}

// Policy returns the configured policy, with the rules of the files that it names. The
// error of such a file is a *config.Error, or several of them joined.
func Policy(cfg *config.Config) (policy.Config, error) {
	rules, err := cfg.Rules(config.LoadRules)
	if err != nil {
		return policy.Config{}, err
	}
	return rules.Policy, nil
}

// NewJudge makes the configured judge of stored messages, which asks r. No client waits
// for a reply, so every result may take the whole budget of the message. Call end when
// the judge is not needed any more.
func NewJudge(cfg *config.Config, r dns.Resolver) (j *judge.Judge, end func(), err error) {
	verifier, err := NewVerifier(cfg, r, time.Duration(cfg.DNS.MessageBudget))
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
	j.Label.AuthServID = cfg.ServID() // there is no MTA that could give its name
	if !cfg.Policy.Recipients.Asked() {
		return j, func() {}, nil
	}
	d, err := consent.New(consentOptions(cfg.Policy.Recipients))
	if err != nil {
		return nil, nil, fmt.Errorf("app: policy.recipients: %w", err)
	}
	askRecipients(j, d, cfg.Policy.Recipients)
	j.Split = false // there is no RCPT whose answer could split the recipients
	return j, d.Close, nil
}

// newJudge makes the judge of a configuration. The caller adds the recipients' consent.
func newJudge(cfg *config.Config, v *msgauth.Verifier, rules policy.Config, shadow *policy.Config) *judge.Judge {
	return &judge.Judge{
		Verifier: v, Policy: rules, Shadow: shadow, Label: labels(cfg),
		Trusted: cfg.Trusted.Contains, TrustAuthenticated: cfg.Trusted.Authenticated,
		MaxFields: cfg.Limits.HeaderFields, MaxHeaderBytes: int(cfg.Limits.HeaderBytes),
	}
}

// labels returns how messages are labelled.
func labels(cfg *config.Config) label.Settings {
	h := cfg.Headers
	return label.Settings{
		Names: label.Names{AuthServID: cfg.AuthservID, HostName: config.HostName(), Aliases: cfg.AuthservIDAlso},
		Style: h.Style, MailFrom: h.MailFrom,
		ReceivedSPF: h.ReceivedSPF, Verdict: h.Verdict, Subject: h.Subject,
	}
}

// Shadow returns the policy of the candidate configuration, or nil if there is no candidate.
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
	p.Mode = cfg.Mode // the candidate is compared as if it ran in the same mode
	return &p, nil
}

// Warnings returns an error that names the rules which have no effect any more, for
// example because they expired. It is nil if there are none. The daemon starts all the
// same.
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

// checkFiles refuses files that are not regular, because opening one (a named pipe) could
// hang. The files with rules and that of the candidate are checked when they are read.
func checkFiles(cfg *config.Config) error {
	for _, file := range []struct{ key, path string }{
		{"dmarc.psl_file", cfg.DMARC.PSLFile}, {"policy.recipients.file", cfg.Policy.Recipients.File}, {"admin.web_config", cfg.Admin.WebConfig},
	} {
		if err := config.Regular(file.path); err != nil {
			return fmt.Errorf("app: %s: %w", file.key, err)
		}
	}
	return nil
}

// Check tries everything that the configuration refers to. It binds no address, because
// a running daemon may hold it.
func Check(cfg *config.Config) error {
	if err := checkFiles(cfg); err != nil {
		return err
	}
	if _, err := NewVerifier(cfg, nil, 0); err != nil {
		return err
	}
	if _, err := Policy(cfg); err != nil {
		return err
	}
	if _, err := Shadow(cfg); err != nil {
		return err
	}
	if err := checkRecipients(cfg.Policy.Recipients); err != nil {
		return err
	}
	if err := checkDNS(cfg.DNS, resolver.ResolvConf); err != nil {
		return err
	}
	for _, l := range cfg.Listen {
		if l.Group == "" {
			continue
		}
		if _, err := user.LookupGroup(string(l.Group)); err != nil {
			if _, numeric := strconv.Atoi(string(l.Group)); numeric != nil {
				return fmt.Errorf("app: listen %s: %w", l.Address, err)
			}
		}
	}
	return admin.Check(cfg.Admin.WebConfig)
}
