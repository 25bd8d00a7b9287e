package milter

import (
	"context"
	"errors"
	"time"
)

// attendant watches the MTA while a call of EndOfMessage takes long. It sends progress notices,
// detects that the MTA has left, and ends the context of the call when the time is up. A connection
// gets an attendant at the end of its first message, and a new one if the context of the first
// attendant has ended.
type attendant struct {
	l      *link
	ctx    callContext // the context of every EndOfMessage
	cancel context.CancelCauseFunc
	timer  *time.Timer
	over   chan struct{} // receives when EndOfMessage has returned
	left   chan struct{} // receives when attend has ended
}

// callContext is the context of every EndOfMessage of a connection. It has no deadline of its
// own, because a deadline would need a timer for every call. Instead the attendant, which runs
// only for long calls, cancels the context when the time is up.
type callContext struct{ context.Context }

// Err implements [context.Context]. It returns DeadlineExceeded if the time for EndOfMessage was
// up, and Canceled if the context was cancelled for another reason.
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

// endOfMessage calls EndOfMessage of the Session. Meanwhile the attendant watches the MTA.
func (l *link) endOfMessage(m *Modifier) (reply Reply, panicked bool) {
	l.data = nil
	l.t.Rest() // the call may take long, and meanwhile no read buffer is needed
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

// begin makes attend run after attendAfter, unless end is called before.
func (a *attendant) begin() {
	if a.timer == nil {
		a.timer = time.AfterFunc(attendAfter, a.attend)
	} else {
		a.timer.Reset(attendAfter)
	}
}

// end is called when EndOfMessage has returned. It stops the timer of begin. If attend is
// already running, end makes it stop and waits until it has returned.
func (a *attendant) end() {
	if !a.timer.Stop() {
		a.over <- struct{}{}
		<-a.left
	}
}

// attend sends progress notices to the MTA until end is called. It cancels the context with
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
			// The context has ended: the MTA has gone, the time is up, or the server is shutting
			// down. From now on no progress notices are sent, so an MTA that still waits gives up
			// after its own timeout.
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

// close cancels the context, so that goroutines which EndOfMessage started and left running end
// too. a may be nil.
func (a *attendant) close() {
	if a != nil {
		a.cancel(nil)
	}
}
