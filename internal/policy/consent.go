package policy

import (
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/smtp"
)

// Class says whether a recipient agreed that verdicts are acted on. In some
// countries the secrecy of communications forbids that for mail whose recipient
// did not agree.
type Class string

// The classes.
const (
	In  Class = "in"  // the recipient agreed
	Out Class = "out" // the recipient opted out: results are stated, nothing is done, no DMARC report has a row
)

// Classes lists every class.
var Classes = []Class{In, Out}

// Consent counts the recipients of a message by class. The zero value means
// that no consent was looked up, and that verdicts are acted on.
type Consent struct {
	In  int `json:"in"`
	Out int `json:"out"`
	// Elapsed is how long the lookups took. Most of that overlaps the transfer.
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Asked reports whether consent was looked up for any recipient.
func (c Consent) Asked() bool { return c.In+c.Out > 0 }

// Mixed reports whether the message has recipients of both classes.
func (c Consent) Mixed() bool { return c.In > 0 && c.Out > 0 }

// Reportable reports whether DMARC reports may count the message: a recipient
// agreed, or no consent was looked up.
func (c Consent) Reportable() bool { return c.In > 0 || c.Out == 0 }

// Respect returns the verdict for a message to these recipients. If one of them
// opted out, nothing is refused or held, because the answer at the end of the
// message is given for all recipients. Would then keeps the action without him,
// and a DMARC report says disposition none with the override local_policy.
func (v Verdict) Respect(c Consent) Verdict {
	v.Consent = c
	if c.Out == 0 {
		return v
	}
	switch v.Action {
	case Reject, Quarantine:
		v.Would, v.Action, v.Applied = v.Action, Tag, Tag
	case TempFail:
		v.Would, v.Action, v.Applied = v.Action, Tag, Tag // the message is not decided; it is delivered all the same
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
