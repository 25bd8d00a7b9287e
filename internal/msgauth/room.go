package msgauth

import (
	"context"
	"net/netip"
	"sync/atomic"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/slots"
)

// How many lookups of each sort may be under way, by all messages together. The
// sum is less than the sockets of the resolver (512), which serve the questions
// that nobody waits for as well. What is at hand takes no part in this.
//
// A client network never holds more of these than it leaves to others, so that
// one alone gets half of them. See package slots.
const (
	maxClientLookups = 224 // what the client's address and names lead to: iprev and SPF
	maxPolicyLookups = 64  // DMARC records
	maxAuthorLookups = 96  // keys of the author's organization: they decide
	maxKeyLookups    = 64  // other keys of DKIM
	maxChainLookups  = 32  // keys of ARC
)

// What one message or connection may have under way of any of these, and what
// may be under way for one organization, the author's or that of a key: the
// author is whoever the sender writes, and a key's name is his choice too.
const (
	maxMessageLookups      = 8
	maxChainKeys           = 4 // of a message
	maxOrganizationLookups = 8
	maxSealerLookups       = 4
)

// sort is what a lookup is for.
type sort uint8

const (
	forClient sort = iota // iprev, SPF
	forPolicy             // DMARC
	forAuthor             // a key of the author's organization
	forKey                // another key of a signature
	forChain              // a key of ARC
	sorts
)

// rooms are the slots that lookups take, by their sort.
type rooms struct {
	lock          slots.Lock
	all           [sorts]*slots.Pool
	message       [sorts]*slots.Family
	organizations [sorts]*slots.Family // nil: it does not matter whose names are asked for
}

func newRooms() *rooms {
	r := &rooms{}
	for s, size := range [sorts]struct{ all, message, organization int }{
		forClient: {maxClientLookups, maxMessageLookups, 0},
		forPolicy: {maxPolicyLookups, maxMessageLookups, maxOrganizationLookups},
		forAuthor: {maxAuthorLookups, maxMessageLookups, maxOrganizationLookups},
		forKey:    {maxKeyLookups, maxMessageLookups, maxOrganizationLookups},
		forChain:  {maxChainLookups, maxChainKeys, maxSealerLookups},
	} {
		r.all[s], r.message[s] = slots.NewPool(size.all), slots.NewPrivateFamily(size.message)
		if size.organization > 0 {
			r.organizations[s] = slots.NewFamily(size.organization)
		}
	}
	return r
}

// room is the Resolver of one stage of a message or connection: it asks when
// there is room for it among the lookups of others, and else waits for that
// until its time ends. Make it with [Connection.room].
type room struct {
	c      *Connection
	stage  Mechanism
	author dns.Name // the Author Domain, "" for the stages of a client
	queued atomic.Bool
	denied atomic.Int32 // lookups that ended without an answer for want of room
}

// Peek implements [dns.Resolver]: what is at hand takes no slot.
func (r *room) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	return r.c.v.resolver.Peek(name, typ)
}

// Expect implements [dns.Resolver].
func (r *room) Expect(ctx context.Context, name dns.Name, typ dns.Type) bool {
	return r.c.v.resolver.Expect(ctx, name, typ)
}

// Queued implements [dns.Resolver].
func (r *room) Queued() bool { return r.queued.Load() }

// Lookup implements [dns.Resolver].
func (r *room) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	slot := r.take(ctx, name)
	if slot == nil {
		return dns.Answer{}, r.outOfTime(ctx, name, typ)
	}
	defer slot.Release()
	answer, err := r.c.v.resolver.Lookup(ctx, name, typ)
	if err != nil && ctx.Err() != nil {
		return dns.Answer{}, r.outOfTime(ctx, name, typ)
	}
	return answer, err
}

func (r *room) outOfTime(ctx context.Context, name dns.Name, typ dns.Type) error {
	failed := dns.OutOfTime(r, ctx.Err(), name, typ)
	if failed.Kind == dns.KindBudget {
		r.denied.Add(1)
	}
	return failed
}

// take waits for a slot. A message waits for its own first, so that it holds no
// place in a queue that it could not use, and for that of the organization
// before that of all.
func (r *room) take(ctx context.Context, name dns.Name) *slots.Slot {
	what, owner := r.sortOf(name)
	rooms, network := r.c.v.rooms, network(r.c.client.Client)
	own, all := rooms.message[what].Of(r), rooms.all[what]
	if of := rooms.organizations[what]; of != nil {
		return rooms.lock.Take(ctx, network, &r.queued, own, of.Of(owner), all)
	}
	return rooms.lock.Take(ctx, network, &r.queued, own, all)
}

// sortOf says what a lookup is for and on whose account it goes: the author's
// or that of who publishes the name.
func (r *room) sortOf(name dns.Name) (what sort, owner dns.Name) {
	switch r.stage {
	case DMARC:
		return forPolicy, organization(r.author)
	case DKIM:
		if author := organization(r.author); author != "" && name.Under(author) {
			return forAuthor, author
		}
		return forKey, organization(name)
	case ARC:
		return forChain, organization(name)
	}
	return forClient, ""
}

// network is what counts as one client: addresses that one customer of a
// provider has usually come as a /24 of IPv4, and a /48 of IPv6 (RFC 6177).
func network(client netip.Addr) netip.Prefix {
	client = client.Unmap()
	bits := 48
	if client.Is4() {
		bits = 24
	}
	p, _ := client.Prefix(bits) // all clients without an address are one
	return p
}

// organization returns the domain on whose account a lookup goes: the one whose
// owner decides which names there are below it. DMARC's Organizational Domain
// would take lookups of its own.
func organization(name dns.Name) dns.Name {
	if owner := suffix.Owner(name); owner != "" {
		return owner
	}
	return name
}
