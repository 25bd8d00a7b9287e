package telemetry

import (
	"log/slog"
	"sync/atomic"
	"time"

	"sekimori/internal/judge"
)

// unknownEvery is the shortest time between two warnings of UnknownClients.
const unknownEvery = 24 * time.Hour

// UnknownClients is an observer that warns, at most once a day, about a message whose
// client has an unknown or private address. Such an address has one of three causes: the
// MTA is behind a NAT or a proxy that hides the clients, a network of the site is missing
// in trusted.networks, or a relay does not name the client. The daemon uses the same
// UnknownClients after a reload, so a reload does not repeat the warning.
type UnknownClients struct {
	Log  *slog.Logger
	next atomic.Int64 // earliest time of the next warning, in seconds since 1970
}

// Decided implements filter.Observer. It warns if the message was evaluated, its client is
// unknown, and the last warning is at least a day old.
func (u *UnknownClients) Decided(d *judge.Decision, _ time.Duration) {
	e := d.Evaluation
	if e == nil || !e.Session.Unknown() {
		return
	}
	now, next := e.Time.Unix(), u.next.Load()
	if now < next || !u.next.CompareAndSwap(next, e.Time.Add(unknownEvery).Unix()) {
		return
	}
	if e.Session.Relay.IsValid() {
		u.Log.Warn("a relay does not name a client of the Internet, so nothing can be said about the sender: SPF and iprev are not evaluated",
			"queue_id", clip(e.Envelope.QueueID), "relay_ip", e.Session.Relay.String(), "relay_line", string(e.Session.RelayLine),
			"series", namespace+"_relay_clients_total", "cure", "look at the topmost Received field of the message: "+
				"it must be the relay's own, name the address of the client, and have a name of trusted.relays after \"by\"")
		return
	}
	u.Log.Warn("the client's address is not one of the Internet, so nothing can be said about the sender: SPF and iprev are not evaluated",
		"queue_id", clip(e.Envelope.QueueID), "client_ip", addr(e.Session), "series", namespace+"_client_unknown_total",
		"cure", "if the client is one of your hosts, put its network into trusted.networks; "+
			"if a NAT or a proxy hides the clients from the MTA, have it hand on their addresses")
}
