package ledger

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
)

// restVersion is the first octet of an encoded rest. It changes with the encoding. Rests of the first version,
// which has no networks for SPF, are read too: the ledger keeps rows for a year.
const (
	restVersion  = 2
	firstVersion = 1
)

// errDamaged is the error for octets that this package did not write.
var errDamaged = errors.New("ledger: what is stored cannot be read")

// AppendRest appends what a store keeps of a row as it is: the signers, the networks for SPF and the sketch.
// Everything else stands in columns.
func (r *Row) AppendRest(b []byte) []byte {
	b = append(b, restVersion)
	b = r.Sources.Append(b)
	b = binary.AppendUvarint(b, uint64(len(r.Signers)))
	for _, s := range r.Signers {
		b = appendText(b, string(s.Domain))
		b = appendText(b, s.Selector)
		b = binary.AppendVarint(b, s.Pass)
		b = binary.AppendVarint(b, s.Fail)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Sending)))
	for _, s := range r.Sending {
		b = appendText(b, NetworkText(s.Network))
		for _, n := range [...]int64{s.Pass, s.Missed, s.Signed} {
			b = binary.AppendVarint(b, n)
		}
		b = binary.BigEndian.AppendUint32(b, s.Record)
	}
	return b
}

// ReadRest fills in what AppendRest wrote. No octets are an empty rest.
func (r *Row) ReadRest(b []byte) error {
	r.Sources, r.Signers, r.Sending = Sketch{}, nil, nil
	if len(b) == 0 {
		return nil
	}
	d := decoder{rest: string(b)}
	v := d.take(1)
	if v != string(rune(restVersion)) && v != string(rune(firstVersion)) {
		return errDamaged
	}
	r.Sources = d.sketch()
	for range d.length() {
		r.Signers = append(r.Signers, Signer{dns.Name(d.text()), d.text(), d.number(), d.number()})
	}
	if v == string(rune(restVersion)) {
		for range d.length() {
			r.Sending = append(r.Sending, d.sending())
		}
	}
	if d.bad || d.rest != "" || len(r.Signers) > MaxSigners+1 || len(r.Sending) > MaxSending {
		r.Sources, r.Signers, r.Sending = Sketch{}, nil, nil
		return errDamaged
	}
	return nil
}

func (d *decoder) sending() (s Sending) {
	var ok bool
	s.Network, ok = ParseNetwork(d.text())
	s.Pass, s.Missed, s.Signed = d.number(), d.number(), d.number()
	record := d.take(4)
	if d.bad || !ok {
		d.fail()
		return Sending{}
	}
	s.Record = binary.BigEndian.Uint32([]byte(record))
	return s
}

// MergeRest returns the encoding of both rests together. A damaged one counts as empty, because a count
// that is missing is better than a batch that can never be stored.
func MergeRest(old, added []byte) []byte {
	var a, b Row
	_ = a.ReadRest(old)
	_ = b.ReadRest(added)
	a.Sources.Merge(&b.Sources)
	for _, s := range b.Signers {
		a.Signers = addSigner(a.Signers, s)
	}
	a.Signers = strongest(a.Signers)
	for _, s := range b.Sending {
		a.Sending = addSending(a.Sending, s)
	}
	a.Sending = mostSending(a.Sending)
	return a.AppendRest(nil)
}

// Append appends an encoding of the whole Delta, for the spool.
func (d *Delta) Append(b []byte) []byte {
	b = binary.AppendVarint(b, d.MaxDomains)
	b = binary.AppendUvarint(b, uint64(len(d.Rows)))
	for i := range d.Rows {
		r := &d.Rows[i]
		b = binary.AppendVarint(b, int64(r.Day))
		b = appendTexts(b, string(r.Domain), r.Group, string(r.Policy), r.Example)
		for _, n := range r.Fields() {
			b = binary.AppendVarint(b, *n)
		}
		b = binary.AppendVarint(b, r.First)
		b = binary.AppendVarint(b, r.Last)
		b = appendText(b, string(r.AppendRest(nil)))
	}
	b = binary.AppendUvarint(b, uint64(len(d.Authors)))
	for _, a := range d.Authors {
		b = binary.AppendVarint(b, int64(a.Day))
		b = appendTexts(b, string(a.Domain), string(a.Owner))
		b = binary.AppendVarint(b, a.Pass)
		b = binary.AppendVarint(b, a.Signed)
		b = binary.AppendVarint(b, a.Both)
	}
	b = binary.AppendUvarint(b, uint64(len(d.Sources)))
	for _, s := range d.Sources {
		b = appendTexts(b, string(s.Domain), string(s.Owner), NetworkText(s.Network))
		b = binary.AppendVarint(b, int64(s.Last))
		b = binary.AppendUvarint(b, uint64(s.Days))
	}
	b = binary.AppendUvarint(b, uint64(len(d.Totals)))
	for _, t := range d.Totals {
		b = binary.AppendVarint(b, int64(t.Day))
		b = appendTexts(b, t.Group, t.SPF, t.DKIM, string(t.Policy), t.DMARC, t.Applied, t.Override)
		b = binary.AppendVarint(b, t.Messages)
	}
	b = binary.AppendUvarint(b, uint64(len(d.Figures)))
	for _, f := range d.Figures {
		b = binary.AppendVarint(b, int64(f.Day))
		b = appendTexts(b, f.Group, string(f.Kind), f.Word, f.Result)
		b = binary.AppendVarint(b, f.Messages)
	}
	b = binary.AppendUvarint(b, uint64(len(d.Dropped)))
	for _, x := range d.Dropped {
		b = binary.AppendVarint(b, int64(x.Day))
		b = appendText(b, x.Group)
		b = binary.AppendVarint(b, x.Messages)
	}
	return b
}

// ParseDelta reads what Append wrote.
func ParseDelta(data []byte) (Delta, error) {
	d := decoder{rest: string(data)}
	out := Delta{MaxDomains: d.number()}
	for range d.length() {
		r := Row{Day: d.day(), Domain: dns.Name(d.text()), Group: d.text(), Policy: dmarc.Policy(d.text()), Example: d.text()}
		for _, n := range r.Fields() {
			*n = d.number()
		}
		r.First, r.Last = d.number(), d.number()
		if rest := d.text(); r.ReadRest([]byte(rest)) != nil {
			d.bad = true
		}
		if d.bad {
			break
		}
		out.Rows = append(out.Rows, r)
	}
	for range d.length() {
		out.Authors = append(out.Authors, Author{d.day(), dns.Name(d.text()), dns.Name(d.text()), d.number(), d.number(), d.number()})
	}
	for range d.length() {
		s := Source{Domain: dns.Name(d.text()), Owner: dns.Name(d.text())}
		var ok bool
		if s.Network, ok = ParseNetwork(d.text()); !ok {
			d.bad = true
			break
		}
		s.Last, s.Days = d.day(), DaySet(d.unsigned())
		out.Sources = append(out.Sources, s)
	}
	for range d.length() {
		out.Totals = append(out.Totals, Total{d.day(), d.text(), d.text(), d.text(), dmarc.Policy(d.text()), d.text(), d.text(), d.text(), d.number()})
	}
	for range d.length() {
		out.Figures = append(out.Figures, Figure{d.day(), d.text(), FigureKind(d.text()), d.text(), d.text(), d.number()})
	}
	for range d.length() {
		out.Dropped = append(out.Dropped, Dropped{d.day(), d.text(), d.number()})
	}
	if d.bad || d.rest != "" {
		return Delta{}, errDamaged
	}
	return out, nil
}

// NetworkText returns how a store keeps a network: the octets of its address and its length. Networks
// of equal length are ordered as their texts.
func NetworkText(p netip.Prefix) string {
	return string(append(p.Addr().AsSlice(), byte(p.Bits()))) //nolint:gosec // at most 128
}

// ParseNetwork reads what NetworkText wrote.
func ParseNetwork(s string) (netip.Prefix, bool) {
	if s == "" {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice([]byte(s[:len(s)-1]))
	if !ok || int(s[len(s)-1]) > a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, int(s[len(s)-1])), true
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTexts(b []byte, all ...string) []byte {
	for _, s := range all {
		b = appendText(b, s)
	}
	return b
}

// decoder reads the parts of an encoding. After a mistake bad is true, and all that follows is empty.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) fail() {
	d.bad, d.rest = true, ""
}

func (d *decoder) take(n int) string {
	if d.bad || n < 0 || n > len(d.rest) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

// prefix is long enough for every number.
func (d *decoder) prefix() []byte { return []byte(d.rest[:min(len(d.rest), binary.MaxVarintLen64)]) }

func (d *decoder) number() int64 {
	v, n := binary.Varint(d.prefix())
	if d.bad || n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) unsigned() uint64 {
	v, n := binary.Uvarint(d.prefix())
	if d.bad || n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) day() Day {
	n := d.number()
	if n != int64(int32(n)) { //nolint:gosec // the conversion is what is checked
		d.fail()
	}
	return Day(n) //nolint:gosec // see above
}

// length reads how many elements or octets follow. Each has at least one octet.
func (d *decoder) length() int {
	n := d.unsigned()
	if n > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n) //nolint:gosec // at most the length of a string
}

func (d *decoder) text() string { return d.take(d.length()) }
