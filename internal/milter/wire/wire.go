// Package wire reads and writes the frames of the milter protocol. It reads frames from the
// connection of an MTA, within limits of size and time, parses their payloads, and writes
// replies and edits. Package dialogue checks the order of the frames, and package milter acts on
// them.
package wire

import (
	"strings"
	"time"
)

// Commands of the milter protocol (Sendmail's libmilter, mfdef.h).
const (
	CmdNegotiate   = 'O'
	CmdMacro       = 'D'
	CmdConnect     = 'C'
	CmdHelo        = 'H'
	CmdMail        = 'M'
	CmdRcpt        = 'R'
	CmdData        = 'T'
	CmdUnknown     = 'U' // an SMTP command that the MTA does not know
	CmdHeader      = 'L'
	CmdEndOfHeader = 'N'
	CmdBody        = 'B'
	CmdEndOfBody   = 'E'
	CmdAbort       = 'A'
	CmdQuit        = 'Q'
	CmdQuitNC      = 'K' // like QUIT, but the connection will be used for another session
)

// Known reports whether cmd is a command of the protocol.
func Known(cmd byte) bool {
	return strings.IndexByte("ODCHMRTULNBEAQK", cmd) >= 0
}

// The kinds of address in a CONNECT event.
const (
	FamilyIPv4    = '4'
	FamilyIPv6    = '6'
	FamilyUnix    = 'L'
	FamilyUnknown = 'U'
)

// The codes of the frames that we write (SMFIR_*). The codes of the plain replies, such as
// Continue, are in package milter.
const (
	CodeReply        = 'y' // an SMTP reply with code and text of our own
	codeInsertHeader = 'i' // SMFIR_INSHEADER
	codeChangeHeader = 'm' // SMFIR_CHGHEADER
	codeQuarantine   = 'q' // SMFIR_QUARANTINE
)

const (
	// maxCommandFrame is the longest frame of any command except header, body and end of body. An
	// SMTP command line is at most 2,048 octets in Postfix, and a macro frame contains parts of a
	// few such lines.
	maxCommandFrame = 64 << 10
	// maxPassedOver is the longest header field that is read although it is too long to be kept.
	// Only the beginning of such a field is returned. If the connection ended instead, an MTA
	// could be configured to deliver the message without its milter.
	maxPassedOver = 64 << 20
	// maxBeginning is how many octets of a header field are kept if the field is too long to be
	// kept as a whole. They include its name.
	maxBeginning = 16 << 10
	// oldestVersion is the oldest protocol version that we accept: that of Sendmail 8.10.
	oldestVersion = 2
)

// Limits limit the length of frames and the time for them.
type Limits struct {
	MaxFrame     int           // octets of a frame after its length field
	FrameTimeout time.Duration // the longest time for the rest of a frame, from its first octet on
	WriteTimeout time.Duration // the longest time for one write
}

// Malformed is the error for a frame that violates the protocol. After it the connection cannot
// go on.
type Malformed struct{ Kind Kind }

// Error implements error.
func (m Malformed) Error() string { return "wire: " + string(m.Kind) }

// Kind says what is wrong with a frame.
type Kind string

// The kinds of malformed frames. This package itself never returns KindUnknownCommand and
// KindOutOfSequence, because it does not check commands. Package milter uses them.
const (
	KindEmptyFrame           Kind = "empty_frame"
	KindFrameTooLong         Kind = "frame_too_long"
	KindUnknownCommand       Kind = "unknown_command"
	KindOutOfSequence        Kind = "out_of_sequence"
	KindMalformedNegotiation Kind = "malformed_negotiation"
	KindUnsupportedVersion   Kind = "unsupported_version"
	KindMalformedMacro       Kind = "malformed_macro"
	KindMacrosTooLarge       Kind = "macros_too_large"
	KindMalformedConnect     Kind = "malformed_connect"
	KindMalformedHelo        Kind = "malformed_helo"
	KindMalformedMail        Kind = "malformed_mail"
	KindMalformedRcpt        Kind = "malformed_rcpt"
	KindMalformedHeader      Kind = "malformed_header"
)

// Kinds returns every Kind.
func Kinds() []Kind {
	return []Kind{
		KindEmptyFrame, KindFrameTooLong, KindUnknownCommand, KindOutOfSequence, KindMalformedNegotiation,
		KindUnsupportedVersion, KindMalformedMacro, KindMacrosTooLarge, KindMalformedConnect, KindMalformedHelo,
		KindMalformedMail, KindMalformedRcpt, KindMalformedHeader,
	}
}
