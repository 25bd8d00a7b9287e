package msgauth

import (
	"net/netip"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/slots"
)

// How many lookups of each purpose may be under way, by all messages together.
// The sum is less than the sockets of the resolver (512): lookups that no message
// waits for need sockets as well. An answer at hand takes no slot.
//
// A client network never holds more of these slots than it leaves to others, so
// that one network alone gets half of them. See package slots.
const (
	maxClientLookups = 224 // iprev and SPF, for the client's address and names
	maxPolicyLookups = 64  // DMARC records
	maxAuthorLookups = 96  // keys of the author's organization, which decide DMARC
	maxKeyLookups    = 64  // other keys of DKIM
	maxChainLookups  = 32  // keys of ARC
)

// How many lookups of one purpose one message or connection may have under way,
// and how many may be under way for one organization. An organization's limit is
// shared by all who write in its name: the sender chooses the author's domain, and
// chooses the names of keys too.
const (
	maxMessageLookups      = 8
	maxChainKeys           = 4 // of a message
	maxOrganizationLookups = 8
	maxSealerLookups       = 4
)

// purpose is what a lookup is for.
type purpose uint8

const (
	forClient purpose = iota // iprev, SPF
	forPolicy                // DMARC
	forAuthor                // a key of the author's organization
	forKey                   // another key of a signature
	forChain                 // a key of ARC
	purposes
)

// lookupSlots are the slots that the lookups of all messages take, by purpose.
type lookupSlots struct {
	lock          slots.Lock
	all           [purposes]*slots.Pool
	messages      [purposes]*slots.Family // a pool for each stage of a message
	organizations [purposes]*slots.Family // nil: whose names are asked for does not matter
}

func newLookupSlots() *lookupSlots {
	l := &lookupSlots{}
	for p, size := range [purposes]struct{ all, message, organization int }{
		forClient: {maxClientLookups, maxMessageLookups, 0},
		forPolicy: {maxPolicyLookups, maxMessageLookups, maxOrganizationLookups},
		forAuthor: {maxAuthorLookups, maxMessageLookups, maxOrganizationLookups},
		forKey:    {maxKeyLookups, maxMessageLookups, maxOrganizationLookups},
		forChain:  {maxChainLookups, maxChainKeys, maxSealerLookups},
	} {
		l.all[p], l.messages[p] = slots.NewPool(size.all), slots.NewPrivateFamily(size.message)
		if size.organization > 0 {
			l.organizations[p] = slots.NewFamily(size.organization)
		}
	}
	return l
}

// network returns the addresses that count as one client. A customer of a provider
// usually has at most a /24 of IPv4, and a /48 of IPv6 (RFC 6177).
func network(client netip.Addr) netip.Prefix {
	client = client.Unmap()
	bits := 48
	if client.Is4() {
		bits = 24
	}
	p, _ := client.Prefix(bits) // all clients without an address count as one
	return p
}

// organization returns the domain whose slots a lookup of name takes: the registered
// domain, whose owner decides which names exist below it. DMARC's Organizational
// Domain is not used, because finding it takes lookups.
func organization(name dns.Name) dns.Name {
	if owner := suffix.Owner(name); owner != "" {
		return owner
	}
	return name
}
