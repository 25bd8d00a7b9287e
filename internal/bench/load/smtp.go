package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"time"

	"sekimori/internal/bench/traffic"
)

// smtpClient sends mail to an MTA that has the milters under test. It says with the PROXY protocol
// for which client it speaks (Postfix: smtpd_upstream_proxy_protocol=haproxy), so that SPF has the
// results that the corpus expects.
type smtpClient struct {
	conn    net.Conn
	w       *bufio.Writer
	r       *textproto.Reader
	timeout time.Duration
}

func dialSMTP(t Target, timeout time.Duration) (*smtpClient, error) {
	conn, err := net.DialTimeout(t.network, t.address, timeout)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return &smtpClient{conn: conn, w: bufio.NewWriterSize(conn, 64<<10), r: textproto.NewReader(bufio.NewReader(conn)), timeout: timeout}, nil
}

// flush sends what was written and sets the time limit for the replies.
func (c *smtpClient) flush() error {
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return fmt.Errorf("load: SMTP: %w", err)
	}
	if err := c.w.Flush(); err != nil {
		return fmt.Errorf("load: SMTP: %w", err)
	}
	return nil
}

// reply reads one reply of the MTA and returns its code.
func (c *smtpClient) reply() (int, error) {
	code, _, err := c.r.ReadResponse(0)
	if err != nil {
		return code, fmt.Errorf("load: SMTP: %w", err)
	}
	return code, nil
}

// expect sends what was written, reads one reply, and returns an error if its code is not want.
func (c *smtpClient) expect(want int) error {
	if err := c.flush(); err != nil {
		return err
	}
	code, text, err := c.r.ReadResponse(0)
	if err == nil && code != want {
		err = fmt.Errorf("the MTA replied %d %s", code, text)
	}
	if err != nil {
		return fmt.Errorf("load: SMTP: %w", err)
	}
	return nil
}

func (c *smtpClient) begin(s traffic.Session) error {
	fmt.Fprintf(c.w, "PROXY TCP4 %s 127.0.0.1 25252 25\r\n", s.Client)
	if err := c.expect(220); err != nil {
		return err
	}
	fmt.Fprintf(c.w, "EHLO %s\r\n", s.Name)
	return c.expect(250)
}

// send sends one message. wait is how long the MTA took to reply to the end of the message. The
// outcome has only an action: the replies do not show the results, and a message on hold is
// accepted like others.
func (c *smtpClient) send(m *traffic.Message) (got traffic.Outcome, wait time.Duration, err error) {
	fmt.Fprintf(c.w, "MAIL FROM:%s\r\n", m.Envelope.From)
	for _, to := range m.Envelope.To {
		fmt.Fprintf(c.w, "RCPT TO:%s\r\n", to)
	}
	_, _ = c.w.WriteString("DATA\r\n")
	if err := c.flush(); err != nil {
		return got, 0, err
	}
	code, refused := 0, 0 // refused is the first reply that is an error
	for range len(m.Envelope.To) + 2 {
		if code, err = c.reply(); err != nil {
			return got, 0, err
		}
		if code >= 400 && refused == 0 {
			refused = code
		}
	}
	if code != 354 {
		return traffic.Outcome{Action: actionOf(refused)}, 0, nil
	}
	for _, f := range m.Header {
		fmt.Fprintf(c.w, "%s:%s\r\n", f.Name, f.Value)
	}
	_, _ = c.w.WriteString("\r\n")
	_, _ = c.w.Write(stuffed(m.Body))
	_, _ = c.w.WriteString(".\r\n")
	if err := c.flush(); err != nil {
		return got, 0, err
	}
	start := time.Now()
	if code, err = c.reply(); err != nil {
		return got, 0, err
	}
	return traffic.Outcome{Action: actionOf(code)}, time.Since(start), nil
}

// stuffed returns body with one more dot before each line that begins with a dot (RFC 5321 §4.5.2).
func stuffed(body []byte) []byte {
	if bytes.HasPrefix(body, []byte(".")) {
		body = append([]byte("."), body...)
	}
	return bytes.ReplaceAll(body, []byte("\r\n."), []byte("\r\n.."))
}

func actionOf(code int) traffic.Action {
	switch code / 100 {
	case 2:
		return traffic.Deliver
	case 4:
		return traffic.Tempfail
	}
	return traffic.Reject
}

func (c *smtpClient) quit() error {
	_, _ = c.w.WriteString("QUIT\r\n")
	return errors.Join(c.expect(221), c.conn.Close())
}
