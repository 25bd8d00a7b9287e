package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
)

const (
	// readSize is larger than the payload size that queries offer, for servers that
	// send more.
	readSize = 4096
	// maxStrays bounds the packets that are read for one answer. A server sends one packet. Further
	// packets may be a forger's guesses. So few guesses are very unlikely to succeed, and reading
	// them costs less than a lookup.
	maxStrays = 256
	// memory is how long the client remembers that a server does not know EDNS, or
	// does not repeat the case of letters.
	memory = 10 * time.Minute
)

var (
	errFlood        = errors.New("resolver: too many packets that are no answer")
	errTruncatedTCP = errors.New("resolver: answer truncated over TCP")
)

// past is a deadline that ends a read that is under way. The end of a context does not.
var past = time.Unix(1, 0)

// answered is a message that answers a query, with the result of Match.
type answered struct {
	wire []byte
	dnswire.Match
}

// The reasons for asking again over TCP. They are label values of the metrics.
const (
	reasonTruncated = "truncated"
	reasonCase      = "case"
	reasonFlood     = "flood"
)

// memo is a fact about a server that the client remembers for some time. The field "end" is a time
// on the client's clock.
type memo struct{ end atomic.Int64 }

func (s *memo) lasts(now time.Duration) bool { return int64(now) < s.end.Load() }
func (s *memo) begin(now time.Duration)      { s.end.Store(int64(now + memory)) }

// ask sends one question to one server, with EDNS unless the server is known not to support it. If
// the server rejects EDNS, ask sends the question again without it.
func (c *Client) ask(ctx context.Context, s *server, q dnswire.Question) (dnswire.Reply, *dns.Error) {
	o := dnswire.Options{EDNS: !s.noEDNS.lasts(c.now()), AD: s.trusted, Mix: s.remote}
	r, err := c.put(ctx, s, q.Pack(o))
	if o.EDNS && dnswire.Rejected(err) {
		o.EDNS = false
		if r, err = c.put(ctx, s, q.Pack(o)); !dnswire.Rejected(err) && (err == nil || !unanswered(err)) {
			s.noEDNS.begin(c.now())
			c.metrics.withoutEDNS()
		}
	}
	r.Answer.Authenticated = r.Answer.Authenticated && s.trusted
	return r, err
}

// put sends a query and returns the answer. It uses TLS if the server is configured for it.
// Otherwise it uses UDP, and then TCP if the answer did not fit or may be forged. Each transport
// may take as long as the client's timeout.
func (c *Client) put(ctx context.Context, s *server, q dnswire.Query) (dnswire.Reply, *dns.Error) {
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	reason := ""
	if s.secure == nil && !s.changesCase.lasts(c.now()) {
		a, err := c.overUDP(ctx, s, q, *buf)
		switch {
		case errors.Is(err, errFlood):
			reason = reasonFlood
		case err != nil:
			return dnswire.Reply{}, q.Fail(transportKind(ctx, err), err)
		case a.Match == dnswire.Truncated:
			reason = reasonTruncated
		case a.Match == dnswire.Recased:
			reason = reasonCase
		default:
			return q.Decode(a.wire)
		}
		c.metrics.overTCP(reason)
	}
	q.Exact = false // a forger who cannot see the query cannot forge an answer over TCP or TLS
	a, err := c.overStream(ctx, s, q, *buf)
	switch {
	case err != nil:
		return dnswire.Reply{}, q.Fail(transportKind(ctx, err), err)
	case a.Match == dnswire.Truncated:
		return dnswire.Reply{}, q.Fail(dns.KindMalformed, errTruncatedTCP)
	case reason == reasonCase:
		s.changesCase.begin(c.now()) // the server itself changed the case, so the answer over UDP was not forged
	}
	return q.Decode(a.wire)
}

func (c *Client) overStream(ctx context.Context, s *server, q dnswire.Query, buf []byte) (answered, error) {
	if s.secure != nil {
		return s.secure.exchange(ctx, c, q)
	}
	return c.overTCP(ctx, s, q, buf)
}

// overUDP sends a query over a UDP socket and waits for the message that answers it. The result may
// be a part of buf. If a socket that was used before cannot be used again, overUDP takes another.
func (c *Client) overUDP(ctx context.Context, s *server, q dnswire.Query, buf []byte) (answered, error) {
	deadline := c.deadline(ctx)
	for {
		k, err := c.socketTo(ctx, s)
		if err != nil {
			return answered{}, err
		}
		again, err := k.exchange(ctx, q, buf, deadline)
		for range k.strays {
			c.observe(q.Type, ResultMalformed, 0)
		}
		a := k.answered
		if again {
			c.idle.put(k, cap(c.slots)-len(c.slots))
		} else {
			_ = k.Close()
		}
		if !errors.Is(err, errStale) {
			return a, err
		}
	}
}

// deadline returns the end of an exchange that begins now.
func (c *Client) deadline(ctx context.Context) time.Time {
	end := time.Now().Add(c.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		return d
	}
	return end
}

// socketTo returns a socket to s for one query. A new socket has a new random port.
func (c *Client) socketTo(ctx context.Context, s *server) (*socket, error) {
	if k := c.idle.take(s); k != nil {
		return k, nil
	}
	conn, err := c.dial(ctx, "udp", s.addr)
	if err != nil {
		return nil, err
	}
	return newSocket(conn, s, c.now()), nil
}

// overTCP sends a query over a new connection and waits for the message that answers it. The result
// may be a part of buf.
func (c *Client) overTCP(ctx context.Context, s *server, q dnswire.Query, buf []byte) (answered, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.dial(ctx, "tcp", s.addr)
	if err != nil {
		return answered{}, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline() // that of the timeout at least
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()
	if _, err := conn.Write(frame(q.Packet)); err != nil {
		return answered{}, err
	}
	for range maxStrays {
		wire, err := readFramed(conn, buf)
		if err != nil {
			return answered{}, err
		}
		if m := q.Match(wire); m != dnswire.Stray {
			return answered{wire, m}, nil
		}
		c.observe(q.Type, ResultMalformed, 0)
	}
	return answered{}, errFlood
}

// frame returns a message with its length in front (RFC 1035 §4.2.2).
func frame(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, len(packet)+2), uint16(len(packet))), packet...)
}

// readFramed reads one message that has its length in front.
func readFramed(conn net.Conn, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	if n > len(buf) {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(conn, buf[:n])
	return buf[:n], err
}
