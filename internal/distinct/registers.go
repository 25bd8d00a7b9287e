package distinct

import (
	"math"
	"math/bits"
)

// Registers is how many registers the sketch of a day has. Sketches of other sizes have a power of two,
// at least 16. Fewer registers make the relative error larger: it is 1.04 / √registers.
const Registers = registers

// TopRank is the highest value that a register can have in a sketch of so many registers.
func TopRank(registers int) int { return 64 - precisionOf(registers) + 1 }

func precisionOf(registers int) int { return bits.Len(uint(registers)) - 1 } //nolint:gosec // a length is not negative

// Raise notes a value by its hash. It reports whether that changed a register.
func Raise(registers []uint8, hash uint64) bool {
	p := precisionOf(len(registers))
	rank := uint8(bits.LeadingZeros64(hash<<p|1<<(p-1)) + 1) //nolint:gosec // at most 65
	r := &registers[hash>>(64-p)]
	if rank <= *r {
		return false
	}
	*r = rank
	return true
}

// Merge makes "into" a sketch of all values that either of the two has noted. Both must have the same
// size. It reports whether that changed a register.
func Merge(into, from []uint8) (changed bool) {
	for i, rank := range from {
		if rank > into[i] {
			into[i], changed = rank, true
		}
	}
	return changed
}

// Estimate returns about how many different values were noted.
func Estimate(registers []uint8) float64 {
	m, top := float64(len(registers)), TopRank(len(registers))
	var count [65]float64 // by rank: the number of registers that have it; rank 0 means that the register was never set
	for _, rank := range registers {
		count[min(int(rank), top)]++
	}
	z := m * tau(1-count[top]/m)
	for k := top - 1; k >= 1; k-- {
		z = (z + count[k]) / 2
	}
	z += m * sigma(count[0]/m)
	return m * m / (2 * math.Ln2 * z)
}
