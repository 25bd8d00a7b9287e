// Package mta plays an MTA that tells a milter about one SMTP session. It is for
// tests of what becomes of a message; tests of the protocol use package client.
// For tests only.
package mta

import (
	"errors"
	"fmt"
	"net/netip"

	"sekimori/internal/milter/client"
)

// Peer is the client of the SMTP session.
type Peer struct {
	Name string         // the verified reverse name; "" is sent as "unknown", as by Postfix
	Addr netip.AddrPort // the zero value means that the MTA does not know the address
	HELO string         // "" sends no HELO
}

// Greet begins the session as Postfix does, with negotiation, connect and HELO.
// An answer that refuses the client is an error.
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

// Dial connects to a milter and calls Greet. The caller closes the session.
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

// Send plays a whole session with one message. The lines of raw may end in LF
// or CRLF; the addresses of the envelope have their brackets.
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
