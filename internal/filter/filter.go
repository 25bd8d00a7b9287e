// Package filter is a message's life on one page: the milter's events drive a
// judge.Case, and its Decision becomes header edits, a quarantine or a reply.
package filter

import (
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/blind"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/policy"
	"sekimori/internal/smtp"
)

// Options are the settings of one generation and whoever is told of its messages.
// Judge is required.
type Options struct {
	Judge *judge.Judge
	// Blind is told what cannot be seen or done; nil: nobody.
	Blind *blind.Watch
	// Observers are told of every message. They must not block.
	Observers []Observer
	// Retired, if set, is called once, when other options have taken the place
	// of these (see Swap) and no session uses them any more. It must not block.
	Retired func()
}

// Observer learns what became of each message.
type Observer interface {
	// Decided is called once for each message, after it was decided on and the
	// MTA was given the edits. took is how long the end of the message took here,
	// 0 where it never came. The observer may keep d and must not change it.
	Decided(d *judge.Decision, took time.Duration)
}

// Filter makes the sessions of a milter.Server. Safe for concurrent use.
type Filter struct {
	current atomic.Pointer[edition]
	mu      sync.Mutex // orders every edition's users with current
}

// edition is one set of options and how many sessions use it.
type edition struct {
	Options
	users int
	last  atomic.Pointer[label.Identity] // the one asked for last
}

// New returns a Filter.
func New(o Options) *Filter {
	f := &Filter{}
	f.current.Store(&edition{Options: o})
	return f
}

// NewSession is for milter.Options.
func (f *Filter) NewSession(c *milter.Conn) milter.Session {
	s := &session{filter: f, conn: c}
	s.use(f.acquire())
	return s
}

// Swap puts o in the place of the options so far. A message under way keeps
// those it began with; the next of its session has o.
func (f *Filter) Swap(o Options) {
	f.mu.Lock()
	old := f.current.Swap(&edition{Options: o})
	retired := old.users == 0
	f.mu.Unlock()
	if retired {
		old.retire()
	}
}

func (f *Filter) acquire() *edition {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.current.Load()
	e.users++
	return e
}

func (f *Filter) release(e *edition) {
	f.mu.Lock()
	e.users--
	retired := e.users == 0 && e != f.current.Load()
	f.mu.Unlock()
	if retired {
		e.retire()
	}
}

// identity returns the identity on a connection of an MTA that calls itself
// mta. One MTA is the rule, so that the last one is remembered.
func (e *edition) identity(mta string) *label.Identity {
	if i := e.last.Load(); i != nil && i.MTA == mta {
		return i
	}
	i := e.Judge.Label.Identity(mta)
	e.last.Store(i)
	return i
}

func (e *edition) retire() {
	if e.Retired != nil {
		e.Retired()
	}
}

// OnPanic answers a message whose session panicked: nothing of it is known, so
// it has to come again, but in monitor mode nothing is ever acted on.
func OnPanic(c policy.Config) milter.Reply {
	if c.Mode == policy.Monitor {
		return milter.Accept
	}
	return milter.Custom(smtp.New(smtp.CodeLocalError, smtp.EnhancedSystem, "Internal error, try again later"))
}

// ReplyAt is where the sessions give replies: only at end of message, so that
// the MTA waits for nothing before, and at RCPT where classes are split.
func (f *Filter) ReplyAt() milter.ReplyAt {
	return milter.ReplyAt{Rcpt: f.current.Load().Judge.Splits()}
}
