package console

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/senders"
)

// senderOf returns a sender with more keys and networks than the page shows, and with troubles.
func senderOf(domain dns.Name) senders.Sender {
	s := senders.Sender{Domain: domain, Counts: ledger.Counts{Messages: 20_000, Pass: 19_990, PassDKIM: 10_000, Fail: 7, Rejected: 3}, Policy: "reject", Days: 9, First: start, Last: start, Example: "EX1"}
	for i := range senderKeys + 3 {
		s.Signers = append(s.Signers, senders.Signer{Signer: ledger.Signer{Domain: domain, Selector: fmt.Sprintf("k%02d", i), Pass: 1234}, First: "2026-11-01", Last: "2026-11-21"})
	}
	for i := range senderNetworks + 4 {
		s.Networks = append(s.Networks, senders.Network{Domain: domain, Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24), Days: 5, Last: "2026-11-20"})
	}
	s.Trouble = []senders.Trouble{
		{Breakage: ledger.Breakage{Domain: domain, Kind: ledger.SelectorGone, Subject: "d=x s=y", First: start, Last: start, Evidence: "3 pass and 120 fail", Example: "EX2"},
			Mail: senders.Mail{To: "postmaster@" + string(domain), Subject: "Your key", Text: "Dear postmaster,\nplease look.\n"}},
		{Breakage: ledger.Breakage{Domain: domain, Kind: ledger.SPFBroken, First: start, Last: start, Ended: start.Add(time.Hour)}},
	}
	return s
}

func TestSenders(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/senders", 200, "There is no store", "!<form", `aria-current="page">Senders`)
	var asked []senders.Options
	list := &senders.List{From: "2026-10-24", To: "2026-11-22", Senders: []senders.Sender{senderOf("shop.example"), {Domain: "quiet.example"}}, More: true}
	b.remembers(Memory{Senders: func(_ context.Context, o senders.Options) (*senders.List, error) {
		asked = append(asked, o)
		if o.Domain != "" {
			one := senderOf(o.Domain)
			one.ByDay = []senders.Day{{Day: "2026-11-21", Counts: ledger.Counts{Messages: 777}}}
			return &senders.List{From: "2026-10-24", To: "2026-11-22", Senders: []senders.Sender{one}}, nil
		}
		list.Broken = o.Broken
		return list, nil
	}})
	b.shows(t, "/senders", 200, `<a href="/senders?domain=shop.example&amp;days=30">shop.example</a>`, "20\u2009000", "99.9 %", "50 %", `<b class="trouble">selector_gone</b>`, ">-</td>",
		"There are more", `<option value="30" selected>`, "!<textarea", "!postmaster@")
	b.shows(t, "/senders?domain=+WWW.Shop.example&days=12", 200, "<h2>Keys</h2>", "k15", "!k16", "and 3 more", "10.0.15.0/24", "!10.0.16.0/24", "and 4 more", "777", "selector_gone", "3 pass and 120 fail",
		`<a href="/decision?id=EX2">`, "A mail to postmaster@shop.example", "please look.", "over at", `<option value="12" selected>`, `value="shop.example"`, `<a href="/decisions?q=shop.example">`)
	b.shows(t, "/senders?broken=1&days=7", 200, " checked", "shop.example", "<textarea", "!<h2>Keys</h2>")
	want := []senders.Options{{Days: 30, Limit: 50}, {Days: 12, Limit: 50, Domain: "shop.example"}, {Days: 7, Limit: 50, Broken: true}}
	if !slices.Equal(asked, want) {
		t.Errorf("the store was asked for %+v", asked)
	}
	for query, want := range map[string]string{"days=0": "1 to 400", "days=401": "1 to 400", "days=x": "1 to 400", "domain=com": "is not a domain with two labels",
		"domain=%3Cscript%3Ealert(1)%3C/script%3E.example": "is not a domain", "domain=%e2%80%ae.example": "is not a domain"} {
		b.shows(t, "/senders?"+query, 400, want, "!<script>alert", "!\u202e")
	}
	if len(asked) != 3 {
		t.Error("a wrong request asks the store")
	}
}

func TestSendersAreHostile(t *testing.T) {
	b := newBench(t)
	s := senderOf(hostile)
	s.Policy, s.Example = hostile, hostile
	for i := range s.Trouble {
		x := &s.Trouble[i]
		x.Kind, x.Subject, x.Evidence, x.Example, x.Mail = hostile, hostile, hostile, hostile, senders.Mail{To: hostile, Subject: hostile, Text: "</textarea>" + hostile}
	}
	s.Signers[0].Selector, s.ByDay = hostile, []senders.Day{{Day: hostile, Policy: hostile}}
	list := &senders.List{Senders: []senders.Sender{s}}
	b.remembers(Memory{Senders: func(context.Context, senders.Options) (*senders.List, error) { return list, nil }})
	for _, target := range []string{"/senders", "/senders?domain=a.example", "/senders?broken=1"} {
		b.shows(t, target, 200, "&lt;script&gt;", "!<script>alert", "!<img", "!\x1b", "!\u202e", "!\u2066", "!</textarea>\"")
	}
	list = &senders.List{Broken: true}
	b.now = b.now.Add(answerLife)
	b.shows(t, "/senders?broken=1", 200, "No sender is in trouble")
	list = &senders.List{}
	b.shows(t, "/senders", 200, "No mail was counted")
	b.remembers(Memory{Senders: func(context.Context, senders.Options) (*senders.List, error) {
		return nil, errors.New("disk I/O error")
	}})
	b.shows(t, "/senders?days=3", 503, "The store cannot be read", "disk I/O error")
}

func TestChoices(t *testing.T) {
	for chosen, want := range map[int][]int{7: {7, 30, 90, 400}, 1: {1, 7, 30, 90, 400}, 45: {7, 30, 45, 90, 400}, 400: {7, 30, 90, 400}} {
		if got := choices(chosen, senderDays); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", chosen, got, want)
		}
	}
}
