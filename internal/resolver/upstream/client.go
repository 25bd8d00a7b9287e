// Package upstream asks the recursive servers that are configured: a [Client]
// picks one, puts the question to it over UDP, TCP or TLS, as package dnswire
// writes it, remembers how each server behaves, and counts it in [Metrics]. It
// keeps no answer; that is left to the cache of package resolver, which is in
// front of it and through which the rest of the daemon asks.
//
// The client trusts no packet: a new socket, a random ID and, to other hosts,
// random letter case for every query, and what is not the answer to its
// question is ignored (RFC 5452). What DNSSEC can add is left to the recursive
// server, whose AD bit is passed on where nobody can have changed it.
package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
)

const (
	// DefaultTimeout is how long one server may take for one try.
	DefaultTimeout = 2 * time.Second
	// defaultRounds is how often the list of servers is gone through.
	defaultRounds = 2
	// MaxInflight bounds the sockets open at once. Questions outlive a
	// message that left, so sessions do not bound them.
	MaxInflight = 512
	// maxRestarts bounds the questions one lookup may become because its alias
	// chain left the answer.
	maxRestarts = 4
)

// Errors say "resolver", here and in all of the package: to who reads them the
// cache and what is behind it are one.
var (
	errNoServer = errors.New("resolver: every server failed")
	errPanic    = errors.New("resolver: panic during a lookup")
	errClosed   = errors.New("resolver: closed")
)

// ClientConfig configures a Client; the zero value asks the system's servers.
type ClientConfig struct {
	// Servers are tried the best first: IP addresses, with or without port, or
	// tls://ADDRESS[:PORT][#NAME] for one that is asked over TLS and has a
	// certificate for NAME, or else for the address. Empty means those of
	// ResolvConf, which is read again when it changes.
	Servers []string
	// ResolvConf is the file that names the system's servers; "" means
	// /etc/resolv.conf.
	ResolvConf string
	// OnServers is told of a change of ResolvConf, in the background: the
	// servers asked from now on or, with an error, still. May be nil.
	OnServers func(servers []string, err error)
	Timeout   time.Duration // one try at one server; 0 means DefaultTimeout
	// Hedge is how long the first server may take before the second is asked
	// as well; 0, or a single server, means that it never is.
	Hedge time.Duration
	// Dial opens the socket for one query, net.Dialer if nil.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TrustAD passes on the AD bit of servers on other hosts too: whoever can
	// forge their answers forges it as well.
	TrustAD bool
	// RootCAs are who may sign certificates; nil means the system's.
	RootCAs *x509.CertPool
	// Metrics counts queries; nil counts nothing.
	Metrics *Metrics
	// OnPanic is told of a panic, on the goroutine it happened on; the try
	// fails as malformed. May be nil.
	OnPanic func(recovered any)

	rounds   int // for tests; 0 means defaultRounds
	inflight int // for tests; 0 means MaxInflight
}

// Client is a stub resolver that asks recursive servers. It keeps nothing but
// how each has behaved. Close ends it.
type Client struct {
	dns.LookupOnly
	servers  atomic.Pointer[[]*server]
	timeout  time.Duration
	rounds   int
	hedge    time.Duration
	dial     dialer
	reserved *reserve // of descriptors; nil if cfg.Dial opens the sockets
	metrics  *Metrics
	onPanic  func(any)
	slots    chan struct{}
	start    time.Time // of the monotonic clock of everything remembered
	buffers  sync.Pool

	base context.Context // of what goes on in the background
	stop context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// NewClient returns a Client. It fails on a server that is no address and on
// an unreadable resolv.conf.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = ResolvConf
	}
	servers, err := configuredServers(cfg)
	if err != nil {
		return nil, err
	}
	c := &Client{
		timeout: cfg.Timeout, rounds: cfg.rounds, hedge: cfg.Hedge, dial: cfg.Dial,
		metrics: cfg.Metrics, onPanic: cfg.OnPanic, start: time.Now(),
	}
	c.use(servers, cfg)
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.rounds <= 0 {
		c.rounds = defaultRounds
	}
	if cfg.inflight <= 0 {
		cfg.inflight = MaxInflight
	}
	c.slots = make(chan struct{}, cfg.inflight)
	if c.dial == nil {
		c.reserved = newReserve(new(net.Dialer).DialContext)
		c.dial = c.reserved.dial
	}
	c.buffers.New = func() any {
		b := make([]byte, readSize)
		return &b
	}
	c.base, c.stop = context.WithCancel(context.Background())
	c.metrics.watch(c)
	if len(cfg.Servers) == 0 {
		c.background(func(ctx context.Context) { c.follow(ctx, cfg, servers) })
	}
	return c, nil
}

// list returns the servers asked now, in the order configured.
func (c *Client) list() []*server { return *c.servers.Load() }

// Close ends what goes on in the background and waits for it. Lookups under
// way are ended by their contexts.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.work.Wait()
	if c.reserved != nil {
		c.reserved.close()
	}
}

// background runs f until Close, and reports whether it does.
func (c *Client) background(f func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(func() { f(c.base) })
	return true
}

// now is never 0, which stands for never.
func (c *Client) now() time.Duration { return time.Since(c.start) + 1 }

// Servers returns the addresses asked, in the order configured.
func (c *Client) Servers() []string {
	list := c.list()
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.addr
	}
	return out
}

// Show makes the metrics show c's servers. They show those of the Client made
// last, which may not have come into use.
func (c *Client) Show() { c.metrics.watch(c) }

// Lookup implements [dns.Resolver]. An alias chain that leaves the answer is
// followed with further questions.
func (c *Client) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	ttl, authenticated, ask := time.Duration(math.MaxInt64), true, name
	asked := make([]dns.Name, 0, maxRestarts)
	kind := dns.KindTooLarge
	for range maxRestarts {
		if slices.Contains(asked, ask) {
			kind = dns.KindLoop
			break
		}
		asked = append(asked, ask)
		r, err := c.resolve(ctx, ask, typ)
		if err != nil {
			err.Name = name
			return dns.Answer{}, err
		}
		ttl = min(ttl, r.Answer.TTL)
		authenticated = authenticated && r.Answer.Authenticated
		if !r.Follow {
			r.Answer.Name, r.Answer.TTL, r.Answer.Authenticated = name, ttl, authenticated
			return r.Answer, nil
		}
		ask = r.Answer.Canonical
	}
	return dns.Answer{}, dnswire.Question{Name: name, Type: typ}.Fail(kind, dnswire.ErrChain)
}

// outcome is how a try at a server ended.
type outcome struct {
	server *server
	reply  dnswire.Reply
	err    *dns.Error
}

// resolve asks one server after the other until one answers. A server that
// said SERVFAIL or REFUSED has answered: it is not asked again (RFC 9520 §3.1).
// An answer that nobody can use is an answer: other servers know no other.
func (c *Client) resolve(ctx context.Context, name dns.Name, typ dns.Type) (dnswire.Reply, *dns.Error) {
	q, err := dnswire.NewQuestion(name, typ)
	if err != nil {
		return dnswire.Reply{}, q.Fail(dns.KindMalformed, err)
	}
	select {
	case c.slots <- struct{}{}:
		defer c.giveSocketBack()
	case <-ctx.Done():
		return dnswire.Reply{}, q.Fail(dns.ContextKind(ctx.Err()), ctx.Err())
	}
	last := q.Fail(dns.KindServFail, errNoServer)
	candidates := c.order()
	c.sample(candidates[0], q)
	for range c.rounds {
		var again []*server
		for len(candidates) > 0 {
			if ended(ctx) {
				return dnswire.Reply{}, q.Fail(dns.ContextKind(ctx.Err()), context.Cause(ctx))
			}
			outcomes := c.next(ctx, q, candidates)
			candidates = candidates[len(outcomes):]
			for _, o := range outcomes {
				if o.err == nil || o.err.Permanent() {
					return o.reply, o.err
				}
				if last = o.err; unanswered(o.err) {
					again = append(again, o.server)
				}
			}
		}
		candidates = again
	}
	return dnswire.Reply{}, last
}

// next asks the first of the candidates, perhaps the second as well, and
// returns what became of each.
func (c *Client) next(ctx context.Context, q dnswire.Question, candidates []*server) []outcome {
	if c.hedge > 0 && len(candidates) > 1 {
		return c.hedged(ctx, q, candidates[0], candidates[1])
	}
	return []outcome{c.try(ctx, candidates[0], q)}
}

// reserve takes room for one more socket if there is any.
func (c *Client) tryTakeSocket() bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (c *Client) giveSocketBack() { <-c.slots }

// try asks s once, and remembers and counts how that ended. What the caller
// ended says nothing about the server.
func (c *Client) try(ctx context.Context, s *server, q dnswire.Question) outcome {
	begin := time.Now()
	r, err := c.safeAsk(ctx, s, q)
	took := time.Since(begin)
	switch {
	case err == nil || err.Permanent(): // of a name nobody can use; the server is well
		r.Answer.Server = s.addr
		s.health.good(took, c.now())
	case ended(ctx):
		return outcome{server: s, err: err}
	case unanswered(err):
		s.health.silent()
		c.probe(s)
	default:
		s.health.spoke(c.now(), false)
	}
	if err != nil {
		err.Server = s.addr
	}
	c.observe(q.Type, resultOf(r, err), took)
	return outcome{server: s, reply: r, err: err}
}

// safeAsk is ask whose panics are failures: tries run on goroutines of ours,
// where nothing else would stand between a panic and the end of the process.
func (c *Client) safeAsk(ctx context.Context, s *server, q dnswire.Question) (r dnswire.Reply, err *dns.Error) {
	defer func() {
		if p := recover(); p != nil {
			if c.onPanic != nil {
				c.onPanic(p)
			}
			r, err = dnswire.Reply{}, q.Fail(dns.KindMalformed, fmt.Errorf("%w: %v", errPanic, p))
		}
	}()
	return c.ask(ctx, s, q)
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

// transportKind is the failure behind an error of the network.
func transportKind(ctx context.Context, err error) dns.ErrorKind {
	if ended(ctx) {
		return dns.ContextKind(ctx.Err())
	}
	var ne net.Error
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &ne) && ne.Timeout()) {
		return dns.KindTimeout
	}
	return dns.KindNetwork
}
