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
	// maxFailures is how many answers in a row may be missing or useless. Then the
	// server is asked after the others, until it gives a good answer again. A
	// single failure may be the fault of the name.
	maxFailures = 5
	// slack is part of the bound on a server's time: twice that of the fastest
	// server, plus slack. A slower server loses its place in the configured
	// order. The slack respects that order when the differences are small.
	slack = 50 * time.Millisecond
	// sampleEvery is how often each further server is sent a question in addition
	// to the first server, to measure it. A server that failed is sent one at
	// retryEvery, so that it can recover its place.
	sampleEvery = 30 * time.Second
	retryEvery  = 5 * time.Second
	// probePause is the least time between two probes of a server. While there is
	// no answer, it doubles up to maxProbePause.
	probePause    = time.Second
	maxProbePause = 30 * time.Second
)

// server is one server with the facts that the client remembers about it.
type server struct {
	addr        string
	shown       string // addr with the scheme and the name that it is configured with
	from        endpoint
	remote      bool    // it is on another host, so its answers may be forged
	trusted     bool    // its AD bit is passed on
	secure      *secure // for TLS; nil if the server is asked over UDP and TCP
	health      health
	noEDNS      memo // it does not know EDNS
	changesCase memo // it does not repeat the case of letters
}

// health says how a server has behaved. Times are on the client's clock.
type health struct {
	mu       sync.Mutex
	srtt     time.Duration // smoothed round-trip time of good answers; 0 before the first
	failures int           // since the last good answer
	heard    time.Duration // when it last answered
	suspect  bool          // it did not answer; a probe is under way
	down     bool          // it did not answer the probe either
	probing  bool
	probed   time.Duration // when the last series of probes began
	sampled  time.Duration
}

// standing is the rank of a server. Servers of a lower standing are asked first.
type standing int

const (
	standingGood standing = iota
	standingSlow
	standingDoubtful
	standingDown
)

// good records a useful answer.
func (h *health) good(took, now time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.measure(took)
	h.failures, h.suspect, h.down, h.heard = 0, false, false, now
}

// measure smooths the time as TCP does (RFC 6298 §2). The caller holds mu.
func (h *health) measure(took time.Duration) {
	if h.srtt == 0 {
		h.srtt = max(took, 1)
		return
	}
	h.srtt += (took - h.srtt) / 8
}

// spoke records an answer that shows that the server is alive: a useless one such as
// SERVFAIL, or the answer to a probe. It counts as a failure unless probed is true.
func (h *health) spoke(now time.Duration, probed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect, h.down, h.heard = false, false, now
	if !probed {
		h.failures = min(h.failures+1, maxFailures)
	}
}

// silent records a query without an answer.
func (h *health) silent() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.suspect = true
	h.failures = min(h.failures+1, maxFailures)
}

// overdue records a query that still had no answer after took, when another server
// answered it.
func (h *health) overdue(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if took > h.srtt {
		h.measure(took)
	}
}

// unreachable records a probe that began at begin and had no answer. The server is down
// unless a query had an answer in the meantime.
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

// endProbe ends a series of probes and returns true. If the server is suspect or down
// again, the series goes on and endProbe returns false.
func (h *health) endProbe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = h.suspect || h.down
	return !h.probing
}

// beginSample reports whether the server should now be sent a question only to measure
// it.
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

// order returns the servers in the order to ask them: by standing, then as configured.
// Servers that are down are left out, unless all are down; then a question serves as
// well as a probe.
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

// sample sends the question that first is asked to servers that have not answered for a
// while, in the background.
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

// probe asks s for the root's name servers, in the background and again and again until
// s answers. Every recursive server knows them.
func (c *Client) probe(s *server) {
	if s.health.beginProbe(c.now()) {
		c.background(func(ctx context.Context) { c.probeUntilHeard(ctx, s) })
	}
}

func (c *Client) probeUntilHeard(ctx context.Context, s *server) {
	root, _ := dnswire.NewQuestion("", dns.TypeNS) // the root is always a valid name
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
		if s.health.endProbe() { // a query was answered in the meantime
			return
		}
	}
}

// unanswered reports whether a failure means that there was no answer.
func unanswered(err *dns.Error) bool {
	return err.Kind == dns.KindTimeout || err.Kind == dns.KindNetwork
}
