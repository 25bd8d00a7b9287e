package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

func TestMaskLocalPart(t *testing.T) {
	for _, tt := range []struct{ why, in, want string }{
		{"the null return path stays", "<>", "<>"},
		{"no name at all", "", ""},
		{"an address", "<taro.yamada@example.jp>", "<***@example.jp>"},
		{"without brackets", "taro@example.jp", "***@example.jp"},
		{"a quoted local part with an at sign", `<"taro@home"@example.jp>`, "<***@example.jp>"},
		{"a source route names hosts, but is not needed", "<@a.example,@b.example:taro@example.jp>", "<***@example.jp>"},
		{"no domain: all is local", "<taro>", "<***>"},
		{"a login name", "taro", "***"},
		{"a domain alone", "@example.jp", "***@example.jp"},
		{"an open bracket", "<taro@example.jp", "<***@example.jp"},
	} {
		if got := maskLocalPart(tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

// keeper is an observer that keeps the decisions.
type keeper struct{ got []*judge.Decision }

func (k *keeper) Decided(d *judge.Decision, _ time.Duration) { k.got = append(k.got, d) }

func TestMaskText(t *testing.T) {
	for _, tt := range []struct{ why, in, want string }{
		{"nothing to hide", "more than one author", "more than one author"},
		{"an address in quotes", `"taro@example.jp" is not one`, `"***@example.jp" is not one`},
		{"two of them", "a@x.example and b@y.example", "***@x.example and ***@y.example"},
		{"an at sign alone", "no text before @", "no text before ***@"},
		{"two at signs", "a@b@c", "***@***@c"},
	} {
		if got := maskText(tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

// fill writes the name of a person wherever one can be.
func fill(e *msgauth.Evaluation, v *policy.Verdict, person string) {
	e.Envelope.MailFrom = "<" + person + "@example.jp>"
	e.Envelope.Recipients = []string{"<" + person + "@here.example>"}
	e.Session.Authenticated = person + "@example.jp"
	e.From.Mailboxes = []author.Mailbox{{DisplayName: person, Local: person, Domain: "example.jp"}}
	e.MailFrom.Sender, e.MailFrom.Explanation = person+"@example.jp", "not "+person
	e.MailFrom.Trace = []spf.Step{{Term: person}}
	e.DKIM = []dkim.Signature{{Identity: person + "@example.jp"}}
	e.FromError = &author.Error{Detail: `"` + person + `@example.jp" twice`}
	v.Evidence = []string{"From says " + person + "@example.jp"}
	v.Override = &policy.Override{Comment: "for " + person + "@example.jp"}
}

// TestRecordsMask checks that with MaskLocalParts no record holds the name of a person, and
// that the decision itself is not changed.
func TestRecordsMask(t *testing.T) {
	const person = "hanako"
	named := func() (*msgauth.Evaluation, policy.Verdict) {
		e := message("x", 0)
		v := rejected
		fill(e, &v, person)
		return e, v
	}
	e, v := named()
	before, verdict := named() // shares nothing with them
	evaluated := decided(e, v)
	evaluated.Shadow = &judge.Comparison{Live: v, Candidate: v}
	evaluated.Edits = []label.Edit{{Kind: label.Change, Name: "Subject", Index: 1, Value: "[SPOOF?] " + person}}
	skipped := &judge.Decision{Session: e.Session, Envelope: e.Envelope, Verdict: v}

	var full, hidden bytes.Buffer
	for out, mask := range map[*bytes.Buffer]bool{&full: false, &hidden: true} {
		r := Records{Log: slog.New(slog.NewJSONHandler(out, nil)), MaskLocalParts: mask}
		r.Decided(evaluated, 0)
		r.Decided(skipped, 0)
	}
	if n := strings.Count(full.String(), person); n < 5 {
		t.Errorf("the full records name the person %d times:\n%s", n, &full)
	}
	if strings.Contains(hidden.String(), person) || !strings.Contains(hidden.String(), "***@example.jp") {
		t.Errorf("the masked records:\n%s", &hidden)
	}
	if !reflect.DeepEqual(e, before) || !reflect.DeepEqual(v, verdict) {
		t.Error("masking changed the message")
	}
	kept := &keeper{}
	Masker{To: kept}.Decided(evaluated, time.Second)
	Masker{To: kept}.Decided(skipped, 0)
	all, err := json.Marshal(kept.got)
	if err != nil || len(kept.got) != 2 || kept.got[0].Shadow == nil || bytes.Contains(all, []byte(person)) {
		t.Errorf("a name is shown, or a decision is missing (%v): %s", err, all)
	}
	if got := Masked(decided(&msgauth.Evaluation{}, policy.Verdict{})).Verdict; got.Override != nil || len(got.Evidence) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}
