package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/policy"
)

// smtpTime is how long one SMTP session may take. The MTA may wait for DNS and for other filters.
const smtpTime = 2 * time.Minute

// overSMTP is the name of the message that goes through the MTA. A refusal of it may be the MTA's own.
const overSMTP = "smtp"

// OverSMTP sends one message through the MTA at server (HOST or HOST:PORT), so that a real label
// arrives in the mailbox of o.Recipient. If the MTA offers XCLIENT, the message claims to come from
// a stranger's address. This message is mail: it is counted and logged as mail, because nothing
// that an SMTP client can write may mark a message as a probe's (see filter.ProbeMacro).
func OverSMTP(ctx context.Context, o Options, server string) (*Report, error) {
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), "25")
	}
	p, err := newOverSMTP(o)
	if err != nil {
		return nil, err
	}
	defer p.end()
	m, err := p.posted()
	if err != nil {
		return nil, err
	}
	p.report.Target = "smtp:" + server
	ctx, cancel := context.WithTimeout(ctx, smtpTime)
	defer cancel()
	s, err := dialSMTP(ctx, server)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			err = errors.New("no program listens there; does the MTA run, and is it reached at this address?")
		}
		return nil, fmt.Errorf("probe: %s: %w", server, err)
	}
	defer s.close()
	from, err := s.introduce(m)
	if err != nil {
		return nil, fmt.Errorf("probe: %s: %w", server, err)
	}
	if from != m.Client {
		p.note(fmt.Sprintf("The MTA does not offer XCLIENT to this host, so it sees this host's address %s. To play a stranger, let it offer "+
			"XCLIENT for the test (Postfix: smtpd_authorized_xclient_hosts), or run the command on a host outside.", from))
		m.Client = from
	}
	reply, err := s.post(m)
	if err != nil {
		return nil, fmt.Errorf("probe: %s: %w", server, err)
	}
	meant, d := p.meant(ctx, m)
	came := Outcome{Fate: fateOf(reply.code), Reply: reply.String()}
	if came.Fate == Accepted {
		meant.Reply = came.Reply
	}
	p.add(Play{Mail: m, Came: came, Meant: meant, Why: why(d)}, d)
	p.lookFor(m, meant, reply, d.Skipped)
	return p.done(), nil
}

func newOverSMTP(o Options) (*prober, error) {
	if o.Recipient == "" {
		return nil, errors.New("probe: --smtp needs --rcpt ADDR, a mailbox into which you can look")
	}
	return newProber(o)
}

// posted returns the message. If no domain was given, its author is at a name that does not exist.
// Then no domain's policy keeps the message from the mailbox.
func (p *prober) posted() (Mail, error) {
	stranger, err := p.o.stranger()
	if err != nil {
		return Mail{}, err
	}
	author := noDomain
	if len(p.o.Domains) > 0 {
		author = string(p.o.Domains[0])
	}
	return written(Mail{
		Name: overSMTP, Title: "mail through the MTA, with results forged in our name, which must be deleted",
		Client: stranger, HELO: noDomain, Recipient: p.o.Recipient, From: "postmaster@" + author,
	}, p.forged()), nil
}

// lookFor says what must be in the mailbox.
func (p *prober) lookFor(m Mail, meant Outcome, r smtpReply, skipped policy.Reason) {
	if r.code/100 != 2 {
		return
	}
	where := fmt.Sprintf("Look into the mailbox of %s for the subject \"sekimori probe: %s\"", m.Recipient, m.Name)
	if meant.Fate == Held {
		where = "The message must be in the hold queue (postqueue -p); postsuper -r ID lets it go on. Then l" + where[1:]
	}
	switch {
	case skipped != "":
		p.note(fmt.Sprintf("%s. It was not evaluated, so it has no label of ours. A field %s in it is the one that this command sent.",
			where, authres.FieldName))
	case len(meant.Results) == 1:
		p.note(fmt.Sprintf("%s. It must have exactly one field %s in our name, which is: %s", where, authres.FieldName, meant.Results[0]))
		p.note("If this label is missing, see smtpd_milters (Postfix) or INPUT_MAIL_FILTER (Sendmail), and \"sekimori status\".")
	}
	p.note("The message counts as mail.")
}

func fateOf(code int) Fate {
	switch code / 100 {
	case 2:
		return Accepted
	case 5:
		return Rejected
	}
	return Deferred
}

// smtpReply is an SMTP reply.
type smtpReply struct {
	code int
	text string
}

func (r smtpReply) String() string {
	return strconv.Itoa(r.code) + " " + strings.ReplaceAll(r.text, "\n", " ")
}

// smtpSession is one SMTP session.
type smtpSession struct {
	conn net.Conn
	text *textproto.Conn
	stop func() bool
}

func dialSMTP(ctx context.Context, server string) (*smtpSession, error) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	return &smtpSession{conn, textproto.NewConn(conn), context.AfterFunc(ctx, func() { _ = conn.Close() })}, nil
}

func (s *smtpSession) close() {
	s.stop()
	_ = s.text.Close()
}

// cmd sends a command and returns the reply.
func (s *smtpSession) cmd(format string, args ...any) (smtpReply, error) {
	if err := s.text.PrintfLine(format, args...); err != nil {
		return smtpReply{}, err
	}
	return s.reply()
}

func (s *smtpSession) reply() (smtpReply, error) {
	code, text, err := s.text.ReadResponse(0)
	return smtpReply{code, text}, err
}

// introduce sends EHLO, and XCLIENT if the MTA offers it. It returns the address that the MTA takes
// for the client's.
func (s *smtpSession) introduce(m Mail) (netip.Addr, error) {
	local, err := netip.ParseAddrPort(s.conn.LocalAddr().String())
	if err != nil {
		return netip.Addr{}, err
	}
	seen := local.Addr().Unmap()
	if r, err := s.reply(); err != nil || r.code/100 != 2 {
		return seen, refused("the connection", r, err)
	}
	r, err := s.cmd("EHLO %s", m.HELO)
	if err != nil || r.code/100 != 2 {
		return seen, refused("EHLO", r, err)
	}
	if !offers(r.text, "XCLIENT") {
		return seen, nil
	}
	addr := m.Client.String()
	if m.Client.Is6() {
		addr = "IPV6:" + addr
	}
	if r, err := s.cmd("XCLIENT NAME=[UNAVAILABLE] ADDR=%s", addr); err != nil || r.code/100 != 2 {
		return seen, refused("XCLIENT", r, err)
	}
	if r, err := s.cmd("EHLO %s", m.HELO); err != nil || r.code/100 != 2 {
		return seen, refused("EHLO", r, err)
	}
	return m.Client, nil
}

// offers reports whether the reply to EHLO has a line with the keyword.
func offers(text, keyword string) bool {
	for line := range strings.Lines(text) {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.EqualFold(word, keyword) {
			return true
		}
	}
	return false
}

// refused returns the error for a reply that ends the session before the message.
func refused(what string, r smtpReply, err error) error {
	if err != nil {
		return fmt.Errorf("no reply to %s: %w", what, err)
	}
	return fmt.Errorf("%s was answered by %q", what, r)
}

// post sends the message with the null sender, so that no bounce can come of it. It returns the
// reply that ended the transaction.
func (s *smtpSession) post(m Mail) (smtpReply, error) {
	for _, cmd := range []string{"MAIL FROM:<>", "RCPT TO:<" + m.Recipient + ">", "DATA"} {
		if r, err := s.cmd("%s", cmd); err != nil || r.code/100 > 3 {
			return r, err
		}
	}
	w := s.text.DotWriter()
	if _, err := w.Write(m.Raw); err != nil {
		return smtpReply{}, err
	}
	if err := w.Close(); err != nil {
		return smtpReply{}, err
	}
	r, err := s.reply()
	if err == nil {
		_ = s.text.PrintfLine("QUIT") // the message is done, whatever comes of this
	}
	return r, err
}
