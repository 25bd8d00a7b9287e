package dkim

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"sekimori/internal/dns"
	"sekimori/internal/message"
)

// Message is what all signatures of one message share: the index of its
// header, the hashes of its body, the lookups of its keys. It is not safe for
// concurrent use.
type Message struct {
	index   *fieldIndex
	body    bodyHashes
	lookups []*Lookup
	byName  map[dns.Name]*Lookup
	started int // lookups[:started] are under way
	stops   []context.CancelFunc
}

// NewMessage indexes a header, given the topmost field first.
func NewMessage(h message.Header) *Message {
	return &Message{index: newFieldIndex(h), byName: make(map[dns.Name]*Lookup)}
}

// Header returns the header given to NewMessage.
func (m *Message) Header() message.Header { return m.index.header }

// Named returns the positions in the header of the fields called name, given
// in lower case, the topmost first.
func (m *Message) Named(name string) []int {
	list := m.index.named(name)
	out := make([]int, len(list))
	for i, at := range list {
		out[len(list)-1-i] = int(at)
	}
	return out
}

// RelaxedField returns a field in relaxed canonical form with its CRLF; the
// result is shared. With p, its b= is emptied and there is no CRLF, as for the
// field that holds the signature (RFC 6376 §3.7).
func (m *Message) RelaxedField(field int, p *Params) []byte {
	if p == nil {
		return m.index.relaxedField(field)
	}
	f := m.index.header[field]
	return appendRelaxed(nil, f.Name, f.Value[:p.b.start]+f.Value[p.b.end:])
}

// WantBody asks for the body hash that p needs. It must come before the body.
func (m *Message) WantBody(p *Params) { m.body.want(p.BodyCanon, p.limit()) }

// Write takes the next octets of the body, as received, in any chunks. It
// never fails.
func (m *Message) Write(p []byte) (int, error) {
	m.body.write(p)
	return len(p), nil
}

// Lookup is the search for the keys of one selector and domain.
type Lookup struct {
	Name             dns.Name // what is asked
	domain, selector dns.Name
	started          bool
	done             chan struct{} // closed when keys and err are set
	keys             []Key
	err              *Error
}

// WantKey registers the key that p needs; the same key is looked up once.
func (m *Message) WantKey(p *Params) *Lookup {
	name, err := keyName(p.Domain, p.Selector)
	if l := m.byName[name]; l != nil && err == nil {
		return l
	}
	l := &Lookup{Name: name, domain: p.Domain, selector: p.Selector, done: make(chan struct{})}
	m.lookups = append(m.lookups, l)
	m.byName[name] = l
	return l
}

// QueryNames returns the names Start asks, or asked, for.
func (m *Message) QueryNames() []dns.Name {
	names := make([]dns.Name, len(m.lookups))
	for i, l := range m.lookups {
		names[i] = l.Name
	}
	return names
}

// maxParallelLookups bounds the queries one message has in flight: an ARC
// chain can name a hundred keys.
const maxParallelLookups = 16

// Start begins the lookups registered since the last Start and returns at
// once. They end with ctx or Close. What a [dns.Peeker] knows costs no
// goroutine.
func (m *Message) Start(ctx context.Context, r dns.Resolver) {
	fresh := m.lookups[m.started:]
	m.started = len(m.lookups)
	known, _ := r.(dns.Peeker)
	var todo []*Lookup
	for i, l := range fresh {
		l.started = true
		if known == nil || !l.peek(known) {
			if todo == nil {
				todo = make([]*Lookup, 0, len(fresh)-i)
			}
			todo = append(todo, l)
		}
	}
	if len(todo) == 0 {
		return
	}
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
			}
		}()
	}
}

// Close abandons the lookups. The Message must not be used afterwards.
func (m *Message) Close() {
	for _, stop := range m.stops {
		stop()
	}
}

// run looks the key up. A panic must not take the daemon down with it, nor
// leave somebody waiting.
func (l *Lookup) run(ctx context.Context, r dns.Resolver) {
	defer close(l.done)
	l.err = &Error{TempError, ReasonInternal, "the lookup ended without an answer"} // by runtime.Goexit
	defer l.recoverPanic()
	l.keys, l.err = LookupKeys(ctx, r, l.domain, l.selector)
}

// peek takes the keys from what r knows; it is false if that is nothing.
func (l *Lookup) peek(r dns.Peeker) (known bool) {
	if l.Name == "" { // too long to be asked for
		return false
	}
	defer func() {
		if known {
			close(l.done)
		}
	}()
	defer l.recoverPanic()
	answer, known := r.Peek(l.Name, dns.TypeTXT)
	if known {
		l.keys, l.err = keysOf(answer)
	}
	return known
}

func (l *Lookup) recoverPanic() {
	if p := recover(); p != nil {
		l.keys, l.err = nil, &Error{TempError, ReasonInternal, fmt.Sprintf("panic: %v", p)}
	}
}

// Keys waits for the lookup until ctx is done.
func (l *Lookup) Keys(ctx context.Context) ([]Key, *Error) {
	if !l.started { // nobody will ever answer
		return nil, dnsError(context.Canceled)
	}
	select {
	case <-l.done: // even if ctx is done as well
		return l.keys, l.err
	default:
	}
	select {
	case <-l.done:
		return l.keys, l.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, dnsError(&dns.Error{Kind: dns.KindBudget, Name: l.Name, Type: dns.TypeTXT})
		}
		return nil, dnsError(ctx.Err())
	}
}

// maxKeys bounds the keys tried at one name. RFC 6376 §3.6.2.2 leaves several
// undefined; §6.1.2 lets a verifier cycle through them.
const maxKeys = 4

// LookupKeys asks for the keys of a selector: one or more, or the reason for
// which there is none (RFC 6376 §6.1.2).
func LookupKeys(ctx context.Context, r dns.Resolver, domain, selector dns.Name) ([]Key, *Error) {
	name, err := keyName(domain, selector)
	if err != nil {
		return nil, &Error{PermError, ReasonDomain, "the key's name is too long"}
	}
	answer, err := r.Lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, dnsError(err)
	}
	return keysOf(answer)
}

// keysOf reads the keys of an answer: at least one, or the reason for which
// there is none.
func keysOf(answer dns.Answer) ([]Key, *Error) {
	var keys []Key
	why := &Error{PermError, ReasonKeyNotFound, "no key"}
	for _, rr := range answer.Records {
		if len(keys) == maxKeys {
			break
		}
		key, err := ParseKey(rr.Text)
		switch {
		case err == nil:
			key.Authenticated = answer.Authenticated
			keys = append(keys, key)
		case why.Reason == ReasonKeyNotFound:
			why = err
		}
	}
	if len(keys) == 0 {
		return nil, why
	}
	return keys, nil
}

// dnsError gives every failure to ask its result, temperror, and its reason.
func dnsError(err error) *Error {
	kind := dns.KindNetwork
	var de *dns.Error
	switch {
	case errors.As(err, &de):
		kind = de.Kind
	case errors.Is(err, context.DeadlineExceeded):
		kind = dns.KindTimeout
	case errors.Is(err, context.Canceled):
		kind = dns.KindCanceled
	}
	return &Error{TempError, reasonDNS + Reason(kind.String()), "the key could not be looked up"}
}
