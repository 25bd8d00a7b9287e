package deploy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browserTime is the longest time that a browser may run.
const browserTime = 4 * time.Minute

// browser is a headless Chromium with one tab. It records faults of the pages, such as script
// errors; see watch.
type browser struct {
	ctx context.Context

	mu      sync.Mutex
	origin  string // requests to any other origin are recorded as faults
	trouble []string
}

func newBrowser(t *testing.T, origin string) *browser {
	t.Helper()
	need(t, "chromium", "chromium")
	ctx, cancel := context.WithTimeout(t.Context(), browserTime)
	t.Cleanup(cancel)
	alloc, stop := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath("chromium"), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WSURLReadTimeout(browserTime))
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(alloc)
	t.Cleanup(closeTab)
	t.Cleanup(func() { _ = chromedp.Cancel(tab) }) // Chromium must end before its directory is removed
	b := &browser{ctx: tab, origin: origin}
	if err := chromedp.Listen(tab, b.watch); err != nil {
		t.Fatalf("browser: %v", err)
	}
	send(t, b, network.Enable, network.EnableParams{})
	send(t, b, log.Enable, cdp.Empty{})
	send(t, b, page.Enable, page.EnableParams{})
	send(t, b, runtime.Enable, cdp.Empty{})
	return b
}

// watch records a fault if an event of the tab shows one.
func (b *browser) watch(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	note := func(format string, args ...any) { b.trouble = append(b.trouble, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		note("exception: %s", e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || e.Entry.Level == log.EntryLevelError {
			note("%s %s: %s", e.Entry.Source, e.Entry.Level, e.Entry.Text)
		}
	case *page.EventJavascriptDialogOpening:
		note("dialog: %s", e.Message)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.origin+"/") {
			note("request to %s", e.Request.URL)
		}
	}
}

// noted returns the faults that were recorded since the last call.
func (b *browser) noted() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.trouble
	b.trouble = nil
	return out
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		t.Fatalf("browser: %v", err)
	}
}

// send sends a command of the DevTools protocol.
func send[P, R any](t *testing.T, b *browser, command cdp.Command[P, R], params P) R {
	t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		t.Fatalf("browser: %s: %v", command.Method, err)
	}
	return result
}

func (b *browser) open(t *testing.T, path string) {
	t.Helper()
	b.do(t, chromedp.Navigate(b.origin+path), chromedp.WaitReady(chromedp.CSS("h1")))
}

// eval evaluates a JavaScript expression in the page. It works even while scripts of the page are
// switched off.
func eval[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	out, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return out
}

// until waits until a JavaScript expression is true.
func (b *browser) until(t *testing.T, expression string) {
	t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		t.Fatalf("%s: %v\n%s", expression, err, eval[string](t, b, "document.body.innerText"))
	}
}

// look sets the width of the window and the colour scheme (light or dark).
func (b *browser) look(t *testing.T, width int64, scheme string) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, 900))
	send(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

func (b *browser) scripts(t *testing.T, on bool) {
	t.Helper()
	send(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// TestBrowserSeesTrouble checks that browser records faults when they happen. Otherwise a page
// without recorded faults would prove nothing.
func TestBrowserSeesTrouble(t *testing.T) {
	var body atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><link rel=icon href='data:,'><h1>x</h1>", body.Load())
	}))
	defer server.Close()
	b := newBrowser(t, server.URL)
	for _, tt := range []struct{ body, want string }{
		{"<script>alert(1)</script>", "inline script"},
		{"<p style='color:red'>x</p>", "inline style"},
		{"<img src=x onerror=alert(1)>", "Content Security Policy"},
	} {
		body.Store(tt.body)
		b.open(t, "/")
		if got := strings.Join(b.noted(), "\n"); !strings.Contains(got, tt.want) {
			t.Errorf("%s: noted %q, want %q", tt.body, got, tt.want)
		}
	}
	b.look(t, 390, "light")
	body.Store("<main><p>text</p></main>")
	b.open(t, "/")
	if eval[bool](t, b, "document.documentElement.scrollWidth > innerWidth") || len(eval[[]string](t, b, faint)) > 0 {
		t.Error("a plain page is found at fault")
	}
	eval[any](t, b, "document.querySelector('p').style.color = '#888'")
	if len(eval[[]string](t, b, faint)) != 1 {
		t.Error("grey on white is not found")
	}
}

// faint is a JavaScript expression. Its value is a list of the texts whose contrast is too low by
// WCAG 2.2 AA: below 4.5, or below 3 for large text.
const faint = `(() => {
  const rgba = c => { const n = c.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = c => { const [r, g, b] = rgba(c).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (rgba(c)[3] > 0) return c; } return "rgb(255, 255, 255)"; };
  const bad = [], all = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; n = all.nextNode();) {
    const e = n.parentElement;
    if (!n.data.trim() || e.closest("svg, script, option") || !e.getClientRects().length) continue;
    const s = getComputedStyle(e), size = parseFloat(s.fontSize);
    const [a, b] = [light(s.color), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05), wanted = size >= 24 || size >= 18.66 && s.fontWeight >= 700 ? 3 : 4.5;
    if (ratio < wanted) bad.push(n.data.trim().slice(0, 40) + ": " + ratio.toFixed(2));
  }
  return bad;
})()`
