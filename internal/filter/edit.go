package filter

import (
	"errors"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/policy"
)

// edit sends the edits of the decision to the MTA, and corrects the verdict if the MTA
// cannot apply them. If the MTA has no quarantine, a quarantined message is delivered with
// a label only.
func (s *session) edit(d *judge.Decision, m *milter.Modifier) {
	held, left, err := s.apply(d.Edits, m)
	if !held {
		d.Verdict.Applied = policy.Tag
		d.Verdict.Evidence = append(d.Verdict.Evidence, "the MTA offers no quarantine")
	}
	switch {
	case err != nil:
		d.Verdict = policy.Unlabelled(d.Verdict, err, s.o.Judge.Policy)
	case left:
		s.watch().ForgedLeft(s.conn.RemoteAddr(), s.conn.Macro("i"))
		d.Verdict = policy.Forged(d.Verdict, s.self.ID, s.o.Judge.Policy)
	}
}

// apply translates edits into milter commands. held is false if an edit asks for a
// quarantine and the MTA has none. left is true if the MTA does not allow deletions and a
// result in our name stays in the message. An MTA that does not allow changes still gets
// the other edits. An error means that the message cannot be labelled.
func (s *session) apply(edits []label.Edit, m *milter.Modifier) (held, left bool, err error) {
	held = true
	deletes := s.conn.HasAction(milter.ActionChangeHeader)
	for i := range edits {
		e := &edits[i]
		switch {
		case e.Kind == label.Quarantine:
			held = m.Quarantine(e.Value) == nil
		case e.Kind == label.Change:
			if err = m.ChangeHeader(e.Name, e.Index, e.Value); errors.Is(err, milter.ErrNotNegotiated) {
				err = nil
			}
		case e.Kind == label.Insert:
			err = m.InsertHeader(0, e.Name, e.Value)
		case !deletes:
			left = left || e.Forged
		case e.Kind == label.Delete:
			err = m.DeleteHeader(e.Name, e.Index)
		case e.Kind == label.DeleteMany:
			err = m.DeleteHeaders(e.Name, e.Index, e.Kept.Goes)
		}
		if err != nil {
			return held, left, err
		}
	}
	return held, left, nil
}
