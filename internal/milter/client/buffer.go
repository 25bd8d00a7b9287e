package client

import (
	"bufio"
	"time"
)

// bufferSize is twice the segment size of a loopback connection, as in Postfix
// (vstream_tweak_tcp).
const bufferSize = 128 << 10

// Buffer makes the client collect its frames and send them in one write when it waits for an
// answer, as Postfix does. Until then the milter does not see them. Call Buffer before
// Negotiate.
func (c *Client) Buffer() { c.bw = bufio.NewWriterSize(deadlineWriter{c}, bufferSize) }

// Flush sends the frames that the client has collected since the last write. It is only needed
// after Buffer.
func (c *Client) Flush() error {
	if c.bw == nil {
		return nil
	}
	return c.bw.Flush()
}

// deadlineWriter writes to the connection of c. Each write gets the full Timeout.
type deadlineWriter struct{ c *Client }

func (w deadlineWriter) Write(p []byte) (int, error) {
	if err := w.c.nc.SetWriteDeadline(time.Now().Add(w.c.Timeout)); err != nil {
		return 0, err
	}
	return w.c.nc.Write(p)
}
