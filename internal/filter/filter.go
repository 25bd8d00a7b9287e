// Package filter connects the milter with the judge. The events of a milter session
// drive a judge.Case, and its Decision becomes header edits, a quarantine or a
// reply.
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

// Options are the settings of one generation and the observers of its messages.
// Judge is required.
type Options struct {
	Judge *judge.Judge
	// Blind is told what the filter cannot see or do; nil is allowed.
	Blind *blind.Watch
	// Observers are told of every message. They must not block.
	Observers []Observer
	// Retired, if set, is called once: when Swap has replaced these options and no
	// session uses them any more. It must not block.
	Retired func()
}

// Observer learns what became of each message.
type Observer interface {
	// Decided is called once for each message, after it was decided on and the
	// MTA was given the edits. took is how long the end of the message took here,
	// 0 where it never came. The observer may keep d and must not change it.
	Decided(d *judge.Decision, took time.Duration)
}

// Filter makes the sessions of a milter.Server. It is safe for concurrent use.
type Filter struct {
	current atomic.Pointer[edition]
	mu      sync.Mutex // guards the users of all editions, and the swap of current
}

// edition is one set of options, and how many sessions use them.
type edition struct {
	Options
	users int
	last  atomic.Pointer[label.Identity] // the identity that was asked for last
}

// New returns a Filter.
func New(o Options) *Filter {
	f := &Filter{}
	f.current.Store(&edition{Options: o})
	return f
}

// NewSession makes the session of a connection, for milter.Options.
func (f *Filter) NewSession(c *milter.Conn) milter.Session {
	s := &session{filter: f, conn: c}
	s.use(f.acquire())
	return s
}

// Swap replaces the options by o. A message under way keeps the options it began
// with; the next message of the same session gets o.
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

// identity returns how we name ourselves to an MTA that calls itself mta. Most
// daemons serve one MTA, so the last identity is remembered.
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

// OnPanic returns the answer to a message whose session panicked. Nothing is known
// about the message, so the sender must try again. Monitor mode acts on nothing, so
// there the message is accepted.
func OnPanic(c policy.Config) milter.Reply {
	if c.Mode == policy.Monitor {
		return milter.Accept
	}
	return milter.Custom(smtp.New(smtp.CodeLocalError, smtp.EnhancedSystem, "Internal error, try again later"))
}

// ReplyAt says at which steps the sessions reply: at the end of the message, and at
// RCPT where recipients are split by class. At the other steps the MTA need not
// wait.
func (f *Filter) ReplyAt() milter.ReplyAt {
	return milter.ReplyAt{Rcpt: f.current.Load().Judge.Splits()}
}
