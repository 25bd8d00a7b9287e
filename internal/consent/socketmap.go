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
	// maxConnections is the maximum number of lookups at the same time. Each
	// lookup uses a connection of its own, because a server answers the
	// questions on one connection one after the other. Connections stay open
	// for later lookups.
	maxConnections = 8
	// After maxSilent lookups in a row without any answer, all lookups fail
	// immediately for the time pauseAfter. Otherwise each message would wait
	// for a server that is down.
	maxSilent  = 3
	pauseAfter = time.Second
	// sayAfter is the shortest time between two warnings in the log. Without it
	// a stranger could fill the log: by sending alternately to a recipient
	// whose lookup fails and to one whose lookup succeeds.
	sayAfter = time.Minute
)

// Target is the address of a socketmap server and the name of the map. Network
// and Address are arguments for net.Dial.
type Target struct{ Network, Address, Name string }

// ParseSocketmap parses "unix:/path:NAME" or "inet:host:port:NAME". Postfix
// uses the same forms after "socketmap:".
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

// socketmap is a client that asks a server for keys of one map.
type socketmap struct {
	target  Target
	timeout time.Duration
	log     *slog.Logger
	// slots holds the connections that are not in use. It begins with
	// maxConnections values. A lookup takes one of them and puts one back. nil
	// stands for a connection that still has to be opened.
	slots chan *conn

	mu     sync.Mutex
	closed bool
	silent int // number of lookups in a row without an answer
	paused time.Time
	failed bool // the last log record said that lookups fail
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

// lookup asks the server for one key. found is false if the map does not have
// the key.
func (m *socketmap) lookup(ctx context.Context, key string) (c policy.Class, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	if err := cmp.Or(ctx.Err(), m.admit()); err != nil {
		return "", false, err
	}
	reply, err := m.exchange(ctx, key)
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return "", false, context.Canceled // the message has ended; this does not count as a failure of the server
	}
	answered := err == nil
	if answered {
		c, found, err = parseReply(reply)
	}
	m.note(answered, err)
	return c, found, err
}

// admit returns an error during a pause (see maxSilent), and after close.
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

// note records the outcome of a lookup. It counts lookups without an answer,
// and begins a pause when there were too many in a row. It also logs when
// lookups begin to fail and when they succeed again, with at most one warning
// in the time sayAfter.
//
// Two kinds of failure do not lead to a pause, because a stranger could provoke
// them, and during a pause every recipient counts as opted out. One is an
// answer that reports a failure: the stranger may know a recipient that leads
// to such an answer. The other is a lookup that ended before a connection was
// free: the stranger may have started enough lookups to keep all connections
// busy.
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

// exchange takes a connection from slots, or opens one, sends the question and
// reads the answer. If an open connection turns out to be broken, it tries once
// more with a new one.
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
		// The server may have closed the idle connection. That is only noticed
		// when the connection is used again, so try a new one.
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

// release puts a connection back into slots. c is nil if the connection was
// closed.
func (m *socketmap) release(c *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed && c != nil {
		_ = c.Close()
		c = nil
	}
	m.slots <- c // does not block, because exchange took a value from this channel before
}

// close closes the connections that are not in use. The others are closed by
// release.
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

// roundTrip sends a question and reads the answer. It returns an error if ctx
// ends before the answer is there.
func (c *conn) roundTrip(ctx context.Context, question string) (string, error) {
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline) // a connection that takes no deadline is closed, and ask fails
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	reply, err := c.ask(question)
	if !stop() && err == nil {
		err = ctx.Err() // ctx ended just now, and the function above may set the deadline at any moment, so the connection cannot be used again
	}
	return reply, err
}

func (c *conn) ask(question string) (string, error) {
	if _, err := c.Write(appendNetstring(nil, question)); err != nil {
		return "", fmt.Errorf("consent: %w", err)
	}
	reply, err := readNetstring(c.in)
	if err == nil && c.in.Buffered() > 0 {
		err = errUnasked // the extra octets would be read as the answer to the next question
	}
	return reply, err
}
