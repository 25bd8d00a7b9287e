package dnswire

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
)

// TestAuthority checks how long an answer without records may be cached, by what stands in its authority section, and
// that no other section counts.
func TestAuthority(t *testing.T) {
	const apex = "\x07example\x00"
	numbers := func(minimum byte) string {
		return strings.Repeat("\x00\x00\x00\x01", 4) + "\x00\x00\x00" + string([]byte{minimum})
	}
	soa := func(owner, data string) string { return string(raw(owner, typeSOA, data)) }
	names := "\x02ns\x00" + "\x00"
	good := soa(apex, names+numbers(30))
	address := string(raw(asked, uint16(dns.TypeA), "\xc0\x00\x02\x01"))
	ns := string(raw(apex, uint16(dns.TypeNS), "\x02ns\x00"))
	for _, tt := range []struct {
		why       string
		authority []string
		other     []string // records of the additional section
		soa, ns   bool
		ttl       time.Duration
	}{
		{"nothing", nil, nil, false, false, 0},
		{"an SOA", []string{good}, nil, true, false, 30 * time.Second},
		{"an SOA after another record", []string{ns, good}, nil, true, true, 30 * time.Second},
		{"an SOA, and more records in the next section", []string{good}, []string{address, address, address}, true, false, 30 * time.Second},
		{"an SOA in the next section", []string{ns}, []string{good}, false, true, 0},
		{"only in the next section", nil, []string{good, ns}, false, false, 0},
		{"the TTL of the record is less", []string{soa(apex, names+numbers(90))}, nil, true, false, time.Minute},
		{"an SOA of another zone, and then ours", []string{soa("\x05other\x00", names+numbers(9)), good}, nil, true, false, 30 * time.Second},
		{"two of ours: the first counts", []string{good, soa(apex, names+numbers(9))}, nil, true, false, 30 * time.Second},
		{"one that cannot be read, and then another", []string{soa(apex, names), soa(apex, names+numbers(9))}, nil, true, false, 0},
		{"an SOA of a name below", []string{soa("\x01a\x01x\x07example\x00", names+numbers(30))}, nil, true, false, 0},
		{"an SOA of a name with a dot inside a label", []string{soa("\x09x.example\x00", names+numbers(30))}, nil, true, false, 0},
		{"an SOA whose owner is a pointer to itself", []string{soa("\xc0\x1b", names+numbers(30))}, nil, true, false, 0},
		{"an SOA of the root", []string{soa("\x00", names+numbers(30))}, nil, true, false, 30 * time.Second},
		{"four numbers", []string{soa(apex, names+numbers(30)[4:])}, nil, true, false, 0},
		{"six numbers", []string{soa(apex, names+"\x00\x00\x00\x01"+numbers(30))}, nil, true, false, 0},
		{"one name", []string{soa(apex, "\x02ns\x00"+numbers(30))}, nil, true, false, 0},
		{"no name", []string{soa(apex, numbers(30))}, nil, true, false, 0},
		{"a name of an unknown kind", []string{soa(apex, "\x41"+names+numbers(30))}, nil, true, false, 0},
	} {
		q := mustQuestion(t, "x.example", dns.TypeA)
		wire := append(slices.Clone(q.Pack(Options{}).Packet), strings.Join(tt.authority, "")+strings.Join(tt.other, "")...)
		wire[2] |= bitResponse | bitAuthoritative
		wire[9], wire[11] = byte(len(tt.authority)), byte(len(tt.other))
		m, err := readMessage(wire)
		if err != nil {
			t.Fatalf("%s: %v", tt.why, err)
		}
		if soa, ns, ttl := m.negative("x.example"); soa != tt.soa || ns != tt.ns || ttl != tt.ttl {
			t.Errorf("%s: SOA %t, NS %t, TTL %s; want %t, %t, %s", tt.why, soa, ns, ttl, tt.soa, tt.ns, tt.ttl)
		}
	}
}

// TestSeconds checks how TTLs at the edge of their range are read.
func TestSeconds(t *testing.T) {
	for ttl, want := range map[uint32]time.Duration{0: 0, 1: time.Second, 1<<31 - 1: (1<<31 - 1) * time.Second, 1 << 31: 0, 1<<32 - 1: 0} {
		if got := seconds(ttl); got != want {
			t.Errorf("%d: %s", ttl, got)
		}
	}
}

// TestTextBound checks that a TXT answer may have as much text as is allowed, and no more.
func TestTextBound(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeTXT)
	for _, more := range []int{0, 1} {
		var records [][]byte
		for left := dns.MaxTextOctets + more; left > 0; {
			n := min(left, 255)
			records = append(records, raw(asked, uint16(dns.TypeTXT), string([]byte{byte(n)})+strings.Repeat("a", n)))
			left -= n
		}
		wire := slices.Clone(q.Pack(Options{}).Packet)
		wire[2] |= bitResponse
		wire[6], wire[7] = byte(len(records)>>8), byte(len(records))
		for _, r := range records {
			wire = append(wire, r...)
		}
		wire[3] = byte(more * rcodeNameError) // too much text is not only a contradiction
		r, fail := q.Decode(wire)
		if more == 0 && (fail != nil || len(r.Answer.Records) != len(records)) || more == 1 && (fail == nil || fail.Kind != dns.KindTooLarge) {
			t.Errorf("%d octets more than allowed: %d records, %v", more, len(r.Answer.Records), fail)
		}
	}
}

// TestNameBehindPointer checks what a pointer may lead to: what stands there is checked as what stands before it.
func TestNameBehindPointer(t *testing.T) {
	for _, tt := range []struct {
		why, wire string
		want      dns.Name
		err       error
	}{
		{"a name", "\xc0\x02\x02ab\x00", "ab", nil}, {"the root", "\xc0\x02\x00", "", nil},
		{"a label of an unknown kind", "\xc0\x02\x41a\x00", "", errLabel}, {"a label that is cut", "\xc0\x02\x05ab", "", errCut}, {"a label without an end", "\xc0\x02\x02ab", "", errCut},
		{"no pointer, but a label of an unknown kind", "\x41a\x00", "", errLabel}, {"no pointer, and no end", "\x02ab", "", errCut},
		{"nothing", "\xc0\x02", "", errCut}, {"half a pointer", "\xc0\x02\xc0", "", errCut}, {"itself", "\xc0\x00", "", errPointers},
	} {
		name, _, ok, err := readName([]byte(tt.wire), 0, "")
		if name != tt.want || !errors.Is(err, tt.err) || ok != (tt.err == nil) {
			t.Errorf("%s: %q, %t, %v", tt.why, name, ok, err)
		}
	}
}

// TestLabelKinds checks that a label of an unknown kind is not passed over as a long one.
func TestLabelKinds(t *testing.T) {
	for length, want := range map[int]error{63: nil, 64: errLabel, 65: errLabel, 0xbf: errLabel} {
		wire := string([]byte{byte(length)}) + strings.Repeat("a", length) + "\x00"
		if off, err := skipName([]byte(wire), 0); !errors.Is(err, want) || err == nil && off != len(wire) {
			t.Errorf("%d octets: %d, %v", length, off, err)
		}
	}
	m := message{wire: []byte("\xc0\x02\x41")}
	if _, _, err := m.nameData(rr{data: 0, end: 3}, 0); !errors.Is(err, errLabel) {
		t.Errorf("%v", err)
	}
}

// TestMoreQuestionsCounted checks that a message may end before a question that its header counts: the answer of which
// the rest is missing has no records.
func TestMoreQuestionsCounted(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeA)
	wire := slices.Clone(q.Pack(Options{}).Packet)
	wire[2] |= bitResponse
	for _, count := range []byte{1, 2, 9} {
		wire[5] = count
		if m, err := readMessage(wire); err != nil || m.answer != len(wire) {
			t.Errorf("%d questions: %v, answers from %d", count, err, m.answer)
		}
	}
	if _, err := readMessage(wire[:HeaderLen]); err != nil {
		t.Errorf("a header alone: %v", err)
	}
}

// TestFold checks that the letters of ASCII, and no other octets, lose their case.
func TestFold(t *testing.T) {
	for c := range 256 {
		want := byte(c)
		if i := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZ", byte(c)); i >= 0 {
			want = "abcdefghijklmnopqrstuvwxyz"[i]
		}
		if got := fold(byte(c)); got != want {
			t.Errorf("%#x: %#x", c, got)
		}
	}
}
