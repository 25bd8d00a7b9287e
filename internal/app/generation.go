package app

import (
	"log/slog"
	"net/netip"
	"time"

	"sekimori/internal/admin"
	"sekimori/internal/config"
	"sekimori/internal/filter"
	"sekimori/internal/indicators"
	"sekimori/internal/milter"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/resolver"
	"sekimori/internal/telemetry"
	"sekimori/internal/topology"
)

// generation is one configuration with everything that was made from it to handle messages. A
// generation replaces the one before it as a whole. Messages that began under the old generation
// are handled by it until they end.
type generation struct {
	cfg      *config.Config
	log      slog.Handler
	resolver *resolver.Resolver
	rules    policy.Config
	warnings error // names the rules that have no effect, for example expired ones; nil if there are none
	advice   []string
	recent   *recent.Ring // the recent decisions; nil if none are remembered
	options  filter.Options
	sender   *background             // of reports; nil without a store
	marks    *indicators.Indicators  // nil unless bimi.enabled
	fetcher  *background             // of marks; nil unless bimi.enabled
	country  func(netip.Addr) string // nil without geo.country or without a store
	// steps has an entry for everything that build opened. The steps are undone when the last
	// message of the generation has ended, or at once if the generation never comes into effect.
	steps []step
}

// build makes a generation of cfg and reads the files that cfg names. It returns the first error
// that it finds. It binds no addresses (prepare binds them), and messages are not affected yet.
// old is the generation in effect, or nil at the start. The new generation may use the DNS cache
// and the recent decisions of old. build calls the function "reading" before it reads a file, so
// that a caller who stops waiting can say which file cannot be read.
func (a *App) build(cfg *config.Config, old *generation, reading func(string)) (_ *generation, err error) {
	g := &generation{cfg: cfg}
	defer func() {
		if err != nil {
			a.unwind(&g.steps)
		}
	}()
	logger, err := telemetry.NewLogger(a.logOut, cfg.Log.Format, cfg.Log.Level)
	if err != nil {
		return nil, err
	}
	g.log = logger.Handler()
	if err := checkFiles(cfg); err != nil {
		return nil, err
	}
	reading(resolver.ResolvConf)
	err = a.begin(&g.steps, "DNS resolver", func() (undo func() error, err error) {
		g.resolver, err = a.newResolver(cfg, old)
		return always(g.resolver.Close), err
	})
	if err != nil {
		return nil, err
	}
	reading("the files of policy.overrides")
	rules, err := cfg.Rules(config.LoadRules)
	if err != nil {
		return nil, err
	}
	g.rules = rules.Policy
	g.warnings, g.advice = rules.Warnings(a.o.Now()), Advice(cfg)
	if text := a.descriptorAdvice(cfg); text != "" {
		g.advice = append(g.advice, text)
	}
	reading("shadow " + cfg.Shadow)
	shadow, err := Shadow(cfg)
	if err != nil {
		return nil, err
	}
	reading("the files of bimi")
	if cfg.BIMI.Enabled {
		err = a.begin(&g.steps, "marks", func() (undo func() error, err error) { return a.openMarks(g, old, logger) })
		if err != nil {
			return nil, err
		}
	}
	reading("geo.country " + cfg.Geo.Country)
	if a.kept.rows != nil {
		if g.country, err = Countries(cfg, logger); err != nil {
			return nil, err
		}
	}
	reading("dmarc.psl_file " + cfg.DMARC.PSLFile)
	verifier, err := NewVerifier(cfg, g.resolver, shownWait(cfg, g.rules, shadow), g.indicators())
	if err != nil {
		return nil, err
	}
	g.recent = newRecent(cfg, old)
	judge := newJudge(cfg, verifier, g.rules, shadow)
	if a.kept.usual != nil && (g.rules.Learned != policy.LearnedOff || shadow != nil && shadow.Learned != policy.LearnedOff) {
		judge.Learn = a.kept.usual.Signs
	}
	g.options = filter.Options{
		Judge: judge, Topology: a.topology,
		Observers: append(g.observers(a.metrics, logger), a.observersForAll()...), ProbeObservers: g.probeObservers(a.metrics, logger),
		Retired: func() { a.retiring.Go(func() { a.unwind(&g.steps) }) },
	}
	reading("policy.recipients.file " + cfg.Policy.Recipients.File)
	err = a.begin(&g.steps, "recipients' consent", func() (undo func() error, err error) { return g.openRecipients(a.metrics, logger) })
	if err != nil {
		return nil, err
	}
	reading("the files of report.mail")
	err = a.begin(&g.steps, "sender of reports", func() (undo func() error, err error) { return a.openSender(g, logger) })
	if err != nil {
		return nil, err
	}
	reading("admin.web_config " + cfg.Admin.WebConfig)
	if cfg.Admin.Listen != "" {
		if err := admin.Check(cfg.Admin.WebConfig); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// shownWait returns how long a message waits for results that do not decide its verdict and only
// appear in its label. If the policy or the candidate has a rule that can look at any result, all
// results may decide the verdict, so the wait is the whole dns.message_budget.
func shownWait(cfg *config.Config, rules policy.Config, shadow *policy.Config) time.Duration {
	switch {
	case rules.WantsAll(), shadow != nil && shadow.WantsAll():
		return time.Duration(cfg.DNS.MessageBudget)
	case cfg.Limits.ShownWait == 0:
		return -1
	}
	return time.Duration(cfg.Limits.ShownWait)
}

// observers returns the observers that get every decision: the metrics, the log, and the recent
// decisions if they are remembered.
func (g *generation) observers(metrics *telemetry.Metrics, log *slog.Logger) []filter.Observer {
	private := g.cfg.Log.Privacy == config.PrivacyLocalParts
	out := []filter.Observer{metrics, telemetry.Records{Log: log, MaskLocalParts: private}}
	switch {
	case g.recent != nil && private:
		out = append(out, telemetry.Masker{To: g.recent})
	case g.recent != nil:
		out = append(out, g.recent)
	}
	return out
}

// observersForAll returns the observers that all generations share.
func (a *App) observersForAll() []filter.Observer {
	out := []filter.Observer{a.unknown, a.watcher}
	if a.kept.rows != nil {
		out = append(out, a.kept.rows, a.kept.history.keeper)
	}
	return out
}

// probeObservers returns the observers of the messages of "sekimori probe": one series and the log.
func (g *generation) probeObservers(metrics *telemetry.Metrics, log *slog.Logger) []filter.Observer {
	private := g.cfg.Log.Privacy == config.PrivacyLocalParts
	return []filter.Observer{telemetry.Probes{Metrics: metrics}, telemetry.Records{Log: log, MaskLocalParts: private, Probe: true}}
}

// newResolver makes the resolver of cfg. The new resolver uses the cache of the old generation,
// unless the settings of the cache or dns.trust_ad changed. A change of dns.trust_ad would change
// what the AD bits in the cache mean.
func (a *App) newResolver(cfg *config.Config, old *generation) (_ *resolver.Resolver, err error) {
	defer func() {
		if err != nil && len(cfg.DNS.Servers) == 0 {
			err = noServers(err)
		}
	}()
	o := resolverConfig(cfg, a.resolverPanicked)
	o.Client.OnServers = a.serversChanged
	if old != nil && old.cfg.DNS.Cache == cfg.DNS.Cache && old.cfg.DNS.TrustAD == cfg.DNS.TrustAD {
		return old.resolver.With(o.Client)
	}
	return resolver.NewWithMetrics(o, a.dnsMetrics)
}

// change is a generation that is ready to come into effect, with its sockets and its admin
// server.
type change struct {
	generation *generation
	sockets    []*socket // all sockets of the new configuration
	opened     []*socket // those elements of sockets that are newly opened
	admin      *admin.Server
	newAdmin   bool
	bounces    *bounces // nil if bounces are not heard
	steps      []step   // what prepare opened
}

// prepare binds the addresses of g. The running daemon does not change. On error prepare closes g
// and everything that prepare itself opened.
func (a *App) prepare(g *generation) (_ *change, err error) {
	c, cfg := &change{generation: g}, g.cfg
	defer func() {
		if err != nil {
			a.discard(c)
		}
	}()
	if err := a.openSockets(c, cfg.Listen); err != nil {
		return nil, err
	}
	if err := a.openAdmin(c, cfg.Admin); err != nil {
		return nil, err
	}
	if err := a.openBounces(c, cfg); err != nil {
		return nil, err
	}
	return c, nil
}

func (a *App) discard(c *change) {
	a.unwind(&c.steps)
	a.unwind(&c.generation.steps)
	if a.current != nil {
		a.current.resolver.Show()
	}
}

// openAdmin binds the admin address. If admin.listen has not changed, the running server is kept.
// That server reads its web configuration file again for every connection.
func (a *App) openAdmin(c *change, cfg config.Admin) error {
	switch {
	case cfg.Listen == "":
		c.newAdmin = a.admin != nil
		return nil
	case a.admin != nil && a.current.cfg.Admin.Listen == cfg.Listen:
		c.admin = a.admin
		return nil
	}
	c.newAdmin = true
	return a.begin(&c.steps, "admin address", func() (undo func() error, err error) {
		c.admin, err = admin.New(admin.Options{
			Listen: cfg.Listen, WebConfig: cfg.WebConfig, Gatherer: a.o.Registry, Ready: a.Ready, Logger: a.log,
			Handlers: a.inspect(), Forms: a.console.Forms(),
		})
		return adminStep(c.admin).undo, err
	})
}

// commit puts the change c into effect. It cannot fail. A message is handled either by the old
// generation or by the new one. The caller must hold a.mu, except in New.
func (a *App) commit(c *change) {
	cfg := c.generation.cfg
	a.logTo.Set(c.generation.log)
	if a.o.MemoryAllotted != nil {
		a.o.MemoryAllotted(allotted(cfg))
	}
	if a.current != nil {
		a.current.sender.end()
		a.current.fetcher.end()
		a.filter.Swap(c.generation.options)
	}
	if a.kept.rows != nil {
		settings := collectSettings(cfg)
		settings.Country = c.generation.country
		a.kept.rows.Set(settings)
		a.kept.keeper.SetMaxDomains(int64(cfg.Ledger.MaxDomains))
		a.kept.history.keeper.Set(historySettings(cfg))
	}
	l := limits(cfg)
	a.metrics.LimitsLoaded(l.MaxSessions, l.Memory)
	a.server.Set(milter.Settings{Limits: l, ReplyAt: a.filter.ReplyAt(), OnPanic: filter.OnPanic(c.generation.rules)})
	a.current = c.generation
	a.since = a.o.Now()
	switch {
	case c.generation.rules.Mode != policy.Monitor:
		a.monitorSince = time.Time{}
	case a.monitorSince.IsZero():
		a.monitorSince = a.since
	}
	a.topology.Set(topology.FewDescriptors, a.descriptorAdvice(cfg) != "")

	kept := map[*socket]bool{}
	for _, s := range c.sockets {
		kept[s] = true
	}
	for _, s := range c.opened {
		if a.started {
			a.serve(s)
		}
	}
	for _, s := range a.sockets {
		if !kept[s] {
			a.undo(s.step())
		}
	}
	a.sockets = c.sockets
	if c.newAdmin {
		old := a.admin
		a.admin = c.admin
		if a.admin != nil && a.started {
			a.admin.Start()
		}
		if old != nil {
			a.retiring.Go(func() { a.undo(adminStep(old)) })
		}
	}
	a.commitReports(c)
	a.metrics.RulesLoaded(c.generation.rules.Rules)
	a.metrics.Watching(watchNames(cfg))
	a.watcher.Set(cfg.WatchLists())
	if c.generation.warnings != nil {
		a.log.Warn("useless rules", "error", c.generation.warnings)
	}
	for _, text := range c.generation.advice {
		a.log.Warn("configuration", "advice", text)
	}
	a.metrics.ConfigLoaded(cfg.Hash(), c.generation.rules.Mode, a.since)
}

// ownMemory is how much memory the process needs for everything except connections and the DNS
// cache: code, metrics, log and console.
const ownMemory = 128 << 20

// allotted returns how much memory the configuration allows the process, in octets; 0 means no
// limit.
func allotted(cfg *config.Config) int64 {
	if cfg.Limits.Memory == 0 {
		return 0
	}
	return int64(cfg.Limits.Memory) + int64(cfg.DNS.Cache.Size) + ownMemory
}
