package judge

import (
	"context"

	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Case is a message that is not decided on yet. Close must be called.
type Case struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope

	connection *Connection
	skip       policy.Reason // why the message is not evaluated, "" if it is
	check      *msgauth.Verification
	header     message.Header
	over       string         // the limit that the message crossed, "" if none
	outline    *label.Outline // replaces header once the message is over a limit and goes on
	consents   *consents      // nil: no recipient is asked
	class      policy.Class   // of all recipients, where recipients are split by class
}

// Begin starts a message. The Case keeps a pointer to the connection, so the
// connection must not be copied afterwards.
func (c *Connection) Begin(s msgauth.Session, e msgauth.Envelope) Case {
	k := Case{Session: s, Envelope: e, connection: c}
	switch {
	case c.trusted:
		k.skip = policy.ReasonTrusted
	case s.Authenticated != "" && c.judge.TrustAuthenticated:
		k.skip = policy.ReasonAuthenticated
	case c.verifier != nil:
		k.check = c.verifier.Begin(s, e)
		if c.judge.Recipients != nil {
			k.consents = newConsents(c.judge.Recipients)
		}
	}
	return k
}

// Trusted reports whether the message comes from a trusted network. Such a message
// has no limits and is not edited.
func (c *Case) Trusted() bool { return c.skip == policy.ReasonTrusted }

// Splits reports whether a message may be refused recipients whose class is not the
// class of its first recipient. Monitor mode refuses nothing.
func (j *Judge) Splits() bool {
	return j.Split && j.Recipients != nil && j.Policy.Mode != policy.Monitor
}

// AsksRecipients reports whether the consent of the recipients matters.
func (c *Case) AsksRecipients() bool { return c.consents != nil }

// Recipient adds a recipient: as typed in RCPT, and as the MTA rewrote the address,
// or "". Where split is true, Recipient waits for the recipient's class and reports
// whether the message may have the recipient. All recipients of a message must have
// the class of the first; the client sends another message to the others
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

// usualFields is enough for the header fields of most messages.
const usualFields = 24

// Header adds a header field.
func (c *Case) Header(name, value string) {
	if c.header == nil {
		c.header = make(message.Header, 0, usualFields)
	}
	c.header = append(c.header, message.Field{Name: name, Value: value})
}

// HeaderStart adds a field to the outline of a message that is over a limit. start
// is the beginning of the field's value.
func (c *Case) HeaderStart(name, start string) {
	if c.outline != nil {
		c.outline.Add(c.connection.self(), name, start)
	}
}

// EndOfHeader must be called when the header is complete.
func (c *Case) EndOfHeader() {
	if c.check != nil {
		c.check.EndOfHeader(c.header)
	}
}

// Write takes the octets of the body, in pieces of any size.
func (c *Case) Write(body []byte) {
	if c.check != nil {
		_, _ = c.check.Write(body) // hashing does not fail
	}
}

// Oversize must be called when the message crosses a limit. Such a message is
// refused, because the part that was not seen could hide another author. Monitor mode
// refuses nothing. There goesOn is true: the caller goes on with HeaderStart alone, so
// that Finish can delete the fields that were forged in our name.
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

// reduce keeps only the outline of the header and drops the rest of the message.
func (c *Case) reduce() {
	c.outline = &label.Outline{}
	for i := range c.header {
		c.outline.Add(c.connection.self(), c.header[i].Name, c.header[i].Value)
	}
	c.Close()
	c.check, c.consents, c.header, c.Envelope.Recipients = nil, nil, nil, nil
}

// Finish waits for the facts and decides on the message.
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
			d.Verdict = policy.Flooded(d.Verdict)
		default:
			d.Edits = w.NotEvaluated(c.connection.self(), c.outline, "too large")
		}
	case c.skip != "":
		d.Skipped, d.Verdict = c.skip, policy.Skipped(c.skip)
		// Results in our name that come from a user who logged in are forged. In a
		// trusted network there may be a gateway of ours that writes such results, so
		// they stay.
		if c.skip == policy.ReasonAuthenticated {
			d.Edits = w.Clean(c.connection.self(), c.header)
		}
	default:
		d.Evaluation = c.check.Finish(ctx, c.Envelope)
		d.Session, d.Envelope = d.Evaluation.Session, d.Evaluation.Envelope
		var agreed policy.Consent
		if c.consents != nil {
			agreed = c.consents.wait(ctx, j.ConsentWait)
		}
		live := policy.Decide(d.Evaluation, j.Policy)
		if j.Shadow != nil {
			d.Shadow = &Comparison{live, policy.Decide(d.Evaluation, *j.Shadow)}
		}
		d.Verdict = live.Respect(agreed)
		d.Edits = w.Edits(&j.Label, c.connection.self(), c.header, d.Evaluation, &d.Verdict)
	}
	return d
}

// Salvage returns the edits for a message that could not be evaluated because of a
// bug. They delete the fields that were forged in our name.
func (c *Case) Salvage() []label.Edit {
	if c.outline == nil {
		c.reduce()
	}
	return c.connection.writer.NotEvaluated(c.connection.self(), c.outline, "internal error")
}

// Close ends the background work for the message.
func (c *Case) Close() {
	if c.check != nil {
		c.check.Close()
	}
	if c.consents != nil {
		c.consents.cancel()
	}
}
