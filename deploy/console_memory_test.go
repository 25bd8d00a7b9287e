package deploy

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// checkWatch follows a sample of a watch list to its decision.
func (b *browser) checkWatch(t *testing.T) {
	b.look(t, 1280, "light")
	b.open(t, "/watch")
	text := eval[string](t, b, "document.querySelector('main').innerText")
	for _, want := range []string{"banks", "good.example", "Newest messages that failed"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	b.do(t, chromedp.Click(chromedp.CSS("main a[href^='/decision?id=']")), chromedp.WaitReady(chromedp.CSS(".summary")))
	if got := eval[string](t, b, "document.querySelector('.facts').innerText"); !strings.Contains(got, "good.example") && !strings.Contains(got, "quarantine.example") {
		t.Errorf("the sample leads to\n%s", got)
	}
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// checkHistory searches decisions by the ID of a reply, by client and by day.
func (b *browser) checkHistory(t *testing.T, d *daemon) {
	b.open(t, "/decision?queue_id=4Qquarantine.example")
	id := eval[string](t, b, "[...document.querySelectorAll('.facts div')].find(e => e.innerText.startsWith('ID in the reply')).querySelector('code').textContent")
	today, yesterday := time.Now().Format(time.DateOnly), time.Now().AddDate(0, 0, -1).Format(time.DateOnly)
	for _, tt := range []struct{ query, want string }{
		{"q=" + strings.ToLower(id), "4Qquarantine.example"}, {"q=" + id + "&day=" + today, "4Qquarantine.example"}, {"q=" + id + "&day=" + yesterday, ""},
		{"q=198.51.100.7&verdict=tag&day=" + today, "4QHOSTILE"},
	} {
		b.open(t, "/decisions?"+tt.query)
		if got := eval[string](t, b, rows); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s finds %q, want %q", tt.query, got, tt.want)
		}
	}
	b.open(t, "/decisions")
	b.do(t, chromedp.SendKeys(chromedp.CSS("#day"), yesterday))
	b.until(t, rows+" === ''")
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// submit sends the form of the page Try, and waits for the next page.
func (b *browser) submit(t *testing.T, selector string) {
	t.Helper()
	loaded := func(page.EventLoadEventFired) bool { return true }
	if _, err := chromedp.Run(b.ctx, chromedp.WaitEvent(page.LoadEventFired, loaded, chromedp.Click(chromedp.CSS(selector)))); err != nil {
		t.Fatalf("no page after %s: %v", selector, err)
	}
}

// checkTry tries messages: pasted, dropped, without scripts, from a page of a stranger, too large and too
// often.
func (b *browser) checkTry(t *testing.T, d *daemon, key ed25519.PrivateKey) {
	b.look(t, 1280, "light")
	verdict := func() string {
		t.Helper()
		return eval[string](t, b, "document.querySelector('main').innerText.replace(/\\s+/g, ' ').slice(0, 400)")
	}
	quoted := func(text []byte) string {
		out, _ := json.Marshal(strings.ReplaceAll(string(text), "\r\n", "\n")) // a string is always encoded
		return string(out)
	}
	for _, scripts := range []bool{true, false} {
		b.scripts(t, scripts)
		b.open(t, "/try")
		b.do(t, chromedp.SendKeys(chromedp.CSS("#client"), "198.51.100.66"), chromedp.SendKeys(chromedp.CSS("#from"), "author@good.example"))
		// insertText is what the browser does when the user pastes.
		eval[any](t, b, "document.querySelector('#message').focus(); document.execCommand('insertText', false, "+quoted(message("good.example"))+"); null")
		b.submit(t, "form.try button")
		if got := verdict(); !strings.Contains(got, "Verdict reject") {
			t.Errorf("a forged message that was pasted, scripts %t: %s", scripts, got)
		}
		if got := eval[string](t, b, "document.querySelector('#client').value + ' ' + document.querySelector('#message').value.slice(0, 12)"); got != "198.51.100.66 From: Author" {
			t.Errorf("the form has %q", got)
		}
	}
	b.scripts(t, true)

	b.open(t, "/try")
	b.do(t, chromedp.SendKeys(chromedp.CSS("#client"), "192.0.2.1"), chromedp.SendKeys(chromedp.CSS("#from"), "author@good.example"))
	signed, _ := json.Marshal(string(sign(t, key, "good.example"))) // a string is always encoded
	left := eval[bool](t, b, `(() => {
		const data = new DataTransfer();
		data.items.add(new File([`+string(signed)+`], "signed.eml", {type: "message/rfc822"}));
		return document.querySelector("form.try").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
	})()`)
	if left || eval[string](t, b, "document.querySelector('#file').files[0].name") != "signed.eml" {
		t.Error("a file that is dropped is not taken")
	}
	b.submit(t, "form.try button")
	if got := verdict(); !strings.Contains(got, "Verdict accept") {
		t.Errorf("a signed message that was dropped: %s", got)
	}
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}

	// The page of another origin, even on this host, must not make the daemon ask DNS.
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><link rel=icon href="data:,"><h1>x</h1><form method="post" enctype="multipart/form-data" action="http://%s/try">
			<input name="message" value="From: a@good.example"><input name="client" value="192.0.2.1"><button>x</button></form>`, d.admin)
	}))
	defer stranger.Close()
	b.do(t, chromedp.Navigate(stranger.URL), chromedp.WaitReady(chromedp.CSS("button")))
	b.submit(t, "button")
	if got := eval[string](t, b, "document.body.innerText"); !strings.Contains(got, "cross-origin") {
		t.Errorf("a form of another origin gets %s", got)
	}
	b.noted() // the browser records the refusal, and the other origin

	b.open(t, "/try")
	const post = `(async (size) => { const form = new FormData(); form.set("client", "192.0.2.1"); form.set("message", "x".repeat(size));
		return (await fetch("/try", {method: "POST", body: form})).status; })`
	eval[any](t, b, "window.status413 = 0; "+post+"(1 << 20).then(s => { window.status413 = s; }); null")
	b.until(t, "window.status413 !== 0")
	if got := eval[int](t, b, "window.status413"); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a message of 1 MiB with its form gets %d", got)
	}
	eval[any](t, b, "window.all = null; Promise.all([...Array(14)].map(() => "+post+"(10))).then(s => { window.all = s; }); null")
	b.until(t, "window.all !== null")
	if got := eval[[]int](t, b, "window.all"); !strings.Contains(fmt.Sprint(got), "429") {
		t.Errorf("14 messages at once get %v", got)
	}
	b.noted() // the browser records refusals
}

// TestTryOff: with admin.try: false the console offers no form, and takes none.
func TestTryOff(t *testing.T) {
	need(t, "go", "golang-go")
	d := startDaemon(t, t.Context(), build(t), `
listen: ["systemd:milter"]
mode: monitor
dns: {servers: ["127.0.0.1:9"]}
admin: {listen: "127.0.0.1:0", try: false}
`)
	answer, err := http.Get("http://" + d.admin + "/try")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(text), "It is switched off (admin.try)") || strings.Contains(string(text), "<textarea") {
		t.Errorf("%v\n%s", err, text)
	}
	var form strings.Builder
	w := multipart.NewWriter(&form)
	if err := w.WriteField("message", "From: a@b.example"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refused, err := http.Post("http://"+d.admin+"/try", w.FormDataContentType(), strings.NewReader(form.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Body.Close()
	if refused.StatusCode != http.StatusForbidden {
		t.Errorf("a form gets %s", refused.Status)
	}
}
