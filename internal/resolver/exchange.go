package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
)

const (
	// ednsSize is the UDP payload we offer: it crosses every network unfragmented
	// (DNS flag day 2020), and fragments can be forged.
	ednsSize = 1232
	// readSize is room for servers that send more than we offered.
	readSize = 4096
)

// pack writes q as a query: recursion desired, AD wanted (RFC 6840 §5.7), EDNS.
func (q question) pack() ([]byte, error) {
	if len(q.name) > dns.MaxNameLen { // the codec would pack it
		return nil, dns.ErrLongName
	}
	m := codec.Msg{MsgHdr: codec.MsgHdr{Id: q.id, RecursionDesired: true, AuthenticatedData: true}}
	m.Question = []codec.Question{{Name: presentation(q.name), Qtype: uint16(q.typ), Qclass: codec.ClassINET}}
	m.SetEdns0(ednsSize, false)
	return m.Pack()
}

// ask puts one question to one server, over TCP if it does not fit UDP. Each
// transport has the client's timeout.
func (c *Client) ask(ctx context.Context, server string, name dns.Name, typ dns.Type) (reply, *dns.Error) {
	q := question{id: randomID(), name: name, typ: typ}
	query, err := q.pack()
	if err != nil {
		return reply{}, q.fail(dns.KindMalformed, err)
	}
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	wire, truncated, err := c.exchange(ctx, "udp", server, q, query, *buf)
	if err == nil && truncated {
		wire, truncated, err = c.exchange(ctx, "tcp", server, q, query, *buf)
		if err == nil && truncated {
			return reply{}, q.fail(dns.KindMalformed, errTruncatedTCP)
		}
	}
	if err != nil {
		return reply{}, q.fail(transportKind(ctx, err), err)
	}
	return q.decode(wire)
}

// exchange sends query over a new socket, whose port is therefore new and
// random too, and waits for the message that answers it. The result may live
// in buf.
func (c *Client) exchange(ctx context.Context, network, server string, q question, query, buf []byte) (wire []byte, truncated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.dial(ctx, network, server)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	// A read does not notice that the context was canceled; a deadline it does.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	read := readPacket
	if network == "tcp" {
		read = readFramed
		query = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	}
	if _, err := conn.Write(query); err != nil {
		return nil, false, err
	}
	for {
		wire, err := read(conn, buf)
		if err != nil {
			return nil, false, err
		}
		if ours, truncated := q.matches(wire); ours {
			return wire, truncated, nil
		}
		c.observe(q.typ, ResultMalformed, 0)
	}
}

func readPacket(conn net.Conn, buf []byte) ([]byte, error) {
	n, err := conn.Read(buf)
	return buf[:n], err
}

// readFramed reads one message with its length (RFC 1035 §4.2.2).
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

func randomID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint16(b[:])
}
