package console

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/policy"
)

const (
	// sampleEvery is how often the counts of verdicts are sampled. A bar of the chart
	// covers one interval or several.
	sampleEvery = time.Minute
	// maxSamples bounds the history: the samples of a day, and the one it starts from.
	maxSamples = 24*60 + 1
)

// counts are messages by verdict, in the order of policy.Actions.
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

// sample is how many messages there were up to a time.
type sample struct {
	at     time.Time
	counts counts
}

// history holds the samples of the last day.
type history struct {
	mu      sync.Mutex
	samples []sample // the oldest first, at most maxSamples
	taken   int      // the number of samples ever added
}

func newHistory() *history { return &history{samples: make([]sample, 0, maxSamples)} }

func (h *history) add(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken++
	if len(h.samples) == maxSamples {
		copy(h.samples, h.samples[1:])
		h.samples = h.samples[:maxSamples-1]
	}
	h.samples = append(h.samples, s)
}

// bar has the messages of an interval.
type bar struct {
	from, to time.Time
	counts   counts
}

// bars returns n intervals of width samples each, the newest last, and fewer if the
// history is shorter. now is the end of the newest interval, which may not be full yet.
func (h *history) bars(now sample, n, width int) []bar {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []bar
	from, until := now, now
	for i := len(h.samples) - 1; i >= 0 && len(out) < n; i-- {
		from = h.samples[i]
		// A bar begins at every width-th sample ever taken, so that older bars do not
		// change while time goes on.
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

// Run samples the counts of verdicts until ctx ends.
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
