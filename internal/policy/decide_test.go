package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// failing returns a message that fails DMARC and whose author publishes the
// policy p.
func failing(p dmarc.Policy) msgauth.Evaluation {
	return msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr("203.0.113.66")},
		From:     author.From{AuthorDomain: "bank.example"},
		MailFrom: spf.Check{Result: spf.None, Domain: "evil.example"},
		IPRev:    iprev.Result{Status: iprev.Pass},
		DMARC: dmarc.Evaluation{
			Result: dmarc.ResultFail, AuthorDomain: "bank.example", OrganizationalDomain: "bank.example",
			PolicyDomain: "bank.example", PolicyPublished: p, Disposition: p,
		},
	}
}

// unpublished returns a message of a domain without a DMARC record.
func unpublished(s spf.Result, signatures ...dkim.Result) msgauth.Evaluation {
	e := failing("")
	e.DMARC = dmarc.Evaluation{Result: dmarc.ResultNone, AuthorDomain: "bank.example"}
	e.MailFrom.Result = s
	for _, r := range signatures {
		e.DKIM = append(e.DKIM, dkim.Signature{Result: r, Domain: "third.example"})
	}
	return e
}

func with(e msgauth.Evaluation, change func(e *msgauth.Evaluation)) msgauth.Evaluation {
	change(&e)
	return e
}

func TestDecide(t *testing.T) {
	list := func(e *msgauth.Evaluation) { e.Traits.Add(trait.List) }
	ownSPFFail := func(e *msgauth.Evaluation) {
		e.MailFrom = spf.Check{Result: spf.Fail, Domain: "mail.bank.example"}
	}
	sealedBy := func(sealer dns.Name, results string) func(*msgauth.Evaluation) {
		return func(e *msgauth.Evaluation) {
			e.ARC = arc.Result{Status: arc.Pass, Sets: []arc.Set{{Instance: 1, Sealer: sealer, AuthResults: results}}}
		}
	}
	trusting := Config{TrustedSealers: []dns.Name{"other.example", "lists.example"}}
	for _, tt := range []struct {
		name   string
		e      msgauth.Evaluation
		c      Config
		action Action
		reason Reason
		disp   dmarc.Policy
		over   OverrideType
		reply  string // the expected beginning of the reply
	}{
		{name: "aligned", e: with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultPass }),
			action: Accept, reason: ReasonAligned, disp: dmarc.PolicyNone},

		{name: "p=reject, nothing speaks for indirect mail", e: failing(dmarc.PolicyReject),
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 Email rejected per DMARC policy for bank.example ("},
		{name: "p=reject through a list", e: with(failing(dmarc.PolicyReject), list),
			action: Quarantine, reason: ReasonIndirect, disp: dmarc.PolicyQuarantine, over: OverrideMailingList},
		{name: "p=reject with a broken signature of the author",
			e:      with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.Traits.Add(trait.BrokenAuthorSignature) }),
			action: Quarantine, reason: ReasonIndirect, disp: dmarc.PolicyQuarantine, over: OverrideLocalPolicy},
		{name: "p=reject with ARC", e: with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.Traits.Add(trait.ARC) }),
			action: Quarantine, reason: ReasonIndirect, disp: dmarc.PolicyQuarantine, over: OverrideLocalPolicy},
		{name: "p=reject with SRS", e: with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.Traits.Add(trait.SRS) }),
			action: Quarantine, reason: ReasonIndirect, disp: dmarc.PolicyQuarantine, over: OverrideLocalPolicy},
		{name: "p=reject, resent", e: with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.Traits.Add(trait.Forwarded) }),
			action: Quarantine, reason: ReasonIndirect, disp: dmarc.PolicyQuarantine, over: OverrideLocalPolicy},
		{name: "list fields, but the author's own SPF says fail", e: with(with(failing(dmarc.PolicyReject), list), ownSPFFail),
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "list fields, but SPF of another domain says fail",
			e:      with(with(failing(dmarc.PolicyReject), list), func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.Fail, Domain: "notbank.example"} }),
			action: Quarantine, reason: ReasonIndirect, disp: dmarc.PolicyQuarantine, over: OverrideMailingList},
		{name: "list fields, but iprev fails", e: with(with(failing(dmarc.PolicyReject), list), func(e *msgauth.Evaluation) { e.IPRev.Status = iprev.Fail }),
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "list fields, and a missing reverse name is not evidence",
			e:      with(with(failing(dmarc.PolicyReject), list), func(e *msgauth.Evaluation) { e.IPRev.Status = iprev.PermError }),
			action: Quarantine, reason: ReasonIndirect, disp: dmarc.PolicyQuarantine, over: OverrideMailingList},
		{name: "a third party's signature does not speak for indirect mail",
			e:      with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.Traits.Add(trait.ThirdPartySignature) }),
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "reject: always", e: with(failing(dmarc.PolicyReject), list), c: Config{Reject: RejectAlways},
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "reject: quarantine", e: failing(dmarc.PolicyReject), c: Config{Reject: RejectQuarantine},
			action: Quarantine, reason: ReasonLocalReject, disp: dmarc.PolicyQuarantine, over: OverrideLocalPolicy},
		{name: "p=reject; t=y",
			e:      with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.DMARC.Testing, e.DMARC.Disposition = true, dmarc.PolicyQuarantine }),
			action: Quarantine, reason: ReasonQuarantine, disp: dmarc.PolicyQuarantine, over: OverrideTestMode},

		{name: "p=reject, sealed by a trusted forwarder", e: with(failing(dmarc.PolicyReject), sealedBy("lists.example", " lists.example; dmarc=pass")), c: trusting,
			action: Accept, reason: ReasonForwarder, disp: dmarc.PolicyNone, over: OverrideTrustedForwarder},
		{name: "p=quarantine, sealed by a trusted forwarder",
			e: with(failing(dmarc.PolicyQuarantine), sealedBy("lists.example", " lists.example; none")), c: trusting,
			action: Accept, reason: ReasonForwarder, disp: dmarc.PolicyNone, over: OverrideTrustedForwarder},
		{name: "even against other evidence: that is what trust is for",
			e: with(with(failing(dmarc.PolicyReject), sealedBy("lists.example", " lists.example; none")), ownSPFFail), c: trusting,
			action: Accept, reason: ReasonForwarder, disp: dmarc.PolicyNone, over: OverrideTrustedForwarder},
		{name: "the trusted forwarder itself reports a fail",
			e: with(failing(dmarc.PolicyReject), sealedBy("lists.example", " lists.example; spf=pass smtp.mailfrom=x.example; "+
				"dmarc=FAIL header.from=bank.example")),
			c:      trusting,
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "the trusted forwarder reports a fail in results that do not parse",
			e:      with(failing(dmarc.PolicyReject), sealedBy("lists.example", " lists.example; iprev=pass policy.iprev=2001:db8::1; dmarc = fail")),
			c:      trusting,
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "results that do not parse, but say pass",
			e:      with(failing(dmarc.PolicyReject), sealedBy("lists.example", " lists.example; iprev=pass policy.iprev=2001:db8::1; dmarc=pass")),
			c:      trusting,
			action: Accept, reason: ReasonForwarder, disp: dmarc.PolicyNone, over: OverrideTrustedForwarder},
		{name: "results that cannot be read at all vouch for nothing", e: with(failing(dmarc.PolicyReject), sealedBy("lists.example", " ;;\"")), c: trusting,
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "an older seal by a trusted forwarder is not enough",
			e: with(with(failing(dmarc.PolicyReject), sealedBy("lists.example", "")), func(e *msgauth.Evaluation) {
				e.ARC.Sets = append(e.ARC.Sets, arc.Set{Instance: 2, Sealer: "evil.example"})
			}), c: trusting, action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "a subdomain of a trusted sealer is another sealer", e: with(failing(dmarc.PolicyReject), sealedBy("x.lists.example", "")), c: trusting,
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "a chain that takes too much work vouches for nothing",
			e:      with(with(failing(dmarc.PolicyReject), sealedBy("lists.example", "")), func(e *msgauth.Evaluation) { e.ARC.Status = arc.NotEvaluated }),
			c:      trusting,
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "a chain that fails counts as none",
			e:      with(with(failing(dmarc.PolicyReject), sealedBy("lists.example", "")), func(e *msgauth.Evaluation) { e.ARC.Status = arc.Fail }),
			c:      trusting,
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "trust makes no pass: p=none stays a tag", e: with(failing(dmarc.PolicyNone), sealedBy("lists.example", "")), c: trusting,
			action: Tag, reason: ReasonNone, disp: dmarc.PolicyNone},

		{name: "p=quarantine", e: failing(dmarc.PolicyQuarantine),
			action: Quarantine, reason: ReasonQuarantine, disp: dmarc.PolicyQuarantine},
		{name: "p=quarantine; t=y",
			e:      with(failing(dmarc.PolicyQuarantine), func(e *msgauth.Evaluation) { e.DMARC.Testing, e.DMARC.Disposition = true, dmarc.PolicyNone }),
			action: Tag, reason: ReasonNone, disp: dmarc.PolicyNone, over: OverrideTestMode},
		{name: "p=none", e: failing(dmarc.PolicyNone),
			action: Tag, reason: ReasonNone, disp: dmarc.PolicyNone},
		{name: "p=none; t=y changes nothing, so there is no override", e: with(failing(dmarc.PolicyNone), func(e *msgauth.Evaluation) { e.DMARC.Testing = true }),
			action: Tag, reason: ReasonNone, disp: dmarc.PolicyNone},

		{name: "p=reject and a key that did not come", e: undecided(dmarc.PolicyReject, "dkim timeout"),
			action: TempFail, reason: ReasonTempError, disp: dmarc.PolicyNone, reply: "451 4.7.5 Email from bank.example cannot be authenticated now"},
		{name: "p=reject and SPF that did not come", e: undecided(dmarc.PolicyReject, "spf servfail"),
			action: TempFail, reason: ReasonTempError, disp: dmarc.PolicyNone, reply: "451 4.7.24 "},
		{name: "a panic where nothing could have passed does not save a spoof",
			e:      with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.Panics = []msgauth.Panic{{Component: msgauth.IPRev}} }),
			action: Reject, reason: ReasonReject, disp: dmarc.PolicyReject, reply: "550 5.7.1 "},
		{name: "a panic in one stage does not undo a pass", e: with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) {
			e.DMARC.Result, e.Panics = dmarc.ResultPass, []msgauth.Panic{{Component: msgauth.ARC}}
		}), action: Accept, reason: ReasonAligned, disp: dmarc.PolicyNone},

		{name: "a panic that may have cost a trusted seal",
			e: with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.Panics = []msgauth.Panic{{Component: msgauth.ARC}} }), c: trusting,
			action: TempFail, reason: ReasonTempError, disp: dmarc.PolicyNone, reply: "451 4.7.5 "},
		{name: "the same under p=none, where a seal changes nothing",
			e: with(failing(dmarc.PolicyNone), func(e *msgauth.Evaluation) { e.Panics = []msgauth.Panic{{Component: msgauth.ARC}} }), c: trusting,
			action: Tag, reason: ReasonNone, disp: dmarc.PolicyNone},

		{name: "no record, SPF passes", e: unpublished(spf.Pass), action: Accept, reason: ReasonPassNoPolicy, disp: dmarc.PolicyNone},
		{name: "no record, any DKIM passes", e: unpublished(spf.None, dkim.Fail, dkim.Pass), action: Accept, reason: ReasonPassNoPolicy, disp: dmarc.PolicyNone},
		{name: "no record, nothing passes", e: unpublished(spf.Neutral), action: Tag, reason: ReasonNoPolicy, disp: dmarc.PolicyNone},
		{name: "no record, nothing passes, reject", e: unpublished(spf.SoftFail), c: Config{NoPolicy: Reject},
			action: Reject, reason: ReasonNoPolicy, disp: dmarc.PolicyNone, reply: "550 5.7.26 "},
		{name: "no record, SPF temperror is not nothing", e: unpublished(spf.TempError),
			action: Tag, reason: ReasonTempError, disp: dmarc.PolicyNone},
		{name: "no record, SPF temperror, and what nothing passes for is quarantined here", e: unpublished(spf.TempError), c: Config{NoPolicy: Quarantine},
			action: TempFail, reason: ReasonTempError, disp: dmarc.PolicyNone, reply: "451 4.7.24 "},
		{name: "no record, DKIM temperror, and it is refused here", e: unpublished(spf.None, dkim.TempError), c: Config{NoPolicy: Reject},
			action: TempFail, reason: ReasonTempError, disp: dmarc.PolicyNone, reply: "451 4.7.5 "},
		{name: "no record, SPF fail, and a missing key does not avoid the refusal", e: unpublished(spf.Fail, dkim.TempError),
			c:      Config{NoPolicy: Reject},
			action: TempFail, reason: ReasonTempError, disp: dmarc.PolicyNone, reply: "451 4.7.5 "},
		{name: "no record, SPF fail and a key that did not come, where both are the same", e: unpublished(spf.Fail, dkim.TempError),
			action: Tag, reason: ReasonSPFFail, disp: dmarc.PolicyNone},
		{name: "the author's own domain passes, but the name he shows is another's",
			e: with(undecided(dmarc.PolicyReject, "policy loop"), func(e *msgauth.Evaluation) {
				e.DMARC.AlignedDKIM, e.From.Notes = true, []author.Note{author.NoteOtherName}
			}), action: Tag, reason: ReasonTempError, disp: dmarc.PolicyNone},
		{name: "no record, SPF fail", e: unpublished(spf.Fail), action: Tag, reason: ReasonSPFFail, disp: dmarc.PolicyNone},
		{name: "no record, SPF fail, reject", e: unpublished(spf.Fail), c: Config{SPFFail: Reject},
			action: Reject, reason: ReasonSPFFail, disp: dmarc.PolicyNone, reply: "550 5.7.23 "},
		{name: "no record, SPF fail, but the other rule is harsher", e: unpublished(spf.Fail), c: Config{SPFFail: Tag, NoPolicy: Quarantine},
			action: Quarantine, reason: ReasonNoPolicy, disp: dmarc.PolicyNone},
		{name: "SPF fail does not count under a DMARC policy", e: with(failing(dmarc.PolicyNone), ownSPFFail), c: Config{SPFFail: Reject},
			action: Tag, reason: ReasonNone, disp: dmarc.PolicyNone},

		{name: "no author", e: msgauth.Evaluation{FromError: &author.Error{Kind: author.KindMultipleFields}},
			action: Reject, reason: ReasonInvalidFrom, disp: dmarc.PolicyNone, reply: "550 5.7.1 "},
		{name: "no author, tag", e: msgauth.Evaluation{FromError: &author.Error{Kind: author.KindMissing}}, c: Config{InvalidFrom: Tag},
			action: Tag, reason: ReasonInvalidFrom, disp: dmarc.PolicyNone},
		{name: "several authors stay without one, whatever passed", e: with(failing(dmarc.PolicyNone), func(e *msgauth.Evaluation) {
			e.DMARC.Result, e.FromError = dmarc.ResultPass, &author.Error{Kind: author.KindMultipleDomains}
		}), action: Reject, reason: ReasonInvalidFrom, disp: dmarc.PolicyNone, reply: "550 5.7.1 "},
	} {
		v := Decide(&tt.e, tt.c)
		var over OverrideType
		if v.Override != nil {
			over = v.Override.Type
		}
		if v.Action != tt.action || v.Reason != tt.reason || v.Disposition != tt.disp || over != tt.over {
			t.Errorf("%s: %s %s disposition %s override %q; want %s %s %s %q", tt.name,
				v.Action, v.Reason, v.Disposition, over, tt.action, tt.reason, tt.disp, tt.over)
		}
		if tt.reply != "" && !strings.HasPrefix(v.Reply.String(), tt.reply) {
			t.Errorf("%s: reply %q, want %q...", tt.name, v.Reply, tt.reply)
		}
		if v.Action == Reject || v.Action == TempFail {
			if err := v.Reply.Validate(); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			if !strings.Contains(v.Reply.Text, v.ID) {
				t.Errorf("%s: the reply does not quote %s", tt.name, v.ID)
			}
		}
	}
}

// TestApplied checks that monitor mode and quarantine by label change Applied,
// but not Action.
func TestApplied(t *testing.T) {
	for _, tt := range []struct {
		c       Config
		p       dmarc.Policy
		action  Action
		applied Action
	}{
		{Config{}, dmarc.PolicyReject, Reject, Reject},
		{Config{Mode: Monitor}, dmarc.PolicyReject, Reject, Tag},
		{Config{}, dmarc.PolicyQuarantine, Quarantine, Quarantine},
		{Config{Quarantine: QuarantineTag}, dmarc.PolicyQuarantine, Quarantine, Tag},
		{Config{Mode: Monitor}, dmarc.PolicyQuarantine, Quarantine, Tag},
		{Config{Mode: Monitor}, dmarc.PolicyNone, Tag, Tag},
	} {
		e := failing(tt.p)
		if v := Decide(&e, tt.c); v.Action != tt.action || v.Applied != tt.applied || v.Enforced != (tt.c.Mode != Monitor) {
			t.Errorf("%+v p=%s: %s applied as %s, enforced %t", tt.c, tt.p, v.Action, v.Applied, v.Enforced)
		}
	}
}

func TestOversized(t *testing.T) {
	v := Oversized("header_bytes", Config{})
	if v.Applied != Reject || v.Reply.Code != 552 || v.Reply.Validate() != nil {
		t.Errorf("enforce: %+v", v)
	}
	if v := Oversized("header_bytes", Config{Mode: Monitor}); v.Applied != Tag || v.Action != Reject {
		t.Errorf("monitor: %+v", v)
	}
}

// TestFlooded checks that the message is refused in enforce mode and in monitor
// mode.
func TestFlooded(t *testing.T) {
	for _, mode := range []Mode{Enforce, Monitor} {
		if v := Flooded(Oversized("header_fields", Config{Mode: mode}), Config{}); v.Applied != Reject || v.Reply.Code != 552 || !v.Enforced || v.Reason != ReasonOversize {
			t.Errorf("%s: %+v", mode, v)
		}
	}
}

// TestForged checks that a message is refused if it has a result with our
// authserv-id that cannot be deleted, and that monitor mode delivers such a
// message.
func TestForged(t *testing.T) {
	e := failing(dmarc.PolicyNone)
	for _, v := range []Verdict{Decide(&e, Config{}), Skipped(ReasonAuthenticated)} {
		v = Forged(v, "mx.example.jp", Config{})
		if v.Action != Reject || v.Applied != Reject || v.Reason != ReasonForged || v.Reply.Code != 550 || v.Reply.Enhanced != "5.7.1" ||
			v.Reply.Validate() != nil || !strings.Contains(v.Reply.Text, "mx.example.jp") || strings.Contains(v.Reply.Text, "()") {
			t.Errorf("enforce: %+v", v)
		}
	}
	if v := Forged(Decide(&e, Config{Mode: Monitor}), "mx", Config{}); v.Action != Reject || v.Applied != Tag || v.Reply.Code != 0 {
		t.Errorf("monitor mode acted: %+v", v)
	}
}

func TestUnlabelled(t *testing.T) {
	e := failing(dmarc.PolicyNone)
	cause := errors.New("no such action")
	if v := Unlabelled(Decide(&e, Config{}), cause, Config{}); v.Applied != TempFail || v.Reply.Validate() != nil {
		t.Errorf("enforce: %+v", v)
	}
	if v := Unlabelled(Decide(&e, Config{Mode: Monitor}), cause, Config{}); v.Applied != Accept {
		t.Errorf("monitor mode acted: %+v", v)
	}
}

// TestHelp checks that every reply that refuses a message ends with the help,
// even if the longest domain is part of the reply.
func TestHelp(t *testing.T) {
	c := Config{Help: ReplyHelp("https://isp.example/mail", "postmaster@isp.example"), TempErrorUnknown: TempFail}
	reject, none, undecided := failing(dmarc.PolicyReject), failing(dmarc.PolicyNone), failing(dmarc.PolicyNone)
	undecided.DMARC.Result = dmarc.ResultTempError
	long := failing(dmarc.PolicyReject)
	long.From.AuthorDomain = dns.Name(strings.Repeat("a.", 120) + "example.jp")
	noAuthor := msgauth.Evaluation{}
	for name, v := range map[string]Verdict{
		"p=reject":        Decide(&reject, c),
		"a long domain":   Decide(&long, c),
		"no author":       Decide(&noAuthor, c),
		"temporary error": Decide(&undecided, c),
		"oversize":        Oversized("header_bytes", c),
		"flooded":         Flooded(Oversized("header_fields", Config{Mode: Monitor}), c),
		"forged":          Forged(Decide(&none, c), "mx", c),
		"unlabelled":      Unlabelled(Decide(&none, c), errors.New("no such action"), c),
	} {
		if err := v.Reply.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Count(v.Reply.Text, c.Help) != 1 || !strings.HasSuffix(v.Reply.Text, "; see https://isp.example/mail or contact postmaster@isp.example") {
			t.Errorf("%s: %q", name, v.Reply.Text)
		}
		if v.ID != "" && !strings.Contains(v.Reply.Text, v.ID) {
			t.Errorf("%s: the ID is missing: %q", name, v.Reply.Text)
		}
	}
	if v := Decide(&none, c); v.Reply != (smtp.Reply{}) {
		t.Errorf("a delivered message got the reply %v", v.Reply)
	}
	for _, tt := range []struct{ url, contact, want string }{
		{"", "", ""},
		{"", "+81 3 0000 0000", "; contact +81 3 0000 0000"},
		{"https://a.example", "", "; see https://a.example"},
	} {
		if got := ReplyHelp(tt.url, tt.contact); got != tt.want {
			t.Errorf("ReplyHelp(%q, %q) = %q", tt.url, tt.contact, got)
		}
	}
}

// TestExplanationID checks that a message gets the same id each time, and that
// a message with another queue id gets another id.
func TestExplanationID(t *testing.T) {
	a, b := failing(dmarc.PolicyReject), failing(dmarc.PolicyReject)
	b.Envelope.QueueID = "4ABC"
	first, again, other := Decide(&a, Config{}).ID, Decide(&a, Config{Mode: Monitor}).ID, Decide(&b, Config{}).ID
	if first != again || first == other || len(first) != 8 {
		t.Errorf("ids %q %q %q", first, again, other)
	}
}
