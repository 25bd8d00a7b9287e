// Package distinct estimates how many different values were seen in the last
// days, in memory that does not grow with their number. It is HyperLogLog with
// one sketch a day, which are merged when somebody asks. The estimator is the
// improved raw one of Otmar Ertl, "New cardinality estimation algorithms for
// HyperLogLog sketches" (arXiv:1702.01284), which needs no correction at any
// size.
package distinct

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// Days is how many days a Window looks back, the running one included. A
	// day is one of UTC.
	Days = 30
	// StandardError of an estimate, as a share of it: 1.04 / √registers.
	StandardError = 0.01625

	precision = 12             // bits of a hash that choose a register
	registers = 1 << precision // of a sketch, an octet each
	topRank   = 64 - precision + 1
	perWord   = 4 // registers in a word, so that they can be set atomically
)

// Window counts the different values of the last Days days. The memory is 4 KiB
// for every day on which something was seen, at most 120 KiB. Values are hashed
// with a seed that nobody knows, so that a stranger cannot choose them to be
// counted as many or as none. Safe for concurrent use; nothing locks.
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

// sketch returns the one of a day. It takes the place of the one of Days before,
// or of whatever a clock that was wrong has left there.
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

// estimate is the estimator of the merged registers.
func estimate(merged *[registers]uint8) float64 {
	const m = float64(registers)
	var count [topRank + 1]float64 // registers by their rank; 0 is never set
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

// sigma is x + Σ x^(2^k)·2^(k-1), which corrects for registers never set; it is
// infinite where that is all of them.
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

// tau is (1 - x - Σ (1-x^(2^-k))²·2^-k) / 3, which corrects for registers that
// can rise no more.
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
