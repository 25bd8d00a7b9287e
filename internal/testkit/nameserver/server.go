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

// Options configure a Server. The zero value is a well-behaved server on a free port of 127.0.0.1.
type Options struct {
	Addr          string      // host:port; with port 0 the system chooses a free port
	Authenticated bool        // set the AD bit in every answer
	NoEDNS        bool        // answer FORMERR to queries with EDNS, as servers did before RFC 2671
	LowerCase     bool        // write the name in the question section in lower case
	TLS           *tls.Config // if not nil, TCP connections use TLS (RFC 7858)

	// Lie may answer in place of the zone; it then returns true. Over UDP, each element of out is
	// sent as one datagram. Over TCP, the elements are written without change, and the connection
	// is then closed.
	Lie func(query []byte, overTCP bool) (out [][]byte, lied bool)
}

// Server is a name server on real sockets. Its zone can be replaced, and it counts the questions.
type Server struct {
	*zone.Server
	opts             Options
	zone             atomic.Pointer[zone.Zone]
	overUDP, overTCP atomic.Int64
}

// Serve starts a server that answers from zone text until the test ends.
func Serve(tb testing.TB, zoneText string, opts Options) *Server {
	tb.Helper()
	return ServeZone(tb, Zone(tb, zoneText), opts)
}

// ServeZone starts a server that answers from z until the test ends.
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

// SetZone makes the server answer from z from now on.
func (s *Server) SetZone(z *zone.Zone) { s.zone.Store(z) }

// Count returns how many questions have come over UDP and over TCP.
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
			b = b[2:] // skip the length in front
		}
		s.change(b)
	}
	return out, keep
}

// change applies the options Authenticated and LowerCase to an answer, in place.
func (s *Server) change(answer []byte) {
	if s.opts.Authenticated {
		answer[3] |= BitAuthentic
	}
	if s.opts.LowerCase {
		name, _, _ := bytes.Cut(answer[headerLen:], []byte{0})
		copy(name, bytes.ToLower(name)) // the length octets are lower than 'A', so ToLower does not change them
	}
}

// refuseEDNS returns a FORMERR response if the query has EDNS, and nil if it does not.
func refuseEDNS(query []byte) []byte {
	m := new(codec.Msg)
	if m.Unpack(query) != nil || m.IsEdns0() == nil {
		return nil
	}
	wire, _ := new(codec.Msg).SetRcode(m, codec.RcodeFormatError).Pack() // its question could be unpacked
	return wire
}
