package client

import (
	"bufio"
	"time"
)

// bufferSize is twice the segment size of a loopback connection, which is what
// Postfix takes (vstream_tweak_tcp).
const bufferSize = 128 << 10

// Buffer makes the client collect what it sends until it waits for an answer,
// as Postfix's streams do, so that a burst of events is one write. Until then
// the milter sees nothing of it. It comes before Negotiate.
func (c *Client) Buffer() { c.bw = bufio.NewWriterSize(deadlineWriter{c}, bufferSize) }

// Flush sends what Buffer has collected.
func (c *Client) Flush() error {
	if c.bw == nil {
		return nil
	}
	return c.bw.Flush()
}

// deadlineWriter writes to the connection, each time with a new deadline.
type deadlineWriter struct{ c *Client }

func (w deadlineWriter) Write(p []byte) (int, error) {
	if err := w.c.nc.SetWriteDeadline(time.Now().Add(w.c.Timeout)); err != nil {
		return 0, err
	}
	return w.c.nc.Write(p)
}
