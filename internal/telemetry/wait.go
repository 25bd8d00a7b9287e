package telemetry

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxMarkBytes is the length of the longest queue id that an exemplar can have. Real ones
// have at most 20 octets. The client library panics at an exemplar of more than 128
// characters.
const maxMarkBytes = 64

// waits is the histogram of how long the MTA waited at the end of a message. Each of its
// buckets has the queue id of a recent message as its exemplar.
type waits struct {
	prometheus.Histogram
	marker prometheus.ExemplarObserver
	marked []atomic.Int64 // for each bucket the second, since 1970, in which it last got an exemplar
}

func newWaits(b builder) *waits {
	h := b.histogram("message_wait_seconds", "Time the MTA waited at end of message.", durationBuckets)
	b.alias(h, "message_duration_seconds", "The old name of sekimori_message_wait_seconds; it is removed in the next version.")
	marker, _ := h.(prometheus.ExemplarObserver) // every histogram of the library is one
	return &waits{Histogram: h, marker: marker, marked: make([]atomic.Int64, len(durationBuckets)+1)}
}

// observe counts a message that was judged at the time `at`. A bucket gets at most one
// exemplar in a second: an exemplar costs more than ten observations, and a scrape sees
// only the last one.
func (w *waits) observe(took time.Duration, queueID string, at time.Time) {
	seconds := took.Seconds()
	bucket, _ := slices.BinarySearch(durationBuckets, seconds)
	if w.marked[bucket].Load() == at.Unix() || !marks(queueID) {
		w.Observe(seconds)
		return
	}
	w.marked[bucket].Store(at.Unix())
	w.marker.ObserveWithExemplar(seconds, prometheus.Labels{"queue_id": queueID})
}

// marks reports whether s can be the queue id of an exemplar. The queue id comes from the
// MTA, and the client library panics at one that is not valid.
func marks(s string) bool {
	if s == "" || len(s) > maxMarkBytes {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
