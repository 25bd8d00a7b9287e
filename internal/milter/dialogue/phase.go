package dialogue

import (
	"slices"

	"sekimori/internal/milter/wire"
)

// Phase is how far the conversation has come.
type Phase byte

// The phases, in their order.
const (
	PhaseNew         Phase = iota // CONNECT has not come
	PhaseIdle                     // between messages
	PhaseMail                     // MAIL has come
	PhaseRcpt                     // at least one RCPT has come
	PhaseData                     // DATA has come
	PhaseHeader                   // at least one header field has come
	PhaseEndOfHeader              // the end of the header has come
	PhaseBody                     // at least one part of the body has come
	PhaseAnswered                 // the final reply is given, but the message has not ended
)

func (p Phase) in(list ...Phase) bool { return slices.Contains(list, p) }

// InMessage reports whether MAIL has come and the message has not ended.
func (p Phase) InMessage() bool { return p >= PhaseMail }

// After returns the phase that cmd leads to. ok is false if cmd must not come now. The
// rules are those of libmilter's table (engine.c). We leave out the steps that
// libmilter skips for MTAs which were asked to skip them.
func (p Phase) After(cmd byte) (next Phase, ok bool) {
	switch cmd {
	case wire.CmdConnect:
		return PhaseIdle, p == PhaseNew
	case wire.CmdHelo:
		return PhaseIdle, p != PhaseNew
	case wire.CmdMail:
		return PhaseMail, p != PhaseNew
	case wire.CmdRcpt:
		return PhaseRcpt, p.in(PhaseMail, PhaseRcpt)
	case wire.CmdData:
		return PhaseData, p == PhaseRcpt
	case wire.CmdHeader:
		return PhaseHeader, p.in(PhaseRcpt, PhaseData, PhaseHeader)
	case wire.CmdEndOfHeader:
		return PhaseEndOfHeader, p.in(PhaseRcpt, PhaseData, PhaseHeader)
	case wire.CmdBody, wire.CmdEndOfBody:
		return PhaseBody, p.in(PhaseEndOfHeader, PhaseBody)
	case wire.CmdUnknown:
		return p, p != PhaseNew
	case wire.CmdAbort:
		return min(p, PhaseIdle), true
	}
	return p, false
}

// BeginsAnew reports whether cmd ends a message that is still open, although the MTA
// sent no ABORT. libmilter allows that.
func BeginsAnew(cmd byte) bool {
	switch cmd {
	case wire.CmdConnect, wire.CmdHelo, wire.CmdMail, wire.CmdAbort, wire.CmdQuitNC:
		return true
	}
	return false
}
