package probe

import (
	"context"
	"fmt"
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/explain"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Fate is what the MTA does with a message after the answer.
type Fate string

// The fates.
const (
	Delivered Fate = "delivered"
	Held      Fate = "held"     // in the MTA's hold queue
	Accepted  Fate = "accepted" // delivered or held; an SMTP client cannot see which
	Rejected  Fate = "rejected"
	Deferred  Fate = "deferred" // the client must try again
	NoAnswer  Fate = "no_answer"
)

// Outcome is an answer to a message.
type Outcome struct {
	// Fate is delivered, held, accepted (by SMTP: delivered or held), rejected, deferred or
	// no_answer.
	Fate Fate `json:"fate"`
	// Reply is the SMTP reply of a message that is not delivered.
	Reply string `json:"reply,omitempty"`
	// Results are the values of the Authentication-Results fields in our name that the delivered
	// message has.
	Results []string `json:"authentication_results,omitempty"`
	// Foreign is the number of Authentication-Results fields in the names of other hosts. These
	// fields must stay.
	Foreign int `json:"foreign_results"`
}

// self returns the names of this host, as the daemon has them for the MTA that is played.
func (p *prober) self() *label.Identity {
	names := label.Names{AuthServID: p.o.Config.AuthservID, HostName: config.HostName(), Aliases: p.o.Config.AuthservIDAlso}
	return names.Identity(p.o.Config.ServID())
}

// meant returns what the configuration means for the message m, and the decision behind it.
func (p *prober) meant(ctx context.Context, m Mail) (Outcome, *judge.Decision) {
	header, body := message.Parse(m.Raw)
	c := p.judge.Open(ctx, judge.Message{
		Session:  msgauth.Session{Client: m.Client, ClientName: clientName, HELO: m.HELO},
		Envelope: msgauth.Envelope{QueueID: queueID, MailFrom: "<" + m.MailFrom + ">", Recipients: []string{"<" + m.Recipient + ">"}},
		Header:   header, Whole: true,
	})
	c.Write(body)
	d := c.Finish(ctx)
	o := Outcome{Fate: Delivered}
	switch d.Verdict.Applied {
	case policy.Reject:
		return Outcome{Fate: Rejected, Reply: d.Verdict.Reply.String()}, &d
	case policy.TempFail:
		return Outcome{Fate: Deferred, Reply: d.Verdict.Reply.String()}, &d
	case policy.Quarantine:
		o.Fate = Held
	}
	self := p.self()
	for v := range header.All(authres.FieldName) {
		if !self.Ours.Claimed(v) {
			o.Foreign++
		}
	}
	if d.Skipped != "" {
		o.Results = ours(self, header.Values(authres.FieldName)) // mail of trusted networks is not changed
	}
	for _, e := range d.Edits {
		if e.Kind == label.Insert && e.Name == authres.FieldName {
			o.Results = append(o.Results, unfold(e.Value))
		}
	}
	return o, &d
}

// why returns the reason of a decision, in words.
func why(d *judge.Decision) string {
	text := explain.Summary(d.Verdict)
	switch {
	case d.Verdict.Action == d.Verdict.Applied || d.Skipped != "":
	case !d.Verdict.Enforced:
		text += "; in mode monitor nothing is refused or held"
	case d.Verdict.Applied == policy.Tag:
		text += "; policy.quarantine is tag, so the message is only labelled"
	}
	if d.Verdict.Would != "" {
		text += fmt.Sprintf("; without a recipient who opted out it would be %s", d.Verdict.Would)
	}
	return text
}

// cameBack returns what the MTA does with the message after the last answer and the edits.
func cameBack(self *label.Identity, raw []byte, a client.Action, mods []client.Modification) Outcome {
	switch {
	case a.Code >= 500, a.Kind == client.Reject, a.Kind == client.Discard:
		return Outcome{Fate: Rejected, Reply: a.String()}
	case !a.Delivers():
		return Outcome{Fate: Deferred, Reply: a.String()}
	}
	o := Outcome{Fate: Delivered}
	for _, m := range mods {
		if m.Kind == client.Quarantine {
			o.Fate = Held
		}
	}
	header, _ := message.Parse(raw)
	fields := make([]client.Field, 0, len(header))
	for _, f := range header {
		fields = append(fields, client.Field(f))
	}
	var values []string
	for _, f := range client.Apply(fields, mods) {
		if strings.EqualFold(f.Name, authres.FieldName) {
			values = append(values, f.Value)
		}
	}
	o.Results = ours(self, values)
	o.Foreign = len(values) - len(o.Results)
	return o
}

// ours returns those values that are results in our name, on one line each.
func ours(self *label.Identity, values []string) (out []string) {
	for _, v := range values {
		if self.Ours.Claimed(v) {
			out = append(out, unfold(v))
		}
	}
	return out
}

func unfold(value string) string { return strings.Join(strings.Fields(value), " ") }
