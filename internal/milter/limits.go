package milter

import "time"

// Defaults of [Limits].
const (
	// DefaultIdleTimeout is longer than the 300 s after which Postfix itself gives up on a silent
	// client. Sendmail waits for a silent client for an hour (confTO_COMMAND), so with Sendmail
	// the limit must be raised.
	DefaultIdleTimeout = 360 * time.Second
	// DefaultTransferTimeout is how long the MTA may be silent between DATA and the first header
	// field. Postfix receives the whole message in that time, from a client that may be slow.
	DefaultTransferTimeout = 2 * time.Hour
	// DefaultFrameTimeout need not be long, because an MTA writes a whole frame at once.
	DefaultFrameTimeout = 30 * time.Second
	// DefaultWriteTimeout is how long an MTA may take to read what we write.
	DefaultWriteTimeout = 30 * time.Second
	// DefaultProgressInterval is half of the 10 s that Sendmail waits for a reply.
	DefaultProgressInterval = 5 * time.Second
	// DefaultEndOfMessageTimeout is half of the 10 minutes that an SMTP client waits
	// after the final dot (RFC 5321 §4.5.3.2.6).
	DefaultEndOfMessageTimeout = 5 * time.Minute

	// DefaultMaxHeaderFields is ten times as much as needed: real messages with very many fields
	// have about 200.
	DefaultMaxHeaderFields = 2000
	// DefaultMaxHeaderBytes limits the total length of all names and values of a message.
	DefaultMaxHeaderBytes = 1 << 20
	// DefaultMaxFieldBytes is more than Postfix's header_size_limit (102,400).
	DefaultMaxFieldBytes = 256 << 10
	// DefaultMaxRecipients is ten times Postfix's smtpd_recipient_limit.
	DefaultMaxRecipients = 10000
	// DefaultMaxEnvelopeBytes limits the total length of all MAIL and RCPT arguments of a
	// message.
	DefaultMaxEnvelopeBytes = 2 << 20
	// DefaultMaxMacroBytes limits the total length of all macros of a connection.
	DefaultMaxMacroBytes = 64 << 10
	// DefaultMaxFrame is the limit of go-milter. The protocol limits a part of the body to 65,535
	// octets.
	DefaultMaxFrame = 1 << 20
	// DefaultMaxSessions is a hundred times Postfix's default process limit.
	DefaultMaxSessions = 10000
)

const (
	// maxRefusing is the number of connections over MaxSessions or Memory that can be refused at
	// the same time: accepted, but not closed yet. Further connections wait in the queue of the
	// listener.
	maxRefusing = 256
	// maxDrainIdle is how long a shutdown waits for the next message of a session that is between
	// messages. Some clients stay silent for a long time. While the shutdown waits for them, new
	// SMTP sessions find no milter, and Postfix gives up connecting to a milter after 30 s
	// (milter_connect_timeout). So this wait must be shorter than 30 s.
	maxDrainIdle = 20 * time.Second
	// attendAfter is how long an EndOfMessage may run before the attendant starts to watch the
	// MTA. It is far less than the time that any MTA waits for a reply, and longer than an
	// EndOfMessage takes unless DNS is very slow.
	attendAfter = 100 * time.Millisecond
)

// Limits bound what each connection may use, and the number of connections. A field that is zero
// takes its default; only in Memory zero means no limit.
type Limits struct {
	IdleTimeout         time.Duration // the longest silence between frames
	TransferTimeout     time.Duration // the longest silence after DATA, while the MTA receives the message
	FrameTimeout        time.Duration // the longest time for the rest of a frame, from its first octet on
	WriteTimeout        time.Duration // the longest time for one write
	ProgressInterval    time.Duration // the time between two progress notices while EndOfMessage runs
	EndOfMessageTimeout time.Duration // the time until EndOfMessage's context ends, at least 100 ms

	MaxHeaderFields  int // per message
	MaxHeaderBytes   int // names and values per message, in octets
	MaxFieldBytes    int // name and value of one field, in octets
	MaxRecipients    int // per message
	MaxEnvelopeBytes int // arguments of MAIL and RCPT per message, in octets
	MaxMacroBytes    int // per connection, in octets
	MaxFrame         int // octets of a frame after its length field; at most 1 MiB
	// MaxSessions is the number of connections that are served. A further connection is accepted,
	// gets the answer tempfail at CONNECT, and is closed.
	MaxSessions int
	// Memory is the number of octets that all connections together may reserve for messages and
	// buffers; 0 means no limit. A connection that does not fit is refused like one over
	// MaxSessions. A message that needs more than what is left is refused (OversizeMemory).
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
