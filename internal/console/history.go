package console

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/policy"
)

const (
	// sampleEvery is how often the numbers of messages are sampled. A bar of a chart covers
	// one or more of these intervals.
	sampleEvery = time.Minute
	// maxSamples is the largest number of samples that are kept: one for each minute of a
	// day, and one for the beginning of the first minute.
	maxSamples = 24*60 + 1
)

// counts are numbers of messages by verdict, in the order of policy.Actions.
type counts [6]int64

func countsOf(messages map[string]int64) (c counts) {
	for i, a := range policy.Actions {
		c[i] = messages[string(a)]
	}
	return c
}

func (c counts) minus(d counts) counts {
	for i := range c {
		c[i] = max(0, c[i]-d[i])
	}
	return c
}

func (c counts) plus(d counts) counts {
	for i := range c {
		c[i] += d[i]
	}
	return c
}

func (c counts) sum() (n int64) {
	for _, one := range c {
		n += one
	}
	return n
}

// sample is the number of messages by verdict, from the start of the daemon until the
// time in the field `at`.
type sample struct {
	at     time.Time
	counts counts
}

// timeline keeps the samples of the last 24 hours.
type timeline struct {
	mu      sync.Mutex
	samples []sample // oldest first, at most maxSamples
	taken   int      // how many samples were added, including samples that were removed later
}

func newTimeline() *timeline { return &timeline{samples: make([]sample, 0, maxSamples)} }

func (h *timeline) add(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken++
	if len(h.samples) == maxSamples {
		copy(h.samples, h.samples[1:])
		h.samples = h.samples[:maxSamples-1]
	}
	h.samples = append(h.samples, s)
}

// bar has the number of messages between two times.
type bar struct {
	from, to time.Time
	counts   counts
}

// bars returns the last bars of a chart, at most n, the oldest first. Each bar covers
// `width` samples. The newest bar ends at the sample `now`. The newest and the oldest
// bar may cover less time than the others. If the history is short, there are fewer than
// n bars.
func (h *timeline) bars(now sample, n, width int) []bar {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []bar
	from, until := now, now
	for i := len(h.samples) - 1; i >= 0 && len(out) < n; i-- {
		from = h.samples[i]
		// Samples are numbered from the first that was ever added. A bar begins at each multiple
		// of width. So a new sample does not move the limits of older bars.
		if (h.taken-len(h.samples)+i)%width == 0 || i == 0 {
			out = append(out, bar{from.at, until.at, until.counts.minus(from.counts)})
			until = from
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// Run adds a sample to the history every minute (sampleEvery), until ctx ends.
func (c *Console) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		c.history.add(sample{c.o.Now(), countsOf(c.o.Status().Messages)})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
