package telemetry

import (
	"log/slog"
	"sync/atomic"
	"time"

	"sekimori/internal/judge"
)

// unknownEvery is how often UnknownClients warns.
const unknownEvery = 24 * time.Hour

// UnknownClients is an observer that warns, once a day, about messages whose client
// cannot be known. Either the MTA stands behind a NAT or a proxy that hides its
// clients, or a network of the site is missing in trusted.networks. One UnknownClients
// serves all generations of the configuration, so that a reload does not repeat the
// warning.
type UnknownClients struct {
	Log  *slog.Logger
	next atomic.Int64 // the earliest time of the next warning, in seconds since 1970
}

// Decided implements filter.Observer: it warns if the client of an evaluated
// message is unknown and the last warning is a day old.
func (u *UnknownClients) Decided(d *judge.Decision, _ time.Duration) {
	e := d.Evaluation
	if e == nil || !e.Session.Unknown() {
		return
	}
	now, next := e.Time.Unix(), u.next.Load()
	if now < next || !u.next.CompareAndSwap(next, e.Time.Add(unknownEvery).Unix()) {
		return
	}
	u.Log.Warn("the client's address is not one of the Internet, so nothing can be said about the sender: SPF and iprev are not evaluated",
		"queue_id", clip(e.Envelope.QueueID), "client_ip", addr(e.Session), "series", namespace+"_client_unknown_total",
		"cure", "if the client is one of your hosts, put its network into trusted.networks; "+
			"if a NAT or a proxy hides the clients from the MTA, have it hand on their addresses")
}
