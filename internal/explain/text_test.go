package explain

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

func TestAnswerText(t *testing.T) {
	for want, l := range map[string]dns.Lookup{
		"NODATA":        {Answer: &dns.Answer{}},
		"NXDOMAIN":      {Answer: &dns.Answer{Status: dns.NXDomain}},
		"10 mx.example": {Answer: &dns.Answer{Type: dns.TypeMX, Records: []dns.Record{{Host: "mx.example", Preference: 10}}}},
		"192.0.2.1, 192.0.2.2": {Answer: &dns.Answer{Type: dns.TypeA,
			Records: []dns.Record{{Addr: netip.MustParseAddr("192.0.2.1")}, {Addr: netip.MustParseAddr("192.0.2.2")}}}},
		`"a\x1bb"`:          {Answer: &dns.Answer{Type: dns.TypeTXT, Records: []dns.Record{{Text: "a\x1bb"}}}},
		"dns: x A: timeout": {Error: "dns: x A: timeout"},
		"p.example":         {Answer: &dns.Answer{Type: dns.TypePTR, Records: []dns.Record{{Host: "p.example"}}}},
	} {
		if got := answerText(l); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestLine: whatever a line is made of, it has no character that controls a terminal.
func TestLine(t *testing.T) {
	p := &printer{}
	p.section("")
	p.line(1, "%s %s %s %d", "a\x1b", dns.Name("b\x1b.example"), netip.MustParseAddr("fe80::1").WithZone("\x1b"), 7)
	if got, want := p.sections[0].Lines[0], (Line{1, `"a\x1b" "b\x1b.example" "fe80::1%\x1b" 7`}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestNotEvaluated checks that the explanation of a message that was not evaluated shows
// its envelope and the reason.
func TestNotEvaluated(t *testing.T) {
	for reason, want := range map[policy.Reason]string{
		policy.ReasonTrusted: "in a trusted network", policy.ReasonAuthenticated: "the client logged in",
	} {
		ring := recent.New(recent.Options{Entries: 1})
		ring.Decided(&judge.Decision{Session: msgauth.Session{Client: netip.MustParseAddr("10.0.0.1"), Authenticated: "ann\x1b"},
			Envelope: msgauth.Envelope{QueueID: "4Q", MailFrom: "<ann@here.example>"}, Verdict: policy.Skipped(reason)}, 0)
		found, _ := ring.Search(recent.Query{})
		var b strings.Builder
		if err := Remembered(found[0]).Text(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"SKIP, because", want, "client 10.0.0.1", "mail from <ann@here.example>", "queue id 4Q", `logged in as "ann\x1b"`,
			"was not evaluated"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q:\n%s", reason, want, &b)
			}
		}
	}
}

// TestRelay checks that an explanation names the relay, and says what its Received field told.
func TestRelay(t *testing.T) {
	for line, want := range map[msgauth.RelayLine]string{
		msgauth.RelayRead: "names the client", msgauth.RelayUnreadable: "does not name the client", msgauth.RelayPrivate: "names a host of the site",
	} {
		e := &msgauth.Evaluation{Session: msgauth.Session{Relay: netip.MustParseAddr("198.51.100.25"), RelayLine: line}}
		var b strings.Builder
		if err := (&Explanation{Evaluation: e}).Text(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "relay 198.51.100.25: ") || !strings.Contains(b.String(), want) {
			t.Errorf("%s: the text lacks %q:\n%s", line, want, &b)
		}
	}
}

// TestNoClient checks the text for a message without a client address, such as mail that
// was created on the host itself. The text must not contain "invalid IP", which Go
// prints for such an address.
func TestNoClient(t *testing.T) {
	ring := recent.New(recent.Options{Entries: 1})
	ring.Decided(&judge.Decision{Envelope: msgauth.Envelope{MailFrom: "<ann@here.example>"}, Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
	found, _ := ring.Search(recent.Query{})
	var b strings.Builder
	if err := Remembered(found[0]).Text(&b); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Contains(text, "invalid IP") || !strings.Contains(text, "no client address, mail from <ann@here.example>") {
		t.Error(text)
	}
}

// reject returns the decision on a spoof. Every text that the sender chooses holds control
// characters and markup.
func reject() *recent.Entry {
	hostile := "<b>\x1b[2J\u202e"
	return &recent.Entry{
		Mode: policy.Monitor, Took: 3 * time.Millisecond, Time: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), Truncated: true,
		Verdict: policy.Verdict{
			Action: policy.Reject, Applied: policy.Tag, Reason: policy.ReasonReject, ID: "AB12CD34", Rule: "bank",
			Spoofing: []trait.Trait{"author_spf_fail"}, Evidence: []string{hostile},
			Override: &policy.Override{Type: policy.OverrideLocalPolicy, Comment: "rule bank"},
		},
		Evaluation: &msgauth.Evaluation{
			Session:  msgauth.Session{Client: netip.MustParseAddr("192.0.2.1"), HELO: hostile},
			Envelope: msgauth.Envelope{QueueID: hostile, MailFrom: hostile},
			MailFrom: spf.Check{Identity: spf.MailFrom, Result: spf.Fail, Mechanism: hostile, Trace: []spf.Step{{Depth: 1, Term: hostile}}},
			DKIM:     []dkim.Signature{{Result: dkim.Fail, Selector: hostile, Reason: "body_hash", Detail: hostile}},
			DMARC:    dmarc.Evaluation{Result: dmarc.ResultFail, PolicyDomain: "bank.example", PolicyPublished: dmarc.PolicyReject},
		},
	}
}

// TestSections checks the order of the sections, and that the text of each line is
// printable ASCII.
func TestSections(t *testing.T) {
	r := Remembered(reject())
	sections := r.Sections()
	var titles []string
	for _, s := range sections {
		titles = append(titles, s.Title)
		if len(s.Lines) == 0 {
			t.Errorf("%q is empty", s.Title)
		}
		for _, l := range s.Lines {
			for _, c := range []byte(l.Text) {
				if c < ' ' || c > '~' {
					t.Errorf("%s: octet %#x in %q", s.Title, c, l.Text)
				}
			}
		}
	}
	if got, want := strings.Join(titles, "|"), "|Message|SPF of mailfrom|SPF of |DKIM|ARC|DMARC"; got != want {
		t.Errorf("sections %q, want %q", got, want)
	}
	if got := sections[2].Lines[2]; got.Depth != 2 || !strings.Contains(got.Text, "<b>") {
		t.Errorf("a step below an include: %+v", got)
	}
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"REJECT, because nothing of the author's domain authenticated and its policy is reject (dmarc_reject)\n  decided 2026-11-22T09:00:00Z, in 3ms\n",
		"  applied as tag: mode monitor acts on nothing\n", "  override local_policy: rule bank\n", "  rule: bank\n",
		"  evidence for a direct spoof: author_spf_fail\n", "  id: AB12CD34\n", "  long values and lists below were cut\n",
		"\nMessage\n  client 192.0.2.1", "\nDKIM\n  signature 1: fail, body_hash", "policy of bank.example: reject",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &b)
		}
	}
}

// TestMissing checks that missing answers of DNS are explained in words, and that the
// text names the DMARC policy if it is known although answers are missing.
func TestMissing(t *testing.T) {
	d := reject()
	d.Verdict.Reason, d.Evaluation.DMARC.Result, d.Evaluation.DMARC.Enforcing = policy.ReasonTempError, dmarc.ResultTempError, dmarc.PolicyReject
	for _, what := range policy.MissingWhats {
		d.Verdict.Missing = append(d.Verdict.Missing, policy.Missing{What: what, Cause: "timeout"})
	}
	var b strings.Builder
	if err := Remembered(d).Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"it is not decided", "  missing: the author's DMARC record (timeout)\n", "  missing: the key of a signature (timeout)\n",
		"an answer is missing, but if the message fails, the policy is reject\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &b)
		}
	}
	for _, what := range policy.MissingWhats {
		if strings.Contains(b.String(), "missing: "+string(what)+" (") {
			t.Errorf("%s has no words", what)
		}
	}
}

// TestEveryReasonHasWords checks that each reason is explained in words, and not by its own
// name.
func TestEveryReasonHasWords(t *testing.T) {
	for _, r := range []policy.Reason{
		policy.ReasonTrusted, policy.ReasonAuthenticated, policy.ReasonAligned, policy.ReasonReject, policy.ReasonIndirect,
		policy.ReasonLocalReject, policy.ReasonQuarantine, policy.ReasonForwarder, policy.ReasonRule, policy.ReasonUndecided,
		policy.ReasonRamp, policy.ReasonNone, policy.ReasonNoPolicy, policy.ReasonPassNoPolicy, policy.ReasonSPFFail,
		policy.ReasonTempError, policy.ReasonInvalidFrom, policy.ReasonNamelessBounce, policy.ReasonOtherName, policy.ReasonOversize, policy.ReasonForged,
		policy.ReasonUnlabelled,
	} {
		if got := Summary(policy.Verdict{Action: policy.Tag, Reason: r}); strings.Contains(got, "because "+string(r)) {
			t.Errorf("%s has no words: %s", r, got)
		}
	}
}

// TestTook: a decision that took less than half a millisecond is not said to have taken no time.
func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 499: "0s", 500: "1µs", 321_400: "321µs", 499_999: "500µs", 999_499: "999µs", time.Millisecond: "1ms", 1_499_999: "1ms", 1_500_000: "2ms", time.Second + 700_000: "1.001s",
	} {
		if got := took(d).String(); got != want {
			t.Errorf("%d ns: %s, want %s", d, got, want)
		}
	}
}

// noRoom is a disk without room.
type noRoom struct{}

var errFull = errors.New("no room")

func (noRoom) Write([]byte) (int, error) { return 0, errFull }

func TestNoRoom(t *testing.T) {
	if err := (&Explanation{Summary: "x"}).Text(noRoom{}); !errors.Is(err, errFull) {
		t.Error(err)
	}
}
