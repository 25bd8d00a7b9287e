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
	// readSize is room for servers that send more than we offered.
	readSize = 4096
	// maxStrays bounds the packets looked at for one answer: a server sends one,
	// and who sends more is guessing. So many guesses are worth nothing, and what
	// they cost is less than a lookup.
	maxStrays = 256
	// memory is how long it is remembered that a server does not know EDNS, or
	// does not keep the case of letters.
	memory = 10 * time.Minute
)

var (
	errFlood        = errors.New("resolver: too many packets that are no answer")
	errTruncatedTCP = errors.New("resolver: answer truncated over TCP")
)

// Reasons for asking again over TCP, as the metrics say them.
const (
	reasonTruncated = "truncated"
	reasonCase      = "case"
	reasonFlood     = "flood"
)

// spell is something remembered of a server for a while, on the client's
// clock.
type spell struct{ end atomic.Int64 }

func (s *spell) lasts(now time.Duration) bool { return int64(now) < s.end.Load() }
func (s *spell) begin(now time.Duration)      { s.end.Store(int64(now + memory)) }

// ask puts one question to one server, without EDNS if the server does not
// know it.
func (c *Client) ask(ctx context.Context, s *server, q dnswire.Question) (dnswire.Reply, *dns.Error) {
	o := dnswire.Options{EDNS: !s.plain.lasts(c.now()), AD: s.trusted, Mix: s.remote}
	r, err := c.put(ctx, s, q.Pack(o))
	if o.EDNS && dnswire.Rejected(err) {
		o.EDNS = false
		if r, err = c.put(ctx, s, q.Pack(o)); !dnswire.Rejected(err) && (err == nil || !unanswered(err)) {
			s.plain.begin(c.now())
			c.metrics.withoutEDNS()
		}
	}
	r.Answer.Authenticated = r.Answer.Authenticated && s.trusted
	return r, err
}

// put gets the answer to a query: over TLS where the server is asked so, else
// over UDP, and over TCP if it does not fit or may not be genuine. Each
// transport has the client's timeout.
func (c *Client) put(ctx context.Context, s *server, q dnswire.Query) (dnswire.Reply, *dns.Error) {
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	reason := ""
	if s.secure == nil && !s.recases.lasts(c.now()) {
		wire, m, err := c.exchange(ctx, "udp", s, q, *buf)
		switch {
		case errors.Is(err, errFlood):
			reason = reasonFlood
		case err != nil:
			return dnswire.Reply{}, q.Fail(transportKind(ctx, err), err)
		case m == dnswire.Truncated:
			reason = reasonTruncated
		case m == dnswire.Recased:
			reason = reasonCase
		default:
			return q.Decode(wire)
		}
		c.metrics.overTCP(reason)
	}
	q.Exact = false // there is nobody between the ends of a connection
	wire, m, err := c.overStream(ctx, s, q, *buf)
	switch {
	case err != nil:
		return dnswire.Reply{}, q.Fail(transportKind(ctx, err), err)
	case m == dnswire.Truncated:
		return dnswire.Reply{}, q.Fail(dns.KindMalformed, errTruncatedTCP)
	case reason == reasonCase:
		s.recases.begin(c.now()) // it is the server, not a forger
	}
	return q.Decode(wire)
}

func (c *Client) overStream(ctx context.Context, s *server, q dnswire.Query, buf []byte) ([]byte, dnswire.Match, error) {
	if s.secure != nil {
		return s.secure.exchange(ctx, c, q)
	}
	return c.exchange(ctx, "tcp", s, q, buf)
}

// exchange sends a query over a new socket, whose port is therefore new and
// random too, and waits for the message that answers it. The result may live
// in buf.
func (c *Client) exchange(ctx context.Context, network string, s *server, q dnswire.Query, buf []byte) ([]byte, dnswire.Match, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.dial(ctx, network, s.addr)
	if err != nil {
		return nil, dnswire.Stray, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	// A read does not notice that the context was canceled; a deadline it does.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	read, packet := readPacket, q.Packet
	if network == "tcp" {
		read, packet = readFramed, frame(packet)
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, dnswire.Stray, err
	}
	for range maxStrays {
		wire, err := read(conn, buf)
		if err != nil {
			return nil, dnswire.Stray, err
		}
		if m := q.Match(wire); m != dnswire.Stray {
			return wire, m, nil
		}
		c.observe(q.Type, ResultMalformed, 0)
	}
	return nil, dnswire.Stray, errFlood
}

func readPacket(conn net.Conn, buf []byte) ([]byte, error) {
	n, err := conn.Read(buf)
	return buf[:n], err
}

// frame puts the length before a message (RFC 1035 §4.2.2).
func frame(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, len(packet)+2), uint16(len(packet))), packet...)
}

// readFramed reads one message with its length.
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
