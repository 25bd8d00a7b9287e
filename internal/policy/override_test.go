package policy

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
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

var (
	accept     = Outcome{Action: Accept}
	tag        = Outcome{Action: Tag}
	quarantine = Outcome{Action: Quarantine}
	reject     = Outcome{Action: Reject}
)

func asPolicy(p dmarc.Policy) Outcome { return Outcome{Policy: p} }

func networks(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// change edits the message of a test case.
type change = func(e *msgauth.Evaluation)

func client(addr string) change {
	return func(e *msgauth.Evaluation) { e.Session.Client = netip.MustParseAddr(addr) }
}

func iprevIs(status iprev.Status, names ...dns.Name) change {
	return func(e *msgauth.Evaluation) {
		e.IPRev = iprev.Result{Status: status, Names: names}
		if status == iprev.Pass {
			e.IPRev.Name = names[0]
		}
	}
}

func signed(result dkim.Result, domain dns.Name) change {
	return func(e *msgauth.Evaluation) {
		e.DKIM = append(e.DKIM, dkim.Signature{Result: result, Domain: domain})
	}
}

func spfIs(result spf.Result, domain dns.Name) change {
	return func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: result, Domain: domain} }
}

func sealed(status arc.Status, results string, sealers ...dns.Name) change {
	return func(e *msgauth.Evaluation) {
		e.ARC = arc.Result{Status: status}
		for i, s := range sealers {
			e.ARC.Sets = append(e.ARC.Sets, arc.Set{Instance: i + 1, Sealer: s, AuthResults: results})
		}
	}
}

func result(r dmarc.Result) change {
	return func(e *msgauth.Evaluation) { e.DMARC.Result = r }
}

func all(changes ...change) change {
	return func(e *msgauth.Evaluation) {
		for _, c := range changes {
			c(e)
		}
	}
}

// TestMatch checks for each condition which messages match, which do not, and
// for which the answer is open.
func TestMatch(t *testing.T) {
	const good = " lists.example; dmarc=pass"
	nothing := func(*msgauth.Evaluation) {}
	for _, tt := range []struct {
		why    string
		w      Conditions
		change change
		want   answer
	}{
		{"client in the network", Conditions{Client: networks("10.0.0.0/8", "192.0.2.0/24")}, client("192.0.2.7"), yes},
		{"client as IPv6 sees IPv4", Conditions{Client: networks("192.0.2.0/24")}, client("::ffff:192.0.2.7"), yes},
		{"client with a zone", Conditions{Client: networks("fe80::/10")}, client("fe80::1%eth0"), yes},
		{"client elsewhere", Conditions{Client: networks("192.0.2.0/24")}, client("192.0.3.7"), no},
		{"client not known", Conditions{Client: networks("0.0.0.0/0", "::/0")}, func(e *msgauth.Evaluation) { e.Session.Client = netip.Addr{} }, no},

		{"verified name", Conditions{ClientName: []Pattern{".relay.example"}}, iprevIs(iprev.Pass, "mx1.relay.example"), yes},
		{"a dot does not include the domain", Conditions{ClientName: []Pattern{".relay.example"}}, iprevIs(iprev.Pass, "relay.example"), no},
		{"a suffix is of whole labels", Conditions{ClientName: []Pattern{".relay.example"}}, iprevIs(iprev.Pass, "xrelay.example"), no},
		{"without a dot the name alone", Conditions{ClientName: []Pattern{"relay.example"}}, iprevIs(iprev.Pass, "mx1.relay.example"), no},
		{"a name that does not point back", Conditions{ClientName: []Pattern{".relay.example"}}, iprevIs(iprev.Fail, "mx1.relay.example"), no},
		{"the MTA's own word is not looked at", Conditions{ClientName: []Pattern{".relay.example"}},
			all(iprevIs(iprev.PermError), func(e *msgauth.Evaluation) { e.Session.ClientName = "mx1.relay.example" }), no},
		{"its address did not come", Conditions{ClientName: []Pattern{".relay.example"}}, iprevIs(iprev.TempError, "x.other.example", "mx1.relay.example"), no},
		{"no slot to look up its address", Conditions{ClientName: []Pattern{".relay.example"}},
			all(iprevIs(iprev.TempError, "x.other.example", "mx1.relay.example"), iprevFailed(dns.KindBudget)), noSlot},
		{"no slot to look up the address of another name", Conditions{ClientName: []Pattern{".relay.example"}},
			all(iprevIs(iprev.TempError, "mx1.other.example"), iprevFailed(dns.KindBudget)), no},
		{"no slot to look up its name", Conditions{ClientName: []Pattern{".relay.example"}},
			all(iprevIs(iprev.TempError), iprevFailed(dns.KindBudget)), noSlot},
		{"a bug of ours", Conditions{ClientName: []Pattern{".relay.example"}}, all(iprevIs(iprev.TempError), panics(msgauth.IPRev)), unknown},
		{"the address of another name did not come", Conditions{ClientName: []Pattern{".relay.example"}}, iprevIs(iprev.TempError, "mx1.other.example"), no},
		{"no name came", Conditions{ClientName: []Pattern{".relay.example"}}, iprevIs(iprev.TempError), no},
		{"its reverse zone is broken", Conditions{ClientName: []Pattern{".relay.example"}}, all(iprevIs(iprev.TempError), iprevFailed(dns.KindServFail)), no},

		{"passing signature", Conditions{DKIM: []Pattern{"lists.example"}}, all(signed(dkim.Fail, "x.example"), signed(dkim.Pass, "lists.example")), yes},
		{"failing signature", Conditions{DKIM: []Pattern{"lists.example"}}, signed(dkim.Fail, "lists.example"), no},
		{"signature of another", Conditions{DKIM: []Pattern{"lists.example"}}, signed(dkim.Pass, "x.lists.example"), no},
		{"its key did not come", Conditions{DKIM: []Pattern{"lists.example"}}, signed(dkim.TempError, "lists.example"), unknown},
		{"no slot to look up its key", Conditions{DKIM: []Pattern{"lists.example"}}, signedFor(dkim.TempError, "lists.example", "dns_budget"), noSlot},
		{"no slot for one key, no answer about the other", Conditions{DKIM: []Pattern{"lists.example"}},
			all(signed(dkim.TempError, "lists.example"), signedFor(dkim.TempError, "lists.example", "dns_budget")), noSlot},
		{"another's key did not come", Conditions{DKIM: []Pattern{"lists.example"}}, signed(dkim.TempError, "evil.example"), no},
		{"our own failure", Conditions{DKIM: []Pattern{"lists.example"}}, signed(dkim.TempError, ""), unknown},
		{"a pass beside a key that did not come", Conditions{DKIM: []Pattern{"lists.example"}},
			all(signed(dkim.TempError, "lists.example"), signed(dkim.Pass, "lists.example")), yes},

		{"newest seal", Conditions{ARCSealer: []Pattern{"lists.example"}}, sealed(arc.Pass, good, "x.example", "lists.example"), yes},
		{"older seal", Conditions{ARCSealer: []Pattern{"lists.example"}}, sealed(arc.Pass, good, "lists.example", "x.example"), no},
		{"broken chain", Conditions{ARCSealer: []Pattern{"lists.example"}}, sealed(arc.Fail, good, "lists.example"), no},
		{"a chain that takes too much work", Conditions{ARCSealer: []Pattern{"lists.example"}}, sealed(arc.NotEvaluated, good, "lists.example"), no},
		{"its key did not come (ARC)", Conditions{ARCSealer: []Pattern{"lists.example"}},
			all(sealed(arc.Fail, good, "lists.example"), func(e *msgauth.Evaluation) { e.ARC.Signature = "dns_timeout" }), unknown},
		{"the sealer says fail", Conditions{ARCSealer: []Pattern{"lists.example"}}, sealed(arc.Pass, " lists.example; dmarc=fail", "lists.example"), no},
		{"no chain", Conditions{ARCSealer: []Pattern{"lists.example"}}, nothing, no},
		{"a bug in ARC", Conditions{ARCSealer: []Pattern{"lists.example"}},
			func(e *msgauth.Evaluation) { e.Panics = []msgauth.Panic{{Component: msgauth.ARC}} }, unknown},

		{"SPF pass", Conditions{SPF: []Pattern{"fwd.example"}}, spfIs(spf.Pass, "fwd.example"), yes},
		{"SPF softfail", Conditions{SPF: []Pattern{"fwd.example"}}, spfIs(spf.SoftFail, "fwd.example"), no},
		{"SPF not known", Conditions{SPF: []Pattern{"fwd.example"}}, spfIs(spf.TempError, "fwd.example"), unknown},
		{"no slot for SPF", Conditions{SPF: []Pattern{"fwd.example"}},
			all(spfIs(spf.TempError, "fwd.example"), func(e *msgauth.Evaluation) { e.MailFrom.Reason = spf.ReasonDNSBudget }), noSlot},
		{"SPF of another not known", Conditions{SPF: []Pattern{"fwd.example"}}, spfIs(spf.TempError, "x.example"), no},

		{"author", Conditions{Author: []Pattern{".bank.example", "bank.example"}}, nothing, yes},
		{"another author", Conditions{Author: []Pattern{"xbank.example"}}, nothing, no},
		{"no author", Conditions{Author: []Pattern{"bank.example"}}, func(e *msgauth.Evaluation) { e.From.AuthorDomain = "" }, no},

		{"published", Conditions{Published: []dmarc.Policy{dmarc.PolicyReject}}, nothing, yes},
		{"published otherwise", Conditions{Published: []dmarc.Policy{dmarc.PolicyNone, Absent}}, nothing, no},
		{"nothing published", Conditions{Published: []dmarc.Policy{Absent}},
			func(e *msgauth.Evaluation) { e.DMARC = dmarc.Evaluation{Result: dmarc.ResultNone} }, yes},
		{"not known what is published", Conditions{Published: []dmarc.Policy{Absent}},
			func(e *msgauth.Evaluation) { e.DMARC = dmarc.Evaluation{Result: dmarc.ResultTempError} }, unknown},
		{"there is no author, so no policy", Conditions{Published: []dmarc.Policy{Absent}},
			func(e *msgauth.Evaluation) { e.DMARC = dmarc.Evaluation{Result: dmarc.ResultPermError} }, no},

		{"DMARC result", Conditions{DMARC: []dmarc.Result{dmarc.ResultPass, dmarc.ResultFail}}, nothing, yes},
		{"another result", Conditions{DMARC: []dmarc.Result{dmarc.ResultFail}}, result(dmarc.ResultTempError), no},

		{"no trait", Conditions{Traits: trait.All()}, nothing, no},
		{"a word that is not a trait", Conditions{Traits: []trait.Trait{"x"}}, nothing, no},
		{"all keys", Conditions{Author: []Pattern{"bank.example"}, DKIM: []Pattern{"lists.example"}}, signed(dkim.Pass, "lists.example"), yes},
		{"one key does not hold", Conditions{Author: []Pattern{"shop.example"}, DKIM: []Pattern{"lists.example"}}, signed(dkim.Pass, "lists.example"), no},
		{"one key is open", Conditions{Author: []Pattern{"bank.example"}, DKIM: []Pattern{"lists.example"}}, signed(dkim.TempError, "lists.example"), unknown},
		{"one key is open, another does not hold", Conditions{DKIM: []Pattern{"lists.example"}, Traits: []trait.Trait{trait.List}},
			signed(dkim.TempError, "lists.example"), no},
	} {
		e := with(failing(dmarc.PolicyReject), tt.change)
		if got := tt.w.match(&e); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.why, got, tt.want)
		}
	}
}

// TestTraitConditions checks that a rule for a trait matches a message with
// this trait, and no message that only has another trait.
func TestTraitConditions(t *testing.T) {
	for _, shown := range trait.All() {
		e := failing(dmarc.PolicyReject)
		show(shown, &e)
		for _, asked := range trait.All() {
			want := answered(asked == shown)
			if got := (&Conditions{Traits: []trait.Trait{asked}}).match(&e); got != want {
				t.Errorf("a message with %s, and a rule for %s: %d", shown, asked, got)
			}
		}
	}
}

var june = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// TestRules checks the verdict, the override and the reply for messages under
// different rules.
func TestRules(t *testing.T) {
	lists, relay := Conditions{DKIM: []Pattern{"lists.example"}}, Conditions{ClientName: []Pattern{".relay.example"}}
	trusting := Config{TrustedSealers: []dns.Name{"lists.example"}}
	signedByList := signed(dkim.Pass, "lists.example")
	one := func(w Conditions, then Outcome) []Rule { return []Rule{{ID: "r", When: w, Then: then}} }
	bankAs := func(p dmarc.Policy) Config {
		return Config{Rules: one(Conditions{Author: []Pattern{"bank.example"}}, asPolicy(p))}
	}
	for _, tt := range []struct {
		why    string
		e      msgauth.Evaluation
		c      Config
		action Action
		reason Reason
		rule   string
		disp   dmarc.Policy
		over   string // the expected override, written "type: comment"
		reply  string
	}{
		{why: "accept", e: with(failing(dmarc.PolicyReject), signedByList), c: Config{Rules: one(lists, accept)},
			action: Accept, reason: ReasonRule, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r"},
		{why: "tag", e: with(failing(dmarc.PolicyReject), signedByList), c: Config{Rules: one(lists, tag)},
			action: Tag, reason: ReasonRule, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r"},
		{why: "quarantine where the author's policy would too is not a deviation", e: with(failing(dmarc.PolicyQuarantine), signedByList),
			c:      Config{Rules: one(lists, quarantine)},
			action: Quarantine, reason: ReasonRule, rule: "r", disp: dmarc.PolicyQuarantine},
		{why: "reject a pass", e: with(failing(dmarc.PolicyNone), all(result(dmarc.ResultPass), signedByList)), c: Config{Rules: one(lists, reject)},
			action: Reject, reason: ReasonRule, rule: "r", disp: dmarc.PolicyReject, over: "local_policy: rule r", reply: "550 5.7.1 Email rejected per local policy ("},
		{why: "reject where the policy is none", e: failing(dmarc.PolicyNone),
			c:      Config{Rules: one(Conditions{Author: []Pattern{"bank.example"}, DMARC: []dmarc.Result{dmarc.ResultFail}}, reject)},
			action: Reject, reason: ReasonRule, rule: "r", disp: dmarc.PolicyReject, over: "local_policy: rule r", reply: "550 5.7.1 Email rejected per local policy ("},
		{why: "a rule about a list", e: with(failing(dmarc.PolicyReject), all(signedByList, func(e *msgauth.Evaluation) { e.Traits.Add(trait.List) })),
			c:      Config{Rules: one(Conditions{DKIM: lists.DKIM, Traits: []trait.Trait{trait.List}}, accept)},
			action: Accept, reason: ReasonRule, rule: "r", disp: dmarc.PolicyNone, over: "mailing_list: rule r"},
		{why: "a rule about a forwarder", e: with(failing(dmarc.PolicyReject), iprevIs(iprev.Pass, "mx.relay.example")),
			c:      Config{Rules: one(Conditions{ClientName: []Pattern{".relay.example"}}, accept)},
			action: Accept, reason: ReasonRule, rule: "r", disp: dmarc.PolicyNone, over: "trusted_forwarder: rule r"},

		{why: "the first match wins", e: with(failing(dmarc.PolicyReject), signedByList), c: Config{Rules: []Rule{
			{ID: "other", When: Conditions{Author: []Pattern{"shop.example"}}, Then: reject}, {ID: "first", When: lists, Then: tag},
			{ID: "second", When: lists, Then: accept}}},
			action: Tag, reason: ReasonRule, rule: "first", disp: dmarc.PolicyNone, over: "local_policy: rule first"},
		{why: "an expired rule does not match", e: with(failing(dmarc.PolicyReject), all(signedByList, func(e *msgauth.Evaluation) { e.Time = june })),
			c:      Config{Rules: []Rule{{ID: "r", Expires: june, When: lists, Then: accept}}},
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 Email rejected per DMARC"},
		{why: "a rule matches on its last day", e: with(failing(dmarc.PolicyReject), all(signedByList, func(e *msgauth.Evaluation) { e.Time = june.Add(-1) })),
			c:      Config{Rules: []Rule{{ID: "r", Expires: june, When: lists, Then: accept}}},
			action: Accept, reason: ReasonRule, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r"},
		{why: "a rule that matches but changes nothing is recorded", e: with(failing(dmarc.PolicyReject), all(result(dmarc.ResultPass), signedByList)),
			c:      Config{Rules: one(lists, accept)},
			action: Accept, reason: ReasonRule, rule: "r", disp: dmarc.PolicyNone},

		{why: "as if p=none", e: with(failing(dmarc.PolicyReject), signedByList), c: Config{Rules: one(lists, asPolicy(dmarc.PolicyNone))},
			action: Tag, reason: ReasonNone, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r"},
		{why: "as if p=reject", e: failing(dmarc.PolicyNone), c: bankAs(dmarc.PolicyReject),
			action: Reject, reason: ReasonReject, rule: "r", disp: dmarc.PolicyReject, over: "local_policy: rule r",
			reply: "550 5.7.1 Email rejected per local policy for bank.example ("},
		{why: "as if p=reject, but indirect", e: with(failing(dmarc.PolicyNone), func(e *msgauth.Evaluation) { e.Traits.Add(trait.SRS) }),
			c:      bankAs(dmarc.PolicyReject),
			action: Quarantine, reason: ReasonIndirect, rule: "r", disp: dmarc.PolicyQuarantine, over: "local_policy: looks like indirect mail, rule r"},
		{why: "as if p=reject does not touch a pass", e: with(failing(dmarc.PolicyNone), result(dmarc.ResultPass)), c: bankAs(dmarc.PolicyReject),
			action: Accept, reason: ReasonAligned, rule: "r", disp: dmarc.PolicyNone},
		{why: "as if p=reject defers an undecided message", e: undecided(dmarc.PolicyNone, "dkim timeout"), c: bankAs(dmarc.PolicyReject),
			action: TempFail, reason: ReasonTempError, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r", reply: "451 4.7.5 "},
		{why: "as if p=quarantine defers an undecided message whose policy is not known", e: undecided("", "policy timeout"), c: bankAs(dmarc.PolicyQuarantine),
			action: TempFail, reason: ReasonTempError, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r", reply: "451 4.7.5 "},
		{why: "as if p=none delivers an undecided message", e: with(undecided(dmarc.PolicyReject, "dkim timeout"), signedByList),
			c:      Config{Rules: one(lists, asPolicy(dmarc.PolicyNone))},
			action: Tag, reason: ReasonTempError, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r"},
		{why: "accept delivers an undecided message", e: with(undecided(dmarc.PolicyReject, "dkim timeout"), signedByList), c: Config{Rules: one(lists, accept)},
			action: Accept, reason: ReasonRule, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r"},
		{why: "as if p=reject although t=y makes the policy milder",
			e:      with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.DMARC.Testing, e.DMARC.Disposition = true, dmarc.PolicyQuarantine }),
			c:      bankAs(dmarc.PolicyReject),
			action: Reject, reason: ReasonReject, rule: "r", disp: dmarc.PolicyReject, over: "local_policy: rule r", reply: "550 5.7.1 "},
		{why: "a policy for a domain without one", e: unpublished(spf.None), c: bankAs(dmarc.PolicyReject),
			action: Reject, reason: ReasonReject, rule: "r", disp: dmarc.PolicyReject, over: "local_policy: rule r",
			reply: "550 5.7.1 Email rejected per local policy for bank.example"},
		{why: "a policy for a domain without one, and a signature of a subdomain passes",
			e: with(unpublished(spf.None), signed(dkim.Pass, "mail.bank.example")), c: bankAs(dmarc.PolicyReject),
			action: Accept, reason: ReasonPassNoPolicy, rule: "r", disp: dmarc.PolicyNone},
		{why: "a policy for a domain without one, and a signature of the parent domain passes",
			e:      with(unpublished(spf.None), all(signed(dkim.Pass, "bank.example"), func(e *msgauth.Evaluation) { e.From.AuthorDomain = "news.bank.example" })),
			c:      Config{Rules: one(Conditions{Author: []Pattern{".bank.example"}}, asPolicy(dmarc.PolicyReject))},
			action: Accept, reason: ReasonPassNoPolicy, rule: "r", disp: dmarc.PolicyNone},
		{why: "a policy for a domain without one, and its own SPF passes",
			e: with(unpublished(spf.Pass), spfIs(spf.Pass, "bank.example")), c: bankAs(dmarc.PolicyReject),
			action: Accept, reason: ReasonPassNoPolicy, rule: "r", disp: dmarc.PolicyNone},
		{why: "a policy for a domain without one, and only another domain passes", e: unpublished(spf.Pass, dkim.Pass), c: bankAs(dmarc.PolicyReject),
			action: Reject, reason: ReasonReject, rule: "r", disp: dmarc.PolicyReject, over: "local_policy: rule r", reply: "550 5.7.1 "},
		{why: "a policy for a domain without one, and the key of its own signature is missing",
			e: with(unpublished(spf.None), signed(dkim.TempError, "bank.example")), c: bankAs(dmarc.PolicyReject),
			action: TempFail, reason: ReasonTempError, rule: "r", disp: dmarc.PolicyNone, over: "local_policy: rule r", reply: "451 4.7.5 "},
		{why: "the key of its own signature is missing, with policy.temperror: accept", e: with(unpublished(spf.None), signed(dkim.TempError, "bank.example")),
			c:      Config{TempError: Accept, Rules: bankAs(dmarc.PolicyReject).Rules},
			action: Tag, reason: ReasonTempError, rule: "r", disp: dmarc.PolicyNone},
		{why: "a policy for a domain without one, and the key of another domain is missing", e: unpublished(spf.None, dkim.TempError), c: bankAs(dmarc.PolicyReject),
			action: Reject, reason: ReasonReject, rule: "r", disp: dmarc.PolicyReject, over: "local_policy: rule r", reply: "550 5.7.1 "},

		{why: "no author: a rule cannot make the verdict milder",
			e: with(failing(dmarc.PolicyNone), all(signedByList, result(dmarc.ResultPermError), func(e *msgauth.Evaluation) {
				e.FromError = &author.Error{Kind: author.KindMultipleFields}
			})), c: Config{Rules: one(lists, accept)},
			action: Reject, reason: ReasonInvalidFrom, disp: dmarc.PolicyNone, reply: "550 5.7.1 From header field refused: "},
		{why: "no author: a milder rule that is open does not defer the message",
			e: with(failing(dmarc.PolicyNone), all(signed(dkim.TempError, "lists.example"), result(dmarc.ResultPermError), func(e *msgauth.Evaluation) {
				e.FromError = &author.Error{Kind: author.KindMultipleFields}
			})), c: Config{Rules: one(lists, accept)},
			action: Reject, reason: ReasonInvalidFrom, disp: dmarc.PolicyNone, reply: "550 5.7.1 From header field refused: "},
		{why: "no author: a rule may be harsher", e: with(failing(dmarc.PolicyNone), all(signedByList, result(dmarc.ResultPermError), func(e *msgauth.Evaluation) {
			e.FromError = &author.Error{Kind: author.KindMultipleFields}
		})), c: Config{InvalidFrom: Tag, Rules: one(lists, reject)},
			action: Reject, reason: ReasonRule, rule: "r", disp: dmarc.PolicyReject, over: "local_policy: rule r", reply: "550 5.7.1 Email rejected per local policy"},

		{why: "a milder rule that is open keeps the author's policy from rejecting",
			e: with(failing(dmarc.PolicyReject), signed(dkim.TempError, "lists.example")), c: Config{Rules: one(lists, accept)},
			action: TempFail, reason: ReasonUndecided, disp: dmarc.PolicyNone, over: "local_policy: undecided: r", reply: "451 4.7.5 "},
		{why: "a milder rule that is open keeps policy.no_policy from rejecting", e: with(unpublished(spf.None), signed(dkim.TempError, "lists.example")),
			c:      Config{NoPolicy: Reject, Rules: one(lists, accept)},
			action: TempFail, reason: ReasonTempError, disp: dmarc.PolicyNone, reply: "451 4.7.5 "},
		{why: "a client that breaks its own reverse zone does not leave client_name open", e: with(failing(dmarc.PolicyReject), iprevIs(iprev.TempError)),
			c:      Config{TempError: Accept, Rules: one(relay, accept)},
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{why: "the same under policy.spf_fail", e: with(unpublished(spf.Fail), iprevIs(iprev.TempError)), c: Config{SPFFail: Reject, Rules: one(relay, accept)},
			action: Reject, reason: ReasonSPFFail, disp: dmarc.PolicyNone, reply: "550 5.7.23 "},
		{why: "client_name is open, but the rule is not milder",
			e: with(failing(dmarc.PolicyReject), all(iprevIs(iprev.TempError), iprevFailed(dns.KindBudget))), c: Config{Rules: one(relay, reject)},
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{why: "client_name is open because no lookup slot was free", e: with(failing(dmarc.PolicyReject), all(iprevIs(iprev.TempError), iprevFailed(dns.KindBudget))),
			c:      Config{TempError: Accept, Rules: one(relay, accept)},
			action: TempFail, reason: ReasonUndecided, disp: dmarc.PolicyNone, over: "local_policy: undecided: r", reply: "451 4.7.5 "},
		{why: "no slot for one rule, and an earlier rule is open for another reason",
			e:      with(failing(dmarc.PolicyReject), all(signed(dkim.TempError, "lists.example"), iprevIs(iprev.TempError), iprevFailed(dns.KindBudget))),
			c:      Config{TempError: Accept, Rules: []Rule{{ID: "first", When: lists, Then: accept}, {ID: "second", When: relay, Then: accept}}},
			action: TempFail, reason: ReasonUndecided, disp: dmarc.PolicyNone, over: "local_policy: undecided: first", reply: "451 4.7.5 "},
		{why: "without putting off it is quarantined", e: with(failing(dmarc.PolicyReject), signed(dkim.TempError, "lists.example")),
			c:      Config{TempError: Accept, Rules: one(lists, accept)},
			action: Quarantine, reason: ReasonUndecided, disp: dmarc.PolicyQuarantine, over: "local_policy: undecided: r"},
		{why: "also if the rule would only quarantine", e: with(failing(dmarc.PolicyReject), signed(dkim.TempError, "lists.example")),
			c:      Config{TempError: Accept, Rules: one(lists, asPolicy(dmarc.PolicyQuarantine))},
			action: Quarantine, reason: ReasonUndecided, disp: dmarc.PolicyQuarantine, over: "local_policy: undecided: r"},
		{why: "and a later rule does not reject", e: with(failing(dmarc.PolicyNone), signed(dkim.TempError, "lists.example")),
			c: Config{TempError: Accept, Rules: []Rule{
				{ID: "mild", When: lists, Then: accept}, {ID: "hard", When: Conditions{Author: []Pattern{"bank.example"}}, Then: reject}}},
			action: Quarantine, reason: ReasonUndecided, rule: "hard", disp: dmarc.PolicyQuarantine, over: "local_policy: undecided: mild"},
		{why: "but an earlier one does", e: with(failing(dmarc.PolicyNone), signed(dkim.TempError, "lists.example")), c: Config{Rules: []Rule{
			{ID: "hard", When: Conditions{Author: []Pattern{"bank.example"}}, Then: reject}, {ID: "mild", When: lists, Then: accept}}},
			action: Reject, reason: ReasonRule, rule: "hard", disp: dmarc.PolicyReject, over: "local_policy: rule hard", reply: "550 5.7.1 "},
		{why: "an open rule does not change a quarantine", e: with(failing(dmarc.PolicyQuarantine), signed(dkim.TempError, "lists.example")),
			c:      Config{Rules: one(lists, accept)},
			action: Quarantine, reason: ReasonQuarantine, disp: dmarc.PolicyQuarantine},
		{why: "a harsher rule that is open does nothing", e: with(failing(dmarc.PolicyNone), signed(dkim.TempError, "lists.example")),
			c:      Config{Rules: one(lists, reject)},
			action: Tag, reason: ReasonNone, disp: dmarc.PolicyNone},
		{why: "a trusted sealer's key did not come",
			e: with(failing(dmarc.PolicyReject), all(sealed(arc.Fail, " x; none", "lists.example"), chainFailed("dns_servfail"))), c: trusting,
			action: TempFail, reason: ReasonUndecided, disp: dmarc.PolicyNone, over: "local_policy: undecided: arc.trusted_sealers", reply: "451 4.7.5 "},
		{why: "a trusted sealer's key did not come, with policy.temperror: accept",
			e:      with(failing(dmarc.PolicyReject), all(sealed(arc.Fail, " x; none", "lists.example"), chainFailed("dns_servfail"))),
			c:      Config{TempError: Accept, TrustedSealers: trusting.TrustedSealers},
			action: Quarantine, reason: ReasonUndecided, disp: dmarc.PolicyQuarantine, over: "local_policy: undecided: arc.trusted_sealers"},
		{why: "no lookup slot was free for a trusted sealer's key",
			e:      with(failing(dmarc.PolicyReject), all(sealed(arc.Fail, " x; none", "lists.example"), chainFailed("dns_budget"))),
			c:      Config{TempError: Accept, TrustedSealers: trusting.TrustedSealers},
			action: TempFail, reason: ReasonUndecided, disp: dmarc.PolicyNone, over: "local_policy: undecided: arc.trusted_sealers", reply: "451 4.7.5 "},
		{why: "the name of a trusted sealer's key is an alias loop",
			e: with(failing(dmarc.PolicyReject), all(sealed(arc.Fail, " x; none", "lists.example"), chainFailed("dns_loop"))), c: trusting,
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
	} {
		v := Decide(&tt.e, tt.c)
		over := ""
		if v.Override != nil {
			over = string(v.Override.Type) + ": " + v.Override.Comment
		}
		if v.Action != tt.action || v.Reason != tt.reason || v.Rule != tt.rule || v.Disposition != tt.disp || over != tt.over {
			t.Errorf("%s:\ngot  %s %s rule %q disposition %s override %q\nwant %s %s rule %q disposition %s override %q", tt.why,
				v.Action, v.Reason, v.Rule, v.Disposition, over, tt.action, tt.reason, tt.rule, tt.disp, tt.over)
		}
		refused := v.Action == Reject || v.Action == TempFail
		badReply := tt.reply == "" || v.Reply.Validate() != nil || !strings.Contains(v.Reply.Text, v.ID)
		if !strings.HasPrefix(v.Reply.String(), tt.reply) || refused && badReply {
			t.Errorf("%s: reply %q, want %q...", tt.why, v.Reply, tt.reply)
		}
	}
}
