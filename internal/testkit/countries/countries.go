// Package countries writes files of countries for tests, of the MaxMind DB format
// (https://maxmind.github.io/MaxMind-DB/, version 2.0).
package countries

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Options say how a file differs from the usual one of a test.
type Options struct {
	Type string // the type of the database; "" for Test-Country
	// Path is where a record has the code; nil for country, iso_code.
	Path []string
}

// node has its two children. A child is a node, or 0 for none, or a leaf below 0: minus one minus the number
// of its code.
type node [2]int

// File returns a file in which these networks, which must not overlap, have these codes.
func File(networks map[string]string, o Options) []byte {
	if o.Type == "" {
		o.Type = "Test-Country"
	}
	if o.Path == nil {
		o.Path = []string{"country", "iso_code"}
	}
	nodes, codes := []node{{}}, []string{}
	for network, code := range networks {
		i := slices.Index(codes, code)
		if i < 0 {
			i = len(codes)
			codes = append(codes, code)
		}
		p := netip.MustParsePrefix(network)
		a, bits := p.Addr().As16(), p.Bits()
		if p.Addr().Is4() { // IPv4 is below ::/96
			four := p.Addr().As4()
			a, bits = [16]byte{}, bits+96
			copy(a[12:], four[:])
		}
		at := 0
		for n := range bits {
			bit := a[n/8] >> (7 - n%8) & 1
			switch {
			case n == bits-1:
				nodes[at][bit] = -1 - i
			case nodes[at][bit] == 0:
				nodes = append(nodes, node{})
				nodes[at][bit] = len(nodes) - 1
				at = len(nodes) - 1
			default:
				at = nodes[at][bit]
			}
		}
	}
	var data []byte
	var offsets []int
	for _, code := range codes {
		offsets = append(offsets, len(data))
		for _, key := range o.Path {
			data = text(append(data, 7<<5|1), key) // a map of one pair
		}
		data = text(data, code)
	}
	const separator = 16
	var out []byte
	for _, n := range nodes {
		for _, child := range n {
			value := child
			switch {
			case child == 0:
				value = len(nodes)
			case child < 0:
				value = len(nodes) + separator + offsets[-1-child]
			}
			out = append(out, byte(value>>16), byte(value>>8), byte(value))
		}
	}
	out = append(append(out, make([]byte, separator)...), data...)
	return append(append(out, "\xab\xcd\xefMaxMind.com"...), metadata(len(nodes), o.Type)...)
}

func metadata(nodes int, kind string) []byte {
	const uint16Type, uint32Type = 5 << 5, 6 << 5
	b := []byte{7<<5 | 9}
	number := func(key string, control byte, size, n int) {
		b = append(text(b, key), control|byte(size))
		all := binary.BigEndian.AppendUint64(nil, uint64(n))
		b = append(b, all[8-size:]...)
	}
	number("node_count", uint32Type, 4, nodes)
	number("record_size", uint16Type, 2, 24)
	number("ip_version", uint16Type, 2, 6)
	number("binary_format_major_version", uint16Type, 2, 2)
	number("binary_format_minor_version", uint16Type, 2, 0)
	b = text(text(b, "database_type"), kind)
	b = append(text(b, "languages"), 0, 11-7)                             // an empty array
	b = append(text(b, "description"), 7<<5)                              // an empty map
	return append(text(b, "build_epoch"), 4, 9-7, 0x69, 0x2b, 0x9c, 0x00) // a uint64 of four octets
}

// text appends a string of fewer than 29 octets.
func text(b []byte, s string) []byte { return append(append(b, 2<<5|byte(len(s))), s...) }
