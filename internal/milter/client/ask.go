package client

import (
	"context"
	"errors"
	"net"
	"slices"

	"sekimori/internal/milter/wire"
)

// ErrAnother says that a program answers at an address, and that it is not sekimori.
var ErrAnother = errors.New("client: another program than sekimori answers there")

// Ask negotiates with the program at an address and closes the connection. It returns nil if that
// program is sekimori, and an error for which errors.Is(err, ErrAnother) holds if it is another
// milter or no milter. Any other error says why nobody knows: for example, nothing listens there,
// or no answer came. network is "unix" or "tcp". ctx bounds the whole time.
//
// A milter that merely answers could be any milter. OpenDKIM, for example, often has the port that
// an operator would also choose for sekimori. So Ask looks for [wire.Sign].
func Ask(ctx context.Context, network, address string) error {
	nc, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	c := New(nc)
	_, err = c.Negotiate(PostfixOffer())
	switch {
	case errors.Is(err, ErrMalformed):
		return errors.Join(ErrAnother, err)
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case !c.IsSekimori():
		return ErrAnother
	}
	return c.Quit()
}

// IsSekimori reports whether the milter has said in the negotiation that it is sekimori.
func (c *Client) IsSekimori() bool { return slices.Contains(c.wanted['C'], wire.Sign) }
