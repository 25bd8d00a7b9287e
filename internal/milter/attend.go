package milter

import (
	"context"
	"errors"
	"time"
)

// attendant looks after the MTA while an EndOfMessage takes long. It is created at the
// first end of a message of a connection, and replaced after it has cancelled a call.
type attendant struct {
	l      *link
	ctx    callContext // the context of every EndOfMessage
	cancel context.CancelCauseFunc
	timer  *time.Timer
	over   chan struct{} // receives when EndOfMessage has returned
	left   chan struct{} // receives when attend has ended
}

// callContext is the context of every EndOfMessage of a connection. It has no deadline of
// its own: the attendant ends it when a call has had its time, so that a call which does
// not take long needs no timer.
type callContext struct{ context.Context }

// Err implements [context.Context]. It tells a call that had too little time from one
// that was cancelled.
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

// endOfMessage calls EndOfMessage of the Session.
func (l *link) endOfMessage(m *Modifier) (reply Reply, panicked bool) {
	l.data = nil
	l.t.Rest() // the call may take long, and needs no read buffer
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

// begin starts the timer after which attend runs.
func (a *attendant) begin() {
	if a.timer == nil {
		a.timer = time.AfterFunc(attendAfter, a.attend)
	} else {
		a.timer.Reset(attendAfter)
	}
}

// end stops the timer, or waits until attend has ended. It is called when EndOfMessage
// has returned.
func (a *attendant) end() {
	if !a.timer.Stop() {
		a.over <- struct{}{}
		<-a.left
	}
}

// attend tells the MTA at intervals that there is progress. It cancels the context with
// ErrPeerGone when the MTA leaves, and with DeadlineExceeded when the time is up.
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
			// The MTA has gone, or the time is up. An MTA that hears no more of
			// progress may give up.
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

// close cancels the context, for what an EndOfMessage left running.
func (a *attendant) close() {
	if a != nil {
		a.cancel(nil)
	}
}
