package report

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

const authorDomain = "bank.example"

// evaluated returns a message of bank.example, whose record is "v=DMARC1; rua=…; " and text.
func evaluated(t testing.TB, result dmarc.Result, text string) msgauth.Evaluation {
	t.Helper()
	record, err := dmarc.ParseRecord("v=DMARC1; rua=mailto:r@bank.example; " + text)
	if err != nil {
		t.Fatal(err)
	}
	e := msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr("203.0.113.66")},
		Envelope: msgauth.Envelope{MailFrom: "<sender@evil.example>", Recipients: []string{"<recipient@here.example>"}},
		From:     author.From{AuthorDomain: authorDomain},
		MailFrom: spf.Check{Result: spf.None, Domain: "evil.example", Reason: spf.ReasonNoRecord},
		IPRev:    iprev.Result{Status: iprev.Pass},
		Time:     time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC),
		DMARC: dmarc.Evaluation{
			Result: result, AuthorDomain: authorDomain, OrganizationalDomain: authorDomain, Method: dmarc.TreeWalk,
			PolicyDomain: authorDomain, Source: dmarc.SourceAuthor, Record: record, Tag: "p",
			PolicyPublished: record.P, Disposition: record.P, Testing: record.Test,
		},
	}
	if record.Test {
		e.DMARC.Disposition = map[dmarc.Policy]dmarc.Policy{"none": "none", "quarantine": "none", "reject": "quarantine"}[record.P]
	}
	switch result {
	case dmarc.ResultPass:
		e.MailFrom = spf.Check{Result: spf.Pass, Domain: authorDomain}
		e.DMARC.AlignedSPF = true
	case dmarc.ResultTempError:
		e.DMARC.Enforcing = e.DMARC.Disposition
		e.DKIM = []dkim.Signature{{Result: dkim.TempError, Reason: "dns_timeout", Domain: authorDomain, Selector: "s"}}
		e.DMARC.Alignments = []dmarc.Alignment{{
			Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: authorDomain, State: dmarc.StateTempError}, Aligned: true,
		}}
	}
	return e
}

// site is what the words under "here" mean.
type site struct {
	config                             policy.Config
	consent                            policy.Consent
	noHold, unlabelled, forged, sealed bool
	missingRule                        bool
}

func siteOf(t *testing.T, words string) (s site) {
	t.Helper()
	everybody := policy.Conditions{Author: []policy.Pattern{authorDomain}}
	for word := range strings.FieldsSeq(words) {
		word, value, _ := strings.Cut(word, ":")
		action := policy.Outcome{Action: policy.Action(value)}
		c := &s.config
		switch word {
		case "enforce":
		case "monitor":
			c.Mode = policy.Monitor
		case "tag":
			c.Quarantine = policy.QuarantineTag
		case "always":
			c.Reject = policy.RejectAlways
		case "soften":
			c.Reject = policy.RejectQuarantine
		case "accept":
			c.TempError = policy.Accept
		case "ramp":
			percent, _ := strconv.Atoi(value)
			c.Ramp = &policy.Ramp{Percent: percent}
		case "sealer":
			c.TrustedSealers, s.sealed = []dns.Name{"lists.example"}, true
		case "rule":
			c.Rules = []policy.Rule{{ID: secretRule, When: everybody, Then: action}}
		case "rule-list":
			c.Rules = []policy.Rule{{ID: secretRule, When: policy.Conditions{Traits: []trait.Trait{trait.List}}, Then: action}}
		case "rule-forwarded":
			c.Rules = []policy.Rule{{ID: secretRule, When: policy.Conditions{Traits: []trait.Trait{trait.Forwarded}}, Then: action}}
		case "as":
			c.Rules = []policy.Rule{{ID: secretRule, When: everybody, Then: policy.Outcome{Policy: dmarc.Policy(value)}}}
		case "undecided":
			c.Rules, s.missingRule = []policy.Rule{{
				ID: secretRule, When: policy.Conditions{DKIM: []policy.Pattern{"third.example"}}, Then: policy.Outcome{Action: policy.Accept},
			}}, true
		case "in":
			s.consent.In = 1
		case "out":
			s.consent.Out = 1
		case "mixed":
			s.consent = policy.Consent{In: 1, Out: 1}
		case "no_hold":
			s.noHold = true
		case "unlabelled":
			s.unlabelled = true
		case "forged":
			s.forged = true
		default:
			t.Fatalf("the table has an unknown word: %s", word)
		}
	}
	return s
}

const secretRule = "secret-rule"

// verdict returns what packages judge and filter make of the message at this site.
func (s *site) verdict(e *msgauth.Evaluation) policy.Verdict {
	if s.sealed {
		e.ARC = arc.Result{Status: arc.Pass, Sets: []arc.Set{{Instance: 1, Sealer: "lists.example", AuthResults: " lists.example; dmarc=pass"}}}
	}
	if s.missingRule {
		e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.TempError, Reason: "dns_timeout", Domain: "third.example", Selector: "s"})
	}
	v := policy.Decide(e, s.config).Respect(s.consent)
	if s.noHold {
		v.Applied = policy.Tag
	}
	if s.unlabelled {
		v = policy.Unlabelled(v, errors.New("no room"), s.config)
	}
	if s.forged {
		v = policy.Forged(v, "mx.here.example", s.config)
	}
	return v
}

// TestDispositions checks each row of testdata/dispositions.md.
func TestDispositions(t *testing.T) {
	page, err := os.ReadFile("testdata/dispositions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "|---|---|---|---|---|---|\n")
	used := map[string]bool{}
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(row, "| \n"), " | ")
		if len(cells) != 6 {
			t.Fatalf("row with %d cells: %s", len(cells), row)
		}
		e := evaluated(t, dmarc.Result(cells[0]), cells[1])
		for word := range strings.FieldsSeq(strings.Trim(cells[2], "-")) {
			if word == string(trait.AuthorSPFFail) {
				e.MailFrom = spf.Check{Result: spf.Fail, Domain: authorDomain}
			} else {
				e.Traits.Add(trait.Trait(word))
			}
		}
		s := siteOf(t, cells[3])
		v := s.verdict(&e)
		o, ok := Observe(&e, v, Options{})
		disposition, why := "no row", []string{}
		if ok {
			disposition = string(o.Row.Disposition)
		}
		for _, r := range o.Row.Reasons {
			why = append(why, r.Type+" ("+r.Comment+")")
			used[r.Comment] = true
		}
		got := strings.Join(why, ", ")
		if got == "" {
			got = "-"
		}
		if disposition != cells[4] || got != cells[5] {
			t.Errorf("%s\ngot %s | %s (verdict %s, applied %s, reason %s)", row, disposition, got, v.Action, v.Applied, v.Reason)
		}
		harsh := v.Applied == policy.Reject || v.Enforced && v.Action == policy.Quarantine
		if o.Accepted != (ok && !harsh) {
			t.Errorf("%s\naccepted: %v", row, o.Accepted)
		}
		if failed := !o.Row.DKIM && !o.Row.SPF; ok && failed && disposition != string(e.DMARC.PolicyPublished) && got == "-" {
			t.Errorf("%s\nRFC 9990 §3.1.1.6 asks for a reason here", row)
		}
	}
	for _, comment := range []string{
		commentTest, commentList, commentForwarder, commentIndirect, commentSoftened, commentNotEnforced, commentNoAnswer,
		commentUnlabelled, commentLocal,
	} {
		if !used[comment] {
			t.Errorf("no row of the table has the comment %q", comment)
		}
	}
}
