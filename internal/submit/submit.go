// Package submit hands mail of this host to the operator's MTA by SMTP (RFC 5321), around go-smtp. Each
// mail goes to one recipient in a transaction of its own, so that a refusal concerns only that
// recipient.
//
// The MTA is trusted to relay, but not to behave: the time that it takes, and the length of what it
// says, are bounded.
package submit

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/emersion/go-smtp"

	"sekimori/internal/printable"
)

// TLS says whether the connection to the MTA must be encrypted.
type TLS string

// The values of TLS. The certificate is verified, except with Opportunistic if the MTA is on a
// loopback address: many MTAs have a self-signed certificate there, and nobody can listen on the way.
const (
	Opportunistic TLS = "opportunistic" // if the MTA offers STARTTLS
	Required      TLS = "required"      // no mail without STARTTLS
	None          TLS = "none"
)

// Options says where and how mail is submitted.
type Options struct {
	Server string // host:port; the host is a name or an address
	TLS    TLS    // "" is Opportunistic
	// User logs in with the password in PasswordFile (AUTH PLAIN or LOGIN, only over TLS). The file has
	// the password in its first line. With "", nobody logs in.
	User         string
	PasswordFile string
	HELO         string         // the name of this host in EHLO; "" is the host name of the system
	Roots        *x509.CertPool // who may sign the MTA's certificate; nil: the roots of the system
	Timeouts     Timeouts
}

// Timeouts bounds how long a submission takes. Zero values get the defaults, which are those of
// RFC 5321 §4.5.3.2.
type Timeouts struct {
	Connect time.Duration // until the connection is there
	Command time.Duration // for the reply to a command, and for the greeting
	Block   time.Duration // until the MTA has taken a piece of the mail
	End     time.Duration // for the reply at the end of the mail
	Total   time.Duration // for the whole transaction
}

// The defaults of Timeouts.
const (
	DefaultConnect = 30 * time.Second
	DefaultCommand = 5 * time.Minute
	DefaultBlock   = 3 * time.Minute
	DefaultEnd     = 10 * time.Minute
	DefaultTotal   = 15 * time.Minute
)

// Envelope is what the MTA is told about a mail.
type Envelope struct {
	From string // the address of MAIL FROM, without angle brackets
	To   string // the recipient
	// ID is the envelope id, which comes back in a delivery status notification (RFC 3461 §4.4). It is
	// printable ASCII. With "", there is none.
	ID       string
	Size     int64 // octets of the mail, if they are known (RFC 1870)
	SMTPUTF8 bool  // an address is not ASCII (RFC 6531)
	// Check is called when the MTA has accepted the envelope. If it returns an error, the mail is not
	// sent. It may be nil.
	Check func() error
}

// Kind says what became of a mail.
type Kind string

// The kinds of results.
const (
	Sent    Kind = "sent"    // the MTA took the mail
	Refused Kind = "refused" // the MTA refused the envelope or the mail for good (5xx)
	// Temporary means that the mail can be sent later. It also stands for every trouble between this
	// host and the MTA that is not about this mail, such as a login that was refused. If the
	// connection was lost at the end of the mail, the MTA may have taken the mail all the same.
	Temporary Kind = "temporary"
)

// Result is what the MTA said about a mail.
type Result struct {
	Kind Kind
	// Reply is the decisive reply: the code, the enhanced code and the text, or a sentence if there was
	// no reply. It is printable ASCII in one line, and has at most maxReply octets.
	Reply    string
	Code     int    // of the reply, such as 550; 0 if there was none
	Enhanced string // such as "5.1.1" (RFC 3463); "" if there was none
}

// Submitter submits mail. Its methods are safe for concurrent use.
type Submitter struct {
	opts     Options
	password string
}

// New checks the options and reads the password.
func New(o Options) (*Submitter, error) {
	if host, port, err := net.SplitHostPort(o.Server); err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("submit: server %s: want HOST:PORT", printable.Quoted(o.Server, maxReply))
	}
	switch o.TLS {
	case "":
		o.TLS = Opportunistic
	case Opportunistic, Required:
	case None:
		if o.User != "" {
			return nil, errors.New("submit: a password is only sent over TLS; set tls to required")
		}
	default:
		return nil, fmt.Errorf("submit: tls %s: want opportunistic, required or none", printable.Quoted(string(o.TLS), maxReply))
	}
	if o.HELO == "" {
		o.HELO = hostName()
	}
	if !isWord(o.HELO) {
		return nil, fmt.Errorf("submit: %s cannot be the name of this host", printable.Quoted(o.HELO, maxReply))
	}
	o.Timeouts = o.Timeouts.orDefaults()
	s := &Submitter{opts: o}
	if o.User != "" {
		var err error
		if s.password, err = readPassword(o.PasswordFile); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (t Timeouts) orDefaults() Timeouts {
	for _, f := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&t.Connect, DefaultConnect}, {&t.Command, DefaultCommand}, {&t.Block, DefaultBlock}, {&t.End, DefaultEnd}, {&t.Total, DefaultTotal}} {
		if *f.value <= 0 {
			*f.value = f.or
		}
	}
	return t
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || !isWord(name) {
		return "localhost"
	}
	return name
}

// isWord reports whether s is printable ASCII without spaces and angle brackets, and not empty.
func isWord(s string) bool {
	return s != "" && printable.IsPlain(s) && !strings.ContainsAny(s, " <>")
}

// maxPassword bounds what is read of a file that may be the wrong one.
const maxPassword = 4096

func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("submit: password: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("submit: password: %w", err)
	}
	if len(text) > maxPassword {
		return "", fmt.Errorf("submit: password: %s has more than %d octets", path, maxPassword)
	}
	password, _, _ := strings.Cut(string(text), "\n")
	password = strings.TrimSuffix(password, "\r")
	if password == "" || strings.ContainsRune(password, 0) {
		return "", fmt.Errorf("submit: password: the first line of %s is not a password", path)
	}
	return password, nil
}

// check returns an error if the envelope cannot be written as SMTP commands.
func (e Envelope) check() error {
	for _, a := range []string{e.From, e.To} {
		if len(a) > maxAddress || strings.ContainsFunc(a, func(r rune) bool {
			return r == '<' || r == '>' || r == unicode.ReplacementChar || !unicode.IsPrint(r) || r == ' '
		}) {
			return fmt.Errorf("submit: %s is not an address", printable.Quoted(a, maxReply))
		}
		if !e.SMTPUTF8 && !printable.IsASCII(a) {
			return fmt.Errorf("submit: %s is not ASCII", printable.Quoted(a, maxReply))
		}
	}
	if e.To == "" {
		return errors.New("submit: no recipient")
	}
	if e.ID != "" && !isWord(e.ID) || len(e.ID) > maxID {
		return fmt.Errorf("submit: %s cannot be an envelope id", printable.Quoted(e.ID, maxReply))
	}
	return nil
}

const (
	// maxAddress is the length of the longest path in octets (RFC 5321 §4.5.3.1.3 says 256; package
	// destination lets no longer address through).
	maxAddress = 254
	// maxID is the length of the longest envelope id in octets (RFC 3461 §4.4).
	maxID = 100
)

// Submit sends one mail. The function body writes the mail, with its lines ended by CR LF or LF; it is called
// at most once.
//
// The error is not nil if the mail was not sent for a reason of ours: the envelope is unusable, Check
// or body returned an error, or ctx ended. Then the Kind is Temporary. Whatever the MTA did, and a
// connection that was not possible or was lost, is a Result.
func (s *Submitter) Submit(ctx context.Context, e Envelope, body func(io.Writer) error) (Result, error) {
	if err := e.check(); err != nil {
		return Result{Kind: Temporary, Reply: "nothing was sent"}, err
	}
	t := transaction{Submitter: s}
	r, err := t.run(ctx, e, body)
	if ctx.Err() != nil && r.Kind == Temporary {
		// The connection was closed because ctx ended, so what the connection said does not matter.
		return Result{Kind: Temporary, Reply: "the time for the submission was over"}, fmt.Errorf("submit: %w", context.Cause(ctx))
	}
	return r, err
}

// transaction is one connection with one mail.
type transaction struct {
	*Submitter
	conn   *boundedConn
	client *smtp.Client
}

func (t *transaction) run(ctx context.Context, e Envelope, body func(io.Writer) error) (Result, error) {
	if r, ok := t.open(ctx); !ok {
		return r, nil
	}
	// Closing the connection is the only way to interrupt go-smtp.
	stop := context.AfterFunc(ctx, func() { _ = t.conn.Close() })
	defer stop()
	defer func() { _ = t.conn.Close() }()

	if e.SMTPUTF8 {
		if ok, _ := t.client.Extension("SMTPUTF8"); !ok {
			t.quit()
			return Result{Kind: Refused, Reply: "the mail server does not take addresses that are not ASCII (SMTPUTF8)", Enhanced: "5.6.7"}, nil
		}
	}
	mail := &smtp.MailOptions{Size: e.Size, UTF8: e.SMTPUTF8, Return: smtp.DSNReturnHeaders, EnvelopeID: e.ID}
	if err := t.client.Mail(e.From, mail); err != nil {
		return t.refused(err), nil
	}
	// A success or a delay would only be noise.
	rcpt := &smtp.RcptOptions{Notify: []smtp.DSNNotify{smtp.DSNNotifyFailure}}
	if err := t.client.Rcpt(e.To, rcpt); err != nil {
		return t.refused(err), nil
	}
	if e.Check != nil {
		if err := e.Check(); err != nil {
			t.quit()
			return Result{Kind: Temporary, Reply: "nothing was sent"}, fmt.Errorf("submit: %w", err)
		}
	}
	data, err := t.client.Data()
	if err != nil {
		return t.refused(err), nil
	}
	w := &taker{to: data}
	if err := body(w); err != nil || w.err != nil {
		// Without the dot at its end, the MTA drops the mail when the connection closes.
		if w.err != nil {
			return t.failure("", w.err), nil
		}
		return Result{Kind: Temporary, Reply: "the mail was not sent to its end"}, fmt.Errorf("submit: %w", err)
	}
	said, err := data.CloseWithResponse()
	if err != nil {
		return t.refused(err), nil
	}
	r := answer(250, said.StatusText)
	r.Kind = Sent
	t.quit()
	return r, nil
}

// refused returns the result for an error of a command of the transaction.
func (t *transaction) refused(err error) Result {
	r := t.failure("", err)
	if r.Code/100 == 5 && !aboutUs(r.Code) {
		r.Kind = Refused
	}
	if r.Code != 0 {
		t.quit()
	}
	return r
}

// quit ends the session politely. The result is already known, so quit does not wait long.
func (t *transaction) quit() {
	t.client.CommandTimeout = min(quitTimeout, t.opts.Timeouts.Command)
	_ = t.client.Quit()
}

// quitTimeout is how long to wait for the reply to QUIT.
const quitTimeout = 2 * time.Second

// taker remembers whether the MTA, or the connection to it, failed to take the mail.
type taker struct {
	to  io.Writer
	err error
}

func (t *taker) Write(p []byte) (int, error) {
	n, err := t.to.Write(p)
	if err != nil {
		t.err = err
	}
	return n, err
}
