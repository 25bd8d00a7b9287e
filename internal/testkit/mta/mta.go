// Package mta plays an MTA: it tells a milter about one SMTP session. Use it in tests of what
// happens to a message. Tests of the milter protocol itself use package client. For tests only.
package mta

import (
	"errors"
	"fmt"
	"net/netip"

	"sekimori/internal/milter/client"
)

// Peer is the SMTP client that the MTA tells the milter about.
type Peer struct {
	Name string         // the verified reverse name; "" is sent as "unknown", as by Postfix
	Addr netip.AddrPort // the zero value means that the MTA does not know the client's address
	HELO string         // "" sends no HELO
}

// Greet begins a session as Postfix does: negotiation, connect and HELO. It returns an error if the
// milter refuses the client.
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

// Dial connects to a milter and calls Greet. The caller must close the client.
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

// Send runs a whole session with one message. The lines of raw may end in LF or CRLF. The addresses
// in env must have angle brackets.
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
