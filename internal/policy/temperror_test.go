package policy

import (
	"slices"
	"strings"
	"testing"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
)

// undecided returns a message of bank.example for which an answer is missing.
// `p` is the known policy, or "". `what` names the missing answer and the
// cause, such as "dkim timeout".
func undecided(p dmarc.Policy, what string) msgauth.Evaluation {
	e := failing(p)
	e.DMARC.Result, e.DMARC.Reason, e.DMARC.Enforcing = dmarc.ResultTempError, dmarc.ReasonIdentifierError, p
	word, cause, _ := strings.Cut(what, " ")
	lookup := &dmarc.DNSError{Kind: cause}
	identifier := dmarc.Alignment{Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: "bank.example", State: dmarc.StateTempError}, Aligned: true}
	switch MissingWhat(word) {
	case MissingSPF:
		identifier.Mechanism = dmarc.SPF
		spfFailed(cause)(&e)
		e.DMARC.Alignments = append(e.DMARC.Alignments, identifier)
	case MissingDKIM:
		signedFor(dkim.TempError, "bank.example", keyReason(cause))(&e)
		e.DMARC.Alignments = append(e.DMARC.Alignments, identifier)
	case MissingAlignment:
		e.DMARC.Reason, e.DMARC.DNSError = dmarc.ReasonAlignmentError, lookup
		identifier.Error, identifier.Aligned = lookup, false
		e.DMARC.Alignments = append(e.DMARC.Alignments, identifier)
	case MissingExistence:
		e.DMARC.Reason, e.DMARC.DNSError, e.DMARC.PolicyPublished, e.DMARC.Disposition = dmarc.ReasonExistenceError, lookup, "", ""
	case MissingPolicy:
		e.DMARC.Reason, e.DMARC.DNSError, e.DMARC.PolicyPublished, e.DMARC.Disposition = dmarc.ReasonPolicyError, lookup, "", ""
	}
	return e
}

func keyReason(cause string) dkim.Reason {
	if cause == CauseInternal {
		return dkim.ReasonInternal
	}
	return dkim.Reason("dns_" + cause)
}

func signedFor(result dkim.Result, domain dns.Name, reason dkim.Reason) change {
	return func(e *msgauth.Evaluation) {
		e.DKIM = append(e.DKIM, dkim.Signature{Result: result, Domain: domain, Reason: reason})
	}
}

func spfFailed(cause string) change {
	return func(e *msgauth.Evaluation) {
		e.MailFrom = spf.Check{Result: spf.TempError, Domain: "bank.example"}
		switch cause {
		case CauseBudget:
			e.MailFrom.Reason = spf.ReasonDNSBudget
		case CauseTime:
			e.MailFrom.Reason = spf.ReasonTimeLimit
		case CauseInternal:
			panics(msgauth.SPF)(e)
		default:
			e.MailFrom.Reason, e.MailFrom.DNSError = spf.ReasonDNS, &dns.Error{Kind: kindOf(cause)}
		}
	}
}

func kindOf(word string) dns.ErrorKind {
	for k := dns.KindTimeout; k.String() != "unknown"; k++ {
		if k.String() == word {
			return k
		}
	}
	return 0
}

func iprevFailed(kind dns.ErrorKind) change {
	return func(e *msgauth.Evaluation) {
		e.IPRev.Status, e.IPRev.DNSError = iprev.TempError, &dns.Error{Kind: kind}
	}
}

func panics(stage msgauth.Mechanism) change {
	return func(e *msgauth.Evaluation) { e.Panics = append(e.Panics, msgauth.Panic{Component: stage}) }
}

func chainFailed(reason dkim.Reason) change {
	return func(e *msgauth.Evaluation) { e.ARC.Signature = reason }
}

// TestUndecidedTable checks the verdict of each row of the second table in
// decisions.md.
func TestUndecidedTable(t *testing.T) {
	_, table, _ := strings.Cut(readTable(t), "\n\n")
	_, table, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(strings.TrimSpace(table), "\n")
	if len(rows) < 3 {
		t.Fatal("no second table")
	}
	for _, row := range rows[2:] {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 6 {
			t.Fatalf("%d cells: %s", len(cells), row)
		}
		c := Config{TempError: actionOf(cells[2]), TempErrorUnknown: actionOf(cells[3])}
		e := undecidedRow(t, cells[0], cells[1], &c)
		v := Decide(&e, c)
		if string(v.Action) != cells[4] || string(v.Reason) != cells[5] {
			t.Errorf("%s\ngot %s %s", row, v.Action, v.Reason)
		}
		if v.Reason == ReasonTempError && (len(v.Missing) != 1 || v.Missing[0].String() != cells[1]) {
			t.Errorf("%s\nmissing %v", row, v.Missing)
		}
		if (v.Action == TempFail) != (v.Reply.Code == 451) {
			t.Errorf("%s\nreply %v", row, v.Reply)
		}
		c.Mode = Monitor
		if v := Decide(&e, c); v.Applied == TempFail || v.Applied == Reject || v.Applied == Quarantine {
			t.Errorf("%s\nin monitor mode %s", row, v.Applied)
		}
		v = Decide(&e, Config{TempError: c.TempError, TempErrorUnknown: c.TempErrorUnknown, Rules: c.Rules}).Respect(Consent{Out: 1})
		if v.Applied == TempFail || v.Applied == Reject {
			t.Errorf("%s\nopted out %s", row, v.Applied)
		}
	}
}

// actionOf returns the action that a cell of the table names. For "any" it
// returns Accept.
func actionOf(cell string) Action {
	if cell == "any" {
		return Accept
	}
	return Action(cell)
}

func undecidedRow(t *testing.T, policy, missing string, c *Config) msgauth.Evaluation {
	t.Helper()
	switch rest, rule := strings.CutPrefix(missing, "rule: "); {
	case rule:
		e := failing(dmarc.Policy(policy))
		what, cause, _ := strings.Cut(rest, " ")
		w := Conditions{}
		switch MissingWhat(what) {
		case MissingDKIM:
			w.DKIM = []Pattern{"lists.example"}
			signedFor(dkim.TempError, "lists.example", keyReason(cause))(&e)
		case MissingName:
			w.ClientName = []Pattern{".relay.example"}
			iprevFailed(kindOf(cause))(&e)
		default:
			t.Fatalf("no such rule: %s", missing)
		}
		c.Rules = []Rule{{ID: "r", When: w, Then: Outcome{Action: Accept}}}
		return e
	case policy == "absent":
		e := unpublished(spf.None)
		what, cause, _ := strings.Cut(missing, " ")
		if MissingWhat(what) == MissingSPF {
			spfFailed(cause)(&e)
		} else {
			signedFor(dkim.TempError, "third.example", keyReason(cause))(&e)
		}
		return e
	}
	p, passed := strings.CutSuffix(policy, ", the author's own domain passes")
	if p == "not known" {
		p = ""
	}
	e := undecided(dmarc.Policy(p), missing)
	e.DMARC.AlignedDKIM = passed
	return e
}

// TestMissing checks which missing answers are listed, and that What and Cause
// are words of the fixed lists even if an evaluator gives an unknown cause.
func TestMissing(t *testing.T) {
	for _, tt := range []struct {
		why  string
		e    msgauth.Evaluation
		want string
	}{
		{"two keys of the author are missing for the same reason",
			with(undecided(dmarc.PolicyReject, "dkim timeout"), signedFor(dkim.TempError, "bank.example", "dns_timeout")), "dkim timeout"},
		{"two keys of the author are missing for two reasons",
			with(undecided(dmarc.PolicyReject, "dkim timeout"), signedFor(dkim.TempError, "bank.example", "dns_servfail")),
			"dkim timeout, dkim servfail"},
		{"a missing key of another domain does not matter",
			with(undecided(dmarc.PolicyReject, "dkim timeout"), signedFor(dkim.TempError, "evil.example", "dns_servfail")), "dkim timeout"},
		{"a bug in DKIM", with(undecided(dmarc.PolicyReject, ""), func(e *msgauth.Evaluation) {
			signedFor(dkim.TempError, "", dkim.ReasonInternal)(e)
			e.DMARC.Alignments = []dmarc.Alignment{{Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: "bank.example", State: dmarc.StateTempError},
				Aligned: true}}
		}), "dkim internal"},
		{"a bug in SPF", undecided(dmarc.PolicyReject, "spf internal"), "spf internal"},
		{"discovery did not end", msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: dmarc.ResultTempError}}, "policy time"},
		{"a bug in discovery", with(msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: dmarc.ResultTempError}}, panics(msgauth.DMARC)), "policy internal"},
		{"an identifier and the organization of another", with(undecided(dmarc.PolicyReject, "spf timeout"), func(e *msgauth.Evaluation) {
			e.DMARC.Alignments = append(e.DMARC.Alignments, dmarc.Alignment{Error: &dmarc.DNSError{Kind: "budget"}})
		}), "spf timeout, alignment budget"},
		{"an identifier that does not align does not matter", with(undecided(dmarc.PolicyReject, "spf timeout"), func(e *msgauth.Evaluation) {
			signedFor(dkim.TempError, "x.example", "dns_timeout")(e)
			e.DMARC.Alignments = append(e.DMARC.Alignments,
				dmarc.Alignment{Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: "x.example", State: dmarc.StateTempError}})
		}), "spf timeout"},
		{"an identifier that passed is not missing", with(undecided(dmarc.PolicyReject, "policy timeout"), func(e *msgauth.Evaluation) {
			spfIs(spf.Pass, "bank.example")(e)
			e.DMARC.Alignments = []dmarc.Alignment{{Identifier: dmarc.Identifier{Mechanism: dmarc.SPF, Domain: "bank.example", State: dmarc.StatePass}, Aligned: true}}
		}), "policy timeout"},
		{"a signature of the same domain that failed is not missing",
			with(undecided(dmarc.PolicyReject, "dkim timeout"), signedFor(dkim.Fail, "bank.example", "signature_mismatch")), "dkim timeout"},
		{"SPF asked too much",
			with(undecided(dmarc.PolicyReject, "spf timeout"), func(e *msgauth.Evaluation) { e.MailFrom.Reason = spf.ReasonQueryLimit }),
			"spf query_limit"},
		{"SPF ended for an unknown reason",
			with(undecided(dmarc.PolicyReject, "spf timeout"), func(e *msgauth.Evaluation) { e.MailFrom.DNSError = nil }), "spf unknown"},
		{"a chain that a bug kept from being validated, where it would have counted", with(failing(dmarc.PolicyReject), panics(msgauth.ARC)), "arc internal"},
		{"an unknown kind", undecided(dmarc.PolicyReject, "policy dns: \x1b[31m"), "policy unknown"},
		{"an unknown reason", undecided(dmarc.PolicyReject, "dkim x;y"), "dkim unknown"},
	} {
		var got []string
		for _, m := range missing(&tt.e) {
			got = append(got, m.String())
			if !slices.Contains(MissingWhats, m.What) || !slices.Contains(MissingCauses, m.Cause) {
				t.Errorf("%s: %q", tt.why, m)
			}
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, s, tt.want)
		}
	}
}

// TestMissingForRules checks which missing answers are listed as relevant for
// rules.
func TestMissingForRules(t *testing.T) {
	for _, tt := range []struct {
		why    string
		change change
		want   string
	}{
		{"nothing", func(*msgauth.Evaluation) {}, ""},
		{"SPF and a key, whether they align or not", all(spfFailed("timeout"), signedFor(dkim.TempError, "x.example", "dns_refused")), "spf timeout, dkim refused"},
		{"a key of the chain", chainFailed("dns_network"), "arc network"},
		{"a chain in order", all(sealed(arc.Pass, "", "x.example"), chainFailed("dns_network")), ""},
		{"a chain that fails for good", chainFailed(dkim.ReasonSignature), ""},
		{"a key of the chain that is too large for any resolver", chainFailed("dns_too_large"), ""},
		{"a bug in the chain", panics(msgauth.ARC), "arc internal"},
		{"a bug in one of its signatures", chainFailed(dkim.ReasonInternal), "arc internal"},
		{"no lookup slot for the name", iprevFailed(dns.KindBudget), "name budget"},
		{"a bug in iprev", all(iprevFailed(dns.KindServFail), panics(msgauth.IPRev)), "name internal"},
		{"a name whose zone fails", iprevFailed(dns.KindServFail), ""},
		{"a name that does not point back, in a message for which something else panicked", all(iprevIs(iprev.Fail), panics(msgauth.IPRev)), ""},
	} {
		e := with(failing(dmarc.PolicyReject), tt.change)
		var got []string
		for _, m := range missingForRules(&e) {
			got = append(got, m.String())
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, s, tt.want)
		}
	}
}

// TestPassOfAnotherResult checks that an aligned pass makes tempError accept a
// message only if the DMARC result is temperror.
func TestPassOfAnotherResult(t *testing.T) {
	e := with(failing(dmarc.PolicyReject), panics(msgauth.ARC))
	e.DMARC.AlignedSPF = true // no real evaluation has this together with the result fail
	v := Decide(&e, Config{TrustedSealers: []dns.Name{"lists.example"}})
	if v.Action != TempFail || !slices.Contains(v.Evidence, "internal error in arc") {
		t.Errorf("%s, evidence %q", v.Action, v.Evidence)
	}
	e = undecided(dmarc.PolicyReject, "policy timeout")
	e.DMARC.AlignedSPF = true
	if v := Decide(&e, Config{TempErrorUnknown: TempFail}); v.Action != Accept || v.Reply.Code != 0 {
		t.Errorf("%s %v", v.Action, v.Reply)
	}
}

// TestEveryKindIsACause checks that MissingCauses has the word of every kind of
// DNS failure.
func TestEveryKindIsACause(t *testing.T) {
	for k := dns.KindTimeout; k.String() != "unknown"; k++ {
		if !slices.Contains(MissingCauses, k.String()) {
			t.Errorf("%s is not in MissingCauses", k)
		}
	}
}
