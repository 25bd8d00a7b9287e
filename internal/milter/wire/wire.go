// Package wire knows the milter protocol in octets. It reads frames from the connection of an
// MTA, within limits of size and time, parses their payloads, and writes replies and edits.
// The order of the frames is for package dialogue, and their meaning for package milter.
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
	CmdQuitNC      = 'K' // quit; the connection will be used for another session
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

// The codes of the frames that we write (SMFIR_*), besides those of the plain replies.
const (
	CodeReply        = 'y' // SMFIR_REPLYCODE: an SMTP reply in our own words
	codeInsertHeader = 'i' // SMFIR_INSHEADER
	codeChangeHeader = 'm' // SMFIR_CHGHEADER
	codeQuarantine   = 'q' // SMFIR_QUARANTINE
)

const (
	// maxCommandFrame bounds every frame except those of header and body. An SMTP command
	// line is at most 2,048 octets in Postfix, and macros repeat a few of these lines.
	maxCommandFrame = 64 << 10
	// maxPassedOver bounds a header field that is too long to be kept. The rest of such a
	// field is read and thrown away. If the connection ended instead, the MTA could be
	// configured to deliver the message unseen.
	maxPassedOver = 64 << 20
	// maxBeginning is how much is kept of such a field, including its name.
	maxBeginning = 16 << 10
	// oldestVersion is the version of the protocol in Sendmail 8.10.
	oldestVersion = 2
)

// Limits are the limits for the frames of a connection.
type Limits struct {
	MaxFrame     int           // octets after the length
	FrameTimeout time.Duration // for the rest of a frame, from its first octet on
	WriteTimeout time.Duration // for one write
}

// Malformed is the error of a frame that violates the protocol. The connection cannot go on
// after it.
type Malformed struct{ Kind Kind }

// Error implements error.
func (m Malformed) Error() string { return "wire: " + string(m.Kind) }

// Kind says what is wrong with a frame.
type Kind string

// The kinds of malformed frames. KindUnknownCommand and KindOutOfSequence are for the caller
// of ReadFrame: this package does not check the command.
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
