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
	return strings.IndexByte("CHMAK", cmd) >= 0
}

// known reports whether cmd is a command of the protocol.
func known(cmd byte) bool {
	return strings.IndexByte("ODCHMRTULNBEAQK", cmd) >= 0
}

// token returns the frame that go-milter is shown for cmd. It drives its loop
// and its callbacks; what the MTA really sent stays with us, because go-milter
// strips the brackets and drops the arguments of MAIL, passes over a header
// frame it cannot read, and copies the body. Some events are shown as others:
// DATA and unknown commands go-milter would answer itself, even where no
// answer is due, and header fields it would keep until an ABORT that may never
// come, so they pass as a part of the body; QUIT_NC, which it does not know,
// passes as ABORT, which it does not answer.
func token(cmd byte) []byte {
	payload := ""
	switch cmd {
	case cmdConnect:
		payload = "-\x00U"
	case cmdHelo, cmdMail, cmdRcpt:
		payload = "-\x00"
	case cmdHeader, cmdData, cmdUnknown:
		cmd = cmdBody
	case cmdQuitNC:
		cmd = cmdAbort
	}
	return append([]byte{0, 0, 0, byte(len(payload) + 1), cmd}, payload...)
}
