package milter

import "time"

// Defaults of [Limits].
const (
	// DefaultIdleTimeout is above the 300 s after which Postfix itself gives
	// up on a silent client. Sendmail waits an hour (confTO_COMMAND): raise it
	// there.
	DefaultIdleTimeout = 360 * time.Second
	// DefaultTransferTimeout is for the silence between DATA and the first
	// header field: Postfix takes in the whole message first, however slow
	// its client is.
	DefaultTransferTimeout = 2 * time.Hour
	// DefaultFrameTimeout is ample: an MTA writes a frame in one go.
	DefaultFrameTimeout = 30 * time.Second
	// DefaultWriteTimeout is for an MTA that no longer reads.
	DefaultWriteTimeout = 30 * time.Second
	// DefaultProgressInterval is half of Sendmail's 10 s for a reply.
	DefaultProgressInterval = 5 * time.Second
	// DefaultEndOfMessageTimeout is half of the 10 minutes an SMTP client
	// waits after the final dot (RFC 5321 §4.5.3.2.6).
	DefaultEndOfMessageTimeout = 5 * time.Minute

	// DefaultMaxHeaderFields is ten times what busy real mail has.
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
	// maxRefusing is how many connections over MaxSessions or Memory are told
	// so at a time; while they are, more are left in the listener's queue.
	maxRefusing = 256
	// maxDrainIdle is how long a shutdown waits for the next message of a
	// session. There are always sessions whose client is silent, and while they
	// are waited for nobody takes the new ones: it is below the 30 s after which
	// Postfix gives up connecting to a milter (milter_connect_timeout).
	maxDrainIdle = 20 * time.Second
	// attendAfter is when an EndOfMessage that still runs gets somebody to tell
	// the MTA of progress and to notice when it leaves: far below any MTA's
	// patience, and above what all but the slowest DNS takes.
	attendAfter = 100 * time.Millisecond
)

// Limits bound one connection and their number. A zero field takes its
// default.
type Limits struct {
	IdleTimeout         time.Duration // silence between frames
	TransferTimeout     time.Duration // silence after DATA, while the MTA receives the message
	FrameTimeout        time.Duration // for the rest of a frame once it has begun
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
	// MaxSessions is a soft limit: a connection over it is answered tempfail
	// at CONNECT and closed.
	MaxSessions int
	// Memory is the budget of all connections together in octets, 0 for none:
	// what they may be expected to hold of messages and buffers. A connection
	// that does not fit is refused like one over MaxSessions; a message that
	// outgrows what is left is refused (OversizeMemory).
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
