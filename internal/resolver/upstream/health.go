package upstream

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
)

const (
	// maxFailures is how many answers in a row may be missing or useless before
	// a server is asked after the others, until it gives a good one again. One
	// alone says as much about the name.
	maxFailures = 5
	// slack is how much slower than the fastest a server may be, beside twice
	// as slow, before it loses its place: the configured order is a wish too.
	slack = 50 * time.Millisecond
	// sampleEvery is how often a server that is not the first is asked what the
	// first is, to know how it does. A server that failed is asked more often,
	// for that is its way back.
	sampleEvery = 30 * time.Second
	retryEvery  = 5 * time.Second
	// probePause is the least time from one probe of a server to the next; it
	// doubles up to maxProbePause while there is no answer.
	probePause    = time.Second
	maxProbePause = 30 * time.Second
)

// server is one server and what is remembered of it.
type server struct {
	addr    string
	shown   string // addr with the scheme and the name that it is configured with
	from    endpoint
	remote  bool    // others may forge its answers
	trusted bool    // its AD bit counts
	secure  *secure // asked over TLS; nil: over UDP and TCP
	health  health
	plain   spell // it does not know EDNS
	recases spell // it does not keep the case of letters
}

// health is how a server has behaved. Times are on the client's clock.
type health struct {
	mu       sync.Mutex
	srtt     time.Duration // smoothed over good answers; 0: none yet
	failures int           // since the last good answer
	heard    time.Duration // when it last answered
	suspect  bool          // it kept silent; a probe is on its way
	down     bool          // the probe got no answer either
	probing  bool
	probed   time.Duration // when the last series of probes began
	sampled  time.Duration
}

// standing ranks servers: the lower one is asked first.
type standing int

const (
	standingGood standing = iota
	standingSlow
	standingDoubtful
	standingDown
)

// good is an answer that was of use.
func (h *health) good(took, now time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.measure(took)
	h.failures, h.suspect, h.down, h.heard = 0, false, false, now
}

// measure smooths as TCP does (RFC 6298 §2). The caller holds mu.
func (h *health) measure(took time.Duration) {
	if h.srtt == 0 {
		h.srtt = max(took, 1)
		return
	}
	h.srtt += (took - h.srtt) / 8
}

// spoke is an answer that was of no use, such as SERVFAIL, or one to a probe:
// the server lives. It counts as a failure unless probed.
func (h *health) spoke(now time.Duration, probed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect, h.down, h.heard = false, false, now
	if !probed {
		h.failures = min(h.failures+1, maxFailures)
	}
}

// silent is a query without an answer.
func (h *health) silent() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect = true
	h.failures = min(h.failures+1, maxFailures)
}

// overdue is a query that was still waiting after took when another server
// answered it.
func (h *health) overdue(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if took > h.srtt {
		h.measure(took)
	}
}

// unreachable is a probe that began at begin and got no answer. A query may
// have had one meanwhile.
func (h *health) unreachable(begin time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = h.heard < begin
}

func (h *health) standing() (standing, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.down:
		return standingDown, h.srtt
	case h.suspect || h.failures >= maxFailures:
		return standingDoubtful, h.srtt
	}
	return standingGood, h.srtt
}

// beginProbe reports whether a series of probes should begin now.
func (h *health) beginProbe(now time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.probing || (h.probed != 0 && now-h.probed < probePause && !h.suspect) {
		return false
	}
	h.probing, h.probed = true, now
	return true
}

// endProbe ends a series of probes, unless there is again reason to go on: then
// it is false.
func (h *health) endProbe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = h.suspect || h.down
	return !h.probing
}

// beginSample reports whether the server should be asked now although nobody
// needs its answer.
func (h *health) beginSample(now time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	every := sampleEvery
	if h.failures > 0 {
		every = retryEvery
	}
	if h.down || h.suspect || now-max(h.sampled, h.heard) < every {
		return false
	}
	h.sampled = now
	return true
}

// order returns the servers, the best first and otherwise as configured. Those
// that are down are not among them unless all are: then a question is as good
// as a probe.
func (c *Client) order() []*server {
	type ranked struct {
		*server
		standing
		srtt time.Duration
	}
	servers := c.list()
	list := make([]ranked, len(servers))
	fastest := time.Duration(math.MaxInt64 / 4)
	for i, s := range servers {
		at, srtt := s.health.standing()
		list[i] = ranked{s, at, srtt}
		if at == standingGood && srtt > 0 {
			fastest = min(fastest, srtt)
		}
	}
	for i, r := range list {
		if r.standing == standingGood && r.srtt > 2*fastest+slack {
			list[i].standing = standingSlow
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return int(a.standing - b.standing) })
	out := make([]*server, 0, len(list))
	for _, r := range list {
		if r.standing == standingDown && list[0].standing != standingDown {
			break
		}
		out = append(out, r.server)
	}
	return out
}

// sample asks servers that have not been heard of for a while the question
// that first is asked, in the background.
func (c *Client) sample(first *server, q dnswire.Question) {
	servers := c.list()
	if len(servers) < 2 {
		return
	}
	for _, s := range servers {
		if s == first || !s.health.beginSample(c.now()) || !c.tryTakeSocket() {
			continue
		}
		if !c.background(func(ctx context.Context) {
			defer c.giveSocketBack()
			c.try(ctx, s, q)
		}) {
			c.giveSocketBack()
		}
	}
}

// probe finds out in the background whether s is there at all, until it is:
// every recursive server knows the servers of the root.
func (c *Client) probe(s *server) {
	if s.health.beginProbe(c.now()) {
		c.background(func(ctx context.Context) { c.probeUntilHeard(ctx, s) })
	}
}

func (c *Client) probeUntilHeard(ctx context.Context, s *server) {
	root, _ := dnswire.NewQuestion("", dns.TypeNS) // a name that fits
	for pause := probePause; ; pause = min(2*pause, maxProbePause) {
		begin := c.now()
		_, err := c.safeAsk(ctx, s, root)
		if ctx.Err() != nil {
			return
		}
		answered := err == nil || !unanswered(err)
		if answered {
			s.health.spoke(c.now(), true)
		} else {
			s.health.unreachable(begin)
		}
		c.metrics.probed(answered)
		if answered && s.health.endProbe() {
			return
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
		if s.health.endProbe() { // a query was answered
			return
		}
	}
}

// unanswered reports whether a failure is the lack of an answer.
func unanswered(err *dns.Error) bool {
	return err.Kind == dns.KindTimeout || err.Kind == dns.KindNetwork
}
