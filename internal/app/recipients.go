package app

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/consent"
	"sekimori/internal/judge"
	"sekimori/internal/telemetry"
)

// NewRecipients makes the configured directory of recipients' consent, with metrics and log. It
// returns nil if the configuration does not ask for consent.
func NewRecipients(cfg *config.Config, metrics *telemetry.Metrics, log *slog.Logger) (*consent.Directory, error) {
	if !cfg.Policy.Recipients.Asked() {
		return nil, nil
	}
	o := consentOptions(cfg.Policy.Recipients)
	o.Logger, o.Count = log, metrics.ConsentLookup
	o.Loaded = func(at time.Time, err error) { metrics.MapLoaded(consent.MapName, at, err) }
	o.OnPanic = func(v any) {
		metrics.Panicked(telemetry.PanicConsent)
		log.Error("panic", "component", telemetry.PanicConsent, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
	}
	return consent.New(o)
}

// consentOptions returns the options of the directory as configured, without log and metrics.
func consentOptions(r config.Recipients) consent.Options {
	return consent.Options{
		Default: r.Default, File: r.File, Socketmap: r.Socketmap,
		Timeout: time.Duration(r.Timeout), CacheTTL: time.Duration(r.CacheTTL),
	}
}

// askRecipients makes j ask d for the consent of the recipients.
func askRecipients(j *judge.Judge, d *consent.Directory, r config.Recipients) {
	j.Recipients, j.ConsentWait, j.Split = d, time.Duration(r.Timeout), r.Mixed == config.MixedSplit
}

// openRecipients makes the filter ask for the consent of the recipients, if that is configured.
func (g *generation) openRecipients(metrics *telemetry.Metrics, log *slog.Logger) (undo func() error, err error) {
	d, err := NewRecipients(g.cfg, metrics, log)
	if err != nil || d == nil {
		return nil, err
	}
	askRecipients(g.options.Judge, d, g.cfg.Policy.Recipients)
	return always(d.Close), nil
}

// checkRecipients reads the file of consents. It does not connect to the socketmap server, because
// that server may not run yet.
func checkRecipients(r config.Recipients) error {
	d, err := consent.New(consentOptions(r))
	if err != nil {
		return fmt.Errorf("app: policy.recipients: %w", err)
	}
	d.Close()
	return nil
}
