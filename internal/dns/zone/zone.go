// Package zone answers DNS questions from zone text instead of the network. A [Zone] is a
// [dns.Resolver] in memory. Behind a [Server], it is an authoritative name server. In both uses, a
// zone can be told to fail in the ways in which real servers fail.
//
// Zone text consists of the lines of a master file (RFC 1035 §5). Names are relative to the root,
// so "example.com" and "example.com." are the same. A line that begins with "!" is a fault:
//
//	! OWNER TYPE|* [delay=DURATION] [servfail|refused|timeout|garbage|wrongid|wrongquestion|truncate|truncate-tcp]
//
// "explain --zone", the demo, the load tool and the tests use this package.
package zone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sekimori/internal/dns"
)

const (
	// DefaultTTL is the TTL of a record that has none in the text.
	DefaultTTL = 300 * time.Second
	// DefaultNegativeTTL is the TTL of a negative answer for a name that has no SOA record at or
	// above it.
	DefaultNegativeTTL = 60 * time.Second
	// maxQueries bounds the recorded questions of a zone that is asked endlessly, as in a
	// benchmark. Later questions are answered but not recorded.
	maxQueries = 1 << 16
)

// Types that a zone knows in addition to those of package dns.
const (
	typeAny dns.Type = 0 // in a fault: every type
	typeSOA dns.Type = 6
	typeSPF dns.Type = 99 // obsolete (RFC 7208 §3.1), but old test data has it
)

// FaultKind is a way in which a server fails.
type FaultKind string

// The faults. A resolver must ignore the answers of Garbage, WrongID and WrongQuestion and wait
// until its time is over. Zone.Lookup uses no network, and returns a timeout for these three
// faults.
const (
	ServFail      FaultKind = "servfail"
	Refused       FaultKind = "refused"
	Timeout       FaultKind = "timeout"
	Garbage       FaultKind = "garbage"
	WrongID       FaultKind = "wrongid"
	WrongQuestion FaultKind = "wrongquestion"
	Truncate      FaultKind = "truncate"     // truncated over UDP, complete over TCP
	TruncateTCP   FaultKind = "truncate-tcp" // truncated over UDP and over TCP
)

// Fault says how a question is answered wrongly or late.
type Fault struct {
	Kind  FaultKind // "" means a correct answer after Delay
	Delay time.Duration
}

// Zone holds records and faults. Its methods may be called concurrently.
type Zone struct {
	mu    sync.RWMutex
	nodes map[dns.Name]*node
	inner map[dns.Name]bool // names that have other names below them

	queriesMu sync.Mutex
	queries   []string
}

type node struct {
	sets   map[dns.Type][]record
	faults map[dns.Type]Fault
}

type record struct {
	dns.Record
	ttl     time.Duration
	strings []string      // the strings of a TXT record
	minimum time.Duration // of an SOA record: the TTL of negative answers
}

// New returns a zone that contains only the root. It answers NXDOMAIN for any other name.
func New() *Zone {
	return &Zone{nodes: map[dns.Name]*node{"": {}}, inner: map[dns.Name]bool{}}
}

// Add adds records of type typ to name, with DefaultTTL. If records is empty, it only makes name
// exist. It returns z.
func (z *Zone) Add(name dns.Name, typ dns.Type, records ...dns.Record) *Zone {
	return z.AddTTL(name, typ, DefaultTTL, records...)
}

// AddTTL is like Add, with another TTL.
func (z *Zone) AddTTL(name dns.Name, typ dns.Type, ttl time.Duration, records ...dns.Record) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.touch(name)
	for _, r := range records {
		z.add(name, typ, record{Record: r, ttl: ttl})
	}
	return z
}

// Fail applies f to every question for name and typ. Type 0 means every type. The zero Fault ends
// an earlier fault. Fail returns z.
func (z *Zone) Fail(name dns.Name, typ dns.Type, f Fault) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	n := z.touch(name)
	if n.faults == nil {
		n.faults = map[dns.Type]Fault{}
	}
	n.faults[typ] = f
	return z
}

// Remove removes name with its records and faults. The names below it stay.
func (z *Zone) Remove(name dns.Name) *Zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.nodes, name)
	clear(z.inner)
	for n := range z.nodes {
		z.markAncestors(n)
	}
	return z
}

// Queries returns the questions that were asked so far, each as "name TYPE", in order.
func (z *Zone) Queries() []string {
	z.queriesMu.Lock()
	defer z.queriesMu.Unlock()
	return append([]string(nil), z.queries...)
}

// ResetQueries empties the list that Queries returns.
func (z *Zone) ResetQueries() {
	z.queriesMu.Lock()
	defer z.queriesMu.Unlock()
	z.queries = nil
}

func (z *Zone) recordQuery(name dns.Name, typ dns.Type) {
	z.queriesMu.Lock()
	defer z.queriesMu.Unlock()
	if len(z.queries) < maxQueries {
		z.queries = append(z.queries, string(name)+" "+typ.String())
	}
}

// Lookup implements [dns.Resolver].
func (z *Zone) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	failure := func(kind dns.ErrorKind, cause error) (dns.Answer, error) {
		return dns.Answer{}, &dns.Error{Kind: kind, Name: name, Type: typ, Err: cause}
	}
	if err := ctx.Err(); err != nil {
		return dns.Answer{}, dns.OutOfTime(z, err, name, typ)
	}
	z.recordQuery(name, typ)
	out := z.resolve(name, typ)
	if err := sleep(ctx, out.fault.Delay); err != nil {
		return dns.Answer{}, dns.OutOfTime(z, err, name, typ)
	}
	switch out.fault.Kind {
	case ServFail:
		return failure(dns.KindServFail, nil)
	case Refused:
		return failure(dns.KindRefused, nil)
	case Timeout, Garbage, WrongID, WrongQuestion:
		return failure(dns.KindTimeout, nil)
	case TruncateTCP:
		return failure(dns.KindMalformed, errors.New("zone: answer truncated over TCP"))
	}
	if kind, err := out.overBound(); err != nil {
		return failure(kind, err)
	}
	return out.answer(name, typ), nil
}

// Peek implements [dns.Resolver]. It finds every answer of the zone, except those with a fault and
// those that exceed a bound.
func (z *Zone) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	out := z.resolve(name, typ)
	if out.fault != (Fault{}) {
		return dns.Answer{}, false
	}
	if _, err := out.overBound(); err != nil {
		return dns.Answer{}, false
	}
	z.recordQuery(name, typ)
	return out.answer(name, typ), true
}

// Expect implements [dns.Resolver]. A zone does not look ahead, because it answers at once.
func (z *Zone) Expect(context.Context, dns.Name, dns.Type) bool { return false }

// Queued implements [dns.Resolver]. Lookups in a zone need no slot.
func (z *Zone) Queued() bool { return false }

func (o outcome) answer(name dns.Name, typ dns.Type) dns.Answer {
	a := dns.Answer{Name: name, Type: typ, Status: o.status, Canonical: o.canonical, TTL: o.ttl()}
	for _, r := range o.records {
		a.Records = append(a.Records, r.Record)
	}
	return a
}

// overBound returns the permanent failure that a resolver reports for an answer that exceeds its
// bounds. For other answers it returns a nil error.
func (o outcome) overBound() (dns.ErrorKind, error) {
	text := 0
	for _, r := range o.records {
		text += len(r.Text)
	}
	switch {
	case len(o.chain) > dns.MaxChain:
		return dns.KindLoop, fmt.Errorf("zone: more than %d CNAMEs", dns.MaxChain)
	case len(o.chain)+len(o.records) > dns.MaxRecords:
		return dns.KindTooLarge, fmt.Errorf("zone: more than %d records", dns.MaxRecords)
	case text > dns.MaxTextOctets:
		return dns.KindTooLarge, fmt.Errorf("zone: more than %d octets of text", dns.MaxTextOctets)
	}
	return 0, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outcome is the zone's answer to one question, before it is converted to a dns.Answer or to a DNS
// message.
type outcome struct {
	fault     Fault
	chain     []record // CNAMEs in order; the Host of each is the owner of the next CNAME
	canonical dns.Name
	status    dns.Status
	records   []record
	negative  bool // there are no records; soa says how long this negative answer may be cached
	soa       record
	apex      dns.Name // owner of soa
}

func (o outcome) ttl() time.Duration {
	ttl := min(o.soa.ttl, o.soa.minimum) // RFC 2308 §5
	if len(o.records) > 0 {
		ttl = o.records[0].ttl
	}
	for _, set := range [][]record{o.chain, o.records} {
		for _, r := range set {
			ttl = min(ttl, r.ttl)
		}
	}
	return ttl
}

func (z *Zone) resolve(name dns.Name, typ dns.Type) outcome {
	z.mu.RLock()
	defer z.mu.RUnlock()
	out := outcome{canonical: name}
	for len(out.chain) <= dns.MaxChain {
		n := z.find(out.canonical)
		if n == nil {
			if !z.inner[out.canonical] {
				out.status = dns.NXDomain
			}
			return z.negative(out)
		}
		alias, isAlias := n.alias(typ)
		f := n.fault(typ)
		out.fault.Delay += f.Delay
		if f.Kind != "" {
			out.fault.Kind = f.Kind
		}
		switch {
		case isAlias:
			out.chain = append(out.chain, alias)
			out.canonical = alias.Host
		case len(n.sets[typ]) > 0:
			out.records = n.sets[typ]
			return out
		default:
			return z.negative(out)
		}
	}
	return out // the chain is longer than a resolver follows
}

// find returns the node of name, or the node of the wildcard that covers name (RFC 4592 §3.3.1), or
// nil.
func (z *Zone) find(name dns.Name) *node {
	if n := z.nodes[name]; n != nil {
		return n
	}
	if z.inner[name] {
		return nil
	}
	for name != "" {
		name = name.Parent()
		if z.nodes[name] != nil || z.inner[name] {
			wildcard, _ := name.Prepend("*") // which is no longer than a name below
			return z.nodes[wildcard]
		}
	}
	return nil
}

func (z *Zone) negative(out outcome) outcome {
	out.negative = true
	for at := out.canonical; ; at = at.Parent() {
		if n := z.nodes[at]; n != nil && len(n.sets[typeSOA]) > 0 {
			out.apex, out.soa = at, n.sets[typeSOA][0]
			return out
		}
		if at == "" {
			out.soa = record{ttl: DefaultNegativeTTL, minimum: DefaultNegativeTTL}
			return out
		}
	}
}

func (n *node) alias(typ dns.Type) (record, bool) {
	if len(n.sets[typ]) > 0 || len(n.sets[dns.TypeCNAME]) == 0 {
		return record{}, false
	}
	return n.sets[dns.TypeCNAME][0], true
}

func (n *node) fault(typ dns.Type) Fault {
	if f, ok := n.faults[typ]; ok {
		return f
	}
	return n.faults[typeAny]
}

// touch makes name exist. The caller holds mu.
func (z *Zone) touch(name dns.Name) *node {
	n := z.nodes[name]
	if n == nil {
		n = &node{sets: map[dns.Type][]record{}}
		z.nodes[name] = n
		z.markAncestors(name)
	}
	return n
}

func (z *Zone) markAncestors(name dns.Name) {
	for name != "" {
		name = name.Parent()
		z.inner[name] = true
	}
}

// add stores one record. The caller holds mu.
func (z *Zone) add(name dns.Name, typ dns.Type, r record) {
	n := z.touch(name)
	if n.sets == nil {
		n.sets = map[dns.Type][]record{}
	}
	// append must copy the slice, because outcomes of earlier questions may still be in use.
	n.sets[typ] = append(n.sets[typ][:len(n.sets[typ]):len(n.sets[typ])], r)
}
