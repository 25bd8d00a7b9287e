package indicators

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
	"sekimori/internal/webfetch"
)

// picture is a valid one. Its size can be chosen.
func picture(size int) string {
	const head = `<svg xmlns="http://www.w3.org/2000/svg" version="1.2" baseProfile="tiny-ps" viewBox="0 0 10 10"><title>a</title><desc>`
	const tail = `</desc><circle cx="5" cy="5" r="4"/></svg>`
	return head + strings.Repeat("x", max(0, size-len(head)-len(tail))) + tail
}

// world has a web that answers as the test wants.
type world struct {
	*Indicators
	t    *testing.T
	o    Options
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	fetched []string // the URLs, in order
	web     func(ctx context.Context, kind webfetch.Kind, url string) ([]byte, error)
}

var (
	errDown = &webfetch.Error{Result: webfetch.NoServer, Temporary: true, Err: errors.New("connection refused")}
	errGone = &webfetch.Error{Result: webfetch.BadStatus, Err: errors.New("the server answered with status 404")}
)

// newWorld starts Indicators that judge marks without certificates. Every domain is established.
func newWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, web: func(context.Context, webfetch.Kind, string) ([]byte, error) { return []byte(picture(200)), nil }}
	w.o = Options{
		Judge: &Judge{Fetch: w.fetch, Lists: NewLists()}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Counts: &Counts{},
		Established: func(context.Context, bimi.Query) (bool, error) { return true, nil },
	}
	if change != nil {
		change(&w.o)
	}
	w.start()
	t.Cleanup(w.end)
	return w
}

func (w *world) fetch(ctx context.Context, kind webfetch.Kind, url string) ([]byte, error) {
	if strings.HasSuffix(url, ".svg") != (kind == webfetch.Picture) {
		w.t.Errorf("%s is fetched as a %s", url, kind)
	}
	w.mu.Lock()
	w.fetched = append(w.fetched, url)
	web := w.web
	w.mu.Unlock()
	return web(ctx, kind, url)
}

func (w *world) answers(f func(ctx context.Context, kind webfetch.Kind, url string) ([]byte, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.web = f
}

// start runs Indicators, as a start of the daemon does, or a reload if there were some before.
func (w *world) start() {
	w.Indicators = New(w.o)
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.done = cancel, make(chan struct{})
	go func() {
		defer close(w.done)
		w.Run(ctx)
	}()
	w.settle()
}

func (w *world) end() {
	w.stop()
	<-w.done
	if n := len(w.queue); n != 0 {
		w.t.Errorf("%d marks still wait after the end", n)
	}
}

// settle waits until all work that needs no time is done.
func (w *world) settle() {
	synctest.Wait()
}

// query asks for the mark of a domain.
func query(domain string) bimi.Query {
	d := dns.Name(domain)
	org := d
	if parts := strings.Split(domain, "."); len(parts) > 2 {
		org = dns.Name(strings.Join(parts[len(parts)-2:], "."))
	}
	return bimi.Query{Domain: d, Selector: "default", Organization: org, Location: "https://" + domain + "/logo.svg"}
}

// want asks for the mark of a domain and compares the answer.
func (w *world) want(domain, want string) {
	w.t.Helper()
	a := w.Find(w.t.Context(), query(domain))
	got := strings.TrimSpace(fmt.Sprint(a.Result, " ", a.Reason))
	if got != want || a.Authority != bimi.AuthorityNone || (a.Result == bimi.Pass) != (a.Mark != nil) {
		w.t.Errorf("%s: %q, want %q: %+v", domain, got, want, a)
	}
}

// fetches compares how often something was fetched.
func (w *world) fetches(want int) {
	w.t.Helper()
	w.settle()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.fetched) != want {
		w.t.Errorf("%d fetches, want %d: %q", len(w.fetched), want, w.fetched)
	}
}

// in runs a test with the time of a bubble.
func in(t *testing.T, change func(*Options), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		test(w)
		w.end()
	})
}
