package dnswire

import (
	"encoding/binary"
	"errors"

	"sekimori/internal/dns"
)

// The values that the package reads or writes (RFC 1035 §3.2 and §4.1.1, RFC 6891 §6.1).
const (
	typeSOA = 6
	typeOPT = 41
	typeSPF = 99 // RFC 7208 §3.1 made it obsolete

	classIN = 1

	rcodeSuccess        = 0
	rcodeFormatError    = 1
	rcodeServerFailure  = 2
	rcodeNameError      = 3
	rcodeNotImplemented = 4
	rcodeRefused        = 5
)

// The reasons why a message cannot be read.
var (
	errCut      = errors.New("resolver: the message ends inside a record")
	errLabel    = errors.New("resolver: label of an unknown kind")
	errPointers = errors.New("resolver: name with too many compression pointers")
	errLongName = errors.New("resolver: name with more than 255 octets")
	errLength   = errors.New("resolver: the data of a record does not have the length that the record states")
)

// maxPointers bounds the compression pointers of one name, so that a loop of pointers ends. A name
// has at most 127 labels, and needs at most one pointer after each.
const maxPointers = 126

// message is a message whose records can be visited. Only the boundaries of the records have been
// checked. The data of a record are read only if they are needed.
type message struct {
	wire      []byte
	rcode     int
	answer    int // offset of the first record of the section
	authority int
}

// section is the index of a section of records.
type section int

const (
	answerSection section = iota
	authoritySection
	additionalSection
	sections
)

func (m *message) bit(octet int, mask byte) bool { return m.wire[octet]&mask != 0 }

// count returns how many records a section has according to the header.
func (m *message) count(s section) int { return int(binary.BigEndian.Uint16(m.wire[6+2*s:])) }

// readMessage finds the records of a message that has a whole header. It fails if one of them goes
// beyond the end, or if the message ends before the last record of the answer or authority section
// that its header counts: without that, a policy that was cut off would look like no policy. Records
// that are missing in the additional section do not matter.
func readMessage(wire []byte) (message, error) {
	m := message{wire: wire, rcode: int(wire[3] & maskRcode)}
	off := HeaderLen
	var err error
	for questions := binary.BigEndian.Uint16(wire[4:]); questions > 0 && off < len(wire); questions-- {
		if off, err = skipName(wire, off); err != nil {
			return m, err
		}
		if off += 4; off > len(wire) {
			return m, errCut
		}
	}
	extended := 0
	for s := range sections {
		switch s {
		case answerSection:
			m.answer = off
		case authoritySection:
			m.authority = off
		}
		n := m.count(s)
		for ; n > 0 && off < len(wire); n-- {
			var r rr
			if r, err = m.record(off); err != nil {
				return m, err
			}
			if s == additionalSection && r.typ == typeOPT {
				extended = int(r.ttl >> 24)
			}
			off = r.end
		}
		if n > 0 && s != additionalSection {
			return m, errCut
		}
	}
	m.rcode |= extended << 4 // RFC 6891 §6.1.3
	return m, nil
}

// rr says where a resource record is in a message, and has its type, class and TTL.
type rr struct {
	name       int // offset of the owner name
	typ, class uint16
	ttl        uint32
	data, end  int // offsets of the data and of the next record
}

// record returns the record at an offset.
func (m *message) record(off int) (rr, error) {
	r := rr{name: off}
	off, err := skipName(m.wire, off)
	if err != nil {
		return r, err
	}
	if off+10 > len(m.wire) {
		return r, errCut
	}
	fixed := m.wire[off:]
	r.typ, r.class, r.ttl = binary.BigEndian.Uint16(fixed), binary.BigEndian.Uint16(fixed[2:]), binary.BigEndian.Uint32(fixed[4:])
	r.data = off + 10
	r.end = r.data + int(binary.BigEndian.Uint16(fixed[8:]))
	if r.end > len(m.wire) {
		return r, errCut
	}
	return r, nil
}

// each calls f for the records of a section that begins at an offset, until f returns false.
// readMessage has read these records before, so they are whole.
func (m *message) each(s section, off int, f func(rr) bool) {
	for n := m.count(s); n > 0; n-- {
		r, err := m.record(off)
		if err != nil || !f(r) {
			return
		}
		off = r.end
	}
}

// skipName returns the offset after the name at an offset. It does not follow pointers.
func skipName(wire []byte, off int) (int, error) {
	for off < len(wire) {
		switch c := wire[off]; {
		case c == 0:
			return off + 1, nil
		case c >= 0xc0:
			if off+2 > len(wire) {
				return 0, errCut
			}
			return off + 2, nil
		case c > dns.MaxLabelLen:
			return 0, errLabel
		default:
			off += 1 + int(c)
		}
	}
	return 0, errCut
}

// readName reads the name at an offset and returns the offset after it. If the name is equal to
// "known", it returns known, which saves an allocation. ok is false for a name with a dot inside a
// label, and beside an error. A dns.Name cannot hold such a name, because the dot would look like a separator.
func readName(wire []byte, off int, known dns.Name) (name dns.Name, next int, ok bool, err error) {
	if next, err = skipName(wire, off); err != nil {
		return "", 0, false, err
	}
	var buf [dns.MaxNameLen + 1]byte
	text, pointers := buf[:0], 0
	ok = true
	for {
		if off >= len(wire) {
			return "", 0, false, errCut
		}
		c := int(wire[off])
		off++
		switch {
		case c == 0:
			text = text[:max(len(text)-1, 0)] // without the last dot
			if string(text) == string(known) {
				return known, next, ok, nil
			}
			return dns.Name(text), next, ok, nil
		case c >= 0xc0:
			if off >= len(wire) {
				return "", 0, false, errCut
			}
			if pointers++; pointers > maxPointers {
				return "", 0, false, errPointers
			}
			off = (c&^0xc0)<<8 | int(wire[off])
		case c > dns.MaxLabelLen:
			return "", 0, false, errLabel
		case off+c > len(wire):
			return "", 0, false, errCut
		case len(text)+c+1 > len(buf):
			return "", 0, false, errLongName
		default:
			for _, b := range wire[off : off+c] {
				ok = ok && b != '.'
				text = append(text, fold(b))
			}
			text = append(text, '.')
			off += c
		}
	}
}
