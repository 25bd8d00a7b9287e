package bounce

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// gate is a listener that bounds the number of connections, and knows which of them have a message.
type gate struct {
	net.Listener
	mu      sync.Mutex
	conns   map[*conn]bool // the connections that are open
	closing bool
	empty   chan struct{} // closed when closing is true and the last connection has ended
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		raw, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		full := len(g.conns) >= maxConns
		c := &conn{Conn: raw, gate: g, end: time.Now().Add(maxSession)}
		if !full {
			g.conns[c] = true
		}
		g.mu.Unlock()
		if !full {
			return c, nil
		}
		// The few octets fit into the buffer of the socket, so this does not wait.
		_ = raw.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = raw.Write([]byte("421 4.3.2 Too many connections\r\n"))
		_ = raw.Close()
	}
}

// drain closes the connections: those without a message at once, and the others when the message has ended. It returns when all
// are closed, or after limit.
func (g *gate) drain(limit time.Duration) {
	g.mu.Lock()
	g.closing = true
	for c := range g.conns {
		if !c.busy {
			_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // the server says 421 and closes
		}
	}
	if len(g.conns) == 0 {
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-g.empty:
	case <-timer.C:
	}
}

// conn is a connection whose lifetime is bounded.
type conn struct {
	net.Conn
	gate *gate
	end  time.Time
	busy bool // between MAIL and the end of the transaction; guarded by gate.mu
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	switch {
	case c.gate.closing && !c.busy:
		t = time.Unix(1, 0)
	case t.After(c.end):
		t = c.end
	}
	return c.Conn.SetReadDeadline(t)
}

// Write implements net.Conn. go-smtp goes on after an error, so Write ends the connection.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Conn.Close()
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	g := c.gate
	g.mu.Lock()
	if g.conns[c] {
		delete(g.conns, c)
		if g.closing && len(g.conns) == 0 {
			close(g.empty)
		}
	}
	g.mu.Unlock()
	return c.Conn.Close()
}

func (c *conn) begin() { c.set(true) }

func (c *conn) finish() { c.set(false) }

func (c *conn) set(busy bool) {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.busy = busy
}

// panicLog passes on what go-smtp says about panics. All else that it says is about lost connections.
type panicLog struct{ log *slog.Logger }

// Printf implements smtp.Logger.
func (l panicLog) Printf(format string, args ...any) {
	if strings.HasPrefix(format, "panic") {
		l.log.Error("the server of bounces failed", "error", fmt.Sprintf(format, args...))
	}
}

// Println implements smtp.Logger.
func (panicLog) Println(...any) {}
