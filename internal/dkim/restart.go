package dkim

import (
	"context"
	"slices"

	"sekimori/internal/dns"
)

// Restart prepares for a second Finish: it asks r again for the keys for which the first Finish did not
// wait, and returns at once. The lookups end when ctx is done or Close is called. The second Finish
// verifies the signatures with these keys and returns all signatures, in a new slice. What the first
// Finish returned does not change. Restart returns false, and does nothing, if Finish waited for every
// key.
func (v *Verifier) Restart(ctx context.Context, r dns.Resolver) bool {
	if !slices.ContainsFunc(v.signatures, func(s Signature) bool { return s.NotWaited }) {
		return false
	}
	m := &v.message
	v.signatures = slices.Clone(v.signatures)
	m.lookups, m.started = nil, 0 // so that WantKey makes new ones; the old ones run on until Close
	for i := range v.checks {
		c := &v.checks[i]
		c.Signature = &v.signatures[i]
		if c.NotWaited {
			c.Result, c.Reason, c.Detail, c.NotWaited = "", "", "", false
			m.WantKey(&c.pending)
		}
	}
	m.Start(ctx, r)
	return true
}
