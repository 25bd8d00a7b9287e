package policy

import (
	"errors"
	"strings"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
)

// TestInvalidFrom checks that messages without a single author are refused,
// that the reply names the cause without quoting the From field, and that only
// a notification whose From contains no domain is delivered with a tag.
func TestInvalidFrom(t *testing.T) {
	for _, tt := range []struct {
		why, from string
		null      bool
		c         Config
		action    Action
		reason    Reason
		reply     string
	}{
		{why: "a comment of another domain", from: " info@a.example (ceo@bank.example)", action: Reject, reason: ReasonInvalidFrom,
			reply: "a comment holds an address of another domain"},
		{why: "several authors", from: " a@a.example, b@b.example", action: Reject, reason: ReasonInvalidFrom, reply: "the authors are of 2 domains"},
		{why: "an encoded address for an author", from: " =?utf-8?Q?=3Cceo=40bank.example=3E?=, <a@a.example>", action: Reject,
			reason: ReasonInvalidFrom, reply: "text without an address"},
		{why: "a slip and two domains", from: ` "ceo@bank.example" <a@a.example>;`, action: Reject, reason: ReasonInvalidFrom,
			reply: "the field shows several domains, and"},
		{why: "no UTF-8", from: " <\xfc@a.example>", action: Reject, reason: ReasonInvalidFrom, reply: "UTF-8"},
		{why: "a word with a sender", from: " MAILER-DAEMON", action: Reject, reason: ReasonInvalidFrom, reply: "the field names no domain"},
		{why: "as configured", from: " MAILER-DAEMON", c: Config{InvalidFrom: Quarantine}, action: Quarantine, reason: ReasonInvalidFrom},

		{why: "a word", null: true, from: " MAILER-DAEMON", action: Tag, reason: ReasonNamelessBounce},
		{why: "a word, whatever is configured", null: true, from: " MAILER-DAEMON <>", c: Config{InvalidFrom: Quarantine}, action: Tag, reason: ReasonNamelessBounce},
		{why: "a name that is an address, and no author", null: true, from: ` =?utf-8?Q?ceo=40bank.example?= <>`, action: Reject, reason: ReasonInvalidFrom},
		{why: "an address in a comment", null: true, from: " MAILER-DAEMON (ceo@bank.example)", action: Reject, reason: ReasonInvalidFrom},
		{why: "several authors of a bounce", null: true, from: " a@a.example, b@b.example", action: Reject, reason: ReasonInvalidFrom},
		{why: "octets that no field may hold", null: true, from: " MAILER\x00DAEMON", action: Reject, reason: ReasonInvalidFrom},
	} {
		t.Run(tt.why, func(t *testing.T) {
			e := judged(t, tt.from)
			e.MailFrom.NullSender = tt.null
			v := Decide(e, tt.c)
			if v.Action != tt.action || v.Reason != tt.reason || v.Disposition != dmarc.PolicyNone {
				t.Errorf("%s, %s, disposition %s; want %s, %s", v.Action, v.Reason, v.Disposition, tt.action, tt.reason)
			}
			if len(v.Evidence) != 1 || v.Evidence[0] != e.FromError.Text() || !strings.HasPrefix(v.Evidence[0], "From field ") {
				t.Errorf("evidence %q", v.Evidence)
			}
			if v.Action != Reject {
				return
			}
			reply := v.Reply.String()
			if !strings.HasPrefix(reply, "550 5.7.1 From header field refused: ") || !strings.Contains(reply, tt.reply) ||
				strings.Contains(reply, ".example") || v.Reply.Validate() != nil {
				t.Errorf("reply %q lacks %q", reply, tt.reply)
			}
		})
	}
}

// TestNamelessBounceKeepsToKinds checks that a notification without a From
// field, or with two of them, is refused.
func TestNamelessBounceKeepsToKinds(t *testing.T) {
	for _, values := range [][]string{nil, {" MAILER-DAEMON", " MAILER-DAEMON"}} {
		e := judged(t, values...)
		e.MailFrom.NullSender = true
		if v := Decide(e, Config{}); v.Action != Reject || v.Reason != ReasonInvalidFrom {
			t.Errorf("%q: %s, %s", values, v.Action, v.Reason)
		}
	}
}

// TestOtherName checks that a message that passes DMARC is tagged if its
// display name is only an address of another domain, and that such a display
// name changes nothing for a message that fails.
func TestOtherName(t *testing.T) {
	for _, tt := range []struct {
		from   string
		result dmarc.Result
		action Action
		reason Reason
	}{
		{` "ceo@bank.example" <a@a.example>`, dmarc.ResultPass, Tag, ReasonOtherName},
		{` =?utf-8?Q?ceo=40bank.example?= <a@a.example>`, dmarc.ResultPass, Tag, ReasonOtherName},
		{` "ceo@bank.example via List" <a@a.example>`, dmarc.ResultPass, Accept, ReasonAligned},
		{` "a@a.example" <a@a.example>`, dmarc.ResultPass, Accept, ReasonAligned},
		{` "Foo <a@a.example>;`, dmarc.ResultPass, Accept, ReasonAligned},
		{` "ceo@bank.example" <a@a.example>`, dmarc.ResultFail, Tag, ReasonNone},
	} {
		e := judged(t, tt.from)
		e.DMARC.Result = tt.result
		v := Decide(e, Config{})
		if v.Action != tt.action || v.Reason != tt.reason || v.Applied != tt.action || v.Override != nil {
			t.Errorf("%s, dmarc=%s: %s, %s; want %s, %s", tt.from, tt.result, v.Action, v.Reason, tt.action, tt.reason)
		}
	}
}

// judged returns the evaluation of a message that has the given values of From
// fields, and no passing SPF or DKIM.
func judged(t *testing.T, values ...string) *msgauth.Evaluation {
	t.Helper()
	e := &msgauth.Evaluation{MailFrom: spf.Check{Result: spf.None}, DMARC: dmarc.Evaluation{Result: dmarc.ResultPermError}}
	from, err := author.Parse(values)
	e.From = from
	if err != nil && !errors.As(err, &e.FromError) {
		t.Fatal(err)
	}
	return e
}
