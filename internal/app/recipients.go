package app

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/consent"
	"sekimori/internal/policy"
	"sekimori/internal/telemetry"
)

// NewRecipients makes the configured directory of recipients' consent, nil
// where nobody is to be asked. Its hooks are metrics' and log's.
func NewRecipients(cfg *config.Config, metrics *telemetry.Metrics, log *slog.Logger) (*consent.Directory, error) {
	r := cfg.Policy.Recipients
	if !r.Asked() {
		return nil, nil
	}
	return consent.New(consent.Options{
		Default: policy.Class(r.Default), File: r.File, Socketmap: r.Socketmap,
		Timeout: time.Duration(r.Timeout), CacheTTL: time.Duration(r.CacheTTL),
		Logger: log, Count: metrics.ConsentLookup,
		Loaded: func(at time.Time, err error) { metrics.MapLoaded(consent.MapName, at, err) },
		OnPanic: func(v any) {
			metrics.Panicked(telemetry.PanicConsent)
			log.Error("panic", "component", telemetry.PanicConsent, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
		},
	})
}

// openRecipients has the filter ask for recipients' consent, where configured.
func (g *generation) openRecipients(metrics *telemetry.Metrics, log *slog.Logger) error {
	d, err := NewRecipients(g.cfg, metrics, log)
	if err != nil || d == nil {
		return err
	}
	g.undo.add(d.Close)
	r, o := g.cfg.Policy.Recipients, &g.options
	o.Recipients, o.ConsentWait, o.Split = d, time.Duration(r.Timeout), r.Mixed == config.MixedSplit
	return nil
}

// checkRecipients reads the file; a socketmap's server may not run yet.
func checkRecipients(r config.Recipients) error {
	d, err := consent.New(consent.Options{Default: policy.Class(r.Default), File: r.File, Socketmap: r.Socketmap, Timeout: time.Duration(r.Timeout)})
	if err != nil {
		return fmt.Errorf("app: policy.recipients: %w", err)
	}
	d.Close()
	return nil
}
