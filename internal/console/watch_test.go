package console

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sekimori/internal/lookalike"
	"sekimori/internal/policy"
	"sekimori/internal/watchlist"
)

func TestWatch(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/watch", 200, "No domain is watched")
	sample := watchlist.Sample{Time: start, ID: "7G3K0A2B", QueueID: "4Q1", AuthorDomain: "bank.example", Client: netip.MustParseAddr("192.0.2.1"), Verdict: "reject",
		Finding: lookalike.Finding{List: "banks", Of: "bank.example"}}
	alike := sample
	alike.AuthorDomain, alike.Lookalike, alike.ID = "b4nk.example", lookalike.KindDomain, ""
	b.watch = []watchlist.List{{
		Name: "banks", Domains: []string{"bank.example"}, Lookalikes: true, Hour: watchlist.Counts{Pass: 1}, Week: watchlist.Counts{Pass: 1234, Fail: 5, Lookalike: 6},
		Wave: &watchlist.Wave{Fails: 77, Usual: 2}, Fails: []watchlist.Sample{sample}, Alike: []watchlist.Sample{alike},
	}}
	b.shows(t, "/watch", 200, "banks", "1\u2009234", "A wave of spoofs", "77 messages", "/decision?id=7G3K0A2B", "b4nk.example", "by its domain", "<code>4Q1</code>",
		"!lookalikes: false", `aria-current="page">Watch`)
	many := make([]string, watchDomains+3)
	for i := range many {
		many[i] = fmt.Sprintf("d%02d.example", i)
	}
	evil := watchlist.Sample{Time: start, ID: hostile, QueueID: hostile, AuthorDomain: hostile, Verdict: hostile, Finding: lookalike.Finding{Of: hostile, Lookalike: hostile}}
	b.watch = []watchlist.List{{Name: hostile, Domains: many, Fails: []watchlist.Sample{evil}, Alike: []watchlist.Sample{evil}}}
	b.shows(t, "/watch", 200, "d19.example", "!d20.example", "and 3 more", "lookalikes: false", "!A wave", "!<script>alert", "!<img", "!\x1b", "!\u202e")
}

// TestFailing: the overview says whose mail is not accepted.
func TestFailing(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/", 200, "!Whose mail is not accepted")
	b.decide("Q0", "good.example", "192.0.2.9", policy.Accept)
	b.shows(t, "/", 200, "Whose mail is not accepted", "0 of the last 1 messages", "All of it was accepted")
	for i := range 30 {
		b.decide(fmt.Sprint("Q", i), fmt.Sprintf("d%d.example", i%10), fmt.Sprintf("192.0.2.%d", i%3), policy.Reject)
		b.now = b.now.Add(time.Second)
	}
	b.shows(t, "/", 200, "30 of the last 31 messages", `<a href="/decisions?q=d7.example">`, "!d8.example", `<a href="/decisions?q=192.0.2.2">192.0.2.2</a></dt><dd>10`, "!good.example", "!192.0.2.9")
	b.decide("Q31", hostile, "::1", policy.Tag)
	b.shows(t, "/", 200, "!<script>alert", "!<img")
}
