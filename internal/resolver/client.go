package resolver

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/dns"
)

const (
	// DefaultTimeout is how long one server may take for one try.
	DefaultTimeout = 2 * time.Second
	// defaultRounds is how often the list of servers is gone through.
	defaultRounds = 2
	// defaultInflight bounds the sockets open at once. Questions outlive a
	// message that left, so sessions do not bound them.
	defaultInflight = 512
	// maxRestarts bounds the questions one lookup may become because its alias
	// chain left the answer.
	maxRestarts = 4
	// penalty is how long a server that kept silent is asked last.
	penalty = 10 * time.Second
)

var (
	errNoServer = errors.New("resolver: every server failed")
	errPanic    = errors.New("resolver: panic during a lookup")
	errClosed   = errors.New("resolver: closed")
)

// ClientConfig configures a Client; the zero value asks the system's servers.
type ClientConfig struct {
	// Servers are tried in order: IP addresses, with or without port. Empty
	// means those of /etc/resolv.conf.
	Servers []string
	Timeout time.Duration // one try at one server; 0 means DefaultTimeout
	Rounds  int           // times the list is gone through; 0 means 2
	// Inflight bounds the queries under way, hence the sockets; 0 means 512.
	Inflight int
	// Dial opens the socket for one query, net.Dialer if nil.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Metrics counts queries; nil counts nothing.
	Metrics *Metrics
}

// Client is a stub resolver that asks recursive servers. It keeps nothing but
// which server fell silent.
type Client struct {
	servers []*server
	timeout time.Duration
	rounds  int
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	metrics *Metrics
	slots   chan struct{}
	start   time.Time // of the monotonic clock penalties are on
	buffers sync.Pool
}

// server is one upstream and what is remembered of it.
type server struct {
	addr      string
	badBefore atomic.Int64 // nanoseconds since Client.start; asked last until then
}

// NewClient returns a Client. It fails on a server that is no address and on
// an unreadable resolv.conf.
func NewClient(cfg ClientConfig) (*Client, error) {
	addrs, err := serverAddrs(cfg.Servers)
	if err != nil {
		return nil, err
	}
	c := &Client{timeout: cfg.Timeout, rounds: cfg.Rounds, dial: cfg.Dial, metrics: cfg.Metrics, start: time.Now()}
	for _, a := range addrs {
		c.servers = append(c.servers, &server{addr: a})
	}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.rounds <= 0 {
		c.rounds = defaultRounds
	}
	if cfg.Inflight <= 0 {
		cfg.Inflight = defaultInflight
	}
	c.slots = make(chan struct{}, cfg.Inflight)
	if c.dial == nil {
		c.dial = new(net.Dialer).DialContext
	}
	c.buffers.New = func() any {
		b := make([]byte, readSize)
		return &b
	}
	return c, nil
}

// Servers returns the addresses asked, in the order configured.
func (c *Client) Servers() []string {
	out := make([]string, len(c.servers))
	for i, s := range c.servers {
		out[i] = s.addr
	}
	return out
}

// Lookup implements [dns.Resolver]. An alias chain that leaves the answer is
// followed with further questions.
func (c *Client) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	ttl, authenticated, ask := time.Duration(math.MaxInt64), true, name
	for range maxRestarts {
		r, err := c.resolve(ctx, ask, typ)
		if err != nil {
			err.Name = name
			return dns.Answer{}, err
		}
		ttl = min(ttl, r.answer.TTL)
		authenticated = authenticated && r.answer.Authenticated
		if !r.follow {
			r.answer.Name, r.answer.TTL, r.answer.Authenticated = name, ttl, authenticated
			return r.answer, nil
		}
		ask = r.answer.Canonical
	}
	return dns.Answer{}, question{name: name, typ: typ}.fail(dns.KindMalformed, errChain)
}

// resolve asks one server after the other until one answers. A server that
// said SERVFAIL or REFUSED has answered: it is not asked again (RFC 9520 §3.1).
func (c *Client) resolve(ctx context.Context, name dns.Name, typ dns.Type) (reply, *dns.Error) {
	q := question{name: name, typ: typ}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return reply{}, q.fail(contextKind(ctx), ctx.Err())
	}
	last := q.fail(dns.KindServFail, errNoServer)
	candidates := c.order()
	for range c.rounds {
		again := candidates[:0]
		for _, s := range candidates {
			if ended(ctx) {
				return reply{}, q.fail(contextKind(ctx), context.Cause(ctx))
			}
			begin := time.Now()
			r, err := c.ask(ctx, s.addr, name, typ)
			c.settle(ctx, s, typ, r, err, time.Since(begin))
			if err == nil {
				r.answer.Server = s.addr
				return r, nil
			}
			err.Server, last = s.addr, err
			if err.Kind == dns.KindTimeout || err.Kind == dns.KindNetwork {
				again = append(again, s)
			}
		}
		candidates = again
	}
	return reply{}, last
}

// settle remembers and counts how a try ended. A try that its caller ended
// says nothing about the server.
func (c *Client) settle(ctx context.Context, s *server, typ dns.Type, r reply, err *dns.Error, took time.Duration) {
	switch {
	case err == nil:
		s.badBefore.Store(0)
	case ended(ctx):
		return
	case err.Kind == dns.KindTimeout || err.Kind == dns.KindNetwork:
		s.badBefore.Store(int64(time.Since(c.start) + penalty))
	}
	c.observe(typ, resultOf(r, err), took)
}

// order returns the servers as configured, those lately silent last.
func (c *Client) order() []*server {
	now := int64(time.Since(c.start))
	out := make([]*server, 0, len(c.servers))
	var silent []*server
	for _, s := range c.servers {
		if s.badBefore.Load() > now {
			silent = append(silent, s)
		} else {
			out = append(out, s)
		}
	}
	return append(out, silent...)
}

func (c *Client) observe(typ dns.Type, r Result, took time.Duration) {
	c.metrics.query(typ, r, took)
}

// ended reports whether the caller's time is up. Sockets keep his deadline on
// their own and may notice a moment before his context does.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || (ok && time.Until(deadline) <= 0)
}

// contextKind is the failure of a caller whose context ended.
func contextKind(ctx context.Context) dns.ErrorKind {
	if errors.Is(ctx.Err(), context.Canceled) {
		return dns.KindCanceled
	}
	return dns.KindTimeout
}

// transportKind is the failure behind an error of the network.
func transportKind(ctx context.Context, err error) dns.ErrorKind {
	if ended(ctx) {
		return contextKind(ctx)
	}
	var ne net.Error
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &ne) && ne.Timeout()) {
		return dns.KindTimeout
	}
	return dns.KindNetwork
}
