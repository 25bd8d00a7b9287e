package explain

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// key signs for bank.example, with the selector good.
var key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

const zoneText = `
bank.example          TXT "v=spf1 include:_spf.bank.example -all exp=why.bank.example"
_spf.bank.example     TXT "v=spf1 ip4:192.0.2.0/24 ~all"
why.bank.example      TXT "%{i} is not ours"
_dmarc.bank.example   TXT "v=DMARC1; p=reject; np=reject"
k._domainkey.bank.example TXT "v=DKIM1; p="
10.2.0.192.in-addr.arpa PTR mx.bank.example.
mx.bank.example       A 192.0.2.10
`

// judged explains the decision of a judge with ordinary settings. If change is not nil, it
// changes the settings first.
func judged(t *testing.T, o Stored, change func(*judge.Judge)) (*Explanation, error) {
	t.Helper()
	return judgedIn(t, t.Context(), o, change)
}

// judgedIn is judged in a context.
func judgedIn(t *testing.T, ctx context.Context, o Stored, change func(*judge.Judge)) (*Explanation, error) {
	t.Helper()
	trace := dns.NewTrace(nameserver.Zone(t, zoneText+`good._domainkey.bank.example TXT "`+signer.Record(key.Public())+"\"\n"))
	local := netip.MustParsePrefix("127.0.0.0/8")
	j := &judge.Judge{
		Verifier: msgauth.NewVerifier(trace, msgauth.Options{LookAhead: true}), Policy: policy.Config{Mode: policy.Enforce},
		Trusted: local.Contains, TrustAuthenticated: true, Label: label.Settings{Names: label.Names{AuthServID: "mx.here.example"}},
		MaxFields: 1000, MaxHeaderBytes: 1 << 20,
	}
	if change != nil {
		change(j)
	}
	return o.Judge(ctx, j, trace)
}

func run(t *testing.T, o Stored) *Explanation {
	t.Helper()
	x, err := judged(t, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

const signed = "DKIM-Signature: v=1; a=rsa-sha256; d=bank.example; s=k; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\n" +
	"From: \"A \x1b[31m\" <a@sub.bank.example>\nSubject: s\n\nbody\n"

func TestText(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Stored
		want []string
	}{
		{"pass", Stored{Message: []byte("From: A <a@bank.example>\n\nx\n"), Client: netip.MustParseAddr("192.0.2.10"), HELO: "mx.bank.example",
			MailFrom: new("a@bank.example")},
			[]string{
				"ACCEPT, because an identifier of the author's domain authenticated (dmarc_pass)",
				"pass for bank.example", "matched: include:_spf.bank.example", "_spf.bank.example ip4:192.0.2.0/24: match",
				"iprev pass mx.bank.example", "1 of 10 terms with lookups",
				"_dmarc.bank.example TXT (author): record", "policy of bank.example: reject by tag p",
				`_spf.bank.example TXT: "v=spf1 ip4:192.0.2.0/24 ~all"`, "10.2.0.192.in-addr.arpa PTR: mx.bank.example",
				"Authentication-Results: mx.here.example;\n spf=pass",
			}},
		{"spoofed subdomain", Stored{Message: []byte("From: a@no.bank.example\n\nx\n"), Client: netip.MustParseAddr("203.0.113.1"), MailFrom: new("a@bank.example")},
			[]string{
				"REJECT, because", "reply: 550 5.7.1 Email rejected per DMARC policy for no.bank.example",
				"matched: -all", "explanation: 203.0.113.1 is not ours", "policy of bank.example: reject by tag np",
				"no.bank.example A (existence): nxdomain", "_dmarc.no.bank.example TXT: NXDOMAIN",
				"evidence for a direct spoof: author_spf_fail",
			}},
		{"signature with a revoked key", Stored{Message: []byte(strings.Replace(signed, "\x1b[31m", "", 1)), Client: netip.MustParseAddr("203.0.113.1")},
			[]string{"signature 1: permerror, key_revoked", "d=bank.example s=k", "null sender: the HELO name is checked"}},
		{"no author", Stored{Message: []byte("Subject: s\n\nx\n"), Client: netip.MustParseAddr("203.0.113.1"), MailFrom: new("a@bank.example")},
			[]string{"REJECT, because the From header field names no author that every reader sees", "author: none: From field missing"}},
	} {
		var b strings.Builder
		if err := run(t, tt.o).Text(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: lacks %q:\n%s", tt.name, want, b.String())
			}
		}
	}
}

// TestTextIsSafe checks that the explanation contains no control characters, even if the
// sender wrote some into the message, HELO or MAIL FROM.
func TestTextIsSafe(t *testing.T) {
	hostile := "\x1b[2J\x07\x00\u202e\xff"
	for _, raw := range []string{
		signed,
		"From: " + hostile + " <a@bank.example>\n\nx\n",
		"DKIM-Signature: v=1; d=" + hostile + "; s=" + hostile + "; i=" + hostile + "; a=" + hostile + "; h=" + hostile + "; b=" + hostile +
			"\nFrom: a@bank.example\n\nx\n",
	} {
		var b strings.Builder
		r := run(t, Stored{Message: []byte(raw), Client: netip.MustParseAddr("203.0.113.1"), HELO: hostile, MailFrom: new(hostile + "@bank.example")})
		if err := r.Text(&b); err != nil {
			t.Fatal(err)
		}
		for i, c := range []byte(b.String()) {
			if (c < ' ' && c != '\n') || c > '~' {
				t.Fatalf("octet %#x at %d of the text for %q:\n%q", c, i, raw, b.String())
			}
		}
	}
}

func TestJSON(t *testing.T) {
	r := run(t, Stored{Message: []byte("From: A <a@bank.example>\n\nx\n"), Client: netip.MustParseAddr("192.0.2.10"), MailFrom: new("a@bank.example"),
		Recipients: []string{"r@here.example"}})
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Evaluation struct {
			DMARC struct {
				Result string `json:"result"`
			} `json:"dmarc"`
			Envelope struct {
				Recipients []string `json:"recipients"`
			} `json:"envelope"`
		} `json:"evaluation"`
		Verdict struct {
			Verdict policy.Action `json:"verdict"`
		} `json:"verdict"`
		Lookups []struct {
			Name   string `json:"name"`
			Type   string `json:"type"`
			Answer struct {
				Status string `json:"status"`
			} `json:"answer"`
		} `json:"lookups"`
	}
	if err := json.Unmarshal(out, &back); err != nil {
		t.Fatal(err)
	}
	if back.Evaluation.DMARC.Result != "pass" || back.Verdict.Verdict != policy.Accept || len(back.Lookups) == 0 || len(back.Evaluation.Envelope.Recipients) != 1 {
		t.Errorf("JSON: %s", out)
	}
	for _, l := range back.Lookups {
		if l.Name == "" || l.Type == "" || l.Answer.Status == "" {
			t.Errorf("lookup %+v", l)
		}
	}
}

// TestRemembered checks that a remembered decision, encoded as JSON and decoded again,
// gives the same text as the message file. Lookups, edits and the Authentication-Results
// field are not remembered and are left out.
func TestRemembered(t *testing.T) {
	for _, tt := range []struct{ name, raw, client, from string }{
		{"pass", "From: A <a@bank.example>\n\nx\n", "192.0.2.10", "a@bank.example"},
		{"spoofed", "From: a@no.bank.example\n\nx\n", "203.0.113.1", "a@bank.example"},
		{"revoked key", strings.Replace(signed, "\x1b[31m", "", 1), "203.0.113.1", ""},
		{"no author", "Subject: s\n\nx\n", "2001:db8::1", "a@bank.example"},
	} {
		file := run(t, Stored{Message: []byte(tt.raw), Client: netip.MustParseAddr(tt.client), HELO: "mx.bank.example", MailFrom: &tt.from})
		file.TimeSource = "" // a remembered decision has no TimeSource
		ring := recent.New(recent.Options{Entries: 1})
		ring.Decided(&judge.Decision{Session: file.Evaluation.Session, Envelope: file.Evaluation.Envelope, Evaluation: file.Evaluation, Verdict: file.Verdict},
			3*time.Millisecond)
		found, _ := ring.Search(recent.Query{ID: file.Verdict.ID})
		raw, err := json.Marshal(found[0])
		if err != nil {
			t.Fatal(err)
		}
		var back recent.Entry
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got := Remembered(&back)
		if got.Decided.IsZero() || got.Took != 3*time.Millisecond || got.Truncated {
			t.Errorf("%s: %+v", tt.name, got)
		}
		got.Decided, got.Took = time.Time{}, 0
		file.Lookups, file.Edits, file.AuthenticationResults = nil, nil, ""
		var a, b strings.Builder
		if err := errors.Join(got.Text(&a), file.Text(&b)); err != nil {
			t.Fatal(err)
		}
		if a.String() != b.String() {
			t.Errorf("%s: remembered as\n%s\nthe file says\n%s", tt.name, &a, &b)
		}
		if first, _, _ := strings.Cut(a.String(), "\n"); first != file.Summary || !strings.Contains(first, string(file.Verdict.Reason)) {
			t.Errorf("%s: the first line is %q", tt.name, first)
		}
	}
}
