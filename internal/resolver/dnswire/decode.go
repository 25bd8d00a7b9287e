package dnswire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

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

// Decode reads a message that answers q. [Query.Match] must have returned Whole for it. Decode reads
// only the records that may belong to the answer: a record of another type or class may contain
// anything.
func (q Question) Decode(wire []byte) (Reply, *dns.Error) {
	m, fail := q.read(wire)
	if fail != nil {
		return Reply{}, fail
	}
	a := dns.Answer{Name: q.Name, Type: q.Type, Canonical: q.Name, TTL: math.MaxInt64, Authenticated: m.bit(3, bitAuthentic)}
	var few [8]owned
	answers, err := q.relevant(&m, few[:0])
	var hops int
	if err == nil {
		hops, err = q.followAliases(&m, answers, &a)
	}
	if err == nil {
		err = q.collect(&m, answers, &a)
	}
	nxdomain := m.rcode == rcodeNameError
	if err == nil && nxdomain && len(a.Records) > 0 {
		err = errContradiction
	}
	if err != nil {
		return Reply{}, q.Fail(kindOf(err), err)
	}
	if len(a.Records) > 0 {
		return Reply{Answer: a}, nil
	}
	soa, ns, ttl := m.negative(a.Canonical)
	switch {
	case nxdomain:
		a.Status = dns.NXDomain // the status of the last name of the chain (RFC 6604 §3)
	case hops > 0 && !soa:
		return Reply{Answer: a, Follow: true}, nil
	case !soa && !m.bit(2, bitAuthoritative) && ns:
		return Reply{}, q.Fail(dns.KindServFail, errReferral)
	}
	a.TTL = min(a.TTL, ttl)
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

// read finds the records of a message. It fails unless the record counts are within bounds and the
// rcode is NOERROR or NXDOMAIN.
func (q Question) read(wire []byte) (message, *dns.Error) {
	if err := checkCounts(wire); err != nil {
		return message{}, q.Fail(kindOf(err), err)
	}
	m, err := readMessage(wire)
	if err != nil {
		return m, q.Fail(dns.KindMalformed, err)
	}
	switch m.rcode {
	case rcodeSuccess, rcodeNameError:
		return m, nil
	case rcodeRefused:
		return m, q.Fail(dns.KindRefused, nil)
	case rcodeServerFailure:
		return m, q.Fail(dns.KindServFail, nil)
	}
	return m, q.Fail(dns.KindServFail, rcodeError(m.rcode))
}

// rcodeError is an rcode without a meaning of its own in this package: not NOERROR, NXDOMAIN,
// SERVFAIL or REFUSED.
type rcodeError int

func (e rcodeError) Error() string { return fmt.Sprintf("resolver: rcode %d", int(e)) }

// owned is a record with its owner.
type owned struct {
	owner dns.Name
	rr
}

// relevant appends to "out" the records that may belong to the answer: those of class IN that are
// aliases or have the type of q. Each owner is read only once. Records whose owner does not fit
// into a Name are dropped.
func (q Question) relevant(m *message, out []owned) ([]owned, error) {
	var failed error
	last := q.Name // most owners are the same as the one before
	m.each(answerSection, m.answer, func(r rr) bool {
		if r.class != classIN || r.typ != uint16(q.Type) && r.typ != uint16(dns.TypeCNAME) {
			return true
		}
		owner, _, ok, err := readName(m.wire, r.name, last)
		if ok {
			out = append(out, owned{owner, r})
		}
		last, failed = owner, err
		return err == nil
	})
	return out, failed
}

// followAliases follows the CNAMEs in answers, beginning at a.Canonical.
func (q Question) followAliases(m *message, answers []owned, a *dns.Answer) (hops int, err error) {
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
		target, ok, err := m.nameData(alias.rr, alias.data)
		switch {
		case err != nil:
			return hops, err
		case !ok:
			return hops, errBadTarget
		}
		a.Canonical, a.TTL = target, min(a.TTL, seconds(alias.ttl))
	}
}

func findAlias(answers []owned, owner dns.Name) *owned {
	for i := range answers {
		if o := &answers[i]; o.typ == uint16(dns.TypeCNAME) && o.owner == owner {
			return o
		}
	}
	return nil
}

// collect puts the records of a.Canonical into a. It ignores records of other owners. All records of
// a.Canonical have the type of q: if it had an alias, followAliases would have gone on.
func (q Question) collect(m *message, answers []owned, a *dns.Answer) error {
	n := 0
	for _, o := range answers {
		if o.owner == a.Canonical {
			n++
		}
	}
	a.Records = make([]dns.Record, 0, n)
	text := 0
	for _, o := range answers {
		if o.owner != a.Canonical {
			continue
		}
		r, ok, err := m.data(o.rr)
		switch {
		case err != nil:
			return err
		case !ok:
			continue
		}
		if text += len(r.Text); text > dns.MaxTextOctets {
			return errTooMuchText
		}
		a.Records = append(a.Records, r)
		a.TTL = min(a.TTL, seconds(o.ttl))
	}
	if len(a.Records) == 0 {
		a.Records = nil
	}
	return nil
}

// data reads the data of one record. ok is false if dns.Record has no field for the type, if a host
// name has a dot inside a label, which a Name cannot hold, or if the record has no data.
func (m *message) data(o rr) (r dns.Record, ok bool, err error) {
	data := m.wire[o.data:o.end]
	switch o.typ {
	case uint16(dns.TypeTXT), typeSPF:
		r.Text, err = joinText(data)
		return r, err == nil, err
	case uint16(dns.TypeA):
		return address(data, 4)
	case uint16(dns.TypeAAAA):
		return address(data, 16)
	case uint16(dns.TypeMX):
		if len(data) > 2 {
			r.Preference = binary.BigEndian.Uint16(data)
			r.Host, ok, err = m.nameData(o, o.data+2)
		}
		return r, ok, err
	case uint16(dns.TypePTR), uint16(dns.TypeNS), uint16(dns.TypeCNAME):
		r.Host, ok, err = m.nameData(o, o.data)
		return r, ok, err
	}
	return r, false, nil
}

// address reads an address that has the given length.
func address(data []byte, length int) (r dns.Record, ok bool, err error) {
	switch len(data) {
	case 0:
		return r, false, nil
	case length:
		r.Addr, ok = netip.AddrFromSlice(data)
		return r, ok, nil
	}
	return r, false, errLength
}

// nameData reads the name at an offset. The data of the record must end with it. ok is false if a
// label has a dot, or if the record has no data.
func (m *message) nameData(o rr, off int) (name dns.Name, ok bool, err error) {
	if o.data == o.end {
		return "", false, nil
	}
	name, next, ok, err := readName(m.wire[:o.end], off, "")
	if err == nil && next != o.end {
		err = errLength
	}
	return name, ok, err
}

// joinText joins the strings of a TXT record as raw octets (RFC 7208 §3.3).
func joinText(data []byte) (string, error) {
	if len(data) > 0 && int(data[0]) == len(data)-1 { // one string, as nearly always
		return string(data[1:]), nil
	}
	var b strings.Builder
	b.Grow(len(data))
	for len(data) > 0 {
		n := int(data[0])
		if 1+n > len(data) {
			return "", errLength
		}
		b.Write(data[1 : 1+n])
		data = data[1+n:]
	}
	return b.String(), nil
}

// negative reads the authority section of an answer without records. It reports whether the section
// has SOA and NS records. ttl is how long the answer for "name" may be cached (RFC 2308 §5). It is 0
// (not at all) unless the section contains the SOA of a zone that contains name.
func (m *message) negative(name dns.Name) (soa, ns bool, ttl time.Duration) {
	found := false
	m.each(authoritySection, m.authority, func(r rr) bool {
		switch {
		case r.typ == uint16(dns.TypeNS):
			ns = true
		case r.typ == typeSOA && !found:
			soa = true
			if apex, _, ok, _ := readName(m.wire, r.name, ""); ok && name.Under(apex) {
				found, ttl = true, m.negativeTTL(r)
			}
		}
		return true
	})
	return soa, ns, ttl
}

// negativeTTL returns how long an answer without records may be cached because of an SOA record. The
// data of an SOA are two names and five numbers, of which the last is its minimum TTL. If the data
// are anything else, the answer is not cached.
func (m *message) negativeTTL(r rr) time.Duration {
	data := m.wire[:r.end]
	off, err := skipName(data, r.data)
	if err == nil {
		off, err = skipName(data, off)
	}
	if err != nil || off+20 != r.end {
		return 0
	}
	return min(seconds(r.ttl), seconds(binary.BigEndian.Uint32(data[off+16:])))
}

// seconds converts a TTL to a Duration. A TTL with the top bit set counts as zero (RFC 2181 §8).
func seconds(ttl uint32) time.Duration {
	if ttl > math.MaxInt32 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
