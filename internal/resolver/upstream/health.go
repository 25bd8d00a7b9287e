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
	// After maxFailures missing or useless answers in a row, a server is asked after the other
	// servers, until it gives a good answer again. A single failure may be the fault of the name.
	maxFailures = 5
	// slack is part of the bound on a server's smoothed time, which is twice the time of the
	// fastest server plus slack. A server above this bound is asked after the faster ones. The
	// slack keeps the configured order if the differences are small.
	slack = 50 * time.Millisecond
	// sampleEvery is how often a server that is not asked first gets a question as well, so that
	// its time is known. A server that failed gets such a question at intervals of retryEvery, so
	// that it can become good again.
	sampleEvery = 30 * time.Second
	retryEvery  = 5 * time.Second
	// probePause is the least time between two probes of a server. While the server does not
	// answer, the pause doubles up to maxProbePause.
	probePause    = time.Second
	maxProbePause = 30 * time.Second
)

// server is one DNS server with everything that the client remembers about it.
type server struct {
	addr        string
	shown       string // addr as configured, with the scheme and the name
	from        endpoint
	remote      bool    // the server is on another host, so its answers may be forged
	trusted     bool    // the AD bit of the server is returned
	secure      *secure // for TLS; nil if the server is asked over UDP and TCP
	health      health
	noEDNS      memo // the server does not know EDNS
	changesCase memo // the server does not repeat the case of letters
}

// health records how a server has behaved. Times are on the client's clock.
type health struct {
	mu       sync.Mutex
	srtt     time.Duration // smoothed round-trip time of good answers; 0 before the first
	failures int           // missing or useless answers since the last good answer
	heard    time.Duration // when the server last answered
	suspect  bool          // a query had no answer, so the server is being probed
	down     bool          // a probe had no answer either
	probing  bool
	probed   time.Duration // when the last series of probes began
	sampled  time.Duration
}

// standing is the rank of a server. Servers with a lower value are asked first.
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

// measure smooths the times of answers as TCP does (RFC 6298 §2). The caller holds mu.
func (h *health) measure(took time.Duration) {
	if h.srtt == 0 {
		h.srtt = max(took, 1)
		return
	}
	h.srtt += (took - h.srtt) / 8
}

// spoke records an answer that only shows that the server is alive: a useless answer such as
// SERVFAIL, or the answer to a probe. A useless answer counts as a failure, the answer to a probe
// (probed is true) does not.
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

// overdue records that another server has answered a query, while this server had no answer after
// the time "took".
func (h *health) overdue(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if took > h.srtt {
		h.measure(took)
	}
}

// unreachable records a probe that had no answer. The probe began at the time "begin". The server
// is then down, unless it has answered anything since begin.
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

// endProbe ends a series of probes and returns true, unless the server is suspect or down. In that
// case the series goes on and endProbe returns false.
func (h *health) endProbe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = h.suspect || h.down
	return !h.probing
}

// beginSample reports whether the server should now get a question only to measure it.
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

// order returns the servers in the order in which they are asked: by standing, then as configured.
// Servers that are down are left out. If all are down, all are returned, because a question can
// then show that a server answers again, as a probe can.
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

// sample measures, in the background, servers that have not answered for a while. It sends them the
// question q of a lookup. The lookup itself asks only the server "first".
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

// probe asks s for the name servers of the root, which every recursive server knows. It repeats
// this in the background until s answers.
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
		if s.health.endProbe() { // s has answered a query in the meantime
			return
		}
	}
}

// unanswered reports whether err means that the server did not answer.
func unanswered(err *dns.Error) bool {
	return err.Kind == dns.KindTimeout || err.Kind == dns.KindNetwork
}
