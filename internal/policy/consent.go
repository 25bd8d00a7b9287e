package policy

import (
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/smtp"
)

// Class is what a recipient agreed to. Secrecy of communications forbids in
// some countries to act on mail by what it says of its author unless its
// recipient agreed.
type Class string

// The classes.
const (
	In  Class = "in"  // verdicts are acted on
	Out Class = "out" // opted out: results are stated, nothing is done, no report has a row
)

// Classes lists every class.
var Classes = []Class{In, Out}

// Consent counts a message's recipients by class. The zero value is a message
// whose recipients were not asked for: everybody's mail is acted on.
type Consent struct {
	In  int `json:"in"`
	Out int `json:"out"`
	// Elapsed is how long lookups were under way, mostly during the transfer.
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Asked reports whether anybody's consent was looked up.
func (c Consent) Asked() bool { return c.In+c.Out > 0 }

// Mixed reports recipients of both classes.
func (c Consent) Mixed() bool { return c.In > 0 && c.Out > 0 }

// Reportable reports whether the message may be counted in reports: somebody
// agreed, or nobody was asked.
func (c Consent) Reportable() bool { return c.In > 0 || c.Out == 0 }

// Respect returns the verdict for a message to these recipients: where one of
// them opted out, the milder verdict is everybody's, because an answer at end
// of message is given for all. Would keeps what those who agreed would have
// got, a report says none with the override local_policy.
func (v Verdict) Respect(c Consent) Verdict {
	v.Consent = c
	if c.Out == 0 {
		return v
	}
	switch v.Action {
	case Reject, Quarantine:
		v.Would, v.Action, v.Applied = v.Action, Tag, Tag
	case TempFail:
		v.Would, v.Action, v.Applied = v.Action, Tag, Tag // not decided, and not acted on
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
