package policy

import (
	"sekimori/internal/dns"
)

// Mode says whether verdicts are enforced, or only written into the label.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce"
	Monitor Mode = "monitor"
)

// RejectRule says what happens to a message that fails DMARC under p=reject.
type RejectRule string

// The reject rules; see RFC 9989 §7.4 on why "always" is not the default.
const (
	RejectAlways       RejectRule = "always"
	RejectCorroborated RejectRule = "corroborated"
	RejectQuarantine   RejectRule = "quarantine"
)

// QuarantineRule says how a message is quarantined.
type QuarantineRule string

// The quarantine rules.
const (
	QuarantineHold QuarantineRule = "hold" // the MTA puts the message into its hold queue
	QuarantineTag  QuarantineRule = "tag"  // the message is delivered, and its label says quarantine
)

// LearnedRule says what is done with the learned signs.
type LearnedRule string

// The rules for the learned signs.
const (
	LearnedOff     LearnedRule = "off"     // they are not looked for
	LearnedObserve LearnedRule = "observe" // they are shown, and change no verdict
	LearnedUse     LearnedRule = "use"     // they are evidence
)

// The allowed values of the fields of Config.
var (
	LearnedRules           = []LearnedRule{LearnedOff, LearnedObserve, LearnedUse}
	Modes                  = []Mode{Enforce, Monitor}
	RejectRules            = []RejectRule{RejectAlways, RejectCorroborated, RejectQuarantine}
	QuarantineRules        = []QuarantineRule{QuarantineHold, QuarantineTag}
	NoneActions            = []Action{Tag} // RFC 9989 §5.4: p=none must not change the handling
	UnauthenticatedActions = []Action{Tag, Quarantine, Reject}
	TempErrorActions       = []Action{TempFail, Accept}
	InvalidFromActions     = []Action{Reject, Quarantine, Tag}
)

// Config is the operator's policy. Decide treats the zero value like Default().
type Config struct {
	Mode       Mode
	Reject     RejectRule
	Quarantine QuarantineRule
	Learned    LearnedRule
	NoPolicy   Action // one of UnauthenticatedActions
	SPFFail    Action // one of UnauthenticatedActions
	// TempError is the action for a message that cannot be decided because an
	// answer is missing, if the policy that applies is known to be quarantine
	// or reject. TempErrorUnknown is the action for all other messages that
	// lack an answer. Each is one of TempErrorActions. Accept here means that
	// the message is delivered with a label.
	TempError        Action
	TempErrorUnknown Action
	InvalidFrom      Action // one of InvalidFromActions
	// TrustedSealers are domains of ARC sealers. A message that fails DMARC is
	// accepted if one of them vouches for it: it made the newest seal of a
	// valid chain, and its own results do not say dmarc=fail.
	TrustedSealers []dns.Name
	// Rules are the operator's exceptions in order. Decide does not check them;
	// the caller must do so with CheckRule. See IndexRules about many rules.
	Rules []Rule
	index *index
	// Ramp is the share of failing messages on which the author's policy is
	// enforced. nil means all of them.
	Ramp *Ramp
	// Help ends the text of every reply that refuses a message, so that the
	// sender learns whom to ask; see ReplyHelp.
	Help string
}

// MaxHelp is the largest length of Config.Help in octets. A reply has at most
// 510, and its own text with a long domain has some 350.
const MaxHelp = 150

// ReplyHelp returns the text for Config.Help. url is a page for senders, and
// contact is an address to write to. Either may be "".
func ReplyHelp(url, contact string) string {
	switch {
	case url == "" && contact == "":
		return ""
	case url == "":
		return "; contact " + contact
	case contact == "":
		return "; see " + url
	}
	return "; see " + url + " or contact " + contact
}

// Default returns the policy of an operator who configured nothing.
func Default() Config { return Config{}.withDefaults() }

// withDefaults fills in the fields that are empty.
func (c Config) withDefaults() Config {
	set(&c.Mode, Enforce)
	set(&c.Reject, RejectCorroborated)
	set(&c.Quarantine, QuarantineHold)
	set(&c.Learned, LearnedObserve)
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
