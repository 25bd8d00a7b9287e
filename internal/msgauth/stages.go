package msgauth

import (
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/spf"
)

// Mechanism is the name of a mechanism that a stage evaluates. The metrics use the same words.
type Mechanism string

// The mechanisms. Each has an entry in stages.
const (
	SPF   Mechanism = "spf"
	DKIM  Mechanism = "dkim"
	DMARC Mechanism = "dmarc"
	ARC   Mechanism = "arc"
	IPRev Mechanism = "iprev"
	BIMI  Mechanism = "bimi"
)

// Mechanisms lists every mechanism.
func Mechanisms() (all []Mechanism) {
	for _, s := range stages {
		all = append(all, s.mechanism)
	}
	return all
}

// stageKind holds what all stages of one mechanism have in common.
type stageKind struct {
	mechanism Mechanism
	// maxLookups is how many lookups one stage may make. It applies in addition to the evaluator's
	// own limits.
	maxLookups int
	// purpose returns what the lookup of a name is for, and the organization whose slots the lookup
	// takes: that of the author, that of the name, or "" for none.
	purpose func(author, name dns.Name) (what purpose, organization dns.Name)
	// cost returns the cost of the mechanism for a message. ok is false if the cost was already
	// counted with an earlier message of the connection.
	cost func(m *Verification) (c Cost, ok bool)
}

// stageIndex is an index in stages.
type stageIndex int

const (
	spfStage stageIndex = iota
	dkimStage
	dmarcStage
	arcStage
	iprevStage
	bimiStage
	stageCount
)

// stages has one entry for each mechanism, in the order of [Mechanisms].
var stages = [...]stageKind{
	spfStage: {
		mechanism:  SPF,
		maxLookups: maxSPFLookups,
		purpose:    func(_, _ dns.Name) (purpose, dns.Name) { return forClient, "" },
		cost:       (*Verification).costOfSPF,
	},
	dkimStage: {
		mechanism:  DKIM,
		maxLookups: maxDKIMLookups,
		purpose:    purposeOfKey,
		cost:       func(m *Verification) (Cost, bool) { return m.dkimStage.cost(m.dkimStage.elapsed), true },
	},
	dmarcStage: {
		mechanism:  DMARC,
		maxLookups: maxDMARCLookups,
		purpose:    func(author, _ dns.Name) (purpose, dns.Name) { return forPolicy, organization(author) },
		cost:       func(m *Verification) (Cost, bool) { return m.discovery.cost(), true },
	},
	arcStage: {
		mechanism:  ARC,
		maxLookups: maxARCLookups,
		purpose:    func(_, name dns.Name) (purpose, dns.Name) { return forChain, organization(name) },
		cost:       func(m *Verification) (Cost, bool) { return m.arcStage.cost(m.arcStage.elapsed), true },
	},
	iprevStage: {
		mechanism:  IPRev,
		maxLookups: maxIPRevLookups,
		purpose:    func(_, _ dns.Name) (purpose, dns.Name) { return forClient, "" },
		cost:       func(m *Verification) (Cost, bool) { return m.c.iprev.cost(), m.countsConnection },
	},
	bimiStage: {
		mechanism:  BIMI,
		maxLookups: maxBIMILookups,
		purpose:    func(author, _ dns.Name) (purpose, dns.Name) { return forPolicy, organization(author) },
		cost:       (*Verification).costOfBIMI,
	},
}

// This does not compile if the last stageIndex has no entry in stages.
const _ = uint(len(stages) - int(stageCount))

// The limits on the lookups of one stage.
const (
	maxSPFLookups   = 200 // for HELO and for MAIL FROM each; RFC 7208 §4.6.4 allows 10 terms of up to 10 names, and MaxSPFAhead comes on top
	maxDKIMLookups  = 64
	maxDMARCLookups = 96 // one tree walk for the author and 10 for identifiers, of at most 8 queries each (RFC 9989 §4.10)
	maxARCLookups   = 102
	maxIPRevLookups = 24
)

// purposeOfKey distinguishes the keys of the author's organization from other keys.
func purposeOfKey(author, name dns.Name) (purpose, dns.Name) {
	if owner := organization(author); owner != "" && name.Under(owner) {
		return forAuthor, owner
	}
	return forKey, organization(name)
}

// costOfSPF returns the cost of the SPF checks of HELO and MAIL FROM. The lookups of HELO count
// with the first message of the connection. Elapsed is the time of the MAIL FROM check alone,
// because the two checks overlap.
func (m *Verification) costOfSPF() (Cost, bool) {
	c := costOfCheck(&m.mailFrom)
	if m.countsConnection && m.c.helo != nil {
		helo := costOfCheck(&m.c.helo.task)
		c.Lookups += helo.Lookups
		c.Exceeded += helo.Exceeded
		c.NoRoom += helo.NoRoom
		c.DNS += helo.DNS
		c.Ahead += helo.Ahead
		c.Unneeded += helo.Unneeded
	}
	return c, true
}

// costOfCheck returns what one SPF check cost. The number of questions that the check asked early
// is known only when the check has ended.
func costOfCheck(t *task[spf.Check]) Cost {
	c := t.cost()
	if t.ended() {
		c.Ahead, c.Unneeded = t.value.Ahead, t.value.Unneeded
	}
	return c
}

// account fills in e.Cost. The lookups of the connection count with its first message.
func (m *Verification) account(e *Evaluation) {
	m.countsConnection = !m.c.counted
	m.c.counted = true
	e.Cost = make(map[Mechanism]Cost, stageCount)
	for i := range stages {
		if c, ok := stages[i].cost(m); ok {
			e.Cost[stages[i].mechanism] = c
		}
	}
}

// cost returns the cost of the stage so far. elapsed is the time that it took.
func (s *stage) cost(elapsed time.Duration) Cost {
	return Cost{
		Lookups: int(s.used.Load()), Exceeded: int(s.refused.Load()), NoRoom: int(s.noRoom.Load()),
		DNS: time.Duration(s.busy.Load()), Elapsed: elapsed, Operations: s.operations,
	}
}

// cost returns the cost of the task so far.
func (t *task[T]) cost() Cost {
	if t.ended() {
		return t.stage.cost(t.elapsed)
	}
	return t.stage.cost(time.Since(t.begin))
}
