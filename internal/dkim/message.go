package dkim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
	"sekimori/internal/message"
)

// Message has the data that all signatures of one message share: the index of
// its header, the hashes of its body and the lookups of its keys. It is not safe
// for concurrent use.
type Message struct {
	cache   *Cache
	index   *fieldIndex // nil after Close
	body    bodyHashes
	lookups []*Lookup
	started int // lookups[:started] were started
	stops   []context.CancelFunc
	arrived chan struct{} // the channel of Verifier.Arrived; nil until a lookup runs in the background
	budget  budget
}

// init indexes a header, whose topmost field comes first.
func (m *Message) init(h message.Header, c *Cache) {
	m.cache, m.index, m.body.cache = c, c.index(h), c
	m.budget = budget{free: maxOperations * ordinaryWork}
}

// Header returns the header given to NewVerifier.
func (m *Message) Header() message.Header { return m.index.header }

// Named returns where in the header the fields called name are, beginning with
// the topmost. The name must be in lower case.
func (m *Message) Named(name string) []int { return m.index.appendNamed(nil, name) }

// Count returns the number of fields with this name.
func (m *Message) Count(name string) int { return m.index.count(name) }

// RelaxedField returns a field in relaxed canonical form with its CRLF. The
// result is shared and valid until Close.
func (m *Message) RelaxedField(field int) []byte { return m.index.relaxedField(field) }

// RelaxedUnsigned returns the field of a signature in relaxed canonical form
// with b= emptied and without CRLF, as the signature covers it (RFC 6376 §3.7).
func (m *Message) RelaxedUnsigned(p *Pending) []byte {
	f := m.index.header[p.Field]
	return appendRelaxedCut(nil, f.Name, f.Value, p.BSpan)
}

// WantBody asks for the body hash that p needs. It must be called before the
// first Write.
func (m *Message) WantBody(p *Pending) { m.body.want(p.BodyCanon, limitOf(&p.Params)) }

// Write takes the next octets of the body, as received, in any chunks. It
// never fails.
func (m *Message) Write(p []byte) (int, error) {
	m.body.write(p)
	return len(p), nil
}

// Lookup looks up the keys of one selector and domain.
type Lookup struct {
	Name    dns.Name // the name of the key record; "" if it would be too long
	asks    dns.Resolver
	cache   *Cache
	started bool
	done    chan struct{} // closed once keys and err are set; nil if Start has set them
	keys    []syntax.Key
	err     *Error
	memory  [1]syntax.Key // backing array of keys for the usual case of one key

	authenticated bool // says that the resolver validated the answer by DNSSEC
	givenUp       bool // wait returned before the lookup ended; only the caller of wait reads and writes it
}

// WantKey registers the key that p needs, so that the next Start looks it up.
// Signatures with the same selector and domain share one lookup.
func (m *Message) WantKey(p *Pending) { p.lookup = m.lookupOf(p.KeyName) }

// WantKeyAt registers a key by its domain and selector. Package msgauth uses it
// to find out whether a malformed signature has a key.
func (m *Message) WantKeyAt(domain, selector dns.Name) *Lookup {
	name, _ := syntax.KeyName(domain, selector) // "" if it is too long
	return m.lookupOf(name)
}

func (m *Message) lookupOf(name dns.Name) *Lookup {
	for _, l := range m.lookups { // there are few lookups, so a loop is cheaper than a map
		if l.Name == name && name != "" {
			return l
		}
	}
	l := &Lookup{Name: name, cache: m.cache}
	m.lookups = append(m.lookups, l)
	return l
}

// QueryNames returns the names that Start asks for or has asked for.
func (m *Message) QueryNames() []dns.Name {
	names := make([]dns.Name, len(m.lookups))
	for i, l := range m.lookups {
		names[i] = l.Name
	}
	return names
}

// maxParallelLookups is the maximum number of queries of one call of Start at the
// same time. A limit is needed because an ARC chain can name a hundred keys.
// Several calls of Start for one message do not share the limit.
const maxParallelLookups = 16

// Start begins the lookups that were registered since the last Start and returns
// at once. The lookups end when ctx is done or Close is called. A key that r
// knows without asking needs no goroutine.
func (m *Message) Start(ctx context.Context, r dns.Resolver) {
	fresh := m.lookups[m.started:]
	m.started = len(m.lookups)
	var todo []*Lookup
	for i, l := range fresh {
		l.started, l.asks = true, r
		if !l.peek(r) {
			if todo == nil {
				todo = make([]*Lookup, 0, len(fresh)-i)
			}
			l.done = make(chan struct{})
			todo = append(todo, l)
		}
	}
	if len(todo) == 0 {
		return
	}
	m.ask(ctx, r, todo)
}

// ask begins lookups in the background.
func (m *Message) ask(ctx context.Context, r dns.Resolver, todo []*Lookup) {
	if m.arrived == nil {
		m.arrived = make(chan struct{}, 1)
	}
	arrived := m.arrived
	ctx, stop := context.WithCancel(ctx)
	m.stops = append(m.stops, stop)
	workers := int64(min(len(todo), maxParallelLookups))
	var next, running atomic.Int64
	running.Store(workers)
	for range workers {
		go func() {
			defer func() {
				if running.Add(-1) == 0 {
					stop()
				}
			}()
			for {
				i := next.Add(1) - 1
				if i >= int64(len(todo)) {
					return
				}
				todo[i].run(ctx, r)
				select {
				case arrived <- struct{}{}:
				default: // the channel already has a value
				}
			}
		}()
	}
}

// Close ends the lookups and gives the memory back. Afterwards the Message must
// not be used, but Close may be called again.
func (m *Message) Close() {
	for _, stop := range m.stops {
		stop()
	}
	if m.index == nil {
		return
	}
	m.body.release()
	m.cache.reuseIndex(m.index)
	m.index = nil
}

// run looks the key up. It catches a panic, so that the daemon goes on, and
// always closes the channel "done", so that wait returns.
func (l *Lookup) run(ctx context.Context, r dns.Resolver) {
	defer close(l.done)
	l.err = &Error{TempError, ReasonInternal, "the lookup ended without an answer"} // remains if the resolver calls runtime.Goexit
	defer l.recoverPanic()
	l.keys, l.err = l.lookup(ctx, r)
}

// peek takes the keys from r if r knows them without asking. Otherwise it returns
// false.
func (l *Lookup) peek(r dns.Resolver) (known bool) {
	if l.Name == "" {
		return false
	}
	defer l.recoverPanic()
	answer, known := r.Peek(l.Name, dns.TypeTXT)
	if known {
		l.keys, l.err = l.keysOf(answer)
	}
	return known
}

func (l *Lookup) recoverPanic() {
	if p := recover(); p != nil {
		l.keys, l.err = nil, &Error{TempError, ReasonInternal, fmt.Sprintf("panic: %v", p)}
	}
}

// Published waits for the lookup until ctx is done and reports whether it found
// a key that is not revoked.
func (l *Lookup) Published(ctx context.Context) bool {
	keys, err := l.wait(ctx)
	return err == nil && slices.ContainsFunc(keys, func(k syntax.Key) bool { return k.Bits > 0 })
}

// wait waits for the lookup until ctx is done and returns its keys.
func (l *Lookup) wait(ctx context.Context) ([]syntax.Key, *Error) {
	if !l.started { // a lookup that was not started would never end
		return nil, dnsError(&dns.Error{Kind: dns.KindCanceled, Name: l.Name, Type: dns.TypeTXT})
	}
	if l.done == nil {
		return l.keys, l.err
	}
	select {
	case <-l.done: // an answer counts even if ctx is done at the same time
		return l.keys, l.err
	default:
	}
	select {
	case <-l.done:
		return l.keys, l.err
	case <-ctx.Done():
		l.givenUp = true
		return nil, dnsError(dns.OutOfTime(l.asks, ctx.Err(), l.Name, dns.TypeTXT))
	}
}

// maxKeys is the maximum number of keys of one name that are tried. RFC 6376
// §3.6.2.2 does not say what several records mean, and §6.1.2 lets a verifier try
// one after another.
const maxKeys = 4

// lookup asks for the keys. It returns at least one key, or an error
// (RFC 6376 §6.1.2).
func (l *Lookup) lookup(ctx context.Context, r dns.Resolver) ([]syntax.Key, *Error) {
	if l.Name == "" {
		return nil, &Error{PermError, ReasonDomain, "the key's name is too long"}
	}
	answer, err := r.Lookup(ctx, l.Name, dns.TypeTXT)
	if err != nil {
		return nil, dnsError(err)
	}
	return l.keysOf(answer)
}

// errNoKey is the error if the answer has no records.
var errNoKey = &Error{PermError, ReasonKeyNotFound, "no key"}

// keysOf reads the keys of an answer. It returns at least one key, or an error.
func (l *Lookup) keysOf(answer dns.Answer) ([]syntax.Key, *Error) {
	l.authenticated = answer.Authenticated
	keys := l.memory[:0]
	why := errNoKey
	for _, rr := range answer.Records {
		if len(keys) == maxKeys {
			break
		}
		key, err := l.cache.parseKey(rr.Text)
		switch {
		case err == nil:
			keys = append(keys, key)
		case why.Reason == ReasonKeyNotFound:
			why = malformed(err)
		}
	}
	if len(keys) == 0 {
		return nil, why
	}
	return keys, nil
}

// dnsError turns a failed lookup into a result and a reason. If a later attempt
// would fail in the same way, the result is PermError (RFC 6376 §6.1.2).
func dnsError(err error) *Error {
	result, kind := TempError, dns.KindNetwork
	var de *dns.Error
	if errors.As(err, &de) {
		kind = de.Kind
		if de.Permanent() {
			result = PermError
		}
	}
	return &Error{result, reasonDNS + Reason(kind.String()), "the key could not be looked up"}
}
