package ledger

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/distinct"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
)

// TestReadSketch checks which encodings of a sketch are damaged.
func TestReadSketch(t *testing.T) {
	most := byte(distinct.TopRank(registers))
	bits := func(last byte) string { return "\x00\x00\x00\x00\x00\x00\x00" + string([]byte{last}) }
	for _, tt := range []struct {
		why, data string
		ok        bool
		first     byte // the value of the first register
	}{
		{"empty", bits(0), true, 0}, {"one register", bits(1) + "\x01", true, 1}, {"the highest value", bits(1) + string([]byte{most}), true, most},
		{"a value that is too high", bits(1) + string([]byte{most + 1}), false, 0}, {"a value that would not be written", bits(1) + "\x00", false, 0},
		{"the second of two is too high", bits(3) + "\x01" + string([]byte{most + 1}), false, 0}, {"the first of two is too high", bits(3) + string([]byte{most + 1}) + "\x01", false, 0},
		{"a value is missing", bits(3) + "\x01", false, 0}, {"all values are missing", bits(1), false, 0}, {"the bits are cut", bits(1)[:7], false, 0}, {"nothing", "", false, 0},
	} {
		d := decoder{rest: tt.data}
		s := d.sketch()
		if d.bad == tt.ok || tt.ok && (s.registers[0] != tt.first || d.rest != "") {
			t.Errorf("%s: bad %t, first register %d, rest %q", tt.why, d.bad, s.registers[0], d.rest)
		}
	}
}

// TestReadRestBounds checks how many signers and networks a rest may have.
func TestReadRestBounds(t *testing.T) {
	for n, ok := range map[int]bool{0: true, MaxSigners + 1: true, MaxSigners + 2: false} {
		r := Row{}
		for i := range n {
			r.Signers = append(r.Signers, Signer{"a.example", fmt.Sprint(i), 1, 0})
		}
		var got Row
		if err := got.ReadRest(r.AppendRest(nil)); (err == nil) != ok || len(got.Signers) != map[bool]int{true: n, false: 0}[ok] {
			t.Errorf("%d signers: %d, %v", n, len(got.Signers), err)
		}
	}
	for n, ok := range map[int]bool{MaxSending: true, MaxSending + 1: false} {
		r := Row{}
		for i := range n {
			r.Sending = append(r.Sending, Sending{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)})
		}
		var got Row
		if err := got.ReadRest(r.AppendRest(nil)); (err == nil) != ok {
			t.Errorf("%d networks: %v", n, err)
		}
	}
	r := Row{Signers: []Signer{{"a.example", "s", 1, 0}}}
	if err := r.ReadRest(nil); err != nil || r.Signers != nil {
		t.Errorf("no rest: %+v, %v", r, err)
	}
}

// TestParseDamaged checks that damaged elements of a Delta are not read.
func TestParseDamaged(t *testing.T) {
	good := Delta{Sources: []Source{{Domain: "a.example", Owner: "a.example", Network: netip.MustParsePrefix("10.0.0.0/24"), Last: today, Days: 1}}}
	if got, err := ParseDelta(good.Append(nil)); err != nil || !reflect.DeepEqual(got, good) {
		t.Errorf("%+v, %v", got, err)
	}
	bad := good
	bad.Sources = []Source{{Domain: "a.example"}} // without a network
	for why, data := range map[string][]byte{
		"no network":      bad.Append(nil),
		"an octet more":   append(good.Append(nil), 0),
		"a day too large": append([]byte{0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x10}, make([]byte, 100)...),
		"a day too small": append([]byte{0, 0, 1, 0x81, 0x80, 0x80, 0x80, 0x10}, make([]byte, 100)...),
	} {
		if got, err := ParseDelta(data); err == nil {
			t.Errorf("%s: %+v", why, got)
		}
	}
	for n, want := range map[string]int64{"\xfe\xff\xff\xff\x0f": 1<<31 - 1, "\xff\xff\xff\xff\x0f": -1 << 31} {
		d := decoder{rest: n}
		if got := d.day(); d.bad || int64(got) != want {
			t.Errorf("%x: day %d, bad %t", n, got, d.bad)
		}
	}
}

// TestTableLists checks the bounds on author domains, networks and signers that are in memory.
func TestTableLists(t *testing.T) {
	table := NewTable()
	x := entry("", "shop.example", today.Time(), "192.0.2.7")
	x.Signers = nil
	for i := range maxAuthors + 2 {
		x.Author = dns.Name(fmt.Sprintf("a%d.shop.example", i))
		table.Add(&x, today)
	}
	if len(table.authors) != maxAuthors || len(table.sources) != maxAuthors || table.rows[rowKey{"shop.example", today}].Messages != maxAuthors+2 {
		t.Errorf("%d author domains, %d sources", len(table.authors), len(table.sources))
	}
	x.Author = "a0.shop.example"
	for i := range maxSources - maxAuthors + 2 {
		x.Client = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		if i >= 1<<16 {
			x.Client = netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 1})
		}
		table.Add(&x, today)
	}
	x.Client = netip.Addr{}
	table.Add(&x, today)
	if got := len(table.sources); got != maxSources {
		t.Errorf("%d sources", got)
	}
	if got := table.authors[rowKey{"a0.shop.example", today}].Pass; got != maxSources-maxAuthors+4 {
		t.Errorf("a known author domain has %d passes", got)
	}
	r := &Row{}
	for i := range maxTableSigners {
		r.addSigner(Signer{"a.example", fmt.Sprint(i), 1, 0})
	}
	r.addSigner(Signer{"a.example", "0", 1, 0})
	if len(r.Signers) != maxTableSigners || r.Signers[0].Pass != 2 {
		t.Errorf("%d signers, the first %+v", len(r.Signers), r.Signers[0])
	}
	if r.addSigner(Signer{"a.example", "new", 1, 0}); len(r.Signers) != MaxSigners+1 {
		t.Errorf("%d signers after one more than are in memory", len(r.Signers))
	}
}

// TestLatestPolicy checks whose policy a row has: that of the message that came last, and of two that came in the same
// second that of the one that was added later.
func TestLatestPolicy(t *testing.T) {
	for after, want := range map[time.Duration]dmarc.Policy{-time.Second: "reject", 0: "none", time.Second: "none"} {
		table := NewTable()
		first := entry("shop.example", "shop.example", today.Time(), "192.0.2.7")
		second := entry("shop.example", "shop.example", today.Time().Add(after), "192.0.2.7")
		second.Policy = "none"
		table.Add(&first, today)
		table.Add(&second, today)
		r := table.Take("", 0).Rows[0]
		begin := today.Time().Unix()
		if r.Policy != want || r.First != begin+min(0, int64(after.Seconds())) || r.Last != begin+max(0, int64(after.Seconds())) {
			t.Errorf("%s after the first: policy %q, from %d to %d", after, r.Policy, r.First-begin, r.Last-begin)
		}
	}
}

// TestMix compares with the first outputs of SplitMix64 for the seed 0. Sketches are stored, so the hash must not change.
func TestMix(t *testing.T) {
	const step = 0x9e3779b97f4a7c15
	for n, want := range []uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f} {
		if got := mix(uint64(n) * step); got != want {
			t.Errorf("output %d: %#x, want %#x", n, got, want)
		}
	}
	r := Row{Sending: []Sending{{Pass: 1}}} // without a network
	if err := r.ReadRest(r.AppendRest(nil)); err == nil {
		t.Error("a rest without a network is read")
	}
}

// TestRecordOfOneDay looks for the record of the only day before.
func TestRecordOfOneDay(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	before := []Row{{Day: today - 1, Sending: []Sending{{Network: network, Pass: 100, Record: 1}}}}
	got := lostAddresses(before, &Row{Sending: []Sending{{Network: network, Missed: 100, Record: 2}}}, 1)
	if len(got) != 1 || !strings.Contains(got[0].evidence, "changed since 2026-11-28") {
		t.Errorf("%+v", got)
	}
}
