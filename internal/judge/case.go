package judge

import (
	"context"

	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Case is a message under way. Close must be called.
type Case struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope

	connection *Connection
	skip       policy.Reason // why it is not evaluated, "" if it is
	check      *msgauth.Verification
	header     message.Header
	over       string         // the limit that it crossed, "" if none
	outline    *label.Outline // of its header, once it is over a limit and goes on
	consents   *consents      // nil: nobody is asked
	class      policy.Class   // of all recipients, where classes are split
}

// Begin starts a message. The connection must stay where it is.
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

// Trusted reports a message of a trusted network: it has no limits and is left as
// it is.
func (c *Case) Trusted() bool { return c.skip == policy.ReasonTrusted }

// Splits reports whether recipients are ever asked to come apart: monitor mode
// turns nothing away.
func (j *Judge) Splits() bool {
	return j.Split && j.Recipients != nil && j.Policy.Mode != policy.Monitor
}

// AsksRecipients reports whether their consent matters.
func (c *Case) AsksRecipients() bool { return c.consents != nil }

// Recipient adds a recipient, as typed in RCPT and as the MTA rewrote it or "".
// Where split is true it waits for the recipient's class, and reports whether the
// message may have the recipient: all of a message are of the class of the first,
// and a client sends the others apart (RFC 5321 §4.5.3.1.10).
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

// usualFields is how many header fields most messages have at most.
const usualFields = 24

// Header adds a field.
func (c *Case) Header(name, value string) {
	if c.header == nil {
		c.header = make(message.Header, 0, usualFields)
	}
	c.header = append(c.header, message.Field{Name: name, Value: value})
}

// HeaderStart notes a field of a message that is over a limit, by the beginning
// of its value.
func (c *Case) HeaderStart(name, start string) {
	if c.outline != nil {
		c.outline.Add(c.connection.self(), name, start)
	}
}

// EndOfHeader says that the header is complete.
func (c *Case) EndOfHeader() {
	if c.check != nil {
		c.check.EndOfHeader(c.header)
	}
}

// Write takes body octets in any portions.
func (c *Case) Write(body []byte) {
	if c.check != nil {
		_, _ = c.check.Write(body) // hashing does not fail
	}
}

// Oversize says that the message is over a limit. It is refused, because an
// author could hide in what cannot be seen. In monitor mode nothing is refused,
// but nothing forged in our name passes either: then goesOn is true, and only the
// outline of the header is wanted from here on.
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

// reduce lets go of all of the message but the outline of its header.
func (c *Case) reduce() {
	c.outline = &label.Outline{}
	for i := range c.header {
		c.outline.Add(c.connection.self(), c.header[i].Name, c.header[i].Value)
	}
	c.Close()
	c.check, c.consents, c.header, c.Envelope.Recipients = nil, nil, nil, nil
}

// Finish waits for the facts and decides.
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
		// A user who logged in has no business adding results in our name; a
		// trusted network may hold a gateway of ours that does, so its fields stay.
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

// Salvage returns the edits with which a message passes that a bug kept from
// being evaluated: nothing forged in our name passes with it.
func (c *Case) Salvage() []label.Edit {
	if c.outline == nil {
		c.reduce()
	}
	return c.connection.writer.NotEvaluated(c.connection.self(), c.outline, "internal error")
}

// Close ends what runs in the background for the message.
func (c *Case) Close() {
	if c.check != nil {
		c.check.Close()
	}
	if c.consents != nil {
		c.consents.cancel()
	}
}
