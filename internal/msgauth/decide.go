package msgauth

import (
	"context"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/spf"
)

// decide waits until every identifier is known or ctx ends, and no longer than
// until one aligns that passed: DMARC's result is pass then, whatever the
// others are, and the verdict follows from it alone. It reports whether that is
// so; what is still open is only shown.
func (m *Verification) decide(ctx context.Context) (decided bool) {
	for {
		// Taken first: what ends from here on wakes the wait below, and what
		// ended before is seen.
		mailFrom, discovery := m.mailFrom.open(), m.discovery.open()
		all := m.judge(ctx) && m.mailFrom.ended()
		switch {
		case all && m.discovery.ended():
			return false // nothing is open: no time to save
		case m.passes():
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

// judge verifies the signatures whose keys came. A panic shows again when DKIM
// is finished, and is noted there.
func (m *Verification) judge(ctx context.Context) bool {
	var unseen Evaluation
	all, ok := guard(DKIM, &unseen, func() bool { return m.dkim.Judge(ctx) })
	return all || !ok
}

// passes reports whether an identifier known by now makes DMARC a pass.
func (m *Verification) passes() bool {
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
