// Package mta plays an MTA that tells a milter of one SMTP session, for tests
// that care for the message and not for the protocol. For tests only.
package mta

import (
	"errors"
	"fmt"
	"net/netip"

	"sekimori/internal/milter/client"
)

// Peer is the client of the SMTP session.
type Peer struct {
	Name string         // of its address; "" stands for Postfix's "unknown"
	Addr netip.AddrPort // the zero value is an address that the MTA does not know
	HELO string         // "" says none
}

// Greet begins the session as Postfix does: negotiation, connect, HELO. The
// milter has to let them pass.
func Greet(c *client.Client, p Peer) error {
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		return err
	}
	if p.Name == "" {
		p.Name = "unknown"
	}
	a, err := c.Connect(p.Name, p.Addr)
	if err := passed("connect", a, err); err != nil || p.HELO == "" {
		return err
	}
	a, err = c.Helo(p.HELO)
	return passed("HELO", a, err)
}

func passed(stage string, a client.Action, err error) error {
	if err == nil && !a.Delivers() {
		err = errors.New("the milter says " + a.String())
	}
	if err != nil {
		return fmt.Errorf("mta: %s: %w", stage, err)
	}
	return nil
}

// Dial connects to a milter and greets. The caller closes the session.
func Dial(network, address string, p Peer) (*client.Client, error) {
	c, err := client.Dial(network, address)
	if err != nil {
		return nil, err
	}
	if err := Greet(c, p); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Send is a whole session with one message. raw may have LF or CRLF line ends;
// the addresses of the envelope have their brackets.
func Send(network, address string, p Peer, env client.Envelope, raw []byte) (client.Result, error) {
	c, err := Dial(network, address, p)
	if err != nil {
		return client.Result{}, err
	}
	res, err := c.SendMessage(env, raw)
	if err != nil {
		return res, errors.Join(err, c.Close())
	}
	return res, c.Quit()
}
