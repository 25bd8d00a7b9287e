// Package wire is the milter protocol in octets: it reads frames off an MTA's
// connection, bounded in size and time, takes their payloads apart and writes
// replies and edits. What comes in which order, and what it means for a message,
// is package milter's.
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
	CmdUnknown     = 'U' // an SMTP command the MTA does not know
	CmdHeader      = 'L'
	CmdEndOfHeader = 'N'
	CmdBody        = 'B'
	CmdEndOfBody   = 'E'
	CmdAbort       = 'A'
	CmdQuit        = 'Q'
	CmdQuitNC      = 'K' // quit, and the connection is used for another session
)

// Known reports whether cmd is a command of the protocol.
func Known(cmd byte) bool {
	return strings.IndexByte("ODCHMRTULNBEAQK", cmd) >= 0
}

// Families of the address in a CONNECT event.
const (
	FamilyIPv4    = '4'
	FamilyIPv6    = '6'
	FamilyUnix    = 'L'
	FamilyUnknown = 'U'
)

// Codes of the frames that are written (SMFIR_*), but those of the plain replies.
const (
	CodeReply        = 'y' // SMFIR_REPLYCODE: an SMTP reply in our own words
	codeInsertHeader = 'i' // SMFIR_INSHEADER
	codeChangeHeader = 'm' // SMFIR_CHGHEADER
	codeQuarantine   = 'q' // SMFIR_QUARANTINE
)

const (
	// maxCommandFrame bounds every frame but header and body: an SMTP command
	// line is 2,048 octets in Postfix, and macros repeat a few of them.
	maxCommandFrame = 64 << 10
	// maxPassedOver bounds a header field that is too long to be kept: the rest
	// of it is read and thrown away, because an MTA that loses its milter over it
	// may be told to deliver the message unseen.
	maxPassedOver = 64 << 20
	// maxBeginning is what is kept of such a field, its name included.
	maxBeginning = 16 << 10
	// oldestVersion of the protocol is Sendmail 8.10's.
	oldestVersion = 2
)

// Limits bound the frames of a connection.
type Limits struct {
	MaxFrame     int           // octets after the length
	FrameTimeout time.Duration // for the rest of a frame once it has begun
	WriteTimeout time.Duration // for one write
}

// Malformed is an error a frame itself has; the connection cannot go on.
type Malformed struct{ Kind Kind }

// Error implements error.
func (m Malformed) Error() string { return "wire: " + string(m.Kind) }

// Kind says what was wrong with a frame.
type Kind string

// Kinds of malformed frames. Unknown commands, and those out of sequence, are
// found by who reads the frames.
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
