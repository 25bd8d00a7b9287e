package dialogue

import (
	"slices"

	"sekimori/internal/milter/wire"
)

// Phase says how far the dialogue with the MTA has come.
type Phase byte

// The phases, in their order.
const (
	PhaseNew         Phase = iota // CONNECT has not come
	PhaseIdle                     // between messages
	PhaseMail                     // MAIL has come
	PhaseRcpt                     // at least one RCPT has come
	PhaseData                     // DATA has come
	PhaseHeader                   // at least one header field has come
	PhaseEndOfHeader              // the end-of-header command has come
	PhaseBody                     // at least one part of the body, or the end of the body, has come
	PhaseAnswered                 // the final reply was sent, but endMessage was not called yet
)

func (p Phase) in(list ...Phase) bool { return slices.Contains(list, p) }

// InMessage reports whether MAIL has come and the message has not ended.
func (p Phase) InMessage() bool { return p >= PhaseMail }

// After returns the phase that cmd leads to. ok is false if cmd is not allowed in phase p. The
// rules are those of the table in libmilter's engine.c. That table also lets an MTA skip the
// steps that the milter asked it not to send. This milter wants all of these steps, so After
// does not allow skipping them.
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

// BeginsAnew reports whether cmd ends a message that is still in progress, even if the MTA sent
// no ABORT. libmilter allows that.
func BeginsAnew(cmd byte) bool {
	switch cmd {
	case wire.CmdConnect, wire.CmdHelo, wire.CmdMail, wire.CmdAbort, wire.CmdQuitNC:
		return true
	}
	return false
}
