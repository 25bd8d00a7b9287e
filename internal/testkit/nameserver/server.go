package nameserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"sync/atomic"
	"testing"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns/zone"
)

// Options make a Server misbehave. The zero value listens on 127.0.0.1 at a
// free port and answers as the zone says.
type Options struct {
	Addr          string      // host:port; port 0 picks a free one
	Authenticated bool        // set AD in every answer
	NoEDNS        bool        // FORMERR to a query with EDNS, as servers answered before RFC 2671
	LowerCase     bool        // repeat questions in lower case
	TLS           *tls.Config // TCP is TLS (RFC 7858); nil: plain

	// Lie answers instead of the zone if it returns true. Over UDP, each
	// element of out is a datagram. Over TCP, the elements are written as they
	// are, and the connection then ends.
	Lie func(query []byte, overTCP bool) (out [][]byte, lied bool)
}

// Server is a name server on real sockets, whose zone can be exchanged and
// which counts the questions that it was asked.
type Server struct {
	*zone.Server
	opts             Options
	zone             atomic.Pointer[zone.Zone]
	overUDP, overTCP atomic.Int64
}

// Serve answers from zone text until the test ends.
func Serve(tb testing.TB, zoneText string, opts Options) *Server {
	tb.Helper()
	return ServeZone(tb, Zone(tb, zoneText), opts)
}

// ServeZone answers from z until the test ends.
func ServeZone(tb testing.TB, z *zone.Zone, opts Options) *Server {
	tb.Helper()
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	udp, tcp, err := zone.Listen(opts.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	if opts.TLS != nil {
		tcp = tls.NewListener(tcp, opts.TLS)
	}
	s := &Server{opts: opts}
	s.SetZone(z)
	s.Server = zone.Serve(udp, tcp, s.respond)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// SetZone answers further questions from z.
func (s *Server) SetZone(z *zone.Zone) { s.zone.Store(z) }

// Count returns how many questions came over UDP and over TCP.
func (s *Server) Count() (udp, tcp int) { return int(s.overUDP.Load()), int(s.overTCP.Load()) }

func (s *Server) respond(ctx context.Context, query []byte, overTCP bool) (out [][]byte, keep bool) {
	if overTCP {
		s.overTCP.Add(1)
	} else {
		s.overUDP.Add(1)
	}
	if s.opts.Lie != nil {
		if out, lied := s.opts.Lie(query, overTCP); lied {
			return out, false
		}
	}
	if s.opts.NoEDNS {
		if refusal := refuseEDNS(query); refusal != nil {
			if overTCP {
				refusal = zone.Framed(refusal)
			}
			return [][]byte{refusal}, true
		}
	}
	out, keep = s.zone.Load().Respond(ctx, query, overTCP)
	for _, b := range out {
		if overTCP {
			b = b[2:] // after the length
		}
		s.change(b)
	}
	return out, keep
}

// change applies the options to an answer, in place.
func (s *Server) change(answer []byte) {
	if s.opts.Authenticated {
		answer[3] |= BitAuthentic
	}
	if s.opts.LowerCase {
		name, _, _ := bytes.Cut(answer[headerLen:], []byte{0})
		copy(name, bytes.ToLower(name)) // the length of a label is below 'A'
	}
}

// refuseEDNS returns FORMERR for a query with EDNS, nil for any other.
func refuseEDNS(query []byte) []byte {
	m := new(codec.Msg)
	if m.Unpack(query) != nil || m.IsEdns0() == nil {
		return nil
	}
	wire, err := new(codec.Msg).SetRcode(m, codec.RcodeFormatError).Pack()
	if err != nil {
		return nil
	}
	return wire
}
