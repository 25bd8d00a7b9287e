// Package distinct estimates how many different values were seen in the last 30 days. The memory
// does not grow with the number of values. The package keeps one HyperLogLog sketch for each day
// and merges the sketches for an estimate. The formula is the "improved raw estimator" of Otmar
// Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284). It
// needs no special treatment of small or large numbers.
package distinct

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// Days is the number of UTC days that a Window covers, today included.
	Days = 30
	// StandardError is the relative error of an estimate: 1.04 / √registers.
	StandardError = 0.01625

	precision = 12             // number of bits of a hash that choose a register
	registers = 1 << precision // number of registers of a sketch, one octet each
	perWord   = 4              // number of registers in a uint32, which atomic operations change as a whole
)

// Window counts the different values of the last Days days. It takes 4 KiB for each day on which a
// value was seen, at most 120 KiB. Values are hashed with a random seed, so nobody can choose
// values that distort the estimate. It is safe for concurrent use and has no lock.
type Window struct {
	seed maphash.Seed
	days [Days]atomic.Pointer[sketch]
}

// sketch holds the registers for the values of one day. The field "day" is the number of that day,
// counted from the beginning of 1970.
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

// Estimate returns about how many different values were seen on the UTC day of now and on the
// Days-1 days before that day.
func (w *Window) Estimate(now time.Time) float64 {
	var merged [registers]uint8
	today := day(now)
	for i := range w.days {
		if s := w.days[i].Load(); s != nil && s.day <= today && s.day > today-Days {
			s.mergeInto(&merged)
		}
	}
	return Estimate(merged[:])
}

func day(t time.Time) int64 {
	const seconds = 24 * 60 * 60
	return t.Unix() / seconds
}

// sketch returns the sketch of a day. If there is none yet, it makes one. The new sketch replaces
// the sketch of another day that has the same place. Usually that is the day Days days before. If
// the clock was wrong, it may be any other day.
func (w *Window) sketch(day int64) *sketch {
	place := &w.days[uint64(day)%Days]
	for {
		s := place.Load()
		if s != nil && s.day == day {
			return s
		}
		place.CompareAndSwap(s, &sketch{day: day}) // the next round finds this one, or that of another goroutine
	}
}

// raise sets a register to rank if the register is lower.
func (s *sketch) raise(register uint64, rank uint32) {
	word, shift := &s.words[register/perWord], register%perWord*8
	for {
		old := word.Load()
		if old>>shift&0xff >= rank {
			return
		}
		word.CompareAndSwap(old, old&^(0xff<<shift)|rank<<shift)
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

// sigma returns x + Σ x^(2^k)·2^(k-1), the correction for registers that were
// never set. It is infinite if no register was set (x is 1).
func sigma(x float64) float64 {
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
