package dnswire

import (
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
)

// This file reads answers a second time, with the codec github.com/miekg/dns, to compare.

// decodeByCodec does what Decode does, but reads the message with the codec.
func decodeByCodec(q Question, wire []byte) (Reply, *dns.Error) {
	m, fail := unpackByCodec(q, wire)
	if fail != nil {
		return Reply{}, fail
	}
	a := dns.Answer{Name: q.Name, Type: q.Type, Canonical: q.Name, TTL: math.MaxInt64, Authenticated: m.AuthenticatedData}
	answers := ownersByCodec(m.Answer)
	hops, err := followByCodec(q, answers, &a)
	if err == nil {
		err = collectByCodec(q, answers, &a)
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
	a.TTL = min(a.TTL, ttlByCodec(m.Ns, a.Canonical))
	return Reply{Answer: a}, nil
}

// unpackByCodec parses a message. It fails unless the record counts are within bounds and the rcode is
// NOERROR or NXDOMAIN.
func unpackByCodec(q Question, wire []byte) (*codec.Msg, *dns.Error) {
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

// ownedRR is a record of class IN with its owner as a Name.
type ownedRR struct {
	owner dns.Name
	rr    codec.RR
}

// ownersByCodec parses each owner name once. It drops records that cannot answer a question: those of
// a class other than IN, and those whose owner does not fit into a Name.
func ownersByCodec(rrs []codec.RR) []ownedRR {
	out := make([]ownedRR, 0, len(rrs))
	for _, rr := range rrs {
		h := rr.Header()
		if n, ok := nameFromPresentation(h.Name); ok && h.Class == codec.ClassINET {
			out = append(out, ownedRR{n, rr})
		}
	}
	return out
}

// followByCodec follows the CNAMEs in answers, beginning at a.Canonical.
func followByCodec(q Question, answers []ownedRR, a *dns.Answer) (hops int, err error) {
	if q.Type == dns.TypeCNAME {
		return 0, nil
	}
	for {
		alias := aliasByCodec(answers, a.Canonical)
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

func aliasByCodec(answers []ownedRR, owner dns.Name) *codec.CNAME {
	for _, o := range answers {
		if c, ok := o.rr.(*codec.CNAME); ok && o.owner == owner {
			return c
		}
	}
	return nil
}

// collectByCodec puts the records of a.Canonical into a. It ignores records of other owners.
func collectByCodec(q Question, answers []ownedRR, a *dns.Answer) error {
	text := 0
	for _, o := range answers {
		h := o.rr.Header()
		if h.Rrtype != uint16(q.Type) || o.owner != a.Canonical {
			continue
		}
		r, ok := recordByCodec(o.rr)
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

// recordByCodec reads the data of one record. ok is false if dns.Record has no field for the type, or if a
// host name has a dot inside a label, which a Name cannot hold.
func recordByCodec(rr codec.RR) (r dns.Record, ok bool) {
	switch rr := rr.(type) {
	case *codec.A:
		r.Addr, ok = netip.AddrFromSlice(rr.A.To4())
	case *codec.AAAA:
		r.Addr, ok = netip.AddrFromSlice(rr.AAAA)
	case *codec.TXT:
		r.Text, ok = joinByCodec(rr.Txt), true
	case *codec.SPF:
		r.Text, ok = joinByCodec(rr.Txt), true
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

// ttlByCodec returns how long a negative answer for "name" may be cached (RFC 2308 §5). It returns
// 0 (not at all) unless authority contains the SOA of a zone that contains name.
func ttlByCodec(authority []codec.RR, name dns.Name) time.Duration {
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

// The codec uses the presentation form of RFC 1035 §5.1, in which special and unprintable octets
// are escaped. The rest of the daemon uses names and texts as raw octets. The functions below
// convert between the two forms.

// nameFromPresentation reads a name in the codec's form. It returns false for a name with a dot
// inside a label, because a dns.Name cannot hold such a name: the dot would look like a separator,
// and the result would be another name.
func nameFromPresentation(s string) (dns.Name, bool) {
	if s == "." {
		return "", true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			var used int
			if c, used = unescapeOne(s[i+1:]); c == '.' {
				return "", false
			}
			i += used
		}
		out = append(out, fold(c))
	}
	n := strings.TrimSuffix(string(out), ".")
	return dns.Name(n), n != "" && len(n) <= dns.MaxNameLen
}

// joinByCodec joins the strings of a TXT record as raw octets (RFC 7208 §3.3).
func joinByCodec(parts []string) string {
	var b strings.Builder
	for _, s := range parts {
		for i := 0; i < len(s); i++ {
			c := s[i]
			if c == '\\' {
				var used int
				c, used = unescapeOne(s[i+1:])
				i += used
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescapeOne reads the text after a backslash: three digits or one octet. It returns the octet
// that the escape means, and how many octets of s it read.
func unescapeOne(s string) (octet byte, used int) {
	if len(s) >= 3 {
		if n, err := strconv.ParseUint(s[:3], 10, 8); err == nil {
			return byte(n), 3
		}
	}
	if s == "" {
		return '\\', 0
	}
	return s[0], 1
}

// compareWithCodec checks that Decode returned what the codec reads in the message. If the codec
// cannot read the message, Decode may still succeed, because it does not read the data of records
// that nobody needs.
func compareWithCodec(t *testing.T, q Question, wire []byte, got Reply, fail *dns.Error) {
	t.Helper()
	want, wantFail := decodeByCodec(q, wire)
	switch {
	case wantFail != nil && wantFail.Kind == dns.KindMalformed:
	case wantFail != nil || fail != nil:
		if wantFail == nil || fail == nil || wantFail.Kind != fail.Kind {
			t.Errorf("%v, the codec %v", fail, wantFail)
		}
	case !reflect.DeepEqual(got, want):
		t.Errorf("%+v, the codec reads %+v", got, want)
	}
}
