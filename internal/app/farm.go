package app

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/farm"
	"sekimori/internal/printable"
	"sekimori/internal/resolver"
	"sekimori/internal/status"
)

// beatTime is how long the store has for a heartbeat and for the list of hosts.
const beatTime = 8 * time.Second

// watchFarm sends heartbeats and keeps the list of hosts up to date, until Stop. It does nothing without a
// store.
func (a *App) watchFarm() {
	if a.kept.farm == nil {
		return
	}
	b := newBackground(func(ctx context.Context) {
		tick := time.NewTicker(farm.Every)
		defer tick.Stop()
		var m minute
		for {
			a.beat(ctx, &m)
			select {
			case <-ctx.Done():
				a.leave()
				return
			case <-tick.C:
			}
		}
	})
	b.start()
	a.steps = append(a.steps, step{"heartbeat", always(b.stop)})
}

// beat sends a heartbeat and reads those of all hosts. If the store does not answer, the last list stays,
// with the error.
func (a *App) beat(ctx context.Context, m *minute) {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	now := a.o.Now()
	err := a.kept.farm.Beat(ctx, now, a.heartbeat(now, m))
	var hosts []farm.Host
	if err == nil {
		hosts, err = a.kept.farm.Hosts(ctx, now)
	}
	old := a.hosts.Load()
	if err != nil {
		if ctx.Err() != nil && ctx.Err() != context.DeadlineExceeded {
			return // the daemon stops
		}
		failed := &status.Hosts{Read: now.UTC()}
		if old != nil {
			*failed = *old
		}
		failed.Error = err.Error()
		a.hosts.Store(failed)
		a.farmMetrics.Failed()
		return
	}
	v := farm.Arrange(hosts, a.instance)
	a.hosts.Store(&status.Hosts{View: v, Read: now.UTC()})
	a.farmMetrics.Seen(v)
	if n := twins(v); n > 0 && (old == nil || twins(old.View) == 0) {
		a.log.Warn("another daemon with the name of this host uses the store; give each host a name of its own", "host", config.HostName(), "daemons", n+1)
	}
}

// twins returns how many other daemons have the name of this host.
func twins(v farm.View) (n int) {
	for _, self := range v.Hosts {
		if !self.Self || !self.Twin {
			continue
		}
		for _, h := range v.Hosts {
			if h.Twin && !h.Self && h.Name == self.Name {
				n++
			}
		}
	}
	return n
}

// leave removes the heartbeat, because the daemon stops.
func (a *App) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leastFlush)
	defer cancel()
	_ = a.kept.farm.Leave(ctx, a.instance) // without it, the host is shown as stale
}

// heartbeat returns what this daemon tells the others.
func (a *App) heartbeat(now time.Time, m *minute) farm.Beat {
	mode, running := a.inEffect()
	a.mu.Lock()
	shared := a.current.cfg.SharedHash()
	a.mu.Unlock()
	b := farm.Beat{
		Instance: a.instance, Name: config.HostName(), Version: a.o.Version, Config: shared, Mode: string(mode), Since: a.began.UTC(),
		Uptime: now.Sub(a.began), Loaded: running.Loaded,
	}
	if err := a.Ready(); err != nil {
		b.NotReady = err.Error()
	}
	m.add(reading{at: now, messages: a.metrics.Counts().Messages, dns: a.dnsMetrics.Counts()})
	m.fill(&b)
	return b
}

// minute has the readings of the last minute, the oldest first.
type minute struct{ readings []reading }

// reading has counters that only grow.
type reading struct {
	at       time.Time
	messages map[string]int64
	dns      resolver.Counts
}

func (m *minute) add(r reading) {
	m.readings = append(m.readings, r)
	for len(m.readings) > 2 && r.at.Sub(m.readings[1].at) >= time.Minute || len(m.readings) > maxReadings {
		m.readings = m.readings[1:]
	}
}

// maxReadings is how many readings there are, also if the clock is set back: those of a minute, one every
// farm.Every, with both ends, and one more.
const maxReadings = 8

// fill fills in what happened since the oldest reading.
func (m *minute) fill(b *farm.Beat) {
	first, last := m.readings[0], m.readings[len(m.readings)-1]
	b.Messages = map[string]int64{}
	for verdict, n := range last.messages {
		if n -= first.messages[verdict]; n > 0 {
			b.Messages[verdict] = n
		}
	}
	for result, n := range last.dns.Queries {
		n -= first.dns.Queries[result]
		b.DNS.Queries += n
		if !answered(string(result)) {
			b.DNS.Failed += n
		}
	}
	b.DNS.Servers = len(last.dns.Servers)
	for _, s := range last.dns.Servers {
		if s.Up {
			b.DNS.Up++
		}
	}
}

// answered reports whether the result of a query, as a metric has it, is that a server answered.
func answered(result string) bool {
	return slices.Contains([]string{"noerror", "nodata", "nxdomain"}, result)
}

// HostsPath is the path at the admin address that answers with a status.Hosts.
const HostsPath = "/api/hosts"

// serveHosts answers with the hosts that share the store.
func (a *App) serveHosts(w http.ResponseWriter, r *http.Request) {
	h := a.hosts.Load()
	if a.kept.farm == nil || h == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(printable.NewWriter(w)).Encode(h) // an error means that the client is gone
}
