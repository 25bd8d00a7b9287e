package milter

import (
	"slices"

	"sekimori/internal/milter/wire"
)

// phase is how far the dialogue has come.
type phase byte

const (
	phaseNew    phase = iota // CONNECT is to come
	phaseIdle                // between messages
	phaseMail                // MAIL has come
	phaseRcpt                // at least one RCPT
	phaseData                // DATA
	phaseHeader              // at least one header field
	phaseEOH                 // end of header
	phaseBody                // at least one part of the body
	phaseOver                // the final reply is given, the message not yet ended
)

func (p phase) in(list ...phase) bool { return slices.Contains(list, p) }

// inMessage reports whether MAIL has come.
func (p phase) inMessage() bool { return p >= phaseMail }

// after returns the phase that cmd leads to. It follows libmilter's table
// (engine.c), less the steps that are only skipped by MTAs asked to skip them.
func (p phase) after(cmd byte) (next phase, ok bool) {
	switch cmd {
	case wire.CmdConnect:
		return phaseIdle, p == phaseNew
	case wire.CmdHelo:
		return phaseIdle, p != phaseNew
	case wire.CmdMail:
		return phaseMail, p != phaseNew
	case wire.CmdRcpt:
		return phaseRcpt, p.in(phaseMail, phaseRcpt)
	case wire.CmdData:
		return phaseData, p == phaseRcpt
	case wire.CmdHeader:
		return phaseHeader, p.in(phaseRcpt, phaseData, phaseHeader)
	case wire.CmdEndOfHeader:
		return phaseEOH, p.in(phaseRcpt, phaseData, phaseHeader)
	case wire.CmdBody, wire.CmdEndOfBody:
		return phaseBody, p.in(phaseEOH, phaseBody)
	case wire.CmdUnknown:
		return p, p != phaseNew
	case wire.CmdAbort:
		return min(p, phaseIdle), true
	}
	return p, false
}

// beginsAnew reports whether cmd means that a message still open was
// abandoned without ABORT: libmilter allows it.
func beginsAnew(cmd byte) bool {
	switch cmd {
	case wire.CmdConnect, wire.CmdHelo, wire.CmdMail, wire.CmdAbort, wire.CmdQuitNC:
		return true
	}
	return false
}
