package e2e

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// peer is an SMTP client as the MTA sees it.
type peer struct {
	name string // its verified host name, "" if it has none
	addr string // "192.0.2.10" or "2001:db8::25"
	helo string
}

// The clients of the tests. All except the peer called inside have DNS records in zoneText.
var (
	newsMX   = peer{"mail.news.example", "192.0.2.1", "mail.news.example"}
	bankMX   = peer{"mail.bank.example", "192.0.2.10", "mail.bank.example"}
	sixMX    = peer{"mail.six.example", "2001:db8::25", "mail.six.example"}
	bounceMX = peer{"mail.bounce.example", "192.0.2.60", "mail.bounce.example"}
	spoofer  = peer{"spoof.invalid", "192.0.2.66", "spoof.invalid"}
	inside   = peer{"", "127.0.0.9", "desk.rcpt.test"}
)

// reply is an SMTP reply: the code, and the text with its lines joined by \n.
type reply struct {
	code int
	text string
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.code, r.text) }

// queueID returns the queue id of an accepted message. Postfix says "2.0.0 Ok:
// queued as ID", Sendmail "2.0.0 ID Message accepted for delivery".
func (r reply) queueID() string {
	if _, id, ok := strings.Cut(r.text, "queued as "); ok {
		return strings.TrimSpace(id)
	}
	if id, ok := strings.CutSuffix(r.text, " Message accepted for delivery"); ok {
		return strings.TrimPrefix(id, "2.0.0 ")
	}
	return ""
}

// session is one SMTP connection.
type session struct {
	conn net.Conn
	text *textproto.Conn
}

// sessionLimit is the deadline of every session. It ends a test that would otherwise hang.
const sessionLimit = 90 * time.Second

// dial connects to the slot as client p.
func (s slot) dial(p peer) (*session, error) { return s.mta.dial(s, p) }

// dial connects to Postfix and uses XCLIENT to set the client's address, name and HELO.
func (*postfix) dial(s slot, p peer) (*session, error) {
	conn, err := net.DialTimeout("tcp", s.smtp, patience)
	if err != nil {
		return nil, err
	}
	addr, name := p.addr, p.name
	if strings.Contains(addr, ":") {
		addr = "IPV6:" + addr
	}
	if name == "" {
		name = "[UNAVAILABLE]"
	}
	return greet(conn, "EHLO test.invalid", "XCLIENT NAME="+name+" ADDR="+addr, "EHLO "+p.helo)
}

func (*postfix) clientName(p peer) string { return p.name }

// greet reads the greeting and sends commands that must succeed.
func greet(conn net.Conn, commands ...string) (*session, error) {
	_ = conn.SetDeadline(time.Now().Add(sessionLimit))
	c := &session{conn: conn, text: textproto.NewConn(conn)}
	if err := c.introduce(commands); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// refusal is the error for an SMTP reply whose code is not the expected one.
type refusal struct{ reply }

func (r *refusal) Error() string { return r.String() }

func (c *session) introduce(commands []string) error {
	if err := c.expect(2); err != nil {
		return err
	}
	for _, cmd := range commands {
		if _, err := c.text.Cmd("%s", cmd); err != nil {
			return err
		}
		if err := c.expect(2); err != nil {
			return fmt.Errorf("%s: %w", cmd, err)
		}
	}
	return nil
}

func (c *session) read() (reply, error) {
	code, text, err := c.text.ReadResponse(0)
	return reply{code, text}, err
}

// expect reads a reply. If the first digit of the reply code differs from the argument "class", the
// error is a *refusal.
func (c *session) expect(class int) error {
	r, err := c.read()
	if err == nil && r.code/100 != class {
		err = &refusal{r}
	}
	return err
}

// cmd sends one command and returns the reply.
func (c *session) cmd(format string, args ...any) (reply, error) {
	if _, err := c.text.Cmd(format, args...); err != nil {
		return reply{}, err
	}
	return c.read()
}

// login authenticates the session.
func (c *session) login() error {
	r, err := c.cmd("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00alice\x00secret")))
	if err == nil && r.code != 235 {
		err = &refusal{r}
	}
	return err
}

// send sends one message. from and to are addresses without angle brackets. It returns the reply
// after the message, or the first refusal. If the server refuses a recipient, send goes on with the
// other recipients, as an MTA does, and stops only if no recipient is left.
func (c *session) send(from string, to []string, message []byte) (reply, error) {
	r, err := c.cmd("MAIL FROM:<%s>", from)
	if err != nil || r.code/100 != 2 {
		return r, err
	}
	taken, refused := 0, reply{}
	for _, rcpt := range to {
		if r, err = c.cmd("RCPT TO:<%s>", rcpt); err != nil {
			return r, err
		}
		if r.code/100 == 2 {
			taken++
		} else {
			refused = r
		}
	}
	if taken == 0 {
		_, err := c.cmd("RSET")
		return refused, err
	}
	if r, err = c.cmd("DATA"); err != nil || r.code != 354 {
		return r, err
	}
	return c.content(message)
}

// content sends the content of a message after the reply 354 to DATA, and returns the final reply.
// The lines of message must end in CRLF.
func (c *session) content(message []byte) (reply, error) {
	stuffed := bytes.ReplaceAll(append([]byte("\r\n"), message...), []byte("\r\n."), []byte("\r\n.."))[2:]
	if !bytes.HasSuffix(stuffed, []byte("\r\n")) {
		stuffed = append(stuffed, "\r\n"...)
	}
	if _, err := c.conn.Write(append(stuffed, ".\r\n"...)); err != nil {
		return reply{}, err
	}
	return c.read()
}

// close sends QUIT, if the connection still works, and closes it.
func (c *session) close() {
	_, _ = c.text.Cmd("QUIT")
	_ = c.conn.Close()
}

// open is like dial, but fails the test if there is an error.
func (s slot) open(t *testing.T, p peer) *session {
	t.Helper()
	c, err := s.dial(p)
	if err != nil {
		t.Fatalf("SMTP to %s: %v", s.name, err)
	}
	t.Cleanup(c.close)
	return c
}

// offer is like send with one recipient, but fails the test if there is no reply.
func (c *session) offer(t *testing.T, from, to string, message []byte) reply {
	t.Helper()
	r, err := c.send(from, []string{to}, message)
	if err != nil {
		t.Fatalf("SMTP: %v", err)
	}
	return r
}

// post sends one message in a session of its own.
func (s slot) post(t *testing.T, p peer, from, to string, message []byte) reply {
	t.Helper()
	c := s.open(t, p)
	defer c.close()
	return c.offer(t, from, to, message)
}

// accepted fails the test unless the server accepted the message. It returns the queue id.
func (r reply) accepted(t *testing.T) string {
	t.Helper()
	id := r.queueID()
	if r.code != 250 || id == "" {
		t.Fatalf("the message was not taken: %s", r)
	}
	return id
}

// attempt tries to send one message, as an MTA does. It returns failures as replies too: a lost
// connection counts as 421 (RFC 5321 §3.8).
func (s slot) attempt(p peer, from, to string, message []byte) reply {
	c, err := s.dial(p)
	if err == nil {
		defer c.close()
		var r reply
		if r, err = c.send(from, []string{to}, message); err == nil {
			return r
		}
	}
	return failed(err)
}

func failed(err error) reply {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.reply
	}
	return reply{421, err.Error()}
}
