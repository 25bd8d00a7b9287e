package deploy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"flag"
	"fmt"
	"image/png"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
)

var update = flag.Bool("update", false, "take the handbook's screenshot of the console anew, after some minutes of mail")

// screenshot is the picture of the console in docs/operate.md.
const (
	screenshot         = "console.png"
	maxScreenshotBytes = 200_000
)

// hostileMail has a script or an HTML tag in every place that a sender can choose and the console
// shows. If one of them ran, it would call pwned. The daemon does not keep a malformed selector or
// algorithm, so the tags in s= and a= do not reach the console. Therefore h= has such a tag too.
const hostileMail = "From: \"<script>pwned()</script>\" <author@none.example>\r\n" +
	"DKIM-Signature: v=1; a=rsa-sha256; d=none.example; s=<img/src=x/onerror=pwned()>; h=from; bh=AAAA; b=AAAA\r\n" +
	"DKIM-Signature: v=1; a=<img/src=x/onerror=pwned()>; d=none.example; s=s; h=from:<img/src=x/onerror=pwned()>; bh=AAAA; b=AAAA\r\n" +
	"Subject: <script>pwned()</script>\r\n\r\nHello.\r\n"

// sendHostile sends hostileMail, with a script in HELO and a tag in MAIL FROM.
func (d *daemon) sendHostile(t *testing.T) {
	t.Helper()
	peer := mta.Peer{Addr: netip.MustParseAddrPort("198.51.100.7:25000"), HELO: "<script>pwned()</script>"}
	if _, err := mta.Send("unix", d.socket, peer,
		client.Envelope{From: `<"<svg/onload=pwned()>"@none.example>`, To: []string{"<reader@rcpt.example>"}, QueueID: "4QHOSTILE"},
		[]byte(hostileMail)); err != nil {
		t.Fatal(err)
	}
}

// TestConsole opens the console of a running daemon in Chromium.
func TestConsole(t *testing.T) {
	need(t, "go", "golang-go")
	need(t, "chromium", "chromium")
	ctx, cancel := context.WithTimeout(t.Context(), browserTime+updateTime())
	defer cancel()
	d, key := startMX(t, ctx, build(t), `
bimi: {enabled: true}
watch: [{name: banks, domains: [good.example, quarantine.example], lookalikes: true}]
store: {url: "sqlite:`+filepath.Join(t.TempDir(), "sekimori.db")+`"}
history: {what: all}
policy:
  overrides:
    - {id: alumni-forwarding, owner: postmaster@rcpt.example, reason: "<script>pwned()</script>", expires: 2099-06-30,
       when: {client: [203.0.113.0/24]}, then: accept}
`)
	d.traffic(t, key)
	d.sendHostile(t)
	if *update {
		d.minutesOfMail(t, key)
		newBrowser(t, "http://"+d.admin).checkScreenshot(t)
		return // the other checks would not fit this mail
	}
	b := newBrowser(t, "http://"+d.admin)
	t.Run("pages", func(t *testing.T) { b.checkPages(t, consolePages) })
	t.Run("hostile values", func(t *testing.T) { b.checkHostile(t) })
	t.Run("search", func(t *testing.T) { b.checkSearch(t) })
	t.Run("keyboard", func(t *testing.T) { b.checkKeyboard(t) })
	t.Run("refresh", func(t *testing.T) { b.checkRefresh(t, d) })
	t.Run("copy", func(t *testing.T) { b.checkCopy(t, d) })
	t.Run("watch", func(t *testing.T) { b.checkWatch(t) })
	t.Run("history", func(t *testing.T) { b.checkHistory(t, d) })
	t.Run("try", func(t *testing.T) { b.checkTry(t, d, key) })
	t.Run("axe-core", func(t *testing.T) { b.checkAxe(t, consolePages) })
	t.Run("screenshot", func(t *testing.T) { b.checkScreenshot(t) })
	t.Run("stale", func(t *testing.T) { b.checkStale(t, d) }) // it stops the daemon
}

var consolePages = []string{"/", "/?span=24h", "/decisions", "/decision?queue_id=4QHOSTILE",
	"/decision?queue_id=4Qgood.example", "/overrides", "/reports", "/marks", "/hosts", "/watch", "/try",
	"/statistics", "/senders", "/senders?domain=good.example", "/readiness", "/config", "/decision?id=none", "/nowhere"}

// checkPages opens each page with and without scripts, in several widths, and with light and dark
// colours.
func (b *browser) checkPages(t *testing.T, paths []string) {
	for _, scripts := range []bool{true, false} {
		b.scripts(t, scripts)
		for _, path := range paths {
			b.open(t, path)
			button := eval[bool](t, b, "document.querySelector('#refresh button') !== null")
			if live := eval[bool](t, b, "document.querySelector('main [data-live]') !== null"); button != (scripts && live) {
				t.Errorf("%s: scripts %t, a button that needs them: %t", path, scripts, button)
			}
			for _, width := range []int64{320, 390, 1280} {
				for _, scheme := range []string{"light", "dark"} {
					b.look(t, width, scheme)
					where := fmt.Sprintf("%s, scripts %t, %d px, %s", path, scripts, width, scheme)
					if wide := eval[int](t, b, "document.documentElement.scrollWidth"); wide > int(width) {
						t.Errorf("%s: the page is %d px wide", where, wide)
					}
					if bad := eval[[]string](t, b, faint); len(bad) > 0 {
						t.Errorf("%s: too little contrast: %q", where, bad)
					}
					if dark := eval[string](t, b, "getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"; dark != (scheme == "dark") {
						t.Errorf("%s: dark is %t", where, dark)
					}
				}
			}
			// The browser itself records the status 404 of a page that does not exist.
			for _, p := range b.noted() {
				if path != "/decision?id=none" && path != "/nowhere" || !strings.Contains(p, "404") {
					t.Errorf("%s: %s", path, p)
				}
			}
		}
	}
	b.scripts(t, true)
}

// checkHostile checks that the pages show what strangers wrote as text, and that no script in it
// ran.
func (b *browser) checkHostile(t *testing.T) {
	for _, tt := range []struct {
		path string
		want []string
	}{
		{"/decision?queue_id=4QHOSTILE", []string{"<script>pwned()</script>", "<svg/onload=pwned()>", "<img/src=x/onerror=pwned()>"}},
		{"/overrides", []string{"<script>pwned()</script>"}},
		{"/config", []string{"<script>pwned()</script>"}},
		{"/decisions?q=%22%3E%3Cscript%3Epwned()%3C/script%3E", nil},
	} {
		b.open(t, tt.path)
		text := eval[string](t, b, "document.body.innerText")
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not show %s:\n%s", tt.path, want, text)
			}
		}
		if n := eval[int](t, b, "document.querySelectorAll('main script, main img, main [onload], main [onerror]').length"); n > 0 {
			t.Errorf("%s: %d of what strangers wrote are elements", tt.path, n)
		}
	}
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

const rows = "[...document.querySelectorAll('.rows tbody tr')].map(r => r.querySelector('code').textContent).join(' ')"

func (b *browser) checkSearch(t *testing.T) {
	b.look(t, 1280, "light")
	for _, tt := range []struct{ typed, want string }{
		{"4Qnone.example", "4Qnone.example"},
		{"quarantine.example", "4Qquarantine.example"},
		{"198.51.100.7", "4QHOSTILE"},
		{`<"<svg/onload=pwned()>"@none.example>`, "4QHOSTILE"},
		{"<script>pwned()</script>", ""},
	} {
		// With scripts, the list changes while the user types, and the text and the focus stay in
		// the search field.
		b.open(t, "/decisions")
		b.do(t, chromedp.SendKeys(chromedp.CSS("#q"), tt.typed))
		b.until(t, fmt.Sprintf("%s === %q", rows, tt.want))
		if got := eval[string](t, b, "new URL(location).searchParams.get('q') + ' ' + document.activeElement.id"); got != tt.typed+" q" {
			t.Errorf("after typing %q: %q", tt.typed, got)
		}
		// Without scripts, the search starts when the user presses Enter.
		b.scripts(t, false)
		b.open(t, "/decisions")
		loaded := func(page.EventLoadEventFired) bool { return true }
		if _, err := chromedp.Run(b.ctx, chromedp.WaitEvent(page.LoadEventFired, loaded, chromedp.SendKeys(chromedp.CSS("#q"), tt.typed+kb.Enter))); err != nil {
			t.Fatalf("no page after Enter: %v", err)
		}
		if got := eval[string](t, b, rows); got != tt.want {
			t.Errorf("%q without scripts finds %q, want %q", tt.typed, got, tt.want)
		}
		b.scripts(t, true)
	}
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// reachable is a JavaScript expression. Its value is a list of the elements that the Tab key must
// reach, in this order.
const reachable = "[...document.querySelectorAll('a[href], button, input, select, textarea, summary, pre[tabindex]')]" +
	".filter(e => e.checkVisibility())"

// checkKeyboard goes through pages with the Tab key alone.
func (b *browser) checkKeyboard(t *testing.T) {
	for _, path := range []string{"/", "/decisions", "/decision?queue_id=4QHOSTILE", "/config"} {
		b.open(t, path)
		for i := range eval[int](t, b, reachable+".length") {
			b.do(t, chromedp.KeyEvent(kb.Tab))
			state := eval[string](t, b, `(() => {
				const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
				if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2) return "has no visible focus";
				if (r.width === 0 || r.right <= 0) return "cannot be seen";
				if (e.matches("input, select, textarea") && e.labels.length === 0) return "has no label";
				return `+reachable+`.indexOf(e) + "";
			})()`)
			if state != fmt.Sprint(i) {
				t.Errorf("%s: element %d, %s: %s", path, i, eval[string](t, b, "document.activeElement.outerHTML.slice(0, 90)"), state)
			}
		}
	}
	b.open(t, "/decisions")
	b.do(t, chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab))
	if got := eval[string](t, b, "document.activeElement.id"); got != "q" {
		t.Errorf("behind the skip link comes %q", got)
	}
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// checkRefresh checks that new messages appear without any action of the user, and that the button
// can be clicked to stop that.
func (b *browser) checkRefresh(t *testing.T, d *daemon) {
	// Make the page refresh every tenth of a second instead of every ten seconds, so that the test
	// is fast.
	hurry := send(t, b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: "const real = setInterval; window.setInterval = (f, ms) => { window.asked = ms; return real(f, ms / 100); };",
	})
	b.open(t, "/decisions")
	before := eval[int](t, b, "document.querySelectorAll('.rows tbody tr').length")
	d.sendHostile(t)
	b.until(t, fmt.Sprintf("document.querySelectorAll('.rows tbody tr').length === %d", before+1))
	if got := eval[int](t, b, "asked"); got != 10000 {
		t.Errorf("the page refreshes every %d ms", got)
	}
	b.do(t, chromedp.Click(chromedp.CSS("#refresh button")))
	if got := eval[string](t, b, "document.querySelector('#refresh button').textContent"); got != "Refresh again" {
		t.Errorf("the button says %q", got)
	}
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	send(t, b, page.RemoveScriptToEvaluateOnNewDocument, page.RemoveScriptToEvaluateOnNewDocumentParams(hurry))
}

// checkCopy copies each text that the page of a decision offers, both ways that the script knows,
// and checks that the texts are what they say. Without scripts the texts can be selected in fields.
func (b *browser) checkCopy(t *testing.T, d *daemon) {
	const path = "/decision?queue_id=4Qquarantine.example"
	b.open(t, path)
	fields := "[...document.querySelectorAll('textarea[data-copy]')]"
	texts := eval[[]string](t, b, fields+".map(f => f.value)")
	if len(texts) != 2 || !strings.HasPrefix(texts[0], "sekimori explain --id ") ||
		!strings.Contains(texts[1], `author: ["quarantine.example"]`) {
		t.Fatalf("the page offers %q", texts)
	}
	for _, clipboard := range []string{"{writeText: async (text) => { window.copied = text; }}", "undefined"} {
		eval[any](t, b, "Object.defineProperty(navigator, 'clipboard', {value: "+clipboard+", configurable: true})")
		eval[any](t, b, "document.oncopy = () => { window.copied = document.activeElement.value; }")
		for i, want := range texts {
			eval[any](t, b, "window.copied = ''")
			b.do(t, chromedp.Click(chromedp.CSS([]string{"#copy-command + button", "#copy-rule + button"}[i])))
			b.until(t, "document.querySelectorAll('.copy span')["+fmt.Sprint(i)+"].textContent === ' Copied.'")
			if got := eval[string](t, b, "window.copied"); got != want {
				t.Errorf("copied %q, want %q", got, want)
			}
		}
	}
	command := append(strings.Fields(texts[0])[1:], "--admin", "http://"+d.admin)
	if out, _ := run(t, "..", d.binary, command...); !strings.Contains(out, "QUARANTINE, because") {
		t.Errorf("%s: %s", texts[0], out)
	}
	b.scripts(t, false)
	b.open(t, path)
	selected := ".map(f => { f.select(); return f.value.slice(f.selectionStart, f.selectionEnd); })"
	if got := eval[[]string](t, b, fields+selected); !slices.Equal(got, texts) {
		t.Errorf("without scripts: %q, want %q", got, texts)
	}
	b.scripts(t, true)
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// axe is the accessibility checker axe-core, as npm installs it (see .ci/run).
const axe = "/opt/sekimori-test/axe/node_modules/axe-core/axe.min.js"

// checkAxe lets axe-core check each page, in both colour schemes and on a phone.
func (b *browser) checkAxe(t *testing.T, paths []string) {
	if !isThere(axe) && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not here, although CI installs it", axe)
	} else if !isThere(axe) {
		t.Skipf("%s is not here; install it: npm install --prefix /opt/sekimori-test/axe axe-core@4.14.1", axe)
	}
	script := readFile(t, axe)
	check := func(path string, width int64, scheme string) []string {
		b.look(t, width, scheme)
		b.open(t, path)
		eval[any](t, b, "for (const d of document.querySelectorAll('details')) d.open = true; null")
		eval[any](t, b, script+";null")
		eval[any](t, b, "window.found = null; axe.run().then(r => { window.found = r; }); null")
		b.until(t, "window.found !== null")
		return eval[[]string](t, b, "window.found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' ').slice(0, 300))")
	}
	for _, path := range paths {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{390, 1280} {
				if bad := check(path, width, scheme); len(bad) > 0 {
					t.Errorf("%s, %d px, %s: %q", path, width, scheme, bad)
				}
			}
		}
	}
	eval[any](t, b, "document.querySelector('main').insertAdjacentHTML('beforeend', '<input>'); null")
	eval[any](t, b, "window.found = null; axe.run().then(r => { window.found = r; }); null")
	b.until(t, "window.found !== null && window.found.violations.length > 0") // axe-core does look
	b.noted()                                                                 // the status 404 of two pages
}

// checkStale checks that a page says since when its numbers are old after the daemon is gone. The
// time must be that of the numbers.
func (b *browser) checkStale(t *testing.T, d *daemon) {
	send(t, b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: "const real = setInterval; window.setInterval = (f, ms) => real(f, ms / 100);",
	})
	b.look(t, 390, "light")
	b.open(t, "/")
	first := eval[string](t, b, "document.querySelector('#asof time').textContent")
	b.until(t, fmt.Sprintf("document.querySelector('#asof time').textContent !== %q", first)) // the page is renewed
	if got := eval[string](t, b, "document.querySelector('#stale').textContent"); got != "" {
		t.Errorf("while the daemon runs, the page says %q", got)
	}
	eval[any](t, b, "window.fetched = fetch; window.fetch = async () => new Response('', {status: 503}); null")
	b.until(t, "document.querySelector('#stale').textContent.endsWith(': the daemon answered with status 503.')")
	eval[any](t, b, "window.fetch = window.fetched; null")
	b.until(t, "document.querySelector('#stale').textContent === ''")
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	d.stop(t, t.Context())
	b.until(t, "document.querySelector('#stale').textContent.endsWith(': the daemon does not answer.')")
	shown := eval[string](t, b, "document.querySelector('#stale').textContent")
	since := eval[string](t, b, "document.querySelector('#asof time').textContent")
	if !strings.HasPrefix(shown, "Stale since "+since+":") {
		t.Errorf("the page says %q, but its numbers are of %s", shown, since)
	}
	if bad := eval[[]string](t, b, faint); len(bad) > 0 || eval[int](t, b, "document.documentElement.scrollWidth") > 390 {
		t.Errorf("the note does not fit or has too little contrast: %q", bad)
	}
	b.noted() // the browser itself records each failed request
}

// checkScreenshot checks the size of the picture and that docs/operate.md shows it. With -update it
// first takes a new picture.
func (b *browser) checkScreenshot(t *testing.T) {
	if *update {
		b.look(t, 1000, "light")
		b.open(t, "/")
		shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(screenshot, shot, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data := []byte(readFile(t, screenshot))
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil || len(data) > maxScreenshotBytes || picture.Bounds().Dx() != 1000 {
		t.Errorf("%s: %d octets, %v", screenshot, len(data), err)
	}
	if !strings.Contains(readFile(t, "docs/operate.md"), "(../"+screenshot+")") {
		t.Errorf("docs/operate.md does not show %s", screenshot)
	}
}

// updateMinutes is a time in minutes. The flag -update sends mail for this time before it takes the
// picture, so that the chart in the picture shows some mail.
const updateMinutes = 4

func updateTime() time.Duration {
	if !*update {
		return 0
	}
	return (updateMinutes + 1) * time.Minute
}

// minutesOfMail sends messages of several kinds for updateMinutes. The number of messages varies.
func (d *daemon) minutesOfMail(t *testing.T, key ed25519.PrivateKey) {
	good, bad := netip.MustParseAddrPort("192.0.2.1:25000"), netip.MustParseAddrPort("198.51.100.66:25000")
	signed := sign(t, key, "good.example")
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for i := range updateMinutes * 12 {
		for range 6 + i*7%11 {
			d.send(t, good, "good.example", signed)
		}
		for j, domain := range slices.Repeat([]string{"good.example", "nothing.example", "quarantine.example", "none.example"}, 2)[:i%5+i%3] {
			if (i+j)%2 == 0 {
				d.send(t, bad, domain, message(domain))
			}
		}
		<-tick.C
	}
}
