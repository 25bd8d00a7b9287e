package msgauth

import (
	"net/netip"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/slots"
)

// These constants say how many lookups of each purpose may run at the same time, for all messages
// together. With the slots of Whole (see wholeShare) their sum is 510. The resolver has 544 sockets,
// because lookups that no message waits for need sockets as well. An answer that the resolver already
// has (see [dns.Resolver].Peek) takes no slot.
//
// A client network may take one of these slots only while it holds fewer slots than are free. One
// network alone therefore gets half of them. See package slots.
const (
	maxClientLookups = 224 // iprev and SPF: lookups of the client's address and names
	maxPolicyLookups = 64  // DMARC records
	maxAuthorLookups = 96  // DKIM keys of the author's organization, which decide DMARC
	maxKeyLookups    = 64  // other DKIM keys
	maxChainLookups  = 32  // ARC keys
)

// These constants say how many lookups of one purpose may run at the same time for one stage of a
// message or connection, and for one organization. All messages that name an organization share its
// limit. These messages can be from any sender, because a sender can name any organization, in the
// author's domain and in the names of keys.
const (
	maxMessageLookups      = 8
	maxChainKeys           = 4 // ARC keys of one message
	maxOrganizationLookups = 8
	maxSealerLookups       = 4
)

// purpose is what a lookup is for.
type purpose uint8

const (
	forClient purpose = iota // iprev, SPF
	forPolicy                // DMARC
	forAuthor                // DKIM: a key of the author's organization
	forKey                   // DKIM: another key
	forChain                 // a key of ARC
	purposes
)

// lookupSlots holds the slots that the lookups of all messages take, by purpose.
type lookupSlots struct {
	lock          slots.Lock
	all           [purposes]*slots.Pool
	messages      [purposes]*slots.Family // each has one pool for each stage of a message
	organizations [purposes]*slots.Family // nil for a purpose without limits on organizations
}

// newLookupSlots returns slots for all messages. It divides the number of slots of each purpose by
// share.
func newLookupSlots(share int) *lookupSlots {
	l := &lookupSlots{}
	for p, size := range [purposes]struct{ all, message, organization int }{
		forClient: {maxClientLookups, maxMessageLookups, 0},
		forPolicy: {maxPolicyLookups, maxMessageLookups, maxOrganizationLookups},
		forAuthor: {maxAuthorLookups, maxMessageLookups, maxOrganizationLookups},
		forKey:    {maxKeyLookups, maxMessageLookups, maxOrganizationLookups},
		forChain:  {maxChainLookups, maxChainKeys, maxSealerLookups},
	} {
		l.all[p], l.messages[p] = slots.NewPool(size.all/share), slots.NewPrivateFamily(size.message)
		if size.organization > 0 {
			l.organizations[p] = slots.NewFamily(size.organization)
		}
	}
	return l
}

// network returns the network of a client. All addresses of one network count as one client. A
// customer of a provider usually has at most a /24 of IPv4 and a /48 of IPv6 (RFC 6177).
func network(client netip.Addr) netip.Prefix {
	client = client.Unmap()
	bits := 48
	if client.Is4() {
		bits = 24
	}
	p, _ := client.Prefix(bits) // all clients without an address count as one
	return p
}

// organization returns the domain whose slots a lookup of name takes. It is the registered domain,
// because its owner decides which names exist below it. DMARC's Organizational Domain is not used,
// because finding it takes lookups.
func organization(name dns.Name) dns.Name {
	if owner := suffix.Owner(name); owner != "" {
		return owner
	}
	return name
}
