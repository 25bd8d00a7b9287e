package zone

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// portTries bounds the search for a port that is free for UDP and TCP.
	portTries = 20
	// maxPending bounds the questions a server works on at once; delay faults
	// would pile them up.
	maxPending = 1024
	// tcpIdle ends a TCP connection on which no question arrives.
	tcpIdle = 10 * time.Second
	// maxQuery is the size of the longest question over UDP: a name, a
	// question and an OPT record fit several times.
	maxQuery = 4096
)

// ServerOptions configure a Server; the zero value listens on 127.0.0.1 at a
// free port.
type ServerOptions struct {
	Addr          string      // host:port; port 0 picks a free one
	Authenticated bool        // set AD in every answer
	NoEDNS        bool        // FORMERR to whoever asks with EDNS, as before RFC 2671
	LowerCase     bool        // repeat questions in lower case
	TLS           *tls.Config // TCP is TLS (RFC 7858); nil: plain
}

// Server is an authoritative name server for one Zone over UDP and TCP. It
// follows CNAMEs inside the zone, so a stub resolver may ask it directly.
type Server struct {
	zone    atomic.Pointer[Zone]
	opts    ServerOptions
	udp     net.PacketConn
	tcp     net.Listener
	ctx     context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup
	pending chan struct{}

	overUDP, overTCP atomic.Int64

	connsMu sync.Mutex
	conns   map[net.Conn]bool
}

// NewServer starts a server. Close ends it.
func NewServer(z *Zone, opts ServerOptions) (*Server, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	s := &Server{opts: opts, conns: map[net.Conn]bool{}, pending: make(chan struct{}, maxPending)}
	s.zone.Store(z)
	var err error
	if s.udp, s.tcp, err = listen(opts.Addr); err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	if opts.TLS != nil {
		s.tcp = tls.NewListener(s.tcp, opts.TLS)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.work.Go(s.serveUDP)
	s.work.Go(s.serveTCP)
	return s, nil
}

// listen opens the same port for UDP and TCP.
func listen(addr string) (net.PacketConn, net.Listener, error) {
	var err error
	for range portTries {
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", addr); err != nil {
			return nil, nil, err
		}
		var udp net.PacketConn
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return udp, tcp, nil
		}
		_ = tcp.Close()
		if tcp.Addr().String() == addr {
			return nil, nil, err
		}
	}
	return nil, nil, err
}

// Addr returns the address as host:port.
func (s *Server) Addr() string { return s.udp.LocalAddr().String() }

// SetZone answers further questions from zone.
func (s *Server) SetZone(z *Zone) { s.zone.Store(z) }

// Count returns how many questions came over UDP and over TCP.
func (s *Server) Count() (udp, tcp int) { return int(s.overUDP.Load()), int(s.overTCP.Load()) }

// Close ends the server and waits until everything it started has ended. A
// second Close does nothing.
func (s *Server) Close() error {
	if s.ctx.Err() != nil {
		return nil
	}
	s.stop()
	err := errors.Join(s.udp.Close(), s.tcp.Close())
	s.connsMu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.connsMu.Unlock()
	s.work.Wait()
	return err
}

func (s *Server) serveUDP() {
	for {
		buf := make([]byte, maxQuery)
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			continue // ICMP errors of clients that left
		}
		s.overUDP.Add(1)
		s.pending <- struct{}{}
		s.work.Go(func() {
			defer func() { <-s.pending }()
			if reply := s.reply(buf[:n], false); reply != nil {
				_, _ = s.udp.WriteTo(reply, from)
			}
		})
	}
}

func (s *Server) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.connsMu.Lock()
		if s.ctx.Err() != nil { // Close has seen the map already
			s.connsMu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = true
		s.connsMu.Unlock()
		s.work.Go(func() { s.serveConn(c) })
	}
}

// serveConn answers the questions of one TCP connection (RFC 7766 §8).
func (s *Server) serveConn(c net.Conn) {
	defer func() {
		s.connsMu.Lock()
		delete(s.conns, c)
		s.connsMu.Unlock()
		_ = c.Close()
	}()
	for {
		_ = c.SetDeadline(time.Now().Add(tcpIdle))
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		s.overTCP.Add(1)
		reply := s.reply(query, true)
		if reply == nil {
			continue
		}
		framed := binary.BigEndian.AppendUint16(make([]byte, 0, len(reply)+2), uint16(len(reply)))
		_ = c.SetDeadline(time.Now().Add(tcpIdle)) // delay faults may have used it up
		if _, err := c.Write(append(framed, reply...)); err != nil {
			return
		}
	}
}
