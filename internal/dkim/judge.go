package dkim

import (
	"context"

	"sekimori/internal/dns"
)

// Judge ends the body, verifies the signatures whose keys are there, without
// waiting for any, and reports whether none is left open. Finish does the rest.
func (v *Verifier) Judge(ctx context.Context) (all bool) {
	all = true
	for i := range v.checks {
		c := &v.checks[i]
		switch {
		case c.settled():
		case c.pending.lookup.ended():
			v.verify(ctx, c)
		default:
			all = false
		}
	}
	return all
}

// Passed reports whether a signature judged so far is a pass of a domain for
// which of holds.
func (v *Verifier) Passed(of func(dns.Name) bool) bool {
	for i := range v.checks {
		if c := &v.checks[i]; c.Result == Pass && of(c.Domain) {
			return true
		}
	}
	return false
}

// Arrived returns a channel that has a value after a lookup ended, for a Judge
// that left signatures open; several lookups may leave one value.
func (v *Verifier) Arrived() <-chan struct{} { return v.message.arrived }

// ended reports whether Keys returns at once.
func (l *Lookup) ended() bool {
	if !l.started || l.done == nil {
		return true
	}
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}
