package reporting

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dispatch"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/report/sign"
	"sekimori/internal/store/postgres"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/submit"
)

// unset stands in a report for what the configuration does not say yet. A site can look at reports
// before it sends any.
const unset = "not-set.invalid"

// StoreFile returns the path of the database file, or "" if the store is not a file.
func StoreFile(cfg *config.Config) string {
	if !cfg.Store.Embedded() {
		return ""
	}
	_, path, _ := strings.Cut(cfg.Store.URL, ":")
	return path
}

// OpenStore opens the configured store beside the daemon.
func OpenStore(ctx context.Context, cfg *config.Config) (report.Store, error) {
	if !cfg.Store.On() {
		return nil, fmt.Errorf("%w: there is no store: store.url is empty in the configuration, so nothing is counted", ErrUse)
	}
	if path := StoreFile(cfg); path != "" {
		return sqlite.OpenBeside(ctx, path)
	}
	password := ""
	if file := cfg.Store.PasswordFile; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reporting: store.password_file: %w", err)
		}
		password, _, _ = strings.Cut(string(text), "\n")
	}
	return postgres.Open(ctx, cfg.Store.URL, password)
}

// NewSender returns a Sender that decides and writes as the configured daemon does, as if sending were
// on. What the configuration lacks is in the reports as a text that says so.
func NewSender(cfg *config.Config, store report.Store, r dns.Resolver, version string, now func() time.Time) (*dispatch.Dispatcher, error) {
	c, m := cfg.Report, cfg.Report.Mail
	submitter, err := submit.New(submit.Options{Server: m.Server, TLS: submit.TLS(m.TLS), User: m.User, PasswordFile: m.PasswordFile})
	if err != nil {
		return nil, err
	}
	discovery, err := Discovery(cfg)
	if err != nil {
		return nil, err
	}
	or := func(s, instead string) string {
		if s == "" {
			return instead
		}
		return s
	}
	settings := destination.Settings{Send: true, MaxDestinations: c.Aggregate.MaxDestinations, Correspondents: c.Aggregate.Correspondents, Discovery: discovery}
	for _, p := range c.Aggregate.Always {
		settings.Always = append(settings.Always, string(p))
	}
	for _, p := range c.Aggregate.Never {
		settings.Never = append(settings.Never, string(p))
	}
	for _, z := range c.Aggregate.DNSBL {
		settings.DNSBL = append(settings.DNSBL, dns.Name(z))
	}
	o := dispatch.Options{
		Store: store, Resolver: r, Submit: submitter, Settings: settings, Owner: "sekimori report", Now: now, Log: slog.New(slog.DiscardHandler),
		Identity: dispatch.Identity{Organization: or(c.Organization, unset), Domain: dns.Name(or(string(c.Domain), unset)), From: m.From, Bounce: m.Bounce,
			Contact: or(c.Contact, "postmaster@"+unset), ContactInfo: c.ContactInfo, Generator: "sekimori " + version},
	}
	if m.DKIM.Selector != "" {
		// Without the key, for example for a user who may not read it, all but the mail can be shown.
		o.Sign = func(mail func(io.Writer) error) (string, error) {
			key, err := Key(cfg)
			if err != nil {
				return "", err
			}
			out, in := io.Pipe()
			go func() { in.CloseWithError(mail(in)) }()
			defer func() { _ = out.Close() }() // ends the goroutine if the signer stops early
			return sign.Signature(dns.Name(c.Domain), m.DKIM.Selector, key, out)
		}
	}
	return dispatch.New(o)
}

// Key reads the key that signs report mail.
func Key(cfg *config.Config) (crypto.Signer, error) {
	text, err := os.ReadFile(cfg.Report.Mail.DKIM.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reporting: report.mail.dkim.key_file: %w", err)
	}
	return sign.ParseKey(text)
}

// Discovery returns how DMARC records are found.
func Discovery(cfg *config.Config) (o dmarc.Options, err error) {
	o.Method = cfg.DMARC.OrganizationalDomain
	if o.Method != dmarc.PSL {
		return o, nil
	}
	file, err := os.Open(cfg.DMARC.PSLFile)
	if err != nil {
		return o, fmt.Errorf("reporting: dmarc.psl_file: %w", err)
	}
	defer file.Close()
	o.PSL, err = dmarc.LoadPSL(file)
	return o, err
}
