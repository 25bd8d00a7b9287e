package probe

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"sekimori/internal/explain"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
)

// TestCompare checks answers that the daemon should never give, and the notes on DNS.
func TestCompare(t *testing.T) {
	const label = "mx.jp; spf=pass smtp.mailfrom=a.jp; dmarc=pass header.from=a.jp"
	good := Outcome{Fate: Delivered, Results: []string{label}, Foreign: 1}
	with := func(change func(*Outcome)) Outcome {
		o := good
		o.Results = append([]string{}, good.Results...)
		change(&o)
		return o
	}
	for _, tt := range []struct {
		name        string
		came, meant Outcome
		ok          bool
		says        string
	}{
		{"the same", good, good, true, ""},
		{"another comment", with(func(o *Outcome) { o.Results[0] = "mx.jp; spf=pass (x) smtp.mailfrom=b.jp; dmarc=pass" }), good, true, ""},
		{"no label", with(func(o *Outcome) { o.Results = nil }), good, false, "has 0 Authentication-Results fields in our name, but 1 were meant"},
		{"a forged result is left", with(func(o *Outcome) { o.Results = append(o.Results, label) }), good, false, "has 2 Authentication-Results fields"},
		{"a result of another host is gone", with(func(o *Outcome) { o.Foreign = 0 }), good, false, "0 Authentication-Results fields of other hosts are left"},
		{"another host", with(func(o *Outcome) { o.Results[0] = strings.Replace(label, "mx.jp", "mx2.jp", 1) }), good, false, `names the host "mx2.jp"`},
		{"another result", with(func(o *Outcome) { o.Results[0] = strings.Replace(label, "dmarc=pass", "dmarc=fail", 1) }), good, false, `"spf=pass dmarc=fail"`},
		{"the daemon lacks an answer", with(func(o *Outcome) { o.Results[0] = strings.Replace(label, "spf=pass", "spf=temperror", 1) }), good, true, "did not wait for each answer"},
		{"we lack an answer", good, with(func(o *Outcome) { o.Results[0] = strings.Replace(label, "spf=pass", "spf=temperror", 1) }), true, "This command got no answer"},
		{"unreadable", with(func(o *Outcome) { o.Results[0] = "mx.jp; ;;" }), good, false, "The label says"},
		{"another reply", Outcome{Fate: Rejected, Reply: "550 5.7.1 x (A)"}, Outcome{Fate: Rejected, Reply: "550 5.7.23 x (A)"}, false, `"550 5.7.1", but "550 5.7.23"`},
		{"another id", Outcome{Fate: Rejected, Reply: "550 5.7.1 x (A)"}, Outcome{Fate: Rejected, Reply: "550 5.7.1 x (B)"}, true, ""},
		{"no room", Outcome{Fate: Deferred, Reply: "tempfail"}, good, false, "has no room, or is being stopped"},
		{"no DNS", Outcome{Fate: Deferred, Reply: "451 4.7.5 x"}, good, false, "The daemon got no answer from DNS"},
		{"held", with(func(o *Outcome) { o.Fate = Held }), good, false, "was held, but delivered was meant"},
	} {
		p := Play{Mail: Mail{Client: netip.MustParseAddr("192.0.2.1")}, Came: tt.came, Meant: tt.meant}
		p.compare(&judge.Decision{})
		r := &Report{Plays: []Play{p}}
		if len(p.Problems) == 0 != tt.ok || !strings.Contains(problems(r), tt.says) {
			t.Errorf("%s: %s", tt.name, problems(r))
		}
	}
	p := Play{Came: Outcome{Fate: Held}, Meant: good}
	p.compare(&judge.Decision{Verdict: policy.Verdict{Missing: []policy.Missing{{}}}})
	if got := problems(&Report{Plays: []Play{p}}); !strings.Contains(got, "is not certain") {
		t.Errorf("an answer is missing here: %s", got)
	}
}

// TestCompareWords checks the problem and the note for each way in which an answer can differ, and that there are
// no others.
func TestCompareWords(t *testing.T) {
	const label = "mx.jp; spf=pass smtp.mailfrom=a.jp; dmarc=pass header.from=a.jp"
	lacks := strings.Replace(label, "dmarc=pass", "dmarc=temperror", 1)
	missing := judge.Decision{Verdict: policy.Verdict{Missing: []policy.Missing{{}}}}
	delivered := func(results ...string) Outcome { return Outcome{Fate: Delivered, Results: results} }
	fate := func(f Fate, reply string) Outcome { return Outcome{Fate: f, Reply: reply} }
	for _, tt := range []struct {
		name        string
		came, meant Outcome
		d           judge.Decision
		want        string
	}{
		{"", delivered(label), delivered(label), judge.Decision{}, ""},
		{"", fate(NoAnswer, ""), delivered(label), judge.Decision{}, "! The daemon took the connection, but did not answer in time." +
			` See "sekimori status" and the daemon's log. If it is busy, see the limits in deploy/docs/operate.md.`},
		{"", fate(Rejected, "550 5.7.1 a"), delivered(), judge.Decision{}, "! The message was rejected, but delivered was meant. " + adviceConfig},
		{"", fate(Rejected, "550 5.7.1 a"), delivered(), missing, "! The message was rejected, but delivered was meant. What is meant is not certain, because this command got no answer from DNS. " + adviceOur},
		{"", fate(Deferred, "451 4.7.1 a"), delivered(), judge.Decision{}, "! The message was deferred, but delivered was meant. The daemon got no answer from DNS. " + adviceDNS},
		{"", fate(Deferred, "451 4.3.2 a"), delivered(), judge.Decision{}, "! The message was deferred, but delivered was meant. The daemon has no room, or is being stopped." +
			` See "sekimori status", limits.max_sessions and limits.memory.`},
		{"", fate(Rejected, "550 4.7.1 a"), delivered(), judge.Decision{}, "! The message was rejected, but delivered was meant. " + adviceConfig},
		{"", delivered(lacks), fate(Rejected, ""), judge.Decision{}, "! The message was delivered, but rejected was meant. The daemon got no answer from DNS. " + adviceDNS},
		{"", fate(Held, ""), delivered(label), judge.Decision{}, "! The message was held, but delivered was meant. " + adviceConfig},
		{overSMTP, fate(Rejected, "550 a"), delivered(), judge.Decision{}, "! The message was rejected, but delivered was meant. " + adviceRefused + adviceConfig},
		{overSMTP, fate(Accepted, ""), fate(Rejected, ""), judge.Decision{}, "! The message was accepted, but rejected was meant. The MTA may not pass its mail on to the daemon." +
			" Send the message without --smtp. If the answer is then as meant, see smtpd_milters (Postfix) or INPUT_MAIL_FILTER (Sendmail)."},
		{overSMTP, fate(Accepted, ""), fate(Deferred, ""), missing, "! The message was accepted, but deferred was meant. What is meant is not certain, because this command got no answer from DNS. " + adviceOur},
		{overSMTP, fate(Accepted, ""), fate(Held, ""), judge.Decision{}, ""}, {overSMTP, fate(Accepted, ""), delivered(label), judge.Decision{}, ""},
		{"", fate(Rejected, "550 5.7.1 a b"), fate(Rejected, "550 5.7.9 a b"), judge.Decision{}, `! The reply is "550 5.7.1", but "550 5.7.9" was meant. ` + adviceConfig},
		{"", fate(Rejected, "550"), fate(Rejected, "550"), judge.Decision{}, ""}, {"", fate(Rejected, ""), fate(Rejected, "550"), judge.Decision{}, `! The reply is "", but "550" was meant. ` + adviceConfig},
		{"", Outcome{Fate: Rejected, Foreign: 1}, fate(Rejected, ""), judge.Decision{}, ""},
		{"", Outcome{Fate: Held, Foreign: 1}, fate(Held, ""), judge.Decision{}, "! 1 Authentication-Results fields of other hosts are left, but 0 were meant. Please report this as a bug."},
		{"", delivered(label, label), delivered(), judge.Decision{}, "! The message has 2 Authentication-Results fields in our name, but 0 were meant." +
			` If authserv_id was changed in the file, run "sekimori reload". ` + adviceConfig},
		{"", delivered("a.jp; none", label), delivered("b.jp; none", "c.jp; none"), judge.Decision{}, `! The label names the host "a.jp", but "b.jp" was meant. ` + adviceConfig},
		{"", delivered(label, "mx.jp; spf=fail"), delivered(label, label), judge.Decision{}, `! The label says "spf=fail", but "spf=pass dmarc=pass" was meant. ` + adviceConfig},
		{"", delivered(lacks), delivered(label), judge.Decision{}, `. The label says "spf=pass dmarc=temperror", but "spf=pass dmarc=pass" was meant. The daemon did not wait for each answer of DNS ` +
			`(limits.shown_wait), or got none. Run the probe again; if the note comes again, see the DNS lines of "sekimori status".`},
		{"", delivered(label), delivered(lacks), judge.Decision{}, `. The label says "spf=pass dmarc=pass", but "spf=pass dmarc=temperror" was meant. This command got no answer from DNS. ` + adviceOur},
		{"", delivered("mx.jp; spf=temperror"), delivered(lacks), judge.Decision{}, `. The label says "spf=temperror", but "spf=pass dmarc=temperror" was meant. This command got no answer from DNS. ` + adviceOur},
		{"", delivered(label), delivered(label), missing, ". DNS gave no answer to a question that decides on this message. " + adviceDNS},
		{silentDomain, delivered(label), delivered(label), missing, ""},
		{"", delivered(label), delivered(label), judge.Decision{Skipped: policy.ReasonTrusted}, ". The address 192.0.2.1 is in trusted.networks, so this message shows nothing about what strangers get."},
		{"", delivered(label), delivered(label), judge.Decision{Skipped: policy.ReasonAuthenticated}, ""},
	} {
		p := Play{Mail: Mail{Name: tt.name, Client: netip.MustParseAddr("192.0.2.1")}, Came: tt.came, Meant: tt.meant}
		p.compare(&tt.d)
		var got []string
		for _, x := range p.Problems {
			got = append(got, "! "+x.What+" "+x.ToDo)
		}
		for _, n := range p.Notes {
			got = append(got, ". "+n)
		}
		if strings.Join(got, "\n") != tt.want {
			t.Errorf("%s %+v, %+v: got\n%s\nwant\n%s", tt.name, tt.came, tt.meant, strings.Join(got, "\n"), tt.want)
		}
	}
}

// TestText checks the whole text, and that it escapes what came from outside.
func TestText(t *testing.T) {
	r := Report{Target: "unix:/x", Mode: "enforce", Notes: []string{"n\x1b"}, Seconds: 1.234, Plays: []Play{
		{
			Mail: Mail{Name: "spoof", Title: "t", HELO: "h", MailFrom: "f@x", Recipient: "r@x", From: "a\x1b@b"}, Came: Outcome{Fate: Rejected, Reply: "550 \x1b[2J"},
			Meant: Outcome{Fate: Delivered}, Why: "w", Problems: []Problem{{"what\x1b", "to do"}, {"more", "again"}}, Notes: []string{"note"},
		},
		{Mail: Mail{Name: "pass", Title: "t", Client: netip.MustParseAddr("192.0.2.1")}, Came: Outcome{Fate: Held, Results: []string{"a; b", "c; d"}}, Why: "w", OK: true},
		{Mail: Mail{Name: "more", Title: "t"}, Came: Outcome{Fate: Held}, Meant: Outcome{Fate: Held, Results: []string{"e; f"}}, Why: "w", Notes: []string{"note"}, OK: true},
	}}
	const want = `Messages to unix:/x; the configuration is in mode enforce.

1. spoof: t
   sent       an unknown client, HELO h, MAIL FROM:<f@x>, RCPT TO:<r@x>, From: a\u001b@b
   came back  rejected: 550 \u001b[2J
   meant      delivered
              without a label of ours
   because    w
   note       note
   WRONG      what\u001b
   to do      to do
   WRONG      more
   to do      again
   => NOT as the configuration means

2. pass: t
   sent       client 192.0.2.1, HELO , MAIL FROM:<>, RCPT TO:<>, From: ` + `
   came back  held
              Authentication-Results: a; b
              Authentication-Results: c; d
   meant      the same
   because    w
   => as the configuration means

3. more: t
   sent       an unknown client, HELO , MAIL FROM:<>, RCPT TO:<>, From: ` + `
   came back  held
              without a label of ours
   meant      held
              Authentication-Results: e; f
   because    w
   note       note
   => as the configuration means

Note: n\u001b
2 of 3 messages came back as the configuration means, in 1.23 s.
`
	var out strings.Builder
	if err := r.Text(&out); err != nil || out.String() != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, out.String(), want)
	}
	if err := r.Text(full{}); err == nil {
		t.Error("a text that could not be written is no error")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

// TestWhy checks the words for a verdict that is not applied as it is.
func TestWhy(t *testing.T) {
	reject := policy.Verdict{Action: policy.Reject, Applied: policy.Reject, Reason: policy.ReasonReject, Enforced: true}
	with := func(change func(*policy.Verdict)) judge.Decision {
		v := reject
		change(&v)
		return judge.Decision{Verdict: v}
	}
	summary := explain.Summary(reject)
	for _, tt := range []struct {
		d    judge.Decision
		want string
	}{
		{judge.Decision{Verdict: reject}, ""},
		{with(func(v *policy.Verdict) { v.Applied, v.Enforced = policy.Tag, false }), "; in mode monitor nothing is refused or held"},
		{with(func(v *policy.Verdict) { v.Applied = policy.Tag }), "; policy.quarantine is tag, so the message is only labelled"},
		{with(func(v *policy.Verdict) { v.Applied = policy.Quarantine }), ""},
		{with(func(v *policy.Verdict) { v.Applied, v.Would = policy.Quarantine, policy.Reject }), "; without a recipient who opted out it would be reject"},
	} {
		if got := why(&tt.d); got != explain.Summary(tt.d.Verdict)+tt.want || summary == "" {
			t.Errorf("%+v: %q, want %q", tt.d.Verdict, got, tt.want)
		}
	}
	skipped := with(func(v *policy.Verdict) { v.Applied, v.Enforced = policy.Tag, false })
	skipped.Skipped = policy.ReasonTrusted
	if got := why(&skipped); got != explain.Summary(skipped.Verdict) {
		t.Errorf("skipped: %q", got)
	}
}

// TestCameBack checks what an MTA does after each last answer.
func TestCameBack(t *testing.T) {
	const forged = "Authentication-Results: mx.jp; dmarc=pass\r\nauthentication-results: other.jp; dmarc=fail\r\nX: mx.jp; a\r\n\r\nx\r\n"
	names := label.Names{AuthServID: "mx.jp"}
	self := names.Identity("mx.jp")
	insert := client.Modification{Kind: client.InsertHeader, Name: "Authentication-Results", Value: "mx.jp;\n\tdmarc=none"}
	for _, tt := range []struct {
		action client.Action
		mods   []client.Modification
		want   Outcome
	}{
		{client.Action{Kind: client.Accept}, nil, Outcome{Fate: Delivered, Results: []string{"mx.jp; dmarc=pass"}, Foreign: 1}},
		{client.Action{Kind: client.Continue}, []client.Modification{{Kind: client.DeleteHeader, Name: "Authentication-Results", Index: 1}, insert},
			Outcome{Fate: Delivered, Results: []string{"mx.jp; dmarc=none"}, Foreign: 1}},
		{client.Action{Kind: client.Accept}, []client.Modification{insert, {Kind: client.Quarantine, Value: "why"}, insert},
			Outcome{Fate: Held, Results: []string{"mx.jp; dmarc=none", "mx.jp; dmarc=none", "mx.jp; dmarc=pass"}, Foreign: 1}},
		{client.Action{Kind: client.Accept}, []client.Modification{{Kind: client.InsertHeader, Index: 2, Name: insert.Name, Value: "mx.jp; second"}},
			Outcome{Fate: Delivered, Results: []string{"mx.jp; dmarc=pass", "mx.jp; second"}, Foreign: 1}},
		{client.Action{Kind: client.Reject}, nil, Outcome{Fate: Rejected, Reply: "reject"}}, {client.Action{Kind: client.Discard}, nil, Outcome{Fate: Rejected, Reply: "discard"}},
		{client.Action{Kind: client.Tempfail}, nil, Outcome{Fate: Deferred, Reply: "tempfail"}},
		{client.Action{Kind: client.Custom, Code: 500, Lines: []string{"a", "b"}}, nil, Outcome{Fate: Rejected, Reply: "500 a b"}},
		{client.Action{Kind: client.Custom, Code: 499, Lines: []string{"a"}}, nil, Outcome{Fate: Deferred, Reply: "499 a"}},
	} {
		if got := cameBack(self, []byte(forged), tt.action, tt.mods); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: %+v, want %+v", tt.action, got, tt.want)
		}
	}
}
