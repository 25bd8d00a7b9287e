package load

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/bench/traffic"
	"sekimori/internal/milter/client"
)

// chain holds the connections of one SMTP session, one connection to each milter.
type chain struct {
	targets []Target
	links   []link
}

// link is the connection to one milter.
type link struct {
	*client.Client
	roundTrip time.Duration
	done      bool // the milter answered CONNECT or HELO with accept, so it gets no messages of this session
}

func dial(targets []Target, timeout, roundTrip time.Duration) (*chain, error) {
	c := &chain{targets: targets}
	for _, t := range targets {
		m, err := client.Dial(t.network, t.address)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("load: %w", err)
		}
		if timeout > 0 {
			m.Timeout = timeout
		}
		m.Buffer()
		c.links = append(c.links, link{Client: m, roundTrip: roundTrip})
		if _, err := m.Negotiate(client.PostfixOffer()); err != nil {
			c.close()
			return nil, fmt.Errorf("load: %s: %w", t, err)
		}
	}
	return c, nil
}

func (c *chain) close() {
	for _, l := range c.links {
		_ = l.Close()
	}
}

func (c *chain) quit() error {
	var errs []error
	for _, l := range c.links {
		errs = append(errs, l.Quit())
	}
	return errors.Join(errs...)
}

// begin sends CONNECT and HELO to every milter.
func (c *chain) begin(s traffic.Session) error {
	for i := range c.links {
		l := &c.links[i]
		l.SetMacro("j", "mx.example")
		l.SetMacro("{daemon_name}", "smtpd")
		l.SetMacro("{daemon_addr}", "127.0.0.1")
		l.SetMacro("v", "Postfix 3.7.11")
		l.SetMacro("_", s.Name+" ["+s.Client.String()+"]")
		for _, step := range []func() (client.Action, error){
			func() (client.Action, error) { return l.Connect(s.Name, netip.AddrPortFrom(s.Client, 25252)) },
			func() (client.Action, error) { return l.Helo(s.Name) },
		} {
			a, err := step()
			if err == nil {
				err = l.pause()
			}
			switch {
			case err != nil:
				return fmt.Errorf("load: %s: %w", c.targets[i], err)
			case a.Kind == client.Accept:
				l.done = true
			case a.Kind != client.Continue:
				return fmt.Errorf("load: %s: the client was refused: %s", c.targets[i], a)
			}
			if l.done {
				break
			}
		}
	}
	return nil
}

// pause waits for the time between two commands of the SMTP client.
func (l *link) pause() error {
	if l.roundTrip == 0 {
		return nil
	}
	err := l.Flush()
	time.Sleep(l.roundTrip)
	return err
}

// send sends one message to the milters, one after the other, as Postfix does. It stops at the
// first milter that does not deliver the message. wait is the sum of the times that the milters
// took to answer the end of the message.
func (c *chain) send(m *traffic.Message) (got traffic.Outcome, wait time.Duration, err error) {
	header := m.Header
	var all []client.Modification
	final := client.Action{Kind: client.Continue}
	for i := range c.links {
		l := &c.links[i]
		if l.done {
			continue
		}
		a, mods, took, err := l.content(m, header)
		wait += took
		if err != nil {
			return got, wait, fmt.Errorf("load: %s: %w", c.targets[i], err)
		}
		all = append(all, mods...)
		if err := l.Abort(); err != nil {
			return got, wait, fmt.Errorf("load: %s: %w", c.targets[i], err)
		}
		if !a.Delivers() {
			final = a
			break
		}
		if i+1 < len(c.links) {
			header = client.Apply(header, mods)
		}
	}
	got = outcome(final, all)
	return got, wait, nil
}

// content sends one message to one milter, from MAIL to the end of the message. took is how long
// the milter took to answer the end of the message.
func (l *link) content(m *traffic.Message, header []client.Field) (
	a client.Action, mods []client.Modification, took time.Duration, err error,
) {
	goOn := func(step client.Action, e error) bool {
		a, err = step, e
		return e == nil && a.Kind == client.Continue
	}
	command := func(step client.Action, e error) bool {
		if !goOn(step, e) {
			return false
		}
		err = l.pause()
		return err == nil
	}
	l.SetMacro("i", m.Envelope.QueueID)
	defer l.SetMacro("i", "")
	if !command(l.Mail(m.Envelope.From, m.Envelope.FromArgs...)) {
		return a, nil, 0, err
	}
	for _, to := range m.Envelope.To {
		if !command(l.Rcpt(to)) {
			return a, nil, 0, err
		}
	}
	if !command(l.Data()) {
		return a, nil, 0, err
	}
	for _, f := range header {
		if !goOn(l.Header(f.Name, f.Value)) {
			return a, nil, 0, err
		}
	}
	if !goOn(l.EndOfHeader()) {
		return a, nil, 0, err
	}
	for rest := m.Body; len(rest) > 0 && a.Kind != client.Skip; {
		n := min(len(rest), bodyChunk)
		if !goOn(l.Body(rest[:n])) && a.Kind != client.Skip {
			return a, nil, 0, err
		}
		rest = rest[n:]
	}
	start := time.Now()
	a, mods, err = l.EndOfMessage()
	return a, mods, time.Since(start), err
}

// bodyChunk is the largest part of a body that is sent in one frame (MILTER_CHUNK_SIZE).
const bodyChunk = 65535

// outcome derives the Outcome of a message from the milters' final answer and edits.
func outcome(a client.Action, mods []client.Modification) traffic.Outcome {
	out := traffic.Outcome{Action: traffic.Deliver}
	switch {
	case a.Kind == client.Discard:
		out.Action = traffic.Discard
	case a.Kind == client.Tempfail || a.Code/100 == 4:
		out.Action = traffic.Tempfail
	case !a.Delivers():
		out.Action = traffic.Reject
	}
	for _, m := range mods {
		switch {
		case m.Kind == client.Quarantine && out.Action == traffic.Deliver:
			out.Action = traffic.Quarantine
		case (m.Kind == client.InsertHeader || m.Kind == client.AddHeader) && strings.EqualFold(m.Name, authres.FieldName):
			readResults(&out, m.Value)
		}
	}
	return out
}

// readResults sets the results in o from one Authentication-Results field. If the field has several
// DKIM results, the result is pass if one of them is pass, and otherwise the first one.
func readResults(o *traffic.Outcome, value string) {
	f, err := authres.Parse(strings.ReplaceAll(value, "\n", "\r\n"))
	if err != nil {
		o.DKIM = "unreadable"
		return
	}
	for _, r := range f.Results {
		switch r.Method {
		case "dkim":
			if o.DKIM == "" || r.Value == "pass" {
				o.DKIM = r.Value
			}
		case "spf":
			o.SPF = r.Value
		case "dmarc":
			o.DMARC = r.Value
		}
	}
}

// meets reports whether o is right, given the expected outcome and the check. A missing result
// counts as right if the message was not delivered.
func meets(o, want traffic.Outcome, check Check) bool {
	same := func(got, want string) bool { return got == want || got == "" && o.Action != traffic.Deliver }
	switch {
	case check == CheckNone:
		return true
	case check == CheckSafe:
		return safe(o, want)
	case check == CheckReplies:
		return o.Action == want.Action || o.Action == traffic.Deliver && want.Action == traffic.Quarantine
	case check == CheckAll && o.Action != want.Action:
		return false
	}
	return same(o.DKIM, want.DKIM) && same(o.SPF, want.SPF) && same(o.DMARC, want.DMARC)
}

// safe reports whether o is safe. DKIM and SPF must not pass unless want says pass. DMARC must not
// pass if want says fail. If the message should be delivered, it may only be delivered or deferred.
func safe(o, want traffic.Outcome) bool {
	if want.DMARC == "fail" && o.DMARC == "pass" || want.DKIM != "pass" && o.DKIM == "pass" || want.SPF != "pass" && o.SPF == "pass" {
		return false
	}
	return want.Action != traffic.Deliver || o.Action == traffic.Deliver || o.Action == traffic.Tempfail
}

// Probe connects to a milter and negotiates with it. An error means that the
// milter does not answer.
func Probe(t Target, timeout time.Duration) error {
	c, err := dial([]Target{t}, timeout, 0)
	if err != nil {
		return err
	}
	return c.quit()
}
