package app

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/config"
	"sekimori/internal/console"
	"sekimori/internal/dns"
	"sekimori/internal/indicators"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/status"
	"sekimori/internal/telemetry"
	"sekimori/internal/webfetch"
)

// maxMarkFile is the largest size of a file of bimi.roots or bimi.ct_logs, in octets.
const maxMarkFile = 1 << 20

// MarkRules returns by which rules mark certificates are judged. It reads the files of bimi.roots and
// bimi.ct_logs.
func MarkRules(cfg *config.Config) (mark.Rules, error) {
	r := mark.Rules{Pilot: cfg.BIMI.Pilot, Logs: mark.BuiltinLogs()}
	for _, t := range cfg.BIMI.MarkTypes {
		r.Types = append(r.Types, string(t))
	}
	for i, path := range cfg.BIMI.Roots {
		roots, err := readRoots(path)
		if err != nil {
			return r, fmt.Errorf("app: bimi.roots[%d]: %w", i, err)
		}
		r.Roots = append(r.Roots, roots...)
	}
	if len(cfg.BIMI.Roots) == 0 {
		r.Roots = mark.BuiltinRoots()
	}
	for i, path := range cfg.BIMI.CTLogs {
		log, err := readLog(path)
		if err != nil {
			return r, fmt.Errorf("app: bimi.ct_logs[%d]: %w", i, err)
		}
		r.Logs = append(r.Logs, log)
	}
	return r, nil
}

func readRoots(path string) ([]*x509.Certificate, error) {
	text, err := config.ReadFile(path, maxMarkFile)
	if err != nil {
		return nil, err
	}
	roots, err := mark.ParseRoots(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roots, nil
}

func readLog(path string) (mark.Log, error) {
	text, err := config.ReadFile(path, maxMarkFile)
	if err != nil {
		return mark.Log{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return mark.Log{}, fmt.Errorf("%s: there is no PEM block PUBLIC KEY in it", path)
	}
	log, err := mark.ParseLog(path, base64.StdEncoding.EncodeToString(block.Bytes))
	if err != nil {
		return mark.Log{}, fmt.Errorf("%s: %w", path, err)
	}
	return log, nil
}

// NewMarkJudge returns what fetches and judges marks by the configuration. fetch may change how it
// connects; only tests do. It may be nil.
func NewMarkJudge(cfg *config.Config, r dns.Resolver, version string, fetch func(*webfetch.Options)) (*indicators.Judge, error) {
	rules, err := MarkRules(cfg)
	if err != nil {
		return nil, err
	}
	var trusted []netip.Prefix
	for _, n := range cfg.Trusted.Networks {
		trusted = append(trusted, n.Prefix)
	}
	o := webfetch.Options{Resolver: r, UserAgent: "sekimori/" + version + " (BIMI)", Guard: webfetch.Public(trusted)}
	if fetch != nil {
		fetch(&o)
	}
	return &indicators.Judge{
		Fetch: webfetch.New(o).Fetch, Marks: rules, RequireCertificate: cfg.BIMI.RequireCertificate, Lists: indicators.NewLists(),
	}, nil
}

// markParts are what marks need and what outlives a reload.
type markParts struct {
	lists  *indicators.Lists
	counts *indicators.Counts
	web    *telemetry.Web
	store  bimi.Store // nil without a store
}

func newMarkParts(reg prometheus.Registerer, ends func() (root, certificate time.Time)) markParts {
	p := markParts{lists: indicators.NewLists(), counts: &indicators.Counts{}, web: telemetry.NewWeb(reg)}
	telemetry.RegisterMarks(reg, p.counts, ends)
	return p
}

// indicators returns the marks as the verifier needs them: nil, and not a nil pointer, if they are off.
func (g *generation) indicators() bimi.Indicators {
	if g.marks == nil {
		return nil
	}
	return g.marks
}

// openMarks makes what fetches the marks of a generation. It runs from commit until the next generation
// comes into effect.
func (a *App) openMarks(g, old *generation, log *slog.Logger) (undo func() error, err error) {
	judge, err := NewMarkJudge(g.cfg, g.resolver, a.o.Version, func(o *webfetch.Options) {
		o.Done = a.marks.web.Fetched
		if a.o.Fetch != nil {
			a.o.Fetch(o)
		}
	})
	if err != nil {
		return nil, err
	}
	judge.Lists = a.marks.lists
	o := indicators.Options{
		Judge: judge, Now: a.o.Now, Log: log, Store: a.marks.store, Wait: time.Duration(g.cfg.BIMI.Wait), Counts: a.marks.counts,
		Always: alwaysFetched(g.cfg.BIMI.Always), Panicked: func(any) { a.metrics.Panicked(telemetry.PanicMarks) },
	}
	if a.kept.store != nil {
		o.Established = a.established
	}
	if old != nil {
		o.Before = old.marks
	}
	g.marks = indicators.New(o)
	g.fetcher = newBackground(g.marks.Run)
	return always(g.fetcher.stop), nil
}

// established reports whether the store has seen enough of a domain, as the sender of reports asks of a
// domain that it writes to. A pass counts, and not mail that only names the domain.
func (a *App) established(ctx context.Context, q bimi.Query) (bool, error) {
	today := report.DayOf(a.o.Now())
	var failed error
	for _, domain := range []dns.Name{q.Organization, q.Domain} {
		seen, err := a.kept.store.Seen(ctx, domain, today)
		if err == nil && seen.Passing(today) {
			return true, nil
		}
		failed = errors.Join(failed, err)
		if q.Organization == q.Domain {
			break
		}
	}
	return false, failed
}

// alwaysFetched returns the function that says whether a domain is on the list bimi.always.
func alwaysFetched(list []config.Pattern) func(dns.Name) bool {
	return func(domain dns.Name) bool {
		for _, p := range list {
			if policy.Pattern(p).Matches(domain) {
				return true
			}
		}
		return false
	}
}

// markStanding returns what the status says about marks, or nil if they are off.
func (a *App) markStanding() *status.Marks {
	marks := a.generation().marks
	if marks == nil {
		return nil
	}
	s := &status.Marks{Roots: []status.MarkRoot{}}
	s.Shown, s.Refused = marks.Size()
	for _, r := range marks.Roots() {
		s.Roots = append(s.Roots, status.MarkRoot{Name: r.Name, Ends: r.Ends.UTC()})
	}
	if _, end := marks.Ends(); !end.IsZero() {
		end = end.UTC()
		s.FirstEnd = &end
	}
	return s
}

// knownMarks returns the marks in memory for the console.
func (a *App) knownMarks(most int) console.Marks {
	marks := a.generation().marks
	if marks == nil {
		return console.Marks{}
	}
	return console.Marks{Known: marks.Known(most), Roots: marks.Roots()}
}

// mark returns a mark in memory, or nil.
func (a *App) mark(q bimi.Query) *bimi.Mark {
	marks := a.generation().marks
	if marks == nil {
		return nil
	}
	return marks.Mark(q)
}

// markEnds returns when the first root and the first certificate of a known mark end, for the metrics.
func (a *App) markEnds() (root, certificate time.Time) {
	a.mu.Lock()
	g := a.current
	a.mu.Unlock()
	if g == nil || g.marks == nil {
		return root, certificate
	}
	return g.marks.Ends()
}
