package submit

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// open connects, encrypts and logs in. If it cannot, it returns false and the result.
func (t *transaction) open(ctx context.Context) (Result, bool) {
	dialer := net.Dialer{Timeout: t.opts.Timeouts.Connect}
	raw, err := dialer.DialContext(ctx, "tcp", t.opts.Server)
	if err != nil {
		return t.failure("no connection", err), false
	}
	t.conn = &boundedConn{Conn: raw, end: time.Now().Add(t.opts.Timeouts.Total), block: t.opts.Timeouts.Block, left: maxServerReply}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	step, err := t.greet(ctx)
	if err != nil {
		_ = raw.Close()
		return t.failure(step, err), false
	}
	return Result{}, true
}

// greet does everything before MAIL. It returns an error and the step that it is about.
func (t *transaction) greet(ctx context.Context) (step string, err error) {
	var conn net.Conn = t.conn
	encrypted := false
	if t.opts.TLS != None {
		if conn, encrypted, step, err = t.startTLS(ctx); err != nil {
			return step, err
		}
	}
	t.client = smtp.NewClient(conn)
	t.client.CommandTimeout, t.client.SubmissionTimeout = t.opts.Timeouts.Command, t.opts.Timeouts.End
	if err := t.client.Hello(t.opts.HELO); err != nil {
		return "EHLO", err
	}
	if t.opts.User == "" {
		return "", nil
	}
	if !encrypted {
		return "login", errors.New("the mail server does not offer STARTTLS, and a password is only sent over TLS")
	}
	switch {
	case t.client.SupportsAuth("PLAIN"):
		err = t.client.Auth(&login{mechanism: "PLAIN", answers: []string{"\x00" + t.opts.User + "\x00" + t.password}, initial: true})
	case t.client.SupportsAuth("LOGIN"):
		err = t.client.Auth(&login{mechanism: "LOGIN", answers: []string{t.opts.User, t.password}})
	default:
		err = errors.New("the mail server offers neither AUTH PLAIN nor AUTH LOGIN")
	}
	return "login", err
}

// startTLS reads the greeting and, if the MTA offers STARTTLS, encrypts the connection. go-smtp could
// do that only with the name "localhost" in EHLO, and only for servers that are known to offer it.
func (t *transaction) startTLS(ctx context.Context) (conn net.Conn, encrypted bool, step string, err error) {
	if err := t.conn.SetDeadline(time.Now().Add(t.opts.Timeouts.Command)); err != nil {
		return nil, false, "no connection", err
	}
	buffer := bufio.NewReader(t.conn)
	replies := textproto.NewReader(buffer)
	if _, _, err := replies.ReadResponse(220); err != nil {
		return nil, false, "greeting", err
	}
	offers, err := t.command(replies, "EHLO "+t.opts.HELO, 250)
	offered := err == nil && offersSTARTTLS(offers)
	if te := (*textproto.Error)(nil); err != nil && !errors.As(err, &te) {
		return nil, false, "EHLO", err // an MTA that only refuses EHLO may still take HELO
	}
	if offered {
		_, err = t.command(replies, "STARTTLS", 220)
		var te *textproto.Error
		if offered = err == nil; err != nil && (t.opts.TLS == Required || !errors.As(err, &te)) {
			return nil, false, "STARTTLS", err
		}
	}
	if buffer.Buffered() > 0 {
		// Whoever is on the way could insert these octets, so that they seem to have come encrypted.
		return nil, false, "STARTTLS", errors.New("the mail server said more than it was asked")
	}
	if !offered {
		if t.opts.TLS == Required {
			return nil, false, "STARTTLS", errors.New("the mail server does not offer it")
		}
		return greet(t.conn), false, "", nil
	}
	host, _, _ := net.SplitHostPort(t.opts.Server)
	secure := tls.Client(t.conn, &tls.Config{ServerName: host, RootCAs: t.opts.Roots, InsecureSkipVerify: t.unverified()})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, false, "TLS", err
	}
	return greet(secure), true, "", nil
}

// command sends a command before go-smtp takes over, and returns the text of the reply.
func (t *transaction) command(replies *textproto.Reader, text string, want int) (string, error) {
	if err := t.conn.SetDeadline(time.Now().Add(t.opts.Timeouts.Command)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(t.conn, "%s\r\n", text); err != nil {
		return "", err
	}
	_, said, err := replies.ReadResponse(want)
	return said, err
}

// unverified reports whether the certificate of the MTA need not be verified.
func (t *transaction) unverified() bool {
	remote, ok := t.conn.RemoteAddr().(*net.TCPAddr)
	return ok && remote.IP.IsLoopback() && t.opts.TLS == Opportunistic
}

func offersSTARTTLS(ehlo string) bool {
	_, offers, _ := strings.Cut(ehlo, "\n")
	for line := range strings.Lines(offers) {
		if strings.EqualFold(strings.TrimSpace(line), "STARTTLS") {
			return true
		}
	}
	return false
}

// login is the client of a mechanism of AUTH that answers the challenges one after the other,
// whatever they say. It implements the interface Client of go-sasl.
type login struct {
	mechanism string
	answers   []string
	initial   bool // the first answer goes with the command
}

// Start begins the login.
func (l *login) Start() (mechanism string, first []byte, err error) {
	if l.initial {
		first, err = l.Next(nil)
	}
	return l.mechanism, first, err
}

// Next answers a challenge.
func (l *login) Next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, errors.New("the mail server asks for more than user and password")
	}
	next := []byte(l.answers[0])
	l.answers = l.answers[1:]
	return next, nil
}
