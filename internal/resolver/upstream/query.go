package upstream

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"strings"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
)

const (
	// ednsSize is the UDP payload we offer: it crosses every network unfragmented
	// (DNS flag day 2020), and fragments can be forged.
	ednsSize = 1232

	headerLen = 12 // RFC 1035 §4.1.1
	ednsLen   = 11 // an OPT record without options (RFC 6891 §6.1.2)
)

// Bits of the header's second to fourth octet.
const (
	bitResponse  = 0x80
	maskOpcode   = 0x78
	bitTruncated = 0x02
	bitRecurse   = 0x01
	bitAuthentic = 0x20
	maskRcode    = 0x0f
)

// question is what is asked, whichever server it is put to.
type question struct {
	name dns.Name
	typ  dns.Type
	wire []byte // the question section (RFC 1035 §4.1.2)
}

func newQuestion(name dns.Name, typ dns.Type) (question, error) {
	q := question{name: name, typ: typ}
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
	q.wire = binary.BigEndian.AppendUint16(wire, codec.ClassINET)
	return q, nil
}

func (q question) fail(kind dns.ErrorKind, cause error) *dns.Error {
	return &dns.Error{Kind: kind, Name: q.name, Type: q.typ, Err: cause}
}

// queryOptions are what depends on the server asked.
type queryOptions struct {
	edns bool // offer ednsSize
	ad   bool // AD is wanted (RFC 6840 §5.7)
	mix  bool // write the name in random case: one more thing a forger has to guess
}

// query is a question on its way to one server.
type query struct {
	question
	packet []byte
	exact  bool // the answer must repeat the case of every letter
}

// pack writes q as a query with a random ID and recursion desired.
func (q question) pack(o queryOptions) query {
	p := make([]byte, headerLen, headerLen+len(q.wire)+ednsLen)
	var random [34]byte // the ID and a bit for each octet of a name
	_, _ = rand.Read(random[:])
	copy(p, random[:2])
	p[2], p[5] = bitRecurse, 1
	if o.ad {
		p[3] = bitAuthentic
	}
	p = append(p, q.wire...)
	if o.mix {
		for i, c := range p[headerLen : len(p)-4] { // no length looks like a letter
			if 'a' <= c && c <= 'z' && random[2+i/8]>>(i%8)&1 != 0 {
				p[headerLen+i] = c - 'a' + 'A'
			}
		}
	}
	if o.edns {
		p[11] = 1
		p = append(p, 0, 0, byte(codec.TypeOPT), ednsSize>>8, ednsSize&0xff, 0, 0, 0, 0, 0, 0)
	}
	return query{question: q, packet: p, exact: o.mix}
}

// match is what a message is to a query.
type match uint8

const (
	stray     match = iota // no answer to it, whoever sent it (RFC 5452 §9.1)
	whole                  // the answer
	truncated              // an answer that did not fit
	recased                // the answer, but its question has other letters
)

// match tells the answer to q from everything else. Servers that do not know
// EDNS may refuse a query with nothing but a header: that is an answer too.
func (q query) match(wire []byte) match {
	if len(wire) < headerLen || !bytes.Equal(wire[:2], q.packet[:2]) || wire[2]&bitResponse == 0 || wire[2]&maskOpcode != 0 {
		return stray
	}
	asked := q.packet[headerLen : headerLen+len(q.wire)]
	switch questions := binary.BigEndian.Uint16(wire[4:]); {
	case questions == 0 && rejects(int(wire[3]&maskRcode)):
		return whole
	case questions != 1 || len(wire) < headerLen+len(asked):
		return stray
	}
	got := wire[headerLen : headerLen+len(asked)]
	name := len(asked) - 4
	same := bytes.Equal(got, asked)
	switch {
	case !same && (!equalFold(got[:name], asked[:name]) || !bytes.Equal(got[name:], asked[name:])):
		return stray
	case wire[2]&bitTruncated != 0:
		return truncated
	case !same && q.exact:
		return recased
	}
	return whole
}

// rejects reports whether an rcode may mean that EDNS was not understood (RFC
// 6891 §7).
func rejects(rcode int) bool {
	return rcode == codec.RcodeFormatError || rcode == codec.RcodeNotImplemented
}

// equalFold compares names of one length without regard to ASCII case (RFC
// 4343).
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
