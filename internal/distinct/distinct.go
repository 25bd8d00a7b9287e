// Package distinct estimates how many different values were seen in the last
// 30 days, in memory that does not grow with their number. It keeps one
// HyperLogLog sketch for each day and merges the sketches for an estimate. The
// estimator is the improved raw one of Otmar Ertl, "New cardinality estimation
// algorithms for HyperLogLog sketches" (arXiv:1702.01284). It needs no
// correction for small or large numbers.
package distinct

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// Days is how many days of UTC a Window covers, today included.
	Days = 30
	// StandardError is the relative error of an estimate: 1.04 / √registers.
	StandardError = 0.01625

	precision = 12             // bits of a hash that choose a register
	registers = 1 << precision // in a sketch; each is an octet
	topRank   = 64 - precision + 1
	perWord   = 4 // registers in a word; an atomic operation sets a whole word
)

// Window counts the different values of the last Days days. It takes 4 KiB for
// each day on which a value was seen, at most 120 KiB. Values are hashed with a
// random seed, so that a stranger cannot choose values that count as many or as
// none. It is safe for concurrent use and has no lock.
type Window struct {
	seed maphash.Seed
	days [Days]atomic.Pointer[sketch]
}

// sketch is what was seen on one day, numbered from 1970.
type sketch struct {
	day   int64
	words [registers / perWord]atomic.Uint32
}

// NewWindow returns an empty Window.
func NewWindow() *Window { return &Window{seed: maphash.MakeSeed()} }

// Add notes that value was seen.
func (w *Window) Add(value string, at time.Time) { w.add(maphash.String(w.seed, value), at) }

func (w *Window) add(hash uint64, at time.Time) {
	rank := bits.LeadingZeros64(hash<<precision|1<<(precision-1)) + 1
	w.sketch(day(at)).raise(hash>>(64-precision), uint32(rank))
}

// Estimate returns about how many different values were seen on the day of now
// and the Days-1 before it.
func (w *Window) Estimate(now time.Time) float64 {
	var merged [registers]uint8
	today := day(now)
	for i := range w.days {
		if s := w.days[i].Load(); s != nil && s.day <= today && s.day > today-Days {
			s.mergeInto(&merged)
		}
	}
	return estimate(&merged)
}

func day(t time.Time) int64 {
	const seconds = 24 * 60 * 60
	return t.Unix() / seconds
}

// sketch returns the sketch of a day. If there is none yet, a new sketch
// replaces the one of Days before, or one that a wrong clock left there.
func (w *Window) sketch(day int64) *sketch {
	place := &w.days[uint64(day)%Days]
	for {
		s := place.Load()
		if s != nil && s.day == day {
			return s
		}
		next := &sketch{day: day}
		if place.CompareAndSwap(s, next) {
			return next
		}
	}
}

// raise sets a register to rank if it is lower.
func (s *sketch) raise(register uint64, rank uint32) {
	word, shift := &s.words[register/perWord], register%perWord*8
	for {
		old := word.Load()
		if old>>shift&0xff >= rank {
			return
		}
		if word.CompareAndSwap(old, old&^(0xff<<shift)|rank<<shift) {
			return
		}
	}
}

func (s *sketch) mergeInto(merged *[registers]uint8) {
	for i := range s.words {
		word := s.words[i].Load()
		for j := range perWord {
			r := &merged[i*perWord+j]
			*r = max(*r, uint8(word>>(8*j)))
		}
	}
}

// estimate returns the estimate for the merged registers.
func estimate(merged *[registers]uint8) float64 {
	const m = float64(registers)
	var count [topRank + 1]float64 // the number of registers of each rank; rank 0 is a register never set
	for _, rank := range merged {
		count[rank]++
	}
	z := m * tau(1-count[topRank]/m)
	for k := topRank - 1; k >= 1; k-- {
		z = (z + count[k]) / 2
	}
	z += m * sigma(count[0]/m)
	return m * m / (2 * math.Ln2 * z)
}

// sigma returns x + Σ x^(2^k)·2^(k-1), the correction for registers that were
// never set. It is infinite if no register was set (x is 1).
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	sum := x
	for weight := 1.0; ; weight *= 2 {
		x *= x
		before := sum
		sum += x * weight
		if sum == before {
			return sum
		}
	}
}

// tau returns (1 - x - Σ (1-x^(2^-k))²·2^-k) / 3, the correction for registers
// that have the highest rank.
func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	sum := 1 - x
	for weight := 0.5; ; weight /= 2 {
		x = math.Sqrt(x)
		before := sum
		sum -= (1 - x) * (1 - x) * weight
		if sum == before {
			return sum / 3
		}
	}
}
