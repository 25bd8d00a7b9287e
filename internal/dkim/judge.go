package dkim

import (
	"context"

	"sekimori/internal/dns"
)

// Judge ends the body and verifies the signatures whose keys have arrived. It
// does not wait for other keys. It returns true if every signature has its result
// now. Otherwise Finish verifies the remaining signatures.
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

// Passed reports whether some signature has the result pass and a domain for
// which the function "of" returns true. It does not verify signatures that have
// no result yet.
func (v *Verifier) Passed(of func(dns.Name) bool) bool {
	for i := range v.checks {
		if c := &v.checks[i]; c.Result == Pass && of(c.Domain) {
			return true
		}
	}
	return false
}

// Arrived returns a channel that receives a value when a key lookup has ended.
// Judge may then be able to verify more signatures. Several lookups may leave
// only one value. The channel is nil until a lookup runs in the background.
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
