// Package filter connects package milter with package judge. The events of a milter session
// are passed to a judge.Case. The Decision is passed to the MTA as header edits, a
// quarantine or a reply.
package filter

import (
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/policy"
	"sekimori/internal/smtp"
	"sekimori/internal/topology"
)

// Options are the settings of one generation (one load of the configuration), and the
// observers of its messages. Judge is required.
type Options struct {
	Judge *judge.Judge
	// Topology is told what the filter cannot see or do, for example that the MTA offers no
	// quarantine. It may be nil.
	Topology *topology.Watch
	// Observers are told of every decision on a message of an MTA. They must not block.
	Observers []Observer
	// ProbeObservers are told, instead of Observers, of the decisions on messages of probes
	// (see ProbeMacro). A new observer that only belongs to Observers therefore never sees
	// a probe. They must not block.
	ProbeObservers []Observer
	// Retired is called once, when Swap has replaced these options and no session uses them
	// any more. It must not block. It may be nil.
	Retired func()
}

// ProbeMacro is the macro by which the command "sekimori probe" says that it is not an MTA. A
// session is a probe's if its peer sends this macro, with any value but "", before CONNECT. The
// messages of a probe are decided like all others, but they are counted and logged apart from
// mail (see Options.ProbeObservers).
//
// A stranger must not be able to mark mail as a probe's, because it would then be missing in
// the metrics and in the history. Nobody can, for these reasons:
//   - The names of macros are written by the program at the other end of the milter socket. An
//     SMTP client chooses only values, such as its HELO name. An MTA sends those macros that the
//     milter asks for. We do not ask for this one, and no MTA has a macro of this name. A value
//     cannot become a name, because each ends at a NUL, which no MTA lets a value contain.
//   - Only the macros that came before CONNECT count. At that time the SMTP client has said
//     nothing yet. What an MTA sends later, with HELO or MAIL, is ignored.
//   - A program that can open the milter socket itself can mark its own session, but no mail is
//     delivered through such a session. The series of the milter connections and of probes count
//     it, and the log has a record of each message.
//
// A secret, such as a token in a file, would therefore protect nothing more. And it would be one
// more thing that can be missing where a probe runs, for example in a container.
const ProbeMacro = "{sekimori_probe}"

// Observer is told of each decision.
type Observer interface {
	// Decided is called once for each decision, after the edits were sent to the MTA. took
	// is the time from the arrival of the end of the message to this call. It is 0 if the
	// decision was made before the end of the message. The observer may keep d and must not
	// change it.
	//
	// A message has no decision if the MTA closed the connection, if the daemon stopped
	// before the results were known, or if package milter refused it because of a limit on
	// the envelope.
	Decided(d *judge.Decision, took time.Duration)
}

// Filter creates the sessions of a milter.Server. It is safe for concurrent use.
type Filter struct {
	current atomic.Pointer[edition]
	mu      sync.Mutex // guards the field users of all editions, and the swap of current
}

// edition is one set of options, with the number of sessions that use it. Swap creates a
// new edition. An edition is retired when Swap has replaced it and users is 0.
type edition struct {
	Options
	users int
	last  atomic.Pointer[label.Identity] // the result of the last call of identity
}

// New returns a Filter.
func New(o Options) *Filter {
	f := &Filter{}
	f.current.Store(&edition{Options: o})
	return f
}

// NewSession creates the session of a connection, for milter.Options.
func (f *Filter) NewSession(c *milter.Conn) milter.Session {
	s := &session{filter: f, conn: c}
	s.use(f.acquire())
	return s
}

// Swap replaces the options by o. A message that has begun keeps its options. The next
// message of the same session uses o.
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

// identity returns the names of this host for an MTA that calls itself mta. Most daemons
// serve one MTA, so the last result is kept.
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

// OnPanic returns the reply to a message whose session panicked. The message was not
// checked, so the sender must try again later. In monitor mode the message is accepted,
// because that mode must not stop mail.
func OnPanic(c policy.Config) milter.Reply {
	if c.Mode == policy.Monitor {
		return milter.Accept
	}
	return milter.Custom(smtp.New(smtp.CodeLocalError, smtp.EnhancedSystem, "Internal error, try again later"))
}

// ReplyAt says at which SMTP steps the MTA waits for a reply of the sessions. They reply at
// the end of the message, and also at RCPT if recipients are split by class.
func (f *Filter) ReplyAt() milter.ReplyAt {
	return milter.ReplyAt{Rcpt: f.current.Load().Judge.Splits()}
}
