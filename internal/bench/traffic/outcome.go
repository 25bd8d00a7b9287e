package traffic

import "fmt"

// Action is what a milter does with a message.
type Action string

// The actions.
const (
	Deliver    Action = "deliver"
	Quarantine Action = "quarantine"
	Reject     Action = "reject"
	Tempfail   Action = "tempfail"
	Discard    Action = "discard"
)

// Outcome is what a milter did with a message. A result is "" if no Authentication-Results field
// states it. Most refused messages have no such field.
type Outcome struct {
	DKIM   string `json:"dkim,omitempty"`
	SPF    string `json:"spf,omitempty"`
	DMARC  string `json:"dmarc,omitempty"`
	Action Action `json:"action"`
}

// String returns the outcome as one line of text.
func (o Outcome) String() string {
	word := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return fmt.Sprintf("dkim=%s spf=%s dmarc=%s %s", word(o.DKIM), word(o.SPF), word(o.DMARC), o.Action)
}
