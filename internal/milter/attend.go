package milter

import (
	"context"
	"errors"
	"sync"
	"time"
)

// attendance starts the attendants. One timer serves all calls of EndOfMessage, and is not stopped
// when a call returns: nearly every call takes far less than attendAfter, and a timer that is set and
// stopped for each of them would wake a thread each time.
type attendance struct {
	mu      sync.Mutex
	calls   map[*attendant]time.Time // when the attendant of each running call is to start
	timer   *time.Timer
	pending bool // the timer is set
}

// begin notes that the call of a begins.
func (s *attendance) begin(a *attendant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = make(map[*attendant]time.Time)
	}
	s.calls[a] = time.Now().Add(attendAfter)
	if s.pending {
		return // the timer is set for an earlier call, and start sets it again for this one
	}
	s.pending = true
	if s.timer == nil {
		s.timer = time.AfterFunc(attendAfter, s.start)
	} else {
		s.timer.Reset(attendAfter)
	}
}

// end notes that the call of a has returned. It returns false if the attendant was started.
func (s *attendance) end(a *attendant) (early bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, early = s.calls[a]
	delete(s.calls, a)
	return early
}

// start starts the attendants of the calls that have run for attendAfter, and sets the timer for the
// next call.
func (s *attendance) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var next time.Time
	for a, due := range s.calls {
		switch {
		case !due.After(now):
			delete(s.calls, a)
			a.over, a.left = make(chan struct{}), make(chan struct{})
			go a.attend()
		case next.IsZero() || due.Before(next):
			next = due
		}
	}
	if s.pending = !next.IsZero(); s.pending {
		s.timer.Reset(next.Sub(now))
	}
}

// attendant watches the MTA while a call of EndOfMessage takes long. It sends progress notices,
// detects that the MTA has left, and ends the context of the call when the time is up. A connection
// gets an attendant at the end of its first message, and a new one if the context of the first
// attendant has ended.
type attendant struct {
	l      *link
	ctx    callContext // the context of every EndOfMessage
	cancel context.CancelCauseFunc
	// The channels are made when attend begins. over receives when EndOfMessage has returned, and
	// left receives when attend has ended.
	over, left chan struct{}
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
	a := &attendant{l: l}
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
	l.srv.attendance.begin(a)
	defer a.end()
	panicked = l.protect("milter.end_of_message", func() { reply = l.session.EndOfMessage(&a.ctx, m) })
	return reply, panicked
}

// end is called when EndOfMessage has returned. If attend is running, end makes it stop and waits
// until it has returned.
func (a *attendant) end() {
	if !a.l.srv.attendance.end(a) {
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
