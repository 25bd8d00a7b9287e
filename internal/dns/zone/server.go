package zone

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// portTries bounds the search for a port that is free for UDP and TCP.
	portTries = 20
	// maxPending bounds the UDP queries that a server works on at the same time. Without this
	// bound, any number of delayed answers could wait.
	maxPending = 1 << 14
	// tcpIdle is how long a TCP connection stays open while no query arrives.
	tcpIdle = 10 * time.Second
	// maxQuery is the size of the longest UDP query. A question with an OPT record takes less than
	// a tenth of it.
	maxQuery = 4096
)

// Responder answers one query. Over UDP, each element of out is sent as one datagram. Over TCP, the
// elements are written without changes, so each must begin with its length (see [Framed]). The
// connection stays open if keep is true. A Responder may wait, but must return when ctx ends.
type Responder func(ctx context.Context, query []byte, overTCP bool) (out [][]byte, keep bool)

// Respond is a Responder that acts as an authoritative server. It follows CNAMEs inside the zone,
// so a stub resolver may ask it directly.
func (z *Zone) Respond(ctx context.Context, query []byte, overTCP bool) (out [][]byte, keep bool) {
	reply := z.reply(ctx, query, overTCP)
	switch {
	case reply == nil:
		return nil, true
	case overTCP:
		reply = Framed(reply)
	}
	return [][]byte{reply}, true
}

// Framed returns message with its length in front, as TCP needs it (RFC 1035 §4.2.2).
func Framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, len(message)+2), uint16(len(message))), message...)
}

// Server is a name server over UDP and TCP.
type Server struct {
	respond Responder
	udp     net.PacketConn
	tcp     net.Listener
	ctx     context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup
	pending chan struct{}

	connsMu sync.Mutex
	conns   map[net.Conn]bool
}

// NewServer starts an authoritative server for z at addr, a host and a port. Port 0 means any free
// port. Close ends the server.
func NewServer(z *Zone, addr string) (*Server, error) {
	udp, tcp, err := Listen(addr)
	if err != nil {
		return nil, err
	}
	return Serve(udp, tcp, z.Respond), nil
}

// Listen opens addr for UDP and TCP. Port 0 means any port that is free for both.
func Listen(addr string) (*net.UDPConn, net.Listener, error) {
	var err error
	for range portTries {
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", addr); err != nil {
			break
		}
		at := tcp.Addr().(*net.TCPAddr)
		var udp *net.UDPConn
		if udp, err = net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone}); err == nil {
			return udp, tcp, nil
		}
		_ = tcp.Close()
		if at.String() == addr {
			break
		}
	}
	return nil, nil, fmt.Errorf("zone: %w", err)
}

// Serve answers the queries that arrive over UDP and TCP. Close ends the server and closes its two
// sockets.
func Serve(udp net.PacketConn, tcp net.Listener, respond Responder) *Server {
	s := &Server{respond: respond, udp: udp, tcp: tcp, conns: map[net.Conn]bool{}, pending: make(chan struct{}, maxPending)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.work.Go(s.serveUDP)
	s.work.Go(s.serveTCP)
	return s
}

// Addr returns the address as host:port.
func (s *Server) Addr() string { return s.udp.LocalAddr().String() }

// Close ends the server and waits for its goroutines. A second Close does nothing.
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
	buf := make([]byte, maxQuery)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			continue // an ICMP error, because an earlier client has closed its socket
		}
		query := append([]byte(nil), buf[:n]...)
		s.pending <- struct{}{}
		s.work.Go(func() {
			defer func() { <-s.pending }()
			out, _ := s.respond(s.ctx, query, false)
			for _, datagram := range out {
				_, _ = s.udp.WriteTo(datagram, from)
			}
		})
	}
}

func (s *Server) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // the client closed the connection at once
		}
		s.connsMu.Lock()
		if s.ctx.Err() != nil { // Close has already closed the connections in the map
			s.connsMu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = true
		s.connsMu.Unlock()
		s.work.Go(func() { s.serveConn(c) })
	}
}

// serveConn answers the queries of one TCP connection (RFC 7766 §8).
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
		out, keep := s.respond(s.ctx, query, true)
		_ = c.SetDeadline(time.Now().Add(tcpIdle)) // the responder may have waited
		for _, octets := range out {
			if _, err := c.Write(octets); err != nil {
				return
			}
		}
		if !keep {
			return
		}
	}
}
