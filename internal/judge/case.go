package judge

import (
	"context"

	"sekimori/internal/dmarc"
	"sekimori/internal/label"
	"sekimori/internal/ledger"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report/failure"
)

// Case is a message that is still being received and has no decision yet. The caller must
// call Close.
type Case struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope

	connection *Connection
	skip       policy.Reason // why the message is not evaluated; "" if it is evaluated
	check      *msgauth.Verification
	client     *msgauth.Connection // the client of this message, if it came by a relay
	header     message.Header
	over       string         // the limit that the message crossed; "" if it crossed none
	outline    *label.Outline // used instead of header after a limit was crossed in monitor mode
	consents   *consents      // nil if the consent of the recipients is not looked up
	class      policy.Class   // class of every accepted recipient, if recipients are split by class
}

// Begin starts a message. The Case keeps a pointer to the Connection, so the Connection
// must not be copied afterwards.
func (c *Connection) Begin(s msgauth.Session, e msgauth.Envelope) Case {
	k := Case{Session: s, Envelope: e, connection: c}
	switch {
	case c.trusted:
		k.skip = policy.ReasonTrusted
	case c.relayed != nil:
		// A login of the relay says nothing about the clients whose mail it hands on.
		k.Session = behind(s)
	case s.Authenticated != "" && c.judge.TrustAuthenticated:
		k.skip = policy.ReasonAuthenticated
	case c.verifier != nil:
		k.check = c.verifier.Begin(s, e)
	}
	if k.evaluates() && c.judge.Recipients != nil {
		k.consents = newConsents(c.judge.Recipients)
	}
	return k
}

// evaluates reports whether the message is evaluated, as far as is known by now.
func (c *Case) evaluates() bool { return c.check != nil || c.awaitsClient() }

// awaitsClient reports whether the message will be evaluated once the relay's Received field
// has come.
func (c *Case) awaitsClient() bool {
	r := c.connection.relayed
	return r != nil && r.verifier != nil && c.check == nil && c.over == ""
}

// Trusted reports whether the message comes from a trusted network, or is internal (see
// Message.Internal). Such a message has no size limits and is not edited.
func (c *Case) Trusted() bool { return c.skip == policy.ReasonTrusted }

// Splits reports whether RCPT may refuse a recipient because its class differs from the
// class of the message's first recipient. In monitor mode no recipient is refused.
func (j *Judge) Splits() bool {
	return j.Split && j.Recipients != nil && j.Policy.Mode != policy.Monitor
}

// AsksRecipients reports whether the consent of this message's recipients is looked up.
func (c *Case) AsksRecipients() bool { return c.consents != nil }

// Recipient adds a recipient. typed is the argument of RCPT; rewritten is the address after
// the MTA's rewriting, or "". If split is true, Recipient waits for the recipient's class
// and returns false if it differs from the class of the first recipient. The MTA then
// refuses this recipient, and the client sends it the message in a separate transaction
// (RFC 5321 §4.5.3.1.10).
func (c *Case) Recipient(typed, rewritten string, split bool) (taken bool) {
	if c.consents != nil && split {
		class := c.consents.now(recipient{typed, rewritten})
		if c.class == "" {
			c.class = class
		}
		if class != c.class {
			return false
		}
		c.consents.accept(class)
	} else {
		c.ask(recipient{typed, rewritten})
	}
	c.Envelope.Recipients = append(c.Envelope.Recipients, typed)
	return true
}

func (c *Case) ask(r recipient) {
	if c.consents != nil {
		c.consents.add(r)
	}
}

// usualFields is the first capacity of the header. Most messages have fewer fields.
const usualFields = 24

// Header adds a header field.
func (c *Case) Header(name, value string) {
	if c.header == nil {
		c.header = make(message.Header, 0, usualFields)
	}
	c.header = append(c.header, message.Field{Name: name, Value: value})
}

// HeaderStart adds a field to the outline of a message that crossed a limit. start is the
// beginning of the field's value.
func (c *Case) HeaderStart(name, start string) {
	if c.outline != nil {
		c.outline.Add(c.connection.self(), name, start)
	}
}

// EndOfHeader must be called when the header is complete. It starts the checks that need
// the header.
func (c *Case) EndOfHeader() {
	if c.awaitsClient() {
		c.meetClient()
	}
	if c.check != nil {
		c.check.EndOfHeader(c.header)
	}
}

// Write adds a part of the body. The parts may have any size.
func (c *Case) Write(body []byte) {
	if c.check != nil {
		_, _ = c.check.Write(body) // Write of a Verification never fails
	}
}

// Oversize must be called when the message crosses a limit. The parameter what names the
// limit. The message is refused, because the part that was not read could hide another
// author.
//
// goesOn is true in monitor mode, in which the message is delivered. The caller then calls
// HeaderStart for the other fields, so that Finish can delete the fields in our name (see
// package label). goesOn is also true for a trusted message, which has no limits.
func (c *Case) Oversize(what string) (goesOn bool) {
	if c.Trusted() {
		return true
	}
	c.over = what
	if c.connection.judge.Policy.Mode == policy.Monitor {
		c.reduce()
		return true
	}
	c.Close()
	c.check, c.consents = nil, nil
	return false
}

// reduce replaces the header by its outline, and drops everything else that was kept of the
// message.
func (c *Case) reduce() {
	c.outline = &label.Outline{}
	for i := range c.header {
		c.outline.Add(c.connection.self(), c.header[i].Name, c.header[i].Value)
	}
	c.Close()
	c.check, c.consents, c.header, c.Envelope.Recipients = nil, nil, nil, nil
}

// Finish waits for the results of the checks and decides on the message.
func (c *Case) Finish(ctx context.Context) Decision {
	d := Decision{Session: c.Session, Envelope: c.Envelope}
	j, w := c.connection.judge, &c.connection.writer
	switch {
	case c.over != "":
		d.Oversize = c.over
		d.Verdict = policy.Oversized(c.over, j.Policy)
		switch {
		case c.outline == nil:
		case c.outline.TooMany():
			d.Verdict = policy.Flooded(d.Verdict, j.Policy)
		default:
			d.Edits = w.NotEvaluated(c.connection.self(), c.outline, "too large")
		}
	case c.skip != "":
		d.Skipped, d.Verdict = c.skip, policy.Skipped(c.skip)
		// A client that logged in is a user's program, so a result in our name that it
		// sends is forged. A trusted network may contain another filter of this host that
		// writes such results, so they are kept in messages from a trusted network.
		if c.skip == policy.ReasonAuthenticated {
			d.Edits = w.Clean(c.connection.self(), c.header)
		}
	default:
		if c.awaitsClient() {
			c.EndOfHeader() // the MTA sent neither header nor body
		}
		d.Evaluation = c.check.Finish(ctx, c.Envelope)
		d.Session, d.Envelope = d.Evaluation.Session, d.Evaluation.Envelope
		var agreed policy.Consent
		if c.consents != nil {
			agreed = c.consents.wait(ctx, j.ConsentWait)
		}
		if j.Learn != nil && d.Evaluation.DMARC.Result == dmarc.ResultFail {
			d.Evaluation.Traits.Add(j.Learn(d.Evaluation)...)                       // nobody else has the Evaluation yet
			d.Learned = ledger.Change(policy.LearnedEffect(d.Evaluation, j.Policy)) //nolint:gosec // -1, 0 or 1
		}
		live := policy.Decide(d.Evaluation, j.Policy)
		if j.Shadow != nil {
			d.Shadow = &Comparison{live, policy.Decide(d.Evaluation, *j.Shadow)}
		}
		d.Verdict = live.Respect(agreed)
		if j.Marks != nil {
			d.AboutReports, d.Spam = j.Marks.Find(c.header, d.Envelope.Recipients)
		}
		if j.Whole && agreed.Reportable() {
			d.Whole = c.check.Whole(d.Evaluation)
		}
		if j.Failures != nil {
			if incident, ok := failure.Observe(d.Evaluation, d.Verdict, c.header, d.AboutReports, *j.Failures); ok {
				d.Incident = &incident
			}
		}
		d.Edits = w.Edits(&j.Label, c.connection.self(), c.header, d.Evaluation, &d.Verdict)
	}
	return d
}

// Salvage returns the edits for a message whose session panicked. The edits delete all
// fields in our name, not only forged results (see package label), and insert a label that
// says "internal error".
func (c *Case) Salvage() []label.Edit {
	if c.outline == nil {
		c.reduce()
	}
	return c.connection.writer.NotEvaluated(c.connection.self(), c.outline, "internal error")
}

// Close stops the lookups that still run for the message.
func (c *Case) Close() {
	if c.check != nil {
		c.check.Close()
	}
	if c.client != nil {
		c.client.Close()
	}
	if c.consents != nil {
		c.consents.cancel()
	}
}
