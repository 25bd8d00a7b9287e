package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"

	"sekimori/internal/resolver/dnswire"
)

// maxPipelined bounds the queries that run at the same time on one TLS connection. Further queries
// wait. Servers delay clients that send more, or close the connection.
const maxPipelined = 64

// secure is a server that is asked over TLS (RFC 7858) and never in plain text. It has at most one
// connection, which is opened when it is needed and closed after it was idle for some time.
type secure struct {
	addr   string
	config *tls.Config
	slots  chan struct{}

	mu      sync.Mutex
	current *stream  // nil before the first connection was opened
	opening *opening // nil unless a connection is being opened
}

// opening is a connection that is being opened. stream and err are set before done is closed.
type opening struct {
	done   chan struct{}
	stream *stream
	err    error
}

// newSecure returns the server at addr. Its certificate must be valid for name. If roots is nil,
// the certificate authorities of the system are trusted.
func newSecure(addr, name string, roots *x509.CertPool) *secure {
	return &secure{
		addr: addr, slots: make(chan struct{}, maxPipelined),
		config: &tls.Config{ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)},
	}
}

// exchange sends q on the current connection. If there is none, it opens one. A server may close
// its connection at any time. A query that fails on a connection that had worked before is
// therefore sent once more, on a new connection.
func (s *secure) exchange(ctx context.Context, c *Client, q dnswire.Query) (answered, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return answered{}, ctx.Err()
	}
	for first := true; ; first = false {
		st, err := s.connection(ctx, c)
		if err != nil {
			return answered{}, err
		}
		a, again, err := st.exchange(ctx, q, c.timeout)
		if !again || !first {
			return a, err
		}
	}
}

// connection returns the current connection, or opens one. The opening goes on if ctx ends, because
// other queries may wait for the connection too.
func (s *secure) connection(ctx context.Context, c *Client) (*stream, error) {
	s.mu.Lock()
	if s.current != nil && !s.current.closed() {
		defer s.mu.Unlock()
		return s.current, nil
	}
	o := s.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		if !c.background(func(base context.Context) { s.open(base, c, o) }) {
			s.mu.Unlock()
			return nil, errClosed
		}
		s.opening = o
	}
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.stream, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open opens a connection and reads from it until it is closed.
func (s *secure) open(base context.Context, c *Client, o *opening) {
	o.stream, o.err = s.dial(base, c)
	c.metrics.connected(o.err == nil)
	s.mu.Lock()
	s.current, s.opening = o.stream, nil
	s.mu.Unlock()
	close(o.done)
	if o.err != nil {
		return
	}
	stop := context.AfterFunc(base, func() { o.stream.close(errClosed) })
	defer stop()
	o.stream.read(func() { c.observe(0, ResultMalformed, 0) })
}

func (s *secure) dial(ctx context.Context, c *Client) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	raw, err := c.dial(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, s.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("resolver: TLS with %s as %s: %w", s.addr, s.config.ServerName, err)
	}
	return newStream(conn, raw), nil
}
