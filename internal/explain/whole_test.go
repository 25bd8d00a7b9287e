package explain

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/lookalike"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/smtp"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/octets"
	"sekimori/internal/trait"
)

// full is an explanation that has a line of each kind.
func full() *Explanation {
	length, at := int64(9), int64(2_000_000_000)
	verdict := policy.Verdict{
		Action: policy.Reject, Applied: policy.Quarantine, Enforced: true, Reason: policy.ReasonReject, Rule: "bank", ID: "AB12CD34",
		Reply: smtp.New(smtp.CodeRefused, smtp.EnhancedRefused, "no"), Override: &policy.Override{Type: policy.OverrideLocalPolicy, Comment: "rule bank"},
		Spoofing: []trait.Trait{trait.UnknownSource}, Indirect: []trait.Trait{trait.ARC}, Learned: []trait.Trait{trait.UnknownSource, trait.KnownSource},
		Missing: []policy.Missing{{What: policy.MissingWhats[0], Cause: "timeout"}}, Evidence: []string{"spf_fail"},
	}
	milder := policy.Verdict{Action: policy.Tag, Reason: policy.ReasonNone}
	return &Explanation{
		Summary: Summary(verdict), Verdict: verdict, Mode: policy.Enforce, Shadow: &judge.Comparison{Live: milder, Candidate: milder},
		Decided: time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC), Took: 3 * time.Millisecond, Truncated: true, TimeSource: "from the topmost Received field",
		Evaluation: &msgauth.Evaluation{
			Time:     time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC),
			Session:  msgauth.Session{Client: netip.MustParseAddr("192.0.2.1"), HELO: "mx.example", Relay: netip.MustParseAddr("198.51.100.25"), RelayLine: msgauth.RelayRead, Authenticated: "ann"},
			Envelope: msgauth.Envelope{QueueID: "4Q", MailFrom: "<a@bank.example>", Recipients: []string{"<b@x>", "<c@x>"}, Size: 77},
			From: author.From{AuthorDomain: "bank.example", Notes: []author.Note{author.NoteOtherAddress},
				Mailboxes: []author.Mailbox{{DisplayName: "Ann", Local: "a", Domain: "bank.example"}}},
			IPRev: iprev.Result{Status: iprev.Pass, Name: "mx.example"}, Watch: &lookalike.Finding{List: "banks", Of: "bank.example"},
			MailFrom: spf.Check{Identity: spf.MailFrom, Domain: "bank.example", Result: spf.Fail, Mechanism: "-all", Problem: "a problem", Explanation: "why", NullSender: true, Lookups: 2, VoidLookups: 1,
				Trace: []spf.Step{{Domain: "bank.example", Term: "include:x.example", Outcome: spf.OutcomeEnter, Detail: "x"}, {Domain: "x.example", Term: "-all", Outcome: spf.OutcomeMatch, Depth: 1}}},
			HELO: spf.Check{Identity: spf.HELO, Domain: "mx.example", Result: spf.None},
			DKIM: []dkim.Signature{{Domain: "bank.example", Selector: "s", Identity: "@bank.example", Algorithm: "rsa-sha256", Canonicalization: "relaxed/simple", SignedHeaders: []string{"from", "to"},
				Result: dkim.Fail, Reason: dkim.ReasonBodyHash, Detail: "another body", Ahead: true, Timestamp: &at, KeyBits: 2048, KeyType: "rsa", Testing: true, BodyLength: &length, Uncovered: 5}},
			ARC: arc.Result{Status: arc.Fail, Reason: arc.ReasonSealSignature, Signature: dkim.ReasonSignature, Detail: "set 1: changed",
				Sets: []arc.Set{{Instance: 1, Sealer: "list.example", Selector: "s", CV: "none", MessageDomain: "list.example", MessagePass: true, AuthResults: " mx; spf=pass"}}},
			DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, Reason: "not_aligned", PolicyDomain: "bank.example", PolicyPublished: dmarc.PolicyReject, Tag: "p", Disposition: dmarc.PolicyReject,
				Record: &dmarc.Record{Raw: "v=DMARC1; p=reject"}, Enforcing: dmarc.PolicyReject, OrganizationalDomain: "bank.example",
				Trace:      []dmarc.Step{{Name: "_dmarc.bank.example", Type: dns.TypeTXT, Purpose: dmarc.PurposeAuthor, Found: dmarc.FoundRecord, PSD: "n"}},
				Alignments: []dmarc.Alignment{{Identifier: dmarc.Identifier{Mechanism: dmarc.SPF, Domain: "bank.example", State: dmarc.StatePass}, Mode: dmarc.Relaxed, Aligned: true}}},
		},
		Lookups: []dns.Lookup{{Name: "x.example", Type: dns.TypeAAAA, Answer: &dns.Answer{Type: dns.TypeAAAA, Records: []dns.Record{{Addr: netip.MustParseAddr("2001:db8::1")}}}}},
		Edits: []label.Edit{{Kind: label.Delete, Name: "Authentication-Results", Index: 1, Forged: true}, {Kind: label.Insert, Name: "Authentication-Results", Value: " mx; none"},
			{Kind: label.Insert, Name: "X-Y", Value: " a\r\n b"}, {Kind: label.Change, Name: "Subject", Index: 1, Value: " [x] s"}, {Kind: label.Quarantine, Value: "why"}},
		AuthenticationResults: " mx;\r\n spf=fail",
	}
}

// less is an explanation with one of each thing, and in which what full says is missing or the other way round.
func less() *Explanation {
	verdict := policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Reason: policy.ReasonNone, Indirect: []trait.Trait{trait.KnownSource},
		Learned: []trait.Trait{trait.KnownSource}}
	live := verdict
	live.Reason = policy.ReasonAligned
	return &Explanation{
		Summary: Summary(verdict), Verdict: verdict, Mode: policy.Enforce, Shadow: &judge.Comparison{Live: live, Candidate: verdict},
		Evaluation: &msgauth.Evaluation{
			Session:   msgauth.Session{Client: netip.MustParseAddr("192.0.2.1")},
			FromError: &author.Error{Kind: author.KindMissing}, From: author.From{AuthorDomain: "not.shown.example"},
			DKIM: []dkim.Signature{{Result: dkim.Pass, Detail: "not shown", KeyBits: 1, KeyType: "rsa"}, {Result: dkim.Pass}},
			ARC:  arc.Result{Status: arc.None},
			DMARC: dmarc.Evaluation{Result: dmarc.ResultTempError, PolicyDomain: "bank.example",
				Trace: []dmarc.Step{{Name: "_dmarc.bank.example", Type: dns.TypeTXT, Purpose: dmarc.PurposeAuthor, Found: dmarc.FoundError, Error: &dmarc.DNSError{Name: "_dmarc.bank.example", Type: dns.TypeTXT, Kind: "timeout"}}}},
		},
		Lookups: []dns.Lookup{{Name: "x.example", Type: dns.TypeA, Error: "timeout"}},
		Edits:   []label.Edit{{Kind: label.Delete, Name: "Authentication-Results", Index: 2}},
	}
}

// TestWhole compares whole texts with a file that a person has read: one with a line of each kind, one with the other words,
// one of a message of which nothing is known, and those of messages that were not evaluated.
func TestWhole(t *testing.T) {
	var b strings.Builder
	for _, r := range []*Explanation{
		full(),
		less(),
		{Evaluation: &msgauth.Evaluation{ARC: arc.Result{Status: arc.NotEvaluated}}},
		{Verdict: policy.Skipped(policy.ReasonTrusted), Session: &msgauth.Session{}, Envelope: &msgauth.Envelope{MailFrom: "<a@b.example>"}},
		{Verdict: policy.Skipped(policy.ReasonTrusted), Session: &msgauth.Session{}},
		{Verdict: policy.Skipped(policy.ReasonTrusted), Envelope: &msgauth.Envelope{}},
		{Verdict: policy.Skipped(policy.ReasonTrusted)},
	} {
		if err := r.Text(&b); err != nil {
			t.Fatal(err)
		}
		b.WriteString("----\n")
	}
	octets.Compare(t, "testdata/whole.txt", b.String())
}
