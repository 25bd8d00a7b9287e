package load

import (
	"math"
	"math/bits"
	"time"
)

// subBits sets the precision of a histogram. From each power of two to the next there are 2^subBits
// buckets. So the value shown differs from the real one by less than 1/128.
const subBits = 6

// histogram counts durations. Its memory does not grow with the length of the run.
type histogram struct {
	counts [64 << subBits]uint32
	total  uint64
	max    time.Duration
}

// bucket returns the index of the bucket for a duration of ns nanoseconds. Each value below
// 2^subBits has a bucket of its own.
func bucket(ns uint64) int {
	if ns < 1<<subBits {
		return int(ns)
	}
	shift := bits.Len64(ns) - subBits - 1
	return shift<<subBits + int(ns>>shift)
}

// middle returns the duration in the middle of bucket i.
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

// quantile returns a duration that the share q (0 to 1) of all values do not exceed. It returns 0
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
