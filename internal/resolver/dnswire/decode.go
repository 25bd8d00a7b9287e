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

const (
	// maxSection bounds the records of each section: no set a verifier can use
	// has more (RFC 7208 §4.6.4 stops at 10 of most).
	maxSection = 256
	// maxTextOctets bounds the TXT data of one answer. The longest DKIM key
	// worth verifying needs 2 KiB; the rest is room for busy apex names.
	maxTextOctets = 32 << 10
	// maxChain bounds the CNAMEs of one answer. RFC 1034 §3.6.2 wants none in a
	// row; resolvers follow 8 to 16.
	maxChain = 8
)

// ErrChain is the failure of an alias chain, be it in one answer or in several.
var ErrChain = errors.New("resolver: CNAME chain too long or in a loop")

// Reasons for which an answer is malformed. They say "resolver" as those of
// package upstream do.
var (
	errTooManyRecords = errors.New("resolver: too many records in the answer")
	errTooMuchText    = errors.New("resolver: too much text in the answer")
	errBadTarget      = errors.New("resolver: CNAME to a name with a dot inside a label")
	errContradiction  = errors.New("resolver: NXDOMAIN with records")
	errReferral       = errors.New("resolver: referral instead of an answer; the server does not recurse")
)

// Reply is what one message says.
type Reply struct {
	Answer dns.Answer
	Follow bool // the alias chain leaves the message: ask for Answer.Canonical
}

// Decode reads a message that, to a query for q, is Whole.
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
		return Reply{}, q.Fail(dns.KindMalformed, err)
	}
	if len(a.Records) > 0 {
		return Reply{Answer: a}, nil
	}
	soa := hasType(m.Ns, codec.TypeSOA)
	switch {
	case nxdomain:
		a.Status = dns.NXDomain // of the last name of the chain (RFC 6604 §3)
	case hops > 0 && !soa:
		return Reply{Answer: a, Follow: true}, nil
	case !soa && !m.Authoritative && hasType(m.Ns, codec.TypeNS):
		return Reply{}, q.Fail(dns.KindServFail, errReferral)
	}
	a.TTL = min(a.TTL, negativeTTL(m.Ns, a.Canonical))
	return Reply{Answer: a}, nil
}

// unpack reads a message of reasonable size with a definite answer.
func (q Question) unpack(wire []byte) (*codec.Msg, *dns.Error) {
	for section := range 3 { // before memory is spent on them
		if binary.BigEndian.Uint16(wire[6+2*section:]) > maxSection {
			return nil, q.Fail(dns.KindMalformed, errTooManyRecords)
		}
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

// rcodeError is an rcode that is neither an answer nor a usual failure.
type rcodeError int

func (e rcodeError) Error() string { return fmt.Sprintf("resolver: rcode %d", int(e)) }

// owned is a record of class IN with its owner as a Name.
type owned struct {
	owner dns.Name
	rr    codec.RR
}

// withOwners reads the owners once. Who owns a name that no Name can hold does
// not answer anything.
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

// followAliases walks the CNAMEs among answers from a.Canonical on.
func (q Question) followAliases(answers []owned, a *dns.Answer) (hops int, err error) {
	if q.Type == dns.TypeCNAME {
		return 0, nil
	}
	for {
		alias := findAlias(answers, a.Canonical)
		if alias == nil {
			return hops, nil
		}
		if hops++; hops > maxChain {
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

// collect puts the records of a.Canonical into a. Records of other owners,
// which an answer may carry for whatever reason, are not the answer.
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
		if text += len(r.Text); text > maxTextOctets {
			return errTooMuchText
		}
		a.Records = append(a.Records, r)
		a.TTL = min(a.TTL, seconds(h.Ttl))
	}
	return nil
}

// record reads one record's data. It is false for types no Record can hold and
// for host names with a dot inside a label, which nobody could ask for.
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

// negativeTTL is how long a "no" about name may be kept (RFC 2308 §5): 0, for
// not at all, without the SOA of a zone that holds name.
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

// seconds turns a TTL into a Duration; with the top bit set it is zero (RFC
// 2181 §8).
func seconds(ttl uint32) time.Duration {
	if ttl > math.MaxInt32 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
