package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/signer"
)

const spoof = "From: A <a@bank.example>\r\n\r\nx\r\n"

// annOptedOut is a directory of recipients in which only ann has opted out.
type annOptedOut struct{}

func (annOptedOut) Known(typed, _ string) (policy.Class, bool) {
	if strings.Contains(typed, "ann@") {
		return policy.Out, true
	}
	return policy.In, true
}

func (annOptedOut) Lookup(context.Context, string, string) policy.Class { return policy.Out }

// TestLikeTheDaemon checks that explain decides as the daemon does on a message that is not
// evaluated and on a message to a recipient who opted out. A reply must be shown only if
// the daemon would send one.
func TestLikeTheDaemon(t *testing.T) {
	consent := func(j *judge.Judge) { j.Recipients = annOptedOut{} }
	for name, tt := range map[string]struct {
		change   func(*judge.Judge)
		o        Stored
		action   policy.Action
		reason   policy.Reason
		reply    bool
		labelled bool
	}{
		"a spoof":                 {nil, Stored{}, policy.Reject, policy.ReasonReject, true, true},
		"a trusted network":       {nil, Stored{Client: netip.MustParseAddr("127.0.0.1")}, policy.Skip, policy.ReasonTrusted, false, false},
		"a client that logged in": {nil, Stored{Login: "ann"}, policy.Skip, policy.ReasonAuthenticated, false, false},
		"a login that is not trusted": {func(j *judge.Judge) { j.TrustAuthenticated = false }, Stored{Login: "ann"},
			policy.Reject, policy.ReasonReject, true, true},
		"more fields than the limit": {func(j *judge.Judge) { j.MaxFields = 2 }, Stored{Message: []byte("A: 1\r\nB: 2\r\n" + spoof)},
			policy.Reject, policy.ReasonOversize, true, false},
		"as many fields as the limit": {func(j *judge.Judge) { j.MaxFields = 3 }, Stored{Message: []byte("A: 1\r\nB: 2\r\n" + spoof)},
			policy.Reject, policy.ReasonReject, true, true},
		"a header over its octets": {func(j *judge.Judge) { j.MaxHeaderBytes = 20 }, Stored{}, policy.Reject, policy.ReasonOversize, true, false},
		"a field over its octets": {nil, Stored{Message: []byte("A: " + strings.Repeat("x", 257<<10) + "\r\n" + spoof)},
			policy.Reject, policy.ReasonOversize, true, false},
		"a recipient who opted out":  {consent, Stored{Recipients: []string{"<ann@here.example>"}}, policy.Tag, policy.ReasonReject, false, true},
		"a recipient who agreed":     {consent, Stored{Recipients: []string{"<bob@here.example>"}}, policy.Reject, policy.ReasonReject, true, true},
		"recipients of both classes": {consent, Stored{Recipients: []string{"bob@here.example", "ann@here.example"}}, policy.Tag, policy.ReasonReject, false, true},
		"more than the limit in monitor mode": {func(j *judge.Judge) { j.Policy.Mode, j.MaxFields = policy.Monitor, 2 },
			Stored{Message: []byte("A: 1\r\nB: 2\r\n" + spoof)},
			policy.Reject, policy.ReasonOversize, false, true},
		"monitor mode gives no reply": {func(j *judge.Judge) { j.Policy.Mode = policy.Monitor }, Stored{}, policy.Reject, policy.ReasonReject, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := tt.o
			if o.Message == nil {
				o.Message = []byte(spoof)
			}
			if !o.Client.IsValid() {
				o.Client = netip.MustParseAddr("203.0.113.1")
			}
			o.MailFrom = new("a@bank.example")
			r, err := judged(t, o, tt.change)
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict.Action != tt.action || r.Verdict.Reason != tt.reason {
				t.Errorf("%s (%s), want %s (%s)", r.Verdict.Action, r.Verdict.Reason, tt.action, tt.reason)
			}
			if got := r.Verdict.Reply.Code != 0; got != tt.reply {
				t.Errorf("reply: %v", r.Verdict.Reply)
			}
			if got := r.AuthenticationResults != ""; got != tt.labelled {
				t.Errorf("label: %q", r.AuthenticationResults)
			}
			if seen := r.Session != nil && r.Envelope != nil && r.Session.Client == o.Client && r.Envelope.MailFrom == "a@bank.example"; seen != (r.Evaluation == nil) {
				t.Errorf("session %+v, envelope %+v", r.Session, r.Envelope)
			}
			var b strings.Builder
			if err := r.Text(&b); err != nil || strings.Contains(b.String(), "reply:") != tt.reply {
				t.Errorf("%v\n%s", err, b.String())
			}
		})
	}
}

// TestBody checks that the body is judged, too: a signature of another body fails.
func TestBody(t *testing.T) {
	whole := signer.DKIM(t, key, "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=good; h=from; bh=%BH; b=", spoof)
	for body, want := range map[string]policy.Reason{"x\r\n": policy.ReasonAligned, "y\r\n": policy.ReasonReject} {
		r := run(t, Stored{Message: []byte(strings.TrimSuffix(whole, "x\r\n") + body), Client: netip.MustParseAddr("203.0.113.1"), MailFrom: new("a@bank.example")})
		if r.Verdict.Reason != want || len(r.Evaluation.DKIM) != 1 || r.Session != nil || r.Envelope != nil {
			t.Errorf("%q: %s, %+v, %v, %v", body, r.Verdict.Reason, r.Evaluation.DKIM, r.Session, r.Envelope)
		}
	}
}

// TestEnded: what a judge decided after its time was over is not shown.
func TestEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x, err := judgedIn(t, ctx, Stored{Message: []byte(spoof), Client: netip.MustParseAddr("203.0.113.1")}, nil)
	if x != nil || !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "explain: ") {
		t.Errorf("%+v, %v", x, err)
	}
}

// TestRecipients: recipients that are given replace the one that a trusted host noted.
func TestRecipients(t *testing.T) {
	const noted = "Received: from x (x [203.0.113.1]) by mx.test (Postfix) with ESMTP id A for <ann@here.example>\r\n"
	for _, tt := range []struct{ given, want []string }{
		{nil, []string{"<ann@here.example>"}}, {[]string{"<bob@here.example>"}, []string{"<bob@here.example>"}},
		{[]string{"<bob@here.example>", "<eve@here.example>"}, []string{"<bob@here.example>", "<eve@here.example>"}},
	} {
		r := run(t, Stored{Message: []byte(noted + spoof), TrustedHosts: []dns.Name{"mx.test"}, MailFrom: new(""), Recipients: tt.given})
		if got := r.Evaluation.Envelope.Recipients; !slices.Equal(got, tt.want) {
			t.Errorf("%q given: %q", tt.given, got)
		}
	}
}

// TestTime checks that a message is judged with the time of its receipt from the client
// as the current time. Older Received fields must not matter, because the sender can
// write them.
func TestTime(t *testing.T) {
	field := func(client, by, date string) string {
		return fmt.Sprintf("Received: from x (x [%s])\r\n\tby %s (Postfix) with ESMTP id A; %s\r\n", client, by, date)
	}
	const first, second, third = "Thu, 1 Jan 2026 00:10:00 +0000", "Fri, 2 Jan 2026 00:10:00 +0000", "Sat, 3 Jan 2026 00:10:00 +0000"
	at := func(day int) string { return fmt.Sprintf("2026-01-%02dT00:10:00Z", day) }
	hosts := []dns.Name{"mx.test", "store.test"}
	for name, tt := range map[string]struct {
		received string
		o        Stored
		want     string
		source   string
	}{
		"the topmost": {field("203.0.113.1", "mx.test", first), Stored{}, at(1), "when mx.test received it"},
		"the field that names the client, below the mail store's": {field("10.0.0.1", "store.test", second) + field("203.0.113.1", "mx.test", first),
			Stored{}, at(1), "when mx.test received it"},
		"no field names the client": {field("192.0.2.7", "mx.test", second) + field("192.0.2.8", "their.test", first), Stored{}, at(2), "when mx.test received it"},
		"a date that cannot be read": {field("203.0.113.1", "mx.test", "yesterday") + field("192.0.2.8", "their.test", first),
			Stored{}, at(1), "when their.test received it"},
		"asked for": {field("203.0.113.1", "mx.test", first), Stored{Time: time.Date(2026, 1, 3, 0, 10, 0, 0, time.UTC)}, at(3), "as was asked for"},
		"by trusted hosts": {"Return-Path: <a@bank.example>\r\n" + field("127.0.0.1", "mx.test", third) + field("203.0.113.1", "mx.test", second) +
			field("203.0.113.1", "their.test", first),
			Stored{TrustedHosts: hosts}, at(2), "when mx.test received it"},
	} {
		t.Run(name, func(t *testing.T) {
			o := tt.o
			o.Message = []byte(tt.received + spoof)
			if len(o.TrustedHosts) == 0 {
				o.Client, o.MailFrom = netip.MustParseAddr("203.0.113.1"), new("a@bank.example")
			}
			r := run(t, o)
			if got := r.Evaluation.Time.UTC().Format(time.RFC3339); got != tt.want || r.TimeSource != tt.source {
				t.Errorf("%s, %s", got, r.TimeSource)
			}
			if r.Evaluation.Session.Client != netip.MustParseAddr("203.0.113.1") || r.Evaluation.Envelope.MailFrom == "" {
				t.Errorf("%+v %+v", r.Evaluation.Session, r.Evaluation.Envelope)
			}
			var b strings.Builder
			if err := r.Text(&b); err != nil || !strings.Contains(b.String(), "judged as of "+tt.want+", "+tt.source) {
				t.Errorf("%v\n%s", err, b.String())
			}
		})
	}
	r := run(t, Stored{Message: []byte(spoof), Client: netip.MustParseAddr("203.0.113.1"), MailFrom: new("")})
	if !strings.HasPrefix(r.TimeSource, "now") || time.Since(r.Evaluation.Time) > time.Hour {
		t.Errorf("%s, %s", r.Evaluation.Time, r.TimeSource)
	}
}

// TestTrustedHosts checks that the client is taken only from Received fields that a trusted
// host wrote.
func TestTrustedHosts(t *testing.T) {
	hosts := []dns.Name{"mx.test"}
	const path = "Return-Path: <a@bank.example>\r\n"
	for name, tt := range map[string]struct{ received, want string }{
		"handed over on the host": {"Received: by mx.test (Postfix, from userid 0) id A; Thu, 1 Jan 2026 00:10:00 +0000\r\n", "skip"},
		"logged in":               {"Received: from x (x [203.0.113.1]) by mx.test (Postfix) with ESMTPSA id A\r\n", "skip"},
		"a client":                {"Received: from x (x [203.0.113.1]) by mx.test (Postfix) with ESMTP id A\r\n", "reject"},
		"unreadable":              {"Received: from x (over there) by mx.test with ESMTP id A\r\n", "error: unreadable"},
		"not by a trusted host":   {"Received: from x (x [203.0.113.1]) by their.test (Postfix) with ESMTP id A\r\n", "error: not by a trusted host"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Stored{Message: []byte(path + tt.received + spoof), TrustedHosts: hosts}
			r, err := judged(t, o, nil)
			if want, fails := strings.CutPrefix(tt.want, "error: "); fails {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || string(r.Verdict.Action) != tt.want {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestEditsAndShadow checks that the explanation of a stored message contains the edits and
// the verdict of the candidate policy, both in the text and in JSON.
func TestEditsAndShadow(t *testing.T) {
	const forged = "Authentication-Results: mx.here.example; dmarc=pass\r\nSubject: s\r\n" + spoof
	stranger := netip.MustParseAddr("203.0.113.1")
	candidate := func(j *judge.Judge) { j.Shadow = &policy.Config{Mode: policy.Monitor, Reject: policy.RejectAlways} }
	for name, tt := range map[string]struct {
		change func(*judge.Judge)
		want   []string
		lacks  []string
		json   []string
	}{
		"refused": {nil, []string{"REJECT"}, []string{"Edits", "candidate"}, nil},
		"held": {func(j *judge.Judge) {
			j.Policy.Reject, j.Label.ReceivedSPF, j.Label.Subject = policy.RejectQuarantine, true, "[SPOOF?]"
			candidate(j)
		}, []string{
			"\nEdits, in the order in which they are made\n  quarantine: dmarc_softened ", "\n  change Subject 1 to [SPOOF?] s\n",
			"\n  delete Authentication-Results 1, which holds a result in our name\n  insert Received-SPF: fail receiver=mx.here.example;",
			"\n  insert Authentication-Results\n", "\n  candidate policy (shadow): REJECT, because nothing of the author's domain",
		}, []string{"had consented"}, []string{
			`{"kind":"delete","name":"Authentication-Results","index":1,"forged":true}`, `"shadow":{"live":{"verdict":"quarantine"`, `"candidate":{"verdict":"reject"`,
		}},
		"opted out": {func(j *judge.Judge) { j.Recipients = annOptedOut{}; candidate(j) },
			[]string{"TAG, because", "policy in effect, if all recipients had consented: REJECT"}, []string{"quarantine: "}, nil},
		"over a limit, monitor": {func(j *judge.Judge) { j.Policy.Mode, j.MaxFields = policy.Monitor, 2 },
			[]string{"\n  delete 1 of 1 Authentication-Results fields\n  insert Authentication-Results\n"}, []string{"candidate"},
			[]string{`{"kind":"delete_many","name":"Authentication-Results","index":1,"forged":true}`}},
	} {
		t.Run(name, func(t *testing.T) {
			o := Stored{Message: []byte(forged), Client: stranger, MailFrom: new("a@bank.example"), Recipients: []string{"ann@here.example"}}
			x, err := judged(t, o, tt.change)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := x.Text(&b); err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("lacks %q:\n%s", want, &b)
				}
			}
			for _, not := range tt.lacks {
				if strings.Contains(b.String(), not) {
					t.Errorf("has %q:\n%s", not, &b)
				}
			}
			for _, want := range tt.json {
				if !strings.Contains(string(raw), want) {
					t.Errorf("lacks %s:\n%s", want, raw)
				}
			}
		})
	}
}
