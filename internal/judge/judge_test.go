package judge

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

const zoneText = `
bank.example         TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example  TXT "v=DMARC1; p=reject"
_dmarc.shop.example  TXT "v=DMARC1; p=quarantine"
! _dmarc.silent.bank.example * servfail
`

// annOptedOut is a directory of recipients in which only ann has opted out.
type annOptedOut struct{}

func (annOptedOut) Known(typed, _ string) (policy.Class, bool) {
	if typed == "<ann@here.example>" {
		return policy.Out, true
	}
	return policy.In, true
}

func (annOptedOut) Lookup(context.Context, string, string) policy.Class { return policy.Out }

// forged has a result in our name and a verdict, which must both be deleted, and a result
// of another host, which must stay.
const forged = "Authentication-Results: mx.here.example; dmarc=pass\n" +
	"Authentication-Results: other.example; dmarc=pass\nX-Sekimori-Verdict: pass\n"

// row is one test case: a message, the settings of the judge, and the expected decision.
type row struct {
	name   string
	change func(*Judge)
	client string // IP address of the client; "" means 203.0.113.1, which no setting trusts
	login  string
	to     []string
	header string // fields that stand before From and Subject
	from   string // value of From; "" means a@bank.example
	want   string // Verdict.Action, Verdict.Applied and Verdict.Reason
	edits  string // kind, name and index of each edit; for an inserted Authentication-Results field, a part of its value
	shadow string // actions of the policy in effect and of the candidate
}

var (
	deletions = "delete X-Sekimori-Verdict 1, delete Authentication-Results 1"
	rows      = []row{
		{name: "plain", client: "192.0.2.1", want: "accept accept dmarc_pass", edits: "insert dmarc=pass"},
		{name: "forged results go", client: "192.0.2.1", header: forged, want: "accept accept dmarc_pass", edits: deletions + ", insert dmarc=pass"},
		{name: "refused: nothing is edited", header: forged, want: "reject reject dmarc_reject"},
		{name: "held", from: "a@shop.example", want: "quarantine quarantine dmarc_quarantine", edits: "quarantine, insert dmarc=fail"},
		{name: "trusted network: nothing is edited", client: "127.0.0.1", header: forged, want: "skip skip trusted_network"},
		{name: "logged in: cleaned, and not labelled", login: "ann", header: forged, want: "skip skip authenticated", edits: deletions},
		{name: "logged in where that is not trusted", login: "ann", change: func(j *Judge) { j.TrustAuthenticated = false }, want: "reject reject dmarc_reject"},
		{name: "over a limit", header: strings.Repeat("X: y\n", 20) + forged, want: "reject reject oversize"},
		{name: "over a limit, monitor: cleaned and labelled", header: strings.Repeat("X: y\n", 20) + forged,
			change: func(j *Judge) { j.Policy.Mode = policy.Monitor },
			want:   "reject tag oversize", edits: "delete_many Authentication-Results 2, delete_many X-Sekimori-Verdict 1, insert not evaluated: too large"},
		{name: "over a limit, from a trusted network", header: strings.Repeat("X: y\n", 20), client: "127.0.0.1", want: "skip skip trusted_network"},
		{name: "over a limit, logged in", header: strings.Repeat("X: y\n", 20), login: "ann", want: "reject reject oversize"},
		{name: "opted out", change: consent, to: []string{"<ann@here.example>"}, want: "tag tag dmarc_reject", edits: "insert opted out, would reject"},
		{name: "consented", change: consent, to: []string{"<bob@here.example>"}, want: "reject reject dmarc_reject"},
		{name: "nobody is asked for consent", to: []string{"<ann@here.example>"}, want: "reject reject dmarc_reject"},
		{name: "mixed", change: consent, to: []string{"<bob@here.example>", "<ann@here.example>"}, want: "tag tag dmarc_reject", edits: "insert mixed recipients"},
		{name: "shadow", change: func(j *Judge) { j.Shadow = &policy.Config{Reject: policy.RejectQuarantine} },
			want: "reject reject dmarc_reject", shadow: "reject quarantine"},
		{name: "shadow, before consent", change: func(j *Judge) { consent(j); j.Shadow = &policy.Config{} }, to: []string{"<ann@here.example>"},
			want: "tag tag dmarc_reject", edits: "insert opted out", shadow: "reject reject"},
		{name: "shadow, not evaluated", change: func(j *Judge) { j.Shadow = &policy.Config{} }, client: "127.0.0.1", want: "skip skip trusted_network"},
		{name: "ramp", change: func(j *Judge) { j.Policy.Ramp = &policy.Ramp{} }, want: "quarantine quarantine ramp", edits: "quarantine, insert ramp"},
		{name: "rule", change: func(j *Judge) {
			j.Policy.Rules = []policy.Rule{{
				ID: "r1", When: policy.Conditions{Client: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}, Then: policy.Outcome{Action: policy.Accept},
			}}
		}, want: "accept accept rule", edits: "insert rule r1"},
		{name: "temperror", from: "a@silent.bank.example", want: "tempfail tempfail temperror"},
		{name: "temperror, accepted", from: "a@silent.bank.example", change: func(j *Judge) { j.Policy.TempError = policy.Accept },
			want: "tag tag temperror", edits: "insert not decided: policy servfail"},
		{name: "From without author", from: "nobody", want: "reject reject invalid_from"},
		{name: "From without author, monitor", from: "nobody", change: func(j *Judge) { j.Policy.Mode = policy.Monitor },
			want: "reject tag invalid_from", edits: "insert would reject: invalid_from"},
		{name: "all fields that can be written", from: "a@shop.example", change: func(j *Judge) {
			j.Policy.Quarantine, j.Label.Subject, j.Label.ReceivedSPF, j.Label.Verdict = policy.QuarantineTag, "[SPOOF?]", true, true
		}, want: "quarantine tag dmarc_quarantine", edits: "change Subject 1, insert Received-SPF, insert X-Sekimori-Verdict, insert dmarc=fail"},
	}
)

func consent(j *Judge) { j.Recipients = annOptedOut{} }

func (r *row) judge(t *testing.T) *Judge {
	t.Helper()
	j := &Judge{
		Verifier: msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{LookAhead: true}), Policy: policy.Config{Mode: policy.Enforce},
		Trusted: netip.MustParsePrefix("127.0.0.0/8").Contains, TrustAuthenticated: true,
		Label: label.Settings{Names: label.Names{AuthServID: "mx.here.example"}}, MaxFields: 10, MaxHeaderBytes: 1 << 20,
	}
	if r.change != nil {
		r.change(j)
	}
	return j
}

func (r *row) message() Message {
	client, from := r.client, r.from
	if client == "" {
		client = "203.0.113.1"
	}
	if from == "" {
		from = "a@bank.example"
	}
	header, _ := message.Parse([]byte(r.header + "From: " + from + "\nSubject: s\n\n"))
	return Message{
		Session:  msgauth.Session{Client: netip.MustParseAddr(client), HELO: "h.example", Authenticated: r.login},
		Envelope: msgauth.Envelope{MailFrom: "<a@bank.example>", Recipients: r.to}, Header: header, Whole: true,
	}
}

// TestDecision checks the decision and the edits for each reason that can lead to a
// decision.
func TestDecision(t *testing.T) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			j := r.judge(t)
			c := j.Open(t.Context(), r.message())
			c.Write([]byte("x\r\n"))
			d := c.Finish(t.Context())
			r.check(t, &d)
			if d.Session.HELO != "h.example" || d.Envelope.MailFrom != "<a@bank.example>" {
				t.Errorf("session %+v, envelope %+v", d.Session, d.Envelope)
			}
			if v := j.Again(&d); v.Action != d.Verdict.Action || v.Reason != d.Verdict.Reason {
				t.Errorf("the same judge decides again %s %s", v.Action, v.Reason)
			}
		})
	}
}

func (r *row) check(t *testing.T, d *Decision) {
	t.Helper()
	if got := fmt.Sprintf("%s %s %s", d.Verdict.Action, d.Verdict.Applied, d.Verdict.Reason); got != r.want {
		t.Errorf("%s, want %s", got, r.want)
	}
	made := 0
	for _, is := range []bool{d.Skipped != "", d.Oversize != "", d.Evaluation != nil} {
		if is {
			made++
		}
	}
	if made != 1 {
		t.Errorf("exempt %q, over %q, evaluated %t", d.Skipped, d.Oversize, d.Evaluation != nil)
	}
	if refused := d.Verdict.Applied == policy.Reject || d.Verdict.Applied == policy.TempFail; refused != (d.Verdict.Reply.Code != 0) {
		t.Errorf("reply %v", d.Verdict.Reply)
	}
	shadow := ""
	if d.Shadow != nil {
		shadow = fmt.Sprintf("%s %s", d.Shadow.Live.Action, d.Shadow.Candidate.Action)
	}
	if shadow != r.shadow {
		t.Errorf("shadow %q, want %q", shadow, r.shadow)
	}
	wanted := strings.Split(r.edits, ", ")
	if r.edits == "" {
		wanted = nil
	}
	// The last item in r.edits is a part of our Authentication-Results field. This part may
	// contain ", ", so its pieces are joined again.
	if n := len(d.Edits); len(wanted) > n && n > 0 {
		wanted[n-1] = strings.Join(wanted[n-1:], ", ")
		wanted = wanted[:n]
	}
	if len(wanted) != len(d.Edits) {
		t.Fatalf("edits %+v, want %q", d.Edits, wanted)
	}
	for i, e := range d.Edits {
		text, want := string(e.Kind), wanted[i]
		switch part, isInsert := strings.CutPrefix(want, "insert "); {
		case e.Kind == label.Insert && isInsert && e.Name == "Authentication-Results":
			if !strings.Contains(strings.Join(strings.Fields(e.Value), " "), part) {
				t.Errorf("edit %d lacks %q: %q", i, part, e.Value)
			}
			continue
		case e.Index > 0:
			text = fmt.Sprintf("%s %s %d", e.Kind, e.Name, e.Index)
		case e.Name != "":
			text += " " + e.Name
		}
		if text != want {
			t.Errorf("edit %d is %q, want %q", i, text, want)
		}
	}
}

// TestSplit checks that, if recipients are split by class, a message takes only recipients
// of the same class as the first recipient.
func TestSplit(t *testing.T) {
	r := row{change: func(j *Judge) { consent(j); j.Split = true }, want: "reject reject dmarc_reject"}
	j := r.judge(t)
	if !j.Splits() {
		t.Error("recipients are not split")
	}
	m := r.message()
	connection := j.Connect(t.Context(), m.Session)
	defer connection.Close()
	c := connection.Begin(m.Session, m.Envelope)
	for _, tt := range []struct {
		to    string
		taken bool
	}{{"<bob@here.example>", true}, {"<ann@here.example>", false}, {"<eve@here.example>", true}} {
		if taken := c.Recipient(tt.to, "", true); taken != tt.taken {
			t.Errorf("%s: taken %t", tt.to, taken)
		}
	}
	for _, f := range m.Header {
		c.Header(f.Name, f.Value)
	}
	c.EndOfHeader()
	d := c.Finish(t.Context())
	r.check(t, &d)
	if d.Verdict.Consent.In != 2 || len(d.Envelope.Recipients) != 2 {
		t.Errorf("consent %+v, recipients %q", d.Verdict.Consent, d.Envelope.Recipients)
	}
	j.Policy.Mode = policy.Monitor
	if j.Splits() {
		t.Error("monitor mode turns recipients away")
	}
}

// TestSalvage checks the edits for a message that could not be evaluated because of a bug.
// They must delete the forged fields.
func TestSalvage(t *testing.T) {
	r := row{header: forged}
	m := r.message()
	connection := r.judge(t).Connect(t.Context(), m.Session)
	defer connection.Close()
	c := connection.Begin(m.Session, m.Envelope)
	for _, f := range m.Header {
		c.Header(f.Name, f.Value)
	}
	edits := c.Salvage()
	if n := len(edits); n != 3 || edits[0].Deleted() != 1 || !strings.Contains(edits[2].Value, "internal error") {
		t.Errorf("%+v", edits)
	}
}
