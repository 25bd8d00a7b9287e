package dnswire

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// raw returns the octets of a record.
func raw(owner string, typ uint16, data string) []byte {
	b := append([]byte(owner), byte(typ>>8), byte(typ), 0, classIN, 0, 0, 0, 60)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

// asked is a compression pointer to the name in the question.
const asked = "\xc0\x0c"

// TestDecodeRaw decodes messages that zone text cannot describe. The answer section has one record
// for each string in "answers"; an OPT record follows if opt is not 0.
func TestDecodeRaw(t *testing.T) {
	const typeA, typeCNAME, typeMX, typePTR, typeTXT = uint16(dns.TypeA), uint16(dns.TypeCNAME), uint16(dns.TypeMX), uint16(dns.TypePTR), uint16(dns.TypeTXT)
	long := strings.Repeat("\x3f"+strings.Repeat("a", 63), 4)
	cases := []struct {
		reason  string
		typ     uint16
		records [][]byte
		want    string
	}{
		{"an address of four octets", typeA, [][]byte{raw(asked, typeA, "\xc0\x00\x02\x01")}, "NOERROR x.example 1m0s 192.0.2.1"},
		{"an address of five octets", typeA, [][]byte{raw(asked, typeA, "\xc0\x00\x02\x01\x00")}, "malformed"},
		{"an address of no octets is left out", typeA, [][]byte{raw(asked, typeA, "")}, "NOERROR x.example 0s"},
		{"nobody needs the data of another type", typeTXT, [][]byte{raw(asked, typeA, "\xc0"), raw(asked, typeTXT, "\x01a")}, `NOERROR x.example 1m0s "a"`},
		{"a TXT record without strings is empty", typeTXT, [][]byte{raw(asked, typeTXT, "")}, `NOERROR x.example 1m0s ""`},
		{"a string beyond the record", typeTXT, [][]byte{raw(asked, typeTXT, "\x05ab")}, "malformed"},
		{"a second string beyond the record", typeTXT, [][]byte{raw(asked, typeTXT, "\x01a\x05b")}, "malformed"},
		{"an empty string", typeTXT, [][]byte{raw(asked, typeTXT, "\x00")}, `NOERROR x.example 1m0s ""`},
		{"an empty string at the end", typeTXT, [][]byte{raw(asked, typeTXT, "\x01a\x00")}, `NOERROR x.example 1m0s "a"`},
		{"empty strings", typeTXT, [][]byte{raw(asked, typeTXT, "\x00\x01a\x00")}, `NOERROR x.example 1m0s "a"`},
		{"an MX without a host is left out", typeMX, [][]byte{raw(asked, typeMX, "\x00\x05")}, "NOERROR x.example 0s"},
		{"a PTR without a host is left out", typePTR, [][]byte{raw(asked, typePTR, ""), raw(asked, typePTR, "\x01a\x00")}, "NOERROR x.example 1m0s a"},
		{"octets after the host", typeMX, [][]byte{raw(asked, typeMX, "\x00\x05"+asked+"x")}, "malformed"},
		{"a host by pointer, in capitals", typePTR, [][]byte{raw(asked, typePTR, "\x01A"+asked)}, "NOERROR x.example 1m0s a.x.example"},
		{"a pointer to itself", typePTR, [][]byte{raw(asked, typePTR, "\xc0\x27")}, "malformed"},
		{"a pointer beyond the message", typePTR, [][]byte{raw(asked, typePTR, "\xff\xff")}, "malformed"},
		{"half a pointer", typePTR, [][]byte{raw(asked, typePTR, "\xc0")}, "malformed"},
		{"a host longer than its record", typePTR, [][]byte{raw(asked, typePTR, "\x05ab")}, "malformed"},
		{"a label of an unknown kind", typePTR, [][]byte{raw(asked, typePTR, "\x41a\x00")}, "malformed"},
		{"a name of 257 octets", typePTR, [][]byte{raw(asked, typePTR, long+"\x00")}, "malformed"},
		{"an owner with a dot in a label is another owner", typeA, [][]byte{raw("\x09x.example\x00", typeA, "\xc0\x00\x02\x01")}, "NOERROR x.example 0s"},
		{"an owner that points to itself", typeA, [][]byte{raw("\xc0\x1b", typeA, "\xc0\x00\x02\x01")}, "malformed"},
		{"an owner that points to itself, after the answer", typeA, [][]byte{raw(asked, typeA, "\xc0\x00\x02\x01"), raw("\xc0\x2b", typeA, "\xc0\x00\x02\x01")}, "malformed"},
		{"an owner that points to itself, before the answer", typeA, [][]byte{raw("\xc0\x1b", typeA, "\xc0\x00\x02\x01"), raw(asked, typeA, "\xc0\x00\x02\x01")}, "malformed"},
		{"an alias without a target", typeA, [][]byte{raw(asked, typeCNAME, "")}, "malformed"},
		{"an alias cut in its target", typeA, [][]byte{raw(asked, typeCNAME, "\x05ab")}, "malformed"},
		{"an extended rcode (BADVERS, RFC 6891 §9)", typeA, [][]byte{{0, 0, typeOPT, 4, 0xd0, 1, 0, 0, 0, 0, 0}}, "servfail"},
		{"a record cut in its fixed part", typeA, [][]byte{raw(asked, typeA, "\xc0\x00\x02\x01"), []byte(asked + "\x00\x01")}, "malformed"},
		{"a record cut in its data", typeA, [][]byte{raw(asked, typeA, "\xc0\x00\x02\x01"), raw(asked, typeA, "\xc0\x00\x02\x01")[:14]}, "malformed"},
	}
	for _, c := range cases {
		q := mustQuestion(t, "x.example", dns.Type(c.typ))
		wire := slices.Clone(q.Pack(Options{}).Packet)
		wire[2] |= bitResponse
		for _, r := range c.records {
			count := 7     // of answers
			if r[0] == 0 { // OPT is the only record here whose owner is the root
				count = 11
			}
			wire[count]++
			wire = append(wire, r...)
		}
		r, fail := q.Decode(wire)
		var err error
		if fail != nil {
			err = fail
		}
		if got := nameserver.Show(r.Answer, err); got != c.want {
			t.Errorf("%s: got %s (%v), want %s", c.reason, got, err, c.want)
		}
	}
}

// TestDamagedQuestion: the records after a question that cannot be read are not looked for.
func TestDamagedQuestion(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeA)
	for name, damage := range map[string]func([]byte) []byte{
		"a label of an unknown kind": func(b []byte) []byte { b[HeaderLen] = 0x41; return b },
		"cut in the name":            func(b []byte) []byte { return b[:HeaderLen+3] },
		"cut in the type":            func(b []byte) []byte { return b[:HeaderLen+len("\x01x\x07example\x00")+3] },
	} {
		wire := slices.Clone(q.Pack(Options{}).Packet)
		wire[2] |= bitResponse
		if r, fail := q.Decode(damage(wire)); fail == nil || fail.Kind != dns.KindMalformed {
			t.Errorf("%s: %+v, %v", name, r.Answer, fail)
		}
	}
}

// TestRcodes: the rcodes that have a kind of their own carry no other error, so they are never taken for
// the refusal of a server that does not know EDNS.
func TestRcodes(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeA)
	for rcode := range byte(16) {
		wire := slices.Clone(q.Pack(Options{}).Packet)
		wire[2], wire[3] = wire[2]|bitResponse, rcode
		_, fail := q.Decode(wire)
		var got string
		if fail != nil {
			got = fail.Kind.String()
		}
		want := map[byte]string{0: "", rcodeNameError: "", rcodeRefused: dns.KindRefused.String()}
		expected, ok := want[rcode]
		if !ok {
			expected = dns.KindServFail.String()
		}
		own := rcode == rcodeSuccess || rcode == rcodeNameError || rcode == rcodeRefused || rcode == rcodeServerFailure
		if got != expected || fail != nil && (fail.Err == nil) != own || Rejected(fail) != (rcode == rcodeFormatError || rcode == rcodeNotImplemented) {
			t.Errorf("rcode %d: %q, %v", rcode, got, fail)
		}
	}
}

// TestFewerRecordsThanCounted: a message that ends before a record of its answer or authority
// section is cut, so that no policy is lost without a word. In the additional section nothing is
// that an answer needs.
func TestFewerRecordsThanCounted(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeA)
	address := string(raw(asked, uint16(dns.TypeA), "\xc0\x00\x02\x01"))
	for _, c := range []struct {
		records                       []string
		answer, authority, additional byte // what the header counts
		whole                         bool
	}{
		{nil, 0, 0, 0, true},
		{nil, 1, 0, 0, false},
		{nil, 0, 1, 0, false},
		{nil, 0, 0, 1, true},
		{[]string{address}, 1, 0, 0, true},
		{[]string{address}, 2, 0, 0, false},
		{[]string{address}, 1, 1, 0, false},
		{[]string{address}, 1, 0, 1, true},
		{[]string{address, address}, 1, 1, 0, true},
		{[]string{address, address}, 1, 1, 9, true},
		{[]string{address, address}, 1, 2, 0, false},
	} {
		wire := append(slices.Clone(q.Pack(Options{}).Packet), strings.Join(c.records, "")...)
		wire[7], wire[9], wire[11] = c.answer, c.authority, c.additional
		switch r, fail := q.Decode(wire); {
		case c.whole && (fail != nil || len(r.Answer.Records) != int(c.answer)):
			t.Errorf("%+v: %+v, %v; want it read", c, r, fail)
		case !c.whole && (fail == nil || fail.Kind != dns.KindMalformed):
			t.Errorf("%+v: %+v, %v; want malformed", c, r, fail)
		}
	}
}

// TestPointersAreBounded: a name with as many pointers as allowed is read, one with more is not.
func TestPointersAreBounded(t *testing.T) {
	wire := []byte("\x01a\x00")
	for n := range maxPointers + 2 {
		at := len(wire) - 2*min(n, 1) // the place of the last pointer
		if n == 0 {
			at = 0
		}
		name, _, ok, err := readName(wire, at, "")
		if allowed := n <= maxPointers; (err == nil) != allowed || ok != allowed || allowed && name != "a" {
			t.Errorf("%d pointers: %q %v %v", n, name, ok, err)
		}
		wire = append(wire, 0xc0|byte(at>>8), byte(at))
	}
}
