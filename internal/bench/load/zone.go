package load

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Record types in the zone (RFC 1035 §3.2.2).
const (
	typeA   = 1
	typeSOA = 6
	typePTR = 12
	typeMX  = 15
	typeTXT = 16
	typeOPT = 41 // RFC 6891
)

const classIN = 1

// Zone is a table of answers ready to send. It is built once, then only read.
type Zone struct {
	ttl   uint32
	names map[string]*node // by the name on the wire, in lower case
}

// node is a name that exists.
type node struct {
	rrsets []rrset
}

type rrset struct {
	typ     uint16
	count   uint16
	records []byte // on the wire, each owned by the question's name
}

// newZone returns an empty Zone whose answers live for ttl.
func newZone(ttl time.Duration) *Zone {
	z := &Zone{ttl: uint32(ttl / time.Second), names: map[string]*node{}}
	z.node("")
	return z
}

// Names returns how many names exist.
func (z *Zone) Names() int { return len(z.names) }

// node returns name's node, making it and those above it.
func (z *Zone) node(name string) *node {
	wire := wireName(name)
	n := z.names[wire]
	if n == nil {
		n = &node{}
		z.names[wire] = n
		if _, parent, ok := strings.Cut(name, "."); ok {
			z.node(parent)
		}
	}
	return n
}

func (z *Zone) add(name string, typ uint16, data []byte) {
	n := z.node(name)
	at := -1
	for i := range n.rrsets {
		if n.rrsets[i].typ == typ {
			at = i
		}
	}
	if at < 0 {
		at = len(n.rrsets)
		n.rrsets = append(n.rrsets, rrset{typ: typ})
	}
	s := &n.rrsets[at]
	s.count++
	s.records = append(s.records, 0xc0, 12) // the question's name (RFC 1035 §4.1.4)
	s.records = z.appendRecord(s.records, typ, data)
}

// appendRecord appends a record from its type on.
func (z *Zone) appendRecord(out []byte, typ uint16, data []byte) []byte {
	out = binary.BigEndian.AppendUint16(out, typ)
	out = binary.BigEndian.AppendUint16(out, classIN)
	out = binary.BigEndian.AppendUint32(out, z.ttl)
	out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
	return append(out, data...)
}

func (z *Zone) addTXT(name, text string) {
	var data []byte
	for len(text) > 255 {
		data = append(append(data, 255), text[:255]...)
		text = text[255:]
	}
	z.add(name, typeTXT, append(append(data, byte(len(text))), text...))
}

func (z *Zone) addA(name string, addr netip.Addr) { z.add(name, typeA, addr.AsSlice()) }

func (z *Zone) addMX(name, host string) {
	z.add(name, typeMX, append([]byte{0, 10}, wireName(host)...))
}

// addPTR adds the reverse of an IPv4 address.
func (z *Zone) addPTR(addr netip.Addr, host string) {
	b := addr.As4()
	z.add(fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0]), typePTR, []byte(wireName(host)))
}

// soa is the SOA record at the root, sent with every "no": it says how long
// the "no" lives (RFC 2308 §3).
func (z *Zone) soa() []byte {
	data := []byte(wireName("ns.invalid") + wireName("hostmaster.invalid"))
	for _, n := range []uint32{1, 3600, 600, 86400, z.ttl} {
		data = binary.BigEndian.AppendUint32(data, n)
	}
	return z.appendRecord([]byte{0}, typeSOA, data)
}

// wireName puts a name into the form of RFC 1035 §3.1.
func wireName(name string) string {
	if name == "" {
		return "\x00"
	}
	var b strings.Builder
	for label := range strings.SplitSeq(strings.ToLower(name), ".") {
		b.WriteByte(byte(len(label)))
		b.WriteString(label)
	}
	b.WriteByte(0)
	return b.String()
}
