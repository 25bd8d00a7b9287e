package milter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	gomilter "github.com/emersion/go-milter"
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
	buffers buffers

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	links     map[*link]struct{}
	sessions  int // links that are served
	refusing  int // links that are being refused
	draining  chan struct{}
	drained   bool // draining is closed
	wg        sync.WaitGroup
}

// New returns a Server. It panics if there is no NewSession.
func New(opts Options) *Server {
	if opts.NewSession == nil {
		panic("milter: Options.NewSession is nil")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.OnPanic == "" {
		opts.OnPanic = Custom(451, "4.3.0", "Internal error, try again later")
	}
	opts.Limits = opts.Limits.withDefaults()
	s := &Server{
		opts:      opts,
		symList:   symList(),
		listeners: make(map[net.Listener]struct{}),
		links:     make(map[*link]struct{}),
		draining:  make(chan struct{}),
	}
	s.base, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Serve accepts connections until Shutdown is called, then returns
// ErrServerClosed. It closes ln. Running out of file descriptors does not end
// it: connections wait in the listener's queue, which an MTA hardly notices.
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

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained
}

// start serves nc on goroutines of its own, or turns it away.
func (s *Server) start(nc net.Conn) {
	reason := RejectReason("")
	if s.opts.Admit != nil {
		reason = s.opts.Admit()
	}
	s.mu.Lock()
	if reason == "" && s.sessions >= s.opts.Limits.MaxSessions {
		reason = ReasonMaxSessions
	}
	if reason != "" && s.refusing >= maxRefusing {
		s.mu.Unlock()
		s.opts.Observer.sessionRejected(ReasonHardLimit)
		_ = nc.Close()
		return
	}
	l := newLink(s, nc, reason)
	s.links[l] = struct{}{}
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
	} else {
		s.refusing--
	}
	s.mu.Unlock()
	s.wg.Done()
}

// Shutdown stops accepting and waits for the MTAs to end their sessions: one
// that loses its milter in the middle of an SMTP session answers 451 for the
// rest of it (Postfix under tempfail), or stops filtering (under accept), so
// even an idle connection is left to its QUIT. When ctx ends, EndOfMessage
// calls are canceled, their replies are sent, and every connection is closed;
// Shutdown then returns ctx's error. It returns when no goroutine is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.drained {
		s.drained = true
		close(s.draining)
	}
	for ln := range s.listeners {
		_ = ln.Close()
	}
	s.mu.Unlock()

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
		l.t.force()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}
