package main

import (
	"context"
	"net"
	"net/textproto"
	"os"
	"strings"

	"github.com/emersion/go-milter"
)

// nothing is a milter that reads every event and does nothing. Like sekimori it asks the MTA not to
// wait for answers before the end of the message. So it shows the cost of the protocol alone.
type nothing struct{}

const nothingProtocol = milter.OptNoConnReply | milter.OptNoHeloReply | milter.OptNoMailReply | milter.OptNoRcptReply | milter.OptNoDataReply |
	milter.OptNoUnknownReply | milter.OptNoHeaderReply | milter.OptNoEOHReply | milter.OptNoBodyReply | milter.OptHeaderLeadingSpace

func (nothing) Connect(string, string, uint16, net.IP, *milter.Modifier) (milter.Response, error) {
	return nil, nil
}
func (nothing) Helo(string, *milter.Modifier) (milter.Response, error)           { return nil, nil }
func (nothing) MailFrom(string, *milter.Modifier) (milter.Response, error)       { return nil, nil }
func (nothing) RcptTo(string, *milter.Modifier) (milter.Response, error)         { return nil, nil }
func (nothing) Header(string, string, *milter.Modifier) (milter.Response, error) { return nil, nil }
func (nothing) Headers(textproto.MIMEHeader, *milter.Modifier) (milter.Response, error) {
	return nil, nil
}
func (nothing) BodyChunk([]byte, *milter.Modifier) (milter.Response, error) { return nil, nil }
func (nothing) Abort(*milter.Modifier) error                                { return nil }
func (nothing) Body(*milter.Modifier) (milter.Response, error) {
	return milter.RespContinue, nil
}

// serveNothing serves the milter at an address in milterload's notation. It does not return unless
// it fails.
func serveNothing(address string) error {
	network, where := "tcp", strings.TrimPrefix(address, "inet:")
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, where = "unix", path
	}
	l, err := net.Listen(network, where)
	if err != nil {
		return err
	}
	s := milter.Server{NewMilter: func() milter.Milter { return nothing{} }, Protocol: nothingProtocol}
	return s.Serve(l)
}

// nothingFlag is the flag with which this program becomes the milter that does nothing.
const nothingFlag = "-serve-nothing"

func startNothing(ctx context.Context, p place) (*processes, error) {
	ours, _, _ := p.address(0)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, p, []string{ours}, []string{self, nothingFlag, ours})
}
