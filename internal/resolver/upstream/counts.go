package upstream

import (
	"time"

	"sekimori/internal/readout"
)

// Counts are the values of Metrics, from the start of the daemon.
type Counts struct {
	Queries map[Result]int64 // to servers, by how they ended
	Time    readout.Timing   // of one query to one server
	Servers []Standing       // in the order of the configuration
}

// Standing is what is known of one server.
type Standing struct {
	Address string // with the scheme and the name that it is configured with
	Up      bool   // false while it is not asked
	RTT     time.Duration
}

// Counts returns the values as they are now.
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
