// Package milter serves the milter protocol to MTAs. It uses github.com/emersion/go-milter for a
// part of the protocol: go-milter answers the negotiation, lists the macros that we ask for, runs
// the loop of each connection, and calls us at the end of each message. This package does
// everything else: it reads and limits the frames (package wire), checks their sequence (package
// dialogue), hands the events to a [Session], and writes replies and edits. go-milter alone would
// accept events in any order, wait for an MTA without a time limit, keep every field of the header,
// shorten addresses, drop malformed fields without an error, and write its errors to the global
// log. A program that handles mail from strangers must do none of this, and must see every field.
//
// go-milter reads only frames of one octet: a frame for each new kind of offer (we keep the answer),
// and a frame for the end of each message. So go-milter gets nothing malformed, and keeps nothing
// that could grow. The replies and edits that we write are, octet for octet, those that go-milter
// would write, but without its buffer of 4 KB for each frame. A test compares the two.
//
// One connection of the MTA is normally one SMTP session of a client, with any number of messages.
// A malformed frame, a timeout or an MTA that disappears ends that one connection. After a panic in
// a Session, normally only the message in progress gets the reply for a panic. After a panic in
// Connect or Helo, the messages that follow get it too, and a panic in Abort ends the connection.
// The package knows nothing about mail authentication.
package milter

import (
	"context"
	"log/slog"
	"net/netip"

	"sekimori/internal/milter/wire"
)

// Session receives the events of one SMTP session, in order and one at a time.
//
// The MTA does not wait for a reply to every event (see [ReplyAt]). If a method returns another
// Reply than [Continue] and the MTA does not wait for it, the Reply is held and becomes the reply
// to the next event for which the MTA waits. Until the message ends, the Session gets no further
// events of that message. A Reply from Connect is valid for every message of the session, and one
// from Helo until the next HELO, whether the Reply was held or not. A refusal from Rcpt refuses one
// recipient if the MTA waits for it. A refusal from Rcpt that is held refuses the whole message.
type Session interface {
	// Connect gets the address and name of the SMTP client. It is called once.
	Connect(c Connect) Reply
	// Helo gets the argument of HELO or EHLO. It is called again after STARTTLS.
	Helo(name string) Reply
	// Mail begins a message. from is the reverse-path exactly as the client wrote it,
	// with its brackets if it had any. args are the ESMTP arguments.
	Mail(from string, args []string) Reply
	// Rcpt adds a recipient. to and args have the same form as in Mail.
	Rcpt(to string, args []string) Reply
	// Data is called at the DATA command. Not every MTA sends it to milters.
	Data() Reply
	// Header gets a header field, in wire order. value has every octet after the colon, including
	// white space, with folds as CRLF, but no CRLF at the end. If the MTA removes one leading space
	// from every value, a space is put back, unless the value begins with a tab. Every LF from the
	// MTA becomes CRLF, even if no white space follows it. Postfix and Sendmail send no such LF. If
	// another MTA does, the Session must decide what the LF means.
	Header(name, value string) Reply
	// EndOfHeader is called after the last field.
	EndOfHeader() Reply
	// Body gets a part of the body, with CRLF as line ends. chunk is valid only during the call.
	Body(chunk []byte) Reply
	// EndOfMessage returns the reply to the whole message. While it runs, the MTA gets progress
	// notices. ctx ends when the MTA goes away (the cause is then [ErrPeerGone]), when the time
	// of a shutdown is up ([ErrDraining]), or after Limits.EndOfMessageTimeout. Nothing else of
	// the connection is handled until EndOfMessage returns, so it must return soon after ctx
	// ends.
	EndOfMessage(ctx context.Context, m *Modifier) Reply
	// Abort ends a message. It is called once for every call of Mail: after the final reply was
	// sent, when the MTA abandons the message, when the connection ends in the middle of it,
	// after a panic, or when the message was refused for lack of memory. What the Session learned
	// from Connect and Helo stays valid.
	Abort()
	// Close is the last call, and is made exactly once.
	Close(end End)
}

// OversizeReplier is an optional interface of a [Session]. Oversize is called once for a message
// that exceeds a limit ([OversizeHeaderFields] and so on), and returns the reply to the message.
// The Session gets nothing more of the message, because the field that decides about the message
// could be missing from an incomplete header. If the Session has no such method, or if it returns
// [Continue], the message is refused with 552 5.3.4 (452 4.5.3 for the number of recipients or the
// length of the envelope, 452 4.3.1 for memory). An [Outliner] may return [Outline] instead.
type OversizeReplier interface {
	Oversize(what string) Reply
}

// Outliner is an optional interface of a [Session] that can go on with a message over a limit.
// When its Oversize returns [Outline], it must hold nothing of the message any more, because the
// message then no longer counts for Limits.Memory. From then on it gets HeaderStart for every
// header field, beginning with the field that exceeded the limit, and then EndOfMessage. It gets
// no recipients, no end of the header and no body.
type Outliner interface {
	OversizeReplier
	// HeaderStart is like Header, but gets at most the first 8 KiB of the name and the first 8 KiB
	// of the value, counted as the MTA sent them.
	HeaderStart(name, start string)
}

// Salvager is an optional interface of a [Session]. Salvage is called after a panic in
// EndOfMessage, with a new Modifier. The message gets the reply of Salvage instead of
// Settings.OnPanic.
type Salvager interface {
	Salvage(m *Modifier) Reply
}

// The limits that a message can exceed. The argument of Oversize is one of them.
const (
	OversizeHeaderFields = "header_fields"
	OversizeHeaderBytes  = "header_bytes"
	OversizeFieldBytes   = "field_bytes"
	OversizeRecipients   = "recipients"
	OversizeEnvelope     = "envelope_bytes"
	OversizeMemory       = "memory" // Limits.Memory, which all messages share
)

// Family is the kind of address that the SMTP client has.
type Family byte

// The address families of the milter protocol.
const (
	FamilyIPv4    Family = wire.FamilyIPv4
	FamilyIPv6    Family = wire.FamilyIPv6
	FamilyUnix    Family = wire.FamilyUnix
	FamilyUnknown Family = wire.FamilyUnknown
)

// Connect describes the SMTP client, as the CONNECT event does.
type Connect struct {
	// Hostname is the verified name of the client, or what the MTA sends if the name is
	// not verified: Postfix sends "[192.0.2.1]".
	Hostname string
	Family   Family
	// Addr is the address and port of the client. It comes from the event itself and
	// never from a macro. An IPv4-mapped IPv6 address is given as IPv4. The zero
	// AddrPort means that the address is not known.
	Addr netip.AddrPort
}

// End says how a session ended.
type End string

// How a session can end.
const (
	EndQuit          End = "quit"           // the MTA sent QUIT
	EndEOF           End = "eof"            // the MTA closed the connection
	EndTimeout       End = "timeout"        // the MTA was silent for too long
	EndProtocolError End = "protocol_error" // the MTA violated the protocol
	EndDrain         End = "drain"          // the time of Shutdown was up
	EndPanic         End = "panic"          // a panic after which the connection cannot go on
)

// Ends returns every End, so that the metric for each can start at 0.
func Ends() []End {
	return []End{EndQuit, EndEOF, EndTimeout, EndProtocolError, EndDrain, EndPanic}
}

// ErrorKind says what was wrong with a frame: wire.KindEmptyFrame and so on.
type ErrorKind = wire.Kind

// ErrorKinds returns every ErrorKind, so that the metric for each can start at 0.
func ErrorKinds() []ErrorKind { return wire.Kinds() }

// RejectReason says why a connection was refused, or not accepted yet.
type RejectReason string

// The reasons for refusing a connection, or for not accepting it yet.
const (
	ReasonMaxSessions  RejectReason = "max_sessions"  // over Limits.MaxSessions; the answer to the MTA is tempfail
	ReasonMemory       RejectReason = "memory"        // over Limits.Memory; the answer to the MTA is tempfail
	ReasonHardLimit    RejectReason = "hard_limit"    // so many connections are being refused that this one is not accepted yet; it waits in the listener's queue
	ReasonAcceptFailed RejectReason = "accept_failed" // accepting failed, usually because no file descriptor or memory is left; the connection waits in the listener's queue
)

// RejectReasons returns every RejectReason, so that the metric for each can start at 0.
func RejectReasons() []RejectReason {
	return []RejectReason{ReasonMaxSessions, ReasonMemory, ReasonHardLimit, ReasonAcceptFailed}
}

// ReplyAt says at which events before the header the sessions give replies. At the other events the
// MTA is asked not to wait for a reply, which saves a round trip each time.
type ReplyAt struct {
	Connect, Helo, Mail, Rcpt bool
}

// Options has what a [Server] needs for its whole life. Only NewSession is required.
type Options struct {
	// NewSession makes the Session for a CONNECT event. c already has the macros that the MTA
	// sent for this event.
	NewSession func(c *Conn) Session
	// Logger gets protocol errors, panics and refusals. If it is nil, they are not logged.
	Logger *slog.Logger
	// Observer is called for everything that is counted.
	Observer Observer
}

// Settings are the settings that may change while a [Server] serves. A field that is zero takes
// its default.
type Settings struct {
	// Limits bound the memory and time that an MTA can take from this program.
	Limits Limits
	// ReplyAt says which early events get a reply. By default none does.
	ReplyAt ReplyAt
	// OnPanic is the reply to a message whose Session panicked. The default is 451 4.3.0.
	OnPanic Reply
}

// Observer has functions that are called when there is something to count. Each may be nil.
// Several goroutines may call them at the same time.
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
