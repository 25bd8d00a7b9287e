package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"

	"sekimori/internal/dns"
)

// rowVersion is the first octet of an encoded row. It changes with the encoding.
const rowVersion = 1

// Append appends the encoding of the row to b: everything but the count. Rows are equal in a report if
// and only if their encodings are equal. The strings may hold any octets.
func (r Row) Append(b []byte) []byte {
	var flags byte
	if r.DKIM {
		flags |= 1
	}
	if r.SPF {
		flags |= 2
	}
	source := r.Source.AsSlice()
	b = append(b, rowVersion, flags, byte(len(source)))
	b = append(b, source...)
	b = appendStrings(b, string(r.Disposition), string(r.HeaderFrom), string(r.EnvelopeFrom), string(r.EnvelopeTo),
		r.AuthSPF.Domain, r.AuthSPF.Result, r.AuthSPF.Human)
	b = binary.AppendUvarint(b, uint64(len(r.Reasons)))
	for _, x := range r.Reasons {
		b = appendStrings(b, x.Type, x.Comment)
	}
	b = binary.AppendUvarint(b, uint64(len(r.AuthDKIM)))
	for _, x := range r.AuthDKIM {
		b = appendStrings(b, string(x.Domain), x.Selector, x.Result, x.Human)
	}
	return b
}

// Key returns the digest of the row's encoding.
func (r Row) Key() Key { return KeyOf(r.Append(make([]byte, 0, 512))) }

// KeyOf returns the key of a row that is encoded already.
func KeyOf(encoded []byte) Key {
	sum := sha256.Sum256(encoded)
	return Key(sum[:len(Key{})])
}

// ID returns the digest of everything that makes two policies different in a report. Invalid is not
// part of it.
func (p Policy) ID() PolicyID {
	testing := "n"
	if p.Testing {
		testing = "y"
	}
	b := appendStrings(make([]byte, 0, 256), string(p.Domain), string(p.P), string(p.SP), string(p.NP), string(p.ADKIM), string(p.ASPF), p.FO,
		testing, string(p.Method))
	sum := sha256.Sum256(b)
	return PolicyID(sum[:len(PolicyID{})])
}

// appendStrings appends each string with its length before it.
func appendStrings(b []byte, all ...string) []byte {
	for _, s := range all {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// ParseRow reads what [Row.Append] wrote. The count is 0. The row keeps no reference to b.
func ParseRow(b []byte) (Row, error) {
	d := decoder{rest: string(b)} // one copy, of which all strings of the row are parts
	if d.octet() != rowVersion {
		d.bad = true
	}
	flags := d.octet()
	r := Row{DKIM: flags&1 != 0, SPF: flags&2 != 0}
	if n := int(d.octet()); n != 0 {
		var known bool
		r.Source, known = netip.AddrFromSlice([]byte(d.take(n)))
		d.bad = d.bad || !known
	}
	r.Disposition = Disposition(d.text())
	r.HeaderFrom, r.EnvelopeFrom, r.EnvelopeTo = dns.Name(d.text()), dns.Name(d.text()), dns.Name(d.text())
	r.AuthSPF = SPFResult{Domain: d.text(), Result: d.text(), Human: d.text()}
	if n := d.count(2); n > 0 {
		r.Reasons = make([]Reason, n)
		for i := range r.Reasons {
			r.Reasons[i] = Reason{Type: d.text(), Comment: d.text()}
		}
	}
	if n := d.count(4); n > 0 {
		r.AuthDKIM = make([]DKIMResult, n)
		for i := range r.AuthDKIM {
			r.AuthDKIM[i] = DKIMResult{Domain: dns.Name(d.text()), Selector: d.text(), Result: d.text(), Human: d.text()}
		}
	}
	if d.bad || d.rest != "" || flags > 3 {
		return Row{}, errors.New("report: a stored row cannot be read")
	}
	return r, nil
}

// decoder reads the parts of an encoded row. After a mistake, bad is true and all parts are empty.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) take(n int) string {
	if d.bad || n < 0 || n > len(d.rest) {
		d.bad = true
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) octet() byte {
	if s := d.take(1); s != "" {
		return s[0]
	}
	return 0
}

func (d *decoder) number() int {
	var n uint64
	for shift := 0; shift < 35; shift += 7 { // a length has at most 32 bits
		o := d.octet()
		n |= uint64(o&0x7f) << shift
		if o < 0x80 {
			if shift > 0 && o == 0 { // the same number can be written shorter
				d.bad = true
			}
			return int(n)
		}
	}
	d.bad = true
	return 0
}

func (d *decoder) text() string { return d.take(d.number()) }

// count reads how many entries follow, each of which has that many strings, of at least one octet.
func (d *decoder) count(each int) int {
	n := d.number()
	if d.bad || n > len(d.rest)/each {
		d.bad = true
		return 0
	}
	return n
}

// Compare orders keys. Rows are kept and reported in ascending order of their keys.
func (k Key) Compare(other Key) int { return bytes.Compare(k[:], other[:]) }

// Compare orders ids, as the tallies of a [Batch] are ordered.
func (id PolicyID) Compare(other PolicyID) int { return bytes.Compare(id[:], other[:]) }
