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

// Between tries to accept when there are no file descriptors or memory left.
const (
	minAcceptBackoff = 5 * time.Millisecond
	maxAcceptBackoff = time.Second
)

// Server serves milter connections. Make it with [New].
type Server struct {
	opts    Options
	base    context.Context // parent of every EndOfMessage's context
	cancel  context.CancelCauseFunc
	symList map[gomilter.Stage][]string
	buffers wire.Buffers

	settings atomic.Pointer[settings]
	memory   memory
	errors   ration
	freed    chan struct{} // has an element after a connection's end

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	links     map[*link]struct{}
	sessions  int // links that are served
	refusing  int // links that are being refused
	draining  chan struct{}
	drained   bool // draining is closed
	wg        sync.WaitGroup
}

// settings are the Settings with their defaults.
type settings struct {
	Settings
	frames wire.Limits // the part of Limits that bounds frames
}

// New returns a Server. It panics if there is no NewSession.
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

// Set changes the settings. It may be called while the server serves. Connections that
// exist keep their limits and what was negotiated, but they count for the new
// MaxSessions and Memory.
func (s *Server) Set(set Settings) {
	if set.OnPanic == "" {
		set.OnPanic = Custom(smtp.New(smtp.CodeLocalError, smtp.EnhancedSystem, "Internal error, try again later"))
	}
	set.Limits = set.Limits.withDefaults()
	l := set.Limits
	s.settings.Store(&settings{set, wire.Limits{MaxFrame: l.MaxFrame, FrameTimeout: l.FrameTimeout, WriteTimeout: l.WriteTimeout}})
}

// onPanic answers a message whose Session panicked.
func (s *Server) onPanic() Reply { return s.settings.Load().OnPanic }

// Reserved is how much of Limits.Memory is in use, in octets.
func (s *Server) Reserved() int64 { return s.memory.reserved.Load() }

// Serve accepts connections until Shutdown is called, then returns
// ErrServerClosed. It closes ln. Running out of file descriptors does not end
// it, nor do more connections than can even be refused: they wait in the
// listener's queue, which an MTA hardly notices.
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
		case !passing(err):
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

// passing reports whether accept may work again after a while.
func passing(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, // none left
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, // that one connection
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// leftOut tells how many protocol errors the log does not have.
func (s *Server) leftOut(n int) {
	s.opts.Logger.Warn("milter protocol errors left out of the log", "count", n)
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained
}

// awaitSlot waits while a connection could not even be refused.
func (s *Server) awaitSlot() {
	for told := false; s.full(); told = true {
		if !told {
			s.opts.Observer.sessionRejected(ReasonHardLimit)
		}
		// Another Serve may have taken what was freed.
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

// start serves nc on goroutines of its own, or turns it away.
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
	if s.drained { // accepted just before
		l.t.Hasten(maxDrainIdle)
	}
	if reason == "" {
		s.sessions++
	} else {
		s.refusing++
	}
	s.wg.Add(1)
	s.mu.Unlock()
	if reason == "" {
		l.startSession()
	} else {
		s.opts.Observer.sessionRejected(reason)
	}
	go s.run(l)
}

func (s *Server) run(l *link) {
	if l.begin() {
		l.serve()
	} else {
		l.finish()
	}
}

// done is a link's last word.
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
	default: // one is enough to wake a Serve
	}
	s.wg.Done()
}

// Shutdown stops accepting and waits for the MTAs to end their sessions: one
// that loses its milter in the middle of an SMTP session answers 451 for the
// rest of it (Postfix under tempfail), or stops filtering (under accept). So a
// message in progress is waited for, and the next one of its session for 20
// seconds. When ctx ends, EndOfMessage calls are canceled, their replies are
// sent, and every connection is closed; Shutdown then returns ctx's error. It
// returns when no goroutine is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.drained {
		s.drained = true
		close(s.draining)
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
