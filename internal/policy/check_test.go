package policy

import (
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

func TestCheckRule(t *testing.T) {
	published := func(p ...dmarc.Policy) Conditions { return Conditions{Published: p} }
	results := func(r ...dmarc.Result) Conditions { return Conditions{DMARC: r} }
	author := []Pattern{"bank.example"}
	forged := Conditions{Author: author, Published: []dmarc.Policy{dmarc.PolicyReject}, DMARC: []dmarc.Result{dmarc.ResultFail},
		Traits: []trait.Trait{trait.List, trait.ListSignature}}
	for _, tt := range []struct {
		why  string
		w    Conditions
		then Outcome
		c    Config
		want string // the key and a part of the reason; "" if the rule is sound
	}{
		{why: "client network", w: Conditions{Client: networks("192.0.2.0/24")}, then: accept},
		{why: "the widest that count", w: Conditions{Client: networks("10.0.0.0/8", "2001:2000::/19")}, then: accept},
		{why: "one wider", w: Conditions{Client: networks("192.0.2.0/24", "8.0.0.0/7")}, then: accept, want: "client: a network wider than /8"},
		{why: "one wider of IPv6", w: Conditions{Client: networks("2001::/18")}, then: tag, want: "client: a network wider"},
		{why: "a wide one is enough to reject", w: Conditions{Client: networks("0.0.0.0/0")}, then: reject},
		{why: "a wide one beside evidence", w: Conditions{Client: networks("0.0.0.0/0"), DKIM: author}, then: accept},
		{why: "verified name", w: Conditions{ClientName: author}, then: accept},
		{why: "signature", w: Conditions{DKIM: author}, then: accept},
		{why: "sealer", w: Conditions{ARCSealer: author}, then: accept},
		{why: "envelope", w: Conditions{SPF: author}, then: accept},
		{why: "author and client", w: Conditions{Author: author, Client: networks("192.0.2.1/32")}, then: accept},

		{why: "everything that can be forged: accept", w: forged, then: accept, want: "then: \"accept\" needs evidence"},
		{why: "everything that can be forged: tag", w: forged, then: tag, want: "then: \"tag\" needs evidence"},
		{why: "everything that can be forged: quarantine", w: forged, then: quarantine, want: "then: \"quarantine\" needs evidence"},
		{why: "everything that can be forged: as if none", w: forged, then: asPolicy(dmarc.PolicyNone), want: "then: \"{policy: none}\" needs evidence"},
		{why: "everything that can be forged: as if quarantine", w: forged, then: asPolicy(dmarc.PolicyQuarantine),
			want: "then: \"{policy: quarantine}\" needs evidence"},
		{why: "everything that can be forged: reject", w: forged, then: reject},
		{why: "everything that can be forged: as if reject", w: forged, then: asPolicy(dmarc.PolicyReject)},

		{why: "quarantine is harsher than p=none", w: published(dmarc.PolicyNone), then: quarantine},
		{why: "and milder than p=reject", w: published(dmarc.PolicyNone, dmarc.PolicyReject), then: quarantine, want: "then: \"quarantine\" needs"},
		{why: "and as harsh as p=quarantine", w: published(dmarc.PolicyQuarantine), then: asPolicy(dmarc.PolicyQuarantine)},
		{why: "a policy for who has none", w: published(Absent), then: asPolicy(dmarc.PolicyQuarantine)},
		{why: "but where these are rejected it is milder", w: published(Absent), then: asPolicy(dmarc.PolicyQuarantine), c: Config{NoPolicy: Reject}, want: "then: "},
		{why: "or by SPF", w: published(Absent), then: asPolicy(dmarc.PolicyQuarantine), c: Config{SPFFail: Reject}, want: "then: "},
		{why: "tag what passes", w: results(dmarc.ResultPass), then: tag},
		{why: "tag what is open", w: results(dmarc.ResultTempError), then: tag, c: Config{TempError: Accept}},
		{why: "accept what is open and would be tagged", w: results(dmarc.ResultTempError), then: accept, c: Config{TempError: Accept}, want: "then: \"accept\" needs evidence"},
		{why: "accept what is open of a host", w: Conditions{DMARC: []dmarc.Result{dmarc.ResultTempError}, Client: networks("192.0.2.1/32")}, then: accept},
		{why: "tag what would be put off", w: results(dmarc.ResultTempError), then: tag, want: "then: \"tag\" needs"},
		{why: "tag what would be put off for want of a policy", w: results(dmarc.ResultTempError), then: tag,
			c: Config{TempError: Accept, TempErrorUnknown: TempFail}, want: "then: \"tag\" needs"},
		{why: "tag what is open and of p=none", w: Conditions{DMARC: []dmarc.Result{dmarc.ResultTempError}, Published: []dmarc.Policy{dmarc.PolicyNone}}, then: tag},
		{why: "the same where that is put off too",
			w: Conditions{DMARC: []dmarc.Result{dmarc.ResultTempError}, Published: []dmarc.Policy{dmarc.PolicyNone}}, then: tag,
			c: Config{TempErrorUnknown: TempFail}, want: "then: \"tag\" needs"},
		{why: "tag what is open and of p=quarantine",
			w: Conditions{DMARC: []dmarc.Result{dmarc.ResultTempError}, Published: []dmarc.Policy{dmarc.PolicyQuarantine}}, then: tag,
			want: "then: \"tag\" needs"},
		{why: "hold what would be put off", w: results(dmarc.ResultTempError), then: quarantine},
		{why: "p=none for what has it", w: Conditions{Author: []Pattern{"a.example"}, Published: []dmarc.Policy{dmarc.PolicyNone}}, then: asPolicy(dmarc.PolicyNone)},
		{why: "p=none for what would be put off", w: results(dmarc.ResultTempError), then: asPolicy(dmarc.PolicyNone), want: "then: \"{policy: none}\" needs"},
		{why: "accept what would be put off", w: results(dmarc.ResultTempError), then: accept, want: "then: \"accept\" needs"},

		{why: "nothing", then: reject, want: "when: has no condition"},
		{why: "no record and a fail", w: Conditions{Published: []dmarc.Policy{Absent}, DMARC: []dmarc.Result{dmarc.ResultFail, dmarc.ResultPass}},
			then: reject, want: "published: can never match"},
		{why: "a record and none", w: Conditions{Published: []dmarc.Policy{dmarc.PolicyReject}, DMARC: []dmarc.Result{dmarc.ResultNone}},
			then: reject, want: "published: can never match"},
		{why: "no author and a policy", w: Conditions{Published: []dmarc.Policy{Absent}, DMARC: []dmarc.Result{dmarc.ResultPermError}},
			then: reject, want: "published: can never match"},
		{why: "no author and an author", w: Conditions{Author: author, DMARC: []dmarc.Result{dmarc.ResultPermError}}, then: reject, want: "dmarc: can never match"},
		{why: "no author", w: results(dmarc.ResultPermError), then: reject},
		{why: "anybody with a domain in Japan", w: Conditions{SPF: []Pattern{".co.jp"}}, then: accept, want: "spf: .co.jp is not evidence"},
		{why: "anybody who rents a host", w: Conditions{ClientName: []Pattern{"mx.alumni.example", ".us-west-2.compute.amazonaws.com"}}, then: accept,
			want: "client_name: .us-west-2.compute.amazonaws.com is not evidence"},
		{why: "anybody who signs", w: Conditions{DKIM: []Pattern{".github.io"}}, then: tag, want: "dkim: .github.io is not evidence"},
		{why: "anybody who seals", w: Conditions{ARCSealer: []Pattern{".co.uk"}}, then: quarantine, want: "arc_sealer: .co.uk is not evidence"},
		{why: "a suffix only narrows", w: Conditions{SPF: []Pattern{".co.jp"}, DKIM: []Pattern{"list.example"}}, then: accept},
		{why: "a suffix to be harsh with", w: Conditions{SPF: []Pattern{".co.jp"}}, then: reject},
		{why: "a domain below a suffix", w: Conditions{SPF: []Pattern{".bank.co.jp"}}, then: accept},
		{why: "reject what is open", w: results(dmarc.ResultFail, dmarc.ResultTempError), then: reject, want: "then: rejects because of a temporary error"},
		{why: "as if reject, what is open: it is put off", w: results(dmarc.ResultFail, dmarc.ResultTempError), then: asPolicy(dmarc.PolicyReject)},
		{why: "a policy for what passes", w: results(dmarc.ResultPass), then: asPolicy(dmarc.PolicyReject), want: "then: \"{policy: reject}\" can never match"},
		{why: "accept what passes, whatever its display name", w: results(dmarc.ResultPass), then: accept, want: "then: \"accept\" needs evidence"},
		{why: "accept what passes or has no author", w: results(dmarc.ResultPass, dmarc.ResultPermError), then: accept, want: "then: \"accept\" needs evidence"},
		{why: "accept what passes from a host", w: Conditions{DMARC: []dmarc.Result{dmarc.ResultPass}, Client: networks("192.0.2.1/32")}, then: accept},
		{why: "accept what passes of an author", w: Conditions{DMARC: []dmarc.Result{dmarc.ResultPass}, Author: author}, then: accept},
		{why: "accept what passes of anybody in Japan", w: Conditions{DMARC: []dmarc.Result{dmarc.ResultPass}, Author: []Pattern{".co.jp"}}, then: accept,
			want: "author: .co.jp is not evidence"},
		{why: "accept what passes of an author, or is open", w: Conditions{DMARC: []dmarc.Result{dmarc.ResultPass, dmarc.ResultTempError}, Author: author}, then: accept,
			c: Config{TempError: Accept}, want: "then: \"accept\" needs evidence"},
		{why: "accept what has no author", w: results(dmarc.ResultPermError), then: accept, want: "then: \"accept\" never applies"},
	} {
		got := ""
		if err := tt.c.CheckRule(Rule{ID: "r", When: tt.w, Then: tt.then}); err != nil {
			got = err.Key + ": " + err.Why
			if err.Error() != "policy: "+got {
				t.Errorf("%s: %s", tt.why, err)
			}
		}
		if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.why, got, tt.want)
		}
	}
}

// TestForgedIsNeverMild tries rules whose conditions a spoofer can all fulfil.
// The rules that CheckRule accepts must not give a spoof a milder action.
func TestForgedIsNeverMild(t *testing.T) {
	outcomes := []Outcome{accept, tag, quarantine, reject, asPolicy(dmarc.PolicyNone), asPolicy(dmarc.PolicyQuarantine), asPolicy(dmarc.PolicyReject)}
	conditions := []Conditions{{Author: []Pattern{"bank.example"}}, {Traits: trait.All()}, {DMARC: []dmarc.Result{dmarc.ResultFail}}}
	for _, p := range PublishedValues {
		conditions = append(conditions, Conditions{Published: []dmarc.Policy{p}},
			Conditions{Published: []dmarc.Policy{p, dmarc.PolicyNone}, Author: []Pattern{"bank.example"}})
	}
	sound, forgeable := 0, 0
	for _, p := range []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject} {
		e := failing(p)
		e.Traits.Add(trait.Bulk) // a trait that the rules match, and that is not a sign of indirect mail
		without := Decide(&e, Config{})
		for _, w := range conditions {
			for _, then := range outcomes {
				r := Rule{ID: "r", When: w, Then: then}
				if (Config{}).CheckRule(r) != nil {
					forgeable++
					continue
				}
				sound++
				if v := Decide(&e, Config{Rules: []Rule{r}}); rank(v.Action) < rank(without.Action) {
					t.Errorf("p=%s: %+v makes a spoof %s", p, r, v.Action)
				}
			}
		}
	}
	if sound < 50 || forgeable < 50 {
		t.Errorf("%d sound, %d refused: nothing was tested", sound, forgeable)
	}
}

// TestTaggedStaysTagged tries rules whose conditions a stranger can all fulfil. The rules that CheckRule accepts must not accept a message
// that is tagged without them.
func TestTaggedStaysTagged(t *testing.T) {
	misled := judged(t, ` "ceo@bank.example" <a@evil.example>`)
	misled.DMARC = dmarc.Evaluation{Result: dmarc.ResultPass, PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject}
	open, none, absent := undecided(dmarc.PolicyReject, "dkim timeout"), failing(dmarc.PolicyNone), unpublished(spf.None)
	results := [][]dmarc.Result{nil}
	for _, r := range DMARCValues {
		results = append(results, []dmarc.Result{r}, []dmarc.Result{r, dmarc.ResultPermError})
	}
	for why, e := range map[string]*msgauth.Evaluation{"a pass with the address of another": misled, "not decided": &open, "p=none": &none, "no policy": &absent} {
		e.Traits.Add(trait.Bulk)
		if v := Decide(e, Config{TempError: Accept}); v.Action != Tag {
			t.Fatalf("%s: %s without a rule", why, v.Action)
		}
		sound := 0
		for _, result := range results {
			for _, published := range [][]dmarc.Policy{nil, {dmarc.PolicyReject}, {dmarc.PolicyNone}, {Absent}} {
				for _, traits := range [][]trait.Trait{nil, {trait.Bulk}} {
					for _, a := range OutcomeActions {
						c := Config{TempError: Accept, Rules: []Rule{{ID: "r", When: Conditions{DMARC: result, Published: published, Traits: traits}, Then: Outcome{Action: a}}}}
						if c.CheckRule(c.Rules[0]) != nil {
							continue
						}
						sound++
						if v := Decide(e, c); rank(v.Action) < rank(Tag) {
							t.Errorf("%s, a rule for %s: %s", why, c.Rules[0].When, v.Action)
						}
					}
				}
			}
		}
		if sound < 50 {
			t.Errorf("%s: %d rules were tried", why, sound)
		}
	}
	// The author's domain authenticated, so a rule for a pass may trust it.
	c := Config{Rules: []Rule{{ID: "r", When: Conditions{DMARC: []dmarc.Result{dmarc.ResultPass}, Author: []Pattern{"evil.example"}}, Then: accept}}}
	if err := c.CheckRule(c.Rules[0]); err != nil {
		t.Error(err)
	}
	outcome{Accept, ReasonRule}.check(t, "a rule for this author", Decide(misled, c))
}

func TestParsePattern(t *testing.T) {
	for in, want := range map[string]Pattern{
		"Example.COM": "example.com", ".Example.com": ".example.com", "bücher.example": "xn--bcher-kva.example", "example.com.": "example.com",
		"": "", ".": "", "com": "", ".com": "", "..example.com": "", "*.example.com": "", "a b.example": "", "@example.com": "",
	} {
		got, err := ParsePattern(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestShadows(t *testing.T) {
	june, july := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	wide := Conditions{Author: []Pattern{".bank.example", "bank.example"}}
	narrow := Conditions{Author: []Pattern{".mail.bank.example"}, Traits: []trait.Trait{trait.SRS}}
	for _, tt := range []struct {
		why  string
		a, b Rule
		want bool
	}{
		{"the same", Rule{When: wide, Then: reject}, Rule{When: wide, Then: reject}, true},
		{"narrower", Rule{When: wide, Then: reject}, Rule{When: narrow, Then: accept}, true},
		{"wider", Rule{When: narrow, Then: reject}, Rule{When: wide, Then: accept}, false},
		{"the second has one more value",
			Rule{When: wide, Then: reject}, Rule{When: Conditions{Author: []Pattern{"bank.example", "shop.example"}}, Then: reject}, false},
		{"the first has one more key", Rule{When: narrow, Then: reject}, Rule{When: Conditions{Author: narrow.Author}, Then: reject}, false},
		{"networks", Rule{When: Conditions{Client: networks("192.0.2.0/24")}, Then: reject},
			Rule{When: Conditions{Client: networks("192.0.2.128/25", "192.0.2.1/32")}, Then: reject}, true},
		{"a wider network", Rule{When: Conditions{Client: networks("192.0.2.0/24")}, Then: reject},
			Rule{When: Conditions{Client: networks("192.0.0.0/16")}, Then: reject}, false},
		{"networks of two families", Rule{When: Conditions{Client: networks("0.0.0.0/0")}, Then: reject},
			Rule{When: Conditions{Client: networks("2001:db8::/32")}, Then: reject}, false},
		{"a dot does not include the domain", Rule{When: Conditions{DKIM: []Pattern{".a.example"}}, Then: reject},
			Rule{When: Conditions{DKIM: []Pattern{"a.example"}}, Then: reject}, false},
		{"enumerations", Rule{When: Conditions{DMARC: []dmarc.Result{dmarc.ResultFail, dmarc.ResultNone}}, Then: reject},
			Rule{When: Conditions{DMARC: []dmarc.Result{dmarc.ResultFail}}, Then: reject}, true},
		{"the first ends before", Rule{When: wide, Then: reject, Expires: june}, Rule{When: wide, Then: reject}, false},
		{"the first ends before the second", Rule{When: wide, Then: reject, Expires: june}, Rule{When: wide, Then: reject, Expires: july}, false},
		{"the second ends before", Rule{When: wide, Then: reject, Expires: july}, Rule{When: wide, Then: reject, Expires: june}, true},
		{"a mild one does not apply to messages without an author", Rule{When: Conditions{Client: networks("192.0.2.0/24")}, Then: accept},
			Rule{When: Conditions{Client: networks("192.0.2.1/32")}, Then: reject}, false},
		{"a mild one takes all messages if the second needs an author", Rule{When: Conditions{Client: networks("192.0.2.0/24")}, Then: accept},
			Rule{When: Conditions{Client: networks("192.0.2.1/32"), Author: wide.Author}, Then: reject}, true},
	} {
		if got := tt.a.Shadows(&tt.b); got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
	}
}
