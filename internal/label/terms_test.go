package label

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/arc"
	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// TestOutlineBounds checks which fields of a name an outline keeps: those in the name of others, up to a number.
func TestOutlineBounds(t *testing.T) {
	self := (&Names{AuthServID: id}).Identity("")
	var o Outline
	o.Add(self, "Subject", " not reserved")
	for range MaxOutlined + 2 {
		o.Add(self, authres.FieldName, " other.example; none")
	}
	var w Writer
	edits := w.NotEvaluated(self, &o, "too large")
	if len(edits) != 2 || edits[0].Kind != DeleteMany || edits[0].Deleted() != 2 || edits[0].Forged {
		t.Fatalf("%+v", edits)
	}
	for index, want := range map[int]bool{1: false, 64: false, 65: false, MaxOutlined: false, MaxOutlined + 1: true, MaxOutlined + 2: true} {
		if got := edits[0].Kept.Goes(index); got != want {
			t.Errorf("field %d goes: %t", index, got)
		}
	}
	o.Add(self, authres.FieldName, " "+id+"; dmarc=pass")
	o.Add(self, authres.FieldName, " other.example; none")
	if edits := w.NotEvaluated(self, &o, "too large"); edits[0].Deleted() != 4 || !edits[0].Forged {
		t.Errorf("with a forged one: %d are deleted, forged %t", edits[0].Deleted(), edits[0].Forged)
	}
}

// TestOutlineTellsApart checks that of fields in changing order exactly those in our name go.
func TestOutlineTellsApart(t *testing.T) {
	self := (&Names{AuthServID: id}).Identity("")
	var o Outline
	forged := func(i int) bool { return i%3 == 0 }
	for i := 1; i <= 300; i++ {
		value := " other.example; none"
		if forged(i) {
			value = " " + id + "; none"
		}
		o.Add(self, authres.FieldName, value)
	}
	e := new(Writer).NotEvaluated(self, &o, "too large")[0]
	for i := 1; i <= 300; i++ {
		if e.Kept.Goes(i) != forged(i) {
			t.Errorf("field %d goes: %t", i, !forged(i))
		}
	}
}

// TestReservedName checks that a name is reserved in any case, and that no other name is, not even one that
// Unicode calls equal.
func TestReservedName(t *testing.T) {
	for name, want := range map[string]bool{
		"Authentication-Results": true, "AUTHENTICATION-results": true, VerdictField: true, "x-sekimori-verdict": true,
		"Authentication-Result": false, "Authentication-Resultss": false, "X-Se\u212aimori-Verdict": false, "": false,
	} {
		if got := reservedName(name) >= 0; got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

// TestNames checks which authserv-id is written, by what the operator configured and what the MTA calls itself.
func TestNames(t *testing.T) {
	long := strings.Repeat("a.", 127)
	for _, tt := range []struct {
		why, id, host, mta, want string
	}{
		{"configured", "a.example", "h.example", "m.example", "a.example"},
		{"of the MTA", "", "h.example", "m.example", "m.example"},
		{"of the MTA, with the root's dot", "", "h.example", "m.example.", "m.example"},
		{"the MTA's name has no dot", "", "h.example", "mail", "h.example"},
		{"nothing has a dot", "", "", "mail", "mail"},
		{"the MTA has no name", "", "h.example", "", "h.example"},
		{"the MTA's name is none", "", "h.example", "m.example; none", "h.example"},
		{"the longest name", "", "h.example", long + "b", long + "b"},
		{"a longer name", "", "h.example", long + "bc", "h.example"},
	} {
		if got := (&Names{AuthServID: tt.id, HostName: tt.host}).Identity(tt.mta); got.ID != tt.want || got.MTA != tt.mta {
			t.Errorf("%s: %q, want %q", tt.why, got.ID, tt.want)
		}
	}
	for name, want := range map[string]bool{
		"a": true, "z": true, "A": true, "Z": true, "0": true, "9": true, "a-b_c.d": true, "a.": true,
		"`": false, "{": false, "@": false, "[": false, "/": false, ":": false, ".a": false, "a..b": false, "": false, "é": false, "a b": false, "a;b": false,
	} {
		if got := hostname(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

// TestComments checks the comment on each kind of verdict.
func TestComments(t *testing.T) {
	override := &policy.Override{Type: policy.OverrideMailingList, Comment: "looks like indirect mail"}
	missing := []policy.Missing{{What: policy.MissingSPF, Cause: "timeout"}, {What: policy.MissingDKIM, Cause: "refused"}}
	mixed, out := policy.Consent{In: 1, Out: 1}, policy.Consent{Out: 1}
	enforced := func(v policy.Verdict) policy.Verdict { v.Enforced = true; return v }
	for _, tt := range []struct {
		v    policy.Verdict
		want string
	}{
		{enforced(policy.Verdict{Action: policy.Quarantine, Applied: policy.Quarantine, Reason: policy.ReasonIndirect, Override: override}),
			"quarantine: dmarc_indirect, override mailing_list: looks like indirect mail"},
		{policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Reason: policy.ReasonNone}, "tag: dmarc_policy_none"},
		{policy.Verdict{Action: policy.Quarantine, Applied: policy.Tag, Reason: policy.ReasonQuarantine}, "monitor, would quarantine: dmarc_quarantine"},
		{enforced(policy.Verdict{Action: policy.Quarantine, Applied: policy.Tag, Reason: policy.ReasonQuarantine}), "quarantine: dmarc_quarantine"},
		{enforced(policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Reason: policy.ReasonReject, Would: policy.Reject, Consent: out, Override: override}),
			"opted out, would reject: dmarc_reject"},
		{enforced(policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Reason: policy.ReasonReject, Would: policy.Reject, Consent: mixed}),
			"mixed recipients: reject where consented, tag where opted out, tag for all: dmarc_reject"},
		{enforced(policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Reason: policy.ReasonRule, Would: policy.Reject, Consent: out, Rule: "r1", Override: override}),
			"opted out, would reject: rule, override mailing_list: looks like indirect mail"},
		{enforced(policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Reason: policy.ReasonRule, Would: policy.Reject, Consent: out, Rule: "r1"}),
			"opted out, would reject: rule, rule r1"},
		{enforced(policy.Verdict{Action: policy.TempFail, Applied: policy.TempFail, Reason: policy.ReasonTempError, Missing: missing}),
			"tempfail: temperror, not decided: spf timeout, dkim refused"},
		{enforced(policy.Verdict{Action: policy.Reject, Applied: policy.Reject, Reason: policy.ReasonReject, Learned: []trait.Trait{trait.UnknownSource}}),
			"reject: dmarc_reject, learned: unknown_source"},
		{enforced(policy.Verdict{Action: policy.Reject, Applied: policy.Reject, Reason: policy.ReasonReject,
			Learned: []trait.Trait{trait.UnknownSource}, Spoofing: []trait.Trait{trait.UnknownSource}}), "reject: dmarc_reject, spoofing: unknown_source"},
		{enforced(policy.Verdict{Action: policy.Reject, Applied: policy.Reject, Reason: policy.ReasonReject,
			Learned: []trait.Trait{trait.KnownSource}, Indirect: []trait.Trait{trait.KnownSource}}), "reject: dmarc_reject, indirect: known_source"},
	} {
		if got := verdictComment(tt.v); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestResultsOfChain checks what is said of a chain: only of one that passes, from where it came.
func TestResultsOfChain(t *testing.T) {
	for status, want := range map[arc.Status]string{
		arc.Pass: "arc=pass header.oldest-pass=3", arc.Fail: "arc=fail", arc.None: "arc=none", arc.NotEvaluated: "",
	} {
		e := judged(dmarc.ResultFail, dmarc.PolicyNone)
		e.ARC = arc.Result{Status: status, OldestPass: 3}
		if got := resultOf(Settings{}, e, "arc"); got != want {
			t.Errorf("%q: %q, want %q", status, got, want)
		}
		if status != arc.Pass {
			continue
		}
		e.Session.Client = netip.MustParseAddr("2001:db8::1") // a colon needs quotes (RFC 8601 §2.2)
		if got, want := resultOf(Settings{}, e, "arc"), `arc=pass smtp.remote-ip="2001:db8::1" header.oldest-pass=3`; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSignatureComment checks what is said of a key and of what a signature does not cover.
func TestSignatureComment(t *testing.T) {
	for _, tt := range []struct {
		s    dkim.Signature
		want string
	}{
		{dkim.Signature{}, ""},
		{dkim.Signature{KeyBits: 1, KeyType: "rsa"}, "1-bit rsa"},
		{dkim.Signature{KeyBits: 2048, KeyType: "rsa", Testing: true}, "2048-bit rsa, testing"},
		{dkim.Signature{Ahead: true}, "timestamp ahead of our clock"},
		{dkim.Signature{Uncovered: 1}, "1 octets not covered"},
		{dkim.Signature{Testing: true, Uncovered: 7}, "testing, 7 octets not covered"},
	} {
		if got := signatureComment(&tt.s); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestWhyOfRspamd checks the reason for each result and each mode of both mechanisms.
func TestWhyOfRspamd(t *testing.T) {
	modes := map[dmarc.Mode]string{dmarc.Strict: "strict", dmarc.Relaxed: "relaxed"}
	for aspf, spfMode := range modes {
		for adkim, dkimMode := range modes {
			for _, spfPasses := range []bool{false, true} {
				for _, dkimPasses := range []bool{false, true} {
					e := &msgauth.Evaluation{DMARC: dmarc.Evaluation{Record: &dmarc.Record{ASPF: aspf, ADKIM: adkim}}}
					want := []string{"No valid SPF", "No valid DKIM"}
					e.DKIM = []dkim.Signature{{Result: dkim.Fail}}
					if spfPasses {
						e.MailFrom.Result, want[0] = spf.Pass, fmt.Sprintf("SPF not aligned (%s)", spfMode)
					}
					if dkimPasses {
						e.DKIM = append([]dkim.Signature{{Result: dkim.Pass}}, e.DKIM...)
						want[1] = fmt.Sprintf("DKIM not aligned (%s)", dkimMode)
					}
					if got := why(e); got != strings.Join(want, ", ") {
						t.Errorf("%q, want %q", got, want)
					}
				}
			}
		}
	}
}

// TestDone checks which actions the other programs' comments call a quarantine.
func TestDone(t *testing.T) {
	for _, a := range policy.Actions {
		for _, enforced := range []bool{false, true} {
			want := "none"
			if enforced && (a == policy.Quarantine || a == policy.Reject) {
				want = "quarantine"
			}
			if got := done(policy.Verdict{Action: a, Enforced: enforced}); got != want {
				t.Errorf("%s, enforced %t: %s", a, enforced, got)
			}
		}
	}
}

// TestLongSubject checks that a Subject is cut before it is stamped, at the length that Postfix takes.
func TestLongSubject(t *testing.T) {
	for octets, want := range map[int]int{maxSubject - 1: maxSubject - 1, maxSubject: maxSubject, maxSubject + 1: maxSubject} {
		if got := strings.Count(withStamp(strings.Repeat("x", octets), "[S]"), "x"); got != want {
			t.Errorf("%d octets: %d are left", octets, got)
		}
	}
	for octets, folded := range map[int]bool{900: false, 901: true} {
		if got := strings.Contains(withStamp(strings.Repeat("x", octets), "[S]"), "\r\n"); got != folded {
			t.Errorf("a line of %d octets is folded: %t", octets, got)
		}
	}
}

// TestNoNameIsNotOurs checks that a result that names nobody does not count as ours, although some of our names are not set.
func TestNoNameIsNotOurs(t *testing.T) {
	ours := (&Names{AuthServID: "mx.example.jp"}).Identity("").Ours
	for _, value := range []string{" ; none", ";", " ", ` ""; none`} {
		if ours.Claimed(value) {
			t.Errorf("%q is ours", value)
		}
	}
}

// TestShortNames checks that a result in the first label of our name counts as forged too.
func TestShortNames(t *testing.T) {
	ours := (&Names{AuthServID: "mx.example.jp", HostName: "host.example.jp", Aliases: []string{"old.example.jp", "bare"}}).Identity("mta.example.jp").Ours
	for _, name := range []string{"mx.example.jp", "mx", "host.example.jp", "host", "old.example.jp", "old", "bare", "mta.example.jp", "mta"} {
		if !ours.Claimed(" " + name + "; none") {
			t.Errorf("%s is not ours", name)
		}
	}
	for _, name := range []string{"example.jp", "jp", "x.mx.example.jp", "ba"} {
		if ours.Claimed(" " + name + "; none") {
			t.Errorf("%s is ours", name)
		}
	}
}

// TestReasonOfSPF checks for which results the reason is shown.
func TestReasonOfSPF(t *testing.T) {
	for _, tt := range []struct {
		result spf.Result
		reason spf.Reason
		want   bool
	}{
		{spf.TempError, spf.ReasonTimeLimit, true}, {spf.PermError, spf.ReasonQueryLimit, true},
		{spf.None, spf.ReasonPrivateClient, true}, {spf.None, spf.ReasonNoAddress, true}, {spf.None, spf.ReasonQueryLimit, false},
		{spf.SoftFail, spf.ReasonNoAddress, false}, {spf.Fail, spf.ReasonNoAddress, false}, {spf.Pass, spf.ReasonTimeLimit, false},
	} {
		e := judged(dmarc.ResultFail, dmarc.PolicyNone)
		e.MailFrom = spf.Check{Result: tt.result, Reason: tt.reason}
		want := "spf=" + string(tt.result)
		if tt.want {
			want += fmt.Sprintf(" reason=%q", tt.reason)
		}
		if got := resultOf(Settings{}, e, "spf"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestWhichVerdictsAreTold checks that a message that is simply accepted has no comment, and every other has one.
func TestWhichVerdictsAreTold(t *testing.T) {
	for _, tt := range []struct {
		why    string
		change func(*policy.Verdict)
		want   bool
	}{
		{"accepted", func(*policy.Verdict) {}, false},
		{"another action", func(v *policy.Verdict) { v.Action = policy.Tag }, true},
		{"an override", func(v *policy.Verdict) { v.Override = &policy.Override{} }, true},
		{"an opt-out", func(v *policy.Verdict) { v.Would = policy.Reject }, true},
		{"a rule", func(v *policy.Verdict) { v.Rule = "r1" }, true},
		{"a missing answer", func(v *policy.Verdict) { v.Missing = []policy.Missing{{}} }, true},
	} {
		v := policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Enforced: true, Reason: policy.ReasonAligned}
		tt.change(&v)
		text := Text(&Settings{}, id, judged(dmarc.ResultPass, dmarc.PolicyReject), v)
		if got := strings.Contains(text, "dmarc=pass ("); got != tt.want {
			t.Errorf("%s: %q", tt.why, text)
		}
	}
}

// TestUnknownClient checks that no address is written if there is none.
func TestUnknownClient(t *testing.T) {
	e := judged(dmarc.ResultFail, dmarc.PolicyNone)
	e.ARC, e.IPRev.Status = arc.Result{Status: arc.Pass}, "permerror"
	if got := Text(&Settings{}, id, e, policy.Verdict{}); strings.Contains(got, "policy.iprev") || strings.Contains(got, "remote-ip") {
		t.Error(got)
	}
	e.MailFrom = spf.Check{Result: spf.None, NullSender: true, Identity: spf.MailFrom, Sender: "postmaster@h.example", Domain: "h.example"}
	e.Session.HELO = "h.example"
	if got := receivedSPF("", id, e); !strings.Contains(got, "identity=helo") || strings.Contains(got, "postmaster") {
		t.Errorf("Received-SPF of the null sender: %q", got)
	}
}

// TestHELO checks which HELO names are shown.
func TestHELO(t *testing.T) {
	for helo, want := range map[string]string{
		"h.example": "h.example", "localhost": "localhost", "192.0.2.1": "", "a.1": "", "a.0": "", "a.9": "", "a.1b": "a.1b", "a.1/": "", "a.:": "", "[192.0.2.1]": "[192.0.2.1]",
		"[IPv6:2001:DB8::1]": "[IPv6:2001:db8::1]", "[2001:db8::1]": "", "[192.0.2.1": "", "[": "", "": "",
	} {
		if got := heloText(helo, false); got != want {
			t.Errorf("%q: %q, want %q", helo, got, want)
		}
	}
}

// TestStampIsKnownAgain checks Subjects that begin with the stamp and cannot be decoded as a whole.
func TestStampIsKnownAgain(t *testing.T) {
	const stamp, broken = "【偽】", " =?utf-7?Q?x?="
	for value, want := range map[string]bool{
		" [S]" + broken: true, " " + encodeStamp(stamp) + broken: true, broken: false, broken + " [S]": false,
	} {
		if got := hasStamp(value, "[S]") || hasStamp(value, stamp); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
}
