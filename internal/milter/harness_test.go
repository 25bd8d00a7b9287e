package milter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

// TestMain fails if the tests wrote anything to the global log. go-milter writes errors there,
// and our shim must prevent that.
func TestMain(m *testing.M) {
	var buf lockedBuffer
	log.SetOutput(&buf)
	code := m.Run()
	if s := buf.String(); s != "" {
		fmt.Fprintln(os.Stderr, "written to the global log:", s)
		code = 1
	}
	os.Exit(code)
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// world is a server under test, with a record of all calls of its Sessions and its Observer.
type world struct {
	t      *testing.T
	server *milter.Server
	logs   lockedBuffer

	mu     sync.Mutex
	events []string
	closed chan milter.End // receives the argument of each Close
	served chan error      // receives the result of Serve

	// on has functions that reply to events, by the name of the event ("mail", "rcpt", ...). The
	// reply to an event without a function is Continue.
	on map[string]func(s *session) milter.Reply
	// eom is called for EndOfMessage. If it is nil, on["end"] is used.
	eom func(ctx context.Context, s *session, m *milter.Modifier) milter.Reply
}

// session records every event as text.
type session struct {
	w    *world
	conn *milter.Conn
	arg  string // the arguments of the latest event, as text
}

// given has the settings that a test chooses for its server. Every field may be zero.
type given struct {
	NewSession   func(*milter.Conn) milter.Session
	Logger       *slog.Logger
	SessionEnded func(milter.End)
	Limits       milter.Limits
	ReplyAt      milter.ReplyAt
	OnPanic      milter.Reply
}

func newWorld(t *testing.T, opts given) *world {
	t.Helper()
	w := &world{t: t, closed: make(chan milter.End, 64), served: make(chan error, 8), on: map[string]func(*session) milter.Reply{}}
	if opts.NewSession == nil {
		opts.NewSession = func(c *milter.Conn) milter.Session { return &session{w: w, conn: c} }
	}
	if opts.Logger == nil {
		opts.Logger = newLogger(&w.logs)
	}
	w.server = milter.New(milter.Options{NewSession: opts.NewSession, Logger: opts.Logger, Observer: milter.Observer{
		SessionStarted: func() { w.note("+started") },
		SessionEnded: func(end milter.End) {
			w.note("+ended %s", end)
			if opts.SessionEnded != nil {
				opts.SessionEnded(end)
			}
		},
		SessionRejected: func(r milter.RejectReason) { w.note("+rejected %s", r) },
		ProtocolError:   func(k milter.ErrorKind) { w.note("+protocol_error %s", k) },
		Oversize:        func(what string) { w.note("+oversize %s", what) },
		Panic:           func(component string, _ []byte) { w.note("+panic %s", component) },
	}})
	w.server.Set(milter.Settings{Limits: opts.Limits, ReplyAt: opts.ReplyAt, OnPanic: opts.OnPanic})
	return w
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

// log returns the events since the last call of log.
func (w *world) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.events
	w.events = nil
	return out
}

// serve serves ln until the test ends.
func (w *world) serve(ln net.Listener) {
	go func() { w.served <- w.server.Serve(ln) }()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = w.server.Shutdown(ctx) // Shutdown returns the error of ctx, which does not matter here
	})
}

// listen serves on a local TCP port and returns its address.
func (w *world) listen() string {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.serve(ln)
	return ln.Addr().String()
}

// dial connects to addr, negotiates, and returns the client.
func (w *world) dial(addr string, offer client.Offer) *client.Client {
	w.t.Helper()
	c, err := client.Dial("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Negotiate(offer); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// start calls listen and dial, and sends CONNECT and HELO.
func (w *world) start() *client.Client {
	w.t.Helper()
	c := w.dial(w.listen(), client.PostfixOffer())
	hello(w.t, c)
	return c
}

func hello(t *testing.T, c *client.Client) {
	t.Helper()
	c.SetMacro("j", "mx.example.jp")
	if a, err := c.Connect("client.example.com", netip.MustParseAddrPort("192.0.2.1:2525")); err != nil || a.Kind != client.Continue {
		t.Fatal(a, err)
	}
	if a, err := c.Helo("helo.example.com"); err != nil || a.Kind != client.Continue {
		t.Fatal(a, err)
	}
}

// end waits until a session is closed, and returns how it ended.
func (w *world) end() milter.End {
	w.t.Helper()
	select {
	case e := <-w.closed:
		return e
	case <-time.After(20 * time.Second):
		w.t.Fatal("session was not closed")
		return ""
	}
}

func (s *session) event(name, format string, args ...any) milter.Reply {
	s.arg = strings.TrimPrefix(fmt.Sprintf(format, args...), " ")
	s.w.note("%s", strings.TrimRight(name+" "+s.arg, " "))
	if f := s.w.on[name]; f != nil {
		return f(s)
	}
	return milter.Continue
}

func (s *session) Connect(c milter.Connect) milter.Reply {
	return s.event("connect", "%s %c %s", c.Hostname, c.Family, c.Addr)
}
func (s *session) Helo(name string) milter.Reply { return s.event("helo", "%s", name) }
func (s *session) Mail(from string, args []string) milter.Reply {
	return s.event("mail", "%s %q", from, args)
}
func (s *session) Rcpt(to string, args []string) milter.Reply {
	return s.event("rcpt", "%s %q", to, args)
}
func (s *session) Data() milter.Reply { return s.event("data", "") }
func (s *session) Header(name, value string) milter.Reply {
	return s.event("header", "%q", name+":"+value)
}
func (s *session) EndOfHeader() milter.Reply { return s.event("eoh", "") }
func (s *session) Body(chunk []byte) milter.Reply {
	return s.event("body", "%d", len(chunk))
}
func (s *session) EndOfMessage(ctx context.Context, m *milter.Modifier) milter.Reply {
	s.w.note("eom")
	if s.w.eom != nil {
		return s.w.eom(ctx, s, m)
	}
	return s.event("end", "")
}
func (s *session) Abort() { s.event("abort", "") }
func (s *session) Close(end milter.End) {
	defer func() { s.w.closed <- end }()
	s.event("close", "%s", end)
}

// expect fails the test if the events in got differ from want.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("events\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// envelope returns an envelope with one sender and one recipient.
func envelope() client.Envelope {
	return client.Envelope{From: "<a@example.com>", To: []string{"<b@example.jp>"}, QueueID: "4Xyz"}
}

const mail = "From: a@example.com\nSubject: x\n\nbody\n"

// frame returns the octets of a frame.
func frame(cmd byte, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))) + string(cmd) + data
}

// optneg returns the offer of an MTA of protocol version 6.
func optneg() string { return frame('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff") }

// drained reads until the server closes the connection, and returns the octets that came.
func drained(t *testing.T, nc net.Conn) []byte {
	t.Helper()
	_ = nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	data, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Fatal("connection was not closed")
		}
	}
	return data
}

// converse sends the negotiation, CONNECT, the given frames and QUIT, and waits until the
// session has ended.
func (w *world) converse(frames string) {
	w.t.Helper()
	nc, err := net.Dial("tcp", w.listen())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(nc, optneg()+frame('C', "h\x00U")+frames+frame('Q', "")); err != nil {
		w.t.Fatal(err)
	}
	drained(w.t, nc)
	if end := w.end(); end != milter.EndQuit {
		w.t.Errorf("ended by %s", end)
	}
}

// pipeListener is a listener for connections made with net.Pipe, which tests with synctest need.
type pipeListener struct {
	conns chan net.Conn
	errs  chan error
	once  sync.Once
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), errs: make(chan error), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial() net.Conn {
	a, b := net.Pipe()
	l.conns <- b
	return a
}
