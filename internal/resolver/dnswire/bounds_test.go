package dnswire

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"sekimori/internal/dns"
)

// TestCheckCounts checks the bound on records, and whether a message could have room for as many.
func TestCheckCounts(t *testing.T) {
	const more = dns.MaxRecords + 1
	for _, c := range []struct {
		counts [3]uint16
		size   int
		want   error
	}{
		{[3]uint16{dns.MaxRecords - 1}, HeaderLen, nil},
		{[3]uint16{dns.MaxRecords, dns.MaxRecords, dns.MaxRecords}, HeaderLen, nil},
		{[3]uint16{more}, HeaderLen + more*minRecordLen - 1, errBadCount},
		{[3]uint16{more}, HeaderLen + more*minRecordLen, errTooManyRecords},
		{[3]uint16{more}, HeaderLen + more*minRecordLen + 1, errTooManyRecords},
		{[3]uint16{0, more}, HeaderLen + more*minRecordLen, errTooManyRecords},
		{[3]uint16{0, 0, more}, HeaderLen + more*minRecordLen, errTooManyRecords},
		{[3]uint16{1, more, 1}, HeaderLen + (more+2)*minRecordLen - 1, errBadCount},
		{[3]uint16{1, more, 1}, HeaderLen + (more+2)*minRecordLen, errTooManyRecords},
	} {
		wire := make([]byte, c.size)
		for i, n := range c.counts {
			binary.BigEndian.PutUint16(wire[6+2*i:], n)
		}
		if err := checkCounts(wire); !errors.Is(err, c.want) {
			t.Errorf("%v in %d octets: %v, want %v", c.counts, c.size, err, c.want)
		}
	}
}

// TestLabelLength checks the longest label, and one that is longer, where the name begins and behind a pointer.
func TestLabelLength(t *testing.T) {
	for n, want := range map[int]error{dns.MaxLabelLen: nil, dns.MaxLabelLen + 1: errLabel} {
		wire := []byte(string(rune(n)) + strings.Repeat("a", n) + "\x00" + "\xc0\x00")
		for _, off := range []int{0, n + 2} {
			if name, _, _, err := readName(wire, off, ""); !errors.Is(err, want) || err == nil && len(name) != n {
				t.Errorf("a label of %d octets, read from %d: %q, %v", n, off, name, err)
			}
		}
	}
}

// TestNameLength checks the longest name that is read, and those one shorter and one longer.
func TestNameLength(t *testing.T) {
	label := func(n int) string { return string(rune(n)) + strings.Repeat("a", n) }
	first := label(63) + label(63) + label(63)
	for n := 59; n <= 63; n++ {
		text := 3*64 + n
		name, next, ok, err := readName([]byte(first+label(n)+"\x00"), 0, "")
		switch {
		case text <= dns.MaxNameLen && (err != nil || !ok || len(name) != text || next != text+2):
			t.Errorf("a name of %d octets: %q, %d, %t, %v", text, name, next, ok, err)
		case text > dns.MaxNameLen && (!errors.Is(err, errLongName) || ok):
			t.Errorf("a name of %d octets: %q, %v; want %v", text, name, err, errLongName)
		}
	}
}
