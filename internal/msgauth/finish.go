package msgauth

import (
	"context"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/spf"
)

// outOfTime is the text for a stage that did not end within the budget.
const outOfTime = "not finished within the message's time"

// waitMailFrom returns the SPF check of MAIL FROM. If the check does not end in time, the result
// still has the domain, because DMARC needs to know which domain could have passed (RFC 9989
// §5.3.6).
func (m *Verification) waitMailFrom(ctx context.Context, e *Evaluation) spf.Check {
	check, ok := m.mailFrom.wait(ctx, e)
	if ok {
		return m.mailFrom.blame(check)
	}
	check = spf.Check{Identity: spf.MailFrom, Result: spf.TempError, Reason: m.mailFrom.overtime(), Problem: outOfTime, NullSender: m.path.Null}
	if m.path.Null {
		check.Domain, _ = dns.ParseHostname(m.session.HELO) // "" if HELO is not a name, so there was nothing to check
		return check
	}
	check.Domain, check.Sender = m.path.Domain, m.path.Local+"@"+m.path.DomainRaw
	return check
}

func (m *Verification) waitHELO(ctx context.Context, e *Evaluation) spf.Check {
	if m.c.helo == nil {
		return spf.Check{Identity: spf.HELO, Result: spf.None, Problem: "no HELO"}
	}
	check, ok := m.c.helo.wait(ctx, e)
	if !ok {
		return spf.Check{Identity: spf.HELO, Result: spf.TempError, Reason: m.c.helo.overtime(), Problem: outOfTime}
	}
	return m.c.helo.blame(check)
}

// overtime returns the reason for a check that ran out of time.
func (s *stage) overtime() spf.Reason {
	if s.Queued() {
		return spf.ReasonDNSBudget
	}
	return spf.ReasonTimeLimit
}

// blame corrects the reason of a check that ran into its time limit. The check itself does not know
// whether its lookups had to wait for a slot.
func (s *stage) blame(check spf.Check) spf.Check {
	if check.Reason == spf.ReasonTimeLimit {
		check.Reason = s.overtime()
	}
	return check
}

// late returns the error for a stage that did not end in time.
func (s *stage) late() *dns.Error {
	return dns.OutOfTime(s, context.DeadlineExceeded, "", 0)
}

func (m *Verification) waitIPRev(ctx context.Context, e *Evaluation) iprev.Result {
	result, ok := m.c.iprev.wait(ctx, e)
	if !ok {
		result.Status = iprev.TempError
		if !m.c.iprev.panicked() {
			result.Problem, result.DNSError = outOfTime, m.c.iprev.late()
		}
	}
	return result
}

func (m *Verification) finishDKIM(ctx context.Context, e *Evaluation) []dkim.Signature {
	begin := time.Now()
	defer func() {
		m.dkimStage.elapsed, m.dkimStage.operations = time.Since(begin), m.dkim.Message().Operations()
	}()
	signatures, ok := guard(DKIM, e, func() []dkim.Signature { return m.dkim.Finish(ctx) })
	if ok {
		for _, s := range signatures {
			if s.Reason == dkim.ReasonInternal {
				e.Panics = append(e.Panics, Panic{Component: DKIM, Value: s.Detail})
			}
		}
		return signatures
	}
	// The results of the signatures are unknown. One temporary error stands for all signatures,
	// because a message without any result would count as unsigned.
	return []dkim.Signature{{Result: dkim.TempError, Reason: dkim.ReasonInternal}}
}

// finishARC returns the result of the ARC chain. If the evaluation panics, the result is a failed
// chain, which counts as no chain (RFC 8617 §5.2.1).
func (m *Verification) finishARC(ctx context.Context, e *Evaluation) arc.Result {
	begin := time.Now()
	defer func() {
		m.arcStage.elapsed = time.Since(begin)
		m.arcStage.operations = m.dkim.Message().Operations() - m.dkimStage.operations
	}()
	chain, ok := guard(ARC, e, func() arc.Result { return m.arc.Finish(ctx) })
	if !ok {
		return arc.Result{Status: arc.Fail}
	}
	return chain
}

// evaluateDMARC compares the identifiers with the author's policy. If a stage panicked, its
// identifier counts as a temporary error.
func (m *Verification) evaluateDMARC(ctx context.Context, e *Evaluation) dmarc.Evaluation {
	if m.fromErr != nil {
		// A message without a valid author is out of DMARC's scope (RFC 9989 §4.2). Package policy
		// decides what happens to the message.
		return dmarc.Evaluation{Result: dmarc.ResultPermError}
	}
	unknown := dmarc.Evaluation{Result: dmarc.ResultTempError, AuthorDomain: m.from.AuthorDomain}
	discovery, ok := m.discovery.wait(ctx, e)
	if !ok {
		if !m.discovery.panicked() {
			unknown.Reason, unknown.DNSError = dmarc.ReasonPolicyError, m.noPolicy()
		}
		return unknown
	}
	result, ok := guard(DMARC, e, func() dmarc.Evaluation {
		return discovery.Evaluate(ctx, m.dmarcAsks, identifiers(e))
	})
	if !ok {
		return unknown
	}
	return result
}

// noPolicy returns the error for a policy that did not arrive in time.
func (m *Verification) noPolicy() *dmarc.DNSError {
	name, _ := m.from.AuthorDomain.Prepend("_dmarc")
	return &dmarc.DNSError{Kind: m.discovery.late().Kind.String(), Name: name, Type: dns.TypeTXT, Detail: outOfTime}
}

// identifiers returns the identifiers that passed, and those that a temporary error may have kept
// from passing (RFC 9989 §4.4, §5.3.6).
func identifiers(e *Evaluation) []dmarc.Identifier {
	var ids []dmarc.Identifier
	if e.MailFrom.Domain != "" {
		switch e.MailFrom.Result {
		case spf.Pass:
			ids = append(ids, dmarc.Identifier{Mechanism: dmarc.SPF, Domain: e.MailFrom.Domain, State: dmarc.StatePass})
		case spf.TempError:
			ids = append(ids, dmarc.Identifier{Mechanism: dmarc.SPF, Domain: e.MailFrom.Domain, State: dmarc.StateTempError})
		}
	}
	for _, s := range e.DKIM {
		domain := s.Domain
		switch {
		case s.Result == dkim.Pass && domain != "":
			ids = append(ids, dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: domain, State: dmarc.StatePass, Label: s.Selector})
		case s.Result == dkim.TempError:
			if domain == "" { // DKIM panicked; one of the signatures may have been the author's
				domain = e.From.AuthorDomain
			}
			ids = append(ids, dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: domain, State: dmarc.StateTempError, Label: s.Selector})
		}
	}
	return ids
}

// Close ends everything that still runs for this message, except what Whole began.
func (m *Verification) Close() {
	m.mailBudget.end()
	m.headerBudget.end()
	if m.headerSeen && !m.handedOver {
		m.dkim.Close()
	}
}
