package filter

import (
	"fmt"
	"mime"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns/dnstest"
	"sekimori/internal/mailaddr"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// judged is an evaluation with a DMARC result and the policy it asks for.
func judged(result dmarc.Result, p dmarc.Policy) *msgauth.Evaluation {
	return &msgauth.Evaluation{
		From:  mailaddr.From{AuthorDomain: "bank.example"},
		DMARC: dmarc.Evaluation{Result: result, PolicyPublished: p, Disposition: p},
	}
}

// TestUndecidedStamp: what is not decided is stamped as what fails, not less.
func TestUndecidedStamp(t *testing.T) {
	undecided := func(enforcing dmarc.Policy) *msgauth.Evaluation {
		e := judged(dmarc.ResultTempError, "")
		e.DMARC.Enforcing = enforcing
		return e
	}
	tag := policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonTempError}
	for _, tt := range []struct {
		reason string
		e      *msgauth.Evaluation
		v      policy.Verdict
		want   bool
	}{
		{"p=none, of which a fail is stamped", undecided(dmarc.PolicyNone), tag, true},
		{"an enforcing policy, accepted by choice", undecided(dmarc.PolicyReject), tag, true},
		{"nothing is known: no stamp on all mail while DNS is down", undecided(""), tag, false},
		{"no record, of which nothing is stamped", judged(dmarc.ResultNone, ""), tag, false},
		{"the author's own domain passes", undecided(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonTempError}, false},
		{"a pass", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonAligned}, false},
		{"a fail", judged(dmarc.ResultFail, dmarc.PolicyNone), policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonNone}, true},
	} {
		if got := getsStamp(Word(tt.e, tt.v), tt.e, tt.v); got != tt.want {
			t.Errorf("%s: %t", tt.reason, got)
		}
	}
}

func TestWord(t *testing.T) {
	fail := func(p dmarc.Policy) *msgauth.Evaluation { return judged(dmarc.ResultFail, p) }
	none := judged(dmarc.ResultNone, "")
	noAuthor := &msgauth.Evaluation{FromError: &mailaddr.FromError{Kind: mailaddr.KindMissing}}
	seen := map[string]bool{}
	for _, tt := range []struct {
		reason string
		e      *msgauth.Evaluation
		v      policy.Verdict
		want   string
	}{
		{"pass", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonAligned}, "pass"},
		{"a trusted forwarder vouches", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonForwarder}, "pass-forwarder"},
		{"a rule accepts", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: "override"}, "fail-accepted"},
		{"a rule tags what should be refused", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Tag, Enforced: true, Reason: "override"}, "fail-accepted"},
		{"left out by the ramp", fail(dmarc.PolicyQuarantine), policy.Verdict{Action: policy.Tag, Relaxed: true, Enforced: true, Reason: policy.ReasonRamp}, "fail-ramp"},
		{"a reject made a quarantine by the ramp", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Quarantine, Relaxed: true, Enforced: true, Reason: policy.ReasonRamp}, "fail-quarantine"},
		{"p=none", fail(dmarc.PolicyNone), policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonNone}, "fail-none"},
		{"p=none in monitor mode", fail(dmarc.PolicyNone), policy.Verdict{Action: policy.Tag, Reason: policy.ReasonNone}, "fail-none"},
		{"p=quarantine", fail(dmarc.PolicyQuarantine), policy.Verdict{Action: policy.Quarantine, Enforced: true}, "fail-quarantine"},
		{"p=quarantine by header", fail(dmarc.PolicyQuarantine), policy.Verdict{Action: policy.Quarantine, Applied: policy.Tag, Enforced: true}, "fail-quarantine"},
		{"p=reject in monitor mode", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Reject, Applied: policy.Tag}, "fail-monitor"},
		{"opted out", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Tag, Would: policy.Reject, Enforced: true}, "fail-opted-out"},
		{"opted out of a deferral", judged(dmarc.ResultTempError, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Would: policy.TempFail, Reason: policy.ReasonTempError, Enforced: true}, "temperror"},
		{"temperror", judged(dmarc.ResultTempError, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonTempError}, "temperror"},
		{"a seal that could not be read", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonTempError}, "temperror"},
		{"a rule left open, in monitor mode", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.TempFail, Applied: policy.Tag, Reason: policy.ReasonUndecided}, "fail-monitor"},
		{"a rule left open, opted out", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Would: policy.TempFail, Reason: policy.ReasonUndecided, Enforced: true}, "fail-opted-out"},
		{"no record", none, policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonNoPolicy}, "no-policy"},
		{"no record, SPF passes", none, policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonPassNoPolicy}, "no-policy-pass"},
		{"no record, SPF fail", none, policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonSPFFail}, "no-policy-spf-fail"},
		{"no record, quarantined", none, policy.Verdict{Action: policy.Quarantine, Enforced: true, Reason: policy.ReasonNoPolicy}, "local-quarantine"},
		{"no record, would be", none, policy.Verdict{Action: policy.Quarantine, Reason: policy.ReasonNoPolicy}, "no-policy"},
		{"a pass that a rule quarantines", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Quarantine, Enforced: true}, "local-quarantine"},
		{"no author", noAuthor, policy.Verdict{Action: policy.Tag, Enforced: true}, "invalid-from"},
		{"no author, in monitor mode", noAuthor, policy.Verdict{Action: policy.Reject}, "invalid-from"},
		{"no author, opted out", noAuthor, policy.Verdict{Action: policy.Tag, Would: policy.Reject, Enforced: true}, "invalid-from"},
	} {
		got := Word(tt.e, tt.v)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.reason, got, tt.want)
		}
		seen[got] = true
	}
	for _, w := range Words {
		if !seen[w] {
			t.Errorf("no case has the word %s", w)
		}
	}
	if len(seen) != len(Words) {
		t.Errorf("words %v, listed %v", seen, Words)
	}
}

// verdictField returns the one field of the delivered header.
func verdictField(t *testing.T, h message.Header) string {
	t.Helper()
	v := h.Values(VerdictField)
	if len(v) != 1 {
		t.Fatalf("%d %s fields in %q", len(v), VerdictField, h)
	}
	return strings.TrimSpace(v[0])
}

// TestStamps: the word and the Subject as they are delivered, and no forged
// word survives, whether ours is written or not.
func TestStamps(t *testing.T) {
	const forged = "X-Sekimori-Verdict: pass\nx-sekimori-VERDICT:pass\nX-Sekimori-Verdict : pass\nX-Sekimori-Verdict-Not: mine\n"
	stamps := Options{Verdict: true, Subject: "[SPOOF?]"}
	monitored, split := stamps, stamps
	monitored.Policy.Mode = policy.Monitor
	split.Recipients, split.ConsentWait = &directory{}, time.Second
	for _, tt := range []struct {
		name    string
		o       Options
		ip      string
		author  string
		word    string // "": none
		subject string
	}{
		{"pass", stamps, "192.0.2.1", "bank.example", "pass", "s"},
		{"p=none", stamps, "203.0.113.1", "hobby.example", "fail-none", "[SPOOF?] s"},
		{"p=quarantine", stamps, "203.0.113.1", "shop.example", "fail-quarantine", "[SPOOF?] s"},
		{"no record", stamps, "203.0.113.1", "nobody.example", "no-policy", "s"},
		{"monitor mode does nothing to the message", monitored, "203.0.113.1", "bank.example", "fail-monitor", "s"},
		{"p=none in monitor mode", monitored, "203.0.113.1", "hobby.example", "fail-none", "s"},
		{"nor is anything done for who opted out", split, "203.0.113.1", "bank.example", "fail-opted-out", "s"},
		{"p=none for who opted out", split, "203.0.113.1", "hobby.example", "fail-none", "s"},
		{"no word of ours", Options{}, "203.0.113.1", "hobby.example", "", "s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := serve(t, dnstest.MustParse(t, zone), tt.o, milter.Limits{})
			s := open(t, addr, tt.ip, "h.example", client.PostfixOffer())
			res, h := s.send("<a@"+tt.author+">", forged+fmt.Sprintf(mail, tt.author))
			if !res.Action.Delivers() {
				t.Fatalf("answer %s", res.Action)
			}
			ours(t, h)
			if tt.word == "" {
				if v := h.Values(VerdictField); len(v) != 0 {
					t.Errorf("forged words are left: %q", v)
				}
			} else if got := verdictField(t, h); got != tt.word {
				t.Errorf("word %q, want %q", got, tt.word)
			}
			if got := strings.TrimSpace(strings.Join(h.Values("Subject"), "|")); got != tt.subject {
				t.Errorf("subject %q, want %q", got, tt.subject)
			}
			if len(h.Values("X-Sekimori-Verdict-Not")) != 1 {
				t.Error("another field is gone")
			}
		})
	}
}

// A user who logged in has no business writing our words either.
func TestForgedWordOfUser(t *testing.T) {
	addr, _ := serve(t, dnstest.MustParse(t, zone), Options{TrustAuthenticated: true, Verdict: true}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	s.c.SetMacro("{auth_authen}", "alice")
	if _, h := s.send("<a@bank.example>", "X-Sekimori-Verdict: pass\nX-SEKIMORI-verdict: pass\n"+fmt.Sprintf(mail, "bank.example")); len(h.Values(VerdictField)) != 0 {
		t.Errorf("forged words are left: %q", h)
	}
}

// An MTA that lets no field be changed, only added: the verdict stands.
func TestSubjectNotNegotiated(t *testing.T) {
	addr, _ := serve(t, dnstest.MustParse(t, zone), Options{Subject: "[SPOOF?]"}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.Offer{Version: 6, Actions: 0x1ff &^ 0x10, Protocol: 0x1fffff})
	res, h := s.send("<a@hobby.example>", fmt.Sprintf(mail, "hobby.example"))
	if !res.Action.Delivers() || strings.TrimSpace(h.Values("Subject")[0]) != "s" {
		t.Errorf("answer %s, header %q", res.Action, h)
	}
}

func TestSubject(t *testing.T) {
	const mark = "[SPOOF?]"
	long := strings.Repeat("x", 950)
	for _, tt := range []struct{ reason, in, stamp, want string }{
		{"plain", " hello", mark, " [SPOOF?] hello"},
		{"no space after the colon", "hello", mark, " [SPOOF?] hello"},
		{"empty", "", mark, " [SPOOF?] "},
		{"folded", " one\r\n two\r\n\tthree", mark, " [SPOOF?] one\r\n two\r\n\tthree"},
		{"begins with a fold", "\r\n two", mark, " [SPOOF?] \r\n two"},
		{"encoded", " =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n =?utf-8?Q?b?=", mark, " [SPOOF?] =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n =?utf-8?Q?b?="},
		{"8-bit", " \xe3\x81\x82", mark, " [SPOOF?] \xe3\x81\x82"},
		{"a long line", " " + long, mark, " [SPOOF?]\r\n " + long},
		{"NUL and a lone CR", " a\x00b\rc", mark, " [SPOOF?] a b c"},
		{"a blank line within", " a\r\n \r\n\t\r\n b", mark, " [SPOOF?] a\r\n b"},
		{"a line break that is no fold", " a\nBcc: x", mark, " [SPOOF?] a\r\n Bcc: x"},
		{"a stamp in Japanese", " hello", "【なりすまし】", " =?utf-8?b?44CQ44Gq44KK44GZ44G+44GX44CR?= hello"},
		{"beside an encoded word", " =?utf-8?Q?a?=", "【偽】", " =?utf-8?b?44CQ5YG944CRIA==?= =?utf-8?Q?a?="},
		{"a space at the stamp's end", " hello", mark + " ", " [SPOOF?] hello"},
	} {
		if got := withStamp(tt.in, tt.stamp); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
	for value, want := range map[string]bool{
		" [SPOOF?] hello": true, "[SPOOF?]": true, " \r\n [SPOOF?] x": true, " =?utf-8?Q?=5BSPOOF=3F=5D_hello?=": true,
		" Re: [SPOOF?] hello": false, " hello": false, "": false, " =?utf-7?Q?x?=": false,
	} {
		if got := hasStamp(value, mark); got != want {
			t.Errorf("%q: stamped %t", value, got)
		}
	}
	if !hasStamp(withStamp(" =?utf-8?Q?a?=", "【偽】"), "【偽】") || !hasStamp(withStamp(" a", "【偽】 "), "【偽】 ") {
		t.Error("an encoded stamp is not known again")
	}
}

// TestSubjects: every Subject is stamped once, and one is made where there is
// none.
func TestSubjects(t *testing.T) {
	for _, tt := range []struct{ reason, subjects, want string }{
		{"none", "", "[SPOOF?]"},
		{"several", "Subject: a\nsubject: [SPOOF?] b\nSUBJECT: c\n", "[SPOOF?] a|[SPOOF?] b|[SPOOF?] c"},
	} {
		addr, _ := serve(t, dnstest.MustParse(t, zone), Options{Subject: "[SPOOF?]"}, milter.Limits{})
		s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
		_, h := s.send("<a@hobby.example>", tt.subjects+"From: a@hobby.example\n\nx\n")
		var got []string
		for _, v := range h.Values("Subject") {
			got = append(got, strings.TrimSpace(v))
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("%s: %q", tt.reason, got)
		}
		ours(t, h)
	}
}

// FuzzSubject: whatever the subject, the stamped one is one field, begins with
// the stamp, and is not stamped again.
func FuzzSubject(f *testing.F) {
	for _, s := range []string{" hello", "", "\r\n \r\n", " a\nb", "\x00\r\r", " =?utf-8?B?4?=", strings.Repeat("\r\n x", 100), " [SPOOF?]"} {
		f.Add(s, "[SPOOF?]")
		f.Add(s, "【偽】")
	}
	f.Fuzz(func(t *testing.T, value, stamp string) {
		if stamp = strings.TrimSpace(stamp); stamp == "" || len(stamp) > 40 || strings.ContainsFunc(stamp, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
			return
		}
		got := withStamp(value, stamp)
		lines := strings.Split(got, "\r\n")
		for i, line := range lines {
			if strings.ContainsAny(line, "\r\n\x00") || i > 0 && (strings.Trim(line, " \t") == "" || line[0] != ' ' && line[0] != '\t') {
				t.Fatalf("%q became %q", value, got)
			}
		}
		shown, _ := new(mime.WordDecoder).DecodeHeader(strings.TrimSpace(encodeStamp(stamp)))
		if !hasStamp(got, stamp) && shown == stamp {
			t.Fatalf("%q is stamped twice: %q", value, got)
		}
		if len(got) > maxSubject*2+1000 {
			t.Fatalf("%d octets", len(got))
		}
	})
}

// TestStyles: the spellings, each as its program writes it.
func TestStyles(t *testing.T) {
	reject := policy.Verdict{Action: policy.Quarantine, Applied: policy.Quarantine, Enforced: true, Reason: policy.ReasonIndirect}
	tagged := policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Enforced: true}
	strict := judged(dmarc.ResultFail, dmarc.PolicyReject)
	strict.DMARC.Record = &dmarc.Record{ASPF: dmarc.Strict, ADKIM: dmarc.Relaxed}
	strict.MailFrom.Result = "pass"
	for _, tt := range []struct {
		style Style
		e     *msgauth.Evaluation
		v     policy.Verdict
		want  string
	}{
		{StyleOpenDMARC, judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Enforced: true}, "dmarc=pass (p=reject dis=none) header.from=bank.example"},
		{StyleOpenDMARC, judged(dmarc.ResultFail, dmarc.PolicyReject), reject, "dmarc=fail (p=reject dis=quarantine) header.from=bank.example"},
		{StyleOpenDMARC, judged(dmarc.ResultFail, dmarc.PolicyNone), tagged, "dmarc=fail (p=none dis=none) header.from=bank.example"},
		{StyleOpenDMARC, judged(dmarc.ResultNone, ""), tagged, "dmarc=none (p=none dis=none) header.from=bank.example"},
		{StyleOpenDMARC, judged(dmarc.ResultPermError, ""), tagged, "dmarc=permerror header.from=bank.example"},
		{StyleRspamd, judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Enforced: true}, "dmarc=pass (policy=reject) header.from=bank.example"},
		{StyleRspamd, judged(dmarc.ResultFail, dmarc.PolicyQuarantine), reject, `dmarc=fail reason="No valid SPF, No valid DKIM" header.from=bank.example (policy=quarantine)`},
		{StyleRspamd, strict, reject, `dmarc=fail reason="SPF not aligned (strict), No valid DKIM" header.from=bank.example (policy=reject)`},
		{StyleRspamd, judged(dmarc.ResultNone, ""), tagged, "dmarc=none"},
		{StyleRspamd, judged(dmarc.ResultTempError, ""), tagged, "dmarc=temperror header.from=bank.example (policy=temperror)"},
		{StyleAuthMilt, judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Enforced: true}, "dmarc=pass (p=reject,d=none) header.from=bank.example"},
		{StyleAuthMilt, judged(dmarc.ResultFail, dmarc.PolicyReject), reject, "dmarc=fail (p=reject,d=quarantine) header.from=bank.example"},
		{StyleOwn, judged(dmarc.ResultFail, dmarc.PolicyReject), reject, "dmarc=fail (quarantine: dmarc_indirect) header.from=bank.example policy.dmarc=reject"},
		{"", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept}, "dmarc=pass header.from=bank.example policy.dmarc=reject"},
		{StyleOpenDMARC, &msgauth.Evaluation{FromError: &mailaddr.FromError{Kind: mailaddr.KindMissing}, DMARC: dmarc.Evaluation{Result: dmarc.ResultNone}}, tagged, `dmarc=none reason="missing"`},
	} {
		parts := strings.Split(strings.ReplaceAll(Label(LabelOptions{AuthServID: id, Style: tt.style}, tt.e, tt.v).Format(), "\r\n", ""), ";")
		i := slices.IndexFunc(parts, func(p string) bool { return strings.HasPrefix(p, " dmarc=") })
		if i < 0 || strings.TrimSpace(parts[i]) != tt.want {
			t.Errorf("%s: %q, want %q", tt.style, parts, tt.want)
		}
	}
}
