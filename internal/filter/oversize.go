package filter

import (
	"sekimori/internal/authres"
	"sekimori/internal/milter"
	"sekimori/internal/policy"
)

// Oversize implements milter.OversizeReplier: a message of which only a part
// can be seen is refused, because an author could hide in the rest. In monitor
// mode nothing is refused, but nothing forged in our name passes either.
func (s *session) Oversize(what string) milter.Reply {
	t := s.current
	if t == nil {
		return milter.Continue
	}
	t.shown = true
	s.nameMessage(t)
	switch {
	case t.skip == policy.ReasonTrusted:
		return s.passOn(t)
	case s.o.Policy.Mode == policy.Monitor:
		s.reduce(t, what)
		return milter.Outline
	case what == milter.OversizeRecipients || what == milter.OversizeEnvelope || what == milter.OversizeMemory:
		return milter.Continue // the milter's own answer: RFC 5321 §4.5.3.1.10
	}
	v := policy.Oversized(what, s.o.Policy)
	s.notEvaluated(t, v)
	return reply(v)
}

// reduce lets go of all of the message but the outline of its header.
func (s *session) reduce(t *transaction, what string) {
	t.over, t.outline = what, &outline{}
	ours := s.identity().ours
	for i := range t.header {
		t.outline.add(ours, t.header[i].Name, t.header[i].Value)
	}
	t.close()
	t.check, t.consents, t.header, t.envelope.Recipients = nil, nil, nil, nil
}

// HeaderStart implements milter.Outliner.
func (s *session) HeaderStart(name, start string) {
	if t := s.current; t != nil && t.outline != nil {
		t.outline.add(s.identity().ours, name, start)
	}
}

// endOutlined is the end of a message over a limit, in monitor mode.
func (s *session) endOutlined(t *transaction, m *milter.Modifier) milter.Reply {
	v := policy.Oversized(t.over, s.o.Policy)
	if t.outline.tooMany() {
		v = policy.Flooded(v)
		s.notEvaluated(t, v)
		return reply(v)
	}
	left, err := s.finishOutline(t.outline, m, "too large")
	switch {
	case err != nil:
		v = policy.Unlabelled(v, err)
	case left:
		v = s.leftForged(v)
	}
	s.notEvaluated(t, v)
	return reply(v)
}

// finishOutline deletes what is forged, and labels the message as not evaluated.
// It reports whether a result in our name is left.
func (s *session) finishOutline(o *outline, m *milter.Modifier, why string) (left bool, err error) {
	left, err = o.remove(s.conn, m)
	if err == nil {
		none := authres.Field{AuthServID: s.identity().id}
		err = m.InsertHeader(0, authres.FieldName, none.Format()+" (not evaluated: "+why+")")
	}
	return left, err
}

// Salvage implements milter.Salvager: after a bug a message has to come again,
// but in monitor mode it passes, and nothing forged in our name with it.
func (s *session) Salvage(m *milter.Modifier) milter.Reply {
	t := s.current
	if t == nil || s.o.Policy.Mode != policy.Monitor || t.skip == policy.ReasonTrusted {
		return OnPanic(s.o.Policy)
	}
	if t.outline == nil {
		s.reduce(t, "")
	}
	if _, err := s.finishOutline(t.outline, m, "internal error"); err != nil {
		return OnPanic(s.o.Policy)
	}
	return milter.Continue
}
