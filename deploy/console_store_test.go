package deploy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sekimori/internal/console"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/forwarders"
	"sekimori/internal/ledger"
	"sekimori/internal/readiness"
	"sekimori/internal/senders"
	"sekimori/internal/stats"
	"sekimori/internal/status"
)

// hostileText is what a stranger could try to bring into a page by the store.
const hostileText = "<script>pwned()</script><img/src=x/onerror=pwned()>\u202e\x1b[2J"

// storePages are the pages that show what the store remembers.
var storePages = []string{"/statistics", "/senders", "/senders?domain=shop.example", "/senders?broken=1", "/readiness"}

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
	t.Run("senders", func(t *testing.T) { b.checkSenders(t) })
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

// checkSenders searches a sender, without scripts, and copies a mail.
func (b *browser) checkSenders(t *testing.T) {
	b.look(t, 1280, "light")
	b.scripts(t, false)
	b.open(t, "/senders")
	b.do(t, chromedp.SendKeys(chromedp.CSS("#domain"), "www.shop.example"))
	b.submit(t, "form.choose button")
	if got := eval[string](t, b, "document.querySelector('h1').innerText + ' ' + document.querySelector('#domain').value"); got != "Senders shop.example shop.example" {
		t.Errorf("a search leads to %s", got)
	}
	b.scripts(t, true)
	b.open(t, "/senders?broken=1")
	eval[any](t, b, "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}}); null")
	b.do(t, chromedp.Click(chromedp.CSS("#mail-0-0 + button")))
	b.until(t, "window.copied !== undefined")
	if got := eval[string](t, b, "window.copied"); !strings.HasPrefix(got, "Dear postmaster") {
		t.Errorf("the mail is %q", got)
	}
}

// remembered returns a store with much in it.
func remembered() *console.Memory {
	return &console.Memory{
		Month:     func(_ context.Context, month time.Time) (*stats.Month, error) { return rememberedMonth(month), nil },
		Readiness: func(_ context.Context, days int) (*readiness.Report, error) { return rememberedReport(days), nil },
		Senders:   func(_ context.Context, o senders.Options) (*senders.List, error) { return rememberedSenders(o), nil },
	}
}

func rememberedSenders(o senders.Options) *senders.List {
	at := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	l := &senders.List{From: "2026-11-01", To: "2026-11-30", Broken: o.Broken, More: true}
	for i, domain := range []dns.Name{"shop.example", "a-company-with-a-quite-long-name.example", "university.example", hostileText} {
		n := int64(1_200_000 >> (3 * i))
		s := senders.Sender{Domain: domain, Counts: ledger.Counts{Messages: n, Pass: n * 9 / 10, PassDKIM: n * 8 / 10, PassSPF: n / 2, Fail: n / 20, TempError: 12, Rejected: 17, Quarantined: n / 100},
			Policy: dmarc.PolicyQuarantine, Days: 28, First: at.AddDate(0, 0, -27), Last: at, Example: "EXAMPLE2"}
		for k := range 3 {
			s.Signers = append(s.Signers, senders.Signer{Signer: ledger.Signer{Domain: domain, Selector: strings.Repeat(hostileText, k/2) + fmt.Sprint("s", k), Pass: n / 2, Fail: 3}, First: "2026-11-01", Last: "2026-11-28"})
		}
		for k := range 40 {
			s.Networks = append(s.Networks, senders.Network{Domain: domain, Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(k), 0}), 24), Days: 60 - k, Last: "2026-11-28"})
		}
		if o.Broken || i == 2 {
			x := ledger.Breakage{Domain: domain, Kind: ledger.SelectorGone, Subject: "d=" + string(domain) + " s=s1", First: at, Last: at, Evidence: "3 signatures pass and 120 fail", Example: "EXAMPLE3"}
			mail := senders.Mail{To: "postmaster@" + string(domain), Subject: "Mail from " + string(domain), Text: "Dear postmaster of " + string(domain) + ",\n\nplease look.\n"}
			s.Trouble = append(s.Trouble, senders.Trouble{Breakage: x, Mail: mail})
			x.Ended = at
			s.Trouble = append(s.Trouble, senders.Trouble{Breakage: x, Mail: mail})
		}
		if o.Domain != "" {
			s.Domain = o.Domain
			for day := range 28 {
				s.ByDay = append(s.ByDay, senders.Day{Day: at.AddDate(0, 0, day-27).Format(time.DateOnly), Counts: s.Counts, Policy: s.Policy})
			}
			l.Senders, l.More = []senders.Sender{s}, false
			return l
		}
		l.Senders = append(l.Senders, s)
	}
	return l
}

func rememberedReport(days int) *readiness.Report {
	say := func(text string) readiness.Reason { return readiness.Reason{Word: "days", Text: text} }
	r := &readiness.Report{
		From: "2026-11-17", To: "2026-11-30", Days: days, Seen: days, Mode: "monitor", Learned: "observe", Verdict: readiness.Rules,
		Reason:   say("first 2 rules, to help 3120 of the 3300 honest messages that would be hit"),
		Messages: 1_240_000, Fail: 61_000, Reject: 31_000, Quarantine: 12_000, ByDomain: 43_000, Excepted: 120, Harmed: 3300, Left: 180, Harsher: 40, Milder: 7, Samples: 900,
		Notes: []readiness.Reason{say("900 of 43000 messages were looked at; numbers by looks are estimates"), say(hostileText)},
	}
	for i, id := range []string{"list-of-the-alumni", hostileText} {
		r.Proposed = append(r.Proposed, readiness.Proposal{Looks: readiness.Forwarded, Messages: 2000, Authors: 31, Rule: forwarders.Rule{
			ID: id, Owner: "postmaster@mx.example", Reason: "a list", Expires: "2027-02-28", When: map[string][]string{"dkim": {fmt.Sprintf("list%d.example", i)}}, Then: "accept"}})
	}
	for i, l := range readiness.AllLooks {
		r.ByLooks = append(r.ByLooks, readiness.Part{Looks: l, Messages: int64(20_000 >> i)})
	}
	for i, domain := range []dns.Name{"bank.example", "a-company-with-a-quite-long-name.example", hostileText} {
		d := readiness.Domain{Domain: domain, Policy: dmarc.PolicyReject, Messages: 90_000, Pass: 70_000, Reject: 12_000, Quarantine: 40, Signs: i == 0, Networks: 4}
		if i > 0 {
			d.Broken = []ledger.Breakage{{Kind: ledger.SelectorGone, Subject: "d=" + string(domain) + " s=s1", First: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Evidence: "3 signatures pass and 120 fail"}}
		}
		for k, l := range readiness.AllLooks {
			d.Streams = append(d.Streams, readiness.Stream{Looks: l, Reason: say("scattered over 131 networks from which mail of nobody passes; the domain sends from 4 networks"), Messages: int64(9000 >> k),
				Rejected: 17, Quarantined: 3, Excepted: int64(k), Hosts: []readiness.Host{{Kind: "dkim", Value: "list.example"}, {Kind: "client", Value: hostileText}}, Example: "EXAMPLE4"})
		}
		r.Domains = append(r.Domains, d)
	}
	return r
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
