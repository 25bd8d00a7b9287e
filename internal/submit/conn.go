package submit

import (
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// maxServerReply bounds the octets that the MTA sends between two writes of ours. go-smtp bounds the
// length of a line, but not the number of lines in a reply. The certificates of TLS must fit in, too.
const maxServerReply = 128 << 10

var errLongReply = errors.New("the reply of the mail server has no end")

// boundedConn bounds what go-smtp leaves open: the length of a reply, the time for a piece of the mail, and the
// time for the whole transaction. It is used by one goroutine, except for Close.
type boundedConn struct {
	net.Conn
	end   time.Time     // of the transaction
	block time.Duration // the time for one Write
	left  int           // of maxServerReply
	// failed is why the connection cannot be read any more. bufio and textproto take what came before
	// for a line, and report it as malformed.
	failed error
}

// Read implements net.Conn.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.failed = errLongReply
		return 0, c.failed
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err != nil {
		c.failed = err
	}
	return n, err
}

// Write implements net.Conn.
func (c *boundedConn) Write(p []byte) (int, error) {
	c.left = maxServerReply
	if err := c.SetWriteDeadline(c.bound(time.Now().Add(c.block))); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetDeadline implements net.Conn. The zero time, with which go-smtp lifts a deadline, is the end of the
// transaction.
func (c *boundedConn) SetDeadline(t time.Time) error { return c.Conn.SetDeadline(c.bound(t)) }

func (c *boundedConn) bound(t time.Time) time.Time {
	if t.IsZero() || t.After(c.end) {
		return c.end
	}
	return t
}

// greeted is a connection on which the MTA has already greeted. go-smtp wants to read a greeting, so
// it gets one.
type greeted struct {
	net.Conn
	greeting io.Reader
}

func greet(c net.Conn) *greeted { return &greeted{c, strings.NewReader("220 go on\r\n")} }

// Read implements net.Conn.
func (g *greeted) Read(p []byte) (int, error) {
	if n, err := g.greeting.Read(p); err == nil {
		return n, nil
	}
	return g.Conn.Read(p)
}
