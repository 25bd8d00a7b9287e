package milter

import (
	"context"
	"time"
)

// attendant looks after the MTA while an EndOfMessage takes long. It is made
// with a connection's first.
type attendant struct {
	l      *link
	parent context.Context // of every EndOfMessage's
	cancel context.CancelCauseFunc
	timer  *time.Timer
	ctx    context.Context // of the EndOfMessage that runs
	over   chan struct{}   // it has returned
	left   chan struct{}   // the attendant is done
}

func newAttendant(l *link) *attendant {
	a := &attendant{l: l, over: make(chan struct{}), left: make(chan struct{})}
	a.parent, a.cancel = context.WithCancelCause(l.srv.base)
	return a
}

// endOfMessage runs the callback.
func (l *link) endOfMessage(m *Modifier) (reply Reply, panicked bool) {
	l.data = nil
	l.t.rest() // it may take long
	if l.attendant == nil {
		l.attendant = newAttendant(l)
	}
	a := l.attendant
	ctx, cancel := context.WithTimeout(a.parent, l.t.limits.EndOfMessageTimeout)
	defer cancel()
	a.begin(ctx)
	defer a.end()
	panicked = l.protect("milter.end_of_message", func() { reply = l.session.EndOfMessage(ctx, m) })
	return reply, panicked
}

// begin has somebody attend should ctx's EndOfMessage take long.
func (a *attendant) begin(ctx context.Context) {
	a.ctx = ctx
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
	a.ctx = nil
}

// attend tells the MTA of progress, and cancels with ErrPeerGone when it
// leaves.
func (a *attendant) attend() {
	t := a.l.t
	stop := t.watch(func() { a.cancel(ErrPeerGone) })
	progress := time.NewTicker(a.l.t.limits.ProgressInterval)
	defer func() {
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
		case <-progress.C:
			t.reply(progressNotice)
			if err := t.flush(); err != nil {
				a.l.stop(t.end(err))
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
