package spf

import (
	"context"
	"slices"
	"strings"
	"sync"

	"sekimori/internal/dns"
)

// lookAhead asks DNS questions early, that is before the evaluation comes to the term
// that asks them. The evaluation still takes term after term and asks each question
// itself, so the result, the counts and the trace are those of RFC 7208. Only the
// waiting is shorter: if every answer takes 20 ms, a record of several terms takes the
// time of its longest chain (the record, an include, a record below the include) and
// not the sum of all its terms.
//
// An early question may turn out to be unnecessary, because an earlier term matches or
// ends the check. So the number of early questions is bounded. If a term matches
// without DNS, lookAhead asks nothing for the terms after it.
type lookAhead struct {
	e   *evaluation // lookAhead reads only the fields that do not change during the check
	ctx context.Context

	following sync.WaitGroup // the calls of follow that run in the background

	mu        sync.Mutex
	left      int // questions that may still be added
	underWay  int // questions without an answer
	voids     int // terms whose answer has no records
	questions []question
}

// maxUnderWay is the maximum number of early questions without an answer. It is less
// than the number of lookups that a message may have at the same time. So the evaluation
// can still ask a question while all early ones wait for a server that does not answer.
const maxUnderWay = 6

// question is a question that may be asked early.
type question struct {
	name    dns.Name
	typ     dns.Type
	counted int  // up to this question, at least so many terms count towards MaxLookups
	ofTerm  bool // a term asks the question; otherwise the question is for the address of an MX host
	begun   bool // it was asked early
	needed  bool // the evaluation asked it
}

// beginAhead begins to look ahead, if Args.LookAhead allows it and the resolver can ask
// early. It asks for the record of domain, which every check needs. The caller must call
// the result "end" when the check is over. This gives up the questions that have no
// answer yet, and waits until their goroutines have ended.
func (e *evaluation) beginAhead(domain dns.Name) (end func()) {
	if e.args.LookAhead <= 0 || !e.resolver.Expect(e.ctx, domain, dns.TypeTXT) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	e.ahead = &lookAhead{e: e, ctx: ctx, left: e.args.LookAhead}
	return func() {
		cancel()
		e.check.Ahead, e.check.Unneeded = e.ahead.end()
		e.ahead.following.Wait() // after end, so that no other call of follow begins
	}
}

// end stops the asking. The result "asked" is the number of questions that were asked
// early. The result "unneeded" is the number of these that the evaluation did not ask.
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

// stop ends the asking, and drops the questions that were not asked yet. l.mu is held.
func (l *lookAhead) stop() {
	l.left = 0
	l.questions = slices.DeleteFunc(l.questions, func(q question) bool { return !q.begun })
}

// inTurn records that the evaluation asks a question. If the question still waits to be
// asked early, it is no longer asked early, so that it is not asked twice. l may be nil.
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

// add adds a question. It is asked as soon as fewer than maxUnderWay are under way.
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

// askNext asks questions until maxUnderWay are under way. l.mu is held.
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
		asked := *q
		l.following.Go(func() { l.follow(asked) })
	}
}

// record adds the questions of the terms of domain's record. Before this record, at
// least "counted" terms count towards MaxLookups. l may be nil.
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
		l.term(MechanismInclude, rec.Redirect.target, domain, counted+1) // redirect asks the same question as include (RFC 7208 §6.1)
	}
}

// term adds the question of one term.
func (l *lookAhead) term(m Mechanism, spec *macroString, domain dns.Name, counted int) {
	if spec != nil && spec.usesPTR {
		return // the name depends on the answer for PTR, which is not known yet
	}
	target, noMatch, _ := l.e.target(spec, domain) // nothing ends the check here, because only %{p} asks DNS
	if noMatch != "" {
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
	// No question is added for ptr, because the iprev check asks the same questions at
	// the same time.
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

// follow waits for the answer to q, and adds the questions that the answer leads to. If
// the evaluation gets the answer first, it adds the same questions before it asks one of
// them. So no question is asked both early and by the evaluation.
func (l *lookAhead) follow(q question) {
	// A panic is ignored here. The evaluation uses the same answer, so it panics too, in
	// the caller's goroutine, where the caller can handle the panic.
	defer func() { _ = recover() }()
	ans, err := l.e.resolver.Lookup(l.ctx, q.name, q.typ)
	var rec *Record
	if text, n := recordText(ans); q.typ == dns.TypeTXT && n == 1 {
		rec, _ = ParseRecord(text)
	}
	l.mu.Lock()
	l.underWay--
	if q.ofTerm && q.typ != dns.TypeTXT && ans.Void() {
		l.voids++
	}
	// If the evaluation comes to this question, the check ends with an error. So the
	// questions that follow it are not needed.
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
