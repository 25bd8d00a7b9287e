// Package dnswire writes DNS queries and reads the messages that come back, which may be forged.
// [Question.Pack] makes a [Query] that is hard to guess. [Query.Match] distinguishes its answer
// from other messages. [Question.Decode] converts the answer to a dns.Answer. The package uses no
// servers, sockets or clocks.
package dnswire

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"

	"sekimori/internal/dns"
)

const (
	// ednsSize is the UDP payload size that queries offer. A packet of this size crosses networks
	// without fragmentation (DNS flag day 2020). Fragments would be easier to forge.
	ednsSize = 1232

	// HeaderLen is the length of a header (RFC 1035 §4.1.1).
	HeaderLen = 12
	ednsLen   = 11 // length of an OPT record without options (RFC 6891 §6.1.2)
)

// Bits of the header's second to fourth octet.
const (
	bitResponse      = 0x80
	maskOpcode       = 0x78
	bitTruncated     = 0x02
	bitAuthoritative = 0x04
	bitRecurse       = 0x01
	bitAuthentic     = 0x20
	maskRcode        = 0x0f
)

// Question is a name and a type to ask for, independent of the server.
type Question struct {
	Name dns.Name
	Type dns.Type
	wire []byte // the question section (RFC 1035 §4.1.2)
}

// NewQuestion returns the question for the records of a name. It fails if name is not a domain name
// (RFC 1035 §2.3.4). Fail of the returned Question may be called even then.
func NewQuestion(name dns.Name, typ dns.Type) (Question, error) {
	q := Question{Name: name, Type: typ}
	if len(name) > dns.MaxNameLen {
		return q, dns.ErrLongName
	}
	wire := make([]byte, 0, len(name)+6)
	if name != "" {
		for label := range strings.SplitSeq(string(name), ".") {
			switch {
			case label == "":
				return q, dns.ErrEmptyLabel
			case len(label) > dns.MaxLabelLen:
				return q, dns.ErrLongLabel
			}
			wire = append(append(wire, byte(len(label))), label...)
		}
	}
	wire = append(wire, 0)
	wire = binary.BigEndian.AppendUint16(wire, uint16(typ))
	q.wire = binary.BigEndian.AppendUint16(wire, classIN)
	return q, nil
}

// Fail returns the error for a lookup of q that failed.
func (q Question) Fail(kind dns.ErrorKind, cause error) *dns.Error {
	return &dns.Error{Kind: kind, Name: q.Name, Type: q.Type, Err: cause}
}

// Options are the properties of a query that depend on the server.
type Options struct {
	EDNS bool // offer EDNS with a payload of 1,232 octets
	AD   bool // ask for the AD bit (RFC 6840 §5.7)
	Mix  bool // write the name in random letter case, which a forger must then guess too
}

// Query is a question in the form in which it is sent to one server.
type Query struct {
	Question
	Packet []byte // the octets to send; the first two are the ID
	Exact  bool   // the answer must repeat the letter case of the name
}

// Pack writes q as a query with a random ID and recursion desired.
func (q Question) Pack(o Options) Query {
	p := make([]byte, HeaderLen, HeaderLen+len(q.wire)+ednsLen)
	var random [34]byte // 2 octets for the ID, and one bit for each octet of a name
	_, _ = rand.Read(random[:])
	copy(p, random[:2])
	p[2], p[5] = bitRecurse, 1
	if o.AD {
		p[3] = bitAuthentic
	}
	p = append(p, q.wire...)
	if o.Mix {
		for i, c := range p[HeaderLen : len(p)-4] { // a label length is at most 63, so it is never taken for a letter
			if 'a' <= c && c <= 'z' && random[2+i/8]>>(i%8)&1 != 0 {
				p[HeaderLen+i] = c - 'a' + 'A'
			}
		}
	}
	if o.EDNS {
		p[11] = 1
		p = append(p, 0, 0, typeOPT, ednsSize>>8, ednsSize&0xff, 0, 0, 0, 0, 0, 0)
	}
	return Query{Question: q, Packet: p, Exact: o.Mix}
}

// Match says how a message relates to a query.
type Match uint8

// The ways in which a message relates to a query.
const (
	Stray     Match = iota // not an answer to the query (RFC 5452 §9.1)
	Whole                  // the answer, complete
	Truncated              // the answer, but it was too long and is not complete
	Recased                // the answer, but its question has another letter case
)

// Match says whether a message is the answer to q. The message may have any length. A server that
// does not know EDNS may refuse a query with a message that is only a header; this counts as an
// answer.
func (q Query) Match(wire []byte) Match {
	if len(wire) < HeaderLen || !bytes.Equal(wire[:2], q.Packet[:2]) || wire[2]&bitResponse == 0 || wire[2]&maskOpcode != 0 {
		return Stray
	}
	asked := q.Packet[HeaderLen : HeaderLen+len(q.wire)]
	switch questions := binary.BigEndian.Uint16(wire[4:]); {
	case questions == 0 && rejects(int(wire[3]&maskRcode)):
		return Whole
	case questions != 1 || len(wire) < HeaderLen+len(asked):
		return Stray
	}
	got := wire[HeaderLen : HeaderLen+len(asked)]
	name := len(asked) - 4
	same := bytes.Equal(got, asked)
	switch {
	case !equalFold(got[:name], asked[:name]) || !bytes.Equal(got[name:], asked[name:]):
		return Stray
	case wire[2]&bitTruncated != 0:
		return Truncated
	case !same && q.Exact:
		return Recased
	}
	return Whole
}

// Rejected reports whether a failure may mean that the server does not know EDNS.
func Rejected(err *dns.Error) bool {
	if err == nil {
		return false
	}
	var code rcodeError
	return errors.As(err.Err, &code) && rejects(int(code))
}

// rejects reports whether an rcode may mean that the server does not know EDNS
// (RFC 6891 §7).
func rejects(rcode int) bool {
	return rcode == rcodeFormatError || rcode == rcodeNotImplemented
}

// equalFold compares two names of the same length and ignores ASCII case (RFC 4343).
func equalFold(a, b []byte) bool {
	for i := range a {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
