package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	minUDPSize  = 512  // RFC 1035 §4.2.1
	maxUDPSize  = 1232 // what goes through everywhere
	maxQuery    = 1024 // a question with its options
	tcpIdle     = 10 * time.Second
	udpReaders  = 2
	socketQueue = 4 << 20 // bursts of cold questions must not be lost unasked
	// maxDelayed bounds the answers that wait for their delay.
	maxDelayed = 1 << 16
)

// DNSOptions configure the name server.
type DNSOptions struct {
	Addr   string        // host:port; port 0 picks a free one
	Delay  time.Duration // before every answer
	Loss   float64       // share of the questions over UDP that get no answer, 0 to 1
	Faults Mix           // what goes wrong with answers; empty: nothing
	Seed   uint64        // of the choice which
}

// DNSServer answers from a Zone over UDP and TCP.
type DNSServer struct {
	zone *Zone
	opts DNSOptions
	soa  []byte
	udp  *net.UDPConn
	tcp  net.Listener

	queries, lost, delayed atomic.Int64
	work                   sync.WaitGroup
	closing                chan struct{}

	mu    sync.Mutex
	rng   *rand.Rand
	conns map[net.Conn]bool
}

// Serve starts a name server. Close ends it.
func Serve(zone *Zone, opts DNSOptions) (*DNSServer, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("load: name server: %w", err)
	}
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tcp.Addr().String()))
	udp, err := net.ListenUDP("udp", at)
	if err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("load: name server: %w", err)
	}
	_ = udp.SetReadBuffer(socketQueue) // as much as the system grants
	s := &DNSServer{
		zone: zone, opts: opts, soa: zone.soa(), udp: udp, tcp: tcp,
		closing: make(chan struct{}), rng: newRand(opts.Seed, "loss", 0), conns: map[net.Conn]bool{},
	}
	for range udpReaders {
		s.work.Go(s.serveUDP)
	}
	s.work.Go(s.serveTCP)
	return s, nil
}

// Addr returns the address as host:port.
func (s *DNSServer) Addr() string { return s.tcp.Addr().String() }

// Queries returns how many questions came, those that were lost too.
func (s *DNSServer) Queries() int64 { return s.queries.Load() }

// Lost returns how many questions got no answer by DNSOptions.Loss.
func (s *DNSServer) Lost() int64 { return s.lost.Load() }

// Close ends the server and waits for what it started.
func (s *DNSServer) Close() error {
	close(s.closing)
	err := errors.Join(s.udp.Close(), s.tcp.Close())
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
	return err
}

func (s *DNSServer) serveUDP() {
	query := make([]byte, maxQuery)
	answer := make([]byte, 0, maxUDPSize)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(query)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // ICMP errors of clients that left
		}
		s.queries.Add(1)
		if s.lose() {
			s.lost.Add(1)
			continue
		}
		answer = s.answer(answer[:0], query[:n], false)
		if len(answer) == 0 {
			continue
		}
		for _, a := range spoil(s.fault(), answer) {
			s.send(a, from)
		}
	}
}

// send sends an answer when its delay is over.
func (s *DNSServer) send(answer []byte, to netip.AddrPort) {
	if s.opts.Delay == 0 {
		_, _ = s.udp.WriteToUDPAddrPort(answer, to)
		return
	}
	if s.delayed.Add(1) > maxDelayed {
		s.delayed.Add(-1)
		return
	}
	late := append([]byte(nil), answer...)
	time.AfterFunc(s.opts.Delay, func() {
		_, _ = s.udp.WriteToUDPAddrPort(late, to) // after Close: an error, and no matter
		s.delayed.Add(-1)
	})
}

func (s *DNSServer) lose() bool {
	if s.opts.Loss == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64() < s.opts.Loss
}

func (s *DNSServer) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		select {
		case <-s.closing: // Close may have seen the map already
			_ = c.Close()
		default:
		}
		s.work.Go(func() { s.serveConn(c) })
	}
}

func (s *DNSServer) serveConn(c net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = c.Close()
	}()
	var head [2]byte
	for {
		_ = c.SetDeadline(time.Now().Add(tcpIdle + s.opts.Delay))
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		s.queries.Add(1)
		answer := s.answer([]byte{0, 0}, query, true)
		if len(answer) == 2 {
			return
		}
		binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
		select {
		case <-time.After(s.opts.Delay):
		case <-s.closing:
			return
		}
		out := spoilTCP(s.fault(), answer)
		if _, err := c.Write(out); err != nil || len(out) != len(answer) {
			return
		}
	}
}

// answer appends the answer to query, or nothing if it is no question.
func (s *DNSServer) answer(out, query []byte, overTCP bool) []byte {
	q, ok := parseQuestion(query)
	if !ok {
		return out
	}
	limit := minUDPSize
	switch {
	case overTCP:
		limit = 65535
	case q.edns:
		limit = min(max(q.size, minUDPSize), maxUDPSize)
	}
	const (
		response = 1<<15 | 1<<10 | 1<<7 // QR, AA, RA
		nxdomain = 3
		tc       = 1 << 9
	)
	flags := uint16(response) | binary.BigEndian.Uint16(query[2:])&(1<<8) // RD
	n, exists := s.zone.names[string(q.name)]
	var found rrset
	if exists {
		for _, r := range n.rrsets {
			if r.typ == q.typ {
				found = r
			}
		}
	} else {
		flags |= nxdomain
	}
	authority := s.soa
	if found.count > 0 {
		authority = nil
	}
	const opt = 11
	if headerLen+len(q.raw)+len(found.records)+len(authority)+opt > limit {
		flags, found, authority = flags|tc, rrset{}, nil
	}
	return appendAnswer(out, query, q, flags, found, authority)
}

func appendAnswer(out, query []byte, q question, flags uint16, found rrset, authority []byte) []byte {
	out = append(out, query[:2]...)
	out = binary.BigEndian.AppendUint16(out, flags)
	out = append(out, 0, 1)
	out = binary.BigEndian.AppendUint16(out, found.count)
	out = append(out, 0, byte(min(len(authority), 1)), 0, 0)
	if q.edns {
		out[len(out)-1] = 1
	}
	out = append(out, q.raw...)
	out = append(out, found.records...)
	out = append(out, authority...)
	if q.edns {
		out = append(out, 0, 0, typeOPT, maxUDPSize>>8, maxUDPSize&0xff, 0, 0, 0, 0, 0, 0)
	}
	return out
}

const headerLen = 12

// question is what an answer needs of a query.
type question struct {
	raw  []byte // the question as it came: its letters may be 0x20 noise
	name []byte // on the wire, in lower case
	typ  uint16
	edns bool
	size int
}

func parseQuestion(b []byte) (question, bool) {
	if len(b) < headerLen || b[2]&0xf8 != 0 || binary.BigEndian.Uint16(b[4:]) != 1 { // QR, opcode
		return question{}, false
	}
	i := headerLen
	for i < len(b) && b[i] != 0 {
		if b[i] > 63 {
			return question{}, false
		}
		i += 1 + int(b[i])
	}
	if i-headerLen > 254 || i+5 > len(b) || binary.BigEndian.Uint16(b[i+3:]) != classIN {
		return question{}, false
	}
	q := question{raw: b[headerLen : i+5], typ: binary.BigEndian.Uint16(b[i+1:])}
	q.name = make([]byte, i+1-headerLen)
	for j, c := range b[headerLen : i+1] { // a length is below 'A'
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		q.name[j] = c
	}
	rest := b[i+5:]
	if len(rest) >= 11 && rest[0] == 0 && binary.BigEndian.Uint16(rest[1:]) == typeOPT {
		q.edns, q.size = true, int(binary.BigEndian.Uint16(rest[3:]))
	}
	return q, true
}
