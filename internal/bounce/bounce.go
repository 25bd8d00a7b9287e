// Package bounce learns from delivery status notifications which reports could not be delivered. The
// operator's MTA hands them over by LMTP (RFC 2033), because milters do not see the bounces that
// Postfix itself makes.
//
// Everybody can send mail to the bounce address. Therefore the token in the address is checked first. It
// proves that the sender has got a report from us. All else is bounded, and nothing is ever answered.
package bounce

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"sekimori/internal/report"
)

// Kind says what a message to the bounce address was.
type Kind string

// The kinds of messages.
const (
	KindFailed  Kind = "failed"        // a notification that a mail could not be delivered
	KindOther   Kind = "other"         // anything else: of a delay, an automatic reply, plain mail
	KindUnknown Kind = "unknown_token" // a wrong or old token
)

// Options says what to do with bounces. Known and Failed must be set. All functions must be safe for
// concurrent use.
type Options struct {
	// Local is the local part of the bounce address before its "+", such as "dmarc-bounce".
	Local string
	// Known returns the delivery that a token belongs to, or report.ErrUnknown if the token is wrong or
	// old. With another error the MTA is told to try again later.
	Known func(ctx context.Context, token string) (delivery int64, err error)
	// Failed is told that a delivery failed, with the enhanced status code (RFC 3463), such as "5.1.1",
	// and the reply of the mail server that refused the mail, or another text. The reply is printable
	// ASCII in one line of at most maxReply octets. Both may be empty. Errors are those of Known. Failed
	// may be called more than once for a delivery.
	Failed func(ctx context.Context, delivery int64, status, reply string) error
	// Count is told about every message; nil: nobody counts.
	Count func(Kind)
	// Log is told of panics. nil: nobody is.
	Log *slog.Logger
}

const (
	// maxConns is how many connections are served at a time. Postfix makes 20 for a destination.
	maxConns = 32
	// maxSilence is how long the next command, or all of a message, may take.
	maxSilence = time.Minute
	// maxWrite is how long an MTA that does not read is waited for.
	maxWrite = 10 * time.Second
	// maxSession is how long a connection may last. Postfix uses one for several messages.
	maxSession = 10 * time.Minute
	// maxCommand is the length of the longest line in octets. RFC 5321 §4.5.3.1.6 allows 1,000 octets in a message.
	maxCommand = 16 << 10
	// maxDrain is how long a message that has begun may take when the daemon stops.
	maxDrain = 5 * time.Second
)

// Serve serves LMTP on the listener until ctx ends. Then it closes the listener, and ends the messages that have begun.
func Serve(ctx context.Context, ln net.Listener, o Options) error {
	if o.Count == nil {
		o.Count = func(Kind) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	gate := &gate{Listener: ln, conns: map[*conn]bool{}, empty: make(chan struct{})}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		own, _ := c.Conn().(*conn)
		return &session{ctx: context.WithoutCancel(ctx), Options: o, conn: own}, nil
	}))
	server.LMTP = true
	server.Domain = "sekimori"
	server.MaxRecipients = 1 // a bounce has one; for more, the MTA comes again
	server.MaxLineLength = maxCommand
	server.ReadTimeout, server.WriteTimeout = maxSilence, maxWrite
	server.ErrorLog = panicLog{o.Log}

	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	err := server.Serve(gate)
	_ = ln.Close()
	gate.drain(maxDrain)
	_ = server.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// session is one connection. It implements smtp.Session.
type session struct {
	Options
	ctx      context.Context
	conn     *conn
	delivery int64 // of the recipient
}

// Mail implements smtp.Session. The reverse-path of a notification is null (RFC 3464 §2), but the token says more.
func (s *session) Mail(string, *smtp.MailOptions) error {
	s.conn.begin()
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	ctx, cancel := context.WithTimeout(s.ctx, maxSilence)
	defer cancel()
	delivery, err := s.lookUp(ctx, to)
	s.delivery = delivery
	return s.reply(err)
}

func (s *session) lookUp(ctx context.Context, to string) (int64, error) {
	at := strings.LastIndexByte(to, '@')
	token, ok := report.BounceTokenOf(s.Local, to[:max(at, 0)])
	if !ok {
		return 0, report.ErrUnknown
	}
	return s.Known(ctx, token)
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	f, failed, err := read(r)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		if slow := net.Error(nil); errors.As(err, &slow) && slow.Timeout() {
			_ = s.conn.Close() // or go-smtp would take the rest of the message for commands
		}
		return err
	}
	if !failed {
		s.Count(KindOther)
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, maxSilence)
	defer cancel()
	err = s.Failed(ctx, s.delivery, f.status, f.reply)
	if err == nil {
		s.Count(KindFailed)
	}
	return s.reply(err)
}

// Reset implements smtp.Session.
func (s *session) Reset() {
	s.delivery = 0
	s.conn.finish()
}

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }

// reply returns what the MTA is told about an error of Known or Failed.
func (s *session) reply(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, report.ErrUnknown):
		s.Count(KindUnknown)
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such address"}
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Try again later"}
}
