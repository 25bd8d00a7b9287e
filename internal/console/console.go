// Package console makes the web pages on the admin address. They show what the daemon is
// doing, its decisions with the reasons, the DMARC reports, what the store remembers of past days, the hosts
// that share it, and the configuration in effect. The pages change nothing in the daemon.
//
// Every page, with its charts, is made on the server and works without JavaScript.
// JavaScript only renews the numbers, shows results while a search is typed, and copies
// texts. Text that a sender wrote cannot become markup: control characters are quoted,
// html/template escapes the text, and the content security policy lets the browser run only
// the script of this package.
package console

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/explain"
	"sekimori/internal/history/archive"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/stats"
	"sekimori/internal/status"
	"sekimori/internal/watchlist"
)

// csp is the content security policy. A page may load the style, script, icon and data
// of this server, the picture of a mark that the page itself holds, and nothing else. No other page may
// show this page in a frame.
const csp = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

//go:embed pages/*.html
var pages embed.FS

//go:embed static
var static embed.FS

// Running is the configuration in effect.
type Running struct {
	Text  string // the configuration as YAML, with secrets masked
	Hash  string
	Since time.Time
	// Refused says why the last reload was refused. It is "" if the reload was accepted.
	Refused string
}

// Options say where the pages get their data. Each function may be called at any time.
type Options struct {
	Status func() *status.Status
	// Decisions returns the Ring of decisions, or nil if the daemon does not remember
	// decisions.
	Decisions func() *recent.Ring
	// History returns what finds decisions in the store, or nil if there is no store. May be nil.
	History func() *archive.Reader
	// Host is the name of this host, as other hosts that share the store know it.
	Host string
	// Hosts returns the daemons that share the store, or nil if there is no store. May be nil.
	Hosts func() *status.Hosts
	// Try judges a message that was pasted into the console. TryOff says why it must not be called; it
	// returns "" if it may. Both may be nil.
	Try    func(context.Context, *explain.Stored) (*explain.Explanation, error)
	TryOff func() string
	// Watch returns the watch lists and what was seen of them. May be nil.
	Watch  func() []watchlist.List
	Rules  func() []policy.Rule
	Config func() Running
	// Marks returns at most so many marks of authors, and the roots. Mark returns one, or nil if it is not
	// known. Both may be nil.
	Marks func(most int) Marks
	Mark  func(bimi.Query) *bimi.Mark
	// Memory answers questions from the store. It is nil if there is no store.
	Memory *Memory
	Logger *slog.Logger
	Now    func() time.Time // nil means time.Now
}

// Console makes the web pages of the admin address.
type Console struct {
	o       Options
	history *timeline
	pages   map[string]*template.Template
	tries   limiter
	desk    desk
}

// New returns a Console. The caller must also call Run, which collects the history that the
// charts show.
func New(o Options) (*Console, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Console{o: o, history: newTimeline(), pages: map[string]*template.Template{}}
	layout, err := template.New("layout.html").Funcs(funcs()).ParseFS(pages, "pages/layout.html")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"overview", "decisions", "decision", "overrides", "reports", "marks", "hosts", "watch", "senders", "readiness", "try", "statistics", "config", "problem"} {
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(pages, "pages/"+name+".html")
		}
		if err != nil {
			return nil, err
		}
		c.pages[name] = page
	}
	return c, nil
}

// Handlers returns a handler of GET requests for each path.
func (c *Console) Handlers() map[string]http.Handler {
	h := map[string]http.Handler{
		"/{$}":             c.page("overview", "Overview", c.overview),
		"/decisions":       c.page("decisions", "Decisions", c.decisions),
		"/decision":        c.page("decision", "Decision", c.decision),
		"/overrides":       c.page("overrides", "Overrides", c.overrides),
		"/reports":         c.page("reports", "Reports", c.reports),
		"/marks":           c.page("marks", "Marks", c.marks),
		"/hosts":           c.page("hosts", "Hosts", c.hosts),
		"/watch":           c.page("watch", "Watch", c.watch),
		"/senders":         c.page("senders", "Senders", c.senders),
		"/readiness":       c.page("readiness", "Readiness", c.readiness),
		"/readiness.html":  c.file(c.readinessHTML),
		"/try":             c.page("try", "Try a message", c.tryForm),
		"/statistics":      c.page("statistics", "Statistics", c.statistics),
		"/statistics.html": c.file(c.statisticsHTML),
		"/statistics.csv":  c.file(c.statisticsCSV),
		"/config":          c.page("config", "Configuration", c.config),
		"/":                c.missing(),
	}
	for name, contentType := range map[string]string{
		"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8", "console.svg": "image/svg+xml",
	} {
		h["/"+name] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			data, err := static.ReadFile(path.Join("static", name))
			if err != nil {
				http.Error(w, "console: "+name+" is missing", http.StatusInternalServerError)
				return
			}
			if name == "console.css" {
				data = append(data, stats.ChartCSS()...)
			}
			secure(w.Header())
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(data) // an error means that the client has closed the connection
		})
	}
	return h
}

// Forms returns a handler of POST requests for each path.
func (c *Console) Forms() map[string]http.Handler {
	return map[string]http.Handler{"/try": c.page("try", "Try a message", c.try)}
}

// missing returns the handler of all paths that do not exist. Programs that ask for one get a line
// of text instead of a page.
func (c *Console) missing() http.Handler {
	page := c.page("problem", "Not found", func(*http.Request, *status.Status) (any, *problem) {
		return nil, &problem{
			http.StatusNotFound, "There is no such page.", "The address may be mistyped, or from another version of sekimori.",
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/debug/") {
			http.NotFound(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// view is the data from which the layout of every page is made.
type view struct {
	Page   string
	Title  string
	Now    time.Time
	Status *status.Status
	Body   any
}

// problem is shown instead of a page that cannot be made for the request.
type problem struct {
	code int
	Text string
	Hint string
}

// page returns a handler that makes the page called name. `body` returns the data of the
// page. If `body` returns a problem, the problem is shown instead.
func (c *Console) page(name, title string, body func(*http.Request, *status.Status) (any, *problem)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := view{Page: name, Title: title, Now: c.o.Now()}
		code, tmpl := http.StatusOK, c.pages[name]
		s := c.o.Status()
		v.Status = s
		var p *problem
		if v.Body, p = body(r, s); p != nil {
			code, tmpl, v.Body = p.code, c.pages["problem"], p
		}
		var out bytes.Buffer
		if err := tmpl.Execute(&out, v); err != nil {
			c.o.Logger.Error("console", "page", name, "error", err)
			http.Error(w, "console: the page cannot be made; the log says why", http.StatusInternalServerError)
			return
		}
		secure(w.Header())
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(code)
		_, _ = w.Write(out.Bytes()) // an error means that the client has closed the connection
	})
}
