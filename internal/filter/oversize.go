package filter

import (
	"sekimori/internal/label"
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
	t.over, t.outline = what, &label.Outline{}
	id := s.identity()
	for i := range t.header {
		t.outline.Add(id, t.header[i].Name, t.header[i].Value)
	}
	t.close()
	t.check, t.consents, t.header, t.envelope.Recipients = nil, nil, nil, nil
}

// HeaderStart implements milter.Outliner.
func (s *session) HeaderStart(name, start string) {
	if t := s.current; t != nil && t.outline != nil {
		t.outline.Add(s.identity(), name, start)
	}
}

// endOutlined is the end of a message over a limit, in monitor mode.
func (s *session) endOutlined(t *transaction, m *milter.Modifier) milter.Reply {
	v := policy.Oversized(t.over, s.o.Policy)
	if t.outline.TooMany() {
		v = policy.Flooded(v)
		s.notEvaluated(t, v)
		return reply(v)
	}
	v = s.edit(s.writer.NotEvaluated(s.identity(), t.outline, "too large"), v, m)
	s.notEvaluated(t, v)
	return reply(v)
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
	if _, _, err := s.apply(s.writer.NotEvaluated(s.identity(), t.outline, "internal error"), m); err != nil {
		return OnPanic(s.o.Policy)
	}
	return milter.Continue
}
