package upstream

import (
	"time"

	"sekimori/internal/readout"
)

// Counts holds the values of Metrics, counted since the start of the daemon.
type Counts struct {
	Queries map[Result]int64 // number of queries to servers, by result
	Time    readout.Timing   // how long one query to one server took
	Servers []Standing       // in the order of the configuration
}

// Standing is the present state of one server.
type Standing struct {
	Address string // as configured, with the scheme and the name
	Up      bool   // false while the server is down, so it is not asked
	RTT     time.Duration
}

// Counts returns the present values.
func (m *Metrics) Counts() Counts {
	c := Counts{Queries: map[Result]int64{}, Time: readout.Times(m.duration)}
	for _, r := range results {
		for _, t := range countedTypes {
			c.Queries[r] += int64(readout.Value(m.queries.WithLabelValues(typeLabel(t), string(r))))
		}
	}
	if client := m.standing.client.Load(); client != nil {
		for _, server := range client.list() {
			at, srtt := server.health.standing()
			c.Servers = append(c.Servers, Standing{Address: server.shown, Up: at != standingDown, RTT: srtt})
		}
	}
	return c
}
