package label

import (
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/lookalike"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/trait"
)

// id is the authserv-id of our fields.
const id = "mx.example.jp"

// TestLabelIsUsedAgain checks that one Writer gives each message the same text as a new
// Writer. After each message the properties that the Writer keeps must hold no text of that
// message, and the Writer must keep no more memory than ordinary messages need.
func TestLabelIsUsedAgain(t *testing.T) {
	signed := func(n int, domain string) *msgauth.Evaluation {
		e := &msgauth.Evaluation{}
		for range n {
			e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.Pass, Domain: "example.com", Identity: "@" + domain, Selector: "s", Algorithm: "rsa-sha256",
				B: "abcdefgh"})
		}
		return e
	}
	var l Writer
	for _, e := range []*msgauth.Evaluation{
		signed(1, "a.example"), signed(3, "b.example"), {}, signed(80, strings.Repeat("c", 200)+".example"), signed(1, "d.example"),
	} {
		want := Text(&Settings{}, id, e, policy.Verdict{})
		if got := l.format(&Settings{}, id, e, policy.Verdict{}); got != want {
			t.Errorf("%d signatures: %q, want %q", len(e.DKIM), got, want)
		}
		for _, p := range l.properties[:cap(l.properties)] {
			if p.Value != "" {
				t.Errorf("%q is kept", p.Value)
			}
		}
		if cap(l.properties) > 100 || cap(l.text) > 4<<10 {
			t.Errorf("room for %d properties and %d octets is kept", cap(l.properties), cap(l.text))
		}
	}
}

// TestLabelShrinks checks which memory the next message uses again.
func TestLabelShrinks(t *testing.T) {
	const properties, text = otherProperties + 4*signatureProperties, 2 << 10
	for _, tt := range []struct {
		properties, text int
		kept             bool
	}{{properties, text, true}, {properties + 1, text, false}, {properties, text + 1, false}} {
		l := Writer{properties: make([]authres.Property, 0, tt.properties), text: make([]byte, 0, tt.text)}
		if l.shrink(); (l.properties != nil) != tt.kept || (l.text != nil) != tt.kept {
			t.Errorf("%d properties, %d octets: room for %d and %d", tt.properties, tt.text, cap(l.properties), cap(l.text))
		}
	}
}

// TestLabelNotes checks that notes about the From field are written into the comment of the
// dmarc result, after the verdict if there is one.
func TestLabelNotes(t *testing.T) {
	for _, tt := range []struct {
		notes []author.Note
		v     policy.Verdict
		want  string
	}{
		{nil, policy.Verdict{Action: policy.Accept}, "dmarc= "},
		{[]author.Note{author.NoteOtherAddress}, policy.Verdict{Action: policy.Accept}, "(From shows an address of another domain)"},
		{[]author.Note{author.NoteSlip}, policy.Verdict{Action: policy.Accept}, "(readers split From differently, but see one domain)"},
		{[]author.Note{author.NoteOtherName, author.NoteSlip}, policy.Verdict{Action: policy.Tag, Reason: policy.ReasonOtherName, Enforced: true},
			"(tag: other_name, display name is an address of another domain, readers split From differently, but see one domain)"},
	} {
		e := &msgauth.Evaluation{From: author.From{AuthorDomain: "a.example", Notes: tt.notes}}
		e.DMARC.Result = dmarc.ResultPass
		got := strings.Join(strings.Fields(Text(&Settings{}, id, e, tt.v)), " ")
		if want := strings.Replace(tt.want, "dmarc= ", "dmarc=pass header.from=", 1); !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

// TestLabelLookalike checks the comment about an author who looks like a watched domain.
func TestLabelLookalike(t *testing.T) {
	for _, tt := range []struct {
		watch *lookalike.Finding
		style Style
		want  string
	}{
		{&lookalike.Finding{List: "banks", Of: "bank.example", Lookalike: lookalike.KindDomain}, StyleOwn, "dmarc=none (lookalike: banks) header.from="},
		{&lookalike.Finding{List: "banks", Of: "bank.example"}, StyleOwn, "dmarc=none header.from="},
		{nil, StyleOwn, "dmarc=none header.from="},
		{&lookalike.Finding{List: "banks", Of: "bank.example", Lookalike: lookalike.KindDomain}, StyleOpenDMARC, "dmarc=none (p=none dis=none) header.from="},
	} {
		e := &msgauth.Evaluation{From: author.From{AuthorDomain: "b4nk.example"}, Watch: tt.watch}
		e.DMARC.Result = dmarc.ResultNone
		got := strings.Join(strings.Fields(Text(&Settings{Style: tt.style}, id, e, policy.Verdict{Action: policy.Accept})), " ")
		if !strings.Contains(got, tt.want) {
			t.Errorf("%q lacks %q", got, tt.want)
		}
	}
}

// TestVerdictComment checks what the comment of the dmarc result says about rules and about
// signs of spoofing.
func TestVerdictComment(t *testing.T) {
	for _, tt := range []struct {
		v    policy.Verdict
		want string
	}{
		{policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Enforced: true, Reason: policy.ReasonAligned, Rule: "a-1"}, "accept: dmarc_pass, rule a-1"},
		{policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Enforced: true, Reason: policy.ReasonRule, Rule: "a-1",
			Override: &policy.Override{Type: policy.OverrideLocalPolicy, Comment: "rule a-1"}, Spoofing: trait.Of(trait.Spoofing)[:2]},
			"tag: rule, override local_policy: rule a-1, spoofing: author_spf_fail iprev_fail"},
		{policy.Verdict{Action: policy.Reject, Applied: policy.Tag, Reason: policy.ReasonReject, Indirect: []trait.Trait{trait.ARC}},
			"monitor, would reject: dmarc_reject, indirect: arc"},
	} {
		if got := verdictComment(tt.v); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestReason checks that the label says why there is no author.
func TestReason(t *testing.T) {
	for want, e := range map[string]*msgauth.Evaluation{"": {}, string(author.KindMissing): {FromError: &author.Error{Kind: author.KindMissing}}} {
		got := Text(&Settings{}, id, e, policy.Verdict{})
		if strings.Contains(got, "reason=") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%q: %s", want, got)
		}
	}
}

// TestLateStamp checks how far into the Subject a stamp is looked for.
func TestLateStamp(t *testing.T) {
	const stamp = "[X]"
	for before, want := range map[int]bool{1000 - len(stamp): true, 1001 - len(stamp): false} {
		if got := hasStamp(strings.Repeat(" ", before)+stamp, stamp); got != want {
			t.Errorf("after %d spaces: %t", before, got)
		}
	}
}
