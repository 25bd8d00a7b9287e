// Package upstream asks the configured recursive DNS servers. A [Client] picks a server, sends it a
// question over UDP, TCP or TLS in the form that package dnswire writes, remembers how each server
// behaves, and counts queries in [Metrics]. It stores no answers: package resolver has a cache in
// front of the client, and the rest of the daemon asks that cache.
//
// The client does not trust packets. Each query has a random ID and, unless the server is on this
// host, random letter case. A socket with its random port serves one query at a time, and only a few
// queries in total (see maxUses). Packets that do not answer the question are ignored (RFC 5452).
// The client does not validate DNSSEC. It returns the AD bit of the recursive server, if nobody on
// the way can have changed it.
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
	// DefaultTimeout is the default of ClientConfig.Timeout.
	DefaultTimeout = 2 * time.Second
	// defaultRounds is how often a server is tried at most in one lookup.
	defaultRounds = 2
	// MaxInflight bounds the number of open sockets, including idle ones. (The socket of a probe is
	// not counted.) The number of milter sessions does not bound the number of sockets, because a
	// query may go on after its message has ended.
	MaxInflight = 544
	// maxRestarts bounds the questions of one lookup. A lookup asks a further question if an alias
	// chain goes on outside the answer.
	maxRestarts = 4
)

// All errors of this package begin with "resolver", like those of the cache: an operator who reads
// an error need not know whether the client or the cache failed.
var (
	errPanic  = errors.New("resolver: panic during a lookup")
	errClosed = errors.New("resolver: closed")
)

// ClientConfig configures a Client; the zero value asks the system's servers.
type ClientConfig struct {
	// Servers are IP addresses with or without a port, or tls://ADDRESS[:PORT][#NAME] for a server
	// that is asked over TLS. Its certificate must be valid for NAME, or without NAME for the
	// address. The servers are tried in this order, except that servers that were slow or failed
	// come later. If Servers is empty, the servers in ResolvConf are asked, and that file is read
	// again every few seconds.
	Servers []string
	// ResolvConf is the file that names the system's servers; "" means
	// /etc/resolv.conf.
	ResolvConf string
	// OnServers is called in the background after a change of ResolvConf, with the servers that are
	// asked from now on. If err is not nil, the file could not be used, and the servers have not
	// changed. May be nil.
	OnServers func(servers []string, err error)
	Timeout   time.Duration // for one exchange of a query and an answer; 0 means DefaultTimeout
	// Hedge is how long the first server may take before the second server is asked as well. With
	// 0, or with only one server, no second server is asked in this way.
	Hedge time.Duration
	// Dial opens a socket; nil means net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TrustAD says that the AD bit of servers on other hosts is returned too. An attacker who can
	// forge the answers of such a server can forge that bit as well.
	TrustAD bool
	// RootCAs are the certificate authorities to trust; nil means those of the system.
	RootCAs *x509.CertPool
	// Metrics counts queries. With nil, nothing is counted.
	Metrics *Metrics
	// OnPanic is called after a panic, in the goroutine that panicked. The query then fails with
	// KindMalformed. May be nil.
	OnPanic func(recovered any)

	rounds   int // for tests; 0 means defaultRounds
	inflight int // for tests; 0 means MaxInflight
}

// Client is a stub resolver that asks recursive servers. It remembers only how each
// server has behaved. Close ends it.
type Client struct {
	dns.LookupOnly
	servers  atomic.Pointer[[]*server]
	timeout  time.Duration
	rounds   int
	hedge    time.Duration
	dial     dialer
	reserved *reserve // file descriptors in reserve; nil if cfg.Dial opens the sockets
	idle     pool     // UDP sockets that may be used again
	metrics  *Metrics
	onPanic  func(any)
	slots    chan struct{}
	start    time.Time // times of the client are durations since start, on the monotonic clock
	buffers  sync.Pool

	base context.Context // context of the work in the background
	stop context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// NewClient returns a Client. It fails if a server is not an IP address, or if
// resolv.conf is needed and cannot be read.
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
	c.idle.now = c.now
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
		c.reserved = newReserve(new(net.Dialer).DialContext, c.idle.spare)
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

// list returns the servers that are asked now, in the configured order.
func (c *Client) list() []*server { return *c.servers.Load() }

// Close ends the work in the background and waits for it. It does not end lookups: a lookup ends
// when its context ends.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.work.Wait()
	c.idle.close()
	if c.reserved != nil {
		c.reserved.close()
	}
}

// background runs f in a goroutine. Close ends its ctx and waits for it. After Close, background
// returns false and does not run f.
func (c *Client) background(f func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(func() { f(c.base) })
	return true
}

// now returns the time on the client's clock. It is never 0, because 0 means "never".
func (c *Client) now() time.Duration { return time.Since(c.start) + 1 }

// Servers returns the addresses of the servers, in the configured order.
func (c *Client) Servers() []string {
	list := c.list()
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.addr
	}
	return out
}

// Show makes the metrics show c's servers. A reload makes a new Client, whose servers the metrics
// show from then on. If the reload then fails, Show of the old Client undoes this.
func (c *Client) Show() { c.metrics.watch(c) }

// Lookup implements [dns.Resolver]. If an alias chain goes on outside the answer, Lookup asks
// further questions.
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

// outcome is the result of a try. A try is one question to one server, including its repetition
// over TCP or without EDNS.
type outcome struct {
	server *server
	reply  dnswire.Reply
	err    *dns.Error
}

// resolve asks one server after the other until one gives a definite answer. A server that said
// SERVFAIL or REFUSED is not asked again (RFC 9520 §3.1). A permanent failure ends the search too,
// because the other servers would return the same.
func (c *Client) resolve(ctx context.Context, name dns.Name, typ dns.Type) (dnswire.Reply, *dns.Error) {
	q, err := dnswire.NewQuestion(name, typ)
	if err != nil {
		return dnswire.Reply{}, q.Fail(dns.KindMalformed, err)
	}
	if !c.tryTakeSocket() {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return dnswire.Reply{}, q.Fail(dns.ContextKind(ctx.Err()), ctx.Err())
		}
	}
	defer c.giveSocketBack()
	var last *dns.Error
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
	return dnswire.Reply{}, last // not nil: there is a server, and it was asked
}

// next asks the first of the candidates, and with hedging perhaps the second as well. It returns
// the outcome of each server that was asked.
func (c *Client) next(ctx context.Context, q dnswire.Question, candidates []*server) []outcome {
	if c.hedge > 0 && len(candidates) > 1 {
		return c.hedged(ctx, q, candidates[0], candidates[1])
	}
	return []outcome{c.try(ctx, candidates[0], q)}
}

// tryTakeSocket counts one more open socket. It returns false if the limit is reached.
func (c *Client) tryTakeSocket() bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (c *Client) giveSocketBack() { <-c.slots }

// try asks s once, and records and counts the outcome. A try that ended because the caller's time
// was over is not recorded, because it says nothing about the server.
func (c *Client) try(ctx context.Context, s *server, q dnswire.Question) outcome {
	begin := time.Now()
	r, err := c.safeAsk(ctx, s, q)
	took := time.Since(begin)
	switch {
	case err == nil || err.Permanent(): // a permanent error comes from the published records; the server is healthy
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

// safeAsk calls ask and turns a panic into a failure. Some tries run in goroutines of the client,
// where a panic would end the process.
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

// ended reports whether the caller's time is over. It also checks the deadline, because a socket
// may reach its deadline a moment before the context does.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || (ok && time.Until(deadline) <= 0)
}

// transportKind returns the kind of failure for a network error.
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
