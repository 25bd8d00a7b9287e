package milter

import (
	"context"
	"errors"
	"time"
)

// attendant looks after the MTA while an EndOfMessage takes long. It is made
// with a connection's first, and again when it had to end one.
type attendant struct {
	l      *link
	ctx    callContext // of every EndOfMessage
	cancel context.CancelCauseFunc
	timer  *time.Timer
	over   chan struct{} // EndOfMessage has returned
	left   chan struct{} // the attendant is done
}

// callContext is the context of every EndOfMessage of a connection, which ends
// when one has had its time: only the attendant needs a timer.
type callContext struct{ context.Context }

// Err implements [context.Context].
func (c *callContext) Err() error {
	if errors.Is(context.Cause(c.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

func newAttendant(l *link) *attendant {
	a := &attendant{l: l, over: make(chan struct{}), left: make(chan struct{})}
	a.ctx.Context, a.cancel = context.WithCancelCause(l.srv.base)
	return a
}

// endOfMessage runs the callback.
func (l *link) endOfMessage(m *Modifier) (reply Reply, panicked bool) {
	l.data = nil
	l.t.Rest() // it may take long
	if l.attendant == nil || l.attendant.ctx.Err() != nil {
		l.attendant.close()
		l.attendant = newAttendant(l)
	}
	a := l.attendant
	a.begin()
	defer a.end()
	panicked = l.protect("milter.end_of_message", func() { reply = l.session.EndOfMessage(&a.ctx, m) })
	return reply, panicked
}

// begin has somebody attend should EndOfMessage take long.
func (a *attendant) begin() {
	if a.timer == nil {
		a.timer = time.AfterFunc(attendAfter, a.attend)
	} else {
		a.timer.Reset(attendAfter)
	}
}

// end is for when EndOfMessage has returned. Nobody attends afterwards.
func (a *attendant) end() {
	if !a.timer.Stop() {
		a.over <- struct{}{}
		<-a.left
	}
}

// attend tells the MTA of progress, and cancels with ErrPeerGone when it
// leaves, with DeadlineExceeded when the time is up.
func (a *attendant) attend() {
	t := a.l.t
	stop := t.Watch(func() { a.cancel(ErrPeerGone) })
	progress := time.NewTicker(a.l.limits.ProgressInterval)
	late := time.NewTimer(a.l.limits.EndOfMessageTimeout - attendAfter)
	defer func() {
		late.Stop()
		progress.Stop()
		stop()
		a.left <- struct{}{}
	}()
	done := a.ctx.Done()
	for {
		select {
		case <-a.over:
			return
		case <-done:
			// The MTA is gone, or may give up waiting: no more notices.
			done = nil
			progress.Stop()
		case <-late.C:
			a.cancel(context.DeadlineExceeded)
		case <-progress.C:
			t.Reply(string(progressNotice))
			if err := t.Flush(); err != nil {
				a.l.stop(a.l.endOf(err))
				a.cancel(ErrPeerGone)
			}
		}
	}
}

// close ends what EndOfMessage left behind.
func (a *attendant) close() {
	if a != nil {
		a.cancel(nil)
	}
}
