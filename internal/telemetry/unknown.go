package telemetry

import (
	"log/slog"
	"sync/atomic"
	"time"

	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// unknownEvery is how often UnknownClients warns.
const unknownEvery = 24 * time.Hour

// UnknownClients is an observer that warns, once a day, of messages whose
// client cannot be known: the MTA stands behind a NAT or a proxy that hides its
// clients, or a network of the site is not in trusted.networks. One serves all
// generations of the configuration, so that a reload does not warn anew.
type UnknownClients struct {
	Log  *slog.Logger
	next atomic.Int64 // when to warn again, in seconds since 1970
}

// Evaluated warns if the message's client is unknown and the last warning is a
// day old.
func (u *UnknownClients) Evaluated(e *msgauth.Evaluation, _ policy.Verdict, _ time.Duration) {
	if !e.Session.Unknown() {
		return
	}
	now, next := e.Time.Unix(), u.next.Load()
	if now < next || !u.next.CompareAndSwap(next, e.Time.Add(unknownEvery).Unix()) {
		return
	}
	u.Log.Warn("the client's address is not one of the Internet, so nothing can be said about the sender: SPF and iprev are not evaluated",
		"queue_id", clip(e.Envelope.QueueID), "client_ip", addr(e.Session), "series", namespace+"_client_unknown_total",
		"cure", "if the client is one of your hosts, put its network into trusted.networks; if a NAT or a proxy hides the clients from the MTA, have it hand on their addresses")
}

// NotEvaluated does nothing: of such a message nothing would have been said
// anyway.
func (u *UnknownClients) NotEvaluated(msgauth.Session, msgauth.Envelope, policy.Verdict) {}
