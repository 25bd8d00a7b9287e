package attack

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// lesson is what a stranger or a domain sends every day for 20 days.
type lesson struct {
	author     dns.Name
	client     string // with %d for the number of the message, if each comes from another network
	times      int
	signed, by bool // an aligned signature passes; SPF passes, aligned
}

const lastLesson = ledger.Day(20785)

// learned returns what a daemon knows of a domain after the lessons.
func learned(t *testing.T, domain dns.Name, lessons ...lesson) ledger.Usual {
	t.Helper()
	var days []ledger.Author
	var sources []ledger.Source
	for day := lastLesson - 19; day <= lastLesson; day++ {
		table := ledger.NewTable()
		for _, l := range lessons {
			for i := range l.times {
				client := l.client
				if l.client[len(l.client)-1] == 'x' {
					client = fmt.Sprintf("100.%d.%d.1", i/250, i%250)
				}
				e := mailOf(l.author, client, l.signed, l.by)
				e.Time = day.Time()
				v := policy.Decide(e, policy.Config{})
				entry, ok := ledger.Observe(e, &v, ledger.Same, func(dns.Name) dns.Name { return "bank.example" })
				if !ok {
					t.Fatal("not counted")
				}
				table.Add(&entry, day)
			}
		}
		d := table.Take("", 0)
		for _, a := range d.Authors {
			if a.Domain == domain {
				days = append(days, a)
			}
		}
		for _, s := range d.Sources {
			if s.Domain != domain {
				continue
			}
			i := slices.IndexFunc(sources, func(o ledger.Source) bool { return o.Network == s.Network })
			if i < 0 {
				sources = append(sources, s)
			} else {
				sources[i] = sources[i].Merge(s)
			}
		}
	}
	u := ledger.Usual{Domain: domain}
	u.Sum(days, sources, lastLesson)
	return u
}

// mailOf returns a message of a domain with p=reject.
func mailOf(domain dns.Name, client string, signed, bySPF bool) *msgauth.Evaluation {
	e := &msgauth.Evaluation{
		Time: time.Unix(0, 0), From: author.From{AuthorDomain: domain}, Session: msgauth.Session{Client: netip.MustParseAddr(client)},
		MailFrom: spf.Check{Result: spf.SoftFail, Domain: domain, Record: "v=spf1 ~all"},
		DMARC: dmarc.Evaluation{AuthorDomain: domain, OrganizationalDomain: "bank.example", PolicyDomain: "bank.example", Record: &dmarc.Record{}, Result: dmarc.ResultFail,
			PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject, AlignedDKIM: signed, AlignedSPF: bySPF},
	}
	if signed {
		e.DKIM = []dkim.Signature{{Domain: domain, Selector: "s", Result: dkim.Pass, KeyBits: 2048}}
	}
	if bySPF {
		e.MailFrom.Result = spf.Pass
	}
	if signed || bySPF {
		e.DMARC.Result = dmarc.ResultPass
	}
	return e
}

// TestLearnedSigns lets an attacker teach, and looks at what then becomes of honest mail and of forgeries.
// The lessons of the domain itself come first.
func TestLearnedSigns(t *testing.T) {
	const bank, sub = dns.Name("bank.example"), dns.Name("news.bank.example")
	signs := lesson{author: bank, client: "192.0.2.1", times: 20, signed: true, by: true}
	half := lesson{author: bank, client: "192.0.2.1", times: 20, by: true}
	for _, x := range []struct {
		name    string
		domain  dns.Name
		lessons []lesson
		client  string // of the message that is then judged: one of a list, unsigned
		change  func(*msgauth.Evaluation)
		want    []trait.Trait
		verdict policy.Action
	}{
		{"a forger writes the fields of a list", bank, []lesson{signs}, "198.51.100.1", nil, []trait.Trait{trait.UnsignedUnlikeUsual, trait.UnknownSource}, policy.Reject},
		{"a botnet establishes nothing", bank, []lesson{signs, {author: bank, client: "x", times: 400}}, "100.0.3.1", nil,
			[]trait.Trait{trait.UnsignedUnlikeUsual, trait.UnknownSource}, policy.Reject},
		{"a botnet alone establishes no domain", bank, []lesson{{author: bank, client: "x", times: 400}}, "100.0.3.1", nil, nil, policy.Quarantine},
		{"a signed message is sent again from a botnet, for a domain that signs half of its mail", bank, []lesson{signs, half, {author: bank, client: "x", times: 4000, signed: true}},
			"198.51.100.1", nil, nil, policy.Quarantine},
		{"a signed message is sent again from one network", bank, []lesson{signs, {author: bank, client: "198.51.100.1", times: 1, signed: true}}, "198.51.100.1", nil,
			[]trait.Trait{trait.UnsignedUnlikeUsual, trait.KnownSource}, policy.Quarantine}, // as a List-Id field alone gives
		{"customers of a shared relay send unsigned mail that passes SPF", bank, []lesson{signs, {author: bank, client: "192.0.2.1", times: 5, by: true}}, "198.51.100.1", nil,
			[]trait.Trait{trait.UnknownSource}, policy.Quarantine},
		{"mail of a shared relay that lost its signature", bank, []lesson{signs}, "192.0.2.99", nil, []trait.Trait{trait.UnsignedUnlikeUsual, trait.KnownSource}, policy.Quarantine},
		{"a subdomain does not sign, and its parent does", sub, []lesson{signs, {author: sub, client: "192.0.2.7", times: 20, by: true}}, "198.51.100.1", nil,
			[]trait.Trait{trait.UnknownSource}, policy.Quarantine},
		{"a subdomain signs, and its parent does not", bank, []lesson{half, {author: sub, client: "192.0.2.7", times: 20, signed: true, by: true}}, "198.51.100.1", nil,
			[]trait.Trait{trait.UnknownSource}, policy.Quarantine},
		{"a subdomain that never wrote", "invented.bank.example", []lesson{signs}, "198.51.100.1", nil, nil, policy.Quarantine},
		{"the new key is not published yet", bank, []lesson{signs}, "198.51.100.1", func(e *msgauth.Evaluation) {
			e.DKIM = []dkim.Signature{{Domain: bank, Selector: "s2", Result: dkim.PermError}}
		}, []trait.Trait{trait.UnknownSource}, policy.Quarantine},
		{"a list that removes signatures, with SPF of its own", bank, []lesson{signs}, "198.51.100.1", func(e *msgauth.Evaluation) {
			e.MailFrom = spf.Check{Result: spf.Pass, Domain: "lists.example", Record: "v=spf1"}
		}, []trait.Trait{trait.UnsignedUnlikeUsual, trait.UnknownSource}, policy.Quarantine},
		{"a new provider that does not sign, and SPF passes: after one day in 20", bank, []lesson{signs, {author: bank, client: "203.0.113.1", times: 1, by: true}}, "198.51.100.1", nil,
			[]trait.Trait{trait.UnknownSource}, policy.Quarantine},
	} {
		u := learned(t, x.domain, x.lessons...)
		e := mailOf(x.domain, x.client, false, false)
		if x.change != nil {
			x.change(e)
		}
		e.Traits.Add(trait.List)
		got := u.Signs(e)
		e.Traits.Add(got...)
		v := policy.Decide(e, policy.Config{Learned: policy.LearnedUse})
		if !slices.Equal(got, x.want) || v.Action != x.verdict {
			t.Errorf("%s: %v and %s, want %v and %s (%d days, %d passes, %d signed, %d networks)", x.name, got, v.Action, x.want, x.verdict, u.Days, u.Pass, u.Signed, len(u.Networks))
		}
		if v := policy.Decide(e, policy.Config{}); v.Action != policy.Quarantine || len(v.Learned) != len(got) || len(v.Spoofing) > 0 {
			t.Errorf("%s: only observed, and %s, learned %v, spoofing %v", x.name, v.Action, v.Learned, v.Spoofing)
		}
	}
}
