package milter

import "time"

// Defaults of [Limits].
const (
	// DefaultIdleTimeout is above the 300 s after which Postfix itself gives up on a
	// silent client. Sendmail waits for an hour (confTO_COMMAND), so the limit must be
	// raised there.
	DefaultIdleTimeout = 360 * time.Second
	// DefaultTransferTimeout bounds the silence between DATA and the first header
	// field. Postfix receives the whole message first, however slow its client is.
	DefaultTransferTimeout = 2 * time.Hour
	// DefaultFrameTimeout is more than enough, because an MTA writes a whole frame at
	// once.
	DefaultFrameTimeout = 30 * time.Second
	// DefaultWriteTimeout is when we give up on an MTA that does not read.
	DefaultWriteTimeout = 30 * time.Second
	// DefaultProgressInterval is half of the 10 s that Sendmail waits for a reply.
	DefaultProgressInterval = 5 * time.Second
	// DefaultEndOfMessageTimeout is half of the 10 minutes that an SMTP client waits
	// after the final dot (RFC 5321 §4.5.3.2.6).
	DefaultEndOfMessageTimeout = 5 * time.Minute

	// DefaultMaxHeaderFields is ten times what real mail with many fields has.
	DefaultMaxHeaderFields = 2000
	// DefaultMaxHeaderBytes bounds all names and values of a message.
	DefaultMaxHeaderBytes = 1 << 20
	// DefaultMaxFieldBytes is above Postfix's header_size_limit (102,400).
	DefaultMaxFieldBytes = 256 << 10
	// DefaultMaxRecipients is ten times Postfix's smtpd_recipient_limit.
	DefaultMaxRecipients = 10000
	// DefaultMaxEnvelopeBytes bounds all MAIL and RCPT arguments of a message.
	DefaultMaxEnvelopeBytes = 2 << 20
	// DefaultMaxMacroBytes bounds all macros of a connection.
	DefaultMaxMacroBytes = 64 << 10
	// DefaultMaxFrame is what go-milter allows; the protocol's own limit for
	// a body chunk is 65,535.
	DefaultMaxFrame = 1 << 20
	// DefaultMaxSessions is a hundred times Postfix's default process limit.
	DefaultMaxSessions = 10000
)

const (
	// maxRefusing is how many connections over MaxSessions or Memory are being refused
	// at the same time. Further ones wait in the listener's queue.
	maxRefusing = 256
	// maxDrainIdle is how long a shutdown waits for the next message of a session.
	// There are always sessions whose client is silent. While the shutdown waits for
	// them, new sessions get no milter, and Postfix gives up connecting to a milter
	// after 30 s (milter_connect_timeout). So the wait is shorter than that.
	maxDrainIdle = 20 * time.Second
	// attendAfter is how long an EndOfMessage may run before the attendant starts to
	// look after the MTA. It is far less than any MTA's patience, and more than all but
	// the slowest DNS takes.
	attendAfter = 100 * time.Millisecond
)

// Limits bound each connection and the number of connections. A zero field takes its
// default.
type Limits struct {
	IdleTimeout         time.Duration // silence between frames
	TransferTimeout     time.Duration // silence after DATA, while the MTA receives the message
	FrameTimeout        time.Duration // for the rest of a frame, from its first octet on
	WriteTimeout        time.Duration // for one write
	ProgressInterval    time.Duration // between progress notices while EndOfMessage runs
	EndOfMessageTimeout time.Duration // when EndOfMessage's context ends, at least 100 ms

	MaxHeaderFields  int // a message
	MaxHeaderBytes   int // a message, octets
	MaxFieldBytes    int // name and value of one field, octets
	MaxRecipients    int // a message
	MaxEnvelopeBytes int // a message, octets
	MaxMacroBytes    int // a connection, octets
	MaxFrame         int // octets after the length; at most 1 MiB
	// MaxSessions is a soft limit: a connection that exceeds it is accepted, answered
	// tempfail at CONNECT, and closed.
	MaxSessions int
	// Memory is what all connections together may be expected to hold of messages and
	// buffers, in octets; 0 means no bound. A connection that does not fit is refused
	// like one over MaxSessions. A message that needs more than what is left is refused
	// (OversizeMemory).
	Memory int64
}

func (l Limits) withDefaults() Limits {
	def(&l.IdleTimeout, DefaultIdleTimeout)
	def(&l.TransferTimeout, DefaultTransferTimeout)
	def(&l.FrameTimeout, DefaultFrameTimeout)
	def(&l.WriteTimeout, DefaultWriteTimeout)
	def(&l.ProgressInterval, DefaultProgressInterval)
	def(&l.EndOfMessageTimeout, DefaultEndOfMessageTimeout)
	def(&l.MaxHeaderFields, DefaultMaxHeaderFields)
	def(&l.MaxHeaderBytes, DefaultMaxHeaderBytes)
	def(&l.MaxFieldBytes, DefaultMaxFieldBytes)
	def(&l.MaxRecipients, DefaultMaxRecipients)
	def(&l.MaxEnvelopeBytes, DefaultMaxEnvelopeBytes)
	def(&l.MaxMacroBytes, DefaultMaxMacroBytes)
	def(&l.MaxFrame, DefaultMaxFrame)
	def(&l.MaxSessions, DefaultMaxSessions)
	l.MaxFrame = min(l.MaxFrame, DefaultMaxFrame)
	return l
}

func def[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
