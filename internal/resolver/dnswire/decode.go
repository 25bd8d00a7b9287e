package dnswire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
)

// ErrChain means that an alias chain is too long or a loop, in one answer or across several
// answers.
var ErrChain = errors.New("resolver: CNAME chain too long or in a loop")

// The reasons why an answer exceeds a bound. Their texts begin with "resolver", like the errors of
// package upstream.
var (
	errTooManyRecords = fmt.Errorf("resolver: more than %d records in the answer", dns.MaxRecords)
	errTooMuchText    = fmt.Errorf("resolver: more than %d octets of text in the answer", dns.MaxTextOctets)
)

// The reasons why an answer is malformed.
var (
	errBadCount      = errors.New("resolver: the header counts more records than the message has room for")
	errBadTarget     = errors.New("resolver: CNAME to a name with a dot inside a label")
	errContradiction = errors.New("resolver: NXDOMAIN with records")
	errReferral      = errors.New("resolver: referral instead of an answer; the server does not recurse")
)

// Reply is the content of one message.
type Reply struct {
	Answer dns.Answer
	Follow bool // the alias chain goes on outside the message; the caller must ask for Answer.Canonical
}

// Decode reads a message that answers q. [Query.Match] must have returned Whole for it.
func (q Question) Decode(wire []byte) (Reply, *dns.Error) {
	m, fail := q.unpack(wire)
	if fail != nil {
		return Reply{}, fail
	}
	a := dns.Answer{Name: q.Name, Type: q.Type, Canonical: q.Name, TTL: math.MaxInt64, Authenticated: m.AuthenticatedData}
	answers := withOwners(m.Answer)
	hops, err := q.followAliases(answers, &a)
	if err == nil {
		err = q.collect(answers, &a)
	}
	nxdomain := m.Rcode == codec.RcodeNameError
	if err == nil && nxdomain && len(a.Records) > 0 {
		err = errContradiction
	}
	if err != nil {
		return Reply{}, q.Fail(kindOf(err), err)
	}
	if len(a.Records) > 0 {
		return Reply{Answer: a}, nil
	}
	soa := hasType(m.Ns, codec.TypeSOA)
	switch {
	case nxdomain:
		a.Status = dns.NXDomain // the status of the last name of the chain (RFC 6604 §3)
	case hops > 0 && !soa:
		return Reply{Answer: a, Follow: true}, nil
	case !soa && !m.Authoritative && hasType(m.Ns, codec.TypeNS):
		return Reply{}, q.Fail(dns.KindServFail, errReferral)
	}
	a.TTL = min(a.TTL, negativeTTL(m.Ns, a.Canonical))
	return Reply{Answer: a}, nil
}

// kindOf returns the kind of failure for err. If an answer exceeds a bound, the owner of the name
// published it like that, so the kind is permanent. If an answer makes no sense, it may have been
// damaged on the way, so the kind is temporary.
func kindOf(err error) dns.ErrorKind {
	switch {
	case errors.Is(err, ErrChain):
		return dns.KindLoop
	case errors.Is(err, errTooManyRecords), errors.Is(err, errTooMuchText):
		return dns.KindTooLarge
	}
	return dns.KindMalformed
}

// minRecordLen is the length of a record whose owner is the root and that has no data (RFC 1035
// §3.2.1).
const minRecordLen = 11

// checkCounts checks the record counts in the header before memory is allocated for that many
// records.
func checkCounts(wire []byte) error {
	most, sum := 0, 0
	for section := range 3 {
		n := int(binary.BigEndian.Uint16(wire[6+2*section:]))
		most, sum = max(most, n), sum+n
	}
	switch {
	case most <= dns.MaxRecords:
		return nil
	case HeaderLen+sum*minRecordLen > len(wire):
		return errBadCount
	}
	return errTooManyRecords
}

// unpack parses a message. It fails unless the record counts are within bounds and the rcode is
// NOERROR or NXDOMAIN.
func (q Question) unpack(wire []byte) (*codec.Msg, *dns.Error) {
	if err := checkCounts(wire); err != nil {
		return nil, q.Fail(kindOf(err), err)
	}
	m := new(codec.Msg)
	if err := m.Unpack(wire); err != nil {
		return nil, q.Fail(dns.KindMalformed, err)
	}
	switch m.Rcode {
	case codec.RcodeSuccess, codec.RcodeNameError:
		return m, nil
	case codec.RcodeRefused:
		return nil, q.Fail(dns.KindRefused, nil)
	case codec.RcodeServerFailure:
		return nil, q.Fail(dns.KindServFail, nil)
	}
	return nil, q.Fail(dns.KindServFail, rcodeError(m.Rcode))
}

// rcodeError is an rcode without a meaning of its own in this package: not NOERROR, NXDOMAIN,
// SERVFAIL or REFUSED.
type rcodeError int

func (e rcodeError) Error() string { return fmt.Sprintf("resolver: rcode %d", int(e)) }

// owned is a record of class IN with its owner as a Name.
type owned struct {
	owner dns.Name
	rr    codec.RR
}

// withOwners parses each owner name once. It drops records that cannot answer a question: those of
// a class other than IN, and those whose owner does not fit into a Name.
func withOwners(rrs []codec.RR) []owned {
	out := make([]owned, 0, len(rrs))
	for _, rr := range rrs {
		h := rr.Header()
		if n, ok := nameFromPresentation(h.Name); ok && h.Class == codec.ClassINET {
			out = append(out, owned{n, rr})
		}
	}
	return out
}

// followAliases follows the CNAMEs in answers, beginning at a.Canonical.
func (q Question) followAliases(answers []owned, a *dns.Answer) (hops int, err error) {
	if q.Type == dns.TypeCNAME {
		return 0, nil
	}
	for {
		alias := findAlias(answers, a.Canonical)
		if alias == nil {
			return hops, nil
		}
		if hops++; hops > dns.MaxChain {
			return hops, ErrChain
		}
		target, ok := nameFromPresentation(alias.Target)
		if !ok {
			return hops, errBadTarget
		}
		a.Canonical, a.TTL = target, min(a.TTL, seconds(alias.Hdr.Ttl))
	}
}

func findAlias(answers []owned, owner dns.Name) *codec.CNAME {
	for _, o := range answers {
		if c, ok := o.rr.(*codec.CNAME); ok && o.owner == owner {
			return c
		}
	}
	return nil
}

// collect puts the records of a.Canonical into a. It ignores records of other owners.
func (q Question) collect(answers []owned, a *dns.Answer) error {
	text := 0
	for _, o := range answers {
		h := o.rr.Header()
		if h.Rrtype != uint16(q.Type) || o.owner != a.Canonical {
			continue
		}
		r, ok := record(o.rr)
		if !ok {
			continue
		}
		if text += len(r.Text); text > dns.MaxTextOctets {
			return errTooMuchText
		}
		a.Records = append(a.Records, r)
		a.TTL = min(a.TTL, seconds(h.Ttl))
	}
	return nil
}

// record reads the data of one record. ok is false if dns.Record has no field for the type, or if a
// host name has a dot inside a label, which a Name cannot hold.
func record(rr codec.RR) (r dns.Record, ok bool) {
	switch rr := rr.(type) {
	case *codec.A:
		r.Addr, ok = netip.AddrFromSlice(rr.A.To4())
	case *codec.AAAA:
		r.Addr, ok = netip.AddrFromSlice(rr.AAAA)
	case *codec.TXT:
		r.Text, ok = joinText(rr.Txt), true
	case *codec.SPF:
		r.Text, ok = joinText(rr.Txt), true
	case *codec.MX:
		r.Preference = rr.Preference
		r.Host, ok = nameFromPresentation(rr.Mx)
	case *codec.PTR:
		r.Host, ok = nameFromPresentation(rr.Ptr)
	case *codec.NS:
		r.Host, ok = nameFromPresentation(rr.Ns)
	case *codec.CNAME:
		r.Host, ok = nameFromPresentation(rr.Target)
	}
	return r, ok
}

// negativeTTL returns how long a negative answer for "name" may be cached (RFC 2308 §5). It returns
// 0 (not at all) unless authority contains the SOA of a zone that contains name.
func negativeTTL(authority []codec.RR, name dns.Name) time.Duration {
	for _, rr := range authority {
		soa, ok := rr.(*codec.SOA)
		if !ok {
			continue
		}
		if apex, ok := nameFromPresentation(soa.Hdr.Name); ok && name.Under(apex) {
			return min(seconds(soa.Hdr.Ttl), seconds(soa.Minttl))
		}
	}
	return 0
}

func hasType(rrs []codec.RR, typ uint16) bool {
	for _, rr := range rrs {
		if rr.Header().Rrtype == typ {
			return true
		}
	}
	return false
}

// seconds converts a TTL to a Duration. A TTL with the top bit set counts as zero (RFC 2181 §8).
func seconds(ttl uint32) time.Duration {
	if ttl > math.MaxInt32 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
