package app

// step is a part of the start or of a reload, with the function that undoes it.
type step struct {
	name string // for the log
	undo func() error
}

// begin calls the function "do" and, if that succeeds, adds the step to list. "do" returns the
// function that undoes the step, or nil if there is nothing to undo.
func (a *App) begin(list *[]step, name string, do func() (undo func() error, err error)) error {
	if a.o.onStep != nil {
		if err := a.o.onStep(name, false); err != nil {
			return err
		}
	}
	undo, err := do()
	if err == nil && undo != nil {
		*list = append(*list, step{name, undo})
	}
	return err
}

// unwind undoes the steps of list, the last one first, and empties list.
func (a *App) unwind(list *[]step) {
	for i := len(*list) - 1; i >= 0; i-- {
		a.undo((*list)[i])
	}
	*list = nil
}

// undo undoes a step. It logs an error and does not return it, because the other steps must be
// undone too. The step that closes the log is undone last. If that step fails, the error
// cannot be logged any more; the record is counted as dropped.
func (a *App) undo(s step) {
	if a.o.onStep != nil {
		_ = a.o.onStep(s.name, true) // undoing goes on whatever onStep returns
	}
	if err := s.undo(); err != nil {
		a.log.Warn("clean-up failed", "step", s.name, "error", err)
	}
}

// always turns f, which cannot fail, into an undo function.
func always(f func()) func() error {
	return func() error { f(); return nil }
}
