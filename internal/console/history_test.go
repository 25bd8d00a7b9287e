package console

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/status"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rejected atomic.Int64
		messages := func() map[string]int64 { return map[string]int64{"reject": rejected.Load()} }
		c, err := New(Options{Status: func() *status.Status { return &status.Status{Messages: messages()} }, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go c.Run(ctx)
		synctest.Wait()
		for i := range int64(4) {
			rejected.Add(i)
			time.Sleep(sampleEvery)
			synctest.Wait()
		}
		rejected.Add(9) // messages since the last sample
		got := c.history.bars(sample{time.Now(), countsOf(messages())}, 3, 1)
		if len(got) != 3 || got[0].counts.sum() != 2 || got[1].counts.sum() != 3 || got[2].counts != countsOf(map[string]int64{"reject": 9}) {
			t.Errorf("bars %v", got)
		}
		if got[0].to.Sub(got[0].from) != sampleEvery || got[0].to != got[1].from {
			t.Errorf("a bar from %v to %v, the next from %v", got[0].from, got[0].to, got[1].from)
		}
		cancel()
		synctest.Wait()
	})
}

func TestHistoryIsBounded(t *testing.T) {
	h := newTimeline()
	for i := range 3 * maxSamples {
		h.add(sample{start.Add(time.Duration(i) * sampleEvery), counts{int64(i)}})
	}
	if len(h.samples) != maxSamples || cap(h.samples) != maxSamples {
		t.Errorf("%d samples, room for %d", len(h.samples), cap(h.samples))
	}
	last := h.samples[maxSamples-1]
	bars := h.bars(last, 96, 15)
	if n := len(bars); n != 96 {
		t.Errorf("%d bars of a day", n)
	}
	for i, b := range bars[1:95] {
		if b.counts.sum() != 15 || b.from.Sub(start)%(15*sampleEvery) != 0 {
			t.Errorf("bar %d begins at %v and has %d messages", i+1, b.from, b.counts.sum())
		}
	}
}

// TestBarsStay checks that a complete bar keeps its counts when later samples are added.
func TestBarsStay(t *testing.T) {
	h := newTimeline()
	first := map[time.Time]counts{}
	for i := range 100 {
		s := sample{start.Add(time.Duration(i) * sampleEvery), counts{int64(i * i)}}
		h.add(s)
		bars := h.bars(s, 96, 15)
		for _, b := range bars {
			if b.to.Sub(b.from) < 15*sampleEvery {
				continue
			}
			if was, ok := first[b.from]; ok && was != b.counts {
				t.Fatalf("minute %d: the bar of %v was %v, is %v", i, b.from, was, b.counts)
			}
			first[b.from] = b.counts
		}
	}
	if len(first) != 6 {
		t.Errorf("%d whole bars of 99 minutes", len(first))
	}
}

// TestCountersNeverFall checks that a bar has no negative count, even if a counter of
// messages falls.
func TestCountersNeverFall(t *testing.T) {
	h := newTimeline()
	h.add(sample{start, counts{5, 5}})
	if got := h.bars(sample{start.Add(time.Second), counts{3, 6}}, 60, 1); len(got) != 1 || got[0].counts != (counts{0, 1}) {
		t.Errorf("%v", got)
	}
}
