package app

// step is something that was begun, with the function that undoes it.
type step struct {
	name string // for the log
	undo func() error
}

// begin does a step and adds it to list. do returns the function that undoes the
// step, or nil if there is nothing to undo.
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

// unwind undoes the steps of list, the last one first, and empties it.
func (a *App) unwind(list *[]step) {
	for i := len(*list) - 1; i >= 0; i-- {
		a.undo((*list)[i])
	}
	*list = nil
}

// undo undoes a step. An error is logged: the remaining steps are undone all the
// same. The log itself is closed last; a failure to close it means that its
// output takes nothing, and the record is counted as dropped.
func (a *App) undo(s step) {
	if a.o.onStep != nil {
		_ = a.o.onStep(s.name, true) // a test cannot stop the undoing, so its error has no meaning
	}
	if err := s.undo(); err != nil {
		a.log.Warn("clean-up failed", "step", s.name, "error", err)
	}
}

// always makes an undo function of one that cannot fail.
func always(f func()) func() error {
	return func() error { f(); return nil }
}
