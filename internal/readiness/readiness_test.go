package readiness

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/forwarders"
	"sekimori/internal/iprev"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

const today = ledger.Day(20785)

// world has a Judge and the failing messages that it is given.
type world struct {
	t    *testing.T
	j    *Judge
	n    int
	hits map[dns.Name]*ledger.Hit
	ids  map[dns.Name][]string
}

func newWorld(t *testing.T, p policy.Config) *world {
	p.Mode = policy.Monitor
	return &world{t, New(Setup{Policy: p, Days: 14, Today: today}), 0, map[dns.Name]*ledger.Hit{}, map[dns.Name][]string{}}
}

// mail gives the Judge a message of a domain that failed.
func (w *world) mail(domain dns.Name, client string, change ...func(*msgauth.Evaluation)) {
	w.t.Helper()
	e := &msgauth.Evaluation{
		From: author.From{AuthorDomain: domain}, IPRev: iprev.Result{Status: iprev.Pass},
		MailFrom: spf.Check{Result: spf.None, Domain: "nowhere.example"}, Envelope: msgauth.Envelope{MailFrom: "<x@nowhere.example>"},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, AuthorDomain: domain, OrganizationalDomain: domain, PolicyDomain: domain, Record: &dmarc.Record{},
			PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject},
	}
	e.Session.Client, _ = netip.ParseAddr(client)
	for _, f := range change {
		f(e)
	}
	w.n++
	id := fmt.Sprintf("ID%06d", w.n)
	if !w.j.Sample(id, e) {
		w.t.Fatalf("the message of %s does not count", domain)
	}
	if w.hits[domain] == nil {
		w.hits[domain] = &ledger.Hit{Domain: domain, Policy: dmarc.PolicyReject}
	}
	h := w.hits[domain]
	h.Messages, h.Fail, h.Reject = h.Messages+1, h.Fail+1, h.Reject+1
	w.ids[domain] = append(w.ids[domain], id)
}

// scatter sends n messages of a domain from as many networks.
func (w *world) scatter(domain dns.Name, n int, change ...func(*msgauth.Evaluation)) {
	w.t.Helper()
	for i := range n {
		w.mail(domain, fmt.Sprintf("90.%d.%d.1", w.n/200, i), change...)
	}
}

// usual makes a domain known: 20 messages a day pass, from 192.0.2.0/24, signed or not.
func (w *world) usual(domain dns.Name, signed bool) {
	var rows []ledger.Row
	for day := today - 29; day <= today; day++ {
		r := ledger.Row{Day: day, Domain: domain, Counts: ledger.Counts{Messages: 20, Pass: 20, PassSPF: 20}}
		if signed {
			r.PassDKIM, r.Signers = 20, []ledger.Signer{{Domain: domain, Selector: "s1", Pass: 20}}
		}
		rows = append(rows, r)
	}
	w.j.Know(domain, rows, []ledger.Source{{Domain: domain, Owner: domain, Network: netip.MustParsePrefix("192.0.2.0/24"), Last: today, Days: 1<<30 - 1}})
}

// report makes the report about days with mail.
func (w *world) report(days int) *Report {
	var hits int64
	for _, h := range w.hits {
		w.j.Hit(*h)
		hits += h.Reject
	}
	for day := range ledger.Day(days) {
		w.j.Total(ledger.Total{Day: today - day, DMARC: "pass", Messages: 1000})
	}
	if days > 0 {
		w.j.Total(ledger.Total{Day: today, DMARC: "fail", Policy: dmarc.PolicyReject, Messages: hits})
	}
	return w.j.Report()
}

// The changes that make a message what it is.
func passes(domain dns.Name) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) {
		e.MailFrom = spf.Check{Result: spf.Pass, Domain: domain}
		e.Envelope.MailFrom = "<x@" + string(domain) + ">"
	}
}

func own(result spf.Result) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: result, Domain: e.From.AuthorDomain} }
}

func brokenBy(selector string) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) {
		e.DKIM = append(e.DKIM, dkim.Signature{Domain: e.From.AuthorDomain, Selector: selector, Result: dkim.Fail, Reason: dkim.ReasonBodyHash, KeyBits: 2048})
		e.Traits.Add(trait.BrokenAuthorSignature)
	}
}

func signedBy(domain dns.Name) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) {
		e.DKIM = append(e.DKIM, dkim.Signature{Domain: domain, Selector: "k", Result: dkim.Pass, KeyBits: 2048})
		e.Traits.Add(trait.ThirdPartySignature)
	}
}

func has(t ...trait.Trait) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) { e.Traits.Add(t...) }
}

func from(name dns.Name) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) { e.IPRev.Name = name }
}

const shop, club = dns.Name("shop.example"), dns.Name("club.example") // the shop always signs, and the club never does

// TestLooks has mail of each kind, beside the twin that it must not be mistaken for.
func TestLooks(t *testing.T) {
	carries := func(w *world, network string, domains ...dns.Name) {
		w.j.Carried(map[netip.Prefix][]dns.Name{netip.MustParsePrefix(network): domains})
	}
	for _, tt := range []struct {
		name   string
		domain dns.Name
		mail   func(*world)
		want   Looks
		word   string
	}{
		{"a botnet", shop, func(w *world) { w.scatter(shop, 8) }, Spoof, "unsigned_scattered"},
		{"a botnet with the author's return path", club, func(w *world) { w.scatter(club, 8, own(spf.Fail)) }, Spoof, "scattered"},
		{"two messages from anywhere", shop, func(w *world) { w.scatter(shop, 2) }, Unclear, "few_networks"},
		{"new hosts of a domain that does not sign", club, func(w *world) {
			for i := range 40 {
				w.mail(club, fmt.Sprintf("47.1.%d.9", i%2), own(spf.SoftFail))
			}
		}, Unclear, "steady"},
		{"new hosts with names of the domain", club, func(w *world) {
			for i := range 9 {
				w.mail(club, fmt.Sprintf("47.1.%d.9", i), own(spf.SoftFail), from("new.club.example"))
			}
		}, Unclear, "own_host"},
		{"six new networks of such a domain, from which it sends much", club, func(w *world) {
			for i := range 60 {
				w.mail(club, fmt.Sprintf("47.1.%d.9", i%6), own(spf.SoftFail))
			}
		}, Unclear, "steady"},
		{"a botnet that writes the fields of a list", shop, func(w *world) { w.scatter(shop, 8, has(trait.List)) }, Spoof, "claims_list"},
		{"a botnet that writes the fields of a list, and those of a forwarder", shop, func(w *world) {
			w.scatter(shop, 2, has(trait.List))
			w.mail(shop, "203.0.113.9", own(spf.SoftFail), has(trait.Forwarded))
		}, Spoof, "claims_list"},
		{"two messages with the fields of a forwarder", shop, func(w *world) { w.scatter(shop, 2, has(trait.Forwarded)) }, Unclear, "claims"},
		{"the same of a domain that does not sign", club, func(w *world) { w.scatter(club, 8, has(trait.List)) }, Spoof, "claims_scattered"},
		{"forwarders of unsigned mail", club, func(w *world) { w.scatter(club, 8, own(spf.SoftFail), has(trait.Forwarded)) }, Unclear, "claims"},
		{"a signature without a key of the domain", shop, func(w *world) { w.scatter(shop, 8, brokenBy("zz")) }, Spoof, "unsigned_scattered"},
		{"a copied signature, or small gateways", shop, func(w *world) { w.scatter(shop, 8, brokenBy("s1")) }, Unclear, "signature_only"},
		{"a key that is broken", shop, func(w *world) {
			for range 9 {
				w.mail(shop, "192.0.2.7", has(trait.AuthorRecordBroken))
			}
		}, Author, "own_network"},
		{"a key that is broken, at a new provider", shop, func(w *world) {
			for range 9 {
				w.mail(shop, "47.1.1.9", has(trait.AuthorRecordBroken))
			}
		}, Author, "own_record"},
		{"a botnet in the name of a domain whose record is broken", shop, func(w *world) { w.scatter(shop, 20, has(trait.AuthorRecordBroken)) }, Unclear, "broken_scattered"},
		{"a notification of a host of the author", club, func(w *world) { w.mail(club, "47.1.1.9", has(trait.AuthorHost)) }, Author, "own_name"},
		{"a new provider", shop, func(w *world) {
			for i := range 40 {
				w.mail(shop, fmt.Sprintf("46.1.%d.9", i%20), passes("bounce.esp.example"), signedBy("esp.example"))
			}
		}, Unclear, "other_name"},
		{"a new provider that others use rightly", shop, func(w *world) {
			carries(w, "46.1.1.0/24", "a.example", "b.example", "c.example", "d.example")
			for range 40 {
				w.mail(shop, "46.1.1.9", passes("bounce.esp.example"), signedBy("esp.example"))
			}
		}, Unclear, "carries_others"},
		{"another customer of the domain's provider", shop, func(w *world) {
			for range 9 {
				w.mail(shop, "192.0.2.7", passes("customer.example"))
			}
		}, Unclear, "shared"},
		{"the same while the domain is in trouble", shop, func(w *world) {
			w.j.Broken([]ledger.Breakage{{Domain: shop, Kind: ledger.SelectorGone}})
			w.mail(shop, "192.0.2.7", passes("customer.example"))
		}, Author, "shared_broken"},
		{"a forwarder", shop, func(w *world) {
			carries(w, "60.1.1.0/24", shop, "a.example", "b.example", "c.example")
			for i := range 9 {
				w.mail([]dns.Name{shop, "three.example"}[i%2], "60.1.1.9", own(spf.SoftFail), brokenBy("s1"), has(trait.Forwarded), from("mail.forwarder.example"))
			}
		}, Forwarded, "forwarder"},
		{"a spoofer in the network of a forwarder", shop, func(w *world) {
			carries(w, "60.1.1.0/24", shop, "a.example", "b.example", "c.example")
			for i := range 9 {
				w.mail([]dns.Name{shop, "three.example"}[i%2], "60.1.1.9", own(spf.SoftFail), has(trait.Forwarded), from("mail.forwarder.example"))
			}
		}, Unclear, "carries_others"},
		{"a spoofer there who copied one signature", shop, func(w *world) {
			carries(w, "60.1.1.0/24", "a.example", "b.example", "c.example")
			for range 9 {
				w.mail(shop, "60.1.1.9", own(spf.SoftFail), brokenBy("s1"), has(trait.Forwarded), from("mail.forwarder.example"))
			}
		}, Unclear, "signature_only"},
		{"a forwarder of unsigned mail", club, func(w *world) {
			carries(w, "60.1.1.0/24", "a.example", "b.example", "c.example")
			for range 9 {
				w.mail(club, "60.1.1.9", own(spf.SoftFail), has(trait.Forwarded), from("mail.forwarder.example"))
			}
		}, Forwarded, "carries"},
		{"a list", shop, func(w *world) {
			for i := range 9 {
				w.mail([]dns.Name{shop, "three.example", "four.example"}[i%3], "61.1.1.9", passes("lists.example"), brokenBy("s1"), signedBy("lists.example"),
					has(trait.List, trait.ListSignature))
			}
		}, Forwarded, "list"},
		{"a list that removes signatures, or a forger with a domain", shop, func(w *world) {
			for i := range 20 {
				w.mail([]dns.Name{shop, "three.example", "four.example", "five.example", "six.example"}[i%5], "61.1.1.9", passes("lists.example"), signedBy("lists.example"),
					has(trait.List, trait.ListSignature))
			}
		}, Unclear, "other_name"},
		{"a list that signs nothing", shop, func(w *world) {
			for i := range 20 {
				w.mail([]dns.Name{shop, "three.example", "four.example", "five.example", "six.example"}[i%5], "61.1.1.9", passes("lists.example"), brokenBy("s1"), has(trait.List),
					from("mail.lists.example"))
			}
		}, Forwarded, "forwarder"},
		{"one host in the names of many", shop, func(w *world) {
			for i := range 20 {
				w.mail([]dns.Name{shop, "three.example", "four.example", "five.example", "six.example"}[i%5], "198.19.0.1", passes("x00.example"), from("mail.x00.example"))
			}
		}, Spoof, "many_names"},
		{"one host in the names of four", shop, func(w *world) {
			for i := range 20 {
				w.mail([]dns.Name{shop, "three.example", "four.example", "five.example"}[i%4], "198.19.0.1", passes("x00.example"), from("mail.x00.example"))
			}
		}, Unclear, "other_name"},
		{"an honest host beside such a host", club, func(w *world) {
			for i := range 20 {
				w.mail([]dns.Name{shop, "three.example", "four.example", "five.example", "six.example"}[i%5], "198.19.0.1", from("a.isp.example"))
			}
			w.mail(club, "198.19.0.2", own(spf.SoftFail), from("b.isp.example"))
		}, Unclear, "few_networks"},
		{"a domain of which nothing passes here", "unknown.example", func(w *world) { w.scatter("unknown.example", 12, own(spf.Fail)) }, Spoof, "spf_scattered"},
		{"the same from its one host", "unknown.example", func(w *world) {
			for range 12 {
				w.mail("unknown.example", "47.1.1.9", own(spf.Fail))
			}
		}, Unclear, "steady"},
		{"the same with SPF that does not forbid", "unknown.example", func(w *world) { w.scatter("unknown.example", 12, own(spf.SoftFail)) }, Unclear, "unknown_domain"},
		{"a client that is not known", shop, func(w *world) { w.mail(shop, "10.0.0.1") }, Unclear, "hidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, policy.Config{})
			for _, d := range []dns.Name{shop, "three.example", "four.example", "five.example", "six.example"} {
				w.usual(d, true)
			}
			w.usual(club, false)
			tt.mail(w)
			r := w.report(14)
			for i := range r.Domains {
				d := &r.Domains[i]
				if d.Domain != tt.domain {
					continue
				}
				if len(d.Streams) != 1 || d.Streams[0].Looks != tt.want || d.Streams[0].Reason.Word != tt.word {
					t.Errorf("%+v, want %s (%s)", d.Streams, tt.want, tt.word)
				}
				if d.Streams[0].Messages != d.Hits() {
					t.Errorf("%d messages, want %d", d.Streams[0].Messages, d.Hits())
				}
			}
			for _, id := range w.ids[tt.domain] {
				if got := w.j.Of(id); got != tt.want {
					t.Errorf("message %s: %s", id, got)
				}
			}
		})
	}
}

// TestSampledBotnet: few samples of much mail of a steady sender are not taken for a botnet.
func TestSampledBotnet(t *testing.T) {
	for _, tt := range []struct {
		name     string
		networks int
		want     Looks
	}{{"12 networks", 12, Unclear}, {"a network each", 1000, Spoof}} {
		w := newWorld(t, policy.Config{})
		w.usual(club, false)
		for i := range 60 {
			n := i * 7 % tt.networks
			w.mail(club, fmt.Sprintf("47.%d.%d.9", n/200, n%200), own(spf.SoftFail))
		}
		w.hits[club].Reject = 300 // five messages stand behind a sample
		r := w.report(14)
		if s := r.Domains[0].Streams; len(s) != 1 || s[0].Looks != tt.want || s[0].Messages != 300 {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
}

func TestVerdict(t *testing.T) {
	forwarder := func(w *world) {
		w.j.Carried(map[netip.Prefix][]dns.Name{netip.MustParsePrefix("60.1.1.0/24"): {"a.example", "b.example", "c.example"}})
		for i := range 30 {
			w.mail([]dns.Name{shop, "three.example"}[i%2], "60.1.1.9", own(spf.Fail), brokenBy("s1"), has(trait.Forwarded), from("mail.forwarder.example"))
		}
	}
	for _, tt := range []struct {
		name string
		days int
		mail func(*world)
		want Verdict
		line string
	}{
		{"no mail", 0, func(*world) {}, Wait, "not yet: no mail was counted in these days"},
		{"too few days", 11, func(*world) {}, Wait, "not yet: 11 days of 14"},
		{"nothing to hit", 14, func(*world) {}, Enforce, "enforce now: of 0 messages that would be hit, 0 look like spoofs, and 0 are honest mail without a rule"},
		{"spoofs", 14, func(w *world) { w.scatter(shop, 40) }, Enforce, "enforce now: of 40 messages that would be hit, 40 look like spoofs, and 0 are honest mail without a rule"},
		{"a forwarder", 14, forwarder, Rules, "first 1 rule, to help 30 of the 30 honest messages that would be hit"},
		{"much that is unclear", 14, func(w *world) {
			w.scatter(shop, 40)
			for range 30 {
				w.mail(shop, "46.1.1.9", passes("esp.example"))
			}
		}, Wait, "not yet: of 70 messages that would be hit, it is unclear what 30 are; look at their examples"},
		{"honest mail without a rule", 14, func(w *world) {
			w.scatter(shop, 40)
			for range 30 {
				w.mail(shop, "47.1.1.9", has(trait.AuthorRecordBroken))
			}
		}, Wait, "not yet: 30 messages of honest senders would be hit, and no rule can be proposed for them; tell these senders, or write rules"},
	} {
		w := newWorld(t, policy.Config{})
		w.usual(shop, true)
		w.usual("three.example", true)
		tt.mail(w)
		if r := w.report(tt.days); r.Verdict != tt.want || r.Reason.Text != tt.line {
			t.Errorf("%s: %s, %q", tt.name, r.Verdict, r.Reason.Text)
		}
	}
}

// TestRules checks that the proposed rules can stand in a configuration, and do what the report says.
func TestRules(t *testing.T) {
	w := newWorld(t, policy.Config{})
	w.usual(shop, true)
	w.usual("three.example", true)
	w.j.Carried(map[netip.Prefix][]dns.Name{netip.MustParsePrefix("60.1.1.0/24"): {"a.example", "b.example", "c.example"}})
	for i := range 30 {
		w.mail([]dns.Name{shop, "three.example"}[i%2], "60.1.1.9", own(spf.Fail), brokenBy("s1"), has(trait.Forwarded), from("mail.forwarder.example"))
	}
	for range 20 {
		w.mail(shop, "192.0.2.7")
	}
	r := w.report(14)
	if len(r.Proposed) != 2 || r.Harmed != 50 || r.Left != 0 {
		t.Fatalf("%+v, harmed %d, left %d", r.Proposed, r.Harmed, r.Left)
	}
	if p := r.Proposed[0]; p.Looks != Forwarded || p.Messages != 30 || p.Authors != 2 || p.Rule.Then != "accept" || fmt.Sprint(p.Rule.When[string(forwarders.ClientName)]) != "[mail.forwarder.example]" {
		t.Errorf("%+v", p)
	}
	if p := r.Proposed[1]; p.Looks != Author || p.Messages != 20 || fmt.Sprint(p.Rule.When["author"], p.Rule.When["client"]) != "[shop.example .shop.example] [192.0.2.0/24]" {
		t.Errorf("%+v", p)
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(r.YAML()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Policy.Overrides = []config.Override{{File: path}}
	rules, err := cfg.Rules(config.LoadRules)
	if err != nil {
		t.Fatalf("%v\n%s", err, r.YAML())
	}
	again := newWorld(t, rules.Policy)
	again.usual(shop, true)
	again.mail(shop, "60.1.1.9", own(spf.Fail), brokenBy("s1"), from("mail.forwarder.example"), func(e *msgauth.Evaluation) { e.Time = today.Time() })
	again.mail(shop, "192.0.2.7", func(e *msgauth.Evaluation) { e.Time = today.Time() })
	again.mail(shop, "192.0.3.7", func(e *msgauth.Evaluation) { e.Time = today.Time() })
	if r := again.report(14); r.Excepted != 2 || len(r.Proposed) != 0 {
		t.Errorf("with the rules, %d of 3 messages are let through; proposed: %+v", r.Excepted, r.Proposed)
	}
}

// TestHostile checks that the page and the text show what strangers wrote as text.
func TestHostile(t *testing.T) {
	w := newWorld(t, policy.Config{})
	w.mail("a.example", "47.1.1.9", from("<script>alert(1)</script>\x1b[2J.evil.example"))
	w.hits["a.example"].Domain = "a.example"
	w.j.owner("a.example").broken = []ledger.Breakage{{Domain: "a.example", Kind: ledger.SignatureFails, Subject: "s=<b>\u202e", Evidence: "<i>"}}
	r := w.report(14)
	var page, text bytes.Buffer
	for _, l := range Languages {
		if err := r.HTML(&page, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<b>", "<i>"} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if strings.ContainsAny(text.String(), "\x1b\u202e") {
		t.Errorf("%q", text.String())
	}
}

// TestSentences checks that each sentence has both languages, with the same arguments.
func TestSentences(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sentences {
		args := []any{}
		for range max(strings.Count(s.english, "%"), strings.Count(s.japanese, "%")) {
			if strings.Contains(s.english, "%s") {
				args = append(args, "x")
			} else {
				args = append(args, 7)
			}
		}
		r := newReason(s.word, args...)
		for _, l := range Languages {
			if text := r.In(l); strings.Contains(text, "%!") || text == s.word || seen[s.word] {
				t.Errorf("%s: %q", s.word, text)
			}
		}
		seen[s.word] = true
	}
	if newReason("no such word").Text != "no such word" {
		t.Error("an unknown word")
	}
	for _, l := range labels {
		if l.english == "" || l.japanese == "" {
			t.Errorf("%q lacks a language", l.word)
		}
	}
	if strings.Contains(label("spoof", Japanese), "spoof") || label("spoof", Japanese) != "なりすまし" {
		t.Error(label("spoof", Japanese))
	}
}

// TestBounds: more domains, samples, hosts, signatures, authors and rules than there is room for.
func TestBounds(t *testing.T) {
	w := newWorld(t, policy.Config{})
	w.usual(shop, true)
	for n := range MaxDomains + 7 {
		w.j.Hit(ledger.Hit{Domain: dns.Name(fmt.Sprintf("d%d.example", n)), Reject: 2})
	}
	if len(w.j.Hits()) != MaxDomains || w.j.more != 7 || w.j.moreMessages != 14 {
		t.Errorf("%d domains, %d more with %d messages", len(w.j.Hits()), w.j.more, w.j.moreMessages)
	}
	e := func(n int) *msgauth.Evaluation {
		e := &msgauth.Evaluation{From: author.From{AuthorDomain: dns.Name(fmt.Sprintf("d%d.example", n%MaxDomains))}, IPRev: iprev.Result{Status: iprev.Pass, Name: dns.Name(fmt.Sprintf("h%d.host%d.example", n, n%99))},
			DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject}}
		e.Session.Client = netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})
		for i := range 50 {
			brokenBy(fmt.Sprint(i))(e)
		}
		return e
	}
	for n := range MaxSamples {
		if !w.j.Sample(fmt.Sprint(n), e(n)) {
			t.Fatal("a sample does not count")
		}
	}
	if w.j.Sample("one more", e(MaxSamples)) || len(w.j.samples) != MaxSamples || len(w.j.samples[0].keys) != maxSelectors {
		t.Errorf("%d samples, %d signatures", len(w.j.samples), len(w.j.samples[0].keys))
	}
	r := w.j.Report()
	for _, d := range r.Domains {
		for _, s := range d.Streams {
			if len(s.Hosts) > maxHosts {
				t.Errorf("%d hosts", len(s.Hosts))
			}
		}
	}
	for k, h := range w.j.hosts {
		if len(h.owners) > maxOwners || len(h.names) > maxOwners || len(h.networks) > maxOwners {
			t.Errorf("host %v: %d authors", k, len(h.owners))
		}
	}
	// Each of 30 domains sends much mail without a signature from its own network.
	w = newWorld(t, policy.Config{})
	for n := range maxRules + 10 {
		d := dns.Name(fmt.Sprintf("d%d.example", n))
		w.usual(d, true)
		for range 10 {
			w.mail(d, "192.0.2.7")
		}
	}
	if r := w.report(14); len(r.Proposed) != maxRules || r.Left != 100 || r.Harmed != 300 {
		t.Errorf("%d rules, %d of %d left", len(r.Proposed), r.Left, r.Harmed)
	}
}
