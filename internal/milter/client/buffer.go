package client

import (
	"bufio"
	"time"
)

// bufferSize is twice the segment size of a loopback connection, as in Postfix
// (vstream_tweak_tcp).
const bufferSize = 128 << 10

// Buffer makes the client collect its frames until it waits for an answer, as the streams of
// Postfix do, so that several events take one write. The milter does not see the frames
// before that. Call Buffer before Negotiate.
func (c *Client) Buffer() { c.bw = bufio.NewWriterSize(deadlineWriter{c}, bufferSize) }

// Flush sends the frames that Buffer has the client collect.
func (c *Client) Flush() error {
	if c.bw == nil {
		return nil
	}
	return c.bw.Flush()
}

// deadlineWriter writes to the connection. Each write has a new deadline.
type deadlineWriter struct{ c *Client }

func (w deadlineWriter) Write(p []byte) (int, error) {
	if err := w.c.nc.SetWriteDeadline(time.Now().Add(w.c.Timeout)); err != nil {
		return 0, err
	}
	return w.c.nc.Write(p)
}
