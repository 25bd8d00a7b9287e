package ledger

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"sekimori/internal/distinct"
)

const (
	// sketchBits gives a relative error of 13 %, which tells few networks from many.
	sketchBits = 6
	registers  = 1 << sketchBits
)

// Sketch estimates how many different networks a domain's mail came from. It takes the same memory
// however many they are. The zero value is empty.
type Sketch struct {
	registers [registers]uint8
}

// AddNetwork notes a network. The hash has no secret: a forger who knows it can only make a domain's mail
// seem to come from more networks, which the forger can do by using more networks.
func (s *Sketch) AddNetwork(p netip.Prefix) {
	b := p.Addr().As16()
	h := mix(binary.BigEndian.Uint64(b[:8])) ^ binary.BigEndian.Uint64(b[8:])
	distinct.Raise(s.registers[:], mix(h+uint64(p.Bits())))
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(h uint64) uint64 {
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Merge adds what the other one has seen. It reports whether that changed anything.
func (s *Sketch) Merge(o *Sketch) bool { return distinct.Merge(s.registers[:], o.registers[:]) }

// Estimate returns about how many networks were noted.
func (s *Sketch) Estimate() float64 { return distinct.Estimate(s.registers[:]) }

// Append appends the sketch: which registers are set, and their values. Few are, for most domains.
func (s *Sketch) Append(b []byte) []byte {
	var set uint64
	for i, r := range s.registers {
		if r != 0 {
			set |= 1 << i
		}
	}
	b = binary.BigEndian.AppendUint64(b, set)
	for _, r := range s.registers {
		if r != 0 {
			b = append(b, r)
		}
	}
	return b
}

// readSketch reads what Append wrote, and returns the rest.
func (d *decoder) sketch() (s Sketch) {
	set := d.take(8)
	if d.bad {
		return s
	}
	mask := binary.BigEndian.Uint64([]byte(set))
	values := d.take(bits.OnesCount64(mask))
	for i := range s.registers {
		if mask&(1<<i) != 0 && !d.bad {
			s.registers[i], values = values[0], values[1:]
			d.bad = d.bad || s.registers[i] == 0 || int(s.registers[i]) > distinct.TopRank(registers)
		}
	}
	return s
}
