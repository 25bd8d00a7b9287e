package msgauth

import (
	"context"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/spf"
)

// awaitPass waits until the results that DMARC needs are known. It returns true as soon as one
// identifier has passed and aligns: DMARC's result is then pass, and the results that are still
// missing cannot change it. awaitPass returns false if every identifier is known, because then
// there is nothing left to wait for. It also returns false when ctx ends.
func (m *Verification) awaitPass(ctx context.Context) bool {
	for {
		// The channels are taken before the results are checked. A task that ends in between then
		// still wakes the select below.
		mailFrom, discovery := m.mailFrom.ending(), m.discovery.ending()
		all := m.verifyArrived(ctx) && m.mailFrom.ended()
		switch {
		case all && m.discovery.ended():
			return false // nothing is missing, so there is no time to save
		case m.passesDMARC():
			return true
		case all:
			return false
		}
		select {
		case <-m.dkim.Arrived():
		case <-mailFrom:
		case <-discovery:
		case <-ctx.Done():
			return false
		}
	}
}

// verifyArrived verifies the signatures whose keys have arrived, and reports whether all keys
// have arrived. If the verification panics, it panics again in finishDKIM, which records the
// panic.
func (m *Verification) verifyArrived(ctx context.Context) bool {
	all, ok := attempt(func() bool { return m.dkim.Judge(ctx) })
	return all || !ok
}

// passesDMARC reports whether the identifiers known so far are enough for a DMARC pass.
func (m *Verification) passesDMARC() bool {
	if !m.discovery.ended() || m.discovery.panic != nil || m.discovery.value == nil {
		return false
	}
	d := m.discovery.value
	if m.mailFrom.ended() && m.mailFrom.panic == nil {
		if c := &m.mailFrom.value; c.Result == spf.Pass && d.Aligns(dmarc.SPF, c.Domain) {
			return true
		}
	}
	return m.dkim.Passed(func(domain dns.Name) bool { return d.Aligns(dmarc.DKIM, domain) })
}
