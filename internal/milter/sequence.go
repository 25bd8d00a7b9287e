package milter

import (
	"slices"
	"strings"
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
	case cmdConnect:
		return phaseIdle, p == phaseNew
	case cmdHelo:
		return phaseIdle, p != phaseNew
	case cmdMail:
		return phaseMail, p != phaseNew
	case cmdRcpt:
		return phaseRcpt, p.in(phaseMail, phaseRcpt)
	case cmdData:
		return phaseData, p == phaseRcpt
	case cmdHeader:
		return phaseHeader, p.in(phaseRcpt, phaseData, phaseHeader)
	case cmdEndOfHeader:
		return phaseEOH, p.in(phaseRcpt, phaseData, phaseHeader)
	case cmdBody, cmdEndOfBody:
		return phaseBody, p.in(phaseEOH, phaseBody)
	case cmdUnknown:
		return p, p != phaseNew
	case cmdAbort:
		return min(p, phaseIdle), true
	}
	return p, false
}

// beginsAnew reports whether cmd means that a message still open was
// abandoned without ABORT: libmilter allows it.
func beginsAnew(cmd byte) bool {
	switch cmd {
	case cmdConnect, cmdHelo, cmdMail, cmdAbort, cmdQuitNC:
		return true
	}
	return false
}

// known reports whether cmd is a command of the protocol.
func known(cmd byte) bool {
	return strings.IndexByte("ODCHMRTULNBEAQK", cmd) >= 0
}
