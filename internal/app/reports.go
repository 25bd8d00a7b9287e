package app

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"sekimori/internal/bounce"
	"sekimori/internal/config"
	"sekimori/internal/dispatch"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/milter/sockets"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/report/identity"
	"sekimori/internal/report/sign"
	"sekimori/internal/submit"
)

// SenderOptions are what NewSender needs besides the configuration.
type SenderOptions struct {
	Store    report.Store
	Resolver dns.Resolver
	Version  string
	Now      func() time.Time
	Log      *slog.Logger
	Events   dispatch.Events
	// Preview is for commands that show reports. The reports are decided as if report.aggregate.send were
	// true. A key that the user may not read is an error only when a mail is to be signed.
	Preview bool
}

// NewSender makes the sender of reports of a configuration. With report.aggregate.send: false it closes
// the windows and forgets what is old, and sends nothing. It reads the files of report.mail.
func NewSender(cfg *config.Config, o SenderOptions) (*dispatch.Dispatcher, error) {
	all, err := dispatchOptions(cfg, o)
	if err != nil {
		return nil, err
	}
	return dispatch.New(all)
}

func dispatchOptions(cfg *config.Config, o SenderOptions) (all dispatch.Options, err error) {
	if err := checkFiles(cfg); err != nil { // a command, other than the daemon, has not looked at them yet
		return dispatch.Options{}, err
	}
	r := &cfg.Report
	discovery, err := Discovery(cfg)
	if err != nil {
		return all, err
	}
	mta, err := submit.New(submit.Options{
		Server: r.Mail.Server, TLS: submit.TLS(r.Mail.TLS), User: r.Mail.User, PasswordFile: r.Mail.PasswordFile, HELO: config.HostName(),
	})
	if err != nil {
		return all, fmt.Errorf("app: report.mail: %w", err)
	}
	signs, err := signatures(r, o.Preview)
	if err != nil {
		return all, err
	}
	a := &r.Aggregate
	settings := destination.Settings{
		Send: a.Send || o.Preview, MaxDestinations: a.MaxDestinations, Correspondents: a.Correspondents, Discovery: discovery,
	}
	for _, p := range a.Always {
		settings.Always = append(settings.Always, string(p))
	}
	for _, p := range a.Never {
		settings.Never = append(settings.Never, string(p))
	}
	for _, zone := range a.DNSBL {
		settings.DNSBL = append(settings.DNSBL, dns.Name(zone))
	}
	return dispatch.Options{
		Store: o.Store, Resolver: o.Resolver, Submit: mta, Identity: identityOf(r, o.Version), Settings: settings, Sign: signs,
		Owner: config.HostName() + "/" + rand.Text(), Rate: float64(a.Rate), RatePerHost: float64(a.RatePerHost), Keep: time.Duration(r.Keep),
		Now: o.Now, Log: o.Log, Events: o.Events,
	}, nil
}

// unset stands for what need not be configured as long as nothing is sent.
const unset = "not-set.invalid"

func identityOf(r *config.Report, version string) dispatch.Identity {
	return dispatch.Identity{
		Organization: cmp.Or(r.Organization, unset), Domain: cmp.Or(dnsName(r.Domain), unset), From: r.Mail.From, Bounce: r.Mail.Bounce,
		Contact: cmp.Or(r.Contact, "postmaster@"+unset), ContactInfo: r.ContactInfo, Generator: "sekimori " + version,
	}
}

func dnsName(d config.OptionalDomain) dns.Name { return dns.Name(d) }

// signatures returns the function that signs report mail, or nil if the MTA signs. If the key cannot be
// read, that is an error at once, or with late when a mail is to be signed.
func signatures(r *config.Report, late bool) (func(func(io.Writer) error) (string, error), error) {
	if r.Mail.DKIM.KeyFile == "" {
		return nil, nil
	}
	key, err := ReportKey(r)
	if err != nil && !late {
		return nil, err
	}
	if err != nil {
		return func(func(io.Writer) error) (string, error) { return "", err }, nil
	}
	return dispatch.Signer(dnsName(r.Domain), r.Mail.DKIM.Selector, key), nil
}

// maxKeyFile is the largest size of a private key, in octets.
const maxKeyFile = 64 << 10

// ReportKey reads the key that signs report mail.
func ReportKey(r *config.Report) (crypto.Signer, error) {
	path := r.Mail.DKIM.KeyFile
	text, err := config.ReadFile(path, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("app: %s: %w", reportKey, err)
	}
	key, err := sign.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("app: %s %s: %w", reportKey, path, err)
	}
	return key, nil
}

// Discovery returns how DMARC records are found.
func Discovery(cfg *config.Config) (dmarc.Options, error) {
	o := dmarc.Options{Method: cfg.DMARC.OrganizationalDomain}
	if o.Method != dmarc.PSL {
		return o, nil
	}
	file, err := os.Open(cfg.DMARC.PSLFile)
	if err != nil {
		return o, fmt.Errorf("app: dmarc.psl_file: %w", err)
	}
	defer file.Close()
	if o.PSL, err = dmarc.LoadPSL(file); err != nil {
		return o, fmt.Errorf("app: dmarc.psl_file %s: %w", cfg.DMARC.PSLFile, err)
	}
	return o, nil
}

// background is a function that runs until it is stopped.
type background struct {
	run    func(context.Context)
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // nil until start
}

func newBackground(run func(context.Context)) *background {
	b := &background{run: run}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// start runs the function. It does nothing if b is nil or was stopped.
func (b *background) start() {
	if b == nil || b.done != nil {
		return
	}
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		b.run(b.ctx)
	}()
}

// end tells the function to end, and does not wait.
func (b *background) end() {
	if b != nil {
		b.cancel()
	}
}

// stop ends the function, and waits until it has ended.
func (b *background) stop() {
	b.end()
	if b != nil && b.done != nil {
		<-b.done
	}
}

// openSender makes the generation's sender of reports. It runs from commit until the next generation
// comes into effect.
func (a *App) openSender(g *generation, log *slog.Logger) (undo func() error, err error) {
	if a.kept.store == nil {
		return nil, nil
	}
	r := a.reports
	o, err := dispatchOptions(g.cfg, SenderOptions{
		Store: a.kept.store, Resolver: g.resolver, Version: a.o.Version, Now: a.o.Now, Log: log,
		Events: dispatch.Events{Sent: r.Sent, Withheld: r.Withheld, Built: r.Built, Suppressed: r.Suppressed},
	})
	if err != nil {
		return nil, err
	}
	d, err := dispatch.New(o)
	if err != nil {
		return nil, err
	}
	runs := []func(context.Context){d.Run}
	if sends(g.cfg) {
		check := func(ctx context.Context) (identity.Result, error) { return a.checkIdentity(ctx, g) }
		runs = append(runs, func(ctx context.Context) { a.watchIdentity(ctx, check) })
	}
	if g.cfg.Report.Failure.Send {
		f, err := a.newFailures(g, o)
		if err != nil {
			return nil, err
		}
		runs = append(runs, f.Run)
	}
	g.sender = newBackground(func(ctx context.Context) {
		var all sync.WaitGroup
		for _, run := range runs {
			all.Go(func() { run(ctx) })
		}
		all.Wait()
	})
	return always(g.sender.stop), nil
}

// bounces are the listeners for bounces with the server behind them.
type bounces struct {
	at        config.Listener
	local     string // of the bounce address
	listeners []net.Listener
	served    *background
}

func (b *bounces) close() error {
	b.served.stop()
	for _, l := range b.listeners {
		_ = l.Close() // Serve has closed it, if it ran
	}
	return nil
}

// openBounces binds the address for bounces, unless it is bound. As long as no reports are sent,
// nothing can come back.
func (a *App) openBounces(c *change, cfg *config.Config) error {
	m := &cfg.Report.Mail
	old := a.bounces
	switch {
	case a.kept.store == nil || !cfg.Report.Sends() && old == nil || m.Bounces.Address == "":
		return nil
	case old != nil && (!cfg.Report.Sends() || old.at == m.Bounces && old.local == m.Bounce):
		c.bounces = old
		return nil
	}
	return a.begin(&c.steps, "bounces "+m.Bounces.Address, func() (undo func() error, err error) {
		listeners, err := sockets.Config{
			Address: m.Bounces.Address, Mode: fs.FileMode(m.Bounces.Mode), Group: string(m.Bounces.Group), Sockets: a.o.Sockets, ServerFirst: true,
		}.Listen()
		if err != nil {
			return nil, fmt.Errorf(`app: report.mail.bounces: %w; write another address, or "" if bounces are not to be heard`, err)
		}
		b := &bounces{at: m.Bounces, local: m.Bounce, listeners: listeners}
		b.served = newBackground(func(ctx context.Context) { a.serveBounces(ctx, b) })
		c.bounces = b
		return b.close, nil
	})
}

// serveBounces serves until ctx ends.
func (a *App) serveBounces(ctx context.Context, b *bounces) {
	echo := dispatch.NewEcho(a.kept.store, a.o.Now)
	echo.Failures = a.kept.failures.Address
	o := bounce.Options{
		Local: b.local, Log: a.log, Count: func(k bounce.Kind) { a.reports.Bounced(string(k)) },
		Known: echo.Known, Failed: echo.Failed,
	}
	ended := make(chan error, len(b.listeners))
	for _, l := range b.listeners {
		go func() { ended <- bounce.Serve(ctx, l, o) }()
	}
	for range b.listeners {
		if err := <-ended; err != nil {
			a.log.Error("bounces are no longer heard", "address", b.at.Address, "error", err)
		}
	}
}

// commitReports starts the sender and the fetcher of the new generation, and the new listeners for bounces.
func (a *App) commitReports(c *change) {
	old := a.bounces
	a.bounces = c.bounces
	if a.started {
		c.generation.sender.start()
		c.generation.fetcher.start()
		if a.bounces != nil {
			a.bounces.served.start()
		}
	}
	if old != nil && old != a.bounces {
		a.retiring.Go(func() { a.undo(step{"bounces " + old.at.Address, old.close}) })
	}
}
