package deploy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sekimori/internal/console"
	"sekimori/internal/stats"
	"sekimori/internal/status"
)

// hostileText is what a stranger could try to bring into a page by the store.
const hostileText = "<script>pwned()</script><img/src=x/onerror=pwned()>\u202e\x1b[2J"

// storePages are the pages that show what the store remembers.
var storePages = []string{"/statistics", "/statistics?month=2026-02"}

// TestConsoleStore opens these pages in Chromium, with much in the store, also hostile texts. TestConsole opens
// them with a real store that has little.
func TestConsoleStore(t *testing.T) {
	now := time.Date(2026, 11, 30, 15, 0, 0, 0, time.UTC)
	c, err := console.New(console.Options{
		Status: func() *status.Status { return &status.Status{Version: "v1", Mode: "monitor"} },
		Now:    func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler), Memory: remembered(),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for path, h := range c.Handlers() {
		mux.Handle("GET "+path, h)
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	b := newBrowser(t, server.URL)
	t.Run("pages", func(t *testing.T) { b.checkPages(t, storePages) })
	t.Run("statistics", func(t *testing.T) { b.checkStatistics(t) })
	t.Run("hostile values", func(t *testing.T) {
		for _, path := range storePages {
			b.open(t, path)
			text := eval[string](t, b, "for (const d of document.querySelectorAll('details')) d.open = true; document.body.textContent")
			n := eval[int](t, b, "document.querySelectorAll('main script, main img, main [onload], main [onerror]').length")
			if !strings.Contains(text, "<script>pwned()</script>") || strings.ContainsAny(text, "\x1b\u202e") || n > 0 {
				t.Errorf("%s: %d of what strangers wrote are elements, or its text is not there as text", path, n)
			}
		}
	})
	t.Run("axe-core", func(t *testing.T) { b.checkAxe(t, storePages) })
	if got := b.noted(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	for i, path := range storePages {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{390, 1280} {
				b.open(t, path)
				b.show(t, "screen", scheme, width)
				b.shoot(t, fmt.Sprintf("console-%d-%s-%d", i, scheme, width))
			}
		}
	}
}

// checkStatistics chooses a month, with and without scripts.
func (b *browser) checkStatistics(t *testing.T) {
	for _, scripts := range []bool{true, false} {
		b.scripts(t, scripts)
		b.look(t, 1280, "light")
		b.open(t, "/statistics")
		eval[any](t, b, "document.querySelector('#month').value = '2026-03'; null")
		b.submit(t, "form.choose button")
		if got := eval[string](t, b, "location.search + ' ' + document.querySelector('h1').innerText"); got != "?month=2026-03 Statistics March 2026" {
			t.Errorf("scripts %t: %s", scripts, got)
		}
		if bad := eval[[]string](t, b, apart); len(bad) > 0 {
			t.Errorf("charts: %q", bad)
		}
		if black := eval[int](t, b, "[...document.querySelectorAll('.chart rect')].filter(r => getComputedStyle(r).fill === 'rgb(0, 0, 0)').length"); black > 0 {
			t.Errorf("%d parts of charts have no colour", black)
		}
	}
	b.scripts(t, true)
	b.do(t, chromedp.Navigate(b.origin+"/statistics?month=2026-99"))
	if got := eval[string](t, b, "document.querySelector('main').innerText"); !strings.Contains(got, "There are no statistics of this month") {
		t.Errorf("a month that is none: %s", got)
	}
	b.noted() // the browser records the status 400
}

// remembered returns a store with much in it.
func remembered() *console.Memory {
	return &console.Memory{
		Month: func(_ context.Context, month time.Time) (*stats.Month, error) { return rememberedMonth(month), nil },
	}
}

func rememberedMonth(month time.Time) *stats.Month {
	const all = 1_240_000
	counts := func(words string) (out []stats.Count) {
		left := int64(all)
		for _, w := range strings.Fields(words) {
			n := left * 6 / 10
			out = append(out, stats.Count{Word: w, Part: stats.Part{Messages: n, Share: float64(n) / all}})
			left -= n
		}
		return out
	}
	standings := func(n int64) stats.Standings {
		return stats.Standings{Pass: n / 2, Other: n / 4, Fail: n / 6, Nothing: n - n/2 - n/4 - n/6}
	}
	m := &stats.Month{
		Month: month.Format("2006-01"), From: month.Format(time.DateOnly), To: month.AddDate(0, 0, 27).Format(time.DateOnly), Messages: all,
		Unauthenticated: stats.Part{Messages: 98_431}, SPF: counts("pass softfail none neutral fail permerror temperror"), DKIM: counts("pass none fail neutral permerror"),
		DMARC: counts("pass none fail temperror"), Applied: counts("accept tag quarantine reject"), Overrides: counts("local_policy mailing_list"), Dropped: 12,
	}
	for i, p := range []string{"reject", "quarantine", "none", "absent"} {
		n := int64(400_000 >> i)
		m.Policies = append(m.Policies, stats.Policy{Policy: p, Part: stats.Part{Messages: n}, Pass: n * 8 / 10, Fail: n / 10, Other: n / 10, Rejected: 17, Quarantined: 1234})
	}
	for _, r := range []string{"dmarc_reject", "dmarc_indirect", "rule", "invalid_from", hostileText} {
		m.Reasons = append(m.Reasons, stats.Reason{Applied: "reject", Reason: r, Part: stats.Part{Messages: 4321}})
	}
	for i, class := range []string{"co.jp", "go.jp", hostileText, stats.ClassOther, stats.ClassAll} {
		n := int64(1000 * (i + 1))
		m.Classes = append(m.Classes, stats.Class{Class: class, Domains: n, DMARC: n * 7 / 10, Reject: n / 5, Quarantine: n / 5, None: n * 3 / 10, Absent: n * 3 / 10, Messages: 100 * n, Pass: 80 * n, Fail: 5 * n})
	}
	for i, country := range []string{"JP", "US", "DE", hostileText, "ZZ"} {
		n := int64(500_000 >> i)
		m.Countries = append(m.Countries, stats.Country{Country: country, Part: stats.Part{Messages: n}, Standings: standings(n)})
	}
	for day := range 28 {
		n := int64(30_000 + 5_000*(day%7))
		m.Days = append(m.Days, stats.Day{Day: month.AddDate(0, 0, day).Format(time.DateOnly), Messages: n, Standings: standings(n), Rejected: 40, Quarantined: 700})
	}
	return m
}
