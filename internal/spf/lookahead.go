package spf

import (
	"context"
	"slices"
	"strings"
	"sync"

	"sekimori/internal/dns"
)

// lookAhead asks questions of a check before their turn. The evaluation itself goes
// on in turn and asks the same questions again, so the result, the counts and the
// trace are those of RFC 7208. Only the waiting is shorter: with every answer 20 ms
// away, a record of several terms takes the time of its longest chain (record,
// include, record below it) and not the time of all its terms.
//
// A question before its turn may turn out to be unneeded, because an earlier term
// matches or ends the check. So the number of these questions is bounded, and no
// question is asked behind a term that matches without DNS.
type lookAhead struct {
	e   *evaluation // only what does not change during the check is read
	ctx context.Context

	mu        sync.Mutex
	left      int // questions that may still be added
	underWay  int // questions without an answer
	voids     int // terms whose answer has no records
	questions []question
}

// maxUnderWay is how many questions wait for an answer before their turn. It is
// less than the lookups that a message may have under way, because a server that
// does not answer must not keep the evaluation from asking in turn.
const maxUnderWay = 6

// question is a question that may be asked before its turn.
type question struct {
	name    dns.Name
	typ     dns.Type
	counted int  // terms that have counted against MaxLookups so far, at least
	ofTerm  bool // a term asks it; otherwise it is for the address of an MX host
	begun   bool // it was asked before its turn
	needed  bool // the evaluation asked it in its turn
}

// beginAhead begins to look ahead, if the caller allows it and the resolver does
// it. The record of domain, which every check needs, is asked for at once. The
// caller must call end when the check is over. Questions without an answer are given
// up then.
func (e *evaluation) beginAhead(domain dns.Name) (end func()) {
	if e.args.LookAhead <= 0 || !e.resolver.Expect(e.ctx, domain, dns.TypeTXT) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	e.ahead = &lookAhead{e: e, ctx: ctx, left: e.args.LookAhead}
	return func() {
		cancel()
		e.check.Ahead, e.check.Unneeded = e.ahead.end()
	}
}

// end ends the asking. It returns how many questions were asked before their turn,
// and how many of them the evaluation did not ask in its turn.
func (l *lookAhead) end() (asked, unneeded int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	for _, q := range l.questions {
		asked++
		if !q.needed {
			unneeded++
		}
	}
	return asked, unneeded
}

// stop asks nothing any more, and forgets the questions that wait. l.mu is held.
func (l *lookAhead) stop() {
	l.left = 0
	l.questions = slices.DeleteFunc(l.questions, func(q question) bool { return !q.begun })
}

// inTurn records that the evaluation asks a question in its turn. A question that
// waits to be asked before its turn then is not asked twice. l may be nil.
func (l *lookAhead) inTurn(name dns.Name, typ dns.Type) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.find(name, typ); q != nil {
		q.needed = true
	}
}

func (l *lookAhead) find(name dns.Name, typ dns.Type) *question {
	for i := range l.questions {
		if q := &l.questions[i]; q.name == name && q.typ == typ {
			return q
		}
	}
	return nil
}

// add adds a question to those that are asked as soon as there is room.
func (l *lookAhead) add(q question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 || l.find(q.name, q.typ) != nil {
		return
	}
	l.left--
	l.questions = append(l.questions, q)
	l.askNext()
}

// askNext asks the questions for which there is room. l.mu is held.
func (l *lookAhead) askNext() {
	for i := range l.questions {
		if l.underWay >= maxUnderWay {
			return
		}
		q := &l.questions[i]
		if q.begun || q.needed {
			continue
		}
		q.begun = true
		l.underWay++
		l.e.resolver.Expect(l.ctx, q.name, q.typ)
		go l.follow(*q)
	}
}

// record adds the questions of the terms of domain's record. counted is the least
// number of terms that have counted against MaxLookups before this record; l may be
// nil.
func (l *lookAhead) record(rec *Record, domain dns.Name, counted int) {
	if l == nil {
		return
	}
	for i := range rec.Directives {
		d := &rec.Directives[i]
		switch d.Mechanism {
		case MechanismAll, MechanismIP4, MechanismIP6:
			if l.e.matchesAlone(d) {
				return
			}
			continue
		}
		if counted++; counted > MaxLookups {
			return
		}
		l.term(d.Mechanism, d.target, domain, counted)
	}
	if rec.Redirect != nil && counted < MaxLookups {
		l.term(MechanismInclude, rec.Redirect.target, domain, counted+1) // RFC 7208 §6.1: the same question
	}
}

// term adds the question of one term.
func (l *lookAhead) term(m Mechanism, spec *macroString, domain dns.Name, counted int) {
	if spec != nil && spec.usesPTR {
		return // the name depends on an answer that is not known yet
	}
	target, noMatch, h := l.e.target(spec, domain)
	if h != nil || noMatch != "" {
		return
	}
	switch m {
	case MechanismInclude:
		if strings.Contains(string(target), ".") {
			l.add(question{name: target, typ: dns.TypeTXT, counted: counted, ofTerm: true})
		}
	case MechanismMX:
		l.add(question{name: target, typ: dns.TypeMX, counted: counted, ofTerm: true})
	case MechanismA:
		l.add(question{name: target, typ: l.e.addressType(), counted: counted, ofTerm: true})
	case MechanismExists:
		l.add(question{name: target, typ: dns.TypeA, counted: counted, ofTerm: true})
	}
	// Nothing is added for ptr, because iprev asks the same questions at this time.
}

// hosts adds the questions for the addresses of MX hosts. l may be nil.
func (l *lookAhead) hosts(mx dns.Answer, counted int) {
	if l == nil || len(mx.Records) > MaxHosts {
		return
	}
	for _, r := range mx.Records {
		if r.Host != "" {
			l.add(question{name: r.Host, typ: l.e.addressType(), counted: counted})
		}
	}
}

// follow waits for an answer, and adds the questions that follow from it. The
// evaluation adds the same questions if it has the answer first, so that none of
// them is asked both in its turn and before.
func (l *lookAhead) follow(q question) {
	// The evaluation uses the same answer in its turn. If that panics, it panics in
	// the caller's goroutine, and the caller can handle it.
	defer func() { _ = recover() }()
	ans, err := l.e.resolver.Lookup(l.ctx, q.name, q.typ)
	var rec *Record
	if texts := recordTexts(ans); q.typ == dns.TypeTXT && len(texts) == 1 {
		rec, _ = ParseRecord(texts[0])
	}
	l.mu.Lock()
	l.underWay--
	if q.ofTerm && q.typ != dns.TypeTXT && ans.Void() {
		l.voids++
	}
	// If the check comes to this question, it ends with an error. Then the questions
	// behind this one are of no use.
	if err != nil || q.typ == dns.TypeTXT && rec == nil || len(ans.Records) > MaxHosts && q.typ == dns.TypeMX || l.voids > MaxVoidLookups {
		l.stop()
	}
	l.askNext()
	l.mu.Unlock()
	switch {
	case rec != nil:
		l.record(rec, q.name, q.counted)
	case q.typ == dns.TypeMX:
		l.hosts(ans, q.counted)
	}
}
