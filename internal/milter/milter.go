// Package milter serves the milter protocol to MTAs. github.com/emersion/go-milter
// answers the MTA's negotiation, lists the macros that we ask for, runs the loop of
// each connection, and calls us at the end of each message. We do everything else:
// read and bound the frames (package wire), check their sequence (package dialogue),
// hand the events to a [Session], and write replies and edits. The reason is that
// go-milter would take events in any order, wait for an MTA without a time limit, keep
// every field of the header, shorten addresses and drop malformed fields without an
// error, and write its errors to the global log. A program that faces strangers' mail
// needs limits on all of these, and must see every field.
//
// go-milter is shown a token of one octet for the negotiation and for the end of each
// message, and nothing else. So nothing malformed reaches go-milter, and nothing that
// it keeps can grow. What we write is octet for octet what go-milter would write, but
// without its buffer of 4 KB for each frame; a test compares the two.
//
// One connection of the MTA is one SMTP session of its client, with any number of
// messages. A malformed frame, a timeout or an MTA that disappears ends that one
// connection. A panic in a Session costs one message. The package knows nothing about
// mail authentication.
package milter

import (
	"context"
	"log/slog"
	"net/netip"

	"sekimori/internal/milter/wire"
)

// Session receives the events of one MTA connection, in order and never two at
// a time.
//
// A Reply other than [Continue] at a step where the MTA waits for none (see
// [ReplyAt]) is held and given at the next step where it does wait; until the
// message ends no further events of it are shown. Given or held, one from
// Connect stands for every message of the connection, one from Helo until the
// next HELO. Given at Rcpt it refuses one recipient; held from Rcpt it refuses
// the message.
type Session interface {
	// Connect is the SMTP client. It comes once.
	Connect(c Connect) Reply
	// Helo is the argument of HELO or EHLO. It comes again after STARTTLS.
	Helo(name string) Reply
	// Mail begins a message. from is the reverse-path exactly as the client
	// typed it, with brackets if any; args are the ESMTP arguments.
	Mail(from string, args []string) Reply
	// Rcpt is a recipient, written as from in Mail.
	Rcpt(to string, args []string) Reply
	// Data is the DATA command; not every MTA shows it.
	Data() Reply
	// Header is a header field in wire order. value is every octet after the
	// colon: leading space, folds as CRLF, no final CRLF. Where the MTA could
	// not be asked to keep the leading space, a single one is assumed. An LF
	// that no white space follows becomes CRLF too and is for the Session to
	// judge; Postfix and Sendmail send none.
	Header(name, value string) Reply
	// EndOfHeader comes after the last field.
	EndOfHeader() Reply
	// Body is a part of the body with CRLF line ends; chunk is only valid
	// during the call.
	Body(chunk []byte) Reply
	// EndOfMessage gives the answer for the whole message. While it runs, the
	// MTA is told that there is progress. ctx ends when the MTA goes away
	// ([ErrPeerGone] is then the cause), on a shutdown whose time is up
	// ([ErrDraining]), or after Limits.EndOfMessageTimeout; the connection
	// waits for EndOfMessage to return, so it must heed ctx.
	EndOfMessage(ctx context.Context, m *Modifier) Reply
	// Abort ends a message: once for every Mail that was called, after the
	// final reply was sent, when the MTA abandons the message or the
	// connection ends in the middle of it, or after a panic. What Connect
	// and Helo told lives on.
	Abort()
	// Close is called exactly once and last.
	Close(end End)
}

// OversizeReplier is an optional method of a [Session]. Oversize is called
// once for a message that crosses a limit ([OversizeHeaderFields] and so on)
// and says what the message is answered with; nothing more of that message is
// shown, since a view cut short could hide a field. Without it, or when it
// returns [Continue], the message is refused with 552 5.3.4 (452 4.5.3 for
// recipients, 452 4.3.1 for memory). An [Outliner] may return [Outline] instead.
type OversizeReplier interface {
	Oversize(what string) Reply
}

// Outliner is a [Session] that can go on with a message over a limit: when its
// Oversize returns [Outline] it must have let go of what it held of the message,
// which is no longer counted against Limits.Memory. It is then shown every
// further header field by HeaderStart, the one that crossed the limit included,
// and EndOfMessage; no recipients, no end of header and no body.
type Outliner interface {
	OversizeReplier
	// HeaderStart is Header with no more than the first 8 KiB of the value.
	HeaderStart(name, start string)
}

// Salvager is an optional method of a [Session]. Salvage is called after a panic
// of EndOfMessage, with a Modifier of its own, and answers the message in the
// place of Settings.OnPanic.
type Salvager interface {
	Salvage(m *Modifier) Reply
}

// What a message can have too much of: the argument of Oversize.
const (
	OversizeHeaderFields = "header_fields"
	OversizeHeaderBytes  = "header_bytes"
	OversizeFieldBytes   = "field_bytes"
	OversizeRecipients   = "recipients"
	OversizeEnvelope     = "envelope_bytes"
	OversizeMemory       = "memory" // Limits.Memory, of all messages together
)

// Family is the kind of address the SMTP client has.
type Family byte

// The families of the milter protocol.
const (
	FamilyIPv4    Family = wire.FamilyIPv4
	FamilyIPv6    Family = wire.FamilyIPv6
	FamilyUnix    Family = wire.FamilyUnix
	FamilyUnknown Family = wire.FamilyUnknown
)

// Connect is the SMTP client as the CONNECT event tells it.
type Connect struct {
	// Hostname is the verified name, or what the MTA puts in its place:
	// Postfix sends "[192.0.2.1]" for an unverified one.
	Hostname string
	Family   Family
	// Addr is the client's address and port, from the event's own argument
	// and never from a macro. An IPv4-mapped IPv6 address is given as IPv4.
	// The zero AddrPort means the address is not known.
	Addr netip.AddrPort
}

// End says how a session ended.
type End string

// How a session can end.
const (
	EndQuit          End = "quit"           // the MTA said so
	EndEOF           End = "eof"            // the MTA went away
	EndTimeout       End = "timeout"        // the MTA fell silent
	EndProtocolError End = "protocol_error" // the MTA sent what cannot be
	EndDrain         End = "drain"          // Shutdown's time was up
	EndPanic         End = "panic"          // the Session could not even Abort
)

// Ends returns every End, for metrics that start at 0.
func Ends() []End {
	return []End{EndQuit, EndEOF, EndTimeout, EndProtocolError, EndDrain, EndPanic}
}

// ErrorKind says what was wrong with a frame: wire.KindEmptyFrame and so on.
type ErrorKind = wire.Kind

// ErrorKinds returns every ErrorKind, for metrics that start at 0.
func ErrorKinds() []ErrorKind { return wire.Kinds() }

// RejectReason says why a connection was turned away.
type RejectReason string

// Reasons for turning a connection away, or for not accepting it yet.
const (
	ReasonMaxSessions  RejectReason = "max_sessions"  // over Limits.MaxSessions: told tempfail
	ReasonMemory       RejectReason = "memory"        // over Limits.Memory: told tempfail
	ReasonHardLimit    RejectReason = "hard_limit"    // too many even to be told: left in the queue
	ReasonAcceptFailed RejectReason = "accept_failed" // no file descriptor or memory: left in the queue
)

// RejectReasons returns every RejectReason of this package.
func RejectReasons() []RejectReason {
	return []RejectReason{ReasonMaxSessions, ReasonMemory, ReasonHardLimit, ReasonAcceptFailed}
}

// ReplyAt says at which early steps the sessions give replies. At the others
// the MTA is asked not to wait, which saves a round trip each.
type ReplyAt struct {
	Connect, Helo, Mail, Rcpt bool
}

// Options is what a [Server] is made of. Only NewSession is required.
type Options struct {
	// NewSession makes the Session of a connection when the CONNECT event has come. c
	// has the macros of that event already.
	NewSession func(c *Conn) Session
	// Logger takes protocol errors, panics and refusals; nil discards them.
	Logger *slog.Logger
	// Observer counts.
	Observer Observer
}

// Settings are what may change while a [Server] serves. A zero field takes its default.
type Settings struct {
	// Limits bound what an MTA can make us hold and wait for.
	Limits Limits
	// ReplyAt defaults to no replies before the end of the message.
	ReplyAt ReplyAt
	// OnPanic answers a message whose Session panicked; default: 451 4.3.0.
	OnPanic Reply
}

// Observer is told what to count. Nil functions are left out. They are called
// from many goroutines at once.
type Observer struct {
	SessionStarted  func()
	SessionEnded    func(end End) // once for each SessionStarted
	SessionRejected func(reason RejectReason)
	ProtocolError   func(kind ErrorKind)
	Oversize        func(what string)
	Panic           func(component string, stack []byte)
}

func (o Observer) sessionStarted() {
	if o.SessionStarted != nil {
		o.SessionStarted()
	}
}

func (o Observer) sessionEnded(end End) {
	if o.SessionEnded != nil {
		o.SessionEnded(end)
	}
}

func (o Observer) sessionRejected(reason RejectReason) {
	if o.SessionRejected != nil {
		o.SessionRejected(reason)
	}
}

func (o Observer) protocolError(kind ErrorKind) {
	if o.ProtocolError != nil {
		o.ProtocolError(kind)
	}
}

func (o Observer) oversize(what string) {
	if o.Oversize != nil {
		o.Oversize(what)
	}
}

func (o Observer) panicked(component string, stack []byte) {
	if o.Panic != nil {
		o.Panic(component, stack)
	}
}
