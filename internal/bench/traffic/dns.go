package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/dns/zone"
)

// socketQueue is the size that is requested for the receive buffer. With a small buffer, questions
// of a burst would be lost.
const socketQueue = 4 << 20

// DNSOptions configure the name server.
type DNSOptions struct {
	Addr   string        // host:port; with port 0 the system chooses a free port
	Delay  time.Duration // before each answer
	Loss   float64       // share of the UDP questions that get no answer, 0 to 1
	Faults Mix           // kinds of faulty answers, see FaultNone and so on; empty: no faults
	Seed   uint64        // for the random choice of lost questions and faulty answers
}

// Validate returns an error if the options are invalid.
func (o DNSOptions) Validate() error {
	if o.Loss < 0 || o.Loss > 1 || o.Delay < 0 {
		return fmt.Errorf("traffic: DNS: loss %g, delay %s; the loss is from 0 to 1, the delay is not negative", o.Loss, o.Delay)
	}
	if len(o.Faults) == 0 {
		return nil
	}
	return o.Faults.check("DNS faults", validFault)
}

// DNSServer is a name server over UDP and TCP. Its options can make it slow, lose questions and
// give faulty answers.
type DNSServer struct {
	*zone.Server
	zone    *zone.Zone
	opts    DNSOptions
	queries atomic.Int64

	mu  sync.Mutex
	rng *rand.Rand
}

// Serve starts a name server. The caller must call Close.
func Serve(z *zone.Zone, opts DNSOptions) (*DNSServer, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	udp, tcp, err := zone.Listen(opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("traffic: name server: %w", err)
	}
	_ = udp.SetReadBuffer(socketQueue) // no error check: the system gives as much as it allows
	s := &DNSServer{zone: z, opts: opts, rng: newRand(opts.Seed, "loss", 0)}
	s.Server = zone.Serve(udp, tcp, s.respond)
	return s, nil
}

// Queries returns the number of questions received so far, including those that the server leaves
// unanswered because of DNSOptions.Loss.
func (s *DNSServer) Queries() int64 { return s.queries.Load() }

func (s *DNSServer) respond(ctx context.Context, query []byte, overTCP bool) (out [][]byte, keep bool) {
	s.queries.Add(1)
	if !overTCP && s.lose() {
		return nil, true
	}
	out, keep = s.zone.Respond(ctx, query, overTCP)
	if len(out) == 0 {
		return nil, keep
	}
	if s.opts.Delay > 0 {
		select {
		case <-time.After(s.opts.Delay):
		case <-ctx.Done():
			return nil, false
		}
	}
	if !overTCP {
		return spoil(s.fault(), out[0]), true
	}
	octets := spoilTCP(s.fault(), out[0])
	return [][]byte{octets}, len(octets) == len(out[0])
}

func (s *DNSServer) lose() bool {
	if s.opts.Loss == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64() < s.opts.Loss
}

// fault chooses the fault of the next answer at random.
func (s *DNSServer) fault() string {
	if len(s.opts.Faults) == 0 {
		return FaultNone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts.Faults.pick(s.rng)
}
