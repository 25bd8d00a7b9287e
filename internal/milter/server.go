package milter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/dialogue"
	"sekimori/internal/milter/wire"
	"sekimori/internal/smtp"
)

// ErrServerClosed is returned by Serve after Shutdown was called.
var ErrServerClosed = errors.New("milter: server closed")

// After a temporary error, Serve waits before it accepts again. The first wait is minAcceptBackoff.
// Each further error doubles the wait, up to maxAcceptBackoff.
const (
	minAcceptBackoff = 5 * time.Millisecond
	maxAcceptBackoff = time.Second
)

// Server serves milter connections. Make it with [New].
type Server struct {
	opts    Options
	base    context.Context // the parent of every EndOfMessage's context
	cancel  context.CancelCauseFunc
	symList map[gomilter.Stage][]string
	buffers wire.Buffers

	attendance attendance
	agreed     atomic.Pointer[agreement] // the last one

	settings atomic.Pointer[settings]
	memory   memory
	errors   ration
	freed    chan struct{} // gets an element when a connection has ended; awaitSlot waits for it

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	links     map[*link]struct{}
	sessions  int // how many links are served
	refusing  int // how many links are being refused
	draining  chan struct{}
	drained   bool           // Shutdown was called, and has closed draining
	idle      []*worker      // the workers that wait for a connection
	wg        sync.WaitGroup // counts the workers
}

// settings are Settings in which zero fields are replaced by their defaults.
type settings struct {
	Settings
	frames wire.Limits // the part of Limits that bounds frames
}

// New returns a Server with the default [Settings]. It panics if opts.NewSession is nil.
func New(opts Options) *Server {
	if opts.NewSession == nil {
		panic("milter: Options.NewSession is nil")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts:      opts,
		symList:   dialogue.Macros(),
		listeners: make(map[net.Listener]struct{}),
		links:     make(map[*link]struct{}),
		draining:  make(chan struct{}),
		freed:     make(chan struct{}, 1),
	}
	s.Set(Settings{})
	s.base, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Set changes the settings. It may be called while the server serves. Existing connections keep
// their limits and the terms of their negotiation, but they count towards the new MaxSessions
// and Memory.
func (s *Server) Set(set Settings) {
	if set.OnPanic == "" {
		set.OnPanic = Custom(smtp.New(smtp.CodeLocalError, smtp.EnhancedSystem, "Internal error, try again later"))
	}
	set.Limits = set.Limits.withDefaults()
	l := set.Limits
	s.settings.Store(&settings{set, wire.Limits{MaxFrame: l.MaxFrame, FrameTimeout: l.FrameTimeout, WriteTimeout: l.WriteTimeout}})
}

// onPanic returns the reply to a message whose Session panicked.
func (s *Server) onPanic() Reply { return s.settings.Load().OnPanic }

// Reserved returns how many octets of Limits.Memory are reserved.
func (s *Server) Reserved() int64 { return s.memory.reserved.Load() }

// Serve accepts connections until Shutdown is called, then returns ErrServerClosed. It closes ln.
// After a temporary error (for example, no file descriptors are left), and while no further
// connection can even be refused (ReasonHardLimit), Serve waits and then goes on. Meanwhile new
// connections wait in the queue of the listener. Any other error of the listener ends Serve.
func (s *Server) Serve(ln net.Listener) error {
	defer func() { _ = ln.Close() }()
	s.mu.Lock()
	if s.drained {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[ln] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()

	backoff := time.Duration(0)
	for {
		s.awaitSlot()
		nc, err := ln.Accept()
		switch {
		case err == nil:
			backoff = 0
			s.start(nc)
			continue
		case s.isDraining():
			return ErrServerClosed
		case !transient(err):
			return fmt.Errorf("milter: accept on %s: %w", ln.Addr(), err)
		}
		s.opts.Observer.sessionRejected(ReasonAcceptFailed)
		if backoff == 0 {
			s.opts.Logger.Error("cannot accept connections for now", "listen", ln.Addr().String(), "err", err)
		}
		backoff = min(max(2*backoff, minAcceptBackoff), maxAcceptBackoff)
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-s.draining:
			timer.Stop()
			return ErrServerClosed
		}
	}
}

// transient reports whether accepting may succeed again after this error.
func transient(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, // no descriptors or memory are left
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, // the error concerns one connection
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// leftOut logs how many protocol errors were left out of the log.
func (s *Server) leftOut(n int) {
	s.opts.Logger.Warn("milter protocol errors left out of the log", "count", n)
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained
}

// awaitSlot waits while no further connection can be served, and maxRefusing connections are
// being refused.
func (s *Server) awaitSlot() {
	for counted := false; s.full(); counted = true {
		if !counted {
			s.opts.Observer.sessionRejected(ReasonHardLimit)
		}
		// If several goroutines run Serve, another one may take the free slot and the element of
		// freed. So a timer wakes this goroutine too.
		timer := time.NewTimer(maxAcceptBackoff)
		select {
		case <-s.freed:
		case <-timer.C:
		case <-s.draining:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

func (s *Server) full() bool {
	limits := &s.settings.Load().Limits
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusing >= maxRefusing && (s.sessions >= limits.MaxSessions || s.memory.short(limits.Memory))
}

// start makes a worker serve the connection nc, or refuse it if MaxSessions or Memory does not allow
// one more connection.
func (s *Server) start(nc net.Conn) {
	set := s.settings.Load()
	reason := RejectReason("")
	s.mu.Lock()
	switch {
	case s.sessions >= set.Limits.MaxSessions:
		reason = ReasonMaxSessions
	case !s.memory.admit(set.Limits.Memory):
		reason = ReasonMemory
	}
	l := newLink(s, nc, set, reason)
	s.links[l] = struct{}{}
	if s.drained { // Shutdown was called after nc was accepted
		l.t.Hasten(maxDrainIdle)
	}
	if reason == "" {
		s.sessions++
	} else {
		s.refusing++
	}
	w := s.takeIdle()
	if w == nil {
		s.wg.Add(1) // Close of the new worker's shim calls Done
	}
	s.mu.Unlock()
	if reason == "" {
		l.startSession()
	} else {
		s.opts.Observer.sessionRejected(reason)
	}
	s.serve(l, w)
}

// done is called by a link when its connection has ended.
func (s *Server) done(l *link) {
	s.mu.Lock()
	delete(s.links, l)
	if l.refuse == "" {
		s.sessions--
		s.memory.release(sessionCost)
	} else {
		s.refusing--
	}
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default: // freed has an element already, which is enough to wake awaitSlot
	}
}

// Shutdown stops accepting connections and waits until the MTAs end their sessions. If an MTA loses
// its milter in the middle of an SMTP session, it answers 451 for the rest of the session (Postfix
// with the default action tempfail), or stops filtering (with the default action accept). So
// Shutdown waits until a message in progress has ended, and then up to 20 seconds for the next
// message of the session. When ctx ends, Shutdown cancels running calls of EndOfMessage, sends
// their replies, closes every connection and returns the error of ctx. When Shutdown returns, no
// goroutine of the server is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.drained {
		s.drained = true
		close(s.draining)
		s.endIdle()
	}
	for ln := range s.listeners {
		_ = ln.Close()
	}
	for l := range s.links {
		l.t.Hasten(maxDrainIdle)
	}
	s.mu.Unlock()

	defer s.errors.flush(s.leftOut)
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cancel(ErrDraining)
		return nil
	case <-ctx.Done():
	}
	s.cancel(ErrDraining)
	s.mu.Lock()
	for l := range s.links {
		l.t.Force()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}
