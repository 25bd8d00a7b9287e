package filter

import (
	"context"

	"sekimori/internal/milter"
	"sekimori/internal/policy"
)

// Oversize implements milter.OversizeReplier. It refuses a message whose header crosses a
// limit. If a limit on the envelope or on memory is crossed, package milter refuses the
// recipient or the message. In monitor mode the message goes on, but only the outline of
// its header (see label.Outline) is kept. A message from a trusted network is accepted.
func (s *session) Oversize(what string) milter.Reply {
	t := s.current
	if t == nil {
		return milter.Continue
	}
	t.ended = true
	s.nameMessage(t)
	s.identify()
	ofEnvelope := what == milter.OversizeRecipients || what == milter.OversizeEnvelope || what == milter.OversizeMemory
	switch {
	case t.Trusted():
		d := t.Finish(context.Background())
		s.tell(&d, 0)
		return milter.Accept
	case ofEnvelope && s.o.Judge.Policy.Mode != policy.Monitor:
		return milter.Continue // package milter then refuses the recipient or message (RFC 5321 §4.5.3.1.10)
	case t.Oversize(what):
		return milter.Outline
	}
	d := t.Finish(context.Background())
	s.tell(&d, 0)
	return reply(&d.Verdict)
}

// HeaderStart implements milter.Outliner.
func (s *session) HeaderStart(name, start string) {
	if t := s.current; t != nil {
		t.HeaderStart(name, start)
	}
}

// Salvage implements milter.Salvager. It is called after a panic. In enforce mode the
// sender must try again later. In monitor mode the message is delivered, and its fields in
// our name are deleted (see package label).
func (s *session) Salvage(m *milter.Modifier) milter.Reply {
	t := s.current
	if t == nil || s.o.Judge.Policy.Mode != policy.Monitor || t.Trusted() {
		return OnPanic(s.o.Judge.Policy)
	}
	s.identify()
	if _, _, err := s.apply(t.Salvage(), m); err != nil {
		return OnPanic(s.o.Judge.Policy)
	}
	return milter.Continue
}
