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

// Session receives the events of one MTA connection, in order and one at a time.
//
// The MTA does not wait for a reply at every step (see [ReplyAt]). A Reply other than
// [Continue] at a step without a reply is held, and given at the next step that has one.
// Until the message ends, the Session gets no further events of it. A Reply from Connect
// is valid for every message of the connection, and one from Helo until the next HELO,
// whether it was given at once or held. A Reply that is given at Rcpt refuses one
// recipient; one that is held from Rcpt refuses the message.
type Session interface {
	// Connect says who the SMTP client is. It is called once.
	Connect(c Connect) Reply
	// Helo gets the argument of HELO or EHLO. It is called again after STARTTLS.
	Helo(name string) Reply
	// Mail begins a message. from is the reverse-path exactly as the client wrote it,
	// with its brackets if it had any. args are the ESMTP arguments.
	Mail(from string, args []string) Reply
	// Rcpt adds a recipient, written as from in Mail.
	Rcpt(to string, args []string) Reply
	// Data is called at the DATA command. Not every MTA sends it to milters.
	Data() Reply
	// Header gets a header field, in wire order. value has every octet after the colon:
	// the leading space, and folds as CRLF, but no CRLF at the end. If the MTA cannot
	// keep the leading space, a single space is assumed. An LF becomes CRLF even if no
	// white space follows, and the Session must decide what that means; Postfix and
	// Sendmail send none.
	Header(name, value string) Reply
	// EndOfHeader is called after the last field.
	EndOfHeader() Reply
	// Body gets a part of the body, with CRLF as line ends. chunk is valid during the
	// call only.
	Body(chunk []byte) Reply
	// EndOfMessage gives the reply to the whole message. While it runs, the MTA is told
	// that there is progress. ctx ends when the MTA goes away (its cause is then
	// [ErrPeerGone]), when the time of a shutdown is up ([ErrDraining]), or after
	// Limits.EndOfMessageTimeout. The connection waits until EndOfMessage returns, so it
	// must return soon after ctx ends.
	EndOfMessage(ctx context.Context, m *Modifier) Reply
	// Abort ends a message. It is called once for every call of Mail: after the final
	// reply was sent, when the MTA abandons the message, when the connection ends in the
	// middle of it, or after a panic. What Connect and Helo said stays valid.
	Abort()
	// Close is the last call, and comes exactly once.
	Close(end End)
}

// OversizeReplier is an optional interface of a [Session]. Oversize is called once for a
// message that exceeds a limit ([OversizeHeaderFields] and so on), and returns the reply to
// it. The Session gets nothing more of the message, because a header that is cut short
// could lack the field that matters. Without the method, or when it returns [Continue], the
// message is refused with 552 5.3.4 (452 4.5.3 for recipients, 452 4.3.1 for memory). An
// [Outliner] may return [Outline] instead.
type OversizeReplier interface {
	Oversize(what string) Reply
}

// Outliner is a [Session] that can go on with a message over a limit. When its Oversize
// returns [Outline], it must hold nothing of the message any more, because the message no
// longer counts for Limits.Memory. From then on it gets HeaderStart for every header field,
// beginning with the one that exceeded the limit, and EndOfMessage. It gets no recipients,
// no end of the header and no body.
type Outliner interface {
	OversizeReplier
	// HeaderStart is like Header, but gets at most the first 8 KiB of the value.
	HeaderStart(name, start string)
}

// Salvager is an optional interface of a [Session]. Salvage is called after a panic of
// EndOfMessage, with a new Modifier. Its reply is given instead of Settings.OnPanic.
type Salvager interface {
	Salvage(m *Modifier) Reply
}

// The limits that a message can exceed; the argument of Oversize is one of these.
const (
	OversizeHeaderFields = "header_fields"
	OversizeHeaderBytes  = "header_bytes"
	OversizeFieldBytes   = "field_bytes"
	OversizeRecipients   = "recipients"
	OversizeEnvelope     = "envelope_bytes"
	OversizeMemory       = "memory" // Limits.Memory, which all messages share
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
	EndPanic         End = "panic"          // a panic that the connection cannot go on after
)

// Ends returns every End, so that metrics can start at 0.
func Ends() []End {
	return []End{EndQuit, EndEOF, EndTimeout, EndProtocolError, EndDrain, EndPanic}
}

// ErrorKind says what was wrong with a frame: wire.KindEmptyFrame and so on.
type ErrorKind = wire.Kind

// ErrorKinds returns every ErrorKind, so that metrics can start at 0.
func ErrorKinds() []ErrorKind { return wire.Kinds() }

// RejectReason says why a connection was turned away.
type RejectReason string

// The reasons for turning a connection away, or for not accepting it yet.
const (
	ReasonMaxSessions  RejectReason = "max_sessions"  // over Limits.MaxSessions; the MTA is answered tempfail
	ReasonMemory       RejectReason = "memory"        // over Limits.Memory; the MTA is answered tempfail
	ReasonHardLimit    RejectReason = "hard_limit"    // too many are being refused already; the connection waits in the listener's queue
	ReasonAcceptFailed RejectReason = "accept_failed" // there is no file descriptor or memory; the connection waits in the listener's queue
)

// RejectReasons returns every RejectReason, so that metrics can start at 0.
func RejectReasons() []RejectReason {
	return []RejectReason{ReasonMaxSessions, ReasonMemory, ReasonHardLimit, ReasonAcceptFailed}
}

// ReplyAt says at which early steps the sessions give replies. At the other steps the MTA
// is asked not to wait, which saves a round trip at each of them.
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

// Observer has functions that are called when there is something to count. Each may be nil.
// They are called from many goroutines at the same time.
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
