package policy

import (
	"sekimori/internal/dns"
)

// Mode says whether verdicts are acted on.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce"
	Monitor Mode = "monitor"
)

// RejectRule says what becomes of a failing message under p=reject.
type RejectRule string

// The reject rules; see RFC 9989 §7.4 on why always is not the default.
const (
	RejectAlways       RejectRule = "always"
	RejectCorroborated RejectRule = "corroborated"
	RejectQuarantine   RejectRule = "quarantine"
)

// QuarantineRule says how a message is quarantined.
type QuarantineRule string

// The quarantine rules.
const (
	QuarantineHold QuarantineRule = "hold" // the MTA's hold queue
	QuarantineTag  QuarantineRule = "tag"  // delivered, and the header says so
)

// The words that each field of Config may have.
var (
	Modes                  = []Mode{Enforce, Monitor}
	RejectRules            = []RejectRule{RejectAlways, RejectCorroborated, RejectQuarantine}
	QuarantineRules        = []QuarantineRule{QuarantineHold, QuarantineTag}
	NoneActions            = []Action{Tag} // RFC 9989 §5.4: p=none must not change the handling
	UnauthenticatedActions = []Action{Tag, Quarantine, Reject}
	TempErrorActions       = []Action{TempFail, Accept}
	InvalidFromActions     = []Action{Reject, Quarantine, Tag}
)

// Config is the operator's policy. The zero value decides as Default does.
type Config struct {
	Mode       Mode
	Reject     RejectRule
	Quarantine QuarantineRule
	NoPolicy   Action // one of UnauthenticatedActions
	SPFFail    Action // one of UnauthenticatedActions
	// TempError is for a message with a missing answer, if the policy that
	// applies is known to be quarantine or reject. TempErrorUnknown is for all
	// other messages with a missing answer. Both are one of TempErrorActions.
	// Accept means that the message is delivered with a label.
	TempError        Action
	TempErrorUnknown Action
	InvalidFrom      Action // one of InvalidFromActions
	// TrustedSealers are the domains whose seal, as the newest of a valid ARC
	// chain, is enough to accept a message that fails.
	TrustedSealers []dns.Name
	// Rules are the operator's exceptions in order. They are not checked here:
	// CheckRule says whether a rule is sound.
	Rules []Rule
	// Ramp limits how many failing messages are enforced; nil enforces all.
	Ramp *Ramp
}

// Default returns the policy of an operator who configured nothing.
func Default() Config { return Config{}.withDefaults() }

// withDefaults fills in the fields that are empty.
func (c Config) withDefaults() Config {
	set(&c.Mode, Enforce)
	set(&c.Reject, RejectCorroborated)
	set(&c.Quarantine, QuarantineHold)
	set(&c.NoPolicy, Tag)
	set(&c.SPFFail, Tag)
	set(&c.TempError, TempFail)
	set(&c.TempErrorUnknown, Accept)
	set(&c.InvalidFrom, Reject)
	return c
}

func set[T ~string](p *T, value T) {
	if *p == "" {
		*p = value
	}
}
