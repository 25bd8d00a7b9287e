package msgauth

import (
	"context"

	"sekimori/internal/bimi"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
)

// maxBIMILookups is how many lookups BIMI may make for one message. It needs at most four for the
// record, and one for each label above the author's that DMARC did not ask for.
const maxBIMILookups = 8

// startBIMI begins to look for the author's mark. DMARC's result must be known.
func (m *Verification) startBIMI(e *Evaluation) {
	v := m.c.v
	if v.o.Indicators == nil {
		return
	}
	m.marks = new(marks)
	t := &m.marks.task
	t.setUp(m.c, bimiStage, e.From.AuthorDomain)
	m.marks.budget.begin(&m.endBudget, v.o.Grace)
	// The search may go on after Finish has returned. Finish does not change these values any more.
	about := &bimi.Message{From: &m.from, DKIM: e.DKIM, DMARC: &e.DMARC, Selectors: m.header.Values(bimi.SelectorField)}
	var d *dmarc.Discovery
	if e.DMARC.Result == dmarc.ResultPass { // else the discovery may still run, and is not needed
		d = m.discovery.value
	}
	t.start(&m.marks.budget, t.ahead(), func(ctx context.Context, r dns.Resolver) *bimi.Evaluation {
		return bimi.Evaluate(ctx, r, about, d, v.o.BIMI)
	})
}

// marks is the search for the mark of one message.
type marks struct {
	task   task[*bimi.Evaluation]
	budget budget
}

// finishBIMI waits for the record, and asks for the mark. It returns nil if BIMI is off.
func (m *Verification) finishBIMI(e *Evaluation) *bimi.Evaluation {
	if m.marks == nil {
		return nil
	}
	v := m.c.v
	found, ok := m.marks.task.wait(&m.marks.budget, e)
	switch {
	case !ok && m.marks.task.panicked():
		return bimi.Unfinished(bimi.ReasonInternal)
	case !ok:
		return bimi.Unfinished(bimi.ReasonTime)
	}
	q, ok := found.Query()
	if !ok {
		return found
	}
	answer, ok := guard(BIMI, e, func() bimi.Answer { return v.o.Indicators.Find(&m.endBudget, q) })
	if !ok {
		return bimi.Unfinished(bimi.ReasonInternal)
	}
	found.Answered(answer, v.o.BIMI)
	return found
}

// costOfBIMI returns the cost of the search for the mark.
func (m *Verification) costOfBIMI() (Cost, bool) {
	if m.marks == nil {
		return Cost{}, false
	}
	return m.marks.task.cost(), true
}
