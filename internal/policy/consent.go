package policy

import (
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/smtp"
)

// Class says whether a recipient agreed that mail may be refused or held
// because of a verdict. In some countries the secrecy of communications forbids
// this for mail whose recipient did not agree.
type Class string

// The classes.
const (
	In  Class = "in"  // the recipient agreed
	Out Class = "out" // the recipient opted out: the mail is labelled, but not refused or held
)

// Classes lists every class.
var Classes = []Class{In, Out}

// Consent counts the recipients of a message by class. The zero value means
// that no consent was looked up; the verdict then applies unchanged.
type Consent struct {
	In  int `json:"in"`
	Out int `json:"out"`
	// Elapsed is the time during which at least one lookup was running. Most of
	// it overlaps with the transfer of the message.
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Asked reports whether consent was looked up for any recipient.
func (c Consent) Asked() bool { return c.In+c.Out > 0 }

// Mixed reports whether the message has recipients of both classes.
func (c Consent) Mixed() bool { return c.In > 0 && c.Out > 0 }

// Reportable reports whether DMARC reports may count the message. They may if
// at least one recipient agreed, or if no consent was looked up.
func (c Consent) Reportable() bool { return c.In > 0 || c.Out == 0 }

// Respect returns the verdict for a message to these recipients. If one of them
// opted out, the message is neither refused nor held, because the reply at the
// end of the message is given for all recipients together. If this changes the
// action, Would is the action without the opt-out, and the disposition becomes
// none with the override local_policy.
func (v Verdict) Respect(c Consent) Verdict {
	v.Consent = c
	if c.Out == 0 {
		return v
	}
	switch v.Action {
	case Reject, Quarantine:
		v.Would, v.Action, v.Applied = v.Action, Tag, Tag
	case TempFail:
		v.Would, v.Action, v.Applied = v.Action, Tag, Tag // delivered with a label, although an answer is missing
	default:
		return v
	}
	if v.Disposition != dmarc.PolicyNone {
		comment := "a recipient opted out"
		if v.Override != nil {
			comment = v.Override.Comment + ", " + comment
		}
		v.Disposition, v.Override = dmarc.PolicyNone, &Override{Type: OverrideLocalPolicy, Comment: comment}
	}
	v.Reply = smtp.Reply{}
	return v
}
