package consent

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"sekimori/internal/policy"
)

const (
	// maxConnections is how many lookups run at a time. Each has a connection
	// of its own, because a server answers the questions on one connection one
	// after the other. Connections are kept.
	maxConnections = 8
	// After maxSilent lookups in a row without any answer, lookups fail at once
	// for pauseAfter: messages must not each wait for a server that is gone.
	maxSilent  = 3
	pauseAfter = time.Second
	// sayAfter is the least time between two warnings. Without it a stranger
	// could fill the log, by one recipient that provokes a failure and another
	// that does not.
	sayAfter = time.Minute
)

// Target is the address of a socketmap's server and the name of the map there.
type Target struct{ Network, Address, Name string }

// ParseSocketmap reads "unix:/path:NAME" or "inet:host:port:NAME", the forms
// that Postfix has after "socketmap:".
func ParseSocketmap(s string) (Target, error) {
	bad := fmt.Errorf("consent: %q is not a socketmap; write unix:/path:NAME or inet:host:port:NAME", s)
	scheme, rest, _ := strings.Cut(s, ":")
	i := strings.LastIndexByte(rest, ':')
	if i < 1 || i == len(rest)-1 || strings.ContainsAny(rest, " \t\r\n\x00") {
		return Target{}, bad
	}
	t := Target{Address: rest[:i], Name: rest[i+1:]}
	switch scheme {
	case "unix":
		t.Network = "unix"
		if t.Address[0] != '/' {
			return Target{}, bad
		}
	case "inet":
		t.Network = "tcp"
		if host, port, err := net.SplitHostPort(t.Address); err != nil || host == "" || port == "" {
			return Target{}, bad
		}
	default:
		return Target{}, bad
	}
	return t, nil
}

// socketmap is the client of one map.
type socketmap struct {
	target  Target
	timeout time.Duration
	log     *slog.Logger
	// slots has maxConnections values: a connection, or nil for one that is not
	// open.
	slots chan *conn

	mu     sync.Mutex
	closed bool
	silent int // lookups in a row without an answer
	paused time.Time
	failed bool // the last record in the log says that lookups fail
	said   time.Time
}

type conn struct {
	net.Conn
	in *bufio.Reader
}

func newSocketmap(t Target, timeout time.Duration, log *slog.Logger) *socketmap {
	m := &socketmap{target: t, timeout: timeout, log: log, slots: make(chan *conn, maxConnections)}
	for range maxConnections {
		m.slots <- nil
	}
	return m
}

var (
	errPaused = errors.New("consent: the socketmap failed before and is left alone for a moment")
	errClosed = errors.New("consent: closed")
	errBusy   = errors.New("consent: every connection to the socketmap is busy")
)

// lookup asks for one key. found is false if the map does not know it.
func (m *socketmap) lookup(ctx context.Context, key string) (c policy.Class, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	if err := cmp.Or(ctx.Err(), m.admit()); err != nil {
		return "", false, err
	}
	reply, err := m.exchange(ctx, key)
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return "", false, context.Canceled // the message is gone, which says nothing about the server
	}
	answered := err == nil
	if answered {
		c, found, err = parseReply(reply)
	}
	m.note(answered, err)
	return c, found, err
}

// admit returns an error while the server is left alone, and after close.
func (m *socketmap) admit() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return errClosed
	case m.silent >= maxSilent && time.Now().Before(m.paused):
		return errPaused
	}
	return nil
}

// note counts lookups without an answer, and logs where failures begin and end,
// at a bounded rate.
//
// Two failures do not lead to a pause. An answer that reports a failure does
// not, because a stranger may know the recipient that provokes it. A lookup
// whose turn never came does not either: a stranger may have filled the queue,
// and a pause would make every recipient count as opted out.
func (m *socketmap) note(answered bool, err error) {
	m.mu.Lock()
	switch {
	case answered:
		m.silent = 0
	case !errors.Is(err, errBusy):
		if m.silent++; m.silent >= maxSilent {
			m.paused = time.Now().Add(pauseAfter)
		}
	}
	before, now := m.failed, time.Now()
	if err != nil && !before && now.Sub(m.said) >= sayAfter {
		m.failed, m.said = true, now
	} else if err == nil {
		m.failed = false
	}
	after := m.failed
	m.mu.Unlock()
	switch {
	case after && !before:
		m.log.Warn("recipients' consent cannot be looked up: they count as opted out", "socketmap", m.target.Name, "error", err)
	case before && !after:
		m.log.Info("recipients' consent can be looked up again", "socketmap", m.target.Name)
	}
}

// exchange sends the question and reads the answer.
func (m *socketmap) exchange(ctx context.Context, key string) (string, error) {
	var c *conn
	select {
	case c = <-m.slots:
	case <-ctx.Done():
		return "", errBusy
	}
	defer func() { m.release(c) }()
	for reused := c != nil; ; reused = false {
		if c == nil {
			fresh, err := m.dial(ctx)
			if err != nil {
				return "", err
			}
			c = fresh
		}
		reply, err := c.roundTrip(ctx, m.target.Name+" "+key)
		if err == nil {
			return reply, nil
		}
		_ = c.Close()
		c = nil
		// A server may have closed an idle connection, which shows only now.
		if !reused || ctx.Err() != nil || errors.Is(err, errNetstring) {
			return "", err
		}
	}
}

func (m *socketmap) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, m.target.Network, m.target.Address)
	if err != nil {
		return nil, fmt.Errorf("consent: %w", err)
	}
	return &conn{nc, bufio.NewReader(nc)}, nil
}

// release puts back a connection, or nil for one that is not open.
func (m *socketmap) release(c *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed && c != nil {
		_ = c.Close()
		c = nil
	}
	m.slots <- c // never blocks: the value was taken from this channel
}

// close closes the idle connections; release closes the others.
func (m *socketmap) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	idle := len(m.slots)
	for range idle {
		if c := <-m.slots; c != nil {
			_ = c.Close()
		}
	}
	for range idle {
		m.slots <- nil
	}
}

var errUnasked = errors.New("consent: the socketmap answers more than it was asked")

// roundTrip sends a question and reads the answer. It fails when ctx ends.
func (c *conn) roundTrip(ctx context.Context, question string) (string, error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return "", fmt.Errorf("consent: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	reply, err := c.ask(question)
	if !stop() && err == nil {
		err = ctx.Err() // the function above may still set the deadline, so the connection cannot be used again
	}
	return reply, err
}

func (c *conn) ask(question string) (string, error) {
	if _, err := c.Write(appendNetstring(nil, question)); err != nil {
		return "", fmt.Errorf("consent: %w", err)
	}
	reply, err := readNetstring(c.in)
	if err == nil && c.in.Buffered() > 0 {
		err = errUnasked // the surplus would be taken for the next answer
	}
	return reply, err
}
