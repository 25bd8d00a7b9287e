package load

import (
	"math"
	"math/bits"
	"time"
)

// subBits sets the precision of a histogram: each doubling of the value has
// 2^subBits buckets, so a value is off by less than 1/128.
const subBits = 6

// histogram counts durations in memory that does not grow with the run.
type histogram struct {
	counts [64 << subBits]uint32
	total  uint64
	max    time.Duration
}

// bucket returns the index of the bucket for ns. Below 2^subBits, each value has
// a bucket of its own.
func bucket(ns uint64) int {
	if ns < 1<<subBits {
		return int(ns)
	}
	shift := bits.Len64(ns) - subBits - 1
	return shift<<subBits + int(ns>>shift)
}

// middle returns the middle of a bucket.
func middle(i int) time.Duration {
	if i < 2<<subBits {
		return time.Duration(i)
	}
	shift := i>>subBits - 1
	low := uint64(i-shift<<subBits) << shift
	return time.Duration(low + 1<<shift/2)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns the value that the share q of all values do not exceed, or 0
// if there are no values.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.total)))
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		if uint64(n) >= rank {
			return min(middle(i), h.max)
		}
		rank -= uint64(n)
	}
	return h.max
}
