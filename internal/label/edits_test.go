package label

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// written returns one line for each edit. Of a value it shows only the first word.
func written(edits []Edit) string {
	var lines []string
	for _, e := range edits {
		value := e.Value
		if e.Kind == Insert && e.Name == "Authentication-Results" {
			value, _, _ = strings.Cut(value, ";")
		}
		line := strings.Join(strings.Fields(fmt.Sprintf("%s %s %d %s", e.Kind, e.Name, e.Index, value)), " ")
		if e.Forged {
			line += " (forged)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// forgeries are header fields of a message from outside, some in our name and some not.
var forgeries = message.Header{
	{Name: "Authentication-Results", Value: " other.example; spf=pass"},
	{Name: "authentication-results", Value: " " + id + "; spf=pass"},
	{Name: "Received-SPF", Value: " pass client-ip=192.0.2.1"},
	{Name: "Subject", Value: " a"},
	{Name: "Received-SPF", Value: " pass receiver=other.example"},
	{Name: "Authentication-Results", Value: " x.example; spf=pass"},
	{Name: "Received-SPF", Value: " pass receiver=" + id},
	{Name: "x-sekimori-verdict", Value: " pass"},
	{Name: "Subject", Value: " b"},
	{Name: "Authentication-Results", Value: " " + id + "; dmarc=pass"},
}

// TestEdits checks the edits and their order: deletions from the highest index down, then
// insertions. Our Authentication-Results field is inserted last, so that it is the first
// field of the message.
func TestEdits(t *testing.T) {
	const (
		deletions = "delete Authentication-Results 4 (forged)\n" + "delete X-Sekimori-Verdict 1\n" + "delete Received-SPF 3 (forged)\n" +
			"delete Received-SPF 1\n" + "delete Authentication-Results 2 (forged)\n"
		ours = "insert Authentication-Results 0 " + id
	)
	all := Settings{ReceivedSPF: true, Verdict: true, Subject: "[S]"}
	e := &msgauth.Evaluation{From: author.From{AuthorDomain: "a.example"}, DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, Disposition: dmarc.PolicyNone}}
	tag := policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Enforced: true}
	hold := policy.Verdict{Action: policy.Quarantine, Applied: policy.Quarantine, Enforced: true, Reason: policy.ReasonQuarantine, ID: "ID"}
	for _, tt := range []struct {
		name string
		s    Settings
		h    message.Header
		v    policy.Verdict
		want string
	}{
		{"nothing forged", Settings{}, nil, tag, ours},
		{"forged", Settings{}, forgeries, tag, deletions + ours},
		{"every field that can be written", all, forgeries, tag,
			"change Subject 1 [S] a\nchange Subject 2 [S] b\n" + deletions + "insert Received-SPF 0 unknown receiver=" + id +
				";\ninsert X-Sekimori-Verdict 0 fail-none\n" + ours},
		{"no Subject", all, nil, tag, "insert Received-SPF 0 unknown receiver=" + id + ";\ninsert Subject 0 [S]\ninsert X-Sekimori-Verdict 0 fail-none\n" + ours},
		{"held", Settings{}, forgeries[:2], hold, "quarantine 0 dmarc_quarantine ID\ndelete Authentication-Results 2 (forged)\n" + ours},
		{"refused", all, forgeries, policy.Verdict{Action: policy.Reject, Applied: policy.Reject, Enforced: true}, ""},
		{"refused for the moment", all, forgeries, policy.Verdict{Action: policy.TempFail, Applied: policy.TempFail, Enforced: true}, ""},
		{"monitor mode stamps nothing", Settings{Subject: "[S]"}, nil, policy.Verdict{Action: policy.Tag, Applied: policy.Tag}, ours},
		{"no stamp where a recipient opted out", Settings{Subject: "[S]"}, nil,
			policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Enforced: true, Consent: policy.Consent{Out: 1}}, ours},
	} {
		tt.s.AuthServID = id
		var w Writer
		for range 2 { // the second call uses the Writer's memory again
			if got := written(w.Edits(&tt.s, tt.s.Identity(""), tt.h, e, &tt.v)); got != tt.want {
				t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
			}
		}
		for _, edit := range w.edits[:cap(w.edits)] {
			if edit != (Edit{}) {
				t.Errorf("%s: %+v is kept", tt.name, edit)
			}
		}
	}
	if got, want := written(new(Writer).Clean((&Names{AuthServID: id}).Identity(""), forgeries)), strings.TrimSpace(deletions); got != want {
		t.Errorf("clean:\n%s\nwant\n%s", got, want)
	}
}

// TestNotEvaluated checks the edits made from an outline. There is one deletion for each
// field name with fields to delete, and a label that says why there are no results.
func TestNotEvaluated(t *testing.T) {
	who := (&Names{AuthServID: id}).Identity("")
	var o Outline
	for _, f := range append(message.Header{{Name: "Received-SPF", Value: "pass receiver=other.example"}}, forgeries[:2]...) {
		o.Add(who, f.Name, f.Value)
	}
	edits := new(Writer).NotEvaluated(who, &o, "too large")
	if got, want := written(edits), "delete_many Authentication-Results 2 (forged)\ninsert Authentication-Results 0 "+id; got != want {
		t.Fatalf("%s\nwant\n%s", got, want)
	}
	for i, want := range []bool{false, true} {
		if got := edits[0].Kept.Goes(i + 1); got != want {
			t.Errorf("field %d goes: %t", i+1, got)
		}
	}
	if want := " " + id + "; none (not evaluated: too large)"; strings.ReplaceAll(edits[1].Value, "\r\n", "") != want {
		t.Errorf("%q", edits[1].Value)
	}
}

// BenchmarkEdits makes the edits of an ordinary message without forged fields.
func BenchmarkEdits(b *testing.B) {
	who := (&Names{AuthServID: id}).Identity("")
	h := message.Header{{Name: "Received", Value: " x"}, {Name: "From", Value: " a@b.example"}, {Name: "Subject", Value: " s"}}
	e := signedBy("PASS")
	v := policy.Verdict{Action: policy.Accept, Applied: policy.Accept}
	var w Writer
	b.ReportAllocs()
	for b.Loop() {
		_ = w.Edits(&Settings{}, who, h, e, &v)
	}
}
