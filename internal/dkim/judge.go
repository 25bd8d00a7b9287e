package dkim

import (
	"context"

	"sekimori/internal/dns"
)

// Judge ends the body and verifies the signatures whose keys have arrived. It
// does not wait for the others. It returns true if every signature has its
// result now; otherwise Finish verifies the rest.
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

// Passed reports whether a signature that has its result is a pass of a domain
// for which of returns true.
func (v *Verifier) Passed(of func(dns.Name) bool) bool {
	for i := range v.checks {
		if c := &v.checks[i]; c.Result == Pass && of(c.Domain) {
			return true
		}
	}
	return false
}

// Arrived returns a channel that has a value once a lookup has ended, so that
// Judge may get further. Several lookups may leave only one value.
func (v *Verifier) Arrived() <-chan struct{} { return v.message.arrived }

// ended reports whether wait would return at once.
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
