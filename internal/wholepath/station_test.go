package wholepath

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/filter"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/mta"
)

const stationID = "mx.here.example"

// today is the time at which all messages in these tests are evaluated.
var today = time.Unix(1_790_000_000, 0)

// station is a milter server with filter and verifier that runs in the test process. Its
// connections are pipes, and a test can replace its DNS zone at any time.
type station struct {
	zone     swap
	server   *milter.Server
	listener pipeListener

	mu    sync.Mutex
	seen  []*msgauth.Evaluation
	panic []string
}

// swap is a resolver whose zone can be replaced while it is in use.
type swap struct {
	dns.LookupOnly
	p atomic.Pointer[zone.Zone]
}

func (s *swap) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return s.p.Load().Lookup(ctx, name, typ)
}

// newStation starts a station. It runs until the process ends.
func newStation(mode policy.Mode) *station {
	s := &station{listener: pipeListener{make(chan net.Conn)}}
	s.zone.p.Store(zone.New())
	f := filter.New(filter.Options{
		Judge: &judge.Judge{
			Verifier: msgauth.NewVerifier(&s.zone, msgauth.Options{Budget: 2 * time.Second, Now: func() time.Time { return today }}),
			Policy:   policy.Config{Mode: mode},
			Label:    label.Settings{Names: label.Names{AuthServID: stationID}, ReceivedSPF: mode == policy.Monitor},
		},
		Observers: []filter.Observer{s},
	})
	s.server = milter.New(milter.Options{
		NewSession: f.NewSession,
		Observer: milter.Observer{Panic: func(component string, stack []byte) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.panic = append(s.panic, component+"\n"+string(stack))
		}},
	})
	s.server.Set(milter.Settings{ReplyAt: f.ReplyAt()})
	go func() { _ = s.server.Serve(s.listener) }()
	return s
}

// Decided implements filter.Observer. It keeps the evaluation for take.
func (s *station) Decided(d *judge.Decision, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Evaluation != nil {
		s.seen = append(s.seen, d.Evaluation)
	}
}

// take returns the evaluations and panics since the last call of take.
func (s *station) take() (seen []*msgauth.Evaluation, panics []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, panics, s.seen, s.panic = s.seen, s.panic, nil, nil
	return seen, panics
}

// dial opens a connection and returns the MTA's end of it. The channel is closed when the server
// has closed its own end, which it does last in a session.
func (s *station) dial() (mta net.Conn, closed <-chan struct{}) {
	mta, theirs := net.Pipe()
	c := &closeNotifier{Conn: theirs, closed: make(chan struct{})}
	s.listener.conns <- c
	return mta, c.closed
}

type closeNotifier struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *closeNotifier) Close() error {
	defer c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

type pipeListener struct{ conns chan net.Conn }

func (l pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, errors.New("closed")
	}
	return c, nil
}

func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// isOurs reports whether a field is an Authentication-Results field with our authserv-id.
func isOurs(name, value string) bool {
	return mta.IsLabel(client.Field{Name: name, Value: value}, stationID)
}
